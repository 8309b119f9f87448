"""Turn the lines of an Info node into a heading and Markdown blocks.

Info is plain text that was filled for a terminal; what a line is, its indentation tells: text stands at that of its
surroundings, the first line of a paragraph three columns in, what belongs to an item or to a definition five, and
examples five more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile
from textwrap import dedent
from typing import Final, NamedTuple

from ..model import BlockKind
from .dom import fenced, line
from .sections import Piece

STEP: Final = 5  # columns from one level to the next
FILLED: Final = 66  # columns that a line of a filled paragraph has, with the first word of the next line
LONGEST: Final = 1000  # lines that one block can have: what is looked at again for each line of a list without end
PROSE: Final = 0.8  # of the words of an indented block are words: it is a quotation, and no example

_UNDERLINE: Final = re.compile(r"([*=.-])\1+")
_LEVELS: Final = {"*": 2, "=": 2, "-": 3, ".": 4}
_NUMBER: Final = re.compile(r"(?:Appendix [A-Z]|\d+|[A-Z](?=\.\d))(?:\.\d+)*\.? +(?=\S)")
_DEFINITION: Final = re.compile(r"-- ([^:]+): *(.*)")
_ITEM: Final = re.compile(r"(?:[•‣◦▪*+-]|(\d{1,3}|[a-z])[.)]) +(?=\S)")
_COLUMNS: Final = re.compile(r"\S {3,}\S")
_FOOTNOTES: Final = re.compile(r" *-+ Footnotes? -+")
_MARK: Final = re.compile("\0\x08\\[[^\0]*\0\x08\\]")  # of an image, or of an index
_MENU: Final = re.compile(r"\* Menu:", re.I)
_ENTRY: Final = re.compile(r"\* ([^\n]{1,300}?):(?::|\s[^.,\t\n]*[.,\t]?)(.*)", re.S)
_INDEXED: Final = re.compile(r"\(line +\d+\)")
_NOTE: Final = re.compile(
    r"(?P<before>(?:^|[(;,.:]) ?)?\*(?P<note>[Nn])ote (?P<label>[^:]{1,200}?)"
    r"(?:::|: (?P<manual>\([^)]{1,80}\))?(?:\x7f[^\x7f]+\x7f|[^.,\x7f]{0,200}))"
)
_QUOTED: Final = re.compile(r"‘(\s*+[^‘’`]++)’")
_QUOTED_ASCII: Final = re.compile(r"(?<![\w`'])[`']([^\s'`]+)'(?!\w)")
_WORD: Final = re.compile(r"[“‘(]*[A-Za-z][\w’'-]*[”’)]*[.,;:!?]*[”’)]*|[—–]")


class _Line(NamedTuple):
    """A line that is not blank: the columns before its text, and the text."""

    indent: int
    text: str


def read(lines: Sequence[str]) -> tuple[str, list[Piece]]:
    """The heading that LINES begin with, its number left out, or ""; and the blocks below it.

    The menu is left out where there is other text: its entries are the headings of other nodes. Of an index only the
    number of its entries is told: what it names is found in the nodes that it leads to.
    """
    text, menu = _divided([_MARK.sub("", each).expandtabs().rstrip() for each in lines])
    reader = _Reader()
    for run in _runs(text):
        reader.take(run)
    pieces, heading = reader.end(), ""
    if pieces and pieces[0].kind == "heading":
        heading = _NUMBER.sub("", pieces.pop(0).text.lstrip("# "), count=1)
    return heading, pieces or _entries(menu)


def inline(text: str) -> str:
    """TEXT on one line, with cross references as words and what is quoted as code between backticks."""
    text = line(text)
    if "*note" in text or "*Note" in text:
        text = _NOTE.sub(_named, text)
    quoted = _QUOTED if "‘" in text else _QUOTED_ASCII
    return quoted.sub(r"`\1`", text)


def _named(found: re.Match[str]) -> str:
    """A cross reference as Emacs shows it: "see" stands before it, unless the sentence says that itself."""
    before = found["before"]
    label, manual = found["label"], found["manual"] or ""
    if label.startswith("(") and ")" in label:  # *note (emacs)Defining Abbrevs::
        manual, _, label = label.partition(")")
        manual += ")"
    see = ("See " if found["note"] == "N" else "see ") if before is not None or found["note"] == "N" else ""
    return f"{before or ''}{see}{label or 'Top'}{f' {manual}' if manual else ''}"


def _divided(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands around the menu in LINES, and the menu."""
    start = next((n for n, each in enumerate(lines) if _MENU.match(each)), None)
    if start is None:
        return list(lines), []
    last = max(n for n, each in enumerate(lines) if each.startswith("* ") and n >= start)
    end = next((n for n in range(last, len(lines)) if not lines[n]), len(lines))
    return [*lines[:start], "", *lines[end:]], list(lines[start + 1 : end])


