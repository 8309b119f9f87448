"""Generations that many requests read at once: each opened once, closed when nobody reads it and a newer one is."""

from __future__ import annotations

import threading
from pathlib import Path

from . import generation
from .generation import Generation


class Shared:
    """The open generations of one process; threads may share them, and it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[Generation, int] = {}  # how many, of those that are open, in the order of their opening

    def open(self, folder: Path) -> Generation | None:
        """The newest generation under FOLDER, or None; give it back with `release`.

        Raises IndexCorrupt, IndexMismatch as opening it does.
        """
        with self._lock:
            path = generation.newest(folder)
            there = (each for each in self._readers if each.folder == path and each.in_place)
            found = next(there, None) or generation.current(folder)
            if found is None:
                return None
            self._readers[found] = self._readers.get(found, 0) + 1
            for older in self._of(folder):
                if older is not found:
                    self._drop(older)
            return found

    def release(self, opened: Generation) -> None:
        """OPENED is not read any more; while none was opened after it, it stays open for the next reader."""
        with self._lock:
            self._readers[opened] -= 1
            if self._of(opened.folder.parent)[-1] is not opened:
                self._drop(opened)

    def close(self) -> None:
        """Close every generation that nobody reads."""
        with self._lock:
            for each in list(self._readers):
                self._drop(each)

    def _of(self, folder: Path) -> list[Generation]:
        return [each for each in self._readers if each.folder.parent == folder]

    def _drop(self, opened: Generation) -> None:
        if not self._readers[opened]:
            del self._readers[opened]
            opened.close()
