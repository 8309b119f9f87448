"""Decide when to ask: whose turn it is, how long to wait before another try, whom not to try for now."""

from __future__ import annotations

import email.utils
import threading
from collections.abc import Callable
from datetime import datetime

from .address import Unreachable

TRIES = 4
LONGEST_WAIT = 60.0  # seconds; a longer Retry-After is for the user to wait
OUTAGE_AGE = 60.0  # seconds; a crawl of a dead site notices once, a user who plugs the cable back in need not restart
_FOREVER = 10.0 * 365 * 24 * 3600


def next_delay(last: float, now: float, per_origin: float) -> float:
    """Seconds to wait at NOW, when the request before began at LAST."""
    return max(0.0, last + per_origin - now)


def backoff(attempt: int) -> float:
    """Seconds to wait after failed ATTEMPT 1, 2, …"""
    return 2.0 ** (attempt - 1)


def retry_after(header: str, now: datetime) -> float | None:
    """Seconds a Retry-After header asks for, in either of its forms; None when it says nothing usable."""
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _FOREVER)
    try:
        when = email.utils.parsedate_to_datetime(text)
        return min(max(0.0, (when - now).total_seconds()), _FOREVER)
    except (ValueError, TypeError, OverflowError):  # not a date; a date without a zone; a year 99999
        return None


def retry_wait(status: int, asked: float | None, attempt: int) -> float | None:
    """Seconds to wait before another try, the site having ASKED for some; None when there is to be none."""
    if attempt >= TRIES or not (status in (408, 425, 429) or status >= 500):
        return None
    if asked is None:
        return backoff(attempt)
    return asked if asked <= LONGEST_WAIT else None


class Pace:
    """Hands out turns, so that threads which share an origin ask it one after the other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def take_turn(self, origin: str, delay: float) -> float:
        """Seconds to wait for the turn that is now ours."""
        with self._lock:
            now = self._clock()
            wait = next_delay(self._last.get(origin, float("-inf")), now, delay)
            self._last[origin] = now + wait
        return wait

    def postpone(self, origin: str, seconds: float) -> None:
        """Nobody asks ORIGIN for SECONDS from now."""
        with self._lock:
            self._last[origin] = max(self._last.get(origin, 0.0), self._clock() + seconds)


class Outages:
    """Remembers for a while who could not be reached, so that the next hundred addresses fail at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, str, str]] = {}

    def note(self, outage: Unreachable) -> None:
        """Believe OUTAGE for a while; to hear of it again from `check` does not make it last longer."""
        if self._current(outage.origin) is None:
            self._known[outage.origin] = (self._clock() + OUTAGE_AGE, outage.reason, outage.hint)

    def check(self, origin: str) -> None:
        """Raise Unreachable if ORIGIN was, a short while ago."""
        known = self._current(origin)
        if known is not None:
            raise Unreachable(known[1], origin=origin, hint=known[2])

    def _current(self, origin: str) -> tuple[float, str, str] | None:
        known = self._known.get(origin)
        return known if known is not None and self._clock() < known[0] else None