def _entries(menu: Sequence[str]) -> list[Piece]:
    """What the entries of MENU say; of an index only how many there are."""
    found: list[str] = []
    for each in menu:
        if each.startswith("* "):
            found.append(each)
        elif found and each.startswith(" "):
            found[-1] += "\n" + each
    if sum(bool(_INDEXED.search(each)) for each in found) > len(found) / 2:
        return [Piece("paragraph", f"An index of {len(found)} entries.")]
    matches = (_ENTRY.fullmatch(each) for each in found)
    named = ((inline(each[1]), inline(each[2])) for each in matches if each)
    return [Piece("item", f"- {name}: {words}" if words else f"- {name}") for name, words in named]


def _runs(lines: Sequence[str]) -> Iterator[list[_Line]]:
    """The lines between blank ones."""
    run: list[_Line] = []
    for each in lines:
        if text := each.lstrip():
            run.append(_Line(len(each) - len(text), text))
        elif run:
            yield run
            run = []
    if run:
        yield run


class _Reader:
    """What is known between two lines: the columns at which text stands, outermost first."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._columns = [0]
        self._defines = False  # a term stands above, and the next paragraph says what it is
        self._example: list[str] = []  # lines, blank ones between them too

    def take(self, run: Sequence[_Line]) -> None:
        """Read the lines between two blank ones."""
        at = 0
        while at < len(run):
            while len(self._columns) > 1 and run[at].indent < self._columns[-1]:
                self._columns.pop()
                self._defines = False
            at += self._block(run[at : at + LONGEST])

    def end(self) -> list[Piece]:
        """The blocks of all that was read."""
        if self._example:
            code, self._example = dedent("\n".join(self._example)), []
            self._pieces.append(Piece("code", fenced(code)))
        return self._pieces

    def _block(self, rest: Sequence[_Line]) -> int:
        """Read the first block of REST; returns how many lines it has."""
        first, beyond = rest[0], rest[0].indent - self._columns[-1]
        if len(rest) > 1 and _underlined(*rest[:2]):
            heading = _QUOTED.sub(r"\1", line(first.text))
            self._add("heading", f"{'#' * _LEVELS[rest[1].text[0]]} {heading}")
            return 2
        if _FOOTNOTES.fullmatch(first.text):
            return 1
        if beyond == 1 and (definition := _DEFINITION.fullmatch(first.text)):
            return self._definition(definition, rest)
        if 0 < beyond < STEP and (item := _ITEM.match(first.text)):
            return self._item(item, rest)
        return self._text(rest) if beyond < STEP - 1 else self._indented(rest)

    def _definition(self, found: re.Match[str], rest: Sequence[_Line]) -> int:
        """Read what a function or the like is called, and note that what it does stands below."""
        column = self._columns[-1] + STEP
        count = 1 + _leading(each.indent > column for each in rest[1:])
        name = line(" ".join([found[2], *(each.text for each in rest[1:count])]))
        self._add("item", f"- {found[1]}: " + (f"`{name}`" if "`" not in name else name))
        self._columns.append(column)
        self._defines = True
        return count

    def _item(self, found: re.Match[str], rest: Sequence[_Line]) -> int:
        column = rest[0].indent + found.end()
        count = 1 + _leading(each.indent == column for each in rest[1:])
        text = inline(" ".join([rest[0].text[found.end() :], *(each.text for each in rest[1:count])]))
        self._add("item", f"{f'{found[1]}.' if found[1] else '-'} {text}")
        self._columns.append(column)
        return count

    def _text(self, rest: Sequence[_Line]) -> int:
        """Read a paragraph, a table, or the terms that the lines below explain."""
        first, column = rest[0], self._columns[-1]
        count = 1 + _leading(each.indent in {column, first.indent} and not _is_item(each, column) for each in rest[1:])
        lines, below = rest[:count], rest[count:]
        if count > 1 and sum(bool(_COLUMNS.search(each.text)) for each in lines) * 2 >= count:
            self._verbatim(lines)
        elif below and first.indent == column == below[0].indent - STEP and _are_terms(lines, below):
            self._add("paragraph", ", ".join(inline(each.text) for each in lines))
            self._columns.append(column + STEP)
            self._defines = True
        else:
            self._paragraph(lines)
        return count

    def _indented(self, rest: Sequence[_Line]) -> int:
        """Read an example, or a quotation."""
        count = _leading(each.indent >= self._columns[-1] + STEP - 1 for each in rest)
        lines = rest[:count]
        if len({each.indent for each in lines}) == 1 and _is_prose(lines):
            self._paragraph(lines)
        else:
            self._verbatim(lines)
        return count

    def _paragraph(self, lines: Sequence[_Line]) -> None:
        text = inline(" ".join(each.text for each in lines))
        if self._defines:
            self._add("item", f": {text}")
            self._defines = False
        else:
            self._add("paragraph", text)

    def _verbatim(self, lines: Sequence[_Line]) -> None:
        """Lines of code go with the example before them, if nothing stands between."""
        self._example += [*([""] if self._example else []), *(" " * each.indent + each.text for each in lines)]

    def _add(self, kind: BlockKind, text: str) -> None:
        self.end().append(Piece(kind, text))


def _leading(values: Iterable[bool]) -> int:
    """How many of VALUES are true before the first that is not."""
    return sum(1 for _ in takewhile(bool, values))


def _underlined(text: _Line, below: _Line) -> bool:
    under = _UNDERLINE.fullmatch(below.text)
    return bool(under) and text.indent == below.indent == 0 and abs(len(text.text) - len(below.text)) <= 2


def _is_item(each: _Line, column: int) -> bool:
    return each.indent > column and bool(_ITEM.match(each.text))


def _are_terms(lines: Sequence[_Line], below: Sequence[_Line]) -> bool:
    """Whether LINES are names that the text BELOW them explains; else they are a paragraph before an example."""
    if any(len(one.text) + 1 + len(other.text.split()[0]) > FILLED for one, other in pairwise(lines)):
        return False
    last = lines[-1].text
    if last.startswith("‘") and last.endswith("’"):
        return True
    return not last.endswith((":", ",")) and _wordy(below[:1]) >= PROSE


def _is_prose(lines: Sequence[_Line]) -> bool:
    """Whether LINES, which are indented like an example, are sentences all the same."""
    filled = all(len(one.text) + 1 + len(other.text.split()[0]) > FILLED - STEP for one, other in pairwise(lines))
    whole = lines[-1].text.endswith((".", ".)", ".”", ":", "?", "!"))
    return filled and whole and _wordy(lines) >= PROSE and sum(len(each.text.split()) for each in lines) >= 6


def _wordy(lines: Iterable[_Line]) -> float:
    """The share of words among what LINES have between blanks."""
    found = [each for part in lines for each in part.text.split()]
    return sum(bool(_WORD.fullmatch(each)) for each in found) / len(found)
