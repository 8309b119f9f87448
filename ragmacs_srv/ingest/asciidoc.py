"""Turn the text of an AsciiDoc file into a title and the headings and blocks of its page, links included.

The ids of headings are those that Asciidoctor gives them. What stands under a condition is read whether it holds or
not; other files are not put in, but named.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from .dom import clear, fenced, line
from .sections import Heading, Piece

_TITLE: Final = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*)")
_UNDERLINE: Final = re.compile(r"(=+|-+|~+|\^+|\++)")
_RANKS: Final = "=-~^+"
_ENTRY: Final = re.compile(r":(!?[\w-]+!?):(?:[ \t]+(.*))?")
_BRACKETS: Final = re.compile(r"\[(?:\[([^\[\],]+)(?:,.*)?\]|(.*))\]")
_FENCE: Final = re.compile(r"-{4,}|\.{4,}|\+{4,}|/{4,}|(```+)[ \t]*([\w+#.-]*)[^`]*")
_TABLE: Final = re.compile(r"([|,:!])={3,}")
_FRAME: Final = re.compile(r"={4,}|\*{4,}|_{4,}|--|~{4,}")  # of blocks that hold blocks
_CONDITION: Final = re.compile(r"(?:ifn?def|ifeval|endif)::[^\[]*\[(.*)\]")
_INCLUDE: Final = re.compile(r"\\?include::([^\[]+)\[.*\]")
_MACRO: Final = re.compile(r"(\w+)::(\S*?)\[(.*)\]")
_RULE: Final = re.compile(r"'{3,}|<{3,}|-{3}|\*{3}|- - -|\* \* \*|\+")
_ITEM: Final = re.compile(r"[ \t]*(\*{1,6}|-|\.{1,6}|\d+\.|<(?:\d+|\.)>)[ \t]+(?:\[([ xX*])\][ \t]+)?(\S.*)")
_TERM: Final = re.compile(r"[ \t]*(\S.*?)(?:::+|;;)(?:[ \t]+(.*))?")
_CELL: Final = re.compile(r"(?:(?:(?<=\s)|^)(?:\d*\.?\d+[*+])?(?:\.?[<^>]){0,2}[a-z]?)?(?<!\\)\|", re.M)
_COLUMNS: Final = re.compile(r"cols=(?:\"([^\"]*)\"|([^,\]]*))")

_CODE: Final = re.compile(r"(`{1,2})(?=\S)([^\n]{0,300}?\S)\1(?!\w)")
_ADDRESS: Final = re.compile(
    r"(?:link:(?:\+\+)?)?(\b(?:https?|ftp)://[^\s\[\]<>]{1,2000}+|(?<=link:)[^\s\[\]]{1,2000}+)\[([^\[\]]*)\]"
)
_BARE: Final = re.compile(r"https?://[^\s\[\]<>]+")
_CROSS: Final = re.compile(r"<<#?([^<>,]+)(?:,[ ]*([^<>]+))?>>|xref:([^\s\[\]]{1,200})\[([^\[\]]*)\]")
_INLINE: Final = re.compile(
    r"(?:kbd|btn|pass|stem|latexmath|asciimath|footnote|footnoteref|icon|image|menu):([^\s\[\]:]*)\[([^\[\]]*)\]"
)
_UNSEEN: Final = re.compile(
    r"\[\[[^\[\]]*\]\]|anchor:[^\s\[\]]{1,200}\[[^\]]*\]|\(\(\([^()]*\)\)\)|\[[.#%][\w.#%-]*\](?=[#*_`])"
)
_QUOTED: Final = re.compile(r"([\"'])`(?=\S)([^`]{0,300}?\S)`\1")
_TERMS: Final = re.compile(r"\(\(([^()]+)\)\)")
_EMPHASIS: Final = re.compile(
    r"(?<![\w\\*_#+])([*_#+])(?=\S)([^*_#+\n]*?\S)\1(?!\w)|([*_#+])\3(?=\S)([^*_#+\n]*?\S)\3\3"
)
_ATTRIBUTE: Final = re.compile(r"\\?\{([\w-]+)\}")
_INVALID: Final = re.compile(r"[^ \w.-]")
_GIVEN: Final = {
    "amp": "&", "apos": "'", "asterisk": "*", "backslash": "\\", "backtick": "`", "caret": "^", "cpp": "C++",
    "empty": "", "endsb": "]", "gt": ">", "ldquo": "“", "lsquo": "‘", "lt": "<", "nbsp": " ", "plus": "+",
    "quot": '"', "rdquo": "”", "rsquo": "’", "sp": " ", "startsb": "[", "tilde": "~", "vbar": "|", "zwsp": "",
}  # fmt: skip


@dataclass
class AsciiDoc:
    """What an AsciiDoc text holds: `title` or "", `parts` in order, the addresses in it, the files to be put in."""

    title: str = ""
    parts: list[Heading | Piece] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    included: list[str] = field(default_factory=list)


def read(text: str) -> AsciiDoc:
    """Read TEXT; every heading has an anchor."""
    found = AsciiDoc()
    _Reader(found, clear(text).split("\n")).read()
    found.links = list(dict.fromkeys(found.links))
    found.included = list(dict.fromkeys(found.included))
    return found


@dataclass
class _Reader:
    """The state between two blocks: where we are, and what was said about the block that comes."""

    doc: AsciiDoc
    lines: Sequence[str]
    at: int = 0
    attributes: dict[str, str] = field(default_factory=lambda: dict(_GIVEN))
    _ids: set[str] = field(default_factory=set)
    _same: Counter[str] = field(default_factory=Counter)
    _id: str = ""  # of the next block
    _style: str = ""  # of the next block: what stands first between its brackets
    _options: str = ""
    _label: str = ""  # NOTE and its like, for the next paragraph

    def read(self) -> None:
        while self.at < len(self.lines):
            self._block()

    def _block(self) -> None:
        """Read what begins at this line."""
        text = self.lines[self.at].rstrip()
        if not text:
            self.at += 1
        elif not (self._about(text) or self._heading(text) or self._framed(text) or self._alone(text)):
            self._paragraph(text)

    def _about(self, text: str) -> bool:
        """A line that says something of the document, or of the block that comes."""
        if text.startswith("//") and not text.startswith("///"):
            self.at += 1
        elif condition := _CONDITION.fullmatch(text):
            self.at += 1
            if condition[1] and not text.startswith("ifeval"):
                self._put("paragraph", self._inline(condition[1]))
        elif included := _INCLUDE.fullmatch(text):
            self.at += 1
            self.doc.included.append(included[1])
        elif entry := _ENTRY.fullmatch(text):
            self._entry(entry[1], entry[2] or "")
        elif brackets := _BRACKETS.fullmatch(text):
            self.at += 1
            self._brackets(brackets[1] or "", brackets[2] or "")
        else:
            return False
        return True

    def _entry(self, name: str, value: str) -> None:
        self.at += 1
        while value.endswith("\\") and self.at < len(self.lines):
            value = f"{value[:-1].rstrip()} {self.lines[self.at].strip()}"
            self.at += 1
        if "!" in name:
            self.attributes.pop(name.strip("!"), None)
        else:
            self.attributes[name] = self._substituted(value)

    def _brackets(self, anchor: str, said: str) -> None:
        """`[[id]]`, `[#id.role]`, `[source,go]`, `[NOTE]`: what is said of the next block."""
        named = re.match(r"[\w-]*#([^,.%\s]+)", said) or re.search(r"\bid=[\"']?([^\"',\s]+)", said)
        self._id = anchor or (named[1] if named else "") or self._id
        if style := re.split(r"[#.%,]", said)[0].strip():
            self._style = style
        self._options = f"{self._options},{said}" if self._options else said
        if self._style.isupper():
            self._label, self._style = self._style, ""

    def _heading(self, text: str) -> bool:
        title = _TITLE.fullmatch(text)
        under = self.lines[self.at + 1].rstrip() if self.at + 1 < len(self.lines) else ""
        if title:
            level, name, used = len(title[1]), title[2].removesuffix(f" {title[1]}"), 1
        elif _UNDERLINE.fullmatch(under) and abs(len(under) - len(text)) < 2 < len(text) and re.match(r"\w", text):
            level, name, used = _RANKS.index(under[0]) + 1, text, 2
        else:
            return False
        self.at += used
        anchored = re.search(r"\[\[([^\[\],]+)[^\[\]]*\]\]\s*$", name)
        shown = self._inline(name).replace("`", "")
        if level == 1 and not self.doc.title and not self.doc.parts:
            self.doc.title = shown
            self._header()
        elif shown:
            anchor = self._id or (anchored[1] if anchored else "") or self._generated(shown)
            self._ids.add(anchor)
            self.doc.parts.append(Heading(level, shown, re.sub(r"[\s<>#]", "_", anchor)))
        self._forget()
        return True

    def _header(self) -> None:
        """The lines below the title of the document: who wrote it, its revision, attributes."""
        while self.at < len(self.lines) and (text := self.lines[self.at].rstrip()):
            if not self._about(text):
                self.at += 1
                self._put("paragraph", self._inline(text))

    def _generated(self, title: str) -> str:
        """As Asciidoctor makes the id of a section."""
        mark = self.attributes.get("idseparator", "_")[:1]
        slug = self.attributes.get("idprefix", "_") + _INVALID.sub("", title.lower())
        slug = re.sub(r"[ .-]+", mark, slug) if mark else slug.replace(" ", "")
        if mark:
            slug = re.sub(f"{re.escape(mark)}+", mark, slug).removesuffix(mark)
            slug = slug if self.attributes.get("idprefix", "_") else slug.removeprefix(mark)
        free, stem = slug, slug + mark
        while free in self._ids:
            self._same[stem] += 1
            free = f"{stem}{self._same[stem] + 1}"
        return free

    def _framed(self, text: str) -> bool:
        """A block between two lines of delimiters."""
        if fence := _FENCE.fullmatch(text):
            self._verbatim(fence[1] or text, fence[2] or "")
        elif table := _TABLE.fullmatch(text):
            self._table(text, table[1])
        elif _FRAME.fullmatch(text):
            self.at += 1
            self._put("paragraph", f"{self._label}:" if self._label else "")
            self._forget()
        else:
            return False
        return True

    def _verbatim(self, fence: str, language: str) -> None:
        self.at += 1
        body = list(takewhile(lambda each: each.rstrip() != fence, self._following()))
        self.at += len(body) + 1
        self.doc.included += [found[1] for each in body if (found := _INCLUDE.fullmatch(each.strip()))]
        if fence.startswith("/"):
            self._forget()
            return
        self._code(body, language)

    def _following(self) -> Iterator[str]:
        """The lines from here on, none of them copied."""
        return (self.lines[n] for n in range(self.at, len(self.lines)))

    def _code(self, body: Sequence[str], language: str = "") -> None:
        said = [each.strip() for each in self._options.split(",")]
        if not language and len(said) > 1 and said[0].partition("%")[0] in ("source", "") and "=" not in said[1]:
            language = said[1]
        text = "\n".join(body)
        if text.strip():
            self._put("code", fenced(text, language.lower()))
        self._forget()

    def _alone(self, text: str) -> bool:
        """A line that is a block by itself, or begins one that is no paragraph."""
        if _RULE.fullmatch(text):
            self.at += 1
        elif re.match(r"\.[^\s.]", text):
            self.at += 1
            self._put("paragraph", self._inline(text[1:]))
        elif macro := _MACRO.fullmatch(text):
            self.at += 1
            self._macro(macro[1], macro[2], macro[3])
        elif item := _ITEM.fullmatch(text):
            self.at += 1
            self._item(item)
        elif (term := _TERM.fullmatch(text)) and not text.startswith(("http:", "https:")):
            self.at += 1
            self._put("paragraph", self._inline(term[1]))
            if said := [*([term[2]] if term[2] else ()), *self._rest()]:
                self._put("item", f": {self._inline(' '.join(said))}")
            self._forget()
        elif text[0] in " \t" or self._style in ("source", "listing", "literal", "verse", "stem"):
            body = list(takewhile(str.strip, self._following()))
            self.at += len(body)
            margin = min(len(each) - len(each.lstrip()) for each in body)
            self._code([each[margin:] for each in body])
        else:
            return False
        return True

    def _macro(self, name: str, target: str, said: str) -> None:
        shown = said.partition(",")[0].strip().strip('"')
        if name == "image" and shown:
            self._put("image", f"[image: {self._inline(shown)}]")
        elif name not in ("toc", "image", "video", "audio") and (text := self._inline(shown or target)):
            self._put("paragraph", text)

    def _item(self, item: re.Match[str]) -> None:
        mark, box, said = item.groups()
        text = self._inline(" ".join([said, *self._rest()]))
        deep = "  " * (len(mark) - 1 if mark[0] in "*." else 0)
        shown = mark if mark[0].isdigit() else "1." if mark[0] == "." else f"{mark[1:-1]}." if mark[0] == "<" else "-"
        ticked = "" if box is None else "[ ] " if box == " " else "[x] "
        self._put("item", f"{deep}{shown} {ticked}{text}")
        self._forget()

    def _rest(self) -> list[str]:
        """The lines that go on with an item: up to an empty one, or what begins something else."""
        found = []
        while self.at < len(self.lines) and (text := self.lines[self.at].strip()):
            if self._begins(text):
                break
            found.append(text)
            self.at += 1
        return found

    def _begins(self, text: str) -> bool:
        """Whether a line within an item is the beginning of something else."""
        return _breaks(text) or any(each.fullmatch(text) for each in (_ITEM, _TERM, _RULE))

    def _paragraph(self, text: str) -> None:
        lines = [text]
        self.at += 1
        while self.at < len(self.lines) and (text := self.lines[self.at].strip()) and not _breaks(text):
            if not re.match(r"//(?!/)", text):
                lines.append(text)
            self.at += 1
        label = f"{self._label}: " if self._label else ""
        self._put("paragraph", label + self._inline(" ".join(re.sub(r"\s\+$", "", each).strip() for each in lines)))
        self._forget()

    def _table(self, end: str, mark: str) -> None:
        self.at += 1
        body = list(takewhile(lambda each: each.rstrip() != end, self._following()))
        self.at += len(body) + 1
        form = re.search(r"format=[\"']?(\w+)", self._options)
        kind = form[1] if form else {",": "csv", ":": "dsv"}.get(mark, "psv")
        for row in _rows(body, kind, self._columns(), mark):
            if cells := [self._inline(" ".join(each.split())) for each in row]:
                self._put("row", f"| {' | '.join(cells)} |")
        self._forget()

    def _columns(self) -> int:
        """How many columns were said, or 0."""
        if not (said := _COLUMNS.search(self._options)):
            return 0
        counts = [re.match(r"\s*(\d+)\*", each) for each in re.split(r"[,;]", said[1] or said[2] or "")]
        return sum(min(int(each[1][:3]), 100) if each else 1 for each in counts)

    def _put(self, kind: str, text: str) -> None:
        if text.strip():
            self.doc.parts.append(Piece(kind, text))  # type: ignore[arg-type]

    def _forget(self) -> None:
        self._id = self._style = self._options = self._label = ""

    def _substituted(self, text: str) -> str:
        return _ATTRIBUTE.sub(lambda found: self.attributes.get(found[1].lower(), found[0].removeprefix("\\")), text)

    def _inline(self, text: str) -> str:
        """TEXT with links as their words and code between backticks; the addresses are noted."""
        text = self._substituted(text)
        self.doc.links += [each[0].rstrip(".,;:!?)").partition("#")[0] for each in _BARE.finditer(text)]
        text = _QUOTED.sub(r"\1\2\1", text)
        parts: list[str] = []
        at = 0
        for code in _CODE.finditer(text):
            said = code[2].strip("+") if code[2].startswith("+") else code[2]
            parts += (_prose(text[at : code.start()]), f"`{said}`" if said and "`" not in said else code[2])
            at = code.end()
        return line("".join([*parts, _prose(text[at:])]))


def _breaks(text: str) -> bool:
    """Whether a line ends the paragraph before it."""
    return text == "+" or any(
        each.fullmatch(text) for each in (_FENCE, _TABLE, _FRAME, _BRACKETS, _CONDITION, _INCLUDE)
    )


def _prose(text: str) -> str:
    """TEXT, in which there is no code, without its markup."""
    text = _UNSEEN.sub("", text)
    text = _ADDRESS.sub(lambda found: found[2].partition(",")[0].strip('^"') or found[1], text)
    text = _CROSS.sub(lambda found: found[2] or found[4] or found[1] or found[3], text)
    text = _INLINE.sub(lambda found: " ".join(filter(None, found.groups())), text)
    text = _TERMS.sub(r"\1", text)
    return _EMPHASIS.sub(lambda found: found[2] or found[4], text)


def _rows(body: Sequence[str], kind: str, columns: int, mark: str) -> Iterator[Sequence[str]]:
    """The cells of each row of a table."""
    if kind in ("csv", "tsv", "dsv"):
        delimiter = {"csv": ",", "tsv": "\t", "dsv": ":"}[kind]
        try:
            yield from list(csv.reader(body, delimiter=delimiter))
        except csv.Error:
            yield from ([each] for each in body)
        return
    text = "\n".join(body)
    first, *cells = _CELL.split(text.replace("!", "|") if mark == "!" else text)
    if first.strip():
        yield [first]
    if not columns:
        head = next((each for each in body if each.strip()), "")
        columns = max(len(_CELL.findall(head)), 1)
    for n in range(0, len(cells), columns):
        yield [each.strip().replace("\\|", "|") for each in cells[n : n + columns]]
