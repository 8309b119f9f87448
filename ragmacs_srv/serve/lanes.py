"""Work becomes futures: a few threads per kind of work, and a queue that is full rather than long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import Busy

Work = Callable[[], dict[str, Any]]


class Lane:
    """WORKERS threads that do work in the order it came, while at most ROOM more waits.

    The threads start with the work, and are daemons: a process that ends waits for none of them.
    """

    def __init__(self, name: str, workers: int, room: int, *, retry_after: float = 1.0) -> None:
        self.name = name
        self._workers = workers
        self._room = room
        self._retry_after = retry_after  # seconds
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
                raise Busy(message, hint="try again later", data={"retry_after": self._retry_after})
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

    def _finished(self, future: Future[dict[str, Any]]) -> None:
        with self._lock:
            self._unfinished -= 1

    def _run(self) -> None:
        while True:
            future, work = self._queue.get()
            settle(future, work)


def settle(future: Future[dict[str, Any]], work: Work) -> None:
    """Do WORK, unless FUTURE was cancelled, and give FUTURE its outcome."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except Exception as exc:  # noqa: BLE001 - the rim: whoever waits for the future turns it into a reply
        future.set_exception(exc)
    else:
        future.set_result(result)
