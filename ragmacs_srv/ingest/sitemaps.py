"""Turn a sitemap, or the llms.txt of a site, into the addresses that it lists."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from xml.parsers import expat

from ..errors import AddressRefused, InvalidParams, NoContent
from ..model import Response
from . import lists, urls

TYPES: Final = frozenset({"application/xml", "text/xml", "application/gzip"})  # besides those of pages
MAX_BYTES: Final = 50 * 2**20  # of one that is packed: no sitemap may be larger (sitemaps.org)
_DEEPEST: Final = 50  # elements within each other: what a parser keeps of each is a hundred times its three bytes
_LONGEST: Final = 9000  # characters of an address; twice what any list may have
_SITEMAP: Final = re.compile(r"/(?:[^/]*sitemap[^/]*\.xml(?:\.gz)?|[^/]*\.xml\.gz)", re.I)
_LLMS: Final = re.compile(r"/llms\.txt", re.I)
_GZIP: Final = b"\x1f\x8b"
_OPTIONAL: Final = re.compile(r"^##[ \t]+Optional[ \t]*$.*?(?=^##[ \t]|\Z)", re.M | re.S | re.I)
_HINT: Final = "a sitemap or an llms.txt is meant; name pages of the site instead"


class Listed(NamedTuple):
    """What a list names: pages, and sitemaps that name more."""

    pages: list[str]
    sitemaps: list[str]


def is_list(url: str) -> bool:
    """Whether the canonical address URL has the name of a list of pages."""
    path = "/" + urls.parse(url).path.rpartition("/")[2]
    return bool(_SITEMAP.fullmatch(path) or _LLMS.fullmatch(path))


def read(response: Response) -> Listed:
    """What the list in RESPONSE names, canonical and without what cannot be read; raises NoContent when it is none."""
    if _LLMS.fullmatch("/" + urls.parse(response.url).path.rpartition("/")[2]):
        return Listed(_from_llms(response), [])
    tree = _parsed(_unpacked(response.body, response.url), response.url)
    found = _canonical(tree.found)
    return Listed([], found) if tree.root == "sitemapindex" else Listed(found, [])


def _from_llms(response: Response) -> list[str]:
    """The links of an llms.txt: those of its section Optional only where there are no others, as its rules allow."""
    if response.media_type == "text/html":
        raise NoContent(f"{response.url} is a web page and no list", hint=_HINT)
    text = response.body.decode(errors="replace").replace("\r\n", "\n")
    for part in (_OPTIONAL.sub("", text), text):
        with suppress(InvalidParams):  # no links there
            if found := _canonical(each.url for each in lists.parse(part.encode(), base=response.url)):
                return found
    return []


def _canonical(found: Iterable[str]) -> list[str]:
    """The addresses among FOUND that can be read, once each; a slip in one of thousands loses no others."""
    known: dict[str, None] = {}
    for each in found:
        with suppress(AddressRefused):
            known[urls.canonical(each.strip())] = None
    return list(known)


def _unpacked(body: bytes, url: str) -> bytes:
    if not body.startswith(_GZIP):
        return body
    try:
        unpacked = zlib.decompressobj(31).decompress(body, MAX_BYTES + 1)
    except zlib.error as exc:
        raise NoContent(f"{url} cannot be unpacked: {exc}", hint=_HINT) from exc
    if len(unpacked) > MAX_BYTES:
        raise NoContent(f"{url} is larger than {MAX_BYTES >> 20} MiB when it is unpacked", hint=_HINT)
    return unpacked


@dataclass
class _Tree:
    """A sitemap as it is parsed: its root, and the text of each `loc` that is its own, not that of a picture."""

    root: str = ""
    found: list[str] = field(default_factory=list)
    _space: str = ""
    _path: list[str] = field(default_factory=list)

    def start(self, name: str, _: object) -> int:
        """Note that an element begins; returns how many it is within, itself too."""
        space, _, local = name.rpartition(" ")
        if not self._path:
            self.root, self._space = local, space
        self._path.append(local if space == self._space else "")
        if self._in_loc():
            self.found.append("")
        return len(self._path)

    def end(self, _: str) -> None:
        self._path.pop()

    def text(self, text: str) -> None:
        if self._in_loc() and len(self.found[-1]) <= _LONGEST:  # a longer one is refused as it is
            self.found[-1] += text

    def _in_loc(self) -> bool:
        return self._path in (["urlset", "url", "loc"], ["sitemapindex", "sitemap", "loc"])


def _parsed(body: bytes, url: str) -> _Tree:
    """BODY parsed; whatever declares entities is no sitemap, so that none are expanded."""
    tree, parser = _Tree(), expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text

    def refuse(*_: object) -> None:
        raise NoContent(f"{url} declares entities, which no sitemap does", hint=_HINT)

    def start(name: str, attributes: object) -> None:
        if tree.start(name, attributes) > _DEEPEST:
            raise NoContent(f"{url} is no sitemap: it has more than {_DEEPEST} elements within each other", hint=_HINT)

    parser.EntityDeclHandler, parser.StartElementHandler = refuse, start
    try:
        parser.Parse(body.lstrip(), True)
    except (expat.ExpatError, LookupError) as exc:  # LookupError: an encoding that nobody knows
        raise NoContent(f"{url} is no sitemap: {exc}", hint=_HINT) from exc
    if tree.root not in ("urlset", "sitemapindex"):
        raise NoContent(f"{url} is no sitemap: it is a {tree.root}", hint=_HINT)
    return tree
