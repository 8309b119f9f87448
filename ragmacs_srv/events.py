"""What long work tells its caller while it runs, and how the caller stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .errors import Cancelled


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of `job` are finished; `total` is None while nobody knows."""

    job: str
    done: int
    total: int | None
    message: str = ""
    rate: float = 0.0  # units a second, 0 while unknown
    eta_s: float | None = None  # seconds that the rest takes at this rate


Sink = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """The sink of a caller who does not want to know."""


def timed(sink: Sink, clock: Callable[[], float] = time.monotonic) -> Sink:
    """A sink that tells SINK everything, with the rate of the job since its first word and the time left."""
    started: dict[str, tuple[float, int]] = {}

    def tell(progress: Progress) -> None:
        now = clock()
        began, before = started.setdefault(progress.job, (now, progress.done))
        if progress.done < before:  # the job begins again
            began, before = started[progress.job] = (now, progress.done)
        rate = (progress.done - before) / (now - began) if now > began else 0.0
        left = None if progress.total is None or not rate else (progress.total - progress.done) / rate
        sink(replace(progress, rate=rate, eta_s=left))

    return tell


class Cancel:
    """A request to stop, set from any thread.

    Loops call `check()` between units of work. What blocks in a system call registers how to wake it
    with `on_cancel` (a socket's shutdown, a process group's kill).
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Ask to stop; callbacks run once, in this thread."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if asked to stop."""
        if self._event.is_set():
            raise Cancelled()

    def wait(self, seconds: float) -> None:
        """Sleep, but not past a request to stop; then raise Cancelled."""
        if self._event.wait(seconds):
            raise Cancelled()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """While inside, CALLBACK is run by `cancel`; at once if that has already been called."""
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
