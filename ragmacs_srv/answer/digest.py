"""A page becomes the few of its own words that say most of it: headings, sentences, and the names it uses.

No model is asked. A sentence is worth the weight of its terms for the page (tf-idf), less for what has been said
already, in a heading too, less where its section has spoken, and more when it holds a number, which readers of a
summary look for and centroids lose, or begins its section. Where the page begins by saying what its title names, so
does the digest. Names stand in their line only where no heading and no sentence says them.
"""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..model import Section
from ..search.terms import STOP, terms
from .alone import introduces, is_vague, stands_alone
from .units import Unit, size, units

HEADINGS = 0.3  # of the words, at most
NAMES = 0.15  # of the words, at most, and in a line of their own that says what it is
MOST_NAMES = 200  # looked at
LABEL = "Names and numbers:"
ALSO = "Also there:"  # the headings of which nothing is quoted
SHORTEST, LONGEST = 5, 70  # words of a sentence
OFTEN = 0.75  # the power of how often a term is said: forty times are not forty times as telling as once
NUMBER = 0.2  # what a digit adds to a sentence, where the best one is worth 1
REPEATED = 1.5  # how much less a term is worth each time that it has been said
FIRST = 0.2  # what it adds that a sentence is the first of its section: there the subject is named
HEARD = 0.25  # how much less a sentence is worth for each that its section has had already
VAGUE = 0.5  # what a sentence is worth that may not be understood alone
EARLY, LEAD = 6, 45  # sentences among which the one is that says what the page is about, and its most words
SPARE = 8  # words added to the length of a sentence before its worth is divided by it
# Headings that name a part of any text, and those of parts that are about something else than it.
EMPTY = re.compile(
    r"(?:conclusions?|feedback|introduction(?: to .*)?|overview|summary|why now\?|notes?|wrapping up|usage|examples?)",
    re.IGNORECASE,
)
ASIDE = re.compile(
    r"(?:acknowledge?ments?|(?:additional|further|more|other) (?:resources|reading|information)|resources|credits|"
    r"(?:special )?thanks|thank you!?|footnotes|learn more|next steps|references|related (?:articles|posts|pages|work)|"
    r"see also|table of contents|what.s next\??|about the authors?|contact|share this.*|comments|subscribe.*)",
    re.IGNORECASE,
)
# What is measured or counted, and releases; not the digits of an identifier, an index, a figure.
QUANTITY = re.compile(
    r"\d ?%|\d ?[KMGT]i?B\b|\d(?:x|[- ](?:times|fold|bits?|bytes|cores?|seconds?|minutes?|hours?|days?))\b|"
    r"\d ?(?:ns|[µu]s|ms|s|[kMG]Hz)\b|\b(?:[A-Z]\w+|[Vv]ersion) \d+\.\d|\b\w+=\d"
)
SPAN = re.compile(r"`([^`\n]*)`")
NAME = re.compile(
    r"\bGo 1\.\d+|\d+(?:\.\d+)?(?:[–-]\d+(?:\.\d+)?)?%|\b[A-Z][A-Z0-9_-]+[A-Z0-9]\b|"
    r"\b(?:\w+\.)?[A-Z][a-z]++(?:[A-Z][a-z0-9]*+)++\b"
)
# Code that can be looked up: no plain word, no variable of an example, nor an element of one.
WORTHY = re.compile(r"(?=.*[A-Za-z])(?![a-z]+\Z|\w{1,2}(?:\[.*)?\Z|\w+\[[\w:]*\]\Z)\S(?:.{0,38}\S)")
OF_WHAT = re.compile(r"(?: [a-z-]+(?= |\Z|[.,;:)])){1,4}")
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
    left = words - sum(size(title(each)) for each in headed) - size(ALSO) * bool(headed)
    quoted = central(sections, left - reserved, headed, lead=True)
    said = [*map(title, headed), *(text for unit in quoted for text in (label(unit.section), unit.text))]
    found = names(sections, reserved, said)
    if reserved and not found:  # their words are the sentences' then
        quoted = central(sections, left, headed, lead=True)
    return Digest(tuple(headed), tuple(quoted), tuple(found))


def title(section: Section) -> str:
    """The heading of SECTION, without its number."""
    return NUMBERING.sub("", section.heading[-1]).strip() if section.heading else ""


def label(section: Section) -> str:
    """What stands before what is quoted of SECTION: its heading, if that says anything and is not the page's."""
    name = title(section) if len(section.heading) > 1 else ""
    return "" if EMPTY.fullmatch(name) else name


