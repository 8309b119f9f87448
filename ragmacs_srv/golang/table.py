"""A Layout becomes text: a table for terminals and models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .layout import Layout, Row, short

MOST: Final = 120  # rows that are shown: the rest is counted
NARROW: Final = 44  # characters of a name or a type


def table(layout: Layout) -> str:
    """The layout of a type: what it costs, what lies where, and a better order if there is one."""
    return "\n".join([*_head(layout), "", *_rows(layout.rows), *_tail(layout)])


def survey(layouts: Sequence[Layout]) -> str:
    """The structs of a package, those first whose fields could be in a better order."""
    if not layouts:
        return "The package declares no structs with a size."
    ranked = sorted(layouts, key=lambda each: (-_saved(each), -each.size, each.type))
    cells: list[tuple[str, ...]] = [("type", "bytes", "padding", "scan", "heap", "a better order saves")]
    for each in ranked[:MOST]:
        best = each.optimal
        gain = (
            f"{best.saves_bytes} bytes, {best.saves_heap_bytes} on the heap, {best.saves_ptr_bytes} to scan"
            if best
            else ""
        )
        numbers = (each.size, each.padding_bytes, each.ptr_bytes, each.heap_class)
        cells.append((clipped(each.type), *map(str, numbers), gain))
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in range(1, 5)), row[5]]) for row in cells
    ]
    more = [f"… {len(layouts) - MOST} more"] if len(layouts) > MOST else []
    return "\n".join([*(line.rstrip() for line in lines), *more])


def _saved(layout: Layout) -> int:
    return layout.optimal.saves_bytes * 1000 + layout.optimal.saves_ptr_bytes if layout.optimal else 0


def _head(layout: Layout) -> Iterator[str]:
    scanned = f"{layout.ptr_bytes} scanned by the collector" if layout.ptr_bytes else "no pointers, never scanned"
    lines = f"{layout.cache_lines} cache line{'s' if layout.cache_lines != 1 else ''} of {layout.cache_line}"
    yield f"{named(layout)}: {_bytes(layout.size)}, {layout.padding_bytes} of them padding; {scanned}"
    heap = f"one on the heap takes {_bytes(layout.heap_class)}"
    yield f"align {layout.align}; {heap}; {lines}; {layout.goarch}, {layout.go_version}"


def named(layout: Layout) -> str:
    """The type with its package, as Go code elsewhere names it."""
    name = short(layout.type)
    return name if "." in name or "/" in name else f"{layout.package.rpartition('/')[2]}.{name}"


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    shown = rows[:MOST]
    cells = [(str(row.start), str(row.size), str(row.ptr_bytes or ""), *_words(row)) for row in shown]
    cells.insert(0, ("offset", "bytes", "scan", "field", "type"))
    widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
    for start, size, scanned, name, kind in cells:
        yield (
            f"{start:>{widths[0]}}  {size:>{widths[1]}}  {scanned:>{widths[2]}}  {name:{widths[3]}}  {kind}".rstrip()
        )
    if len(rows) > MOST:
        yield f"… {len(rows) - MOST} more rows, to byte {rows[-1].end}"


def _words(row: Row) -> tuple[str, str]:
    if row.is_padding:
        return "  " * (row.depth - 1) + "(padding)", ""
    inner = row.name.partition(".")[2] or row.name
    mark = "  <- crosses a cache line" if row.crosses_line and row.size <= 64 else ""
    return "  " * (row.depth - 1) + clipped(inner), clipped(short(row.type)) + mark


def _tail(layout: Layout) -> Iterator[str]:
    best = layout.optimal
    yield ""
    if best is None:
        yield "The order of the fields is already the best one."
    else:
        gains = [f"{_bytes(best.saves_bytes)} a value"] if best.saves_bytes else []
        gains += [f"{_bytes(best.saves_heap_bytes)} on the heap"] if best.saves_heap_bytes else []
        gains += [f"{_bytes(best.saves_ptr_bytes)} less to scan"] if best.saves_ptr_bytes > 0 else []
        yield f"A better order saves {', '.join(gains)} ({_bytes(best.size)}, {best.ptr_bytes} scanned):"
        yield "  " + ", ".join(best.order)
        if best.saves_ptr_bytes < 0:
            yield f"  but {_bytes(-best.saves_ptr_bytes)} more are scanned"
    if layout.unkeyed:
        yield f"note: values without field names would break: {', '.join(layout.unkeyed[:3])}"
    yield from (f"note: {warning}" for warning in layout.warnings[:3])


def clipped(text: str, most: int = NARROW) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _bytes(count: int) -> str:
    return f"{count:,} byte{'' if count == 1 else 's'}"
