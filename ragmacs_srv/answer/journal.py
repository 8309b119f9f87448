"""What a run over a reading list has done so far, in one file that survives a kill: records, and the pages read.

A SQLite file, because a record and its page have to be there together or not at all, and because a page of a long
list must not take memory. Whoever has it open is alone with it: a second run is refused.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import Busy, IndexMismatch
from ..model import Block, Page, Response, Section
from ..search.database import HELD, mapped

VERSION = 1
State = Literal["done", "failed", "refused", "pending"]


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one address.

    `page` is the address that the page is known by, after redirects. `points` are (text, link). `words` are those of
    the page. `recipe` names how the summary was asked for. `again`: nobody was asked, or answered: the next run tries.
    `short`: the LLM was to write the summary and could not, or not all of it. `hint`: what can be done about `reason`.
    """

    url: str
    state: State
    reason: str = ""
    page: str = ""
    title: str = ""
    points: tuple[tuple[str, str], ...] = ()
    words: int = 0
    model: str = ""
    notes: tuple[str, ...] = ()
    from_cache: bool = False
    at: str = ""
    recipe: str = ""
    again: bool = False
    short: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A page as it was fetched: all that indexing it needs, but for the bytes, of which it has the SHA-256."""

    page: Page
    response: Response
    digest: str

    @classmethod
    def of(cls, page: Page, response: Response) -> Kept:
        """PAGE, which was read from RESPONSE, to be kept without its bytes."""
        return cls(page, replace(response, body=b""), hashlib.sha256(response.body).hexdigest())


class Journal:
    """The file PATH, made if absent, for one process and as many threads of it as like; close it."""

    def __init__(self, path: Path) -> None:
        """Raises Busy while another run has it open, StorageError, and IndexCorrupt for a file of another kind."""
        self.path = path
        self._lock = threading.Lock()
        with self._mapped():
            # No timeout: another run takes minutes. The lock makes the sharing between threads safe.
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with self._mapped():
                self._open()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def _open(self) -> None:
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # what is locked once stays locked until it is closed
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF not in HELD:
                raise
            message = f"another run has {self.path} open"
            raise Busy(message, hint="wait for it to end, or name another output with -o") from exc
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            message = f"{self.path} was written by another version of ragmacs ({version}, this one writes {VERSION})"
            raise IndexMismatch(message, hint="upgrade ragmacs-srv, or delete the file to begin anew")
        for table in ("records (url TEXT PRIMARY KEY, record TEXT)", "pages (url TEXT PRIMARY KEY, page BLOB)"):
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        self._db.execute("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)")
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        self._db.execute("COMMIT")

    def records(self) -> dict[str, Record]:
        """The last record of every address."""
        return {
            record.url: record for (text,) in self._select("SELECT record FROM records") if (record := _record(text))
        }

    def put(self, record: Record, page: Kept | None = None) -> None:
        """Record what became of an address, with its page where there is a new one; on disk when this returns."""
        with self._lock, self._mapped():
            self._db.execute("BEGIN")
            try:
                self._db.execute("REPLACE INTO records VALUES (?, ?)", (record.url, json.dumps(asdict(record))))
                if page is not None:
                    self._db.execute("REPLACE INTO pages VALUES (?, ?)", (page.page.url, _frozen(page)))
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def page(self, url: str) -> Kept | None:
        """The page that is known by URL, if it was fetched."""
        return next((_thawed(blob) for (blob,) in self._select("SELECT page FROM pages WHERE url = ?", url)), None)

    def fact(self, name: str) -> str:
        """What was remembered under NAME, or ""."""
        return next((str(value) for (value,) in self._select("SELECT value FROM facts WHERE name = ?", name)), "")

    def remember(self, name: str, value: str) -> None:
        with self._lock, self._mapped():
            self._db.execute("REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _select(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._mapped():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        with mapped(str(self.path), hint=f"delete {self.path} to begin anew, or name another output with -o"):
            yield


def _record(text: str) -> Record:
    fields = json.loads(text)
    points = tuple((text, link) for text, link in fields["points"])
    return Record(**(fields | {"points": points, "notes": tuple(fields["notes"])}))


def _frozen(page: Kept) -> bytes:
    response = {key: value for key, value in asdict(page.response).items() if key != "body"}
    return zlib.compress(json.dumps([response, page.digest, asdict(page.page)]).encode())


def _thawed(blob: bytes) -> Kept:
    response, digest, fields = json.loads(zlib.decompress(blob))
    sections = tuple(
        Section(**(each | {"heading": tuple(each["heading"]), "blocks": tuple(Block(*b) for b in each["blocks"])}))
        for each in fields["sections"]
    )
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return Kept(Page(**(fields | lists | {"sections": sections})), Response(**response, body=b""), digest)
