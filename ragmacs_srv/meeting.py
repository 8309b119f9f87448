"""A home becomes what a server and its clients must agree on: where they meet, and which settings they have read.

Both sides load this, one of them in a fraction of the time that pathlib takes.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing takes as long to load as all of this
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SOCKET_PATH_LIMIT = 103  # bytes that every system takes in the address of a unix socket
EXCLUDING = ("-site:", "-release:")  # what words of a question begin with that look like options
NO_SETTINGS = {"RAGMACS_HOME", "RAGMACS_DEBUG"}  # all but these and [serve] can change an answer


# Where things are


def data_folder(environ: Mapping[str, str]) -> str:
    """The absolute path of the folder that `settings.folders(environ).data` is."""
    return _folder(environ, "XDG_DATA_HOME", ".local/share")


def config_file(environ: Mapping[str, str]) -> str:
    """The absolute path of `settings.folders(environ).config_file`."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config") + "/config.toml"


def _folder(environ: Mapping[str, str], variable: str, default: str) -> str:
    if home := environ.get("RAGMACS_HOME"):
        return os.path.abspath(os.path.expanduser(home))
    user = environ.get("HOME") or os.path.expanduser("~")
    return os.path.abspath(f"{environ.get(variable) or f'{user}/{default}'}/ragmacs")


def socket_path(data: str, environ: Mapping[str, str]) -> str:
    """Where the server of the data folder DATA listens; its folder is private to the user, or is not there yet.

    In $XDG_RUNTIME_DIR where that is ours, else in $TMPDIR where that is a folder, else, also when that is too long,
    in /tmp. Links that lead to DATA make no difference.
    """
    name = _sha256(os.fsencode(os.path.realpath(data)))[:8] + ".sock"
    user = os.getuid()
    runtime, temporary = environ.get("XDG_RUNTIME_DIR", ""), environ.get("TMPDIR", "").rstrip("/")
    candidates = [f"{temporary}/ragmacs-{user}/{name}"] if temporary[:1] == "/" and os.path.isdir(temporary) else []
    if runtime.startswith("/") and _is_ours(runtime):
        candidates.insert(0, f"{runtime}/ragmacs/{name}")
    short = (each for each in candidates if len(os.fsencode(each)) <= SOCKET_PATH_LIMIT)
    return next(short, f"/tmp/ragmacs-{user}/{name}")


def is_private(folder: str) -> bool:
    """Whether FOLDER is a folder, no link, that is ours and that nobody else can write to."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return found.st_uid == os.getuid() and found.st_mode & 0o170022 == 0o040000


def _is_ours(folder: str) -> bool:
    try:
        return os.stat(folder).st_uid == os.getuid()
    except OSError:
        return False


def _sha256(data: bytes) -> str:
    """As hexadecimal digits; hashlib itself loads OpenSSL."""
    return str(load("_sha2", "_sha256", "hashlib").sha256(data).hexdigest())  # Python 3.12, Python 3.11, any


def load(*names: str) -> Any:
    """The first of these modules that there is: what the last one wraps costs a fraction of it."""
    for name in names[:-1]:
        try:
            return __import__(name)
        except ImportError:
            continue
    return __import__(names[-1])


# What an answer depends on beside the index


def own_settings(environ: Mapping[str, str]) -> list[str]:
    """The variables of ENVIRON that are settings which can change an answer."""
    return sorted(
        name
        for name in environ
        if name.startswith("RAGMACS_") and name not in NO_SETTINGS and not name.startswith("RAGMACS_SERVE_")
    )


def configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """What tells whether two processes have the same settings: `file` and `environ`, of which this keeps no secret."""
    said = "".join(f"{name}={environ[name]}\0" for name in own_settings(environ))
    try:
        found = os.stat(config_file(environ))
        file = f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
    except OSError:
        file = ""
    return {"file": file, "environ": _sha256(os.fsencode(said))[:16] if said else ""}
