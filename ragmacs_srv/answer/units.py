"""A section becomes units: the sentences, items, rows and code blocks an answer can be quoted from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model import Block, Section

MIN_WORDS = 4  # shorter ones are labels; they would fill left-over space
MIN_PHRASE = 7  # the same for what is no sentence: the titles in a list of links, the names in a menu
MAX_CODE = 250

UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
CAPITAL = "A-ZÀ-ÖØ-ÞΆ-ΫЀ-Я\u0530-\u0556\u05d0-\u1fff\u3040-\ud7ff"  # or a letter of a script without any
SENTENCE_END = re.compile(rf"(?<=[.!?।؟])[\"')\]”’»]*\s+(?=[{CAPITAL}0-9`\"'(\[“‘«*])|(?<=[。！？])[」』”]*\s*")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Fig|Eq|No|St|Dr|Mr|Ms)|\b[A-Z])\.$")
DANGLING = re.compile(
    r"(?:This|That|These|Those|It|Its|They|Their|Such|However|Therefore|Thus|Hence|Instead|Moreover|Furthermore|"
    r"Also|But|And|So|Then|Otherwise|Here|Both|Neither|Again|Similarly|Likewise|Consequently)\b"
)
BULLET = re.compile(r"\A\s*(?:[-*+:>]|\d+[.)])\s+")  # ":" stands before the text of a definition
# A sentence that only sends the reader elsewhere, to a place whose address is lost; one with code names a thing.
POINTER = re.compile(
    r"(?:(?:(?:Please|You can) )?(?:[Ss]ee(?! (?:how|what|which|why|if)\b)|[Ww]atch (?:the|this|a|our)|[Vv]isit|"
    r"[Rr]efer to|[Hh]ave a look at|[Ll]earn more|[Rr]ead (?:more|the|our|about))|"
    r"(?:For|More|Further) (?:(?:the|more|further|additional|full|complete) )*(?:details?|information|background))"
    r"\b[^`]*[.!)]"
)
MAX_POINTER = 160  # characters: a longer one says something on its way


@dataclass(frozen=True, slots=True)
class Unit:
    """`section.text[start:end]`; `lead` is the unit it cannot be understood without, or None."""

    section: Section
    kind: str
    start: int
    end: int
    lead: Unit | None = None
    first: bool = False  # the first unit of its section

    @property
    def quote(self) -> str:
        """The unit verbatim."""
        return self.section.text[self.start : self.end]

    @property
    def text(self) -> str:
        """The unit as it stands in an answer: an item without its bullet."""
        if self.kind == "code":
            return self.quote
        return " ".join(BULLET.sub("", self.quote, count=1).split())


def size(text: str) -> int:
    """How many words TEXT has; two characters of a script that puts no blanks between words are one."""
    return len(text.split()) + (0 if text.isascii() else len(UNSPACED.findall(text)) // 2)


def clipped(text: str, words: int) -> str:
    """TEXT cut to at most WORDS words, on one line."""
    kept = " ".join(text.split()[:words])
    return kept if size(kept) <= words else kept[:words]


def units(section: Section) -> list[Unit]:
    """The quotable parts of SECTION in reading order; headings and pictures are never quoted."""
    found: list[Unit] = []
    for block in section.blocks:
        for kind, start, end in _spans(section.text, block):
            unit = Unit(section, kind, start, end)
            if _speaks(unit):
                found.append(Unit(section, kind, start, end, _lead(unit, found), first=not found))
    return found


def group(unit: Unit, followers: dict[Unit, Unit]) -> list[Unit]:
    """UNIT with what it needs beside it: its lead-in, and the first item a lead-in announces."""
    members = [unit]
    while members[0].lead is not None:
        members.insert(0, members[0].lead)
    if unit.text.endswith(":") and unit in followers:
        members.append(followers[unit])
    return members


def followers(sequence: Sequence[Unit]) -> dict[Unit, Unit]:
    """For each unit that ends in a colon, the item, row or code block right behind it."""
    pairs = itertools.pairwise(sequence)
    return {a: b for a, b in pairs if a.text.endswith(":") and b.kind != "sentence"}


def _speaks(unit: Unit) -> bool:
    """Whether UNIT says something by itself."""
    text = unit.text
    if unit.kind == "code":
        return re.search(r"\w", text) is not None
    if len(text) <= MAX_POINTER and POINTER.fullmatch(text):
        return False
    if unit.kind == "row":
        filled = [cell for cell in text.split("|") if re.search(r"\w", cell)]
        whole, text = len(filled) > 1, text if len(filled) > 1 else "".join(filled)
    else:
        whole = text.endswith((".", "!", "?", ":", ";", ")", "`", "。", "！", "？"))
    return size(text) >= (MIN_WORDS if whole else MIN_PHRASE)


def _lead(unit: Unit, before: Sequence[Unit]) -> Unit | None:
    """The unit that UNIT leans on: the line ending in a colon above its list, the sentence before a "This"."""
    if not before:
        return None
    if unit.kind == "sentence":
        last = before[-1]
        leans = DANGLING.match(unit.text) and last.kind == "sentence" and last.lead is None
        return last if leans and "\n\n" not in unit.section.text[last.end : unit.start] else None
    for earlier in reversed(before):
        if earlier.text.endswith(":") and earlier.kind != "code":
            return earlier if earlier.lead is None else None
        if earlier.kind == "sentence":
            return None
    return None


def _spans(text: str, block: Block) -> Iterator[tuple[str, int, int]]:
    if block.kind in {"heading", "image"}:
        return
    if block.kind == "code":
        yield "code", *_code(text, block)
    elif block.kind == "row":
        yield "row", block.start, block.end
    else:
        kind = "item" if block.kind == "item" else "sentence"
        for n, (start, end) in enumerate(sentences(text, block.start, block.end)):
            yield kind if n == 0 else "sentence", start, end


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The spans of the sentences of text[start:end]."""
    begin = start
    for match in SENTENCE_END.finditer(text, start, end):
        stop = match.start() + len(match.group().rstrip())
        if not ABBREVIATION.search(text, begin, stop) or text[match.start() - 1] != ".":
            yield begin, stop
            begin = match.end()
    if text[begin:end].strip():
        yield begin, end


def _code(text: str, block: Block) -> tuple[int, int]:
    """The inside of a code fence, cut after a whole line so that it stays short.

    A line that announces deeper ones, as `if x {` and "created by main.main" do, is no end.
    """
    start = text.index("\n", block.start, block.end) + 1 if "\n" in text[block.start : block.end] else block.start
    end = max(text.rfind("\n", start, block.end), start)
    if end - start > MAX_CODE:
        lines = text[start : max(text.rfind("\n", start, start + MAX_CODE), start)].split("\n")
        after = text[start + len("\n".join(lines)) + 1 : end].partition("\n")[0]
        end = start + len("\n".join(_closed(lines, after)))
    return start, end


def _closed(lines: list[str], after: str) -> list[str]:
    """LINES without the last ones that the next, AFTER for the last of all, is indented under; all if none is left."""
    nexts = [*lines[1:], after]
    kept = len(lines)
    while kept and _indent(nexts[kept - 1]) > _indent(lines[kept - 1]):
        kept -= 1
    return lines[:kept] or lines


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def fenced(code: str) -> str:
    """CODE between fences that no backticks in it can close."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{fence}\n{code}\n{fence}"
