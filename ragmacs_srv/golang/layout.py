"""A Go type becomes its layout in memory: what lies where, what is padding or scanned, and what an order saves.

Sizes and offsets are the compiler's, asked by `helper`; all that follows from them is computed here.
"""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidParams
from . import helper
from .workshop import Place, Workshop, reachable

CACHE_LINE: Final = 64  # bytes, of most machines; 128 on some arm64
PAGE: Final = 8192  # bytes: what is larger than the largest class comes in whole pages
MALLOC_HEADER: Final = 8  # bytes in front of what has pointers and is larger than a word of bits can describe
TINY: Final = 16  # bytes: smaller ones without pointers share such a block
# The heap's size classes, the same since Go 1.16 (runtime/sizeclasses.go).
# fmt: off
CLASSES: Final = (
    8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448, 480,
    512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864,
    5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480,
    21760, 24576, 27264, 28672, 32768,
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Row:
    """What lies in [start, end), in bytes from the beginning; padding has no name and no type."""

    name: str  # Type.Field.Inner
    type: str
    start: int
    end: int
    align: int
    ptr_bytes: int  # of it, up to the end of its last pointer
    depth: int  # 1 for a field of the type itself
    is_padding: bool = False
    embedded: bool = False
    crosses_line: bool = False  # if the whole begins at a cache line; in the heap it need not

    @property
    def size(self) -> int:
        return self.end - self.start

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "start": self.start,
            "end": self.end,
            "size": self.size,
            "align": self.align,
            "is_padding": self.is_padding,
            "ptr_bytes": self.ptr_bytes,
            "crosses_line": self.crosses_line,
            "depth": self.depth,
            "embedded": self.embedded,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """A struct inside of the type, whose fields have rows of their own."""

    name: str
    type: str
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """TEXT to stand in place of the lines from START to END, counted from 1, of a file."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Optimal:
    """The best order of the fields; `rows` are its layout."""

    order: tuple[str, ...]
    size: int
    ptr_bytes: int
    heap_class: int
    saves_bytes: int
    saves_heap_bytes: int  # per object on the heap: 0 when both are of one class
    saves_ptr_bytes: int  # negative: more is scanned
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A type in memory, in bytes. `optimal` is None when no order of the fields is better."""

    type: str
    package: str
    file: str
    line: int
    goarch: str
    go_version: str
    size: int
    align: int
    ptr_bytes: int
    padding_bytes_deep: int  # that in the elements of arrays, too
    word_size: int
    cache_line: int
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    optimal: Optimal | None
    suggestion: Suggestion | None
    unkeyed: tuple[str, ...]  # places where an order matters to the source
    warnings: tuple[str, ...]
    ms: int = field(default=0, compare=False)

    @property
    def padding_bytes(self) -> int:
        return sum(row.size for row in self.rows if row.is_padding)

    @property
    def heap_class(self) -> int:
        return heap_class(self.size, self.ptr_bytes, self.word_size)

    @property
    def cache_lines(self) -> int:
        return -(-self.size // self.cache_line)

    def as_json(self) -> dict[str, Any]:
        """The shape of DESIGN's `layout`; sizes in bytes."""
        return {
            "type": self.type,
            "package": self.package,
            "pos": {"file": self.file, "line": self.line},
            "goarch": self.goarch,
            "go_version": self.go_version,
            "size": self.size,
            "align": self.align,
            "ptr_bytes": self.ptr_bytes,
            "noscan": self.ptr_bytes == 0,
            "padding_bytes": self.padding_bytes,
            "padding_bytes_deep": self.padding_bytes_deep,
            "heap_class": self.heap_class,
            "cache_line": self.cache_line,
            "cache_lines": self.cache_lines,
            "fields": [row.as_json() for row in self.rows],
            "optimal": self._optimal(),
            "suggestion": self._suggestion(),
            "unkeyed_literals": list(self.unkeyed),
            "warnings": list(self.warnings),
            "ms": self.ms,
        }

    def structlayout(self) -> list[dict[str, Any]]:
        """The rows as the well-known program `structlayout -json` prints them, for its `structlayout-svg`."""
        keys = ("name", "type", "start", "end", "size", "align", "is_padding")
        return [{key: row.as_json()[key] for key in keys} for row in self.rows]

    def _optimal(self) -> dict[str, Any]:
        best = self.optimal
        if best is None:
            same = {"size": self.size, "ptr_bytes": self.ptr_bytes, "heap_class": self.heap_class}
            return {**same, "saves_bytes": 0, "saves_heap_bytes": 0, "order": [], "worse_in": []}
        return {
            "size": best.size,
            "ptr_bytes": best.ptr_bytes,
            "heap_class": best.heap_class,
            "saves_bytes": best.saves_bytes,
            "saves_heap_bytes": best.saves_heap_bytes,
            "order": list(best.order),
            "worse_in": ["ptr_bytes"] if best.saves_ptr_bytes < 0 else [],
        }

    def _suggestion(self) -> dict[str, Any] | None:
        if self.suggestion is None:
            return None
        made = self.suggestion
        return {"file": made.file, "start_line": made.start, "end_line": made.end, "text": made.text}


def lay_out(
    shop: Workshop,
    place: Place,
    package: str,
    type_name: str = "",
    *,
    at: tuple[Path, int] | None = None,
    cache_line: int = CACHE_LINE,
) -> Layout:
    """The layout of TYPE_NAME in PACKAGE, as `go list` takes it at PLACE; or of the type AT a (file, line).

    TYPE_NAME may be an instance such as `Pair[int8, string]`, a type in a function, a variable of a struct.
    Raises TypeNotFound (kinds `unknown_type`, `not_struct`, `generic`), ToolchainFailed (`unresolved_field_type` and
    what keeps a package from being read), ToolchainMissing, InvalidParams and Cancelled.
    """
    if not 8 <= cache_line <= 4096:
        raise InvalidParams(f"a cache line of {cache_line} bytes", hint="64, or 128")
    began = time.monotonic()
    request: dict[str, Any] = {"op": "layout", "package": reachable(shop, place, package), "type": type_name}
    if at:
        request |= {"file": str(at[0]), "line": at[1]}
    answer, go = helper.ask(shop, place, request)
    made = read(answer, go.version, cache_line=cache_line)
    return replace(made, ms=round((time.monotonic() - began) * 1000))


def survey(shop: Workshop, place: Place, package: str, *, cache_line: int = CACHE_LINE) -> list[Layout]:
    """The layouts of all structs that PACKAGE declares at its own level; raises as `lay_out` does.

    Those that cannot be laid out, generic ones for example, are left out.
    """
    answers, go = helper.ask(shop, place, {"op": "survey", "package": reachable(shop, place, package)})
    return [read(each, go.version, cache_line=cache_line) for each in answers]


def read(answer: Mapping[str, Any], go_version: str, *, cache_line: int = CACHE_LINE) -> Layout:
    """The Layout in the helper's ANSWER."""
    root = answer["root"]
    rows, groups = _rows(root, cache_line)
    where = answer["suggestion"]
    return Layout(
        type=answer["type"],
        package=answer["package"],
        file=answer["file"],
        line=answer["line"],
        goarch=answer["goarch"],
        go_version=go_version,
        size=root["size"],
        align=root["align"],
        ptr_bytes=root["ptr_bytes"],
        padding_bytes_deep=_padding(root),
        word_size=answer["word_size"],
        cache_line=cache_line,
        rows=rows,
        groups=groups,
        optimal=_best(answer, cache_line),
        suggestion=Suggestion(where["file"], where["start_line"], where["end_line"], where["text"]) if where else None,
        unkeyed=tuple(answer["unkeyed"] or ()),
        warnings=tuple(answer["warnings"] or ()),
    )


def heap_class(size: int, ptr_bytes: int, word_size: int) -> int:
    """The bytes that one object of SIZE takes on the heap, PTR_BYTES of which are scanned.

    Objects under 16 bytes without pointers share a block, so that several fit into what is said here.
    """
    if size == 0:
        return 0
    if ptr_bytes and size > word_size * word_size * 8:
        size += MALLOC_HEADER
    if size > CLASSES[-1]:
        return -(-size // PAGE) * PAGE
    return CLASSES[bisect.bisect_left(CLASSES, size)]


def short(type_name: str) -> str:
    """TYPE_NAME with the last part of each import path: `net/http.Header` is `http.Header`."""
    return re.sub(r"[\w.~%-]+(?:/[\w.~%-]+)*/(?=[\w~%-]+\.)", "", type_name)


# From the tree of fields to rows


def _rows(root: Mapping[str, Any], line: int) -> tuple[tuple[Row, ...], tuple[Group, ...]]:
    groups: list[Group] = []
    leaves = (
        list(_leaves(root, root["name"], 0, 1, groups)) if root.get("struct") else [_leaf(root, root["name"], 0, 1)]
    )
    rows = _padded(leaves, root["size"], groups)
    return tuple(_lined(row, line) for row in rows), tuple(groups)


def _leaves(node: Mapping[str, Any], name: str, base: int, depth: int, groups: list[Group]) -> Iterator[Row]:
    """The fields of NODE at BASE, those of structs in place of the structs; these go to GROUPS."""
    for each in node.get("fields", ()):
        inner, start = f"{name}.{each['name']}", base + each["offset"]
        if each.get("fields") and each["size"]:
            groups.append(Group(inner, each["type"], start, start + each["size"], depth))
            yield from _leaves(each, inner, start, depth + 1, groups)
            yield from _tail(each, start, depth)
        else:
            yield _leaf(each, inner, start, depth)


def _tail(node: Mapping[str, Any], start: int, depth: int) -> Iterator[Row]:
    """The padding at the end of a struct inside of another: it is that one's, not of who comes next."""
    last = node["fields"][-1]
    end = start + last["offset"] + last["size"]
    if end < start + node["size"]:
        yield _hole(end, start + node["size"], depth + 1)


def _leaf(node: Mapping[str, Any], name: str, start: int, depth: int) -> Row:
    return Row(
        name=name,
        type=node["type"],
        start=start,
        end=start + node["size"],
        align=node["align"],
        ptr_bytes=node["ptr_bytes"],
        depth=depth,
        embedded=node.get("embedded", False),
    )


def _hole(start: int, end: int, depth: int) -> Row:
    return Row("", "", start, end, 0, 0, depth, is_padding=True)


def _padded(leaves: Sequence[Row], size: int, groups: Sequence[Group]) -> Iterator[Row]:
    """LEAVES with what lies between them, and behind the last, as part of the innermost of GROUPS that it is in."""

    def hole(start: int, end: int) -> Row:
        return _hole(start, end, 1 + max((g.depth for g in groups if g.start <= start and end <= g.end), default=0))

    at = 0
    for leaf in leaves:
        if leaf.start > at:
            yield hole(at, leaf.start)
        yield leaf
        at = max(at, leaf.end)
    if at < size:
        yield hole(at, size)


def _lined(row: Row, line: int) -> Row:
    crosses = row.size > 0 and not row.is_padding and row.start // line != (row.end - 1) // line
    return replace(row, crosses_line=crosses)


def _padding(node: Mapping[str, Any]) -> int:
    """All padding in NODE, that of the elements of arrays as often as there are elements."""
    if elem := node.get("elem"):
        return int(node["len"]) * _padding(elem)
    if not node.get("struct"):
        return 0
    fields = node.get("fields", ())
    return int(node["size"] - sum(each["size"] for each in fields) + sum(map(_padding, fields)))


# The best order


def _best(answer: Mapping[str, Any], line: int) -> Optimal | None:
    best, root, word = answer["optimal"], answer["root"], answer["word_size"]
    if not best:
        return None
    before = heap_class(root["size"], root["ptr_bytes"], word)
    after = heap_class(best["size"], best["ptr_bytes"], word)
    rows, groups = _rows({**best["root"], "name": root["name"]}, line)
    return Optimal(
        order=tuple(best["order"]),
        size=best["size"],
        ptr_bytes=best["ptr_bytes"],
        heap_class=after,
        saves_bytes=root["size"] - best["size"],
        saves_heap_bytes=before - after,
        saves_ptr_bytes=root["ptr_bytes"] - best["ptr_bytes"],
        rows=rows,
        groups=groups,
    )
