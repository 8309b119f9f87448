"""What readers see: `gen-N/`, written aside, renamed when whole, and never changed after.

A generation holds `text.db` (pages, sections, chunks and their full-text index), `dense.faiss` (row i is
the vector of chunk i + 1, or of chunk rows[i] + 1 while not every chunk has one; absent in one made without a
model), `dense.rows.npy` in that case, the token vectors of every chunk (`tokens.*`; absent in one made without
re-ranking) and MANIFEST, which names everything that must fit together and the
SHA-256 of every file. A reader holds a shared lock on the MANIFEST it opened;
the writer removes old generations that nobody holds.

Reading gigabytes to hash them would make the first question wait, so MANIFEST also holds a stamp of every file:
its size and the time it was last changed. Opening hashes only a file whose stamp is another one: it was cut,
swapped, restored or written to. What changes bytes and no stamp is a failing disk: `problems` hashes all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import IndexCorrupt, IndexMismatch, NotIndexed, StorageError
from ..model import Block, Chunk, Hit, Page, Section
from . import tokens, vectors
from .database import mapped
from .embed import sha256
from .labels import Label
from .partial import PartialIndex
from .store import StoredPage, passage_hash
from .terms import terms

FORMAT = 4
REBUILD = "ragmacs reindex"
NAMES = "ragmacs collections lists the names"
TEXT, DENSE, ROWS, MANIFEST = "text.db", "dense.faiss", "dense.rows.npy", "MANIFEST"
LARGE = 50_000  # chunks; from there on a term that many chunks hold costs more than it tells
FREQUENT = 1_000  # chunks hold a term that is counted when a generation is written
COMMON = 0.1  # of the chunks of a large generation: a term that more hold is left out of a search

SCHEMA = (
    "CREATE TABLE pages (id INTEGER PRIMARY KEY, url TEXT UNIQUE, title TEXT, fetched_at TEXT, fetched_from TEXT,"
    " date TEXT)",
    "CREATE TABLE members (collection TEXT, page INTEGER, PRIMARY KEY (collection, page)) WITHOUT ROWID",
    "CREATE INDEX members_page ON members (page)",
    "CREATE TABLE sections (id INTEGER PRIMARY KEY, page INTEGER, anchor TEXT, heading TEXT, text TEXT, blocks TEXT)",
    "CREATE INDEX sections_page ON sections (page)",
    "CREATE TABLE chunks (id INTEGER PRIMARY KEY, key TEXT, section INTEGER, start INTEGER, stop INTEGER)",
    # The terms come from terms.terms, so FTS5 must only split at spaces: "ascii" takes every other letter as it is.
    # All signs but quotes may be a part of a term. "content=''": the text is in `sections`.
    "CREATE VIRTUAL TABLE lexicon USING fts5("
    "terms, content='', tokenize=\"ascii tokenchars '!#$%&()*+,-./:;<=>?@[\\]^_`{|}~'\")",
    "CREATE VIRTUAL TABLE vocabulary USING fts5vocab(lexicon, 'row')",
    # `vocabulary` counts when it is asked, which takes milliseconds for a term that a hundred thousand chunks hold
    "CREATE TABLE frequent (term TEXT PRIMARY KEY, chunks INTEGER) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation was made from, and by what."""

    number: int
    revision: str  # a hash of all pages, chunks and collections in it
    created: str
    chunker: str
    pages: int
    sections: int
    chunks: int
    collections: dict[str, int]  # name to number of pages
    files: dict[str, str]  # name to SHA-256
    model: str = ""  # a name for people; "" without vectors
    model_key: str = ""
    numeric: str = "exact"  # the class of the engine, see `embed.Embedder`; those of one class may share an index
    dim: int = 0
    projection: str = ""  # what made the token vectors small; "" without them
    missing: int = 0  # chunks that lack their vector, or those of their tokens
    index: dict[str, Any] = field(default_factory=dict)  # what dense.faiss is: the fields of vectors.Built
    stamps: dict[str, list[int]] = field(default_factory=dict)  # name to size and time of change, in ns
    format: int = FORMAT

    @property
    def vectors(self) -> int:
        """How many chunks have all their vectors."""
        return self.chunks - self.missing if self.model_key else 0


