"""Turn what a server replied into a response, or into the error it amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..errors import FetchError, NoContent
from ..model import Response
from . import sniff
from .pace import retry_after
from .urls import Parts, shown

SUCCESS = frozenset({200, 203, 204, 205})
READABLE = frozenset({"text/html", "text/plain", *sniff.TEXTS.values(), "application/pdf"})

_STATUS_WORDS = {
    304: ("is said to be unchanged, though we asked without a copy", "a cache on the way is broken; try again later"),
    401: ("asks for a login", "only pages that need no login can be read"),
    403: ("is closed to us", "open it in a browser"),
    404: ("does not exist", "check the address"),
    410: ("is gone for good", "check the address"),
    429: ("is refused for now: too many requests", "try again later"),
    503: ("is out of service for now", "try again later"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in any case; `body` only with a success, at most one byte over the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    def asks_to_wait(self) -> float | None:
        """Seconds, from the Retry-After of a status that may carry one."""
        return retry_after(self.header("retry-after"), _now()) if self.status in (429, 503) else None


def to_response(
    reply: Reply,
    identity: Parts,
    dialled: Parts,
    *,
    conditional: bool,
    max_bytes: int,
    kinds: frozenset[str] = READABLE,
    told: frozenset[int] = SUCCESS,
) -> Response:
    """The response for IDENTITY, as it came from the address DIALLED; a status in TOLD is a success.

    FetchError for a status that is no success, and for a page too large or of a type we cannot read;
    NoContent for an empty one.
    """
    if reply.status == 304 and conditional:
        return _response(reply, identity, dialled, "")
    if reply.status not in told:
        raise _failure(shown(identity.url), reply)
    _check_size(shown(identity.url), len(reply.body), max_bytes)
    kind = sniff.media_type(reply.body, reply.header("content-type"), identity.path)
    if kind not in kinds:
        raise _unsupported(shown(identity.url), kind, reply.header("content-type"))
    return _response(reply, identity, dialled, kind)


def _response(reply: Reply, identity: Parts, dialled: Parts, kind: str) -> Response:
    return Response(
        url=identity.url,
        fetched_from=dialled.url,
        status=304 if reply.status == 304 else 200,
        body=reply.body,
        media_type=kind,
        charset=sniff.charset(reply.header("content-type")) if kind else "",
        etag=reply.header("etag"),
        last_modified=reply.header("last-modified"),
        fetched_at=_now().isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def _check_size(url: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        limit = f"{max_bytes / 2**20:g} MiB" if max_bytes >= 2**20 else f"{max_bytes} bytes"
        raise FetchError(f"{url} is larger than {limit}", hint="read a page of it instead", data={"url": url})
    if size == 0:
        raise NoContent(f"{url} is empty", hint="open it in a browser", data={"url": url})


def _failure(url: str, reply: Reply) -> FetchError:
    """The error for a status that is no success."""
    unknown = ("could not be served", "try again later") if reply.status >= 500 else ("was not served", "")
    words, hint = _STATUS_WORDS.get(reply.status, unknown)
    wait = reply.asks_to_wait() or 0.0
    if wait:
        hint = f"the site asks to come back at {_now() + timedelta(seconds=wait):%Y-%m-%d %H:%M} UTC"
    message = f"{url} {words} (status {reply.status})"
    data = {"url": url, "status": reply.status}
    return FetchError(message, status=reply.status, retry_after=wait, hint=hint, data=data)


def _unsupported(url: str, kind: str, declared: str) -> FetchError:
    called = declared.partition(";")[0].strip().lower()[:80]
    lie = f" although the server calls it {called}" if called not in ("", kind) else ""
    message = f"{url} is {sniff.describe(kind)}{lie}; not supported yet"
    hint = "HTML, Markdown, Org, reST, AsciiDoc, plain text and PDF can be read"
    if kind == "application/rss+xml":
        hint = f"a feed is a list: ragmacs batch {url} -o feed.org"
    return FetchError(message, hint=hint, data={"url": url, "media_type": kind})


def _now() -> datetime:
    return datetime.now(UTC)
