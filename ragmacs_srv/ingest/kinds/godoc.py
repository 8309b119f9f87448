"""`godoc:` addresses become the documentation of packages, read from their source by the Go on this machine.

`godoc:runtime/debug` is a package of the standard library, `godoc:std` stands for all of it, and `godoc:/home/u/m` for
the packages in a folder: one's own, or a dependency in the module cache. Anchors are those of pkg.go.dev.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from posixpath import normpath
from typing import Any, Final
from urllib.parse import quote, unquote

from ...errors import AddressRefused, FetchError, ToolchainFailed, ToolchainMissing
from ...events import Cancel
from ...model import Page, Response, Section
from ..sections import Piece, build
from . import GoDoc, Means, media_type

LOCAL = True  # a read may build a program, with the user's Go, and look into any folder
SCHEME: Final = "godoc"
STANDARD: Final = "std"
_PATH: Final = re.compile(r"\w[\w.+~-]*(/\w[\w.+~-]*)*", re.ASCII)
_ASIDE: Final = frozenset({"vendor", "testdata"})  # folders of a module that are none of its packages
_RELEASE: Final = re.compile(r"@(v[\w.+-]+)(?:/|$)")  # of a folder in the module cache


def canonical(address: str) -> str:
    path = _path(address.partition("#")[0])
    if path.startswith("/") and path.isprintable():
        return _url("/" + normpath(path).strip("/"))
    path = path.rstrip("/")
    if not _PATH.fullmatch(path):
        hint = "for example godoc:net/http, godoc:std for all of the standard library, or godoc:/home/u/module"
        raise AddressRefused(f"{address[:200]!r} is no import path", hint=hint, data={"rule": "form"})
    return _url(path)


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    url = canonical(address)
    path = _path(url)
    if path.startswith("/"):
        yield from map(_url, _folders(path, cancel))
    elif path == STANDARD:
        with _asked(means) as go:
            paths = go.standard(cancel)
        yield from map(_url, paths)
    else:
        yield url


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    path = _path(url)
    with _asked(means) as go:
        stamp = go.stamp() + (_stamp(path) if path.startswith("/") else "")
        same = etag == stamp
        body = b"" if same else go.package(path, cancel)
    fetched_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Response(url, url, 304 if same else 200, body, media_type(SCHEME), "utf-8", stamp, "", fetched_at)


def page(body: bytes, url: str) -> Page:
    """The title names the version, the headings do not, and no chunk holds a position: vectors outlive an upgrade."""
    said: dict[str, Any] = json.loads(body)
    name = f"{'command' if said['name'] == 'main' else 'package'} {said['path']}"
    sections = tuple(_section(url, name, each) for each in said["sections"])
    path = _path(url)
    released = _RELEASE.search(path)
    version = said["version"] if not path.startswith("/") else released[1] if released else ""
    return Page(url, f"{name} ({version})" if version else name, sections)


def _section(url: str, name: str, said: dict[str, Any]) -> Section:
    from ..dom import clear  # lxml: only who extracts needs it

    pieces = (Piece(each["kind"], clear(each["text"])) for each in said["pieces"] or ())
    made = build(url, said["anchor"], (name, *map(clear, said["heading"])), pieces)
    return replace(made, text=f"{made.text}\n\nSource: {clear(said['place'])}") if said["place"] else made


def _url(path: str) -> str:
    return f"{SCHEME}:{quote(path, safe='/@+~')}"


def _path(url: str) -> str:
    return unquote(url[len(SCHEME) + 1 :])


def _folders(path: str, cancel: Cancel) -> list[str]:
    """The folder PATH and those below it that have Go code of the same module; raises FetchError for none."""
    found = []
    for folder, below, names in os.walk(path):
        cancel.check()
        if folder != path and "go.mod" in names:
            below.clear()
            continue
        below[:] = sorted(each for each in below if each not in _ASIDE and each[0] not in "._" and each.isprintable())
        if any(each.endswith(".go") and not each.endswith("_test.go") for each in names):
            found.append(folder)
    if not found:
        raise FetchError(f"no Go package in {path}: name the folder of a module, or of a package", status=404)
    return found


def _stamp(folder: str) -> str:
    """Another one whenever a Go file in FOLDER is."""
    digest = hashlib.sha256()
    try:
        for path in sorted(Path(folder).glob("*.go")):
            told = path.stat()
            digest.update(f"{path.name}\0{told.st_size}\0{told.st_mtime_ns}\0".encode(errors="surrogateescape"))
    except OSError as exc:
        raise FetchError(f"{folder} cannot be read: {exc.strerror}") from exc
    return f"-{digest.hexdigest()[:16]}"


@contextmanager
def _asked(means: Means) -> Iterator[GoDoc]:
    """The Go to ask; raises FetchError, with the remedy in its message, where that fails."""
    try:
        if means.go is None:
            raise ToolchainMissing("no Go is at hand here", hint="read the address by a command of ragmacs")
        yield means.go
    except (ToolchainMissing, ToolchainFailed) as exc:
        status = 404 if exc.data.get("kind") == "package_not_found" else 0
        message = f"{exc.message}: {exc.hint}" if exc.hint else exc.message
        raise FetchError(message, status=status) from exc
