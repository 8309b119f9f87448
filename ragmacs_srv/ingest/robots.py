"""Turn what a site answers for /robots.txt into rules, by RFC 9309."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from protego import Protego

from ..errors import RobotsDenied
from ..events import Cancel

AGENT = "ragmacs"
MAX_BYTES = 500 * 1024  # RFC 9309, 2.5: more of it is not fetched
MAX_DELAY = 30.0
MAX_AGE = 24 * 3600.0  # seconds; RFC 9309, 2.4
REFUSAL_AGE = 60.0  # seconds; a site that had a bad moment is asked again


@dataclass(frozen=True, slots=True)
class Rules:
    """What one origin asks of us; `refusal` says why we may read nothing at all."""

    parser: Protego | None = None
    refusal: str = ""

    @property
    def delay(self) -> float:
        """Seconds between requests; a site that asks for more than MAX_DELAY gets that."""
        asked = self.parser.crawl_delay(AGENT) if self.parser else None
        return min(asked or 0.0, MAX_DELAY)

    def check(self, url: str, *, name: str) -> None:
        """Raise RobotsDenied unless URL, which the user knows by NAME, may be read."""
        if self.refusal:
            raise RobotsDenied(f"{name} is not read: {self.refusal}", hint="try again later", data={"url": name})
        if self.parser and not self.parser.can_fetch(url, AGENT):
            message = f"the site's robots.txt asks not to read {name}"
            raise RobotsDenied(message, hint="open it in a browser", data={"url": name})


def from_answer(url: str, status: int, body: bytes) -> Rules:
    """The rules in BODY, if there are any; a site that will not say is taken to refuse."""
    if status in (200, 203):
        # protego drops the first group after a byte order mark, and line ends are its own business
        return Rules(Protego.parse(body.decode("utf-8-sig", errors="replace")))
    if 400 <= status < 500 and status not in (401, 403, 429):
        return Rules()
    return Rules(refusal=f"{url} answered {status}, and a site that hides its rules is left alone")


def unreadable(url: str, why: str) -> Rules:
    """The rules where /robots.txt could not be had: RFC 9309, 2.3.1.4 forbids everything."""
    return Rules(refusal=f"{url} could not be read ({why})")


class Cache:
    """The rules of every origin met so far; of several threads that ask for the same, one reads them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Rules]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, origin: str, cancel: Cancel, read: Callable[[], Rules]) -> Rules:
        """The rules of ORIGIN, from READ when they are unknown or too old; what READ raises is not kept."""
        with self._alone(origin, cancel):
            expiry, rules = self._known.get(origin, (0.0, Rules()))
            if origin not in self._known or expiry <= self._clock():
                rules = read()
                self._known[origin] = (self._clock() + (REFUSAL_AGE if rules.refusal else MAX_AGE), rules)
            return rules

    @contextmanager
    def _alone(self, origin: str, cancel: Cancel) -> Iterator[None]:
        lock = self._locks.setdefault(origin, threading.Lock())
        while not lock.acquire(timeout=0.1):
            cancel.check()
        try:
            yield
        finally:
            lock.release()