@dataclass(frozen=True, slots=True)
class Dense:
    """The vectors of a generation; `rows` gives one unit vector per KNOWN passage hash, in the order given."""

    model: str
    key: str
    dim: int
    known: Collection[str]
    rows: Callable[[Sequence[str]], Iterator[NDArray[np.float32]]]
    numeric: str = "exact"


@dataclass(frozen=True, slots=True)
class Late:
    """The token vectors of a generation, made small; `rows` gives those of each passage hash, in the order given.

    Those of a passage that is not KNOWN are none.
    """

    projection: tokens.Projection
    known: Collection[str]
    rows: Callable[[Sequence[str]], Iterator[NDArray[np.int8]]]


class Scope(NamedTuple):
    """Where to search: in COLLECTIONS; where PAGES are given, numbered as in `labels`, in these of theirs alone."""

    collections: tuple[str, ...] = ()
    pages: tuple[int, ...] | None = None


EVERYWHERE = Scope()
PAGES = "s.page IN (SELECT value FROM json_each(?))"


class Generation:
    """One generation, opened for reading, by any number of threads; it stays readable while newer ones are made."""

    def __init__(self, folder: Path) -> None:
        """Open FOLDER; raises IndexCorrupt when a file is not what was written, IndexMismatch for another format."""
        self.folder = folder
        self._lock = _hold(folder)
        try:
            with mapped(folder.name, hint=REBUILD):
                self.manifest = _read_manifest(folder)
                for problem in _damage(folder, self.manifest, trusted=self.manifest.stamps):
                    raise IndexCorrupt(problem, hint=REBUILD)
                self.vectors = self._vectors()
                self.tokens = tokens.TokenFile(folder) if self.manifest.projection else None
                self._idle = [self._connect()]
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody may be reading it."""
        for db in self._idle:
            db.close()
        os.close(self._lock)

    @property
    def in_place(self) -> bool:
        """Whether its folder still holds it, and not another of its number, as in a store that was made anew."""
        try:
            return os.path.samestat(os.fstat(self._lock), (self.folder / MANIFEST).stat())
        except OSError:
            return False

    def lexical(
        self,
        query: Sequence[str],
        k: int,
        scope: Scope = EVERYWHERE,
        *,
        among: Collection[int] | None = None,
        also: Collection[int] = (),
    ) -> list[tuple[int, float]]:
        """Up to K (chunk id, BM25 score), best first, of the chunks that hold any of the QUERY's terms.

        AMONG, at most some thousand chunk ids, limits the search to them. Beside the K best come those of ALSO that
        hold any, however low they score, and as many others as would have had their places.
        """
        if not query:
            return []
        match = " OR ".join(f'"{term}"' for term in self._telling(query))
        # "+": without it SQLite looks for each of these rows by itself, and sets up bm25() anew every time
        only = "" if among is None else f"AND +rowid IN ({_listed(among)})"
        within, values = _scope(scope)
        sql = f"SELECT rowid, -bm25(lexicon) FROM lexicon WHERE lexicon MATCH ? {within} {only}"
        order = f"ORDER BY +rowid IN ({_listed(also)}) DESC, 2 DESC, 1" if also else "ORDER BY 2 DESC, 1"
        rows = self._rows(f"{sql} {order} LIMIT ?", match, *values, k + len(also))
        return sorted(((row[0], row[1]) for row in rows), key=lambda pair: (-pair[1], pair[0]))

    def _telling(self, query: Sequence[str]) -> list[str]:
        """The terms of QUERY to search for, each once: all of them, but in a large generation the rarer ones."""
        given = list(dict.fromkeys(query))
        if self.manifest.chunks < LARGE:
            return given
        found = sorted((count, term) for term in given if (count := self.frequency(term)))
        rare = [term for count, term in found if count <= COMMON * self.manifest.chunks]
        return rare or [term for _, term in found[:1]] or given[:1]

    def dense(
        self,
        query: NDArray[np.float32],
        k: int,
        scope: Scope = EVERYWHERE,
        *,
        among: Collection[int] | None = None,
    ) -> list[tuple[int, float]]:
        """Up to K (chunk id, cosine), best first; nothing in a generation without vectors. AMONG as in `lexical`."""
        if self.vectors is None:
            return []
        ids = np.fromiter(among, np.int64) if among is not None else self._ids(scope) if scope != EVERYWHERE else None
        rows, scores = self.vectors.search(query, k, None if ids is None else ids - 1)
        return [(int(row) + 1, float(score)) for row, score in zip(rows, scores, strict=True)]

    def maxsim(self, question: NDArray[np.float32], chunks: Sequence[int]) -> NDArray[np.float32]:
        """How well each of CHUNKS matches each token of QUESTION (tokens, width): shape (chunks, tokens).

        No rows without token vectors.
        """
        if self.tokens is None:
            return np.empty((0, len(question)), np.float32)
        return self.tokens.maxsim(question, [chunk - 1 for chunk in chunks])

    def frequency(self, term: str) -> int:
        """How many chunks hold TERM."""
        sql = "SELECT chunks FROM frequent WHERE term = ?1 UNION ALL SELECT doc FROM vocabulary WHERE term = ?1 LIMIT 1"
        return next((int(row[0]) for row in self._rows(sql, term)), 0)

    def hits(
        self, scored: Iterable[tuple[int, float]], scope: Scope = EVERYWHERE, *, limit: int | None = None
    ) -> list[Hit]:
        """The sections that the given chunks stand in, at most LIMIT, each once, in the order of its best chunk."""
        scores = dict(scored)
        sql = f"SELECT id, section, key, start, stop FROM chunks WHERE id IN ({_listed(scores)})"
        places = {number: place for number, *place in self._rows(sql)}
        found: dict[int, list[tuple[str, int, int, float]]] = {}
        for number, score in scores.items():
            section, *place = places[number]
            found.setdefault(section, []).append((*place, score))
        shown = list(found)[:limit]
        read = self._read(shown, scope.collections)
        return [_hit(read[section], found[section]) for section in shown]

    def sections(self, url: str) -> list[Section]:
        """The sections of the page at URL in reading order; none for an unknown page."""
        sql = (
            "SELECT p.url, s.anchor, s.heading, s.text, s.blocks FROM pages p JOIN sections s ON s.page = p.id"
            " WHERE p.url = ? ORDER BY s.id"
        )
        return [_section(row) for row in self._rows(sql, url)]

    def page(self, url: str) -> Page | None:
        """The page at URL, the address it is known by; None when it is not in here."""
        for (title,) in self._rows("SELECT title FROM pages WHERE url = ?", url):
            return Page(url, title, tuple(self.sections(url)))
        return None

    def pages(self, collection: str) -> list[tuple[str, str, str]]:
        """(url, title, fetched_at) of every page of COLLECTION, by address."""
        sql = "SELECT url, title, fetched_at FROM pages JOIN members ON page = id WHERE collection = ? ORDER BY url"
        return [(row[0], row[1], row[2]) for row in self._rows(sql, collection)]

    def fetched(self, collection: str) -> list[str]:
        """The address of every page of COLLECTION that came over the network; not what a file here claims to be."""
        sql = "SELECT url FROM pages JOIN members ON page = id WHERE collection = ? AND fetched_from LIKE 'http%'"
        return [row[0] for row in self._rows(sql, collection)]

    def labels(self, collections: Sequence[str] = ()) -> list[Label]:
        """What is known of every page, or of those of COLLECTIONS, in the order they were written."""
        marks = ", ".join("?" * len(collections))
        only = f"WHERE id IN (SELECT page FROM members WHERE collection IN ({marks}))" if collections else ""
        sql = f"SELECT id, url, title, date, fetched_at FROM pages {only} ORDER BY id"
        return [Label(*row) for row in self._rows(sql, *collections)]

    def chunks_of(self, pages: Collection[int]) -> dict[int, int]:
        """The chunks of PAGES, by their number in `labels`, each with that number."""
        sql = f"SELECT c.id, s.page FROM sections s JOIN chunks c ON c.section = s.id WHERE {PAGES}"
        return dict(self._rows(sql, json.dumps(list(pages))))

    def collections_of(self, urls: Collection[str]) -> dict[str, list[str]]:
        """The names of the collections that each of the pages at URLS is in."""
        marks = ", ".join("?" * len(urls))
        sql = f"SELECT url, collection FROM pages JOIN members ON page = id WHERE url IN ({marks}) ORDER BY 1, 2"
        found: dict[str, list[str]] = {}
        for url, name in self._rows(sql, *urls):
            found.setdefault(url, []).append(name)
        return found

    def memberships(self, chunks: Collection[int]) -> dict[int, list[str]]:
        """The collections that each of CHUNKS is in, by name."""
        found: dict[int, list[str]] = {}
        sql = (
            "SELECT c.id, m.collection FROM chunks c JOIN sections s ON s.id = c.section JOIN members m"
            f" ON m.page = s.page WHERE c.id IN ({_listed(chunks)}) ORDER BY 2"
        )
        for chunk, name in self._rows(sql):
            found.setdefault(chunk, []).append(name)
        return found

    def tally(self, chunks: Collection[int]) -> list[tuple[Label, list[str], int]]:
        """The pages that CHUNKS stand in, each with its collections and how many of its sections hold one."""
        sql = (
            "SELECT s.page, count(DISTINCT s.id) FROM chunks c JOIN sections s ON s.id = c.section"
            f" WHERE c.id IN ({_listed(chunks)}) GROUP BY s.page"
        )
        counts = dict(self._rows(sql))
        names = "(SELECT json_group_array(collection) FROM members WHERE page = id)"
        rows = self._rows(
            f"SELECT id, url, title, date, fetched_at, {names} FROM pages WHERE id IN ({_listed(counts)})"
        )
        return [(Label(*row), json.loads(held), counts[row[0]]) for *row, held in rows]

    def check_collections(self, names: Sequence[str], way: Callable[[str], str] = lambda _: NAMES) -> None:
        """Raise NotIndexed for a collection that is not in here; WAY says how to have it."""
        for name in names:
            if name not in self.manifest.collections:
                known = ", ".join(self.manifest.collections) or "none"
                raise NotIndexed(f"no pages of {name!r} (indexed: {known})", hint=way(name))

    def _vectors(self) -> vectors.VectorIndex | None:
        if not self.manifest.model_key:
            return None
        index = vectors.FaissIndex(self.folder / DENSE)
        return PartialIndex(index, np.load(self.folder / ROWS)) if ROWS in self.manifest.files else index

    def _ids(self, scope: Scope) -> NDArray[np.int64]:
        chunks, values = _chunks(scope)
        return np.array([row[0] for row in self._rows(f"{chunks} ORDER BY 1", *values)], np.int64)

    def _read(self, ids: Collection[int], collections: Sequence[str]) -> dict[int, _Read]:
        """The sections of these IDS; of its page's collections each gets one of COLLECTIONS."""
        sql = (
            "SELECT s.id, p.id, p.title, p.fetched_at, p.fetched_from,"
            " s.id = (SELECT min(id) FROM sections WHERE page = p.id), p.url, s.anchor, s.heading, s.text, s.blocks"
            f" FROM sections s JOIN pages p ON p.id = s.page WHERE s.id IN ({_listed(ids)})"
        )
        rows = list(self._rows(sql))
        members: dict[int, str] = {}
        of_pages = (
            f"SELECT page, collection FROM members WHERE page IN ({_listed({row[1] for row in rows})}) ORDER BY 2"
        )
        for page, name in self._rows(of_pages):
            if not collections or name in collections:
                members.setdefault(page, name)
        return {
            number: _Read(_section(text), title, members.get(page, ""), at, source, bool(opening))
            for number, page, title, at, source, opening, *text in rows
        }

    def _rows(self, sql: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with mapped(f"{self.folder.name}: {TEXT}", hint=REBUILD):
            try:
                db = self._idle.pop()
            except IndexError:  # threads never share one: they would take turns
                db = self._connect()
            try:
                rows = db.execute(sql, values).fetchall()
            finally:
                self._idle.append(db)
        yield from rows

    def _connect(self) -> sqlite3.Connection:
        uri = (self.folder / TEXT).absolute().as_uri() + "?immutable=1"
        return sqlite3.connect(uri, uri=True, check_same_thread=False)


def current(folder: Path) -> Generation | None:
    """The newest generation under FOLDER, opened; None when nothing was ever published.

    Raises IndexCorrupt, IndexMismatch as opening it does.
    """
    while path := newest(folder):
        try:
            return Generation(path)
        except FileNotFoundError as exc:
            if path == newest(folder):
                name = Path(exc.filename or MANIFEST).name
                raise IndexCorrupt(f"{path.name}: {name} is missing", hint=REBUILD) from exc
            # else the writer removed it while we looked: a newer one is there
    return None


def publish(
    folder: Path,
    pages: Iterable[StoredPage],
    *,
    revision: str,
    chunker: str,
    created: str,
    dense: Dense | None,
    late: Late | None = None,
    sizes: vectors.Sizes = vectors.SIZES,
) -> Manifest:
    """Write the next generation under FOLDER and make it current; older ones nobody reads are removed."""
    number = (_numbers(folder) or [0])[-1] + 1
    aside = folder / (_name(number) + ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    with mapped(str(aside)):
        aside.mkdir(parents=True, mode=0o700)
    try:
        names = {"number": number, "revision": revision, "chunker": chunker, "created": created}
        manifest = _write(aside, pages, dense, late, sizes, **names)
        with mapped(str(folder)):
            aside.rename(folder / _name(number))
            _sync(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    prune(folder)
    return manifest


def prune(folder: Path) -> None:
    """Remove generations that are neither current nor held by a reader, and what a killed writer left."""
    for stale in folder.glob("gen-*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    for number in _numbers(folder)[:-1]:
        path = folder / _name(number)
        try:
            fd = os.open(path / MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.rename(path.with_suffix(".tmp")), ignore_errors=True)
        except BlockingIOError:
            pass  # somebody still reads it; the next publish tries again
        finally:
            os.close(fd)


def newest(folder: Path) -> Path | None:
    """Where the newest generation under FOLDER is, unread; None when nothing was ever published."""
    return next((folder / _name(number) for number in _numbers(folder)[-1:]), None)


def newest_manifest(folder: Path) -> Manifest | None:
    """The manifest of the newest generation, its files unread; None when there is none or it is damaged."""
    try:
        return _read_manifest(folder / _name(_numbers(folder)[-1]))
    except (IndexError, OSError, IndexCorrupt, IndexMismatch):
        return None


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with the generations under FOLDER: every file, whatever its stamp, against its SHA-256."""
    for number in _numbers(folder):
        yield from _problems(folder / _name(number))


def damaged(folder: Path) -> list[Path]:
    """The generations under FOLDER that are not what was written."""
    paths = [folder / _name(number) for number in _numbers(folder)]
    return [path for path in paths if any(_problems(path))]


def _problems(path: Path) -> Iterator[str]:
    try:
        yield from _damage(path, _read_manifest(path), trusted={})
    except (IndexCorrupt, IndexMismatch) as exc:
        yield exc.message
    except OSError as exc:
        yield f"{path.name}: {Path(exc.filename or path).name}: {exc.strerror}"


def _write(
    aside: Path, pages: Iterable[StoredPage], dense: Dense | None, late: Late | None, sizes: vectors.Sizes, **names: Any
) -> Manifest:
    with mapped(TEXT):
        passages, counts, collections = _write_text(aside / TEXT, pages)
    missing = _missing(passages, dense, late)
    held = [n for n, each in enumerate(passages) if dense and each in dense.known]
    if not held:
        dense = late = None
    model: dict[str, Any] = {"missing": missing}
    if dense is not None:
        model |= _write_dense(aside / DENSE, dense, [passages[n] for n in held], sizes)
        if len(held) < len(passages):
            np.save(aside / ROWS, np.array(held, np.int64))
    if late is not None:
        model["projection"] = late.projection.key
        with mapped(str(aside)):
            tokens.write(aside, late.projection, late.rows(passages))
    with mapped(str(aside)):
        paths = sorted(aside.iterdir())
        for path in paths:
            _sync(path)
        files, stamps = {path.name: sha256(path) for path in paths}, {path.name: _stamp(path) for path in paths}
        manifest = Manifest(**names, **model, **counts, collections=collections, files=files, stamps=stamps)
        (aside / MANIFEST).write_text(_signed(manifest), "utf-8")
        _sync(aside / MANIFEST)
        _sync(aside)
    return manifest


def _write_dense(path: Path, dense: Dense, passages: Sequence[str], sizes: vectors.Sizes) -> dict[str, Any]:
    """Write the vectors of PASSAGES; returns what the manifest says of them."""

    def rows(numbers: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        return dense.rows([passages[number] for number in numbers])

    built = vectors.write(path, dense.dim, len(passages), rows, sizes)
    made = {"model": dense.model, "model_key": dense.key, "numeric": dense.numeric, "dim": dense.dim}
    return made | {"index": asdict(built)}


def _write_text(path: Path, pages: Iterable[StoredPage]) -> tuple[list[str], dict[str, Any], dict[str, int]]:
    """Write text.db; returns the passage hash of every chunk in order, the counts, and pages by collection."""
    passages: list[str] = []
    counts, collections = Counter(pages=0, sections=0, chunks=0), Counter[str]()
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for statement in SCHEMA:
            db.execute(statement)
        for stored in pages:
            passages += _write_page(db, stored, counts)
            collections.update(stored.collections)
        db.execute("CREATE INDEX chunks_section ON chunks (section)")  # by now it takes a quarter of a second a million
        db.execute("INSERT INTO lexicon (lexicon) VALUES ('optimize')")
        db.execute("INSERT INTO frequent SELECT term, doc FROM vocabulary WHERE doc >= ?", (FREQUENT,))
        db.execute("COMMIT")
    finally:
        db.close()
    return passages, dict(counts), dict(sorted(collections.items()))


def _write_page(db: sqlite3.Connection, stored: StoredPage, counts: Counter[str]) -> Iterator[str]:
    """Insert a page with its sections and chunks; yields the passage hash of every chunk."""
    page = stored.page
    counts["pages"] += 1
    number = counts["pages"]
    db.execute(
        "INSERT INTO pages VALUES (?, ?, ?, ?, ?, ?)",
        (number, page.url, page.title, stored.fetched_at, stored.fetched_from, page.date),
    )
    db.executemany("INSERT INTO members VALUES (?, ?)", [(name, number) for name in stored.collections])
    for section, chunks in zip(page.sections, stored.chunks, strict=True):
        counts["sections"] += 1
        heading, blocks = json.dumps(section.heading), json.dumps(section.blocks)
        row = (counts["sections"], number, section.anchor, heading, section.text, blocks)
        db.execute("INSERT INTO sections VALUES (?, ?, ?, ?, ?, ?)", row)
        for chunk in chunks:
            counts["chunks"] += 1
            place = (counts["chunks"], chunk.id, counts["sections"], chunk.start, chunk.end)
            db.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", place)
            db.execute("INSERT INTO lexicon (rowid, terms) VALUES (?, ?)", (counts["chunks"], _index_terms(chunk)))
            yield passage_hash(chunk)


def _missing(passages: Sequence[str], dense: Dense | None, late: Late | None) -> int:
    """How many of PASSAGES lack a vector that is wanted."""
    return sum(not (dense and each in dense.known and (late is None or each in late.known)) for each in passages)


def _index_terms(chunk: Chunk) -> str:
    """The chunk's terms, its heading path twice: a heading says what the words below are about."""
    heading = terms(" ".join(chunk.heading))
    return " ".join([*terms(chunk.text), *heading, *heading])


def _signed(manifest: Manifest) -> str:
    """The manifest as JSON, its own checksum in the last line."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"
    return text + hashlib.sha256(text.encode()).hexdigest() + "\n"


def _read_manifest(folder: Path) -> Manifest:
    text = (folder / MANIFEST).read_bytes().decode(errors="replace")  # the checksum will tell
    body, _, checksum = text.removesuffix("\n").rpartition("\n")
    if hashlib.sha256((body + "\n").encode()).hexdigest() != checksum or not text.endswith("\n"):
        raise IndexCorrupt(f"{folder.name}: MANIFEST is not what was written", hint=REBUILD)
    fields = json.loads(body)
    if fields["format"] != FORMAT:
        message = f"{folder.name} has format {fields['format']}, this ragmacs reads {FORMAT}"
        raise IndexMismatch(message, hint=REBUILD if fields["format"] < FORMAT else "upgrade ragmacs-srv")
    return Manifest(**fields)


def _damage(folder: Path, manifest: Manifest, *, trusted: Mapping[str, list[int]]) -> Iterator[str]:
    """What differs between the files in FOLDER and those that were written; a file with its TRUSTED stamp is unread."""
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{folder.name}: {name} is missing"
        elif _stamp(path) != trusted.get(name) and sha256(path) != digest:
            yield f"{folder.name}: {name} is not what was written (SHA-256 differs)"


def _stamp(path: Path) -> list[int]:
    """The size of a file in bytes and the time of its last change in nanoseconds; copies with `cp -p` keep both."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _hold(folder: Path) -> int:
    """A descriptor with a shared lock on the generation, which keeps the writer from removing it.

    Raises FileNotFoundError when the generation is gone, IndexCorrupt when only its MANIFEST is.
    """
    try:
        fd = os.open(folder / MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if folder.is_dir():
            raise IndexCorrupt(f"{folder.name}: MANIFEST is missing", hint=REBUILD) from None
        raise
    except OSError as exc:
        raise StorageError(f"{exc.filename}: {exc.strerror}", hint="check the rights of the folder") from exc
    fcntl.flock(fd, fcntl.LOCK_SH)
    if not folder.is_dir():  # removed between open and lock
        os.close(fd)
        raise FileNotFoundError(folder)
    return fd


def _numbers(folder: Path) -> list[int]:
    """The numbers of the generations under FOLDER, ascending; a name that is not ours has none."""
    names = {path.name for path in folder.glob("gen-*")}
    numbers = (int(name.removeprefix("gen-")) for name in names if name.removeprefix("gen-").isdecimal())
    return sorted(number for number in numbers if _name(number) in names)


def _name(number: int) -> str:
    return f"gen-{number:06}"


def _scope(scope: Scope) -> tuple[str, list[str]]:
    """The SQL condition that keeps the chunks of SCOPE, and its values."""
    chunks, values = _chunks(scope)
    return (f"AND +rowid IN ({chunks})", values) if chunks else ("", [])


def _chunks(scope: Scope) -> tuple[str, list[str]]:
    """The SQL that gives the numbers of the chunks of SCOPE, and its values; none for all chunks."""
    if scope == EVERYWHERE:
        return "", []
    pages, values = PAGES, [json.dumps(scope.pages)]
    if scope.pages is None:
        marks = ", ".join("?" * len(scope.collections))
        pages, values = f"s.page IN (SELECT page FROM members WHERE collection IN ({marks}))", list(scope.collections)
    return f"SELECT c.id FROM sections s JOIN chunks c ON c.section = s.id WHERE {pages}", values


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


class _Read(NamedTuple):
    """A section with what a Hit tells of its page."""

    section: Section
    title: str
    collection: str
    fetched_at: str
    fetched_from: str
    opening: bool  # it is the first of the page


def _hit(read: _Read, places: Sequence[tuple[str, int, int, float]]) -> Hit:
    """The section with the chunks at these PLACES, best first."""
    section = read.section
    chunks = [
        (Chunk(key, section.url, section.anchor, section.heading, section.text[start:stop], start, stop), score)
        for key, start, stop, score in places
    ]
    best, _ = chunks[0]
    return Hit(section, tuple(chunks), best.start, best.end, *read[1:])


def _section(row: Sequence[Any]) -> Section:
    url, anchor, heading, text, blocks = row
    spans = tuple(Block(*block) for block in json.loads(blocks))
    return Section(url, anchor, tuple(json.loads(heading)), text, spans)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
