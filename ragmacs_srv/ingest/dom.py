"""Walk a cleaned element in reading order and give its headings and its blocks as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree
from lxml.etree import _Element

from .clean import HEADINGS, is_section
from .sections import Heading, Piece

_BLOCKS: Final = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html",
    "legend", "li", "main", "menu", "nav", "ol", "p", "search", "section", "summary", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
_CODE: Final = frozenset({"code", "kbd", "samp", "tt"})
_DEEPEST: Final = 8  # levels of lists that are shown: a thousand of them would be a megabyte of blanks
_CELLS: Final = frozenset({"td", "th"})

# What a reader cannot see but a model or a matcher would: controls, zero-width and bidirectional marks,
# the "tag" characters and variation selectors that can carry a hidden message.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffc\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_BLANKS: Final = re.compile(r"\s+")
_GLYPHS: Final = re.compile(r"[#¶§↩︎↑⚓🔗]+")
_TRAILING_GLYPH: Final = re.compile(r"\s*¶$|\s+[#§]$")  # a bare one; in "C#" it is none
_PERMALINK: Final = re.compile(r"(permalink|permanent link|direct link|link|anchor)( (to|for) .*)?", re.I)
_LANGUAGE: Final = re.compile(r"(?:language|lang|highlight-source|highlight|src)-([\w+#.-]{1,20})")
_EXPONENT: Final = re.compile(r"[-−+]?(\d+|[a-z])")


def clear(text: str) -> str:
    """TEXT without the characters nobody sees; line ends as one newline."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub("", text)


def line(text: str) -> str:
    """TEXT on one line."""
    return _BLANKS.sub(" ", clear(text)).strip()


def walk(root: _Element) -> Iterator[Heading | Piece]:
    """The headings and blocks of ROOT, in order. Iterative: pages nest deeper than Python recurses."""
    walker = _Walker()
    events: Any = etree.iterwalk(root, events=("start", "end"))
    for event, element in events:
        if event == "end":
            walker.leave(element)
            if element is not root:
                walker.inline.text(element.tail)
        elif walker.enter(element):
            walker.inline.text(element.text)
        else:
            events.skip_subtree()
        yield from walker.take()
    walker.end_block()
    yield from walker.take()


def heading_text(element: _Element) -> str:
    """The text of a heading without the link glyph that stands beside it."""
    return next((part.text for part in walk(element) if isinstance(part, Heading)), "")


class _Inline:
    """The text between two block borders, as it comes: white space collapses, code gets backticks."""

    def __init__(self) -> None:
        self.plain = False  # a heading is a name: no backticks in it
        self._parts: list[str] = []
        self._code_from = 0  # where in _parts the open code element began
        self._code_depth = 0
        self._code = ""  # the last code span without its backticks,
        self._code_end = 0  # and the place in _parts behind it; 0: there is none

    def text(self, text: str | None) -> None:
        if text:
            self._parts.append(_BLANKS.sub(" ", clear(text)))

    def line_break(self) -> None:
        self._parts.append("\n")

    @property
    def last(self) -> str:
        """The character before this place, or ""."""
        return self._parts[-1][-1:] if self._parts else ""

    def open_code(self) -> None:
        if self._code_depth == 0:
            self._code_from = len(self._parts)
        self._code_depth += 1

    def close_code(self) -> None:
        self._code_depth -= 1
        if self._code_depth == 0:
            self._wrap_code()

    def take(self) -> str:
        """What has come so far, trimmed; code that is still open goes on in the next block."""
        if self._code_depth:
            self._wrap_code()
            self._code_from = 0
        text = "".join(self._parts)
        self._parts.clear()
        self._code_end = 0
        return re.sub(r" *\n[ \n]*", "\n", re.sub(r" {2,}", " ", text)).strip()

    def _wrap_code(self) -> None:
        """Put backticks around what came since the code began; blanks at its ends stay outside.

        Spans that touch, or have but a blank between them, become one: `go` `list` `-json` is one command.
        """
        code = re.sub(r"\s+", " ", "".join(self._parts[self._code_from :]))
        inner = code.strip()
        if self.plain or not inner:
            return
        del self._parts[self._code_from :]
        between = "".join(self._parts[self._code_end :]) + (" " if code[0] == " " else "")
        if self._code_end and between in ("", " "):
            inner = f"{self._code}{between}{inner}"
            del self._parts[self._code_end - 1 :]
        elif code[0] == " ":
            self._parts.append(" ")
        self._code = inner
        self._parts.append(_code_span(inner))
        self._code_end = len(self._parts)
        if code[-1] == " ":
            self._parts.append(" ")


