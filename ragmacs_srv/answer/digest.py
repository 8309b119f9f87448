"""A page becomes the few of its own words that say most of it: headings, sentences, and the names it uses.

No model is asked. A sentence is worth the weight of its terms for the page (tf-idf), less for what has been said
already, in a heading too, and more when it holds a number: numbers are what readers of a summary look for and
centroids lose. Names stand in their line only where no heading and no sentence says them.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..model import Section
from ..search.terms import terms
from .units import Unit, size, units

HEADINGS = 0.3  # of the words, at most
NAMES = 0.15  # of the words, at most, and in a line of their own that says what it is
MOST_NAMES = 200  # looked at
LABEL = "Names and numbers:"
SHORTEST, LONGEST = 5, 70  # words of a sentence
OFTEN = 0.75  # the power of how often a term is said: forty times are not forty times as telling as once
NUMBER = 0.2  # what a digit adds to a sentence, where the best one is worth 1
REPEATED = 1.5  # how much less a term is worth each time that it has been said
SPARE = 8  # words added to the length of a sentence before its worth is divided by it
EMPTY = re.compile(
    r"(?:acknowledge?ments?|conclusions?|credits|feedback|further reading|introduction|next steps|overview|"
    r"references|related articles|see also|summary|table of contents|why now\?|what'?s next\??|notes?)",
    re.IGNORECASE,
)
# A sentence that leans on one before it, or speaks of the text and its people and not of the subject.
APART = re.compile(
    r"(?:This|That|These|Those|It|They|He|She|Such|However|Therefore|Thus|Hence|Instead|Moreover|Also|But|And|So|Then|"
    r"Otherwise|Here|Both|Similarly|Secondly|Finally|For (?:example|instance)|In (?:this|the (?:next|following|above))|"
    r"In both|Note that|As (?:we|you|noted|mentioned)|Let'?s|We (?:want|thank|hope)|I|I'd|Thanks|See|"
    r"Our|Now)\b"
)
SPAN = re.compile(r"`([^`\n]*)`")
NAME = re.compile(
    r"\bGo 1\.\d+|\d+(?:\.\d+)?(?:[–-]\d+(?:\.\d+)?)?%|\b[A-Z][A-Z0-9_-]+[A-Z0-9]\b|"
    r"\b(?:\w+\.)?[A-Z][a-z]++(?:[A-Z][a-z0-9]*+)++\b"
)
WORTHY = re.compile(r"(?=.*[A-Za-z])\S(?:.{0,38}\S)")
NUMBERING = re.compile(r"^[\d.]+\s+|\s*[¶#]\s*$")


@dataclass(frozen=True, slots=True)
class Digest:
    """What stands for a page: headings and units, in reading order per section, and names, most telling first."""

    headings: tuple[Section, ...]
    units: tuple[Unit, ...]
    names: tuple[str, ...]


def digest(
    sections: Sequence[Section], words: int, *, headings: float | None = None, named: float | None = None
) -> Digest:
    """The digest of SECTIONS that takes at most WORDS words when it is written out by `summarize`.

    HEADINGS and NAMED are the shares of the words for headings and for names, if they are not the usual ones.
    """
    headed = outline(sections, int(words * (HEADINGS if headings is None else headings)))
    reserved = int(words * (NAMES if named is None else named))
    left = words - sum(size(title(each)) for each in headed)
    quoted = central(sections, left - reserved, map(title, headed))
    said = [*map(title, headed), *(unit.text for unit in quoted)]
    found = names(sections, reserved, said)
    if reserved and not found:  # their words are the sentences' then
        quoted = central(sections, left, map(title, headed))
    return Digest(tuple(headed), tuple(quoted), tuple(found))


def title(section: Section) -> str:
    """The heading of SECTION, without its number."""
    return NUMBERING.sub("", section.heading[-1]).strip() if section.heading else ""


def outline(sections: Sequence[Section], words: int) -> list[Section]:
    """The sections whose headings say most within WORDS words: outer ones first, each heading once."""
    seen = {each.heading[0].lower() for each in sections[:1] if each.heading}
    candidates = []
    for section in sections:
        name = title(section)
        if len(section.heading) > 1 and name and name.lower() not in seen and not EMPTY.fullmatch(name):
            seen.add(name.lower())
            candidates.append(section)
    chosen = set()
    for section in sorted(candidates, key=lambda each: len(each.heading)):
        if size(title(section)) <= words:
            chosen.add(section)
            words -= size(title(section))
    return [each for each in candidates if each in chosen]


def central(sections: Sequence[Section], words: int, headings: Iterable[str] = ()) -> list[Unit]:
    """The sentences that, beside HEADINGS, say most of what SECTIONS say in WORDS words; in reading order."""
    found: dict[str, Unit] = {}  # what is said twice counts once, where it is said first
    for unit in (unit for section in sections for unit in units(section) if _quotable(unit)):
        found.setdefault(unit.text, unit)
    candidates = [*found.values()]
    texts = [*found]
    sizes = list(map(size, texts))
    spoken = [tuple(dict.fromkeys(terms(text))) for text in texts]
    weights = _weights(spoken, sections)
    said = Counter(term for heading in headings for term in set(terms(heading)))
    bonus = [NUMBER if re.search(r"\d", text) else 0.0 for text in texts]

    def worth(n: int) -> float:
        return sum(weights[term] / (1 + REPEATED * said[term]) for term in spoken[n]) / (sizes[n] + SPARE)

    plain = [worth(n) for n in range(len(candidates))]
    best = max(plain, default=0.0) or 1.0
    # What is said makes the others worth less, never more: who is still first after a second look is the best.
    queue = [(-(each / best + bonus[n]), n) for n, each in enumerate(plain)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and words >= SHORTEST:
        promised, n = heapq.heappop(queue)
        if sizes[n] > words:
            continue
        now = -(worth(n) / best + bonus[n])
        if now > promised:
            heapq.heappush(queue, (now, n))
            continue
        chosen.append(n)
        said.update(spoken[n])
        words -= sizes[n]
    return [candidates[n] for n in sorted(chosen)]


def names(sections: Sequence[Section], words: int, said: Sequence[str] = ()) -> list[str]:
    """The code, names and numbers that SECTIONS speak of most, and SAID does not, in at most WORDS words."""
    texts = [
        "\n".join(section.text[b.start : b.end] for b in section.blocks if b.kind != "code") for section in sections
    ]
    if not any(map(str.strip, texts)):  # a page of code: what it defines and calls
        texts = [section.text for section in sections]
    total: Counter[str] = Counter()
    spread: Counter[str] = Counter()
    for counts in (Counter(_named(text)) for text in texts):
        total.update(counts)
        spread.update(counts.keys())
    worth = {name: total[name] * math.log(1 + len(sections) / spread[name]) for name in total}
    known = "\n".join(said).lower()
    chosen: list[str] = []
    for name in sorted(worth, key=lambda each: -worth[each])[:MOST_NAMES]:
        if _says(known, name) or size(name) > words - size(LABEL):
            continue
        if not any(_same(name, other) for other in chosen):
            chosen.append(name)
            words -= size(name)
    return chosen


def _quotable(unit: Unit) -> bool:
    """Whether UNIT says something where it stands alone, and says it of the subject."""
    if unit.kind in {"code", "row"} or (unit.lead is not None and unit.kind == "sentence"):
        return False
    text = unit.text
    return SHORTEST <= size(text) <= LONGEST and not (text.endswith((":", "?")) or APART.match(text))


def _weights(spoken: Sequence[Collection[str]], sections: Sequence[Section]) -> Mapping[str, float]:
    """What the page is about: the weight of each term, by how often it stands and in how few sentences."""
    counts = Counter(term for section in sections for term in terms(section.text))
    spread = Counter(term for each in spoken for term in each)
    return {term: counts[term] ** OFTEN * math.log(1 + len(spoken) / spread[term]) for term in spread}


def _named(text: str) -> Iterator[str]:
    yield from (span for span in map(str.strip, SPAN.findall(text)) if WORTHY.fullmatch(span))
    yield from NAME.findall(SPAN.sub(" ", text))


def _same(name: str, other: str) -> bool:
    """Whether one of two names says the other, too: `runtime.GC` and `GC`."""
    short, long = sorted((name.lower(), other.lower()), key=len)
    return short == long or _says(long, short)


def _says(text: str, name: str) -> bool:
    """Whether TEXT, in lower case, holds NAME, and not only as a part of a word."""
    name = name.lower()
    at = text.find(name)
    while at >= 0 and (_is_letter(text[at - 1 : at]) or _is_letter(text[at + len(name) : at + len(name) + 1])):
        at = text.find(name, at + 1)
    return at >= 0


def _is_letter(char: str) -> bool:
    return "a" <= char <= "z"
