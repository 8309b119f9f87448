"""A generator that blocks, in a thread of its own, becomes pieces that an event loop awaits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import Cancelled
from ..events import Cancel

T = TypeVar("T")

AHEAD = 16  # pieces that the thread may be in front of the reader: one who stops reading stops the work


@dataclass(frozen=True, slots=True)
class _End:
    """The last piece, with what ended the generator before its time."""

    failure: Exception | None = None


class Work(Generic[T]):
    """The pieces of MAKE(cancel), made in a thread that starts now; for the event loop that is running.

    Call `stop` when done with it, and `ended` to wait for the thread.
    """

    def __init__(self, make: Callable[[Cancel], Generator[T]]) -> None:
        self.cancel = Cancel()
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[T | _End] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._over = asyncio.Event()
        threading.Thread(target=self._run, name="answer", daemon=True).start()

    async def take(self) -> T | None:
        """The next piece, None after the last; raises what the generator raised. Not lost to a timeout."""
        piece = await self._pieces.get()
        if not isinstance(piece, _End):
            self._room.release()
            return piece
        self._pieces.put_nowait(piece)  # for who asks again
        if piece.failure is not None:
            raise piece.failure
        return None

    async def ended(self) -> None:
        """Stop the work, and wait until its thread has noticed."""
        self.cancel.cancel()
        await self._over.wait()

    def _run(self) -> None:
        end = _End()
        try:
            with self.cancel.on_cancel(self._room.release), closing(self._make(self.cancel)) as pieces:
                for piece in pieces:
                    self._put(piece)
        except Exception as exc:  # noqa: BLE001 - raised again in `take`
            end = _End(exc)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, end)
            self._loop.call_soon_threadsafe(self._over.set)

    def _put(self, piece: T) -> None:
        self._room.acquire()
        self.cancel.check()
        try:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)
        except RuntimeError as exc:  # the loop is closed
            raise Cancelled() from exc
