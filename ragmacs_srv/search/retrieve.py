"""A question becomes hits: lexical and dense candidates, fused, the best re-ranked, gathered by section.

Without vectors the search is lexical alone; without token vectors the fused order stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RagmacsError
from ..model import Hit, Mode
from .confidence import Spans, Verdict, by_coverage, by_tokens
from .embed import Embedder, Encoded, TokenEmbedder
from .generation import EVERYWHERE, Generation, Scope
from .query import EVEN, Weights
from .query import facets as counted
from .terms import releases, terms

CANDIDATES = 60  # from each side: the right section is among them for every question we measured
LEXICAL_SHARE = 0.5
FUSED_GUARD, RERANKED_GUARD = 3, 5  # where the best lexical candidate stands at the latest
RERANKED = 30  # of the fused candidates; twice as many cost twice as much and gain nothing
FUSED_SHARE = 0.4  # of a re-ranked score; the best shares lie between .3 and .5, and differ by chance
Scored = list[tuple[int, float]]  # (chunk id, score), best first
JOINED = 20  # of the best chunks, those of one section are shown as one window
WINDOW = 1600  # characters that such a window may have
SPARE = 4  # sections read beyond those asked for, which may still be preferred
OWN_RELEASE = 0.1  # what a page gains when the question names the release that it is about
LEAST = 0.1  # what the last of the candidates, whose score is 0, has to be weighed with
ALMOST = 0.1  # behind the opening of a page, another section of that page is as good
OPENING = 1000  # characters that an opening has at most; a longer one says something itself


@dataclass(frozen=True, slots=True)
class Results:
    """Hits, best first, and how they were found.

    `reason` says why a hybrid search fell back to lexical, or is "". `verdict` says how far they can be trusted.
    """

    hits: tuple[Hit, ...]
    mode: Mode
    reason: str
    verdict: Verdict
    generation: int
    reranked_by: str = ""  # the LLM that put the hits in order, if one did
    notes: tuple[str, ...] = ()  # for the reader: what was asked for and could not be done
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # of the candidates, see `query.facets`

    @property
    def confidence(self) -> float:
        return self.verdict.confidence

    def as_json(self) -> dict[str, Any]:
        """What was found, as every transport gives it; `took_ms` is for who knows it."""
        return {
            "results": [hit.as_json() for hit in self.hits],
            "mode": self.mode,
            "reason": self.reason,
            "confidence": round(self.confidence, 3),
            "uncovered": list(self.verdict.uncovered),
            "generation": self.generation,
            "reranked_by": self.reranked_by,
            "notes": list(self.notes),
            "facets": {kind: dict(counts) for kind, counts in self.facets.items()},
        }


@dataclass(frozen=True, slots=True)
class _Order:
    """Chunks, best first. Where tokens were compared, `matches` says how well each of the best has each token."""

    scored: Scored
    matches: NDArray[np.float32] | None = None  # (chunks, tokens of the question), in the order of `scored`
    spans: Spans = ()  # which characters of the question the tokens stand for
    nearest: float = 0.0  # the cosine of the nearest chunk


def search(
    generation: Generation,
    embedder: Embedder | None,
    question: str,
    *,
    k: int,
    scope: Scope = EVERYWHERE,
    weights: Weights = EVEN,
    rerank: bool = True,
    reason: str = "",
    facets: bool = False,
) -> Results:
    """The K sections of SCOPE that answer QUESTION best.

    WEIGHTS are those of collections, see `weighted`; a page that is in several has the greatest of theirs.
    FACETS counts the sections that any candidate stands in.

    Without EMBEDDER, or with vectors of another model, the search is lexical; REASON then says why.
    RERANK lets the tokens of a hybrid search's candidates have their say, where they are known.
    Raises NotIndexed for a collection of SCOPE that is not in GENERATION.
    """
    generation.check_collections(scope.collections)
    found, weigh = None, _weigher(generation, scope, weights)
    if embedder is not None and (reason := _mismatch(generation, embedder)) == "":
        try:
            found = _hybrid(generation, embedder, question, scope, weigh, rerank=rerank)
        except RagmacsError as exc:
            reason = _said(exc)
    order = found or _Order(weigh(normalised(generation.lexical(terms(question), CANDIDATES, scope))))
    least = order.scored[:JOINED][-1][1] if order.scored else 0.0
    read = generation.hits(order.scored, scope, limit=k + SPARE)
    hits = [widened(hit, least) for hit in preferred(read, question)[:k]]
    verdict = _judged(generation, question, order, hits)
    mode: Mode = "hybrid" if found else "lexical"
    counts = counted(generation.tally([chunk for chunk, _ in order.scored])) if facets else {}
    number = generation.manifest.number
    return Results(tuple(hits), mode, "" if found else reason, verdict, number, facets=counts)


def _weigher(generation: Generation, scope: Scope, weights: Weights) -> Callable[[Scored], Scored]:
    """What multiplies scores by what the collections of SCOPE weigh."""

    def weigh(scored: Scored) -> Scored:
        of = generation.memberships([chunk for chunk, _ in scored])
        wanted = scope.collections
        each = {
            chunk: max(weights.get(name, 1.0) for name in names if not wanted or name in wanted)
            for chunk, names in of.items()
        }
        return weighted(scored, each)

    return weigh if weights else lambda scored: scored


def weighted(scored: Scored, weights: Mapping[int, float]) -> Scored:
    """SCORED, best first, with each score, counted from LEAST below 0, times its weight; 1 changes nothing.

    More weight never moves anything down, and can move up even what has the least of all scores.
    """
    factors = ((key, score, weights.get(key, 1.0)) for key, score in scored)
    moved = [(key, score if factor == 1 else (score + LEAST) * factor - LEAST) for key, score, factor in factors]
    return sorted(moved, key=lambda pair: -pair[1])


def ranked(
    generation: Generation,
    embedder: Embedder | None,
    question: str,
    chunks: Collection[int],
    *,
    words: str = "",
    reason: str = "",
) -> tuple[Scored, Mode, str]:
    """All of CHUNKS that speak of QUESTION, best first; how they were compared, and why not with vectors, or "".

    WORDS are what is looked for word by word, if that is not the question. REASON is as in `search`.
    """
    lexical = generation.lexical(terms(words or question), len(chunks), among=chunks)
    if embedder is not None and (reason := _mismatch(generation, embedder)) == "":
        try:
            dense = generation.dense(embedder.embed([question], query=True)[0], len(chunks), among=chunks)
            return fuse(lexical, dense), "hybrid", ""
        except RagmacsError as exc:
            reason = _said(exc)
    return normalised(lexical), "lexical", reason


def _hybrid(
    generation: Generation,
    embedder: Embedder,
    question: str,
    scope: Scope,
    weigh: Callable[[Scored], Scored],
    *,
    rerank: bool,
) -> _Order | None:
    """What both sides find, fused, and its best re-ranked by their tokens; None when there are no vectors."""
    asked = _encoded(embedder, question, tokens=rerank and generation.tokens is not None)
    lexical, dense = candidates(generation, terms(question), asked.vectors[0], scope)
    if not dense:
        return None
    fused = fuse(lexical, dense)
    if not (asked.tokens and isinstance(embedder, TokenEmbedder)):
        return _Order(weigh(fused))
    best = [chunk for chunk, _ in fused[:RERANKED]]
    matches = generation.maxsim(asked.tokens[0], best)
    scored = reranked(fused, [float(row.mean()) if len(row) else 0.0 for row in matches])
    scored = weigh(guaranteed(scored, lexical[0][0], place=RERANKED_GUARD) if lexical else scored)
    rows = [best.index(chunk) for chunk, _ in scored[: len(best)] if chunk in best]
    return _Order(scored, matches[rows], embedder.spans(question), max(score for _, score in dense))


def _judged(generation: Generation, question: str, order: _Order, hits: Sequence[Hit]) -> Verdict:
    if order.matches is not None:
        return by_tokens(generation, question, order.matches, order.spans, order.nearest)
    return by_coverage(generation, question, [" ".join((*hit.section.heading, hit.text)) for hit in hits])


def candidates(
    generation: Generation, query: Sequence[str], vector: NDArray[np.float32], scope: Scope
) -> tuple[Scored, Scored]:
    """The lexical and the dense candidates, each list with its score for those of the other, too.

    A chunk that only one side put forward is no stranger to the other: it just was not among its best.
    """
    near = [key for key, _ in generation.dense(vector, CANDIDATES, scope)]
    found = generation.lexical(query, CANDIDATES, scope, also=near)
    ids = {*near, *(key for key, _ in found[:CANDIDATES])}
    return [pair for pair in found if pair[0] in ids], generation.dense(vector, len(ids), among=ids)


def fuse(lexical: Sequence[tuple[int, float]], dense: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Both candidate lists as one, best first: the mean of the scores, each list's scaled to 0..1.

    The best lexical candidate keeps a place in the top three: a rare identifier that only it knows would
    otherwise drown among near neighbours.
    """
    sides = dict(normalised(lexical)), dict(normalised(dense))
    shares = LEXICAL_SHARE, 1 - LEXICAL_SHARE
    ids = dict.fromkeys([*sides[0], *sides[1]])
    fused = [(key, sum(share * side.get(key, 0.0) for share, side in zip(shares, sides, strict=True))) for key in ids]
    fused.sort(key=lambda pair: -pair[1])
    return guaranteed(fused, lexical[0][0], place=FUSED_GUARD) if lexical else fused


