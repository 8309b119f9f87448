"""Turn the text of an Org file into a title and the headings and blocks of its page, links included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from .dom import clear, fenced, line
from .sections import Heading, Piece

_HEADING: Final = re.compile(
    r"(\*+) +(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED) +)?(?:\[#\w\] +)?(.*?)(?:\s+:[\w@#%:]+:)?\s*"
)
_BEGIN: Final = re.compile(r"\s*#\+begin_(\w+)(?:\s+([\w+-]+))?.*", re.I)
_END: Final = re.compile(r"\s*#\+end_(\w+)\s*", re.I)
_KEYWORD: Final = re.compile(r"\s*#\+(\w+)(?:\[.*?\])?:\s*(.*)", re.I)
_DRAWER: Final = re.compile(r"\s*:[\w-]+:\s*")
_PROPERTY: Final = re.compile(r"\s*:CUSTOM_ID:\s*(\S+)\s*", re.I)
_PLANNING: Final = re.compile(r"\s*(?:(?:SCHEDULED|DEADLINE|CLOSED):\s*[<\[].*)")
_ITEM: Final = re.compile(r"(\s*)(?:[-+]|(\d+)[.)]|(?<=\s)\*)\s+(?:\[@\d+\]\s*)?(?:\[([ X-])\]\s+)?(.*)")
_RULE: Final = re.compile(r"\s*\|[-+|]+\|?\s*")
_LINK: Final = re.compile(r"\[\[([^\[\]]+)\](?:\[([^\[\]]+)\])?\]")
_CODE: Final = re.compile(r"(?<![\w=~])([=~])(?=\S)([^\n]*?\S)\1(?!\w)")
_EMPHASIS: Final = re.compile(r"(?<![\w*/+])([*/+_])(?=\S)([^*/+_\n]*?\S)\1(?!\w)")
_FOOTNOTE: Final = re.compile(r"\[fn:[^\]]*\]")
_VERBATIM: Final = frozenset({"src", "example", "export"})


@dataclass
class Org:
    """What an Org text holds: `title` of its own or "", `parts` in order, and the addresses in it."""

    title: str = ""
    parts: list[Heading | Piece] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def read(text: str) -> Org:
    """Read TEXT. The anchors of headings are their CUSTOM_IDs, or ""."""
    found = Org()
    reader = _Reader(found)
    for each in clear(text).split("\n"):
        reader.take(each)
    reader.end()
    found.links = list(dict.fromkeys(found.links))
    return found


@dataclass
class _Reader:
    """The state between two lines."""

    org: Org
    _held: list[str] = field(default_factory=list)  # lines of the block that is open
    _kind: str = ""  # of that block: paragraph, item, fixed
    _marker: str = ""
    _block: str = ""  # name of the #+begin_ that is open and holds code
    _language: str = ""
    _drawer: bool = False

    def take(self, text: str) -> None:
        """Read one line."""
        if self._block:
            self._inside(text)
        elif self._drawer:
            self._in_drawer(text)
        elif heading := _HEADING.fullmatch(text):
            self.end()
            name = _plain(heading[2])
            self.org.parts.append(Heading(len(heading[1]), name, ""))
        elif begin := _BEGIN.fullmatch(text):
            self.end()
            if begin[1].lower() in _VERBATIM:
                self._block, self._language = begin[1].lower(), (begin[2] or "").lower()
        elif _END.fullmatch(text):
            self.end()
        elif _DRAWER.fullmatch(text):
            self._drawer = True
        else:
            self._text(text)

    def end(self) -> None:
        """Finish the open block."""
        lines, kind, self._held, self._kind = self._held, self._kind, [], ""
        if self._block:  # it was never closed
            kind, self._block = "code", ""
        if not any(each.strip() for each in lines):
            return
        if kind in ("fixed", "code"):
            self.org.parts.append(Piece("code", fenced("\n".join(lines), self._language if kind == "code" else "")))
        else:
            text = self._inline(" ".join(each.strip() for each in lines))
            self.org.parts.append(Piece("item" if kind == "item" else "paragraph", self._marker + text))
        self._marker = ""

    def _inside(self, text: str) -> None:
        end = _END.fullmatch(text)
        if end and end[1].lower() == self._block:
            self.end()
        else:
            self._held.append(re.sub(r"^(\s*),(?=[*#,])", r"\1", text))  # Org escapes these in blocks

    def _in_drawer(self, text: str) -> None:
        if text.strip().upper() == ":END:" or _HEADING.fullmatch(text):
            self._drawer = False
            if text.strip().upper() != ":END:":
                self.take(text)
        elif (found := _PROPERTY.fullmatch(text)) and self.org.parts and isinstance(self.org.parts[-1], Heading):
            self.org.parts[-1] = self.org.parts[-1]._replace(anchor=found[1])

    def _text(self, text: str) -> None:
        if keyword := _KEYWORD.fullmatch(text):
            self.end()
            if keyword[1].lower() == "title":
                self.org.title = f"{self.org.title} {_plain(keyword[2])}".strip()
        elif not text.strip() or re.match(r"\s*#(?: |$)", text) or _PLANNING.fullmatch(text):
            self.end()
        elif text.lstrip().startswith(": ") or text.strip() == ":":
            self._begin("fixed", text.lstrip()[2:], goes_on=True)
        elif text.lstrip().startswith("|"):
            self.end()
            if not _RULE.fullmatch(text):
                self.org.parts.append(Piece("row", self._inline(text.strip())))
        elif item := _ITEM.fullmatch(text):
            self._begin("item", item[4])
            box = {"X": "[x] ", " ": "[ ] ", "-": "[ ] "}.get(item[3] or "", "")
            self._marker = item[1] + (f"{item[2]}. " if item[2] else "- ") + box
        elif self._kind == "item" and not text[:1].isspace():
            self._begin("paragraph", text)
        else:
            self._begin(self._kind if self._kind in ("item", "paragraph") else "paragraph", text, goes_on=True)

    def _begin(self, kind: str, text: str, *, goes_on: bool = False) -> None:
        if not (goes_on and self._kind == kind):
            self.end()
            self._kind = kind
        self._held.append(text)

    def _inline(self, text: str) -> str:
        """TEXT with links as their words and code between backticks; the addresses are noted."""
        for target, _ in _LINK.findall(text):
            if re.match(r"https?://", target):
                self.org.links.append(target.partition("#")[0])
        text = _LINK.sub(lambda found: found[2] or found[1], text)
        return line(_marked(_FOOTNOTE.sub("", text)))


def _plain(text: str) -> str:
    """TEXT as the name of a heading."""
    text = _LINK.sub(lambda found: found[2] or found[1], _FOOTNOTE.sub("", text))
    return line(_EMPHASIS.sub(r"\2", _CODE.sub(r"\2", text)))


def _marked(text: str) -> str:
    """TEXT with `=code=` in backticks and other emphasis dropped, outside of code."""
    parts: list[str] = []
    at = 0
    for code in _CODE.finditer(text):
        parts += (_EMPHASIS.sub(r"\2", text[at : code.start()]), f"`{code[2]}`" if "`" not in code[2] else code[2])
        at = code.end()
    return "".join([*parts, _EMPHASIS.sub(r"\2", text[at:])])
