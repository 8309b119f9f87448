"""Turn a file on this machine, or what came on stdin, into a response, as if it had been fetched."""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from ..errors import InvalidParams, NoContent
from ..model import Response
from . import sniff

MAX_BYTES: Final = 64 * 2**20  # the user's own: a book as PDF is larger than any page that is fetched
STDIN: Final = "file:stdin"
_TYPES: Final = {
    ".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml",
    ".md": "text/markdown", ".markdown": "text/markdown", ".org": "text/org", ".pdf": "application/pdf",
}  # fmt: skip
_HEAD: Final = 4096  # characters that tell what a text without a name is
_ORG: Final = re.compile(r"^(?:#\+(?:title|author|begin_\w+|startup|options)\b|:PROPERTIES:)", re.M | re.I)
_MARKDOWN: Final = re.compile(r"^(?:#{1,6} +\S|```|~~~|\[[^\]]+\]: *http)|\]\(https?://", re.M)


def read(path: Path) -> Response:
    """The document in the file PATH; raises InvalidParams when it cannot be read, NoContent when it is empty."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # of a pipe without a writer, reading would never end
            raise InvalidParams(f"{path} is no regular file", hint="name a file, or - to read from a pipe")
        with path.open("rb") as file:
            body = _body(file, str(path))
    except OSError as exc:
        hint = "name a file, or an address that begins with https://"
        raise InvalidParams(f"{path} cannot be read: {exc.strerror}", hint=hint) from exc
    return response(body, path.absolute().as_uri(), suffix=path.suffix, changed=found.st_mtime)


def read_stream(stream: IO[bytes]) -> Response:
    """The document that comes on STREAM, to its end."""
    return response(_body(stream, "stdin"), STDIN)


def response(body: bytes, url: str, *, suffix: str = "", changed: float | None = None) -> Response:
    """BODY as a response of URL; what it is, its SUFFIX says as far as its bytes do not say otherwise."""
    if not body.strip():
        raise NoContent(f"{url} is empty", hint="name a file with text in it")
    kind = sniff.media_type(body, _TYPES.get(suffix.lower(), ""))
    if kind == "text/plain" and not suffix:
        kind = _guessed(body)
    stamp = datetime.fromtimestamp(changed, UTC) if changed is not None else datetime.now(UTC)
    return Response(url, url, 200, body, kind, "", "", "", stamp.isoformat(timespec="seconds").replace("+00:00", "Z"))


def _body(stream: IO[bytes], name: str) -> bytes:
    body = stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise InvalidParams(f"{name} is larger than {MAX_BYTES >> 20} MiB", hint="name a part of it")
    return body


def _guessed(body: bytes) -> str:
    """What a text that no name tells about is written in."""
    head = body[:_HEAD].decode("utf-8", "replace").replace("\r\n", "\n").removeprefix("\ufeff")
    return "text/org" if _ORG.search(head) else "text/markdown" if _MARKDOWN.search(head) else "text/plain"
