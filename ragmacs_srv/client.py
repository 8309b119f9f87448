"""The entry point: a command line becomes a request to the running server, or a run of `cli` in this process.

Loading it is most of what a short command costs, so it imports nothing of ours at the top and little else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET_PATH_LIMIT = 103  # bytes that every system takes in the address of a unix socket


def data_folder(environ: Mapping[str, str]) -> str:
    """The absolute path of the folder that `settings.folders(environ).data` is."""
    if home := environ.get("RAGMACS_HOME"):
        return os.path.abspath(os.path.expanduser(home))
    user = environ.get("HOME") or os.path.expanduser("~")
    return os.path.abspath(f"{environ.get('XDG_DATA_HOME') or user + '/.local/share'}/ragmacs")


def socket_path(data: str, environ: Mapping[str, str]) -> str:
    """Where the server of the data folder DATA listens; its folder is private to the user, or is not there yet.

    In $XDG_RUNTIME_DIR where that is ours, else in $TMPDIR, else, also when that is too long, in /tmp.
    """
    name = _sha256(os.fsencode(os.path.abspath(data)))[:8] + ".sock"
    user = os.getuid()
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    candidates = [f"{environ['TMPDIR']}/ragmacs-{user}/{name}"] if environ.get("TMPDIR", "").startswith("/") else []
    if runtime.startswith("/") and _is_ours(runtime):
        candidates.insert(0, f"{runtime}/ragmacs/{name}")
    short = (each for each in candidates if len(os.fsencode(each)) <= SOCKET_PATH_LIMIT)
    return next(short, f"/tmp/ragmacs-{user}/{name}")


def is_private(folder: str) -> bool:
    """Whether FOLDER is a folder, no link, that is ours and that nobody else can enter."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return found.st_uid == os.getuid() and found.st_mode & 0o170077 == 0o040000


def _is_ours(folder: str) -> bool:
    try:
        return os.stat(folder).st_uid == os.getuid()
    except OSError:
        return False


def _sha256(data: bytes) -> str:
    """As hexadecimal digits; hashlib itself loads OpenSSL."""
    return str(_load("_sha2", "_sha256", "hashlib").sha256(data).hexdigest())  # Python 3.12, Python 3.11, any


def _load(*names: str) -> Any:
    """The first of these modules that there is: what the last one wraps costs a fraction of it."""
    for name in names[:-1]:
        try:
            return __import__(name)
        except ImportError:
            continue
    return __import__(names[-1])
