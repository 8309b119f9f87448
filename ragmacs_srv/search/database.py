"""SQLite as we use it: migrations, rows that carry their hash, one writer, and its failures as ours."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import Busy, IndexCorrupt, IndexMismatch, StorageError

REPAIR = "ragmacs verify --repair"
ON_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _m001_tables(db: sqlite3.Connection) -> None:
    for statement in (
        "CREATE TABLE collections (name TEXT PRIMARY KEY, source TEXT, options TEXT, started TEXT, finished TEXT,"
        " hash BLOB)",
        "CREATE TABLE pages (url TEXT PRIMARY KEY, fetched_from TEXT, fetched_at TEXT, etag TEXT, last_modified TEXT,"
        " body_hash TEXT, text_hash TEXT, title TEXT, author TEXT, date TEXT, marked INTEGER, links TEXT,"
        " chunker TEXT, sections INTEGER, chunks INTEGER, hash BLOB)",
        "CREATE INDEX pages_text ON pages (text_hash)",
        "CREATE TABLE sections (url TEXT, n INTEGER, anchor TEXT, heading TEXT, text TEXT, blocks TEXT, hash BLOB,"
        " PRIMARY KEY (url, n))",
        "CREATE TABLE chunks (url TEXT, n INTEGER, id TEXT, section INTEGER, start INTEGER, stop INTEGER, hash BLOB,"
        " PRIMARY KEY (url, n))",
        "CREATE TABLE members (collection TEXT, url TEXT, hash BLOB, PRIMARY KEY (collection, url))",
        "CREATE INDEX members_url ON members (url)",
        "CREATE TABLE receipts (collection TEXT, url TEXT, status TEXT, page TEXT, reason TEXT, etag TEXT,"
        " body_hash TEXT, depth INTEGER, at TEXT, hash BLOB, PRIMARY KEY (collection, url))",
        "CREATE TABLE repeats (origin TEXT, text TEXT, hash BLOB, PRIMARY KEY (origin, text))",
        "CREATE TABLE vectors (model TEXT, passage TEXT, vector BLOB, hash BLOB, PRIMARY KEY (model, passage))",
    ):
        db.execute(statement)


def _m002_tokens(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE projections (model TEXT PRIMARY KEY, key TEXT, dim INTEGER, tokens INTEGER, passages INTEGER,"
        " matrix BLOB, hash BLOB)"
    )
    db.execute(
        "CREATE TABLE tokens (projection TEXT, passage TEXT, vectors BLOB, hash BLOB,"
        " PRIMARY KEY (projection, passage))"
    )


def _m003_history(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE history (url TEXT, at TEXT, n INTEGER, collection TEXT, change TEXT, anchor TEXT, heading TEXT,"
        " before TEXT, after TEXT, hash BLOB, PRIMARY KEY (url, at, n))"
    )
    db.execute("CREATE INDEX history_at ON history (at)")


def _m004_addresses(db: sqlite3.Connection) -> None:
    """Of a folder that was renamed, every page asks which addresses have it."""
    db.execute("CREATE INDEX receipts_page ON receipts (page, collection, url)")


# Numbered by position; a released one is never edited, only followed by another.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _m001_tables,
    _m002_tokens,
    _m003_history,
    _m004_addresses,
)
TABLES = (
    *("collections", "pages", "sections", "chunks", "members", "receipts", "repeats", "vectors"),
    *("projections", "tokens", "history"),
)


def seal(table: str, values: Sequence[object]) -> bytes:
    return seal_cells(table, map(_cell, values))


def _cell(value: object) -> tuple[bytes, str]:
    """VALUE as SQLite would give it: `CAST(x AS BLOB), typeof(x)`."""
    if isinstance(value, bytes):
        return value, "blob"
    return str(value).encode(), "integer" if isinstance(value, int) else "text"


def seal_cells(table: str, cells: Iterable[tuple[bytes | None, str]]) -> bytes:
    digest = hashlib.blake2b(table.encode(), digest_size=16)
    for value, kind in cells:
        digest.update(f"\0{kind}{len(value or b'')}\0".encode())
        digest.update(value or b"")
    return digest.digest()


def rest_lock(folder: Path) -> int:
    """An open descriptor that keeps writers out of FOLDER, which need not be writable, until it is closed.

    Raises Busy while one is at work.
    """
    path = folder / "lock"
    with mapped(str(path)):
        fd = os.open(path if path.exists() else folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"another process (pid {_pid(fd) or '?'}) is writing to {folder}"
        os.close(fd)
        raise Busy(message, hint="wait for it to end") from None
    return fd


def take_lock(folder: Path) -> int:
    """An open descriptor that holds the writer's lock until it is closed."""
    path = folder / "lock"
    with mapped(str(path)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with mapped(str(path)):
            _claim(fd, folder)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _claim(fd: int, folder: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"another process (pid {_pid(fd) or '?'}) is writing to {folder}"
        raise Busy(message, hint="wait for it to end; searching works meanwhile") from None
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())


def _pid(fd: int) -> int:
    """Who wrote itself into the lock file; 0 while it is doing so."""
    text = os.pread(fd, 20, 0)
    return int(text) if text.isdigit() else 0


def claimed(path: Path) -> int | None:
    """An open descriptor that holds the lock PATH until it and its heirs are closed; None when another does."""
    with mapped(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
    return fd


def writer(folder: Path) -> int:
    """The pid of the process that is writing to the store in FOLDER, or 0."""
    try:
        fd = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(fd)
    finally:
        os.close(fd)
    return 0


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def connect_readonly(path: Path) -> sqlite3.Connection:
    """PATH, which nobody writes to while this is open; raises IndexMismatch for another schema than ours."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != len(MIGRATIONS):
            message = f"crawl.db has schema {version}, this ragmacs reads {len(MIGRATIONS)} where it may not write"
            raise IndexMismatch(message, hint="make the store writable, or upgrade ragmacs-srv")
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date; each step is a transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        message = f"crawl.db has schema {version}, this ragmacs knows {len(MIGRATIONS)}"
        raise IndexMismatch(message, hint="upgrade ragmacs-srv, or use another --home")
    for n, migration in enumerate(MIGRATIONS[version:], version + 1):
        db.execute("BEGIN IMMEDIATE")
        migration(db)
        db.execute(f"PRAGMA user_version = {n}")
        db.execute("COMMIT")


def schema(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    with mapped():
        return [tuple(row) for row in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2")]


def columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


@contextmanager
def mapped(file: str = "crawl.db", *, hint: str = REPAIR) -> Iterator[None]:
    """SQLite's and the system's failures as ours; FILE is what is being read or written, HINT what mends it."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # ours: a closed connection is not a damaged file
    except sqlite3.DatabaseError as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in HELD:
            raise Busy(f"another program has {file} open", hint="close it there first") from exc
        if code in ON_DISK:
            raise StorageError(f"{file}: {exc}", hint="free some disk space, or check its rights") from exc
        raise IndexCorrupt(f"{file}: {exc}", hint=hint) from exc
    except UnicodeDecodeError as exc:  # what Python makes of a name that is not UTF-8 any more
        raise IndexCorrupt(f"{file}: the schema is not what was written", hint=hint) from exc
    except OSError as exc:
        message = f"{exc.filename or file}: {exc.strerror}"
        raise StorageError(message, hint="free some disk space, or check the rights of the folder") from exc
