"""What was found for questions with known answers becomes figures, and a verdict against an earlier run."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import InvalidParams
from ..model import Answer
from ..search.generation import Generation
from ..search.retrieve import Results
from . import measures, questions
from .measures import Figure
from .questions import Question

Line = Mapping[str, Any]  # of a run file: what was found for one question

BUDGET = 4000  # characters of results that a reader, or an LLM, is willing to look at
DEPTHS = (1, 3, 5, 10)
RUN_LINE = "a line of a run file has id, results with a url each, and, where known, confidence, abstain and mode"
ANEW = "make it anew with ragmacs eval --run FILE"
BOUNDS = "write mrr@10=0.7,hit@5=0.85"


@dataclass(frozen=True, slots=True)
class Score:
    """How well one question was answered: the rank of its first right result (0: none), and each metric."""

    rank: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one run, over the questions it was asked.

    `scores` has those with an answer that is indexed; `lost` names, for each of the others, the gold that is not.
    """

    scores: Mapping[str, Score]
    figures: Mapping[str, Figure]
    topics: Mapping[str, Mapping[str, Figure]]
    unanswerable: int
    lost: Mapping[str, tuple[str, ...]]

    @property
    def decisive(self) -> str:
        """The metric that judges a run."""
        return next((name for name in ("mrr@10", "facts") if name in self.figures), "cited")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against an earlier one, over the questions of both; a difference is this run's minus the earlier one's."""

    questions: int
    before: Mapping[str, Figure]
    after: Mapping[str, Figure]
    differences: Mapping[str, Figure]
    better: Mapping[str, tuple[int, int]]  # id to the ranks before and after
    worse: Mapping[str, tuple[int, int]]
    verdict: str


# One question


def result_line(question: Question, results: Results) -> dict[str, Any]:
    """One line of a run file: what was found, best first."""
    found = [
        {"url": hit.section.url, "anchor": hit.section.anchor, "text": hit.text, "score": hit.score}
        for hit in results.hits
    ]
    return {
        "id": question.id,
        "results": found,
        "confidence": results.confidence,
        "abstain": not (found and results.verdict.answerable),
        "mode": results.mode,
    }


def answer_line(question: Question, answer: Answer) -> dict[str, Any]:
    """One line of a run file whose only result is the answer itself."""
    first = answer.citations[0] if answer.citations else None
    result = {"url": first.url if first else "", "anchor": first.anchor if first else "", "text": answer.text}
    return {
        "id": question.id,
        "results": [result],
        "confidence": answer.confidence,
        "abstain": answer.abstained,
        "mode": answer.mode,
        "citations": [citation.as_json() for citation in answer.citations],
    }


def score(question: Question, line: Line, *, budget: int = BUDGET) -> Score:
    """How well LINE answers QUESTION, whose gold is known."""
    if "citations" in line:
        return _score_answer(question, line)
    found = line["results"]
    ranks = [_first_rank(group, found) for group in question.gold]
    first = min((rank for rank in ranks if rank), default=0)
    values = {f"hit@{depth}": float(0 < first <= depth) for depth in DEPTHS}
    values["mrr@10"] = 1 / first if 0 < first <= 10 else 0.0
    ideal = sum(_gain(rank) for rank in range(1, len(ranks) + 1))
    values["ndcg@10"] = min(1.0, sum(_gain(rank) for rank in ranks if 0 < rank <= 10) / ideal)
    if len(ranks) > 1:
        values["all@10"] = float(all(0 < rank <= 10 for rank in ranks))
    if question.facts:
        values[f"facts<{budget}c"] = _facts(question.facts, " ".join(each["text"] for each in found)[:budget])
    return Score(first, values)


def _score_answer(question: Question, line: Line) -> Score:
    """An answer is right when it cites a right section and holds the facts; its rank is that of the citation."""
    first = _first_rank([gold for group in question.gold for gold in group], line["citations"])
    values = {"cited@1": float(first == 1), "cited": float(first > 0)}
    if question.facts:
        values["facts"] = _facts(question.facts, line["results"][0]["text"])
        values["all facts"] = float(values["facts"] == 1)
    return Score(first, values)


def _first_rank(group: Collection[str], found: Sequence[Mapping[str, Any]]) -> int:
    """The rank, from 1, of the first section that any of GROUP names; 0 when there is none."""
    return next(
        (
            rank
            for rank, each in enumerate(found, 1)
            if any(questions.answers(gold, each["url"], each["anchor"]) for gold in group)
        ),
        0,
    )


def _gain(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def _facts(facts: Sequence[str], text: str) -> float:
    """The share of FACTS that TEXT holds."""
    return sum(holds(text, fact) for fact in facts) / len(facts)


def holds(text: str, fact: str) -> bool:
    """Whether TEXT holds FACT or one of its alternatives, whatever the case, the blanks, and Markdown's marks."""
    plain = questions.plain(text)
    return any(questions.plain(each) in plain for each in fact.split("|"))


