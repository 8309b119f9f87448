"""`saved:` addresses become the pages that were saved from the web into a folder, under the addresses they came from.

A file tells its own: browsers and SingleFile write it into a comment, `wget --mirror` makes folders of it, and many
pages name it for search engines. In a canonical address `/./` stands before the folder that is a host.
"""

from __future__ import annotations

import html
import posixpath
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from ...errors import AddressRefused, FetchError, InvalidParams, NoContent
from ...events import Cancel
from ...model import Response
from ...roots import path_of
from .. import files, sniff, urls
from . import Means, tree

LOCAL = True
_MARK: Final = "/./"  # as rsync marks where the part of a path begins that counts
_PAGES: Final = frozenset({".html", ".htm", ".xhtml"})
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z](?::\d+)?")
_COMMENT: Final = re.compile(
    rb"<!--\s*(?:saved from url=\(\d+\)|Page saved with SingleFile\s+url:\s*)(https?://\S+?)\s*(?:-->|\s)", re.I
)
_BODY: Final = re.compile(rb"<body[\s>]", re.I)
_TAGS: Final = re.compile(r"<(?:link|meta)\b[^<>]{0,3000}+>", re.I)
_ATTRIBUTE: Final = re.compile(r"(?<![\w:-])([\w:-]++)\s*+=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
_MADE: Final = re.compile(r"(.*(?:\?.*|\.(?:php\d?|aspx?|jsp|cgi|pl)))\.html", re.I)  # page.php.html, page?x=1.html
_HEAD: Final = 4096  # bytes that tell what a file without a suffix is


def canonical(address: str) -> str:
    whole = tree.path(address)
    inside = _inside(address)
    if inside is None:
        return _spelled(whole)
    top = _spelled(whole.parents[len(inside.parts) - 1]).removesuffix("/")
    return top + _MARK + _spelled(whole)[len(top) + 1 :]


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    """The pages in a folder, the newest first: of one that was saved twice the other is then known."""
    top = tree.path(address)
    if not stat.S_ISDIR(tree.found(top).st_mode):
        yield canonical(address)
        return
    hint = f"pages end in .html, or stand in a folder that is a host; ragmacs crawl {top.as_uri()} reads any documents"
    left = None
    listed: list[tuple[int, str]] = []
    try:
        for each in files.below(top, cancel, lambda path: _is_page(path, top), junk=frozenset(), hint=hint):
            listed.append((-tree.found(each).st_mtime_ns, _named(each, top)))
    except FetchError as exc:
        left = exc
    yield from (url for _, url in sorted(listed))
    if left:
        raise left


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    named = tree.path(url)
    tree.found(named)
    try:
        response = files.read(named)
    except InvalidParams as exc:
        raise FetchError(exc.message, hint=exc.hint) from exc
    known = next(_origins(response.body, _inside(url)), "")
    if not known:
        message = f"{files.shown(named)} does not tell which page it was; as a file it can be read: {named.as_uri()}"
        raise NoContent(message, hint=f"ragmacs crawl {named.as_uri()}")
    response = replace(response, url=known)
    return replace(response, status=304, body=b"") if etag == response.etag else response


def _spelled(path: Path) -> str:
    return "saved:" + path.as_uri().removeprefix("file:")


def _inside(address: str) -> PurePosixPath | None:
    """What stands behind the mark in ADDRESS: a host and a path there."""
    _, mark, rest = (path_of("file" + address[len("saved") :]) or "").rpartition(_MARK)
    inside = PurePosixPath(posixpath.normpath(rest.lstrip("/")))
    return inside if mark and len(inside.parts) > 1 and _HOST.fullmatch(inside.parts[0]) else None


def _named(path: Path, top: Path) -> str:
    """The canonical address of PATH, which is in TOP."""
    host = _host(path, top)
    return (
        _spelled(path)
        if host is None
        else canonical(f"{_spelled(host.parent).removesuffix('/')}{_MARK}{_below(path, host.parent)}")
    )


def _below(path: Path, top: Path) -> str:
    return path.as_uri()[len(top.as_uri().removesuffix("/")) + 1 :]


def _host(path: Path, top: Path) -> Path | None:
    """The folder that `wget --mirror` named after the host PATH came from: TOP, or one in it."""
    first = path.relative_to(top).parts
    if len(first) > 1 and _HOST.fullmatch(first[0]):
        return top / first[0]
    return top if _HOST.fullmatch(top.name) else None


def _is_page(path: Path, top: Path) -> bool:
    """Whether PATH is a page, not a picture or script that was saved with one."""
    if path.suffix.lower() in _PAGES:
        return True
    if _host(path, top) is None or path.name == "robots.txt":
        return False
    if path.suffix.lower() in files.DOCUMENTS:
        return True
    try:
        with path.open("rb") as file:
            return sniff.media_type(file.read(_HEAD), "") == "text/html"
    except OSError:  # it is told when it is read
        return not path.suffix


def _origins(body: bytes, inside: PurePosixPath | None) -> Iterator[str]:
    """The addresses that a page may have had, the surest first."""
    told = [found[1].decode(errors="replace") for found in _COMMENT.finditer(body, 0, _HEAD)]
    named = list(_declared(body))
    mirrored = list(_mirrored(inside, body, named)) if inside else []
    for each in (*told, *mirrored, *named):
        try:
            yield urls.canonical(each)
        except AddressRefused:
            continue


def _declared(body: bytes) -> Iterator[str]:
    """What a page itself names as its address."""
    end = _BODY.search(body)
    for tag in _TAGS.findall(body[: end.start() if end else len(body)].decode(errors="replace")):
        has = {name.lower(): html.unescape("".join(values)) for name, *values in _ATTRIBUTE.findall(tag)}
        if "canonical" in has.get("rel", "").lower().split():
            yield has.get("href", "")
        elif "og:url" in (has.get("property"), has.get("name")):
            yield has.get("content", "")


def _mirrored(inside: PurePosixPath, body: bytes, named: Iterable[str]) -> Iterator[str]:
    """The address that wget made the path INSIDE of: it may have added .html, or index.html."""
    host, *path = inside.parts
    site = f"{'http' if ':' in host else 'https'}://{host}"
    at = "/" + "/".join(path)
    if made := _MADE.fullmatch(at):
        at = made[1]
    elif path[-1] in ("index.html", "index.htm"):
        at = at.removesuffix(path[-1])
    bare = at.removesuffix(".html")
    own = [each for each in named if re.match(rf"https?://{re.escape(host)}{re.escape(bare)}(?:\.html|/)?$", each)]
    yield from own
    yield site + (bare if bare != at and _links_to(body, host, bare) else at)


def _links_to(body: bytes, host: str, path: str) -> bool:
    """Whether a page links to PATH of its own site, without .html: so its menu does, which names the page itself."""
    place = rf"href\s*=\s*[\"']?(?:https?:)?(?://{re.escape(host)})?{re.escape(path)}[\"'#?\s>]"
    return re.search(place.encode(), body, re.I) is not None
