"""Turn a file on this machine, or what came on stdin, into a response, as if it had been fetched; list a folder's."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from ..errors import FetchError, InvalidParams, NoContent
from ..events import Cancel
from ..model import Response
from . import sniff

MAX_BYTES: Final = 64 * 2**20  # the user's own: a book as PDF is larger than any page that is fetched
MOST: Final = 20_000  # documents that one folder stands for
STDIN: Final = "file:stdin"
_TYPES: Final = sniff.TEXTS | {
    ".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml", ".pdf": "application/pdf",
}  # fmt: skip
DOCUMENTS: Final = frozenset({*_TYPES, ".txt", ".text"})
_NAMES: Final = frozenset({
    "authors", "bugs", "changelog", "changes", "contributing", "copying", "faq", "hacking", "history", "install",
    "licence", "license", "maintainers", "manual", "news", "notice", "readme", "thanks", "todo",
})  # fmt: skip  # of documents that have no suffix
_JUNK: Final = frozenset({
    "__pycache__", "_build", "bower_components", "build", "dist", "node_modules", "site-packages", "target", "vendor",
    "venv",
})  # fmt: skip  # folders of what others wrote, or of what was made of what is here
_HEAD: Final = 4096  # characters that tell what a text without a name is
_ORG: Final = re.compile(r"^(?:#\+(?:title|author|begin_\w+|startup|options)\b|:PROPERTIES:)", re.M | re.I)
_MARKDOWN: Final = re.compile(r"^(?:#{1,6} +\S|```|~~~|\[[^\]]+\]: *http)|\]\(https?://", re.M)


def read(path: Path) -> Response:
    """The document in the file PATH; raises InvalidParams when it cannot be read, NoContent when it is empty."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # of a pipe without a writer, reading would never end
            raise InvalidParams(f"{shown(path)} is no regular file", hint="name a file, or - to read from a pipe")
        with path.open("rb") as file:
            body = _body(file, shown(path))
    except OSError as exc:
        hint = "name a file, or an address that begins with https://"
        raise InvalidParams(f"{shown(path)} cannot be read: {exc.strerror}", hint=hint) from exc
    return response(body, path.absolute().as_uri(), suffix=path.suffix, found=found)


def read_stream(stream: IO[bytes]) -> Response:
    """The document that comes on STREAM, to its end."""
    return response(_body(stream, "stdin"), STDIN)


def response(body: bytes, url: str, *, suffix: str = "", found: os.stat_result | None = None) -> Response:
    """BODY as a response of URL; what it is, its SUFFIX says as far as its bytes do not say otherwise.

    FOUND is what the file system says of its file.
    """
    if not body.strip():
        raise NoContent(f"{url} is empty", hint="name a file with text in it")
    kind = sniff.media_type(body, _TYPES.get(suffix.lower(), ""))
    if kind == "text/plain" and not suffix:
        kind = _guessed(body)
    return Response(url, url, 200, body, kind, "", etag(found) if found else "", "", _stamp(found))


def unchanged(url: str, found: os.stat_result) -> Response:
    """The word that the file at URL, FOUND as it was, holds what it held."""
    return Response(url, url, 304, b"", "", "", etag(found), "", _stamp(found))


def etag(found: os.stat_result) -> str:
    """What is another once a file was written to."""
    return f'"{found.st_size:x}-{found.st_mtime_ns:x}"'


def shown(path: Path) -> str:
    """PATH as it may stand in a message: names of files need not be text."""
    return os.fsencode(path).decode(errors="replace")


def is_document(path: Path) -> bool:
    """Whether PATH has the name of something that we read."""
    return path.suffix.lower() in DOCUMENTS or path.name.lower() in _NAMES


def below(
    folder: Path,
    cancel: Cancel,
    wanted: Callable[[Path], bool] = is_document,
    *,
    junk: Set[str] = _JUNK,
    hint: str = "",
) -> Iterator[Path]:
    """The WANTED files in FOLDER and the folders in it, sorted; those of a folder before its folders.

    Hidden names, folders with names in JUNK, and links that lead out of FOLDER or to a folder are left out.
    Raises FetchError, after all that can be read, where a part cannot, and when there is nothing, with HINT then.
    """
    taken, unread, left = 0, [], [folder]
    while left:
        cancel.check()
        here = left.pop()
        try:
            files, folders = _entries(here, folder, junk)
        except OSError as exc:
            unread.append(f"{shown(here)}: {exc.strerror}")
            continue
        left += reversed(folders)
        for path in filter(wanted, files):
            if taken == MOST:
                message = f"{shown(folder)} holds more than {MOST:,} documents"
                raise FetchError(message, hint="name folders in it one by one")
            taken += 1
            yield path
    if unread:
        message = f"{len(unread)} folder(s) of {shown(folder)} cannot be read: {'; '.join(unread[:3])}"
        raise FetchError(message, hint="make them readable; what was read of them before stays")
    if not taken:
        hint = hint or "is its disk mounted? documents are files that end in " + " ".join(sorted(DOCUMENTS))
        raise FetchError(f"{shown(folder)} holds no documents", hint=hint)


def _entries(folder: Path, top: Path, junk: Set[str]) -> tuple[list[Path], list[Path]]:
    """The files and the folders in FOLDER, which is in TOP, without those that are never wanted."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in junk and not _is_saved_with(path):
                    folders.append(path)
            elif entry.is_file(follow_symlinks=False) or (entry.is_symlink() and _stays(path, top)):
                files.append(path)
    return files, folders


def _is_saved_with(folder: Path) -> bool:
    """Whether FOLDER holds the pictures and scripts of a web page that a browser saved beside it."""
    name, _, end = folder.name.rpartition("_")
    return end == "files" and any(folder.with_name(name + suffix).exists() for suffix in (".html", ".htm"))


def _stays(link: Path, top: Path) -> bool:
    """Whether LINK leads to a file in TOP."""
    try:
        return link.is_file() and link.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def _body(stream: IO[bytes], name: str) -> bytes:
    body = stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise InvalidParams(f"{name} is larger than {MAX_BYTES >> 20} MiB", hint="name a part of it")
    return body


def _stamp(found: os.stat_result | None) -> str:
    """When a file was written, or now."""
    at = datetime.fromtimestamp(found.st_mtime, UTC) if found else datetime.now(UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _guessed(body: bytes) -> str:
    """What a text that no name tells about is written in."""
    head = body[:_HEAD].decode("utf-8", "replace").replace("\r\n", "\n").removeprefix("\ufeff")
    return "text/org" if _ORG.search(head) else "text/markdown" if _MARKDOWN.search(head) else "text/plain"
