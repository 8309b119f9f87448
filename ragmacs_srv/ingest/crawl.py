"""Which address next, and which never: the frontier of a crawl. Pure; it neither fetches nor stores."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import AddressRefused
from ..model import Source
from . import kinds
from .sources import in_scope

MAX_SEGMENTS = 16
MAX_VARIANTS = 50  # query strings of one path: a calendar or a faceted search, not fifty documents


@dataclass(frozen=True, slots=True)
class Visit:
    """An address to read, and how many links it is away from a seed."""

    url: str
    depth: int


class Frontier:
    """The addresses of one crawl, nearest first; `start` with some, iterate to take them, `add` what a page links to.

    Every address is given out once. `max_pages` counts what is given out; `cut` is how many more there
    were then. With their reasons, `refused` holds the seeds that are never read, `traps` the links that
    look like one of endlessly many.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._queue: deque[Visit] = deque()
        self._met: set[str] = set()
        self._wanted: set[str] = set()
        self._variants: Counter[str] = Counter()
        self.taken = 0
        self.refused: dict[str, str] = {}
        self.traps: dict[str, str] = {}

    def __iter__(self) -> Iterator[Visit]:
        while self._queue and self.taken < self._source.max_pages:
            self.taken += 1
            yield self._queue.popleft()

    @property
    def cut(self) -> int:
        """How many addresses the page limit left unread."""
        return len(self._queue)

    @property
    def total(self) -> int:
        """How many addresses will have been taken, as far as is known now."""
        return min(self.taken + len(self._queue), self._source.max_pages)

    def start(self, address: str, *, listed: bool = False) -> None:
        """Meet ADDRESS, which is a seed, or LISTED by one: then it need not be one that the collection wants."""
        self._meet(address, 0, listed=listed)

    def add(self, links: Iterable[str], depth: int) -> None:
        """Meet the LINKS of a page that is DEPTH away from a seed."""
        if depth < self._source.depth:
            for link in links:
                self._meet(link, depth + 1)

    def again(self, visit: Visit) -> None:
        """Meet an address as it was met before."""
        self._meet(visit.url, visit.depth)

    def knows(self, url: str) -> bool:
        """Whether URL was, or will be, given out, or stands for what was."""
        return url in self._wanted

    def count(self, url: str) -> None:
        """Have URL count as given out: it was read by another address, or need not be read."""
        self._met.add(url)
        self._wanted.add(url)

    def _meet(self, address: str, depth: int, *, listed: bool = False) -> None:
        if depth > 0 and kinds.is_local(address):  # of a page, which may not choose what is read on this machine
            return
        try:
            url = kinds.canonical(address)
        except AddressRefused as exc:
            if depth == 0:
                self.refused[address] = exc.message
            return
        if url in self._met:
            return
        self._met.add(url)
        if reason := in_scope(self._source, url):
            if depth == 0 and not listed:
                self.refused[url] = reason
        elif depth > 0 and (reason := self._trap(url)):
            self.traps[url] = reason
        else:
            self._wanted.add(url)
            self._queue.append(Visit(url, depth))

    def _trap(self, url: str) -> str:
        """Why URL looks like one of endlessly many, or ""."""
        parts = urlsplit(url)
        segments = Counter(segment for segment in parts.path.split("/") if segment)
        if segments.total() > MAX_SEGMENTS or max(segments.values(), default=0) > 3:
            return "looks like a crawler trap: the path repeats itself or is very deep"
        if parts.query:
            self._variants[parts.path] += 1
            if self._variants[parts.path] > MAX_VARIANTS:
                return f"looks like a crawler trap: more than {MAX_VARIANTS} query strings for {parts.path}"
        return ""
