"""A question of what releases changed becomes its topic and the releases it is about."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ..search.labels import Release, number
from ..search.terms import content_spans, terms

FIRST, LAST = (0, 0), (99, 0)
ALONE = {"upgrade", "between", "since", "onwards", "before", "until", "last", "newest", "in"}  # need no topic
FEW = 4  # releases that "the last releases" are: those of two years
SPEAKS = 0.6  # of a topic, weighted by how rare its words are, stands in what speaks of it

_NO_UNIT = r"(?!\.?\d|\w|\s?%|\s(?:cores?|cpus?|[kmgt]i?b|m?s|times)\b)"
_RELEASE = rf"(?:(?:go|version|release)\s?v?[1-9]|v?1)\.\d{{1,2}}(?:\.\d+)?{_NO_UNIT}"
_R = rf"(?P<from>{_RELEASE})"
_TO = rf"(?P<to>{_RELEASE})"
_RECENT = r"(?:last|latest|newest|past|(?:most )?recent)"
_MANY = r"(?:releases|versions)"
_NEWS = r"(?:changes|improvements|news)(?:\s(?:to|in|of|for|about)\b|\s?[?.!]?\s*$)"
_COUNT = r"(?P<count>\d\d?|two|three|four|five|six|couple of|few)?"
# What of a question names the releases, the most telling first. None of them can match in more than linear time.
_RANGES: Mapping[str, re.Pattern[str]] = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        "upgrade": rf"\bfrom\s{_R}\s(?:up\s)?(?:to|until|through)\s{_TO}",
        "between": rf"\b(?:between\s)?{_R}\s?(?:and|to|until|through|[-–])\s?{_TO}",
        "since": rf"\b(?:ever\s)?(?:since|after|newer than|later than|seit|depuis|desde)\s{_R}",
        "onwards": rf"\b(?:from|in|with|as of|starting with)\s{_R}\s(?:onwards?|on|(?:and|or) (?:later|newer|up))",
        "before": rf"\b(?:before|prior to|earlier than|older than)\s{_R}",
        "until": rf"\b(?:until|up to|till)\s{_R}",
        "last": rf"\b(?:(?:in|over|with|of|by)\s)?(?:the\s)?{_RECENT}\s{_COUNT}\s?(?:go\s)?{_MANY}",
        "newest": rf"\b(?:in|with|of|by)\s(?:the\s)?{_RECENT}\s(?:go\s)?(?:release|version)",
        "news": rf"^\s*(?:what (?:are|were)\s)?(?:the\s)?{_RECENT}\s(?=(?:[\w.'-]+\s){{0,3}}{_NEWS})",
        "which": r"\b(?:(?:since|in|as of|from|with)\s)?(?:which|what)\s(?:go\s)?(?:release|version)s?(?:\sof\sgo)?",
        "when": r"\bwhen\s(?:was|were|did)\b",
        "in": rf"\b(?:in|with|by|of|for|did|does|has)\s(?:the\s)?{_R}",
    }.items()
}
# What says that the question is about change; a word of them is no topic.
_CHANGE = re.compile(
    r"(?:chang|introduc|improv|differen|happen|evol|geänder|änder|fix)\w*|(?:what(?:’|'|\si)?s\s)?new|news|history|added|adds?|"
    r"removed?|dropped|brings?|brought|release\snotes|nouveau\w*|nuevo\w*|chang[ée]\w*|cambi\w*",
    re.IGNORECASE,
)
_ASKS_CHANGE = re.compile(rf"\b(?:{_CHANGE.pattern})\b", re.IGNORECASE)
_SINCE_WHICH = re.compile(r"\b(?:since|as of|from) (?:which|what) (?:go )?(?:release|version)", re.IGNORECASE)
_NO_CHANGE = re.compile(r"\s*(?:why|how (?:do|can|should|to)|should|can|do I|does|is)\b", re.IGNORECASE)
_FRAME = re.compile(
    rf"{_CHANGE.pattern}|go|golang|releases?|versions?|notes?|list|tell|show|give|summar\w+|came|come|comes|get|got|"
    r"work|support(?:s|ed)?|available|possible|first|appear\w*|regarding|concerning|respect|things?|behaviou?r",
    re.IGNORECASE,
)

# Ways to say the same, and what belongs to it: notes call the collector by any of its names, or by what it is set with.
_NAMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("garbage collector", "garbage collection", "GC"), ("memory limit", "GOGC", "GOMEMLIMIT", "SetGCPercent")),
    (("memory limit", "GOMEMLIMIT", "SetMemoryLimit"), ()),
    (("profile-guided optimization", "PGO"), ()),
    (("generics", "type parameters", "generic"), ()),
    (("range over functions", "range-over-func", "iterators"), ()),
    (("goroutine leak", "leaked goroutines", "goroutineleak"), ()),
)


@dataclass(frozen=True, slots=True)
class Topic:
    """What a question is about: `wordings` has, for each of its words or names, the ways to say it.

    `text` is it in the words that documents would use.
    """

    wordings: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        return " ".join(each[0] for each in self.wordings)

    @property
    def words(self) -> str:
        """All of the wordings."""
        return " ".join(each for group in self.wordings for each in group)

    def covered(self, text: Collection[str], rarity: Mapping[str, float]) -> float:
        """The share of it that is said with the terms TEXT, 0 to 1; RARITY says what each first wording counts."""
        total = sum(rarity[group[0]] for group in self.wordings)
        said = sum(rarity[group[0]] for group in self.wordings if any(_says(text, each) for each in group))
        return said / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A question of what releases changed about `topic`: those from `first` to `last`, or the `newest` of them.

    Without a topic, whose text is "" then, it is about all that they changed.
    With `which` it asks for the release that did something: the best match comes first, not the newest.
    """

    topic: Topic
    first: Release = FIRST
    last: Release = LAST
    newest: int = 0
    which: bool = False

    def about(self, known: Collection[Release]) -> list[Release]:
        """Those of the KNOWN releases that it asks about, newest first."""
        found = sorted((each for each in set(known) if self.first <= each <= self.last), reverse=True)
        return found[: self.newest or None]


