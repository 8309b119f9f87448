"""Turn a man page, as `man` prints it, into the headings and blocks of its page.

Printed without limits to its width, each paragraph is one line; the columns say what the lines are: headings stand in
the first, those of a lower rank in the fourth, and what a tag means stands deeper than the tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from textwrap import dedent
from typing import Final, NamedTuple

from ..model import BlockKind
from .dom import clear, fenced, line
from .sections import Heading, Piece

SUBHEADING: Final = 4  # columns: text stands deeper
NARROWEST: Final = 70  # columns of a line that was filled
WIDEST_TAG: Final = 40  # columns of a tag beside what it means
LONGEST: Final = 500  # lines that one block can have: what is looked at again for each line of a list without end
LONGEST_TAG: Final = 160  # letters of one above it
LONGEST_NAME: Final = 100  # letters of the description that goes into the title

_OVERSTRUCK: Final = re.compile(r".\x08|\x1b\[[\d;]*m")
_MARGIN: Final = re.compile(r"\S.*\s{3,}\S")  # the first and the last line: names at their ends
_SUMMARY: Final = re.compile(r".+?\s(?:-{1,2}|[–—−])\s+(.+)")
_TAG: Final = re.compile(rf"(\S(?:.{{0,{WIDEST_TAG}}}?\S)?)( {{2,}})(?=\S)")
_SHORT: Final = re.compile(  # a bullet, or an option that just fits into the seven columns of a tag
    r"([•·∙◦*–—-]|\d{1,3}[.)]|-(?=.{5} \S)\S*(?=(?<=^.{6}) ))( )(?=\S)"
)
_SENTENCE: Final = re.compile(r"[.!?][\"')\]’”]*$")
_BULLET: Final = re.compile(r"[•·∙◦o*+–—−-]|(\d{1,3})[.)]")
_WORD: Final = re.compile(r"[\"'(“‘]*[A-Za-z][\w’'/-]*[)\"'”’]*[.,;:!?]*")
_CODE: Final = re.compile(r"[;{}\\]$|^[#$%{}]|^/\*")
_UNLINKABLE: Final = re.compile(r"[\s<>#]+")


class _Line(NamedTuple):
    """A line that is not blank: the columns before its text, and the text."""

    indent: int
    text: str

    @property
    def end(self) -> int:
        return self.indent + len(self.text)


def read(printed: str) -> tuple[str, list[Heading | Piece]]:
    """What PRINTED says that its subject is, or ""; and its headings and blocks."""
    lines = _lines(printed)
    width = max((each.end for each in lines if each), default=0)
    reader = _Reader(max(width, NARROWEST))
    for run in _runs(lines):
        reader.take(run)
    parts = reader.end()
    first = next((each.text for each in parts if isinstance(each, Piece)), "")
    summary = _SUMMARY.fullmatch(first)
    return (summary[1] if summary and len(summary[1]) <= LONGEST_NAME else ""), parts


def anchor(heading: str) -> str:
    """HEADING as the fragment that leads to it: blanks are underscores, as mandoc has them."""
    return _UNLINKABLE.sub("_", heading)


def _lines(printed: str) -> list[_Line | None]:
    """The lines of a page without the titles that stand above and below it; None for blank ones."""
    plain = clear(_OVERSTRUCK.sub("", printed)).expandtabs()
    lines = [
        _Line(len(each) - len(each.lstrip()), each.strip()) if each.strip() else None for each in plain.split("\n")
    ]
    said = [n for n, each in enumerate(lines) if each]
    for n in {*said[:1], *said[-1:]}:
        each = lines[n]
        if each and each.indent == 0 and _MARGIN.match(each.text):
            lines[n] = None
    return lines


def _runs(lines: Sequence[_Line | None]) -> Iterator[list[_Line]]:
    """The lines between blank ones, each heading alone."""
    run: list[_Line] = []
    for each in [*lines, None]:
        if run and (each is None or each.indent < SUBHEADING or run[-1].indent < SUBHEADING):
            yield run
            run = []
        if each:
            run.append(each)


class _Reader:
    """What is known between two lines: the columns at which text stands, outermost first."""

    def __init__(self, width: int) -> None:
        self._width = width  # of a line that is full
        self._parts: list[Heading | Piece] = []
        self._anchors: dict[str, int] = {}
        self._columns: list[int] = []
        self._verbatim = False  # in the synopsis
        self._defines = False  # a tag stands above, and the next paragraph says what it means
        self._example: list[str] = []

    def take(self, run: Sequence[_Line]) -> None:
        """Read the lines between two blank ones."""
        if run[0].indent < SUBHEADING:
            self._heading(run[0])
        elif self._verbatim:
            self._code(run)
        else:
            at = 0
            while at < len(run):
                at += self._block(run[at : at + LONGEST])

    def end(self) -> list[Heading | Piece]:
        """All that was read."""
        if self._example:
            code, self._example = dedent("\n".join(self._example)), []
            self._parts.append(Piece("code", fenced(code)))
        return self._parts

    def _heading(self, each: _Line) -> None:
        name = anchor(each.text)
        self._anchors[name] = count = self._anchors.get(name, 0) + 1
        level = 3 if each.indent else 2
        self.end().append(Heading(level, each.text, name if count == 1 else f"{name}~{count}"))
        self._columns, self._defines = [], False
        self._verbatim = level == 2 and each.text.casefold() == "synopsis"

    def _block(self, rest: Sequence[_Line]) -> int:
        """Read the first block of REST; returns how many lines it has."""
        first = rest[0]
        while self._columns and first.indent < self._columns[-1]:
            self._columns.pop()
            self._defines = False
        if not self._columns:
            self._columns.append(first.indent)
        same = len(list(takewhile(lambda each: each.indent == first.indent, rest)))
        below = rest[same] if same < len(rest) else None
        if tagged := _tagged(first, rest[1:2]):
            return self._beside(tagged, first, rest)
        if below and below.indent > first.indent and max(len(each.text) for each in rest[:same]) <= LONGEST_TAG:
            return self._code(rest) if self._is_code(rest) else self._above(rest[:same], below.indent)
        if same == 1 or self._is_filled(rest[:same]):
            return self._paragraph(rest[:same])
        return self._code(rest)

    def _beside(self, tagged: re.Match[str], first: _Line, rest: Sequence[_Line]) -> int:
        """Read a tag, and what it means as far as it stands in the same lines."""
        column = first.indent + tagged.end()
        count = 1 + len(list(takewhile(lambda each: each.indent == column, rest[1:])))
        text = line(" ".join([first.text[tagged.end() :], *(each.text for each in rest[1:count])]))
        if bullet := _BULLET.fullmatch(tagged[1]):
            self._add("item", f"{f'{bullet[1]}.' if bullet[1] else '-'} {text}")
        else:
            self._add("paragraph", _marked(tagged[1]))
            self._add("item", f": {text}")
        self._columns.append(column)
        return count

    def _above(self, tags: Sequence[_Line], column: int) -> int:
        """Read tags whose meaning stands in the lines below."""
        self._add("paragraph", ", ".join(_marked(each.text) for each in tags))
        self._columns.append(column)
        self._defines = True
        return len(tags)

    def _paragraph(self, lines: Sequence[_Line]) -> int:
        text = line(" ".join(each.text for each in lines))
        if self._defines:
            self._add("item", f": {text}")
            self._defines = False
        elif lines[0].indent > self._columns[-1] and not _is_sentence(text):
            self._code(lines)
        else:
            self._add("paragraph", text)
        return len(lines)

    def _code(self, lines: Sequence[_Line]) -> int:
        """Lines as they are, together with those before them where nothing stands between."""
        self._example += [*([""] if self._example else []), *(" " * each.indent + each.text for each in lines)]
        return len(lines)

    def _is_filled(self, lines: Sequence[_Line]) -> bool:
        """Whether LINES are one paragraph that was too long for a line."""
        return all(one.end + 1 + len(other.text.split()[0]) > self._width - 5 for one, other in pairwise(lines))

    def _is_code(self, run: Sequence[_Line]) -> bool:
        return run[0].indent > self._columns[-1] or any(_CODE.search(each.text) for each in run)

    def _add(self, kind: BlockKind, text: str) -> None:
        self.end().append(Piece(kind, text))


def _tagged(first: _Line, after: Sequence[_Line]) -> re.Match[str] | None:
    """The tag that FIRST begins with, what it means beside it, if one does: a sentence may end in two blanks, too."""
    found = _TAG.match(first.text) or _SHORT.match(first.text)
    if not found or (len(found[2]) == 2 and _SENTENCE.search(found[1])):
        return None
    column = first.indent + found.end()
    return found if not after or after[0].indent in {column, first.indent} or after[0].indent < column else None


def _marked(tag: str) -> str:
    """TAG, as code where it is an option."""
    return f"`{tag}`" if tag.startswith("-") and "`" not in tag else line(tag)


def _is_sentence(text: str) -> bool:
    words = text.split()
    share = sum(bool(_WORD.fullmatch(each)) for each in words) / len(words)
    return share == 1 or (share >= 0.5 and len(words) > 3 and bool(_SENTENCE.search(text)))
