"""A question of what releases changed becomes the sections of their notes that speak of it, release by release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Hit, Mode
from ..search import labels, retrieve
from ..search.confidence import word_weights
from ..search.embed import Embedder
from ..search.generation import Generation, Scope
from ..search.labels import Release
from ..search.retrieve import Scored
from ..search.terms import terms
from .changes import SPEAKS, Change, Topic
from .extractive import best_units, openings
from .units import Unit, units

CHUNKS = 12  # of each release that are looked at
HEAD = 20  # characters of the line that names it
SHARE = 250  # characters that a release is given at least; those there is no room for are named
WIDER = 3  # times as long as another answer an answer may be that goes release by release
MATCHES = 3  # releases that a question for the one gets, as far as they are nearly as good as the best
DEEP = 3  # headings, that of the page among them, stand above what an overview quotes
ALIKE = 0.6  # of the score of the best is nearly as good


@dataclass(frozen=True, slots=True)
class Part:
    """What the notes of one release say: hits, best first."""

    release: Release
    hits: tuple[Hit, ...]


class Quoted(NamedTuple):
    """What is quoted of a section of the notes of a release."""

    release: Release
    hit: Hit
    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What releases say of a topic, in the order of the answer.

    `silent` are the releases asked about whose notes do not speak of it, newest first; `mode` and `reason` are as
    in Results. `rarity` says what each name in the topic counts, `weights` each word of all ways to say it.
    """

    change: Change
    parts: tuple[Part, ...]
    silent: tuple[Release, ...]
    mode: Mode
    reason: str
    rarity: Mapping[str, float]
    weights: Mapping[str, float]

    @property
    def wider(self) -> int:
        """How many times as long as another answer this one may be: many releases have more to say than one."""
        return 1 if self.change.which else min(len(self.parts), WIDER)

    @property
    def missing(self) -> str:
        """Why there is nothing, for the reader; "" where nobody named a release: it may not be one of Go's."""
        if self.parts or self.change.which or self.change.newest:
            return ""
        if self.silent:
            return f"the notes of {named(self.silent)} do not mention {self.change.topic.text!r}"
        return "no notes of the releases asked about are indexed; for those of Go: ragmacs crawl go-gc"

    def speaks(self, unit: Unit) -> bool:
        """Whether UNIT, under its heading, speaks of the topic."""
        return _speaks(self.change.topic, unit, self.rarity)


def find(generation: Generation, embedder: Embedder | None, change: Change, *, scope: Scope, reason: str) -> Found:
    """What the notes of each release that CHANGE asks about say of its topic, or say at all, within SCOPE.

    Without EMBEDDER they are compared by their words alone; REASON then says why.
    """
    only = None if scope.pages is None else set(scope.pages)
    notes = [
        each for each in generation.labels(scope.collections) if each.notes and (only is None or each.page in only)
    ]
    of = {each.page: labels.number(each.release) for each in notes}
    wanted = change.about(of.values())
    if not wanted:
        return Found(change, (), (), "lexical", "", {}, {})
    chunks = generation.chunks_of([page for page, release in of.items() if release in wanted])
    release = {each.url: of[each.page] for each in notes}
    if not change.topic.wordings:
        hits = generation.hits(((chunk, 1.0) for chunk in sorted(chunks)), scope)  # in reading order
        parts = _parts(wanted, [hit for hit in hits if 1 < len(hit.section.heading) <= DEEP], release)
        return Found(change, parts, (), "lexical", "", {}, {})
    topic = change.topic
    scored, mode, reason = retrieve.ranked(generation, embedder, topic.text, chunks, words=topic.words, reason=reason)
    rarity = {name: min(word_weights(generation, name).values(), default=0.0) for name, *_ in topic.wordings}
    hits = generation.hits(_best_of_each(scored, {chunk: of[page] for chunk, page in chunks.items()}), scope)
    said = [hit for hit in hits if any(_speaks(topic, unit, rarity) for unit in units(hit.section))]
    speaking = _parts(wanted, said, release)
    silent = tuple(each for each in wanted if each not in {part.release for part in speaking})
    weights = word_weights(generation, topic.words)
    return Found(change, tuple(_ordered(change, speaking)), silent, mode, reason, rarity, weights)


def quoted(found: Found, embedder: Embedder | None, *, budget: int) -> list[Quoted]:
    """What to quote of FOUND within BUDGET characters, in the order of the answer; each release has its share.

    Releases for which there is no room have nothing.
    """
    parts = found.parts[: max(1, budget // SHARE)]
    share = budget // len(parts)
    return [
        Quoted(part.release, next(hit for hit in part.hits if hit.section == sequence[0].section), tuple(sequence))
        for part in parts
        for sequence in _units(found, part, embedder, share - HEAD)
    ]


def _units(found: Found, part: Part, embedder: Embedder | None, share: int) -> list[list[Unit]]:
    """The units of PART that fit into SHARE characters, or the best of them however long it is."""
    text = found.change.topic.text
    for room in (share, 2 * share, 100 * share):
        chosen = (
            best_units(text, part.hits, embedder, found.weights, budget=room, speaks=found.speaks)
            if text
            else openings(part.hits, budget=room)
        )
        if chosen:
            return chosen if room == share else [chosen[0][:1]]
    return []


def _parts(wanted: Sequence[Release], hits: Sequence[Hit], release: Mapping[str, Release]) -> tuple[Part, ...]:
    """HITS under those of the WANTED releases whose they are: RELEASE says it for the address of each page."""
    parts = (Part(each, tuple(hit for hit in hits if release[hit.section.url] == each)) for each in wanted)
    return tuple(part for part in parts if part.hits)


def _speaks(topic: Topic, unit: Unit, rarity: Mapping[str, float]) -> bool:
    said = set(terms(" ".join((*unit.section.heading[1:], unit.text))))
    return topic.covered(said, rarity) >= SPEAKS


def _best_of_each(scored: Scored, release: Mapping[int, Release]) -> Iterator[tuple[int, float]]:
    """The best CHUNKS of each release, in the order of SCORED."""
    taken: dict[Release, int] = {}
    for chunk, score in scored:
        count = taken.get(release[chunk], 0)
        if count < CHUNKS:
            taken[release[chunk]] = count + 1
            yield chunk, score


def _ordered(change: Change, parts: Sequence[Part]) -> Sequence[Part]:
    """PARTS newest first; for the question which release it was the best first, and only what is nearly as good."""
    if not (change.which and parts):
        return parts
    ranked = sorted(parts, key=lambda part: -part.hits[0].score)
    least = ALIKE * ranked[0].hits[0].score
    return [part for part in ranked[:MATCHES] if part.hits[0].score >= least]


def named(releases: Sequence[Release]) -> str:
    """RELEASES, newest first, as people list them: "Go 1.27 to 1.24 and 1.20"."""
    runs: list[list[Release]] = []
    for each in releases:
        if runs and runs[-1][-1] == (each[0], each[1] + 1):
            runs[-1].append(each)
        else:
            runs.append([each])
    names = [" to ".join(labels.name(each) for each in dict.fromkeys((run[0], run[-1]))) for run in runs]
    return "Go " + " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
