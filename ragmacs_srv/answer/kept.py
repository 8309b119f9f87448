"""Summaries that an LLM wrote become files, and files become these summaries again: nobody pays for one twice."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..model import Page
from .summarize import Point, Summary, check_form

MOST = 500  # kept, of some 2 KB each; those not asked for longest go first
VERSION = 1  # raise it when the same settings would give other summaries

log = logging.getLogger(__name__)


def key(page: Page, *settings: object) -> str:
    """What a summary of PAGE depends on: its text, and SETTINGS with the name of the model among them."""
    digest = hashlib.sha256(json.dumps([VERSION, page.url, page.title, *settings]).encode())
    for section in page.sections:
        digest.update(json.dumps([section.anchor, section.heading, section.text]).encode())
    return digest.hexdigest()


class Kept:
    """Summaries in FOLDER, a file each, which can be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Summary | None:
        """The summary kept as KEY, or None."""
        path = self._path(key)
        try:
            found = _summary(json.loads(path.read_text("utf-8")))
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: it is made again
            return None
        return found

    def put(self, key: str, summary: Summary) -> None:
        """Keep SUMMARY as KEY; a disk that does not take it costs a warning."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".part", delete=False) as file:
                json.dump(summary.as_json(), file)
            Path(file.name).replace(self._path(key))
            self._prune()
        except OSError as exc:
            log.warning("a summary could not be kept in %s: %s", self.folder, exc)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _prune(self) -> None:
        found = [(each.stat().st_mtime, each) for each in self.folder.iterdir()]
        for _, path in sorted(found)[: max(len(found) - MOST, 0)]:
            with suppress(FileNotFoundError):  # another process does just this
                path.unlink()


def _summary(shape: dict[str, Any]) -> Summary:
    points = tuple(Point(str(each["text"]), str(each["link"])) for each in shape["points"])
    notes = tuple(map(str, shape["notes"]))
    model, style = str(shape["model"]), check_form(shape["style"])
    return Summary(str(shape["url"]), str(shape["title"]), points, True, model, notes, style)
