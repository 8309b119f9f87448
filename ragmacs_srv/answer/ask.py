"""A question becomes an answer whose every `[n]` opens at the section that says it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import EmbedderSlow, ModelError
from ..events import Cancel
from ..model import Answer, Citation, Hit
from ..render import printable
from ..search import labels, retrieve
from ..search.confidence import Verdict, by_coverage, word_weights
from ..search.embed import Embedder
from ..search.generation import EVERYWHERE, Generation, Scope
from ..search.query import EVEN, Weights
from ..search.retrieve import Results
from ..search.terms import terms
from . import changes, releases
from .extractive import best_units
from .prompt import BY_RELEASE, RULES, CitationFilter, Passage, fit, messages
from .releases import Found, Quoted
from .rerank import DEPTH, Judge
from .units import Unit, fenced, sentences, units

if TYPE_CHECKING:  # httpx comes with it: most answers need no LLM
    from .llm import Chat

HITS = 10  # sections looked at
PASSAGES = 8  # sections shown to an LLM
WHOLE_SECTION = 2000  # characters up to which an LLM is shown all of a section
NEAREST = 5  # sections named beside the quotes, or in place of an answer
SEE_ALSO = 120  # characters kept for their names


@dataclass(frozen=True, slots=True)
class Budget:
    """How long an answer may be, and how much an LLM is shown; in characters but for `tokens` and `whole`."""

    answer: int = 1000
    context: int = 12000  # of one prompt
    tokens: int = 800  # of a reply
    whole: int = 60000  # tokens of all prompts and replies for one summary


def ask(
    generation: Generation,
    embedder: Embedder | None,
    chat: Chat | None,
    question: str,
    *,
    budget: Budget,
    scope: Scope = EVERYWHERE,
    weights: Weights = EVEN,
    rerank: bool = True,
    judge: Judge | None = None,
    reason: str = "",
    cancel: Cancel | None = None,
) -> Iterator[str | Answer]:
    """Answer QUESTION from SCOPE of GENERATION: pieces of text as they come, then the whole Answer, last.

    With CHAT an LLM writes from the passages found; when it cannot, and without one, the answer is
    extracted. JUDGE puts what was found in order first. Raises NotIndexed for an unknown collection,
    Cancelled when CANCEL is.
    """
    cancel = cancel or Cancel()
    missing = ""
    if (change := changes.asked(question)) is not None:
        found = releases.find(generation, embedder, change, scope=scope, reason=reason)
        if found.parts:
            yield from _by_release(generation, embedder, chat, question, found, budget=budget, cancel=cancel)
            return
        missing = found.missing
    k = DEPTH if judge else HITS
    results = retrieve.search(
        generation, embedder, question, k=k, scope=scope, weights=weights, rerank=rerank, reason=reason
    )
    if judge is not None and results.verdict.answerable:
        results = judge.best(question, results, k=HITS, cancel=cancel)
    notes = [*filter(None, [missing]), *_degraded(results.reason), *results.notes]
    if not (results.hits and results.verdict.answerable):
        yield from _whole(abstain(results, notes))
        return
    if results.verdict.uncovered:
        notes.append(f"nothing indexed mentions {_named(results.verdict.uncovered)}")
    if chat is not None:
        passages = [_passage(n, hit) for n, hit in enumerate(results.hits[:PASSAGES], 1)]
        written = yield from _written(chat, question, passages, results, notes, budget, cancel)
        if written is not None:
            yield written
            return
    usable = embedder if results.mode == "hybrid" else None
    weights = word_weights(generation, question)
    quotes = budget.answer - min(SEE_ALSO, budget.answer // 6)
    try:
        chosen = best_units(question, results.hits, usable, weights, budget=quotes)
    except EmbedderSlow as exc:
        notes.append(f"quotes chosen by their words only: {exc.message}")
        chosen = best_units(question, results.hits, None, weights, budget=quotes)
    yield from _whole(extracted(chosen, results, notes, length=budget.answer))


def _by_release(
    generation: Generation,
    embedder: Embedder | None,
    chat: Chat | None,
    question: str,
    found: Found,
    *,
    budget: Budget,
    cancel: Cancel,
) -> Iterator[str | Answer]:
    """Answer QUESTION with what the notes of each release say, as `releases.find` FOUND it."""
    notes = _degraded(found.reason)
    if chat is not None:
        shown = _quoted(found, embedder, notes, budget.context * 3 // 4)  # the rest is for what frames them
        passages = [_passage(n, each.hit, _joined(each)) for n, each in enumerate(shown, 1)]
        results = _of_releases(generation, found, shown)
        written = yield from _written(chat, question, passages, results, notes, budget, cancel, rules=BY_RELEASE)
        if written is not None:
            yield written
            return
    chosen = _quoted(found, embedder, notes, found.wider * budget.answer)
    yield from _whole(listed(found, chosen, _of_releases(generation, found, chosen), notes))


def _quoted(found: Found, embedder: Embedder | None, notes: list[str], room: int) -> list[Quoted]:
    """What to quote of FOUND in ROOM characters; that it was chosen by words only is added to NOTES."""
    try:
        return releases.quoted(found, embedder if found.mode == "hybrid" else None, budget=room)
    except EmbedderSlow as exc:
        notes.append(f"quotes chosen by their words only: {exc.message}")
        return releases.quoted(found, None, budget=room)


def listed(found: Found, chosen: Sequence[Quoted], results: Results, notes: Sequence[str]) -> Answer:
    """What was CHOSEN of FOUND as an answer: a list for each release, under its name."""
    paragraphs, citations = [], []
    for release, group in itertools.groupby(enumerate(chosen, 1), key=lambda pair: pair[1].release):
        lines = [f"Go {labels.name(release)}:"]
        for n, each in group:
            citations.append(_citation(n, each.hit, each.units[0].quote))
            lines += [_line(unit, n) for unit in each.units]
        paragraphs.append("\n".join(lines))
    shown = {each.release for each in chosen}
    left = [part.release for part in found.parts if part.release not in shown]
    if left:
        notes = [*notes, f"there was no room for {releases.named(left)}: ask for fewer releases at a time"]
    if found.silent and not found.change.which:
        paragraphs.append(f"The notes of {releases.named(found.silent)} do not mention it.")
    return _answer("\n\n".join(paragraphs), citations, results, notes)


def _of_releases(generation: Generation, found: Found, chosen: Sequence[Quoted]) -> Results:
    """The sections CHOSEN of FOUND as what a search gives, in the order of the answer."""
    hits = tuple(each.hit for each in chosen)
    said = [" ".join((*hit.section.heading, hit.text)) for hit in hits]
    topic = found.change.topic.text
    verdict = by_coverage(generation, topic, said) if topic else Verdict(1.0, answerable=True, uncovered=())
    return Results(hits, found.mode, found.reason, verdict, generation.manifest.number)


def _joined(quoted: Quoted) -> str:
    return "\n\n".join(fenced(unit.text) if unit.kind == "code" else unit.quote for unit in quoted.units)


def _degraded(reason: str) -> list[str]:
    return [f"lexical search only: {reason}"] if reason else []


def abstain(results: Results, notes: Sequence[str]) -> Answer:
    """Say that nothing answers the question, name the words nothing speaks of, and offer the nearest sections."""
    about = _named(results.verdict.uncovered) or "that"
    citations = [_citation(n, hit, _opening(hit)) for n, hit in enumerate(results.hits[:NEAREST], 1)]
    lines = [f"Nothing indexed here speaks of {about}."]
    if citations:
        nearest = ", ".join(f"{' > '.join(each.heading)} [{each.n}]" for each in citations)
        lines.append(f"The nearest sections: {nearest}.")
    return _answer("\n\n".join(lines), citations, results, notes, abstained=True)


def _named(words: Sequence[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)


def extracted(chosen: Sequence[Sequence[Unit]], results: Results, notes: Sequence[str], *, length: int) -> Answer:
    """The chosen units as an answer: a list per section, each unit with the number of its section.

    What else was found near is named after them, as far as LENGTH characters allow: quotes are not all.
    """
    hits = {hit.section: hit for hit in results.hits}
    paragraphs, citations = [], []
    for n, sequence in enumerate(chosen, 1):
        citations.append(_citation(n, hits.pop(sequence[0].section), sequence[0].quote))
        paragraphs.append("\n".join(_line(unit, n) for unit in sequence))
    room = length - len("\n\n".join(paragraphs)) - len("\n\nSee also: ")
    others = []
    for n, hit in enumerate(list(hits.values())[:NEAREST], len(citations) + 1):
        name = f"{(hit.section.heading or (hit.title,))[-1]} [{n}]"
        room -= len(name) + len(", ")
        if room < 0:
            break
        others.append(name)
        citations.append(_citation(n, hit, _opening(hit)))
    if others:
        paragraphs.append("See also: " + ", ".join(others))
    return _answer("\n\n".join(paragraphs), citations, results, notes)


def _written(
    chat: Chat,
    question: str,
    passages: Sequence[Passage],
    results: Results,
    notes: list[str],
    budget: Budget,
    cancel: Cancel,
    rules: str = RULES,
) -> Generator[str, None, Answer | None]:
    """Stream the LLM's answer by RULES; returns the checked Answer, or None when no word of it came.

    PASSAGES are numbered as the hits of RESULTS are that they come from, from 1. Why the answer did not come, or came
    only in part, is added to NOTES.
    """
    passages = fit(passages, budget.context)
    checked = CitationFilter(passage.n for passage in passages)
    text = ""
    try:
        prompt = messages(question, passages, budget=budget.context, rules=rules)
        for delta in chat.stream(prompt, max_tokens=budget.tokens, cancel=cancel):
            piece = checked.feed(printable(delta))
            text += piece
            yield piece
    except ModelError as exc:
        notes.append(f"{exc.message} ({exc.hint})" if exc.hint else exc.message)
        if not text.strip():
            return None
        notes.append("the answer above is incomplete")
    rest = checked.finish()
    text += rest
    yield rest
    if not text.strip():
        notes.append("the LLM answered with nothing")
        return None
    citations = [_supporting(n, results.hits[n - 1], text) for n in sorted(checked.used)]
    if checked.removed:
        notes.append(f"{checked.removed} citation(s) of passages that do not exist were removed")
    if not citations:
        notes.append("the LLM cited no passage: nothing in this answer has been checked")
    return _answer(text.strip(), citations, results, notes, model=chat.model)


def _passage(n: int, hit: Hit, text: str = "") -> Passage:
    """What an LLM is shown of a section: TEXT of it, else all of it when short, else the window that was found."""
    section = hit.section
    text = text or (section.text if len(section.text) <= WHOLE_SECTION else hit.text)
    return Passage(n, hit.title, section.heading, section.link, text)


def _supporting(n: int, hit: Hit, text: str) -> Citation:
    """Citation N with the unit of its section that says most of what stands before its marks in TEXT."""
    claims = {term for claim in _claims(text, n) for term in terms(claim)}
    best = max(units(hit.section), key=lambda unit: len(claims.intersection(terms(unit.text))), default=None)
    return _citation(n, hit, best.quote if best else _opening(hit))


def _claims(text: str, n: int) -> Iterator[str]:
    """The sentences of TEXT that end in, or hold, the mark of citation N."""
    for line in text.splitlines():
        for start, end in sentences(line, 0, len(line)):
            sentence = line[start:end]
            if any(str(n) in re.findall(r"\d+", mark) for mark in re.findall(r"\[[\d,; -]+\]", sentence)):
                yield sentence


def _opening(hit: Hit) -> str:
    """The first quotable words of the section."""
    return next((unit.quote for unit in units(hit.section)), hit.section.text[:200])


def _line(unit: Unit, n: int) -> str:
    return f"{fenced(unit.text)}\n[{n}]" if unit.kind == "code" else f"- {unit.text} [{n}]"


def _citation(n: int, hit: Hit, quote: str) -> Citation:
    at = hit.section
    return Citation(n, at.url, at.anchor, hit.title, at.heading, quote, hit.fetched_at, hit.fetched_from)


def _answer(
    text: str,
    citations: Sequence[Citation],
    results: Results,
    notes: Sequence[str],
    *,
    abstained: bool = False,
    model: str = "",
) -> Answer:
    return Answer(
        text,
        tuple(citations),
        results.mode,
        round(results.confidence, 3),
        abstained=abstained,
        uncovered=results.verdict.uncovered,
        model=model,
        notes=tuple(notes),
        reranked_by=results.reranked_by,
    )


def _whole(answer: Answer) -> Iterator[str | Answer]:
    yield answer.text
    yield answer
