"""A page becomes the few of its own words that say most of it: headings, sentences, and the names it uses.

No model is asked. A sentence is worth the weight of its terms for the page (tf-idf), less for what has been said
already, and more when it holds a number: numbers are what readers of a summary look for and centroids lose.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..model import Section
from ..search.terms import terms
from .units import Unit, units

HEADINGS = 0.3  # of the words, at most
NAMES = 0.15  # of the words, at most, and in a line of their own that says what it is
MOST_NAMES = 200  # looked at
LABEL = "Names and numbers:"
SHORTEST, LONGEST = 5, 70  # words of a sentence
CENTRAL = 80  # terms that a page is about
NUMBER = 0.2  # what a digit adds to a sentence, where the best one is worth 1
REPEATED = 1.5  # how much less a term is worth each time that it has been said
PACKED = 0.8  # how much a long sentence is punished for its length
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


def digest(sections: Sequence[Section], words: int) -> Digest:
    """The digest of SECTIONS that takes at most WORDS words when it is written out by `summarize`."""
    named = names(sections, int(words * NAMES))
    left = words - sum(map(size, named)) - (size(LABEL) if named else 0)
    headed = outline(sections, int(words * HEADINGS))
    left -= sum(size(title(each)) for each in headed)
    return Digest(tuple(headed), tuple(central(sections, left)), tuple(named))


def size(text: str) -> int:
    """How many words TEXT has."""
    return len(text.split())


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


def central(sections: Sequence[Section], words: int) -> list[Unit]:
    """The sentences that say most of what SECTIONS say within WORDS words, in reading order."""
    candidates = [unit for section in sections for unit in units(section) if _quotable(unit)]
    spoken = [tuple(dict.fromkeys(terms(unit.text))) for unit in candidates]
    weights = _weights(spoken, sections)
    said: Counter[str] = Counter()

    def worth(n: int) -> float:
        return _worth(spoken[n], weights, said, candidates[n])

    plain = [worth(n) for n in range(len(candidates))]
    best = max(plain, default=0.0) or 1.0
    # What is said makes the others worth less, never more: who is still first after a second look is the best.
    queue = [(-(each / best + _bonus(candidates[n])), n) for n, each in enumerate(plain)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and words >= SHORTEST:
        promised, n = heapq.heappop(queue)
        if size(candidates[n].text) > words:
            continue
        now = -(worth(n) / best + _bonus(candidates[n]))
        if now > promised:
            heapq.heappush(queue, (now, n))
            continue
        chosen.append(n)
        said.update(spoken[n])
        words -= size(candidates[n].text)
    return [candidates[n] for n in sorted(chosen)]


def names(sections: Sequence[Section], words: int) -> list[str]:
    """The code, names and numbers that SECTIONS speak of most, in at most WORDS words."""
    texts = [
        "\n".join(section.text[b.start : b.end] for b in section.blocks if b.kind != "code") for section in sections
    ]
    counts = [Counter(_named(text)) for text in texts]
    total: Counter[str] = sum(counts, Counter())
    spread = Counter(name for each in counts for name in each)
    worth = {name: total[name] * math.log(1 + len(sections) / spread[name]) for name in total}
    chosen: list[str] = []
    for name in sorted(worth, key=lambda each: -worth[each])[:MOST_NAMES]:
        if size(name) <= words - size(LABEL) and not any(_same(name, other) for other in chosen):
            chosen.append(name)
            words -= size(name)
    return chosen


def _quotable(unit: Unit) -> bool:
    """Whether UNIT says something where it stands alone, and says it of the subject."""
    if unit.kind in {"code", "row"} or not SHORTEST <= size(unit.text) <= LONGEST:
        return False
    leans = unit.lead is not None and unit.kind == "sentence"
    return not (leans or unit.text.endswith((":", "?")) or APART.match(unit.text))


def _weights(spoken: Sequence[Collection[str]], sections: Sequence[Section]) -> Mapping[str, float]:
    """What the page is about: its CENTRAL heaviest terms, by how often they stand and in how few sentences."""
    counts = Counter(term for section in sections for term in terms(section.text))
    spread = Counter(term for each in spoken for term in each)
    weights = {term: counts[term] * math.log(1 + len(spoken) / spread[term]) for term in spread}
    return dict(sorted(weights.items(), key=lambda pair: -pair[1])[:CENTRAL])


def _worth(spoken: Collection[str], weights: Mapping[str, float], said: Mapping[str, int], unit: Unit) -> float:
    total = sum(weights[term] / (1 + REPEATED * said.get(term, 0)) for term in spoken if term in weights)
    return float(total / (size(unit.text) + 8) ** PACKED)


def _bonus(unit: Unit) -> float:
    return NUMBER if re.search(r"\d", unit.text) else 0.0


def _named(text: str) -> Iterator[str]:
    yield from (span for span in map(str.strip, SPAN.findall(text)) if WORTHY.fullmatch(span))
    yield from NAME.findall(SPAN.sub(" ", text))


def _same(name: str, other: str) -> bool:
    """Whether one of two names says the other, too: `runtime.GC` and `GC`."""
    short, long = sorted((name.lower(), other.lower()), key=len)
    return short == long or re.search(rf"(?<![a-z]){re.escape(short)}(?![a-z])", long) is not None
