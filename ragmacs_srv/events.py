"""What long work tells its caller while it runs, and how the caller stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import Cancelled


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of `job` are finished; `total` is None while nobody knows."""

    job: str
    done: int
    total: int | None
    message: str = ""


Sink = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """The sink of a caller who does not want to know."""


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
