"""`man:NAME(SECTION)` addresses become the man pages of this machine, as its own `man` prints them.

`man:NAME` stands for the page that `man NAME` shows.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ...errors import AddressRefused, FetchError
from ...events import Cancel
from ...model import Page, Response
from ...processes import OUTPUT, run
from .. import mantext, sections
from . import Means, media_type

LOCAL = True
SCHEME = "man:"
TIME: Final = 60.0  # seconds; the longest pages take one
WIDTH: Final = 2000  # columns: so wide that hardly a paragraph has two lines

_ADDRESS: Final = re.compile(
    r"(?P<name>[A-Za-z0-9_\[][\w.+:@,\[-]{0,119})(?:\((?P<section>[0-9]\w{0,15}|[nl])\))?", re.ASCII
)
_PACKED: Final = re.compile(r"\.(?:gz|bz2|xz|lzma|zst|Z)$")
_KEPT: Final = ("PATH", "HOME", "MANPATH", "TMPDIR")  # of the user's environment: where pages and programs are
_ENVIRONMENT: Final[Mapping[str, str]] = {
    "LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    "MANWIDTH": str(WIDTH),
    "MANPAGER": "cat",
    "MANOPT": "--no-hyphenation --no-justification --encoding=UTF-8",  # man-db; the others do neither anyway
    "GROFF_NO_SGR": "1",
    "TERM": "dumb",
}


def canonical(address: str) -> str:
    found = _ADDRESS.fullmatch(address.partition("#")[0][len(SCHEME) :])
    if not found:
        hint = "as in man:ls or man:printf(3)"
        raise AddressRefused(f"{address[:200]!r} names no man page", hint=hint, data={"rule": "form"})
    return SCHEME + found[0]


def pages(address: str, means: Means | None, cancel: Cancel) -> Iterable[str]:
    """The page itself: of one without a section that which `man` shows first."""
    url = canonical(address)
    yield url if url.endswith(")") else _source(url, cancel)[0]


def read(url: str, means: Means | None, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    url, path = _source(canonical(url), cancel)
    found = path.stat()
    known_by = f"{path} {found.st_size} {found.st_mtime_ns}".encode(errors="surrogateescape")
    stamp = hashlib.sha256(known_by).hexdigest()[:32]
    body = b"" if stamp == etag else _man(_arguments(url), cancel)
    if stamp != etag and not body.strip():
        raise FetchError(f"man printed nothing of {url}", hint="see what `man` says; it needs groff or mandoc")
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Response(url, url, 304 if stamp == etag else 200, body, media_type("man"), "utf-8", stamp, "", now)


def page(body: bytes, url: str) -> Page:
    summary, parts = mantext.read(body.decode("utf-8", "replace"))
    name = url[len(SCHEME) :]
    title = f"{name}: {summary}" if summary else name
    return Page(url, title, tuple(sections.cut(url, title, parts)))


def _arguments(url: str) -> list[str]:
    """What `man` calls the page at URL: its section, if it tells one, and its name."""
    found = _ADDRESS.fullmatch(url[len(SCHEME) :])
    assert found  # it is canonical
    return [each for each in (found["section"], found["name"]) if each]


def _source(url: str, cancel: Cancel) -> tuple[str, Path]:
    """The address of the page at URL, with its section, and its file."""
    *section, name = _arguments(url)
    printed = _man(["-w", *section, name], cancel)
    if not printed.strip():
        hint = "install what it belongs to; images for containers often leave all man pages out"
        raise FetchError(f"no man page {url[len(SCHEME) :]} is installed here", hint=hint, status=404)
    path = Path(os.fsdecode(printed.partition(b"\n")[0].strip()))
    if not path.is_absolute() or not path.is_file():
        raise FetchError("`man` does not say where its pages are", hint="on Debian: apt install man-db")
    if section:
        return url, path
    stem, _, suffix = _PACKED.sub("", path.name).rpartition(".")
    name = stem if stem.casefold() == name.casefold() else name  # else it is an alias
    return canonical(f"{SCHEME}{name}({suffix})"), path


def _man(arguments: list[str], cancel: Cancel) -> bytes:
    """What `man ARGUMENTS` prints; nothing when it finds no page."""
    program = shutil.which("man")
    if not program:
        raise FetchError("there is no `man` on this machine", hint="on Debian: apt install man-db")
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environ = {**kept, **_ENVIRONMENT}
    try:
        done = run([program, *arguments], cwd=Path("/"), environ=environ, cancel=cancel, seconds=TIME)
    except OSError as exc:
        raise FetchError(f"{program} cannot be started: {exc.strerror}", hint="try it in a terminal") from exc
    if done.stopped:
        most = f"took more than {TIME:g} s" if done.stopped == "timeout" else f"printed more than {OUTPUT >> 20} MB"
        raise FetchError(f"man {' '.join(arguments)} {most}", hint="try it in a terminal; the page is left out")
    return done.stdout
