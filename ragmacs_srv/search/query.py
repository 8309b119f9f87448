"""What a user typed becomes words to search for, and filters that name the pages to search: a Query, then a Scope.

`site:go.dev/blog since:2024 release:1.21 finalizers` looks for "finalizers" alone. What is written otherwise stays
among the words: addresses, `foo::bar`, `gctrace:1`, and what stands in quotes or backticks.
"""

from __future__ import annotations

import calendar
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from ..errors import InvalidParams, NotIndexed
from ..model import HEAVIEST
from .generation import EVERYWHERE, Generation, Scope
from .labels import Label, number

Kind = Literal["site", "release", "since"]
HINTS: Mapping[str, str] = {
    "site": "site:go.dev, site:go.dev/blog or site:handbook",
    "release": "release:1.21",
    "since": "since:2024, since:2024-05-01 or since:7d",
}
OPERATOR = re.compile(r"`[^`]*`|\"[^\"]*\"|(?<!\S)(-?)(site|release|since):(\S+)(?:\s+|$)")
SITE = re.compile(r"(?:https?://)?(\w[\w.+-]*(?::[^\s/\"'`<>{}()]+)?(?:/[^\s\"'`<>{}()]*)?)")
RELEASE = re.compile(r"(?:go)?(\d+\.\d+)(?:\.\d+)?", re.IGNORECASE)
DAY = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?")
AGO = re.compile(r"(\d{1,4})([dwmy])")
DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
NAMED = 8  # of what there is, where a filter matches nothing

Weights = Mapping[str, float]  # of collections, by name; 1 for those that are not in it
EVEN: Weights = {}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pages are wanted, or with EXCLUDED are not; `value` is a site, a release, or the first day: 2024-05-01."""

    kind: Kind
    value: str
    excluded: bool = False

    def __str__(self) -> str:
        return f"{'-' * self.excluded}{self.kind}:{self.value}"

    def matches(self, page: Label) -> bool:
        """Whether PAGE is of this site, release or time; `excluded` is not asked."""
        if self.kind == "site":
            return _of_site(page.url, page.site, self.value)
        if self.kind == "release":
            return page.release == self.value
        return page.day >= self.value


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for, and where. `notes` are for who wrote it."""

    text: str
    filters: tuple[Filter, ...] = ()
    notes: tuple[str, ...] = ()

    def wanted(self, pages: Iterable[Label]) -> Iterator[Label]:
        """Those of PAGES of any site and of any release that is named, of the time, and none that is excluded."""
        without = [each for each in self.filters if each.excluded]
        named = [each for each in self.filters if not each.excluded]
        groups = [[each for each in named if each.kind == kind] for kind in ("site", "release")]
        groups += [[each] for each in named if each.kind == "since"]
        needed = [group for group in groups if group]
        for page in pages:
            sound = all(any(each.matches(page) for each in group) for group in needed)
            if sound and not any(each.matches(page) for each in without):
                yield page


def parse(text: str, today: date) -> Query:
    """TEXT as a Query; one without operators is its own text, byte for byte.

    Raises InvalidParams where there is nothing but operators.
    """
    filters: list[Filter] = []
    notes: list[str] = []

    def taken(match: re.Match[str]) -> str:
        minus, kind, value = match.groups()
        if kind is None:  # quoted
            return match[0]
        found = None if minus and kind == "since" else _filter(kind, value, excluded=bool(minus), today=today)
        if found is None:
            notes.append(f"{match[0].strip()[:80]} was searched for as words; filters are like {HINTS[kind]}")
            return match[0]
        filters.append(found)
        return ""

    rest = OPERATOR.sub(taken, text)
    if not filters:
        return Query(text, (), tuple(notes))
    if not rest.strip():
        raise InvalidParams("there are filters, but nothing to search for", hint=f"add words: {text.strip()[:80]} heap")
    return Query(rest.strip(), tuple(dict.fromkeys(filters)), tuple(notes))


