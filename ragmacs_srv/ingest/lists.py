"""A reading list in whatever form people keep one becomes its items, in order, and these the addresses to read.

Nothing is skipped in silence: what stands where an address should, is an item, and is refused later with the
reason. Prose around the links of a Markdown or Org file is no item; in a plain list every line is one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import AddressRefused, InvalidParams
from ..model import Item
from . import bookmarks
from .bookmarks import absolute
from .charset import decode
from .urls import canonical, shown

# What a list at an address may come as, besides the pages that can be read.
TYPES: Final = frozenset(
    {"application/json", "application/rss+xml", "application/xml", "text/xml", "text/csv", "text/x-opml"}
)
MAX_ITEMS: Final = 100_000

_ADDRESS = re.compile(r"\b(?:[a-z][a-z0-9+.-]{0,20}://|(?:file|mailto|javascript):(?=\S))[^\s<>\"`]{0,9000}", re.I)
_MARKDOWN_LINK = re.compile(  # bounded, and possessive: linear time, whatever the text
    r"(?<!\\)(!?)\[((?:[^\[\]]{1,500}+|\[[^\[\]]{0,300}+\](?:\([^()]{0,500}+\))?+){1,12}+)\]"
    r"\(\s{0,9}+<?([^\s<>()]{1,9000}+(?:\([^\s()]{0,500}+\)[^\s<>()]{0,9000}+){0,9}+)>?(?:\s[^()\n]{0,500}+)?\)"
)
_REFERENCE = re.compile(r"\s{0,3}\[([^\]\n]{1,500})\]:\s*<?(\S+?)>?(?:\s+[\"'(].*)?")
_ORG_LINK = re.compile(r"\[\[([^\[\]\n]{1,9000}+)\](?:\[((?:[^\]\n]|\](?!\])){0,500}+)\])?\]")
_ORG = re.compile(
    r"^(?:#\+\w+:|[ \t]*:PROPERTIES:[ \t]*$|\*+ (?:TODO|DONE|NEXT) |\*{2,} )|\[\[[^\[\]\n]{1,9000}+\]", re.M
)
_ORG_TAGS = re.compile(r"[ \t]:([\w@#%:]+):$")
_MARKED_UP = re.compile(r"\]\(|^[ \t]*(?:[-*+]|\d+[.)])[ \t]+\S", re.M)
_BULLET = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?(?:\[([ xX-])\]\s+)?")
_HASHTAG = re.compile(r"(?<!\S)#(\w[\w-]*)")
_KEYWORDS: Final = (
    "TODO",
    "NEXT",
    "WAITING",
    "PENDING",
    "FAILED",
    "REFUSED",
    "UNREAD",
    "|",
    "DONE",
    "CANCELLED",
    "READ",
)
_URL_KEYS: Final = ("url", "href", "link", "uri", "given_url", "resolved_url", "external_url", "address")
_TITLE_KEYS: Final = ("title", "name", "resolved_title", "given_title", "description")
_NOTE_KEYS: Final = ("note", "notes", "extended", "comment")
_INNER_KEYS: Final = ("children", "items")
_READ: Final = frozenset({"archive", "archived", "read", "done", "1"})
_UNREAD: Final = frozenset({"unread", "unsorted", "starred", "archive"})  # folders that every list has


def parse(body: bytes, *, base: str = "", charset: str = "") -> list[Item]:
    """The items of the list BODY, which may stand at the address BASE; raises InvalidParams when there are none."""
    text = decode(body, charset).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    found = [_trimmed(item) for item in _items(text, body, base)]
    if not found:
        hint = "one address a line, links in Markdown or Org, OPML, a feed, exported bookmarks, CSV or JSON"
        raise InvalidParams(f"there are no addresses in {base or 'the list'}", hint=hint)
    if len(found) > MAX_ITEMS:
        raise InvalidParams(f"the list has {len(found):,} addresses, at most {MAX_ITEMS:,} are read", hint="split it")
    return found


def _items(text: str, body: bytes, base: str) -> Iterator[Item]:
    start = text.lstrip()
    head = start[:4000]
    if start.startswith("<") and not _ADDRESS.match(start[1:]):
        if bookmarks.OPML.search(head):
            return bookmarks.from_opml(text, base)
        if bookmarks.FEED.search(head):
            return bookmarks.from_feed(body, base)
        return (bookmarks.from_bookmarks if bookmarks.BOOKMARKS.search(head) else bookmarks.from_page)(text, base)
    if start[:1] in ("{", "[") and (values := _json(start)) is not None:
        return _from_json(values, base)
    if columns := _columns(start):
        return _from_csv(start, columns, base)
    if _ORG.search(text):
        return _from_org(text, base)
    return _from_lines(text, base)


def _trimmed(item: Item) -> Item:
    """ITEM as it can stand in a report: single lines of bearable length."""
    tags = tuple(dict.fromkeys(" ".join(tag.split())[:100] for tag in item.tags if tag.strip()))
    return replace(
        item, url=item.url.strip(), title=" ".join(item.title.split())[:500], tags=tags, note=item.note.strip()[:5000]
    )


# Lines and Markdown


def _from_lines(text: str, base: str) -> Iterator[Item]:
    """Plain lines or Markdown: links with their text, bare addresses with the rest of their line as title."""
    plain = not _MARKED_UP.search(text)
    for line in text.split("\n"):
        bullet = _BULLET.match(line)
        assert bullet is not None  # every part of the pattern is optional
        said, read = line[bullet.end() :].strip(), (bullet[1] or " ") in "xX"
        if said:
            yield from _of_line(said, read, plain, base)


def _of_line(said: str, read: bool, plain: bool, base: str) -> Iterator[Item]:
    comment = said.startswith("#") and not _HASHTAG.match(said)
    links = [link for link in _MARKDOWN_LINK.finditer(said) if not link[1] and not link[3].startswith("#")]
    rest = _MARKDOWN_LINK.sub(" ", said)
    tags = tuple(_HASHTAG.findall(_ADDRESS.sub(" ", rest)))
    for link in links:
        yield Item(absolute(base, link[3]), _shorn(link[2]), tags, "", read)
    if comment:
        return
    if (reference := _REFERENCE.fullmatch(rest)) and not links:
        yield Item(absolute(base, reference[2]), reference[1])
        return
    bare = [_shorter(match[0]) for match in _ADDRESS.finditer(rest)]
    title = "" if links or len(bare) != 1 else _around(rest, bare[0])
    for url in bare:
        yield Item(url, title, tags, "", read)
    if not bare and not links and (plain or _meant_as_address(rest.strip())):
        yield Item(said)


def _meant_as_address(said: str) -> bool:
    """Whether a line of Markdown without a link is an address gone wrong, not prose: one word with a colon or slash."""
    return len(said) < 9000 and not re.search(r"[\s`]", said) and re.search(r"[\w-][:/.][\w/]", said) is not None


def _around(line: str, url: str) -> str:
    """What LINE says beside URL and its tags."""
    rest = re.sub(rf"<?{re.escape(url)}>?[.,;]*", " ", line, count=1)
    title = " ".join(_HASHTAG.sub(" ", rest).split()).strip(" -–—:|,;")
    return title if re.search(r"\w", title) else ""


def _shorter(url: str) -> str:
    """URL without the punctuation of the sentence that it ends."""
    while url and (
        url[-1] in ".,;:!?'*_" or (url[-1] in ")]}" and url.count("([{"[")]}".index(url[-1])]) < url.count(url[-1]))
    ):
        url = url[:-1]
    return url


def _shorn(title: str) -> str:
    """The text of a Markdown link without its own markup."""
    return re.sub(r"!\[([^\[\]]*)\](?:\([^()]*\))?|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|\\(?=[\[\]*_`\\])", r"\1", title)


# Org


@dataclass
class _Heading:
    """An Org heading under way: what its links inherit."""

    level: int
    tags: tuple[str, ...]
    read: bool
    title: str
    links: list[re.Match[str]]
    bare: list[str]


def _from_org(text: str, base: str) -> Iterator[Item]:
    """The links of an Org file, with the tags and the state of their headings; a heading's URL property is its link.

    Where there is one, links in the text below that heading belong to the text: the reports of ours are such.
    """
    done = _done(text)
    file_tags = tuple(
        tag for line in re.findall(r"^#\+FILETAGS:(.*)$", text, re.M | re.I) for tag in re.split(r"[:\s]+", line)
    )
    above: list[_Heading] = [_Heading(0, file_tags, False, "", [], [])]
    for part in re.split(r"^(?=\*+[ \t])", text, flags=re.M):
        first, _, rest = part.partition("\n")
        if heading := re.match(r"\*+[ \t]", first):
            while above[-1].level >= heading.end() - 1:
                above.pop()
            above.append(_heading(heading.end() - 1, first[heading.end() :].strip(), above[-1].tags, done))
        else:
            rest = part
        yield from _under(above[-1], bool(heading), rest, base)


def _done(text: str) -> frozenset[str]:
    """The keywords of an Org file, those that stand for done with a "|" before them."""
    own = [word for line in re.findall(r"^#\+(?:SEQ_|TYP_)?TODO:(.*)$", text, re.M | re.I) for word in line.split()]
    known: set[str] = set()
    for words in (list(_KEYWORDS), own):
        after = False
        for word in words:
            after = after or word == "|"
            known.add(("|" if after else "") + word.partition("(")[0])
    return frozenset(known)


def _heading(level: int, said: str, inherited: tuple[str, ...], keywords: frozenset[str]) -> _Heading:
    tags = _ORG_TAGS.search(said)
    own = tuple(filter(None, tags[1].split(":"))) if tags else ()
    said = said[: tags.start()] if tags else said
    word, _, behind = said.partition(" ")
    read = "|" + word in keywords
    if read or word in keywords:
        said = behind
    said = re.sub(r"^\s*(?:\[#\w\]\s*)?(?:\[([ xX-])\]\s*)?", "", said)
    bare = [_shorter(each[0]) for each in _ADDRESS.finditer(_ORG_LINK.sub(" ", said))]
    title = " ".join(_ORG_LINK.sub(lambda link: link[2] or " ", said).split())
    return _Heading(level, (*inherited, *own), read, title, list(_ORG_LINK.finditer(said)), bare)


def _under(heading: _Heading, begins: bool, text: str, base: str) -> Iterator[Item]:
    """The items of HEADING itself, where it BEGINS here, and of the TEXT under it."""
    named = re.search(r"^[ \t]*:(?:URL|LINK):[ \t]+(\S+)[ \t]*$", text, re.M | re.I) if begins else None
    if named:
        yield Item(absolute(base, named[1]), heading.title, heading.tags, "", heading.read)
        return
    if begins:
        links = [link for link in heading.links if _leads_out(link[1])]
        for link in links:
            yield Item(_target(link[1], base), link[2] or heading.title, heading.tags, "", heading.read)
        for url in heading.bare:
            title = _around(heading.title, url) if len(heading.bare) == 1 else ""
            yield Item(url, title, heading.tags, "", heading.read)
    for line in text.split("\n"):
        if not re.match(r"\s*#(?:\+|\s|$)", line):
            yield from _of_org_line(line, heading, base)


def _of_org_line(line: str, heading: _Heading, base: str) -> Iterator[Item]:
    bullet = _BULLET.match(line)
    box = bullet[1] if bullet else None
    read = heading.read if box is None else box in "xX"
    links = [link for link in _ORG_LINK.finditer(line) if _leads_out(link[1])]
    for link in links:
        yield Item(_target(link[1], base), link[2] or "", heading.tags, "", read)
    rest = _ORG_LINK.sub(" ", line)[bullet.end() if bullet and not links else 0 :]
    bare = [_shorter(match[0]) for match in _ADDRESS.finditer(rest)]
    for url in bare:
        title = _around(rest, url) if len(bare) == 1 and not links and not rest.lstrip().startswith(":") else ""
        yield Item(url, title, heading.tags, "", read)


def _leads_out(target: str) -> bool:
    """Whether an Org link leads to an address or a file, not to another place in Org."""
    return not re.match(r"[#*(]|(?:id|roam|cite|fn|custom-id|attachment|coderef):", target) and (
        ":" in target or "/" in target
    )


def _target(target: str, base: str) -> str:
    return absolute(base, re.sub(r"\\([\[\]\\])", r"\1", target))


# Tables


def _columns(text: str) -> tuple[str, Mapping[str, str]] | None:
    """(delimiter, {what: column}) of a CSV file whose first line names an address column, else None."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    names = [cell.strip().strip('"') for cell in first.split(delimiter)]
    found = {name.lower(): name for name in reversed(names)}
    url = next((found[key] for key in _URL_KEYS if key in found), "")
    if not url or _ADDRESS.search(first) or len(names) < 2:
        return None
    wanted = {"title": _TITLE_KEYS, "note": _NOTE_KEYS, "tags": ("tags", "labels"), "folder": ("folder",)}
    picked = {what: next((found[key] for key in keys if key in found), "") for what, keys in wanted.items()}
    state = next((found[key] for key in ("status", "state", "read") if key in found), "")
    return delimiter, {**picked, "url": url, "state": state}


