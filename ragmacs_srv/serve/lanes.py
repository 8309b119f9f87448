"""Work becomes futures: a few threads per kind of work, and a queue that is full rather than long."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import Busy

Work = Callable[[], dict[str, Any]]
LATEST = 0.1  # of what is known of the time that work takes comes from the latest
SOONEST, LATE = 0.1, 60.0  # seconds; nobody is told to come back sooner, or later


class Lane:
    """WORKERS threads that do work in the order it came, while at most ROOM more waits.

    The threads start with the work, and are daemons: a process that ends waits for none of them.
    """

    def __init__(self, name: str, workers: int, room: int, *, retry_after: float = 1.0) -> None:
        self.name = name
        self._workers = workers
        self._room = room
        self._retry_after = retry_after  # seconds, before anything was measured
        self._takes: float | None = None  # seconds that work has taken lately
        self._queue: queue.SimpleQueue[tuple[Future[dict[str, Any]], Work]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    def submit(self, work: Work) -> Future[dict[str, Any]]:
        """The future of WORK; raises Busy, with the seconds to wait in `data.retry_after`, when the queue is full."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            if self._unfinished >= self._workers + self._room:
                message = f"{self._unfinished} requests of the kind {self.name!r} are under way, no more are taken"
                raise Busy(message, hint="try again later", data={"retry_after": self._emptied()})
            self._unfinished += 1
            more = self._threads < min(self._workers, self._unfinished)
            self._threads += more
        future.add_done_callback(self._finished)
        self._queue.put((future, work))
        if more:
            threading.Thread(target=self._run, name=f"ragmacs-{self.name}", daemon=True).start()
        return future

    def state(self) -> dict[str, int]:
        """How much is under way and how much waits, with the most of each."""
        with self._lock:
            running = min(self._unfinished, self._workers)
            waiting = self._unfinished - running
        return {"running": running, "waiting": waiting, "workers": self._workers, "room": self._room}

    def _emptied(self) -> float:
        """Seconds after which all that is under way now should be done."""
        if self._takes is None:
            return self._retry_after
        return round(min(max(self._takes * self._unfinished / self._workers, SOONEST), LATE), 1)

    def _finished(self, future: Future[dict[str, Any]]) -> None:
        with self._lock:
            self._unfinished -= 1

    def _run(self) -> None:
        while True:
            future, work = self._queue.get()
            began = time.monotonic()
            if settle(future, work):
                self._learn(time.monotonic() - began)

    def _learn(self, took: float) -> None:
        with self._lock:
            before = took if self._takes is None else self._takes
            self._takes = before + LATEST * (took - before)


def settle(future: Future[dict[str, Any]], work: Work) -> bool:
    """Do WORK, unless FUTURE was cancelled, and give FUTURE its outcome; whether there was anything to do."""
    if not future.set_running_or_notify_cancel():
        return False
    try:
        result = work()
    except Exception as exc:  # noqa: BLE001 - the rim: whoever waits for the future turns it into a reply
        future.set_exception(exc)
    else:
        future.set_result(result)
    return True
