"""Two versions of a page become the sections that are new, changed or gone; what changed becomes words to read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from typing import Any, Final

from ..errors import InvalidParams
from ..model import Page, Section, link

LONGEST: Final = 20_000  # characters kept of a section, before and after
MOST: Final = 200  # changes kept of one page
KEPT_DAYS: Final = 400
KEPT_ROWS: Final = 20_000
NEAR: Final = 6  # words shown on either side of a change
_UNITS: Final = {"h": 1 / 24, "hour": 1 / 24, "d": 1, "day": 1, "w": 7, "week": 7, "month": 30, "y": 365, "year": 365}
_SPAN: Final = re.compile(r"(\d{1,5})\s*([a-z]+?)s?")


@dataclass(frozen=True, slots=True)
class Change:
    """A section that is new, changed or removed; or a "new page" or "removed page", whose heading is its title.

    `before` and `after` are its text, cut at `LONGEST` characters; `at` is when that was seen.
    """

    url: str
    at: str
    collection: str
    change: str
    anchor: str
    heading: tuple[str, ...]
    before: str
    after: str

    def as_json(self, *, text: bool) -> dict[str, Any]:
        """One of the `changes` of a diff, on every transport; with its TEXT or without."""
        shape = {name: getattr(self, name) for name in ("collection", "change", "url", "anchor", "at")}
        shape |= {"link": link(self.url, self.anchor), "heading": list(self.heading)}
        return shape | ({"before": self.before, "after": self.after} if text else {})


def compared(old: Sequence[Section], new: Sequence[Section], *, url: str, at: str, collection: str) -> list[Change]:
    """What changed from OLD to NEW; a section that stands elsewhere now, or with other blanks, did not."""
    left, right = _without(old, new), _without(new, old)
    found = []

    def by_place(section: Section) -> bool:  # that of the opening, whose heading is the title
        return section in (old[0], new[0])

    for key in (_by_anchor, _by_heading, by_place):
        for section in list(right):
            twin = next((each for each in left if key(each) == key(section) and key(section)), None)
            if twin is not None:
                left.remove(twin)
                right.remove(section)
                found.append(("changed", section, twin.text, section.text))
    found += [("new", section, "", section.text) for section in right]
    found += [("removed", section, section.text, "") for section in left]
    return [
        Change(url, at, collection, change, each.anchor, each.heading, before[:LONGEST], after[:LONGEST])
        for change, each, before, after in found[:MOST]
    ]


def whole(change: str, page: Page, *, at: str, collection: str) -> Change:
    """PAGE itself, which is new or removed, as CHANGE says."""
    text = "\n\n".join(section.text for section in page.sections)[:LONGEST]
    texts = ("", text) if change == "new" else (text, "")
    return Change(page.url, at, collection, f"{change} page", "", (page.title,), *texts)


def since(when: str, now: datetime | None = None) -> str:
    """WHEN, a date, a time, or how long ago (7d, 2 weeks), as changes are stamped; raises InvalidParams."""
    text, now = when.strip(), now or datetime.now(UTC)
    span = _SPAN.fullmatch(text.lower())
    try:
        if span and span[2] in _UNITS:
            return (now - timedelta(days=int(span[1]) * _UNITS[span[2]])).isoformat()
        then = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidParams(f"{when!r} is no time", hint="for example 2026-11-01, 7d or '2 weeks'") from None
    return then.astimezone(UTC).isoformat()


def worded(before: str, after: str) -> str:
    """What became of BEFORE, as `git diff --word-diff` shows it; words that stayed are shown near a change only."""
    old, new = before.split(), after.split()
    parts: list[str] = []
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for n, (kind, start, stop, into, end) in enumerate(steps):
        if kind == "equal":
            parts += _near(old[start:stop], first=n == 0, last=n == len(steps) - 1)
        else:
            parts += [f"[-{' '.join(old[start:stop])}-]"] * (stop > start)
            parts += [f"{{+{' '.join(new[into:end])}+}}"] * (end > into)
    return " ".join(parts)


def _near(words: Sequence[str], *, first: bool, last: bool) -> Iterator[str]:
    head, tail = (0 if first else NEAR), (0 if last else NEAR)
    if len(words) <= head + tail + 1:
        yield from words
        return
    yield from words[:head]
    yield "…"
    yield from words[len(words) - tail :]


def _without(these: Sequence[Section], others: Sequence[Section]) -> list[Section]:
    """THESE sections but those whose text stands in one of OTHERS, each of which is one of them only."""
    known = Counter(map(_flat, others))
    left = []
    for section in these:
        if known[_flat(section)]:
            known[_flat(section)] -= 1
        else:
            left.append(section)
    return left


def _by_anchor(section: Section) -> str:
    return section.anchor


def _by_heading(section: Section) -> tuple[str, ...]:
    return section.heading or ("",)


def _flat(section: Section) -> str:
    return " ".join(section.text.split())