def reranked(scored: Sequence[tuple[int, float]], likeness: Sequence[float]) -> list[tuple[int, float]]:
    """SCORED with its best in a new order: LIKENESS says, one by one, how well their tokens answer.

    Both kinds of score are scaled to 0..1 and weighted; what was not compared follows in its old order.
    """
    best, rest = scored[: len(likeness)], scored[len(likeness) :]
    keys = [key for key, _ in best]
    both = zip(normalised(best), normalised(list(zip(keys, likeness, strict=True))), strict=True)
    mixed = [(key, FUSED_SHARE * fused + (1 - FUSED_SHARE) * alike) for (key, fused), (_, alike) in both]
    mixed.sort(key=lambda pair: -pair[1])
    return [*mixed, *((key, 0.0) for key, _ in rest)]


def normalised(scored: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The scores scaled to 0 (the least of them) .. 1 (the best), so that two kinds of score can be added."""
    if not scored:
        return []
    least, best = min(score for _, score in scored), max(score for _, score in scored)
    return [(key, (score - least) / (best - least) if best > least else 1.0) for key, score in scored]


def widened(hit: Hit, least: float) -> Hit:
    """HIT with its window grown over its other chunks that score at least LEAST, while it stays readable."""
    start, end = hit.start, hit.end
    for chunk, score in hit.chunks[1:]:
        first, last = min(start, chunk.start), max(end, chunk.end)
        if score >= least and last - first <= WINDOW:
            start, end = first, last
    return replace(hit, start=start, end=end)


def preferred(hits: Sequence[Hit], question: str) -> list[Hit]:
    """HITS in the order a reader would have them where scores hardly decide.

    A release that QUESTION names prefers its own pages. The short opening of a page, which announces what
    the sections below it say, stands behind one of them that is almost as good.
    """
    asked = releases(question)
    if asked:
        hits = sorted(hits, key=lambda hit: -hit.score - OWN_RELEASE * bool(asked & releases(hit.title)))
    placed = list(hits)
    for hit in hits:
        if hit.opening and len(hit.section.text) <= OPENING and (detail := _detail(hit, placed)):
            placed.remove(hit)
            placed.insert(placed.index(detail) + 1, hit)
    return placed


def _detail(opening: Hit, hits: Sequence[Hit]) -> Hit | None:
    """The first of HITS behind OPENING that is a section of its page and almost as good."""
    behind = hits[hits.index(opening) + 1 :]
    least = opening.score - ALMOST
    return next((hit for hit in behind if hit.section.url == opening.section.url and hit.score >= least), None)


def guaranteed(scored: list[tuple[int, float]], first: int, *, place: int) -> list[tuple[int, float]]:
    """SCORED with FIRST in the given PLACE, counted from 1, or where it is if that is better."""
    at = next(n for n, (key, _) in enumerate(scored) if key == first)
    if at < place:
        return scored
    moved = (first, scored[place - 1][1])
    return [*scored[: place - 1], moved, *scored[place - 1 : at], *scored[at + 1 :]]


def _encoded(embedder: Embedder, question: str, *, tokens: bool) -> Encoded:
    """QUESTION as a vector, and with TOKENS as those of its tokens, if EMBEDDER can tell them."""
    if tokens and isinstance(embedder, TokenEmbedder):
        return embedder.encode([question], query=True)
    return Encoded(embedder.embed([question], query=True), [])


def _mismatch(generation: Generation, embedder: Embedder) -> str:
    """Why GENERATION's vectors cannot be compared with EMBEDDER's, or ""."""
    made = generation.manifest
    if not made.model_key:
        return "the index holds no vectors yet; run: ragmacs reindex"
    if made.model_key != embedder.key:
        return f"the index was made with {made.model} {made.model_key}, not {embedder.key}; run: ragmacs reindex"
    if made.numeric != embedder.numeric:
        classes = f"{made.numeric} vectors, not {embedder.numeric} ones as [embed] engine gives"
        return f"the index holds {classes}; run: ragmacs reindex"
    try:
        dim = embedder.dim  # that of a server is known when it has answered
    except RagmacsError as exc:
        return _said(exc)
    if made.dim != dim:
        return f"{embedder.name} gives vectors of {dim} numbers now, the index holds {made.dim}; run: ragmacs reindex"
    return ""


def _said(exc: RagmacsError) -> str:
    return f"{exc.message} ({exc.hint})" if exc.hint else exc.message
