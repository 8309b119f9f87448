"""A page becomes a summary whose every point links to the section that says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from ..errors import InvalidParams, NoContent
from ..events import Cancel, Sink, ignore
from ..model import Page, Section
from .alone import bare
from .ask import Budget
from .digest import ALSO, LABEL, digest, label, title
from .units import Unit, clipped, fenced, size
from .writer import Point, Writer

if TYPE_CHECKING:  # httpx comes with it: most summaries need no LLM
    from .llm import Chat

__all__ = ["LENGTH", "STYLES", "Point", "Style", "Summary", "check_form", "check_length", "extracted", "summarize"]

Style = Literal["bullets", "tldr", "abstract", "outline"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)
LENGTH = 150  # words
TLDR = 60  # words at most of a summary in that style
LEAST, MOST = 20, 2000  # words that can be asked for
OUTLINE = 0.6  # of the words of an outline are headings, at most
LANGUAGE = 40  # characters of the name of one


@dataclass(frozen=True, slots=True)
class Summary:
    """A page in few words.

    `points` say all that `text` does, in its order. `from_cache`: the page came from the index,
    or the summary was kept. `model` is "" for
    a summary in the page's own words. `notes` are for the reader: what was left out, or could not be done. `style`
    is one of STYLES.
    """

    url: str
    title: str
    points: tuple[Point, ...]
    from_cache: bool = False
    model: str = ""
    notes: tuple[str, ...] = ()
    style: Style = "bullets"
    complete: bool = True  # nothing went wrong on the way

    @property
    def text(self) -> str:
        return (" " if self.style == "abstract" else "\n").join(point.text for point in self.points)

    def as_json(self) -> dict[str, Any]:
        """The summary as every transport gives it."""
        return {
            "url": self.url,
            "title": self.title,
            "summary": self.text,
            "points": [{"text": point.text, "link": point.link} for point in self.points],
            "words": size(self.text),
            "from_cache": self.from_cache,
            "model": self.model,
            "notes": list(self.notes),
            "style": self.style,
        }


def summarize(
    page: Page,
    chat: Chat | None = None,
    *,
    length: int = LENGTH,
    style: str = "bullets",
    language: str = "",
    budget: Budget | None = None,
    from_cache: bool = False,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
) -> Iterator[Point | Summary]:
    """Summarize PAGE in at most LENGTH words: the points as they come, then the Summary that holds them, last.

    With CHAT an LLM writes it, in LANGUAGE if one is named; when it cannot, and without one, it is made of the
    page's own words. Raises InvalidParams for a LENGTH, STYLE or LANGUAGE that is no use, NoContent for a page
    without words, Cancelled when CANCEL is.
    """
    check_length(length)
    form = check_form(style, language)
    length = min(length, TLDR) if form == "tldr" else length
    page = replace(page, sections=tuple(each for each in page.sections if each.text.strip()))
    if not page.sections:
        raise NoContent(f"there is no text in {page.url}", hint="open it in a browser")
    notes = list(page.notes)
    points: list[Point] = []
    model = ""
    complete = True
    if chat is not None:
        writer = Writer(chat, page, budget or Budget(), sink, cancel or Cancel(), notes, form, language)
        for point in writer.write(length):
            points.append(point)
            yield point
        model = chat.model if points else ""
        complete = not writer.failed
    if not points:
        if language:
            why = "the LLM wrote nothing" if chat else "only an LLM can translate; set [llm] base_url"
            notes.append(f"this is in the page's own words, which may not be {language}: {why}")
        points = list(extracted(page, length, form))
        yield from points
    yield Summary(page.url, page.title, tuple(points), from_cache, model, tuple(notes), form, complete)


def check_length(length: int) -> None:
    """Raise InvalidParams unless LENGTH is a number of words that a summary can have."""
    if not LEAST <= length <= MOST:
        message = f"a summary has from {LEAST} to {MOST:,} words, not {length:,}"
        raise InvalidParams(message, hint=f"--length {LENGTH}")


def check_form(style: str, language: str = "") -> Style:
    """STYLE, if it is one and LANGUAGE can be the name of a language; else InvalidParams."""
    if len(language) > LANGUAGE or not all(char.isalpha() or char in " -()" for char in language):
        raise InvalidParams(f"{language[:LANGUAGE]!r} is not the name of a language", hint="--language German")
    for each in STYLES:
        if each == style:
            return each
    raise InvalidParams(f"there is no style {style[:40]!r} of summaries", hint=f"one of {', '.join(STYLES)}")


def extracted(page: Page, length: int, style: Style = "bullets") -> Iterator[Point]:
    """PAGE in at most LENGTH of its own words: a point per section, then one with other headings, one with names."""
    shares = {"tldr": (0.0, 0.0), "abstract": (0.0, 0.0), "outline": (OUTLINE, 0.0)}.get(style, (None, None))
    chosen = digest(page.sections, length, headings=shares[0], named=shares[1])
    left = length - sum(map(size, chosen.names)) - bool(chosen.names) * size(LABEL)
    if not (chosen.headings or chosen.units):
        yield Point(_opening(page.sections[0], left), page.sections[0].link)
    elif style == "abstract":
        yield from (Point(unit.text, unit.section.link) for unit in chosen.units)
        if not chosen.units:
            yield from (Point(f"{title(each)}.", each.link) for each in chosen.headings)
    else:
        yield from _by_section(page, chosen.headings, chosen.units, outlined=style == "outline")
    if chosen.names:
        yield Point(f"{LABEL} {', '.join(chosen.names)}", page.url)


def _by_section(page: Page, headed: Sequence[Section], units: Sequence[Unit], *, outlined: bool) -> Iterator[Point]:
    """A point per section that is quoted, with its heading; bare headings are points of an outline, else one line."""
    least = min((len(each.heading) for each in headed), default=0)
    bare: list[Section] = []
    for section in page.sections:
        quoted = [unit for unit in units if unit.section is section]
        heading = label(section) if quoted or section in headed else ""
        if quoted or (heading and outlined):
            blanks = "  " * max(len(section.heading) - least, 0) if outlined else ""
            yield Point(blanks + _line(heading, quoted), section.link)
        elif heading:
            bare.append(section)
    if bare:
        yield Point(f"{ALSO} {'; '.join(map(title, bare))}", bare[0].link if len(bare) == 1 else page.url)


def _line(heading: str, quoted: Sequence[Unit]) -> str:
    text = " ".join(bare(unit.text) for unit in quoted)
    return f"{heading}: {text}" if heading and text else heading or text


def _opening(section: Section, words: int) -> str:
    """How SECTION begins, in at most WORDS words; code in whole lines, as it is."""
    first = section.blocks[0] if section.blocks else None
    if first is None or first.kind != "code":
        return clipped(section.text, words)
    lines = section.text[first.start : first.end].split("\n")[1:-1]
    while len(lines) > 1 and size(fenced("\n".join(lines))) > words:
        lines.pop()
    code = fenced("\n".join(lines))
    return code if size(code) <= words else clipped(section.text, words)
