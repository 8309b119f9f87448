"""Turn a PDF into a Page: a section per page of paper, which `#page=N` opens, under the bookmark that holds it.

PDFs are hostile, and this is slow: it runs in the worker, whose memory and time are limited. What a page of paper
loses is told in `notes`; the other pages are read all the same.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError
from pypdf.generic import Destination

from ..errors import NoContent
from ..model import Page, Section
from .dom import clear, fenced, line
from .sections import Piece, build

SECONDS: Final = 40.0  # of CPU: 300 dense pages take 6; the worker is given more, so that what was read is kept
MOST_PAGES: Final = 2000
RUNNING: Final = 2  # lines at either end of a page that may be a running title or a page number
REPEATED: Final = 3  # pages with the same line there, numbers aside: a running title
LEFT: Final = 0.5  # of the words are left without running titles, or they are none
LARGE: Final = 1.15  # times the size of the prose: a heading
HEADING_WORDS: Final = 14
# What pypdf raises over broken files besides its own: it converts, indexes and unpacks what it finds.
BROKEN: Final = (
    PyPdfError, ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RecursionError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip

_FIXED: Final = re.compile(r"Mono|MonL|Courier|Consol|Menlo|Typewriter|Inconsolata|Fixed|TT\d+$", re.I)
_BULLET: Final = re.compile(r"(?:[•▪‣●○■–*-]|\(?\d{1,2}[.)]|\([a-z]\))\s+(?=\S)")
_SENTENCE_END: Final = re.compile(r"[.!?:;][\"')\]”’]*$")
_SOFT_BREAK: Final = re.compile(r"(?<=[^\W\d_])-$")  # "declara-" at the end of a line


@dataclass(frozen=True, slots=True)
class Line:
    """A line of print: its text, the size of most of it, and whether all of it is set as code."""

    text: str
    size: float
    code: bool


def read(body: bytes, url: str) -> Page:
    """The Page in the PDF BODY; raises NoContent for one that is encrypted, broken or made of pictures."""
    name = unquote(PurePosixPath(urlsplit(url).path).name) or url
    try:
        reader = pypdf.PdfReader(BytesIO(body))
        total = len(reader.pages)
        title = line(str(reader.metadata.title or "")) if reader.metadata else ""
        marks = _bookmarks(reader)
    except (DependencyError, FileNotDecryptedError) as exc:
        hint = "save a copy without the password: qpdf --password=… --decrypt IN.pdf OUT.pdf"
        raise NoContent(f"{url} is a PDF that is encrypted", hint=hint) from exc
    except BROKEN as exc:
        hint = "repair it: qpdf IN.pdf OUT.pdf"
        raise NoContent(f"{url} is a PDF that cannot be read: {line(str(exc))[:200]}", hint=hint) from exc
    pages, notes = _printed(reader, total)
    if not any(pages):
        hint = "if it was scanned, give it a text layer: ocrmypdf IN.pdf OUT.pdf"
        raise NoContent(f"{url} is a PDF of {total} page(s) without any text", hint=hint)
    pages = _without_running(pages)
    body_size = _prose_size(pages)
    title = title or _largest(pages, body_size) or name
    sections = tuple(_sections(url, title, pages, marks, body_size))
    return Page(url, title, sections, notes=tuple(notes))


def _printed(reader: pypdf.PdfReader, total: int) -> tuple[list[list[Line]], list[str]]:
    """The lines of every page, and what could not be read."""
    pages: list[list[Line]] = []
    broken: list[int] = []
    begun = time.process_time()
    for n in range(min(total, MOST_PAGES)):
        if time.process_time() - begun > SECONDS:
            break
        try:
            pages.append(list(_lines(reader.pages[n])))
        except BROKEN:
            pages.append([])
            broken.append(n + 1)
    notes = [f"page(s) {_ranges(broken)} of the PDF are broken and were left out"] if broken else []
    if len(pages) < total:
        notes.append(f"only the first {len(pages):,} of {total:,} pages of the PDF were read")
    empty = [n for n, page in enumerate(pages, 1) if not page and n not in broken]
    if empty:
        notes.append(f"page(s) {_ranges(empty)} of the PDF hold no text: pictures, or scanned")
    return pages, notes


def _lines(page: pypdf.PageObject) -> Iterator[Line]:
    """The lines of PAGE in the order of its content stream."""
    spans: list[tuple[str, bool, float]] = []

    def take(text: str, _: Any, __: Any, font: Any, size: Any) -> None:
        name = str(font.get("/BaseFont", "")) if font else ""
        spans.extend((part, bool(_FIXED.search(name)), float(size)) for part in re.split(r"(\n)", text) if part)

    page.extract_text(visitor_text=take)
    held: list[tuple[str, bool, float]] = []
    for span in [*spans, ("\n", False, 0.0)]:
        if span[0] != "\n":
            held.append(span)
        elif held:
            yield from _line(held)
            held = []


def _line(spans: Sequence[tuple[str, bool, float]]) -> Iterator[Line]:
    """The line that SPANS of (text, set as code, size) make, if it says anything."""
    spoken = [(clear(text), fixed, size) for text, fixed, size in spans if text.strip()]
    text = clear("".join(text for text, _, _ in spans)).rstrip()
    if not text.strip() or not spoken:
        return
    sizes: Counter[float] = Counter()
    for part, _, size in spoken:
        sizes[round(size, 1)] += len(part)
    code = all(fixed for _, fixed, _ in spoken)
    if not code:
        text = " ".join("".join(_ticked(spans)).split())
    yield Line(text, sizes.most_common(1)[0][0], code)


def _ticked(spans: Sequence[tuple[str, bool, float]]) -> Iterator[str]:
    """The text of SPANS, what is set as code between backticks."""
    at = 0
    while at < len(spans):
        end = at + 1
        while end < len(spans) and spans[end][1] == spans[at][1]:
            end += 1
        text = clear("".join(text for text, _, _ in spans[at:end]))
        inner = text.strip()
        if spans[at][1] and re.search(r"\w", inner) and "`" not in inner:
            before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
            yield f"{before}`{inner}`{after}"
        else:
            yield text
        at = end


def _without_running(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """PAGES without the titles that run along, and the numbers, at their upper and lower ends.

    Where that would be most of their words, these are no running titles: short pages that are much alike.
    """
    places = [
        {n for n in (*range(RUNNING), *range(len(page) - RUNNING, len(page))) if 0 <= n < len(page)} for page in pages
    ]
    seen = Counter(
        key for page, ends in zip(pages, places, strict=True) for key in {_unnumbered(page[n].text) for n in ends}
    )
    kept = [
        [
            each
            for n, each in enumerate(page)
            if n not in ends or (seen[key := _unnumbered(each.text)] < REPEATED and re.search(r"\w", key) is not None)
        ]
        for page, ends in zip(pages, places, strict=True)
    ]
    return kept if _words(kept) >= LEFT * _words(pages) else [list(page) for page in pages]


def _words(pages: Sequence[Sequence[Line]]) -> int:
    return sum(len(each.text.split()) for page in pages for each in page)


def _unnumbered(text: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]+\b", "", text).strip().lower()


def _prose_size(pages: Sequence[Sequence[Line]]) -> float:
    """The size that most of the text has."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for each in page:
            sizes[each.size] += len(each.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _is_heading(each: Line, prose: float) -> bool:
    words = len(each.text.split())
    return (
        not each.code
        and each.size > LARGE * prose
        and words <= HEADING_WORDS
        and re.search(r"[^\W\d]", each.text) is not None
    )


def _largest(pages: Sequence[Sequence[Line]], prose: float) -> str:
    """The title that the first page with text seems to have, or ""."""
    first = next((page for page in pages if page), [])
    large = [each for each in first if _is_heading(each, prose)]
    return max(large, key=lambda each: each.size).text if large else ""


def _bookmarks(reader: pypdf.PdfReader) -> dict[int, tuple[str, ...]]:
    """The path of the first bookmark on each page of paper that has one, by its number from 0."""
    found: dict[int, tuple[str, ...]] = {}
    try:
        for path, mark in _walk(reader.outline, ()):
            n = reader.get_destination_page_number(mark)
            if n is not None and n >= 0:
                found.setdefault(n, path)
    except BROKEN:  # the text is there without them
        return found
    return found


def _walk(outline: Sequence[Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Destination]]:
    """Every bookmark of OUTLINE, which nests in lists behind their parent, with the path of its titles."""
    last = above
    for each in outline:
        if isinstance(each, list):
            yield from _walk(each, last)
        else:
            name = line(str(each.title or ""))
            last = (*above, name) if name else above
            yield last, each


def _sections(
    url: str, title: str, pages: Sequence[Sequence[Line]], marks: dict[int, tuple[str, ...]], prose: float
) -> Iterator[Section]:
    path: tuple[str, ...] = ()
    for n, page in enumerate(pages):
        large = [each.text for each in page if _is_heading(each, prose)]
        if marks:
            path = marks.get(n, path)
        elif large:
            path = (large[0],)
        if page:
            heading = (title, *(each for each in path if each.casefold() != title.casefold()))
            yield build(url, f"page={n + 1}", heading, _pieces(page, prose))


def _pieces(page: Sequence[Line], prose: float) -> Iterator[Piece]:
    """The headings, paragraphs, items and code of PAGE."""
    width = sorted(len(each.text) for each in page if not each.code)[-max(len(page) // 4, 1) :][:1]
    full = 0.75 * width[0] if width else 0.0  # a shorter line ends a paragraph, if a sentence ends there
    held: list[Line] = []
    for each in page:
        if held and _parts(held[-1], each, full, prose):
            yield _piece(held, prose)
            held = []
        held.append(each)
    if held:
        yield _piece(held, prose)


def _parts(last: Line, each: Line, full: float, prose: float) -> bool:
    """Whether a block ends between two lines."""
    if last.code != each.code or _is_heading(last, prose) != _is_heading(each, prose):
        return True
    if each.code:
        return False
    return bool(_BULLET.match(each.text)) or (len(last.text) < full and bool(_SENTENCE_END.search(last.text)))


def _piece(lines: Sequence[Line], prose: float) -> Piece:
    if lines[0].code:
        return Piece("code", fenced("\n".join(each.text for each in lines)))
    text = ""
    for each in lines:
        joined = _SOFT_BREAK.sub("", text) if each.text[:1].islower() else text
        text = joined + each.text if joined != text else f"{text} {each.text}".strip()
    if _is_heading(lines[0], prose):
        return Piece("heading", f"## {text}")
    bullet = _BULLET.match(text)
    return Piece("item", f"- {text[bullet.end() :]}") if bullet else Piece("paragraph", text)


def _ranges(numbers: Sequence[int]) -> str:
    """NUMBERS as people write them: 3, 5-7."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][-1] == n - 1:
            runs[-1][1:] = [n]
        else:
            runs.append([n])
    shown = ["-".join(map(str, run)) for run in runs[:8]]
    return ", ".join(shown) + (f" and {len(runs) - 8} more" if len(runs) > 8 else "")