def outline(sections: Sequence[Section], words: int) -> list[Section]:
    """The sections whose headings say most within WORDS words: outer ones first, each heading once."""
    seen = {each.heading[0].lower() for each in sections[:1] if each.heading}
    candidates = []
    for section in sections:
        name = title(section)
        if label(section) and name.lower() not in seen and not ASIDE.fullmatch(name):
            seen.add(name.lower())
            candidates.append(section)
    chosen = set()
    for section in sorted(candidates, key=lambda each: len(each.heading)):
        if size(title(section)) <= words:
            chosen.add(section)
            words -= size(title(section))
    return [each for each in candidates if each in chosen]


def central(
    sections: Sequence[Section], words: int, headed: Collection[Section] = (), *, lead: bool = False
) -> list[Unit]:
    """The sentences that, beside the headings of HEADED, say most of what SECTIONS say; in reading order.

    They take WORDS words at most, together with the headings of their sections, where those are not of HEADED.
    With LEAD the one is among them with which the page says what it is about, if it does.
    """
    first = opening(sections) if lead else None
    found: dict[str, Unit] = {}  # what is said twice counts once, where it is said first
    for unit in _candidates(sections):
        if unit == first or _quotable(unit):
            found.setdefault(unit.text, unit)
    candidates = [*found.values()]
    texts = [*found]
    sizes = list(map(size, texts))
    spoken = [tuple(dict.fromkeys(terms(text))) for text in texts]
    weights = _weights(spoken, sections)
    said = Counter(term for each in headed for term in set(terms(title(each))))
    heard = Counter({each.link: 0 for each in headed})
    bonus = [NUMBER * (QUANTITY.search(each.text) is not None) + FIRST * each.first for each in candidates]
    share = [VAGUE if is_vague(text) else 1.0 for text in texts]

    def worth(n: int) -> float:
        return sum(weights[term] / (1 + REPEATED * said[term]) for term in spoken[n]) / (sizes[n] + SPARE)

    plain = [worth(n) for n in range(len(candidates))]
    best = max(plain, default=0.0) or 1.0

    def value(n: int, own: float) -> float:
        return (share[n] * own / best + bonus[n]) / (1 + HEARD * heard[candidates[n].section.link])

    # What is said makes the others worth less, never more: who is still first after a second look is the best.
    queue = [(-9.0 if each == first else -value(n, plain[n]), n) for n, each in enumerate(candidates)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and words >= SHORTEST:
        promised, n = heapq.heappop(queue)
        section = candidates[n].section
        cost = sizes[n] + (size(label(section)) if lead and section.link not in heard else 0)
        if cost > words:
            continue
        now = -9.0 if candidates[n] == first else -value(n, worth(n))
        if now > promised:
            heapq.heappush(queue, (now, n))
            continue
        chosen.append(n)
        said.update(spoken[n])
        heard[section.link] += 1
        words -= cost
    return [candidates[n] for n in sorted(chosen)]


def opening(sections: Sequence[Section]) -> Unit | None:
    """The sentence at the beginning of SECTIONS that speaks of what their page's title names."""
    subject = {term for section in sections[:1] for term in terms(" ".join(section.heading[:1]))}
    for unit in itertools.islice(_candidates(sections), EARLY):
        sound = introduces(unit.text) or _quotable(unit)
        if unit.kind == "sentence" and sound and size(unit.text) <= LEAD and subject & set(terms(unit.text)):
            return unit
    return None


def _candidates(sections: Sequence[Section]) -> Iterator[Unit]:
    return (unit for section in sections if not ASIDE.fullmatch(title(section)) for unit in units(section))


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
    return SHORTEST <= size(unit.text) <= LONGEST and stands_alone(unit.text, whole=unit.kind == "sentence")


def _weights(spoken: Sequence[Collection[str]], sections: Sequence[Section]) -> Mapping[str, float]:
    """What the page is about: the weight of each term, by how often it stands and in how few sentences."""
    counts = Counter(term for section in sections for term in terms(section.text))
    spread = Counter(term for each in spoken for term in each)
    return {term: counts[term] ** OFTEN * math.log(1 + len(spoken) / spread[term]) for term in spread}


def _named(text: str) -> Iterator[str]:
    yield from (span for span in map(str.strip, SPAN.findall(text)) if WORTHY.fullmatch(span))
    yield from (_measured(found) for found in NAME.finditer(SPAN.sub(" ", text)))


def _measured(found: re.Match[str]) -> str:
    """A name as it is, a percentage with the words that say of what."""
    behind = OF_WHAT.match(found.string, found.end()) if found[0].endswith("%") else None
    words = behind[0].split() if behind else []
    while words and words[-1].lower() in STOP:
        words.pop()
    return " ".join([found[0], *words])


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
