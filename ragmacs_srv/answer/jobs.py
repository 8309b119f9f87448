"""Reading lists that clients send become jobs: a journal each, in the cache, under a name that the list gives it.

Who sends the same list again goes on where it was, in another connection, too. Jobs that nobody asked for in a month
are forgotten.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidParams
from ..ingest.lists import Entry
from ..search.database import mapped
from . import report, themes
from .batch import Row, counts, rows
from .journal import Journal
from .themes import Digest

KEPT: Final = 30 * 24 * 3600.0  # seconds
ITEMS: Final = 50  # of a page of results
CHARS: Final = 200_000  # of a part of a report
SHOWN: Final = 100  # of those that are not done, in the first reply
SUFFIX: Final = ".batch"


@dataclass(frozen=True, slots=True)
class Job:
    """A list that was worked on: what became of each address, and the digest."""

    name: str
    title: str
    rows: Sequence[Row]
    digest: Digest

    def as_json(self) -> dict[str, Any]:
        """What `batch` gives, on every transport; the items come page by page."""
        lacking = [row.record for row in self.rows if row.record.state != "done"]
        return {
            "job": self.name,
            "counts": counts(self.rows),
            "digest": self.digest.as_json(),
            "not_done": [{"url": each.url, "state": each.state, "reason": each.reason} for each in lacking[:SHOWN]],
        }

    def part(self, form: str, start: int) -> dict[str, Any]:
        """Items from START on, or for a FORM that is not "json" the text of a report; the rest begins at `next`."""
        if form == "json":
            items = [row.as_json() for row in self.rows[start : start + ITEMS]]
            return {"job": self.name, "items": items, **_more(start + ITEMS, len(self.rows))}
        text = report.report(report.format_of(Path(), form), self.title, self.rows, self.digest)
        return {"job": self.name, "text": text[start : start + CHARS], **_more(start + CHARS, len(text))}


def _more(end: int, total: int) -> dict[str, int]:
    return {"next": end} if end < total else {}


@contextmanager
def begun(folder: Path, entries: Sequence[Entry], title: str) -> Iterator[tuple[str, Journal]]:
    """(name, journal) of the job that reads ENTRIES, in FOLDER; raises Busy while it is under way elsewhere."""
    name = hashlib.sha256(_text(entries).encode()).hexdigest()[:16]
    with mapped(str(folder)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget(folder)
    with Journal(folder / (name + SUFFIX)) as journal:
        remember(journal, entries)
        journal.remember("title", title)
        yield name, journal


def remember(journal: Journal, entries: Sequence[Entry]) -> None:
    """ENTRIES are what the job of JOURNAL reads."""
    journal.remember("entries", _text(entries))


def _text(entries: Sequence[Entry]) -> str:
    return json.dumps([asdict(entry) for entry in entries])


def finished(journal: Journal, name: str) -> Job:
    """The job NAME, as far as JOURNAL tells."""
    fields = json.loads(journal.fact("entries") or "[]")
    entries = [Entry(**(each | {"tags": tuple(each["tags"]), "also": tuple(each["also"])})) for each in fields]
    made = rows(entries, journal.records())
    shape = journal.fact("digest")
    digest = themes.restored(json.loads(shape), made) if shape else themes.digest(made)
    return Job(name, journal.fact("title"), made, digest)


def known(folder: Path, name: str) -> Job:
    """The job NAME of FOLDER; raises InvalidParams where there is none, Busy while it is under way."""
    path = folder / (name + SUFFIX)
    if not re.fullmatch(r"[0-9a-f]{16}", name) or not path.exists():
        raise InvalidParams(f"there is no job {name[:40]!r}", hint="batch gives the name; send the list again")
    with Journal(path) as journal:
        return finished(journal, name)


def _forget(folder: Path) -> None:
    for path in folder.glob("*" + SUFFIX):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - KEPT:
                path.unlink()