def asked(question: str) -> Change | None:
    """What QUESTION wants to know of releases; None where it asks something else."""
    if _NO_CHANGE.match(question) or not (_ASKS_CHANGE.search(question) or _SINCE_WHICH.search(question)):
        return None
    for kind, pattern in _RANGES.items():
        if match := pattern.search(question):
            topic = _topic(question[: match.start()] + " " + question[match.end() :])
            return _about(topic, kind, match) if topic.wordings or kind in ALONE else None
    return None


def _about(topic: Topic, kind: str, found: re.Match[str]) -> Change:
    """The Change of TOPIC in a range of this KIND."""
    named = found.groupdict()
    start, end = (_number(named[key]) if named.get(key) else FIRST for key in ("from", "to"))
    after, until = (start[0], start[1] + 1), (start[0], start[1] - 1)
    match kind:
        case "upgrade":
            return Change(topic, after, end)
        case "between":
            return Change(topic, min(start, end), max(start, end))
        case "since":
            return Change(topic, after)
        case "onwards":
            return Change(topic, start)
        case "before":
            return Change(topic, last=until)
        case "until":
            return Change(topic, last=start)
        case "last" | "news":
            return Change(topic, newest=_count(named.get("count")))
        case "newest":
            return Change(topic, newest=1)
        case "in":
            return Change(topic, start, start)
        case _:
            return Change(topic, which=True)


def _number(text: str) -> Release:
    return number(re.sub(r"[^\d.]", "", text))


def _count(word: str | None) -> int:
    words = {"two": 2, "couple of": 2, "three": 3, "few": 3, "four": 4, "five": 5, "six": 6}
    return int(word) if word and word.isdigit() else words.get((word or "").lower(), FEW)


def _topic(text: str) -> Topic:
    """What TEXT is about, without the words that ask for changes."""
    words = [word for word in content_spans(text) if not _FRAME.fullmatch(word)]
    return Topic(tuple(_wordings(words)))


def _wordings(words: list[str]) -> Iterator[tuple[str, ...]]:
    """The names among WORDS, each with other names for it, and the other words alone."""
    while words:
        length, wordings = next(_named(words), (1, (words[0],)))
        yield wordings
        words = words[length:]


def _named(words: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """What the first of WORDS name: how many these are, and the ways to say it."""
    for names, more in _NAMES:
        for each in names:
            spelled = _spelled(each)
            if _spelled(" ".join(words[: len(spelled)])) == spelled:
                yield len(spelled), (*names, *more)


def _spelled(name: str) -> list[str]:
    return [term for word in re.split(r"[\s-]+", name) for term in terms(word)[:1]]


def _says(text: Collection[str], wording: str) -> bool:
    return all(term in text for term in terms(wording))
