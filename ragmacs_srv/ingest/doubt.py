"""Tell a page that was rewritten from what a site shows in its place for a while: an error, a login, its home page."""

from __future__ import annotations

import re
from typing import Final

from ..model import Page
from .walls import STUB

ALIKE: Final = 0.3  # of the three-word runs of a page stand in it still, however it was revised
SHRUNK: Final = 0.5  # of the words: what says something else in fewer is no revision
CROWD: Final = 0.1  # of a collection's pages that say the same at once are not rewritten: their site is not well
RUN: Final = 3
_WORD: Final = re.compile(r"\w+")
_ERROR: Final = re.compile(
    r"\b(?:[45]\d\d|not found|unavailable|maintenance|forbidden|access denied|bad gateway|server error|time-?out|"
    r"something went wrong|just a moment|are you (?:a )?(?:human|robot)|captcha|offline|error)\b",
    re.I,
)


def alike(old: Page, new: Page) -> bool:
    """Whether NEW is OLD, perhaps revised: enough of what it says stands there still, in the same words."""
    runs = _runs(old)
    return not runs or len(runs & _runs(new)) >= ALIKE * len(runs)


def is_less(old: Page, new: Page) -> bool:
    """Whether NEW, which is not `alike`, is too short for what OLD has become."""
    return _size(new) < SHRUNK * _size(old)


def is_crowd(number: int, pages: int) -> bool:
    """Whether so many of a collection's PAGES cannot all have become the same text."""
    return number > CROWD * pages


def is_error(page: Page) -> bool:
    """Whether a short page says of itself that something is wrong; to be asked where another one is expected."""
    return _size(page) < STUB and bool(_ERROR.search(_opening(page)))


def _opening(page: Page) -> str:
    first = page.sections[0].text[:200] if page.sections else ""
    return f"{page.title}\n{' '.join(page.sections[0].heading) if page.sections else ''}\n{first}"


def _size(page: Page) -> int:
    return sum(len(_WORD.findall(section.text)) for section in page.sections)


def _runs(page: Page) -> set[tuple[str, ...]]:
    words = [word.lower() for section in page.sections for word in _WORD.findall(section.text)]
    return set(zip(*(words[at:] for at in range(RUN)), strict=False))
