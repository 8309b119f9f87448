"""`info:MANUAL` addresses become the manuals that Info reads on this machine: one page each, a section for each node.

`info:` alone stands for all of them. They are looked for where Emacs and `info` look.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from gzip import GzipFile
from io import BufferedIOBase
from lzma import LZMAError, LZMAFile
from pathlib import Path
from typing import Final

from ...errors import AddressRefused, FetchError, NoContent
from ...events import Cancel
from ...model import Page, Response
from ...settings import nearest
from .. import texinfo
from . import Means, media_type

LOCAL = True
SCHEME = "info:"
LARGEST: Final = 64 << 20  # bytes of a manual, unpacked; that of Emacs Lisp has five million

_NAME: Final = re.compile(r"[A-Za-z0-9_][\w.+@-]{0,99}", re.ASCII)
_FOLDERS: Final = (
    "/usr/local/share/info", "/usr/share/info", "/usr/local/info", "/usr/info",
    "/opt/homebrew/share/info", "/opt/local/share/info", "/Applications/Emacs.app/Contents/Resources/info",
)  # fmt: skip
_PACKAGES: Final = (".emacs.d/elpa", ".config/emacs/elpa")  # below the home: what package.el installs brings manuals
_OPENERS: Final[Mapping[str, Callable[[Path], BufferedIOBase]]] = {
    "": lambda path: path.open("rb"),
    ".gz": GzipFile,
    ".bz2": BZ2File,
    ".xz": LZMAFile,
    ".lzma": LZMAFile,
}
_MANUAL: Final = re.compile(r"(?P<name>.+)\.info(?:\.(?:gz|bz2|xz|lzma))?")  # not a part, as elisp.info-1.gz
_OF_EMACS: Final = frozenset({"emacs", "elisp", "eintr", "org", "gnus", "calc", "tramp", "eshell", "info"})
_DEBIAN: Final = "; on Debian the package emacs-common-non-dfsg has it"


def canonical(address: str) -> str:
    rest = address.partition("#")[0][len(SCHEME) :]
    name = re.sub(r"(\.info)+$", "", rest.rpartition("/")[2])  # info:emacs/transient is opened as (transient)
    if rest and not _NAME.fullmatch(name):
        raise AddressRefused(f"{address[:200]!r} names no manual", hint="as in info:elisp", data={"rule": "form"})
    return SCHEME + name


def pages(address: str, means: Means | None, cancel: Cancel) -> Iterable[str]:
    url = canonical(address)
    yield from [url] if url != SCHEME else map(SCHEME.__add__, manuals(os.environ))


def read(url: str, means: Means | None, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    name = canonical(url)[len(SCHEME) :]
    if not name:
        raise FetchError(f"{url} stands for all manuals", hint="ragmacs crawl info: --name manuals", status=404)
    files = find(name, os.environ)
    if not files:
        where = _DEBIAN if name in _OF_EMACS else ""
        hint = nearest(name, list(manuals(os.environ)))
        raise FetchError(f"no Info manual {name!r} is installed here{where}", hint=hint, status=404)
    cancel.check()
    try:
        stamp = _stamp(files)
        same = stamp == etag
        body = b"" if same else _body(files)
    except (OSError, EOFError, LZMAError, zlib.error) as exc:
        raise FetchError(f"{files[-1]} cannot be read: {exc}", hint="install it again") from exc
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Response(url, url, 304 if same else 200, body, media_type("info"), "", stamp, "", now)


def page(body: bytes, url: str) -> Page:
    title, sections = texinfo.sections(url, texinfo.text(body), default=url[len(SCHEME) :])
    if not sections:
        raise NoContent(f"{url} is no Info manual: it has no nodes", hint="install it again")
    return Page(url, title, tuple(sections))


def folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where Info files are looked for, as Emacs and `info` do: first by INFOPATH, then in the usual places.

    An INFOPATH that does not end with a colon stands in their stead.
    """
    own = environ.get("INFOPATH", "")
    yield from (Path(each) for each in own.split(":") if each)
    if own and not own.endswith(":"):
        return
    emacs = shutil.which("emacs", path=environ.get("PATH"))
    beside = [Path(emacs).resolve().parents[1] / "share/info"] if emacs else []
    for usual in dict.fromkeys([*beside, *map(Path, _FOLDERS)]):
        yield from (usual, usual / "emacs")  # where Debian keeps the manuals of Emacs
    for packages in _PACKAGES:
        found = (Path(environ.get("HOME", "/")) / packages).glob("*/dir")
        yield from (each.parent for each in sorted(found))


def manuals(environ: Mapping[str, str]) -> Iterator[str]:
    """The name of every manual that is installed, each once, by folder."""
    seen: set[str] = set()
    for folder in folders(environ):
        with suppress(OSError):  # most are not there
            files = sorted(each.name for each in folder.iterdir())
            names = (found["name"] for each in files if (found := _MANUAL.fullmatch(each)))
            new = [each for each in dict.fromkeys(names) if each not in seen and _NAME.fullmatch(each)]
            seen.update(new)
            yield from new


def find(name: str, environ: Mapping[str, str]) -> list[Path]:
    """The files of the manual NAME, its parts in order before that which names them; none when it is not installed."""
    for folder in folders(environ):
        for stem in (f"{name}.info", name):
            for packed in _OPENERS:
                path = folder / f"{stem}{packed}"
                if path.is_file():
                    return [*_parts(folder, stem), path]
    return []


def _parts(folder: Path, stem: str) -> list[Path]:
    """The files STEM-1, STEM-2 and so on, into which a long manual was split."""
    parts: list[Path] = []
    while True:
        part = folder / f"{stem}-{len(parts) + 1}"
        files = [part.with_name(part.name + packed) for packed in _OPENERS]
        if not (found := next((each for each in files if each.is_file()), None)):
            return parts
        parts.append(found)


def _stamp(files: Iterable[Path]) -> str:
    """What changes when one of FILES does."""
    stats = [(str(path), path.stat()) for path in files]
    known = "\n".join(f"{path} {found.st_size} {found.st_mtime_ns}" for path, found in stats)
    return hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _body(files: Iterable[Path]) -> bytes:
    """The bytes of FILES, unpacked."""
    body = b""
    for path in files:
        with _OPENERS.get(path.suffix, _OPENERS[""])(path) as file:
            body += file.read(LARGEST + 1 - len(body))
        if len(body) > LARGEST:
            raise FetchError(f"{path} is part of a manual of more than {LARGEST >> 20} MiB", hint="leave it out")
    return body
