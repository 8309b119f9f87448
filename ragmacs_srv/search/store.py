"""The truth on disk: `crawl.db`, one SQLite file that one writer at a time opens.

Every row carries a hash of itself, so that a flipped byte is noticed and never published. What readers
see is a generation made from it (`generation.py`). Rollback journal, never WAL: the SQLite that many
Pythons link has the WAL-reset bug (fixed in 3.51.3).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import IndexCorrupt, IndexMismatch, StorageError
from ..model import Block, Chunk, Page, Response, Section, Source
from . import roster
from .database import (
    REPAIR,
    TABLES,
    columns,
    connect,
    connect_readonly,
    mapped,
    migrate,
    rest_lock,
    schema,
    seal,
    seal_cells,
    take_lock,
)
from .history import KEPT_ROWS, Change, whole
from .tokens import Projection

CRAWL_DB = "crawl.db"


@dataclass(frozen=True, slots=True)
class Validators:
    """What is known of a page that has been read: enough to ask for it conditionally, and to crawl on."""

    etag: str
    last_modified: str
    body_hash: str
    chunker: str
    links: tuple[str, ...]
    fetched_from: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one address in the last crawl that met it.

    `status` is new, changed, unchanged, alias, failed, refused, skipped, gone or left (nothing leads to it any more);
    `page` is the address of the page that holds its text ("" when none does), another one for an alias or a redirect.
    `body_hash` is a hash of that text where it stands in the place of the page, which is kept: see `ingest/doubt`.
    """

    collection: str
    url: str
    status: str
    page: str
    reason: str
    etag: str
    body_hash: str
    depth: int
    at: str


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page as generations are made from it; `chunks` has one tuple per section."""

    page: Page
    chunks: tuple[tuple[Chunk, ...], ...]
    collections: tuple[str, ...]
    fetched_at: str
    fetched_from: str


class Store:
    """The one writer of `crawl.db`. Every method that changes something is one transaction."""

    def __init__(self, folder: Path, *, readonly: bool = False, at_rest: bool = True) -> None:
        """Open FOLDER's store for writing, made if absent; or READONLY, to look at one that nobody writes to.

        Unless that has to be AT_REST: what is committed can be read meanwhile, a call at a time. Raises Busy when
        another process holds it, IndexCorrupt or IndexMismatch when it cannot be used.
        """
        self.folder = folder
        self.grown = 0  # chunks that pages have now and had not when this was opened
        self._lock = take_lock(folder) if not readonly else rest_lock(folder) if at_rest else -1
        try:
            with mapped():
                path = folder / CRAWL_DB
                self._db = connect_readonly(path) if readonly else _open(path)
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Pages

    def validators(self, url: str) -> Validators | None:
        """What is known of the page at URL, or None if it was never read."""
        for row in self._rows("pages", "url = ?", url):
            links = tuple(json.loads(row["links"]))
            validators = (row["etag"], row["last_modified"], row["body_hash"], row["chunker"])
            return Validators(*validators, links, row["fetched_from"])
        return None

    def collections_with(self, url: str) -> list[str]:
        """The collections that have the page at URL."""
        return [row["collection"] for row in self._rows("members", "url = ? ORDER BY collection", url)]

    def page_with_text(self, digest: str) -> str:
        """The address of the page whose text has this hash, or ""."""
        return next((row["url"] for row in self._rows("pages", "text_hash = ? ORDER BY url", digest)), "")

    def put_page(
        self,
        response: Response,
        page: Page,
        chunks: Sequence[Sequence[Chunk]],
        receipt: Receipt,
        *,
        text_hash: str,
        chunker: str,
        changes: Sequence[Change] = (),
    ) -> None:
        """Write a page, its sections, the chunks of each, its membership, its receipt and CHANGES: all or nothing."""
        with self._transaction():
            dropped = self._drop_page(page.url)
            self._insert(
                "pages",
                (
                    *(page.url, response.fetched_from, response.fetched_at, response.etag, response.last_modified),
                    *(receipt.body_hash, text_hash, page.title, page.author, page.date, int(page.marked)),
                    *(json.dumps(page.links), chunker, len(page.sections), _total(chunks)),
                ),
            )
            self._insert_text(page.url, page.sections, chunks)
            self._record(receipt)
            self._remember(changes)
        self.grown += _total(chunks) - dropped

    def revalidate(self, url: str, response: Response, links: Sequence[str], receipt: Receipt) -> None:
        """Note that RESPONSE brought the text that the page at URL has: by what to ask next time, and where it leads.

        For readers nothing has changed: its `fetched_at` stays.
        """
        names = ("etag", "last_modified", "body_hash", "links")
        found = (response.etag, response.last_modified, receipt.body_hash, json.dumps(links))
        with self._transaction():
            for row in list(self._rows("pages", "url = ?", url)):
                values = dict(zip(row.keys(), row, strict=True)) | dict(zip(names, found, strict=True))
                self._insert("pages", tuple(values.values())[:-1])
            self._record(receipt)

    def rewrite_page(
        self, url: str, sections: Sequence[Section], chunks: Sequence[Sequence[Chunk]], *, chunker: str
    ) -> None:
        """Give a known page other sections and chunks, everything else unchanged."""
        with self._transaction():
            for row in self._rows("pages", "url = ?", url):
                kept = tuple(row)[: -len(("chunker", "sections", "chunks", "hash"))]
                self._drop_page(url)
                self._insert("pages", (*kept, chunker, len(sections), _total(chunks)))
                self._insert_text(url, sections, chunks)

    def record(self, receipt: Receipt) -> None:
        """Remember what became of an address; its page, if any, joins the collection.

        The page that it had before leaves the collection, unless another address has it.
        """
        with self._transaction():
            self._record(receipt)

    def remove_url(self, url: str) -> int:
        """Forget the page at URL, in every collection; returns how many pages went (0 or 1)."""
        with self._transaction():
            self._execute("DELETE FROM members WHERE url = ?", url)
            self._execute("DELETE FROM receipts WHERE url = ? OR page = ?", url, url)
            self._execute("DELETE FROM history WHERE url = ?", url)
            return self._drop_orphans()

    def remove_receipts(self, collection: str, urls: Iterable[str], *, at: str = "") -> int:
        """Forget addresses of COLLECTION, and their pages unless other addresses have them; returns how many went.

        With AT, the time, what was on these pages is remembered as removed.
        """
        before = self.count()[0]
        with self._transaction():
            for url in urls:
                receipt = self.receipt(collection, url)
                self._execute("DELETE FROM receipts WHERE collection = ? AND url = ?", collection, url)
                if receipt and receipt.page:
                    self._release(collection, receipt.page, at)
        return before - self.count()[0]

    def remove_collection(self, name: str) -> int:
        """Forget a collection and the pages that are in no other; returns how many pages went."""
        with self._transaction():
            for table, column in (("members", "collection"), ("receipts", "collection"), ("collections", "name")):
                self._execute(f"DELETE FROM {table} WHERE {column} = ?", name)
            self._execute("DELETE FROM history WHERE collection = ?", name)
            removed = self._drop_orphans()
        self.tell(name)
        return removed

    def urls(self) -> list[str]:
        """The address of every page in a collection, sorted."""
        return [row[0] for row in self._select("SELECT DISTINCT url FROM members ORDER BY url")]

    def page(self, url: str) -> StoredPage:
        """The page at URL; raises IndexCorrupt when a row of it is missing or not what was written."""
        rows = list(self._rows("pages", "url = ?", url))
        sections = tuple(_section(url, row) for row in self._rows("sections", "url = ? ORDER BY n", url))
        chunk_rows = list(self._rows("chunks", "url = ? ORDER BY n", url))
        if not rows or (rows[0]["sections"], rows[0]["chunks"]) != (len(sections), len(chunk_rows)):
            raise IndexCorrupt(f"crawl.db: {url} is not complete", hint=REPAIR)
        row = rows[0]
        links = tuple(json.loads(row["links"]))
        page = Page(url, row["title"], sections, links, row["author"], row["date"], bool(row["marked"]))
        chunks: list[list[Chunk]] = [[] for _ in sections]
        for each in chunk_rows:
            chunks[each["section"]].append(_chunk(sections[each["section"]], each))
        collections = tuple(each["collection"] for each in self._rows("members", "url = ? ORDER BY collection", url))
        return StoredPage(page, tuple(map(tuple, chunks)), collections, row["fetched_at"], row["fetched_from"])

    def unmarked(self, origin: str) -> list[str]:
        """The pages that ORIGIN gave and whose content element had to be guessed, sorted."""
        inside = "url >= ?1 || '/' AND url < ?1 || '0'"  # "0" follows "/"
        inside += " AND fetched_from >= 'http' AND fetched_from < 'httq'"  # of what was saved only we know the address
        return [row["url"] for row in self._rows("pages", f"marked = 0 AND {inside} ORDER BY url", origin)]

    def other_chunkers(self, chunker: str) -> list[str]:
        """The pages that were not split by CHUNKER, sorted."""
        return [row["url"] for row in self._rows("pages", "chunker != ? ORDER BY url", chunker)]

    def count(self) -> tuple[int, int]:
        """(pages, chunks) that are committed."""
        (pages,) = self._execute("SELECT count(*) FROM pages").fetchone()
        (chunks,) = self._execute("SELECT count(*) FROM chunks").fetchone()
        return pages, chunks

    def revision(self) -> str:
        """A hash that changes whenever a generation made from here would.

        Raises IndexCorrupt when a row could be hidden by a damaged structure, and so be missing in it.
        """
        for problem in self.structural_problems():
            raise IndexCorrupt(problem, hint=REPAIR)
        digest = hashlib.sha256()
        # of a page what readers see: by what it is asked for the next time, say, is nothing to them
        shown = ", ".join(f"CAST({name} AS BLOB)" for name in ("url", "title", "fetched_at", "fetched_from"))
        for row in self._select(f"SELECT {shown} FROM pages ORDER BY url"):
            digest.update(b"\0".join((*row, b"")))
        keys = {"members": "collection, url", "sections": "url, n", "chunks": "url, n"}
        for table, order in keys.items():
            for row in self._select(f"SELECT CAST(hash AS BLOB) FROM {table} ORDER BY {order}"):
                digest.update(row[0])
        return digest.hexdigest()[:32]

    # Collections and crawls

    def start_crawl(self, source: Source, options: dict[str, Any], now: str) -> str:
        """Note that a crawl of SOURCE begins; returns when it began: earlier than NOW if it resumes one."""
        stored, wanted = json.dumps(asdict(source)), json.dumps(options)
        last = next(self._rows("collections", "name = ?", source.name), None)
        resumes = last and last["finished"] < last["started"] and (last["source"], last["options"]) == (stored, wanted)
        started = str(last["started"]) if last and resumes else now
        with self._transaction():
            self._insert("collections", (source.name, stored, wanted, started, last["finished"] if last else ""))
        self.tell(source.name, started=started)
        return started

    def finish_crawl(self, name: str, now: str) -> None:
        """Note that the crawl of collection NAME met its last address."""
        with self._transaction():
            for row in list(self._rows("collections", "name = ?", name)):
                finished = max(now, row["started"])  # whatever the clock says: it is finished
                self._insert("collections", (name, row["source"], row["options"], row["started"], finished))
        self.tell(name, finished=now)

    def tell(self, *names: str, started: str = "", finished: str = "") -> None:
        """Tell readers what became of collections NAMES, whose crawl was STARTED or FINISHED just now; see `roster`."""
        held, known = roster.read(self.folder), [each for each, _, _ in self.collections()]
        for name in {*names}.intersection(known):
            before = held.get(name)
            if started and before:
                held[name] = replace(before, started=started)  # its size is counted when it is read
                continue
            held[name] = replace(self._state(name), confirmed=before.confirmed if before else "")
            if finished and roster.is_confirmed(self._answers(name, with_page=True)):
                held[name] = replace(held[name], confirmed=finished)
        roster.write(self.folder, {each: held.get(each) or self._state(each) for each in known})

    def _answers(self, name: str, *, with_page: bool = False) -> dict[str, int]:
        """Status to how many addresses of collection NAME have it, of those WITH_PAGE only."""
        only = "AND page != ''" if with_page else ""
        sql = f"SELECT status, count(*) FROM receipts WHERE collection = ? {only} GROUP BY status ORDER BY status"
        return {row[0]: row[1] for row in self._select(sql, name)}

    def _state(self, name: str) -> roster.State:
        (row,) = self._rows("collections", "name = ?", name)
        source, outcomes = json.loads(row["source"]), self._answers(name)
        of = "WHERE url IN (SELECT url FROM members WHERE collection = ?)"
        pages, chunks = self._execute(f"SELECT count(*), sum(chunks) FROM pages {of}", name).fetchone()
        (size,) = self._execute(f"SELECT sum(length(CAST(text AS BLOB))) FROM sections {of}", name).fetchone()
        return roster.State(
            name=name,
            title=source["title"],
            licence=source.get("licence", ""),
            started=row["started"],
            finished=row["finished"],
            pages=pages,
            chunks=chunks or 0,
            bytes=size or 0,
            failed=outcomes.get("failed", 0) + outcomes.get("refused", 0),
            outcomes=outcomes,
        )

    def collection(self, name: str) -> tuple[Source, dict[str, Any]] | None:
        """The Source a collection was last crawled with and the options of that crawl, or None."""
        for row in self._rows("collections", "name = ?", name):
            fields: dict[str, Any] = json.loads(row["source"])
            lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
            return Source(**fields | lists), json.loads(row["options"])
        return None

    def collections(self) -> list[tuple[str, str, bool]]:
        """(name, title, whether a crawl of it was ever finished) of every collection."""
        rows = self._rows("collections", "1 ORDER BY name")
        return [(row["name"], json.loads(row["source"])["title"], bool(row["finished"])) for row in rows]

    def receipts(self, collection: str) -> Iterator[Receipt]:
        """The last receipt of every address that COLLECTION met."""
        for row in self._rows("receipts", "collection = ? ORDER BY url", collection):
            yield Receipt(*tuple(row)[:-1])

    def receipts_with(self, collection: str, page: str) -> list[Receipt]:
        """The last receipt of every address of COLLECTION that has PAGE."""
        rows = self._rows("receipts", "collection = ? AND page = ? ORDER BY url", collection, page)
        return [Receipt(*tuple(row)[:-1]) for row in rows]

    def receipt(self, collection: str, url: str) -> Receipt | None:
        """The last receipt of one address in COLLECTION."""
        for row in self._rows("receipts", "collection = ? AND url = ?", collection, url):
            return Receipt(*tuple(row)[:-1])
        return None

    def was_read(self, name: str) -> bool:
        """Whether a crawl of collection NAME ever met its last address."""
        return any(finished for each, _, finished in self.collections() if each == name)

    # What changed

    def history(self, collection: str, since: str = "") -> list[Change]:
        """What changed on the pages of COLLECTION at SINCE or after, by default since its last crawl began, by time."""
        if not since:
            since = next((row["started"] for row in self._rows("collections", "name = ?", collection)), "")
        mine = "collection = ?1 OR url IN (SELECT url FROM members WHERE collection = ?1)"
        rows = self._rows("history", f"({mine}) AND at >= ?2 ORDER BY at, url, n", collection, since)
        return [_change(row) for row in rows]

    def forget_history(self, before: str) -> None:
        """Drop what changed BEFORE that time, and what is more than can be kept."""
        with self._transaction():
            self._execute("DELETE FROM history WHERE at < ?", before)
            self._execute(
                "DELETE FROM history WHERE at < (SELECT at FROM history ORDER BY at DESC LIMIT 1 OFFSET ?)", KEPT_ROWS
            )

    # Lines that repeat on sites without semantic markup

    def repeats(self, origin: str) -> set[str]:
        """The block texts known to stand on most pages of ORIGIN."""
        return {row["text"] for row in self._rows("repeats", "origin = ?", origin)}

    def add_repeats(self, origin: str, texts: Iterable[str]) -> None:
        with self._transaction():
            for text in texts:
                self._insert("repeats", (origin, text))

    # Vectors, each kept under its space: see `embed.space`

    def known_vectors(self, space: str) -> set[str]:
        """The passage hashes that have a vector of SPACE."""
        return {row[0] for row in self._select("SELECT passage FROM vectors WHERE model = ?", space)}

    def dim(self, space: str) -> int:
        """How many numbers the vectors of SPACE have, 0 where there are none."""
        sizes = self._select("SELECT length(vector) FROM vectors WHERE model = ? LIMIT 1", space)
        return next((int(row[0]) // 4 for row in sizes), 0)

    def put_vectors(self, space: str, passages: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep one float32 row of VECTORS per passage hash; committed at once, so that a kill costs one batch."""
        with self._transaction():
            for passage, vector in zip(passages, vectors, strict=True):
                self._insert("vectors", (space, passage, vector.astype("<f4").tobytes()))

    def vectors(self, space: str, passages: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """The vector of SPACE for each passage hash, in that order; raises IndexCorrupt for one that is not known."""
        for passage in passages:
            row = next(self._rows("vectors", "model = ? AND passage = ?", space, passage), None)
            if row is None:
                raise IndexCorrupt(f"crawl.db: the vector of passage {passage} is missing", hint="ragmacs reindex")
            yield np.frombuffer(row["vector"], "<f4")

    def drop_vectors(self, space: str, *, keep: set[str]) -> None:
        """Forget the vectors of SPACE, its tokens' too, whose passage is not in KEEP, and all those of other spaces."""
        with self._transaction():
            for table in ("vectors", "projections"):
                self._execute(f"DELETE FROM {table} WHERE model != ?", space)
            self._execute("DELETE FROM tokens WHERE projection NOT IN (SELECT key FROM projections)")
            for table in ("vectors", "tokens"):
                known = {row[0] for row in self._select(f"SELECT passage FROM {table}")}
                for passage in known - keep:
                    self._execute(f"DELETE FROM {table} WHERE passage = ?", passage)

    # Token vectors

    def projection(self, space: str) -> Projection | None:
        """How the token vectors of SPACE are made small here, or None while nothing was trained."""
        for row in self._rows("projections", "model = ?", space):
            matrix = np.frombuffer(row["matrix"], "<f4").reshape(-1, row["dim"])
            return Projection(space, matrix, row["tokens"], row["passages"])
        return None

    def put_projection(self, made: Projection) -> None:
        """Keep a projection in place of the space's last one, whose token vectors go with it."""
        matrix = made.matrix.astype("<f4").tobytes()
        with self._transaction():
            self._insert("projections", (made.model, made.key, made.dim, made.tokens, made.passages, matrix))
            self._execute("DELETE FROM tokens WHERE projection NOT IN (SELECT key FROM projections)")

    def known_tokens(self, projection: Projection) -> set[str]:
        """The passage hashes whose token vectors are kept."""
        return {row[0] for row in self._select("SELECT passage FROM tokens WHERE projection = ?", projection.key)}

    def put_tokens(
        self, projection: Projection, passages: Sequence[str], tokens: Sequence[NDArray[np.float32]]
    ) -> None:
        """Keep the token vectors of each passage hash, made small; committed at once."""
        with self._transaction():
            for passage, vectors in zip(passages, tokens, strict=True):
                self._insert("tokens", (projection.key, passage, projection.reduce(vectors).tobytes()))

    def tokens(self, projection: Projection, passages: Iterable[str]) -> Iterator[NDArray[np.int8]]:
        """The small token vectors (tokens, dim) of each passage hash, in that order; raises IndexCorrupt without."""
        for passage in passages:
            row = next(self._rows("tokens", "projection = ? AND passage = ?", projection.key, passage), None)
            if row is None:
                raise IndexCorrupt(f"crawl.db: the tokens of passage {passage} are missing", hint="ragmacs reindex")
            yield np.frombuffer(row["vectors"], np.int8).reshape(-1, projection.dim)

    # Soundness

    def problems(self) -> Iterator[str]:
        """What is wrong with crawl.db: its structure, then every row and every page."""
        try:
            if found := self.structural_problems():
                yield from found
                return  # rows cannot be trusted to be found
            for table in TABLES:
                for rowid in self._bad(table):
                    yield f"crawl.db: row {rowid} of {table} is not what was written"
            yield from (f"crawl.db: {url} is not complete" for url in self._incomplete())
        except IndexCorrupt as exc:
            yield exc.message

    def structural_problems(self) -> list[str]:
        """What SQLite itself finds wrong."""
        try:
            return [f"crawl.db: {row[0]}" for row in self._select("PRAGMA integrity_check(10)") if row[0] != "ok"]
        except IndexCorrupt as exc:
            return [exc.message]

    def drop_incomplete(self) -> None:
        """Drop every page that lacks a section or a chunk, and its receipts: the next crawl reads it again."""
        with self._transaction():
            for receipt in self._rows("receipts", "page IN (SELECT url FROM pages)"):
                self._insert("members", (receipt["collection"], receipt["page"]))
            for url in self._incomplete():
                self._execute("DELETE FROM members WHERE url = ?", url)
            self._drop_orphans()
            self._execute("DELETE FROM receipts WHERE page != '' AND page NOT IN (SELECT url FROM pages)")

    def _bad(self, table: str) -> Iterator[int]:
        """The rowids of the rows of TABLE that do not match their hash."""
        names = columns(self._db, table)[:-1]
        as_bytes = ", ".join(f"CAST({name} AS BLOB), typeof({name})" for name in names)
        for rowid, stored, *cells in self._select(f"SELECT rowid, CAST(hash AS BLOB), {as_bytes} FROM {table}"):
            if stored != seal_cells(table, zip(cells[::2], cells[1::2], strict=True)):
                yield rowid

    def _incomplete(self) -> list[str]:
        """The pages whose number of sections or chunks is not the one written with them, or that are missing."""
        rows = self._select(
            "SELECT url FROM pages WHERE sections != (SELECT count(*) FROM sections s WHERE s.url = pages.url)"
            " OR chunks != (SELECT count(*) FROM chunks c WHERE c.url = pages.url)"
            " UNION SELECT url FROM members WHERE url NOT IN (SELECT url FROM pages)"
        )
        return [row[0] for row in rows]

    # Below: one transaction at a time, every row sealed

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with mapped():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise

    def _execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        with mapped():
            return self._db.execute(sql, values)

    def _select(self, sql: str, *values: object) -> Iterator[sqlite3.Row]:
        """The rows one by one; SQLite meets most damage here, not in `execute`."""
        with mapped():
            yield from self._db.execute(sql, values)

    def _insert(self, table: str, values: Sequence[object]) -> None:
        row = (*values, seal(table, values))
        marks = ", ".join("?" * len(row))
        self._execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", *row)

    def _rows(self, table: str, where: str, *values: object) -> Iterator[sqlite3.Row]:
        """The rows of TABLE, each checked against its hash."""
        with mapped():
            rows = self._db.execute(f"SELECT * FROM {table} WHERE {where}", values).fetchall()
        for row in rows:
            cells = tuple(row)
            if cells[-1] != seal(table, cells[:-1]):
                raise IndexCorrupt(f"crawl.db: a row of {table} is not what was written", hint=REPAIR)
            yield row

    def _insert_text(self, url: str, sections: Sequence[Section], chunks: Sequence[Sequence[Chunk]]) -> None:
        for n, section in enumerate(sections):
            heading, blocks = json.dumps(section.heading), json.dumps(section.blocks)
            self._insert("sections", (url, n, section.anchor, heading, section.text, blocks))
        owned = ((n, chunk) for n, parts in enumerate(chunks) for chunk in parts)
        for at, (n, chunk) in enumerate(owned):
            self._insert("chunks", (url, at, chunk.id, n, chunk.start, chunk.end))

    def _record(self, receipt: Receipt) -> None:
        before = self.receipt(receipt.collection, receipt.url)
        self._insert("receipts", astuple(receipt))
        if receipt.page:
            self._insert("members", (receipt.collection, receipt.page))
        if before and before.page not in {"", receipt.page}:
            self._release(receipt.collection, before.page, "" if receipt.page else receipt.at)

    def _remember(self, changes: Sequence[Change]) -> None:
        for n, each in enumerate(changes):
            said = (each.collection, each.change, each.anchor, json.dumps(each.heading), each.before, each.after)
            self._insert("history", (each.url, each.at, n, *said))

    def _release(self, collection: str, page: str, at: str) -> None:
        """Take PAGE out of COLLECTION, and drop it with its last one, unless an address of COLLECTION has it.

        AT is when it was seen to be gone, or "" when it only has another address.
        """
        if any(self._select("SELECT 1 FROM receipts WHERE collection = ? AND page = ?", collection, page)):
            return
        if at and self.validators(page):
            self._remember([whole("removed", self.page(page).page, at=at, collection=collection)])
        self._execute("DELETE FROM members WHERE collection = ? AND url = ?", collection, page)
        if not any(self._select("SELECT 1 FROM members WHERE url = ?", page)):
            self._drop_page(page)

    def _drop_page(self, url: str) -> int:
        """Delete the page at URL; returns how many chunks it had."""
        for table in ("pages", "sections"):
            self._execute(f"DELETE FROM {table} WHERE url = ?", url)
        return self._execute("DELETE FROM chunks WHERE url = ?", url).rowcount

    def _drop_orphans(self) -> int:
        """Delete what belongs to no collection; returns how many pages that were."""
        (before,) = self._execute("SELECT count(*) FROM pages").fetchone()
        for table in ("pages", "sections", "chunks"):
            self._execute(f"DELETE FROM {table} WHERE url NOT IN (SELECT url FROM members)")
        (after,) = self._execute("SELECT count(*) FROM pages").fetchone()
        return int(before - after)


def look(folder: Path) -> Store:
    """The store in FOLDER to read from, whoever writes to it meanwhile.

    One that an older ragmacs made, or that a killed writer left in the middle, is opened for writing, which mends it.
    """
    try:
        return Store(folder, readonly=True, at_rest=False)
    except (IndexMismatch, StorageError):
        return Store(folder)


def rebuild(folder: Path) -> int:
    """Make crawl.db anew from its rows that are what was written; returns how many there are.

    With none it stays as it is. Its pages may be incomplete after: see `Store.drop_incomplete`.
    """
    path, rows = folder / CRAWL_DB, 0
    lock = take_lock(folder)
    try:
        with mapped(), closing(_make(path)) as made:
            made.execute("BEGIN")
            with closing(sqlite3.connect(path)) as old:
                old.text_factory = lambda text: text.decode(errors="replace")  # the hash will tell
                for table in TABLES:
                    insert = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(columns(made, table)))})"
                    rows += made.executemany(insert, _sound(old, table)).rowcount
            made.execute("COMMIT")
        if rows:
            _install(path)
    finally:
        os.close(lock)
    return rows


