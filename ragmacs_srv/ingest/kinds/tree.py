"""`file:` addresses become the document in that file, or those in the folder there and in its folders."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from pathlib import Path

from ...errors import AddressRefused, FetchError, InvalidParams
from ...events import Cancel
from ...model import Response
from ...roots import path_of
from .. import files
from . import Means, scheme_of

LOCAL = True


def canonical(address: str) -> str:
    return path(address).as_uri()


def path(address: str) -> Path:
    """The absolute path that ADDRESS names, links not followed; raises AddressRefused.

    The scheme may be that of another kind that reads folders.
    """
    scheme = scheme_of(address)
    named = path_of("file" + address[len(scheme) :]) or ""
    if not named.startswith("/") or "\0" in named:
        hint = f"{scheme}:///FOLDER with an absolute path; a file on another machine is not read"
        raise AddressRefused(f"{address[:200]!r} names no file here", hint=hint, data={"rule": "form"})
    return Path(posixpath.normpath("/" + named.lstrip("/")))


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    """The documents in a folder, as `files.below` lists them. Of a folder that is gone nothing is known."""
    top = path(address)
    if not stat.S_ISDIR(found(top).st_mode):
        yield top.as_uri()
        return
    for each in files.below(top, cancel):
        yield each.as_uri()


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    named = path(url)
    state = found(named)
    if etag == files.etag(state):
        return files.unchanged(url, state)
    if stat.S_ISDIR(state.st_mode):
        raise FetchError(f"{files.shown(named)} is a folder", hint=f"ragmacs crawl {url} reads what is in it")
    try:
        return files.read(named)
    except InvalidParams as exc:
        raise FetchError(exc.message, hint=f"see what it is: ls -l {files.shown(named.parent)}") from exc


def found(named: Path) -> os.stat_result:
    """What the file system says of NAMED; raises FetchError."""
    try:
        return named.stat()
    except (FileNotFoundError, NotADirectoryError) as exc:
        hint = "check the path; is its disk mounted?"
        raise FetchError(f"{files.shown(named)} does not exist", status=404, hint=hint) from exc
    except OSError as exc:
        raise FetchError(f"{files.shown(named)} cannot be read: {exc.strerror}", hint="make it readable") from exc