def _from_csv(text: str, columns: tuple[str, Mapping[str, str]], base: str) -> Iterator[Item]:
    """The rows of an export of Pocket, Instapaper, Raindrop, or of any table with a column of addresses."""
    delimiter, names = columns
    try:
        for row in csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True):
            cell = {what: (row.get(name) or "").strip() if name else "" for what, name in names.items()}
            if not any(isinstance(value, str) and value.strip() for value in row.values()):
                continue
            folder = cell["folder"]
            tags = [*_words(cell["tags"]), *([folder] if folder.lower() not in _UNREAD | {""} else [])]
            read = (cell["state"] or folder).lower() in _READ
            yield Item(absolute(base, cell["url"]), cell["title"], tuple(tags), cell["note"], read)
    except csv.Error as exc:
        raise InvalidParams(f"the list begins as CSV and is none: {exc}", hint="export it again") from exc


def _words(tags: object) -> list[str]:
    """Tags as a list: written between "|", else commas, else blanks; or as JSON with or without names."""
    if isinstance(tags, str):
        between = next((mark for mark in "|,;" if mark in tags), None)
        inner = tags.strip().strip("[]").replace('"', "") if tags.strip().startswith("[") else tags
        return [tag.strip() for tag in inner.split(between) if tag.strip()]
    if isinstance(tags, Mapping):
        return [str(tag) for tag in tags]
    if isinstance(tags, list):
        named = [
            tag.get("name") or tag.get("title") or tag.get("tag") if isinstance(tag, Mapping) else tag for tag in tags
        ]
        return [str(tag) for tag in named if isinstance(tag, str | int)]
    return []