@dataclass(slots=True)
class _Frame:
    """An element whose blocks carry a prefix: an item, a definition, a quotation."""

    element: _Element
    marker: str  # before its first block
    indent: str  # before the others
    used: bool = False


@dataclass(slots=True)
class _Walker:
    """The walk's state: what is open, and what is finished but not yet taken."""

    inline: _Inline = field(default_factory=_Inline)
    _out: list[Heading | Piece] = field(default_factory=list)
    _later: list[Piece] = field(default_factory=list)  # found inside a line: they follow it
    _frames: list[_Frame] = field(default_factory=list)
    _lists: list[int] = field(default_factory=list)  # next number of each open list; -1: bullets
    _data_tables: list[bool] = field(default_factory=list)  # of each open table: rows, or mere layout
    _row: list[str] | None = None
    _heading: _Element | None = None  # open, its text still to come

    def take(self) -> list[Heading | Piece]:
        done, self._out = self._out, []
        return done

    def enter(self, element: _Element) -> bool:
        """Begin ELEMENT; False when that was all and its inside is not to be walked."""
        tag = element.tag
        if tag == "pre":
            self._code_block(element)
            return False
        if tag in HEADINGS:
            self.end_block()
            self._end_heading()  # broken HTML: one heading inside another
            self._heading = element
            self.inline.plain = True
        elif tag in _BLOCKS:
            self._border()
            self._open_block(element)
        elif tag in _CODE:
            self.inline.open_code()
        else:
            return self._enter_inline(element)
        return True

    def leave(self, element: _Element) -> None:
        """End ELEMENT."""
        tag = element.tag
        if tag in _CODE:
            self.inline.close_code()
        elif tag == "q":
            self.inline.text('"')
        elif tag in _CELLS and self._row is not None:
            self._row.append(self.inline.take().replace("\n", " "))
        elif tag in HEADINGS:
            self.end_block()
            self._end_heading()
        elif tag in _BLOCKS:
            self._border()
            self._close_block(element)

    def end_block(self) -> None:
        """Finish the paragraph, item or heading whose text has come, if any has."""
        text = self.inline.take()
        if text and self._heading is not None:
            self._end_heading(text)
        elif text:
            self._out.append(self._prefixed(text))
        self._out += self._later
        self._later.clear()

    def _end_heading(self, text: str = "") -> None:
        """Finish the open heading; even without text it is a place that a link can open."""
        if self._heading is not None:
            name = _TRAILING_GLYPH.sub("", text.replace("\n", " "))
            self._out.append(Heading(int(self._heading.tag[1]), name, _anchor(self._heading)))
        self._heading = None
        self.inline.plain = False

    def _border(self) -> None:
        """A block begins or ends here; inside a cell that is no more than a blank."""
        if self._row is None:
            self.end_block()
        else:
            self.inline.text(" ")

    def _enter_inline(self, element: _Element) -> bool:
        match element.tag:
            case "br":
                self.inline.line_break()
            case "q":
                self.inline.text('"')
            case "a" | "sup" if _is_sign(element):
                return False
            case "sup" if self.inline.last.isalnum() and _EXPONENT.fullmatch(_text(element)):
                self.inline.text("^")
            case "img":
                self._image(element)
            case "input":
                self.inline.text("[x] " if "checked" in element.attrib else "[ ] ")
        return True

    def _open_block(self, element: _Element) -> None:
        match element.tag:
            case "ul" | "menu" | "dir":
                self._lists.append(-1)
            case "ol":
                self._lists.append(_number(element.get("start"), 1))
            case "table":
                self._data_tables.append(_holds_data(element))
            case "tr" if self._data_tables and self._data_tables[-1]:
                self._row = []
            case "li" | "dd" | "blockquote" if self._row is None:
                self._open_frame(element)

    def _open_frame(self, element: _Element) -> None:
        if element.tag == "dd" and self._frames and self._frames[-1].element.tag == "dd":
            self._frames[-1] = _Frame(self._frames[-1].element, "", "")  # an unclosed dd: libxml2 nests them
        marker = self._marker(element)
        self._frames.append(_Frame(element, marker, "> " if marker == "> " else " " * len(marker)))

    def _close_block(self, element: _Element) -> None:
        if self._frames and self._frames[-1].element is element:
            self._frames.pop()
        match element.tag:
            case "ul" | "menu" | "dir" | "ol" if self._lists:
                self._lists.pop()
            case "table":
                self._data_tables.pop()
            case "tr" if self._row is not None:
                self._close_row(self._row)

    def _close_row(self, cells: list[str]) -> None:
        self._row = None
        rest = self.inline.take()  # text outside of any cell
        if any(cells):
            self._out.append(Piece("row", f"| {' | '.join(cells)} |"))
        if rest:
            self._out.append(self._prefixed(rest))
        self._out += self._later
        self._later.clear()

    def _marker(self, element: _Element) -> str:
        if element.tag == "blockquote":
            return "> "
        if element.tag == "dd":
            return ": "
        number = self._lists[-1] if self._lists else -1
        if number < 0:
            return "- "
        self._lists[-1] = number + 1
        return f"{number}. "

    def _prefixed(self, text: str) -> Piece:
        """TEXT under the markers of the items and quotations that are open here."""
        innermost = self._frames[-_DEEPEST:]
        first = "".join(frame.indent if frame.used else frame.marker for frame in innermost)
        rest = "".join(frame.indent for frame in innermost)
        fresh = any(not frame.used and frame.marker not in ("", "> ") for frame in self._frames)
        for frame in self._frames:
            frame.used = True
        return Piece("item" if fresh else "paragraph", first + text.replace("\n", "\n" + rest))

    def _code_block(self, element: _Element) -> None:
        code = clear("".join(map(str, element.itertext())))
        if not code.strip():
            return
        if self._row is None:
            self.end_block()
            self._out.append(Piece("code", fenced(code, _language(element))))
        else:
            self._later.append(Piece("code", fenced(code, _language(element))))

    def _image(self, element: _Element) -> None:
        alt = line(element.get("alt", ""))
        if alt:
            self._later.append(Piece("image", f"[image: {alt}]"))