# All of them


def missing(generation: Generation, asked: Sequence[Question], collections: Sequence[str]) -> dict[str, list[str]]:
    """The questions that cannot be found whole, each with the gold that is not indexed in COLLECTIONS."""
    names = collections or generation.manifest.collections
    pages = {url for name in names for url, _, _ in generation.pages(name)}
    wanted = {gold.partition("#")[0].rstrip("/") for each in asked for group in each.gold for gold in group}
    named = [url for url in pages if {url.rstrip("/"), urlsplit(url).path.rstrip("/")} & wanted]
    places = [(url, section.anchor) for url in named for section in generation.sections(url)]
    found: dict[str, list[str]] = {}
    for each in asked:
        for group in each.gold:
            if not any(questions.answers(gold, *place) for gold in group for place in places):
                found.setdefault(each.id, []).extend(group)
    return found


def evaluate(
    asked: Sequence[Question],
    lines: Mapping[str, Line],
    *,
    lost: Mapping[str, Sequence[str]] | None = None,
    budget: int = BUDGET,
) -> Evaluation:
    """The figures of the run LINES, by question id, over those of ASKED that are in it and not LOST."""
    lost = lost or {}
    asked = [each for each in asked if each.id in lines and each.id not in lost]
    known = [each for each in asked if each.gold]
    unknown = [each for each in asked if not each.gold]
    scores = {each.id: score(each, lines[each.id], budget=budget) for each in known}
    topics = {topic: [each.id for each in known if each.topic == topic] for topic in sorted({q.topic for q in known})}
    by_topic = {topic: figures([scores[key] for key in ids]) for topic, ids in topics.items()} if any(topics) else {}
    trust = _trust([lines[each.id] for each in known], [lines[each.id] for each in unknown])
    found = {**figures(list(scores.values())), **trust}
    return Evaluation(scores, found, by_topic, len(unknown), {key: tuple(gold) for key, gold in lost.items()})


def metrics(
    asked: Sequence[Question],
    *,
    answers: bool = False,
    lost: Mapping[str, Sequence[str]] | None = None,
    budget: int = BUDGET,
) -> Mapping[str, Figure]:
    """What a run over ASKED will be measured by, as it is for one that finds nothing."""
    nothing = {"results": [{"url": "", "anchor": "", "text": ""}], "confidence": 0.0, "abstain": False}
    blank = {**nothing, "citations": []} if answers else nothing
    return evaluate(asked, {each.id: blank for each in asked}, lost=lost, budget=budget).figures


def figures(scores: Sequence[Score]) -> dict[str, Figure]:
    """Each metric over those of SCORES that have it, in the order of the one that has most."""
    names = dict.fromkeys(name for each in sorted(scores, key=lambda each: -len(each.values)) for name in each.values)
    return {name: measures.mean([each.values[name] for each in scores if name in each.values]) for name in names}


def _trust(known: Sequence[Line], unknown: Sequence[Line]) -> dict[str, Figure]:
    """Does confidence tell what can be answered from what cannot, and is what cannot refused, and only that?"""
    found = {}
    sides = [[line["confidence"] for line in side if "confidence" in line] for side in (known, unknown)]
    if all(sides):
        found["auroc"] = measures.auroc(*sides)
    if refused := [float(line["abstain"]) for line in unknown if "abstain" in line]:
        found["refused"] = measures.mean(refused)
    if kept := [float(not line["abstain"]) for line in known if "abstain" in line]:
        found["kept"] = measures.mean(kept)
    return found


# Two runs


def compare(
    asked: Sequence[Question],
    before: Mapping[str, Line],
    after: Mapping[str, Line],
    *,
    lost: Mapping[str, Sequence[str]] | None = None,
    budget: int = BUDGET,
) -> Comparison:
    """The run AFTER against BEFORE, question by question; raises InvalidParams when they cannot be paired."""
    both = [each for each in asked if each.id in before and each.id in after]
    old, new = (evaluate(both, run, lost=lost, budget=budget) for run in (before, after))
    if not new.scores:
        raise InvalidParams("the two runs share no answerable question", hint="compare runs of one question file")
    if old.decisive != new.decisive:
        raise InvalidParams("one run holds answers, the other results", hint="give --answers to both, or to none")
    scored = new.scores.items()
    changes = {
        name: measures.mean(
            [one.values[name] - old.scores[key].values[name] for key, one in scored if name in one.values]
        )
        for name in figures([one for _, one in scored])
    }
    name = new.decisive
    gains = {key: one.values.get(name, 0.0) - old.scores[key].values.get(name, 0.0) for key, one in scored}
    ranks = {key: (old.scores[key].rank, one.rank) for key, one in scored}
    return Comparison(
        len(new.scores),
        old.figures,
        new.figures,
        changes,
        {key: ranks[key] for key, gain in gains.items() if gain > 0},
        {key: ranks[key] for key, gain in gains.items() if gain < 0},
        verdict(changes[name]),
    )