def _sound(db: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of TABLE that are what was written; from both ends, as SQLite stops at a page it cannot read."""
    for order in ("ASC", "DESC"):
        try:
            for row in db.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY rowid {order}"):
                if row[-1] == seal(table, row[:-1]):
                    yield row
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
        return


def _open(path: Path) -> sqlite3.Connection:
    """crawl.db, made whole before it gets its name: an empty file of that name is always damage."""
    if not path.exists():
        _make(path).close()
        _install(path)
    elif _header(path)[18:19] not in {b"\1", b"\2"}:  # the write version: SQLite would only read
        raise IndexCorrupt(f"{path.name} is empty, or no file that SQLite can write", hint=REPAIR)
    db = connect(path)
    try:
        migrate(db)
        if schema(db) != _our_schema():
            raise IndexCorrupt(f"{path.name}: the schema is not what was written", hint=REPAIR)
    except BaseException:
        db.close()
        raise
    return db


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _make(path: Path) -> sqlite3.Connection:
    """An empty database that takes the place of PATH by `_install`."""
    made = path.with_suffix(".new")
    made.unlink(missing_ok=True)
    db = connect(made)
    migrate(db)
    return db


def _install(path: Path) -> None:
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)  # never to be played into another file
    path.with_suffix(".new").replace(path)


def _our_schema() -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        return schema(db)


def passage_hash(chunk: Chunk) -> str:
    """What a vector is kept under: the same passage has the same vector, wherever it stands."""
    return hashlib.sha256(chunk.passage.encode()).hexdigest()[:32]


def _total(chunks: Sequence[Sequence[Chunk]]) -> int:
    return sum(len(parts) for parts in chunks)


def _section(url: str, row: sqlite3.Row) -> Section:
    blocks = tuple(Block(*block) for block in json.loads(row["blocks"]))
    return Section(url, row["anchor"], tuple(json.loads(row["heading"])), row["text"], blocks)


def _change(row: sqlite3.Row) -> Change:
    place = (row["url"], row["at"], row["collection"], row["change"], row["anchor"])
    return Change(*place, tuple(json.loads(row["heading"])), row["before"], row["after"])


def _chunk(section: Section, row: sqlite3.Row) -> Chunk:
    text = section.text[row["start"] : row["stop"]]
    return Chunk(row["id"], section.url, section.anchor, section.heading, text, row["start"], row["stop"])