def _anchor(heading: _Element) -> str:
    """The id that a link to HEADING needs: its own, or one that stands in it, before it, or around it."""
    for element in _bearers(heading):
        for name in (element.get("id"), element.get("name")):
            if name and name == clear(name) and not _BLANKS.search(name):
                return str(name)
    for link in heading.iter("a"):
        if (_is_sign(link) or not _text(link)) and re.fullmatch(r"#\S+", link.get("href", "")):
            return str(link.get("href"))[1:]
    return ""


def _bearers(heading: _Element) -> Iterator[_Element]:
    """The elements whose id may be meant for HEADING, the likeliest first."""
    yield heading
    yield from heading.iterdescendants("a", "span")
    before = heading.getprevious()
    if before is not None and before.tag in ("a", "span") and not _text(before) and not (before.tail or "").strip():
        yield before
    parent = heading.getparent()
    if parent is None:
        return
    if is_section(parent) and next(parent.iterchildren()) is heading:
        yield parent
    if "heading" in parent.get("class", ""):  # GitHub: <div class="markdown-heading"><h2/><a id/></div>
        yield from (sister for sister in heading.itersiblings("a") if not _text(sister))


def _is_sign(element: _Element) -> bool:
    """Whether ELEMENT is a footnote's number, or a mark that leads to the place where it stands."""
    if any(link.get("role") == "doc-noteref" or "footnote" in link.get("class", "") for link in element.iter("a")):
        return True
    text = _text(element)
    if element.tag != "a" or not element.get("href", "").startswith("#"):
        return False
    named = _PERMALINK.fullmatch(text) and next(element.iterancestors(*HEADINGS, "dt"), None) is not None
    return bool(_GLYPHS.fullmatch(text) or named)


def _text(element: _Element) -> str:
    return line("".join(map(str, element.itertext())))


def _holds_data(table: _Element) -> bool:
    """Whether TABLE is a table of rows, not a way to lay out blocks."""
    if table.get("role") == "presentation":
        return False
    return next(table.iterdescendants("table", *HEADINGS), None) is None


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text) else default


def _language(pre: _Element) -> str:
    """The language that the highlighter noted beside the code, for the fence."""
    parent = pre.getparent()
    for element in (pre, *pre.iterchildren("code"), *(() if parent is None else (parent,))):
        found = _LANGUAGE.search(element.get("class", ""))
        if found:
            return found[1].lower()
    return ""


def fenced(code: str, language: str = "") -> str:
    """CODE between fences longer than any run of backticks in it, not a character changed.

    A newline right after `<pre>` is not part of the code (HTML, 13.1.2.5); the fence's own stands in for it.
    """
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    body = code.removeprefix("\n")
    return f"{fence}{language}\n{body}" + ("" if body.endswith("\n") else "\n") + fence


def _code_span(code: str) -> str:
    """CODE between backticks, as CommonMark wants them around backticks."""
    if "`" not in code:
        return f"`{code}`"
    ticks = "`" * (1 + max(len(run) for run in re.findall("`+", code)))
    return f"{ticks} {code} {ticks}"
