"""What a first question would have to wait for becomes the work of a process that outlives the one that asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import RagmacsError
from .search.database import claimed, mapped

PREPARE = "ragmacs model prepare"


@dataclass(frozen=True, slots=True)
class Preparation:
    """`PREPARE` in FOLDER, the cache, for one configuration; one that failed is not begun again unasked."""

    folder: Path
    configuration: str

    def start(self, what: str, environ: Mapping[str, str]) -> str:
        """Begin, unless somebody is at it; says what that means for WHAT, which is waited for."""
        if reason := self._failure():
            return f"{reason} ({PREPARE} tries again)"
        try:
            lock = claimed(self.folder / "prepare.lock")
        except RagmacsError as exc:
            return f"{what} cannot be prepared: {exc.message}"
        if lock is not None:
            _detach(lock, environ)
        return f"{what} is being prepared ({PREPARE} waits for it)"

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Inside, what is tried: its failure is known to those who ask, until it succeeds."""
        self._failed.unlink(missing_ok=True)
        try:
            yield
        except RagmacsError as exc:
            reason = f"{exc.message}; {exc.hint}" if exc.hint else exc.message
            with mapped(str(self.folder)):
                self._failed.write_text(json.dumps([self.configuration, reason]), "utf-8")
            raise

    @property
    def _failed(self) -> Path:
        return self.folder / "prepare.failed"

    def _failure(self) -> str:
        """Why this configuration could not be prepared, or ""."""
        try:
            configuration, reason = json.loads(self._failed.read_text("utf-8"))
        except (OSError, ValueError):
            return ""
        return str(reason) if configuration == self.configuration else ""


def _detach(lock: int, environ: Mapping[str, str]) -> None:
    """Run `PREPARE` as nobody's child; it holds LOCK as long as it lives."""
    command = [sys.executable, "-m", str(__package__), *PREPARE.split()[1:], "--quiet"]
    try:
        subprocess.run(
            ["sh", "-c", 'nice -n 5 "$@" &', "sh", *command],
            cwd=Path(__file__).parents[1],  # `-m` looks here first
            env={**environ, "RAGMACS_SEARCH_MODE": "hybrid"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[lock],
        )
    finally:
        os.close(lock)
