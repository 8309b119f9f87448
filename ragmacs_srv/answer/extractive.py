"""Hits become an answer made of quotes, without an LLM: the units that answer best, in reading order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from ..model import Hit, Section
from ..search.confidence import coverage
from ..search.embed import Embedder
from .units import Unit, fenced, followers, group, units

SECTIONS = 8  # looked at
SHARE = 220  # characters of an answer for every section that is quoted from
CHUNK_SHARE = 0.5
SECTION_SHARE = 0.5
FIRST_BONUS = 0.1
FLOOR = 0.3  # of the best unit's score: what is far worse than the best only fills space


def best_units(
    question: str,
    hits: Sequence[Hit],
    embedder: Embedder | None,
    weights: Mapping[str, float],
    *,
    budget: int,
    speaks: Callable[[Unit], bool] = lambda unit: True,
) -> list[list[Unit]]:
    """The units that answer QUESTION within BUDGET characters, one list per section, best section first.

    HITS are those of a search, best first. A unit is worth its own likeness to the question, plus shares
    of what its chunk and its section were worth. One that does not SPEAK of what is asked is worth nothing.
    """
    hits = hits[:SECTIONS]
    every = [unit for hit in hits for unit in units(hit.section)]
    candidates = list(filter(speaks, every))
    if not candidates:
        return []
    likeness = _likeness(question, candidates, embedder, weights)
    priors = [prior for hit in hits for prior in _priors(hit, speaks)]
    scores = dict(zip(candidates, likeness + np.array(priors), strict=True))
    return _in_order(_chosen(candidates, scores, followers(every), budget), [hit.section for hit in hits])


def openings(hits: Sequence[Hit], *, budget: int) -> list[list[Unit]]:
    """How each section of HITS, in reading order, begins, as many as fit into BUDGET characters.

    One section under each heading comes before more of them; an introduction, which tells when and who, comes last.
    """
    met: set[str] = set()
    ranked: list[tuple[int, list[Unit]]] = []
    for hit in hits:
        every = units(hit.section)
        if every and every[0].kind != "code":
            name = hit.section.heading[1]
            opening = group(every[0], followers(every))
            ranked.append((2 if name.startswith("Introduction") else int(name in met), opening))
            met.add(name)
    chosen = set()
    for _, opening in sorted(ranked, key=itemgetter(0)):
        if (price := sum(map(cost, opening))) <= budget:
            budget -= price
            chosen.add(opening[0])
    return [opening for _, opening in ranked if opening[0] in chosen]


def cost(unit: Unit) -> int:
    """How many characters UNIT takes in an answer, its citation and line end included."""
    shown = fenced(unit.text) + "\n" if unit.kind == "code" else f"- {unit.text}"
    return len(shown) + len(" [9]\n")


def _likeness(
    question: str, candidates: Sequence[Unit], embedder: Embedder | None, weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """How much each unit, read by itself, is like QUESTION: 0 for the least of them, 1 for the most."""
    raw: NDArray[np.float64]
    if embedder is None:
        raw = np.array([coverage(weights, [unit.text]) for unit in candidates])
    else:
        vectors = embedder.embed([unit.text for unit in candidates])
        raw = np.asarray(vectors @ embedder.embed([question], query=True)[0], np.float64)
    spread = float(raw.max() - raw.min())
    return (raw - raw.min()) / spread if spread > 0 else np.ones_like(raw)


def _priors(hit: Hit, speaks: Callable[[Unit], bool]) -> Iterator[float]:
    """What the chunk and the section of each unit of HIT that SPEAKS add."""
    for unit in filter(speaks, units(hit.section)):
        chunk = next((score for each, score in hit.chunks if each.start <= unit.start < each.end), 0.0)
        yield CHUNK_SHARE * chunk + SECTION_SHARE * hit.score + FIRST_BONUS * unit.first


def _chosen(
    candidates: Sequence[Unit], scores: Mapping[Unit, float], after: dict[Unit, Unit], budget: int
) -> set[Unit]:
    """The best units that fit, each with the lead-in it needs; what two sections say is quoted once."""
    most = max(budget // SHARE, 1)
    chosen: set[Unit] = set()
    said: set[str] = set()
    cited: set[Section] = set()
    ranked = sorted(candidates, key=lambda unit: -scores[unit])
    for unit in ranked:
        if scores[unit] < FLOOR * scores[ranked[0]]:
            break
        members = [each for each in group(unit, after) if each not in chosen] if unit.text not in said else []
        price = sum(map(cost, members))
        if members and price <= budget and (unit.section in cited or len(cited) < most):
            budget -= price
            chosen.update(members)
            said.update(each.text for each in members)
            cited.add(unit.section)
    return chosen


def _in_order(chosen: set[Unit], sections: Sequence[Section]) -> list[list[Unit]]:
    by_section = [sorted((u for u in chosen if u.section == each), key=lambda u: u.start) for each in sections]
    return [each for each in by_section if each]
