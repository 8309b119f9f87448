"""The address, title and date of a page become what a search can be narrowed by: its site, its release, its year."""

from __future__ import annotations

import re
from typing import NamedTuple

from .terms import releases

Release = tuple[int, int]  # 1.19 is (1, 19), so that 1.9 comes before it

NOTES = re.compile(r"/doc/go(\d+\.\d+)(?:\.html)?/?$")


class Label(NamedTuple):
    """What is known of a page beside its text. `date` is the page's own, or ""; `page` numbers it."""

    page: int
    url: str
    title: str
    date: str
    fetched_at: str

    @property
    def site(self) -> str:
        """Its host, with a port if it has one; of what is no web page the scheme of its address."""
        scheme, slashes, rest = self.url.partition("://")
        return rest.partition("/")[0].lower() if slashes and scheme in {"http", "https"} else scheme.partition(":")[0]

    @property
    def release(self) -> str:
        """The release of Go that it is about, as "1.19", or ""."""
        found = NOTES.search(self.url)
        named = releases(self.title)
        return found[1] if found else max(named, key=number, default="")

    @property
    def notes(self) -> bool:
        """Whether it says what its release changed."""
        return bool(NOTES.search(self.url) or (self.release and "release notes" in self.title.lower()))

    @property
    def day(self) -> str:
        """When it was written, as far as the page says so, else when it was read: the beginning of YYYY-MM-DD."""
        return (self.date or self.fetched_at)[:10]


def number(release: str) -> Release:
    """RELEASE, as "1.19" or "1.19.2", to compare it by."""
    major, minor = release.split(".")[:2]
    return int(major), int(minor)


def name(release: Release) -> str:
    """RELEASE as people write it: "1.19"."""
    return f"{release[0]}.{release[1]}"
