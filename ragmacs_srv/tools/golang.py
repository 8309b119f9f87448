"""What the user's own Go says of their code, for a model: measured, never guessed.

Nothing of the code is run unless a tool says so and a person agrees. What is read is below the roots that the client
named when it connected, or `[go] roots`; the standard library can always be asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from ..errors import InvalidParams
from ..golang import layout, snippet, svg, table
from ..golang.toolchain import Target, word
from ..golang.workshop import Place, Workshop, placed
from ..registry import BUDGET, Between, Result, tool
from ..render import printable

# Why each is worth knowing: (what the page says, its address).
STRUCTS = ("How the order of fields and their pointers cost memory", "handbook:struct-layout")

Folder = Annotated[
    str, "Folder of the code, absolute. Default: the user's project; not needed for the standard library."
]
File = Annotated[str, "A Go file, absolute, when `text` is its unsaved content, or with `line`."]
Text = Annotated[str, "Go source: the content of `file`, or a piece of code of its own; then package is ignored."]
Goarch = Annotated[str, "Architecture, for example 386 or arm64. Default: this machine's."]


class Bench(Protocol):
    """The App, as far as these tools use it."""

    @property
    def workshop(self) -> Workshop: ...


@contextmanager
def place_of(shop: Workshop, folder: str, file: str, text: str, target: Target) -> Iterator[tuple[Place, str]]:
    """(where the code is, the package that a FILE or TEXT without one is) as the arguments of a tool say it."""
    if text and not file:
        with snippet.module(text, shop.find(), target) as made:
            yield made, "."
    else:
        overlay = {file: text} if text else {}
        with placed(shop, str(Path(file).parent) if file else folder, target, overlay) as found:
            yield found, "." if file else ""


@tool()
def struct_layout(
    app: Bench,
    package: Annotated[str, "Import path such as net/http, or a folder such as ./internal/pool."],
    type: Annotated[str, "Name of the struct type, or an instance such as Pair[int, string]."],  # noqa: A002
    folder: Folder = "",
    file: File = "",
    line: Annotated[
        int, "A line of `file`: the type that is declared there, when `type` is empty.", Between(0, 10**7)
    ] = 0,
    text: Text = "",
    goarch: Goarch = "",
    goos: Annotated[str, "Operating system. Default: this machine's."] = "",
    tags: Annotated[str, "Build tags, separated by commas."] = "",
    cache_line: Annotated[int, "Bytes of a cache line.", Between(8, 4096)] = layout.CACHE_LINE,
    picture: Annotated[Literal["", "auto", "light", "dark"], "Add an SVG picture to the structured reply."] = "",
) -> Result:
    """Show how a Go struct lies in memory, as this machine's Go compiler lays it out: offsets, padding, bytes that the
    garbage collector scans, heap size class, and the order of fields that saves most. Use it instead of computing
    sizes yourself."""
    if not type and not line:
        raise InvalidParams(
            "struct_layout needs a type, or a file and a line", hint="type: Response, package: net/http"
        )
    target = Target(word(goarch, "GOARCH"), word(goos, "GOOS"), tuple(filter(None, word(tags, "tags").split(","))))
    shop = app.workshop
    with place_of(shop, folder, file, text, target) as (place, implied):
        at = (Path(file).resolve(), line) if file and line and not type else None
        found = layout.lay_out(shop, place, implied or package, type, at=at, cache_line=cache_line)
    shape = found.as_json()
    if picture:
        shape["svg"] = svg.svg(found, picture)
    return cited(table.table(found), shape, STRUCTS)


def cited(text: str, shape: dict[str, Any], *why: tuple[str, str]) -> Result:
    """TEXT, cut to a reply's length, with the pages that say WHY it matters."""
    sources = see(why)
    room = BUDGET - len(sources) - 40
    if len(text) > room:
        text = text[:room].rpartition("\n")[0] + "\n… (cut)"
    shown = printable(f"{text}\n\n{sources}")
    return Result(shown, {**shape, "see": [{"title": title, "link": link} for title, link in why]})


def see(why: Sequence[tuple[str, str]]) -> str:
    """WHY something matters, a numbered line for each page."""
    return "\n".join(f"[{n}] {title} <{link}>" for n, (title, link) in enumerate(why, 1))
