"""A home becomes the place where its one server listens: a socket that is the user's alone, and a lock beside it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import meeting
from ..errors import Busy, SettingsError, StorageError
from ..search.database import claimed
from ..settings import Folders

BACKLOG = 128  # clients that wait to be accepted


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server of a home listens and logs, and the environment it is started in."""

    path: Path
    log: Path
    environ: Mapping[str, str]

    @classmethod
    def of(cls, folders: Folders, environ: Mapping[str, str], path: Path | None = None) -> Place:
        """The Place of the home that FOLDERS are of, or with its socket at PATH."""
        if environ.get("RAGMACS_HOME"):  # the server has another working folder
            environ = {**environ, "RAGMACS_HOME": str(folders.data)}
        found = path.absolute() if path else Path(meeting.socket_path(str(folders.data), environ))
        return cls(found, folders.cache / "server.log", environ)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket at PATH that only the user can connect to, while its lock is held; raises Busy when another has it."""
    private(path.parent)
    lock = _taken(lock_of(path))
    if lock is None:
        message = f"a server is already running at {path} (pid {holder(path)})"
        raise Busy(message, hint="ragmacs serve --stop ends it")
    try:
        os.pwrite(lock, b"%-19d\n" % os.getpid(), 0)  # one write over the last one's: never empty, never half
        with _bound(path) as listener:
            yield listener
    finally:
        os.close(lock)


@contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at PATH, where none does; it is removed at the end."""
    if path.is_socket():
        path.unlink()  # left by one that was killed: we hold its lock
    before = os.umask(0o177)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(str(path))
        except OSError as exc:
            message = f"no socket can be made at {path}: {exc}"
            raise SettingsError(message, hint="choose another path with --socket, not a long one") from exc
        finally:
            os.umask(before)
        try:
            listener.listen(BACKLOG)
            yield listener
        finally:
            path.unlink(missing_ok=True)


def private(folder: Path) -> None:
    """Make FOLDER, or raise SettingsError when it is not ours alone to write to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise StorageError(f"{folder} cannot be made: {exc.strerror}", hint="choose another with --socket") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        message = f"{folder} is no folder that is yours and that nobody else can write to"
        raise SettingsError(message, hint=f"chmod 700 {folder}, or choose another with --socket")


def lock_of(path: Path) -> Path:
    """The lock of the server at PATH; it stays when the server ends."""
    return path.with_name(path.name + ".lock")


def turn_of(path: Path) -> Path:
    """The lock of whoever is starting the server at PATH."""
    return path.with_name(path.name + ".turn")


def holder(path: Path) -> int:
    """The pid of the server at PATH, or 0. Who asks holds the lock for a moment, in a way that others can, too."""
    try:
        fd = os.open(lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return 0
    except BlockingIOError:
        return int(os.pread(fd, 20, 0) or 0)
    finally:
        os.close(fd)


def _taken(lock: Path) -> int | None:
    """The descriptor of LOCK, held; None when a server holds it, and not just someone who asks."""
    for _ in range(20):
        if (fd := claimed(lock)) is not None:
            return fd
        time.sleep(0.01)
    return None