# JSON


def _json(text: str) -> list[Any] | None:
    """The values in TEXT: one document, or one a line; None when it is no JSON."""
    try:
        return [json.loads(text)]
    except RecursionError as exc:
        raise InvalidParams("the list is JSON within JSON within JSON", hint="export it again") from exc
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return None


def _from_json(values: list[Any], base: str) -> Iterator[Item]:
    """Every string of a list and every object with an address, however deep: exports of browsers and services."""
    left = values[::-1]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield Item(absolute(base, value) if _ADDRESS.match(value) is None else value)
        elif isinstance(value, list):
            left += value[::-1]
        elif isinstance(value, Mapping):
            if item := _of_object(value, base):
                yield item
                inner = [value[key] for key in _INNER_KEYS if isinstance(value.get(key), list)]
            else:
                # A list of strings is one of addresses under these names only: elsewhere, of words.
                inner = [each for key, each in value.items() if _holds(str(key).lower(), each)]
            left += inner[::-1]


def _holds(key: str, value: object) -> bool:
    if isinstance(value, list) and any(isinstance(each, str) for each in value):
        return key in {"urls", "links", "items", "list", "bookmarks", "addresses"}
    return isinstance(value, list | Mapping)


def _of_object(value: Mapping[str, Any], base: str) -> Item | None:
    fields = {str(key).lower(): each for key, each in value.items()}
    url = next((fields[key] for key in _URL_KEYS if isinstance(fields.get(key), str)), None)
    if url is None:
        return None
    title = next((fields[key] for key in _TITLE_KEYS if isinstance(fields.get(key), str) and fields[key]), "")
    note = next((fields[key] for key in _NOTE_KEYS if isinstance(fields.get(key), str) and fields[key]), "")
    unread = str(fields.get("toread", "")).lower()
    state = fields["read"] if isinstance(fields.get("read"), bool) else str(fields.get("status", "")).lower() in _READ
    return Item(absolute(base, url), title, tuple(_words(fields.get("tags"))), note, bool(state) or unread == "no")


