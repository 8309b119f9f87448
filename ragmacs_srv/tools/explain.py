"""A line that Go printed, for a model: what it is, what it measures, and where to read why it matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

from ..answer import explain
from ..errors import SearchError, StorageError
from ..golang.workshop import Workshop
from ..model import Page
from ..registry import Result, tool
from .replies import clean, fitting


class Shelf(Protocol):
    """The App, as far as this tool uses it."""

    @property
    def workshop(self) -> Workshop: ...
    def indexed(self, url: str) -> Page | None: ...


@tool()
def go_explain(
    app: Shelf,
    text: Annotated[str, "What Go printed, as it is, or the source of a struct."],
) -> Result:
    """Explain what Go printed: a GC trace line, escape analysis (-gcflags=-m), benchmark lines, pprof -top, a panic, an
    out of memory, a deadlock, a dump of goroutines; or a struct's source. Returns what it is, its numbers by name, and
    the documentation that says what to do."""
    found = explain.explain(text, app.workshop, pages(app))
    lines = "\n\n".join(map(explain.told, found)).split("\n")
    return Result(clean(fitting(lines, 5900)), {"explanations": [each.as_json() for each in found]})


def pages(app: Shelf) -> Callable[[str], Page | None]:
    """The page at an address, if it is indexed; an index that cannot be read is one that has no page."""

    def page(url: str) -> Page | None:
        try:
            return app.indexed(url)
        except (SearchError, StorageError):
            return None

    return page
