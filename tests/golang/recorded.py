"""What Go 1.27.3 wrote of the programs in `recorded`: heap.go.txt under gctrace, leak.go.txt, and a deadlock."""

from __future__ import annotations

import re
from pathlib import Path

from ragmacs_srv.golang import profile
from ragmacs_srv.golang.profile import Profile

FOLDER = Path(__file__).parent / "recorded"
# A line of `go tool pprof -top`: flat, flat%, sum%, cum, cum%, function.
_ROW = re.compile(r"\s*(-?\d+)\w*\s+\S+%\s+\S+%\s+(-?\d+)\w*\s+\S+%\s+(.*)")
Rows = dict[str, tuple[int, int]]


def taken(name: str) -> Profile:
    return profile.read((FOLDER / name).read_bytes(), name)


def text(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def rows(top: str) -> Rows:
    """(flat, cum) by function, as TOP, the output of `go tool pprof -top`, has them."""
    found = map(_ROW.fullmatch, top.splitlines())
    return {row[3].removesuffix(" (inline)"): (int(row[1]), int(row[2])) for row in found if row}
