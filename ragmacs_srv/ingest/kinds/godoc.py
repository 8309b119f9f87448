"""`godoc:` addresses become the documentation of packages, read from the source of the Go on this machine.

`godoc:runtime/debug` is one package, `godoc:std` stands for the standard library. Anchors are those of pkg.go.dev.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from ...errors import AddressRefused, FetchError, ToolchainFailed, ToolchainMissing
from ...events import Cancel
from ...model import Page, Response, Section
from ..sections import Piece, build
from . import GoDoc, Means, media_type

LOCAL = True  # a read may build a program, with the user's Go
SCHEME: Final = "godoc"
STANDARD: Final = "std"
_PATH: Final = re.compile(r"\w[\w.+~-]*(/\w[\w.+~-]*)*", re.ASCII)


def canonical(address: str) -> str:
    path = address.partition("#")[0][len(SCHEME) + 1 :].rstrip("/")
    if not _PATH.fullmatch(path):
        hint = "for example godoc:net/http, or godoc:std for all of the standard library"
        raise AddressRefused(f"{address[:200]!r} is no import path", hint=hint, data={"rule": "form"})
    return f"{SCHEME}:{path}"


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    url = canonical(address)
    if _path(url) != STANDARD:
        yield url
        return
    with _asked(means) as go:
        paths = go.standard(cancel)
    yield from (f"{SCHEME}:{path}" for path in paths)


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    with _asked(means) as go:
        stamp = go.stamp()
        same = etag == stamp
        body = b"" if same else go.package(_path(url), cancel)
    fetched_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Response(url, url, 304 if same else 200, body, media_type(SCHEME), "utf-8", stamp, "", fetched_at)


def page(body: bytes, url: str) -> Page:
    """The title names the Go, the headings do not, and no chunk holds a position: vectors outlive a Go."""
    said: dict[str, Any] = json.loads(body)
    name = f"{'command' if said['name'] == 'main' else 'package'} {said['path']}"
    sections = tuple(_section(url, name, each) for each in said["sections"])
    return Page(url, f"{name} ({said['version']})", sections)


def _section(url: str, name: str, said: dict[str, Any]) -> Section:
    from ..dom import clear  # lxml: only who extracts needs it

    pieces = (Piece(each["kind"], clear(each["text"])) for each in said["pieces"] or ())
    made = build(url, said["anchor"], (name, *map(clear, said["heading"])), pieces)
    return replace(made, text=f"{made.text}\n\nSource: {said['place']}") if said["place"] else made


def _path(url: str) -> str:
    return url[len(SCHEME) + 1 :]


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