def scope(generation: Generation, query: Query, collections: Sequence[str] = ()) -> Scope:
    """Where QUERY is to be searched in COLLECTIONS; raises NotIndexed, saying what there is, for no page at all."""
    generation.check_collections(collections)
    if not query.filters:
        return Scope(tuple(collections)) if collections else EVERYWHERE
    pages = generation.labels(collections)
    wanted = tuple(page.page for page in query.wanted(pages))
    if not wanted:
        alone = [each for each in query.filters if not each.excluded and not any(map(each.matches, pages))]
        blamed = alone[:1] or query.filters
        there = "; ".join(dict.fromkeys(_there_is(each.kind, pages) for each in blamed))
        message = f"no page matches {' '.join(map(str, blamed))} (there are: {there})"
        raise NotIndexed(message, hint="ragmacs collections")
    return Scope(tuple(collections), wanted)


def weighted(collections: Iterable[str]) -> tuple[tuple[str, ...], dict[str, float]]:
    """The names in COLLECTIONS, and the weights of those that are written as `name=2`; raises InvalidParams."""
    names: list[str] = []
    weights: dict[str, float] = {}
    for each in collections:
        name, equals, value = each.partition("=")
        names.append(name)
        if equals:
            weights[name] = _weight(each, value)
    return tuple(names), weights


def facets(found: Iterable[tuple[Label, Sequence[str], int]]) -> dict[str, dict[str, int]]:
    """How many sections are of each collection, site, release and year, the most first.

    FOUND has pages, each with its collections and the number of its sections. A page of two collections counts in
    both, one that is about no release in none.
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in ("collection", "site", "release", "year")}
    for page, collections, sections in found:
        for name in collections:
            counts["collection"][name] += sections
        for kind, value in (("site", page.site), ("release", page.release), ("year", page.day[:4])):
            counts[kind][value] += sections if value else 0
    return {kind: {name: n for name, n in counter.most_common() if n} for kind, counter in counts.items()}


def _filter(kind: str, value: str, *, excluded: bool, today: date) -> Filter | None:
    """The filter that VALUE makes, or None where it is none; what ends a sentence is no part of it."""
    value = value.rstrip("?!,;.")
    if kind == "site":
        site = SITE.fullmatch(value)
        return Filter("site", site[1].rstrip("/").lower(), excluded) if site else None
    if kind == "release":
        release = RELEASE.fullmatch(value)
        return Filter("release", release[1], excluded) if release else None
    day = _day(value, today)
    return Filter("since", day, excluded) if day else None


def _day(value: str, today: date) -> str:
    """The first day that VALUE means, as YYYY-MM-DD, or ""."""
    if ago := AGO.fullmatch(value):
        return (today - timedelta(days=min(int(ago[1]) * DAYS[ago[2]], today.toordinal() - 1))).isoformat()
    if not (found := DAY.fullmatch(value)):
        return ""
    year, month, day = (int(part or 1) for part in found.groups())
    sound = year and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
    return f"{year:04}-{month:02}-{day:02}" if sound else ""


def _of_site(url: str, site: str, wanted: str) -> bool:
    """Whether the page at URL, of SITE, is of the WANTED host or a part of it, below its path, or of its scheme."""
    host, slash, path = wanted.partition("/")
    if "://" not in url:  # handbook:sync-pool
        return _below(url.lower(), wanted)
    name = site.partition(":")[0]
    if host not in {site, name} and not name.endswith(f".{host}"):
        return False
    return not slash or _below(url.lower().split("://", 1)[1].partition("/")[2], path)


def _below(path: str, wanted: str) -> bool:
    """Whether PATH begins with WANTED, and a name in it does not go on there."""
    return path.startswith(wanted) and path[len(wanted) : len(wanted) + 1] in {"", "/", "?", "#", ":"}


def _there_is(kind: Kind, pages: Sequence[Label]) -> str:
    """What PAGES have for a filter of this KIND to match."""
    if kind == "since":
        days = sorted(page.day for page in pages)
        return f"pages of {days[0]} to {days[-1]}" if days else "no pages"
    if kind == "release":
        known = sorted({page.release for page in pages if page.release}, key=number)
        return f"release {' to '.join(dict.fromkeys((known[0], known[-1])))}" if known else "no releases"
    sites = Counter(page.site for page in pages).most_common(NAMED)
    return ", ".join(f"{site} ({n})" for site, n in sites) or "no pages"


def _weight(given: str, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not (0 < weight <= HEAVIEST):
        hint = f"a number above 0, at most {HEAVIEST:g}, behind the name: go-gc=2"
        raise InvalidParams(f"{given[:80]!r} gives no weight", hint=hint)
    return weight


def today() -> date:
    """The day in UTC, as pages have it."""
    return datetime.now(UTC).date()