# What there is to read


@dataclass(frozen=True, slots=True)
class Entry:
    """An address to read, once: what the items that name it say together.

    `url` is canonical; where `refused` says why it is none that can be read, it is what stands in the list.
    `also` are the other ways in which the list writes it. `feed`: as that of an Item.
    """

    url: str
    title: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    read: bool = False
    refused: str = ""
    also: tuple[str, ...] = ()
    feed: str = ""


def fold(items: Iterable[Item]) -> list[Entry]:
    """ITEMS with duplicates folded into the first: same page, whatever the fragment and the tracking parameters."""
    found: dict[str, Entry] = {}
    for item in items:
        entry = _entry(item)
        known = found.get(entry.url)
        found[entry.url] = entry if known is None else _folded(known, item)
    return list(found.values())


def _entry(item: Item) -> Entry:
    try:
        url, refused = canonical(item.url), ""
    except AddressRefused as exc:
        url, refused = shown(item.url) or "(nothing)", exc.message if item.url else "the list names no address here"
    also = (item.url,) if item.url not in ("", url) and not refused else ()
    return Entry(url, item.title, item.tags, item.note, item.read, refused, also, item.feed)


def _folded(known: Entry, item: Item) -> Entry:
    new = item.url not in (known.url, *known.also) and not known.refused
    return replace(
        known,
        title=known.title or item.title,
        tags=tuple(dict.fromkeys((*known.tags, *item.tags))),
        note=known.note or item.note,
        read=known.read or item.read,
        also=(*known.also, item.url) if new else known.also,
        feed=known.feed or item.feed,
    )


def refolded(entries: Iterable[Entry]) -> list[Entry]:
    """ENTRIES with those of the same address folded into the first."""
    found: dict[str, Entry] = {}
    for entry in entries:
        known = found.get(entry.url)
        both = (*known.also, *entry.also) if known else entry.also
        found[entry.url] = replace(_folded(known, _item(entry)), also=tuple(dict.fromkeys(both))) if known else entry
    return list(found.values())


def _item(entry: Entry) -> Item:
    return Item(entry.url, entry.title, entry.tags, entry.note, entry.read, entry.feed)
