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
        self._opened: dict[Path, Generation] = {}
        self._readers: dict[Path, int] = {}

    def open(self, folder: Path) -> Generation | None:
        """The newest generation under FOLDER, or None; give it back with `release`.

        Raises IndexCorrupt, IndexMismatch as opening it does.
        """
        with self._lock:
            found = self._opened.get(generation.newest(folder) or folder) or generation.current(folder)
            if found is None:
                return None
            self._opened[found.folder] = found
            self._readers[found.folder] = self._readers.get(found.folder, 0) + 1
            for older in [each for each in self._opened if each.parent == folder and each != found.folder]:
                self._drop(older)
            return found

    def release(self, opened: Generation) -> None:
        """OPENED is not read any more; while no newer one is known it stays open for the next reader."""
        with self._lock:
            self._readers[opened.folder] -= 1
            if any(each.parent == opened.folder.parent and each.name > opened.folder.name for each in self._opened):
                self._drop(opened.folder)

    def close(self) -> None:
        """Close every generation that nobody reads."""
        with self._lock:
            for folder in list(self._opened):
                self._drop(folder)

    def _drop(self, folder: Path) -> None:
        if not self._readers[folder]:
            self._opened.pop(folder).close()
            del self._readers[folder]
