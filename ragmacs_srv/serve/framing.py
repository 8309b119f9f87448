"""Bytes become messages and messages bytes: `Content-Length` frames around strict JSON.

What Emacs's jsonrpc.el takes decides: a reply's header is `Content-Length` alone. Limits hold before anything is
allocated; after a frame that cannot be read nobody knows where the next begins, so the stream is over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

MAX_HEADER = 8 * 2**10  # bytes
MAX_BODY = 32 * 2**20  # bytes
MAX_DEPTH = 200  # containers in containers
MAX_DIGITS = 400  # of a whole number

# Emacs 28 and 29 refuse a whole message for one NUL in it. Behind an odd number of backslashes it would be none.
NUL = re.compile(rb"((?<!\\)(?:\\\\)*)\\u0000")
HEAD_END = b"\r\n\r\n"
HEADER = re.compile(rb"([A-Za-z-]+)[ \t]*:(.*)")
CHARSET = re.compile(rb"charset\s*=\s*\"?([\w-]+)", re.IGNORECASE)


class Malformed(ValueError):
    """A body that is no JSON we read; the frames around it are sound."""


class Broken(ValueError):
    """A frame that cannot be read, and with it the rest of the stream."""


class Frames:
    """Cuts a stream of bytes, given in any pieces, into the bodies of its messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._length: int | None = None  # of the body that comes next, once its header is read

    @property
    def begun(self) -> bool:
        """Whether a part of a message is waiting for its rest."""
        return bool(self._bytes) or self._length is not None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every body that is whole with DATA; raises Broken."""
        self._bytes += data
        while (body := self._next()) is not None:
            yield body

    def end(self) -> None:
        """The stream is over; raises Broken when that is in the middle of a message."""
        if self.begun:
            raise Broken("the stream ended inside a message")

    def _next(self) -> bytes | None:
        if self._length is None:
            end = self._bytes.find(HEAD_END, 0, MAX_HEADER)
            if end < 0:
                if len(self._bytes) >= MAX_HEADER:
                    raise Broken(f"a header of more than {MAX_HEADER:,} bytes")
                return None
            self._length = _length(bytes(self._bytes[:end]))
            del self._bytes[: end + len(HEAD_END)]
        if len(self._bytes) < self._length:
            return None
        body = bytes(self._bytes[: self._length])
        del self._bytes[: self._length]
        self._length = None
        return body


def _length(head: bytes) -> int:
    """What the header block HEAD says of the length of the body; raises Broken."""
    lengths = set()
    for line in head.split(b"\r\n"):
        field = HEADER.fullmatch(line)
        if field is None:
            raise Broken("a header line that is none; Content-Length: N is expected")
        name, value = field[1].lower(), field[2].strip()
        if name == b"content-length":
            lengths.add(value)
        charset = CHARSET.search(value) if name == b"content-type" else None
        if charset and charset[1].lower() not in {b"utf-8", b"utf8"}:
            raise Broken("a charset other than utf-8")
    if len(lengths) != 1:
        raise Broken("not one Content-Length in the header")
    digits = lengths.pop()
    if not re.fullmatch(rb"[0-9]{1,9}", digits) or int(digits) > MAX_BODY:
        raise Broken(f"the Content-Length is no number of bytes up to {MAX_BODY:,}")
    return int(digits)


def frame(message: object) -> bytes:
    """MESSAGE as it goes over the wire, NUL as U+FFFD; raises TypeError or ValueError for what JSON cannot say."""
    body = json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    body = NUL.sub(rb"\1\\ufffd", body) if b"\\u0000" in body else body
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def parse(body: bytes) -> Any:
    """The JSON value BODY; raises Malformed for what RFC 8259 does not allow, or what is beyond our limits."""
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, parse_int=_whole, parse_float=_fraction, parse_constant=_constant)
    except UnicodeDecodeError as exc:
        raise Malformed("the message is not UTF-8") from exc
    except RecursionError as exc:
        raise Malformed(f"the message nests deeper than {MAX_DEPTH}") from exc
    except ValueError as exc:
        raise Malformed(f"the message is not JSON: {exc}") from exc
    if text.count("[") + text.count("{") > MAX_DEPTH and _deep(value):
        raise Malformed(f"the message nests deeper than {MAX_DEPTH}")
    return value


def _deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number too large")
    return number


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