def verdict(difference: Figure) -> str:
    """One word on DIFFERENCE: its interval decides, for without one it may be chance."""
    if difference.low is not None and difference.low > 0:
        return "better"
    if difference.high is not None and difference.high < 0:
        return "worse"
    return "no difference that these questions can show"


def read_run(path: Path) -> dict[str, Line]:
    """The lines of a run file by question id; raises InvalidParams for what is none."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{path} cannot be read: {exc}", hint="make one with ragmacs eval --run FILE") from exc
    found: dict[str, Line] = {}
    for where, row in questions.json_lines(path, text):
        line = _run_line(f"{path}, {where}", row)
        if ("citations" in line) != ("citations" in next(iter(found.values()), line)):
            raise InvalidParams(f"{path}: up to {where} there are answers and results", hint=ANEW)
        found[line["id"]] = line
    if not found:
        raise InvalidParams(f"{path} holds no results", hint=ANEW)
    return found


def _run_line(where: str, row: Line) -> dict[str, Any]:
    """ROW with every result complete: an address may carry its anchor, the text may be absent."""
    if "id" not in row or "results" not in row:
        raise InvalidParams(f"{where} has no id or no results", hint=RUN_LINE)
    for key, sound in SOUND.items():
        if key in row and not sound(row[key]):
            raise InvalidParams(f"{where}: {key} = {questions.shown(row[key])}", hint=RUN_LINE)
    places = {key: [_result(each) for each in row[key]] for key in ("results", "citations") if key in row}
    if "citations" in places and not places["results"]:
        raise InvalidParams(f"{where}: an answer with citations, but without results", hint=RUN_LINE)
    return {**row, "id": questions.label(where, "id", row["id"]), **places}


def _result(row: Line) -> dict[str, Any]:
    url, _, anchor = row["url"].partition("#")
    return {**row, "url": url, "anchor": row.get("anchor") or anchor, "text": row.get("text") or ""}


def _are_results(raw: object) -> bool:
    return isinstance(raw, list) and all(isinstance(each, dict) and _is_result(each) for each in raw)


def _is_result(row: Line) -> bool:
    url, rest = row.get("url"), (row.get("anchor"), row.get("text"))
    named = isinstance(url, str) and questions.scheme(url.partition("#")[0]) is not None
    return named and all(each is None or isinstance(each, str) for each in rest)


def _is_number(raw: object) -> bool:
    return isinstance(raw, int | float) and not isinstance(raw, bool) and abs(raw) <= sys.float_info.max  # not NaN


SOUND: Mapping[str, Callable[[object], bool]] = {
    "results": _are_results,
    "citations": _are_results,
    "confidence": _is_number,
    "abstain": lambda raw: isinstance(raw, bool),
    "mode": lambda raw: isinstance(raw, str),
}


# The least that is wanted


def bounds(text: str) -> dict[str, float]:
    """Metric to the least wanted of it: TEXT is like `mrr@10=0.7,hit@5=0.85`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InvalidParams("no bound is given", hint=BOUNDS)
    return dict(map(_bound, parts))


def _bound(part: str) -> tuple[str, float]:
    name, _, least = part.rpartition("=")
    try:
        bound = float(least)
    except ValueError:
        bound = math.nan
    if not name or not math.isfinite(bound):
        raise InvalidParams(f"{part!r} is no bound", hint=BOUNDS)
    return name.strip().lower(), bound


def check_bounds(least: Mapping[str, float], measured: Collection[str]) -> None:
    """Raise InvalidParams when LEAST bounds what is not MEASURED."""
    for name in least:
        if name not in measured:
            raise InvalidParams(f"no metric {name!r}", hint="there are: " + ", ".join(measured))


def below(found: Mapping[str, Figure], least: Mapping[str, float]) -> list[str]:
    """What of FOUND is under the bound that LEAST gives it, a line each."""
    return [
        f"{name} is {found[name].value:.3f}, wanted: {bound:g}"
        for name, bound in least.items()
        if found[name].value < bound
    ]


def dump(line: Line) -> str:
    """LINE as a run file holds it."""
    return json.dumps(line, ensure_ascii=False) + "\n"
