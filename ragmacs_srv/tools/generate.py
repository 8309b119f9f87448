"""What a model needs to write Go that compiles: real definitions, a function that fills a type, and a check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ..errors import InvalidParams
from ..golang import check, fill, typedef
from ..golang.toolchain import HERE
from ..registry import BUDGET, Between, Result, tool
from .golang import Bench, File, Folder, Text, cited, place_of
from .replies import fitting

MEASURE = ("Measure with real data before you change anything", "handbook:pprof-first")
ROOM = 5000  # characters of problems

Package = Annotated[str, "Import path such as net/http, or a folder such as ./internal/pool; `.` with `file`."]
Type = Annotated[str, "Name of the type, or an instance such as Pair[int, string]."]
Line = Annotated[int, "A line of `file`: the type that is declared there, when `type` is empty.", Between(0, 10**7)]


@tool()
def go_typedef(
    app: Bench,
    package: Package,
    type: Type,  # noqa: A002
    folder: Folder = "",
    file: File = "",
    line: Line = 0,
    text: Text = "",
) -> Result:
    """Show the real definition of a Go type and of the types it is made of: fields, constants, what implements its
    interfaces, constructors, imports. Call it before you write code that makes or fills such a value."""
    at = _at(type, file, line)
    shop = app.workshop
    package, folder = _named(package, folder)
    with place_of(shop, folder, file, text, HERE) as (place, implied):
        found = typedef.typedef(shop, place, implied or package, type, at=at)
    return cited(found.text(), found.as_json(), MEASURE)


@tool()
def go_check(
    app: Bench,
    package: Annotated[str, "Import path, or a folder such as ./internal/pool. Default: that of `file`."] = "",
    folder: Folder = "",
    file: Annotated[str, "The Go file, absolute, that `text` would be; it need not exist. A _test.go is a test."] = "",
    text: Annotated[str, "Go source: of `file`, or, without one, a piece of code of its own."] = "",
    vet: Annotated[bool, "Run go vet, too."] = True,
) -> Result:
    """Check whether Go code builds and passes go vet, in the user's package but without writing or running it. Call it
    on every piece of Go that you have written, with `file` for code that belongs into a package."""
    if not (package or file or text):
        raise InvalidParams("nothing to check", hint="give text, and file where it belongs; or a package")
    shop = app.workshop
    package, folder = _named(package, folder)
    with place_of(shop, folder, file, text, HERE) as (place, implied):
        found = check.check(shop, place, implied or package, vet=vet)
    return cited(verdict(found), found.as_json(), MEASURE)


@tool()
def go_fill_type(
    app: Bench,
    package: Package,
    type: Type,  # noqa: A002
    folder: Folder = "",
    file: File = "",
    line: Line = 0,
    text: Text = "",
    form: Annotated[
        Literal["func", "quick", "fuzz"], "A function, a Generator of testing/quick, or a fuzz test, too."
    ] = "func",
    seed: Annotated[int, "The first seed of a fuzz test.", Between(0, 2**53)] = 1,
) -> Result:
    """Write a Go function that fills a type with random values: nested types, enums, interfaces, recursion. It was
    built and vetted by the user's Go: give it to them unchanged. It belongs where the type is declared, else into the
    package of `folder`."""
    at = _at(type, file, line)
    shop = app.workshop
    package, folder = _named(package, folder)
    with place_of(shop, folder, file, text, HERE) as (place, implied):
        made = fill.fill(shop, place, [(implied or package, type)], form=form, seed=seed, at=at)
    shape = {**made.as_json(), "see": [{"title": MEASURE[0], "link": MEASURE[1]}]}
    if len(made.text()) > BUDGET:
        return cited(made.text(), shape, MEASURE)
    return Result(made.text(), shape)  # nothing but Go: editors insert it


def _named(package: str, folder: str) -> tuple[str, str]:
    """(package, folder); a package that is an absolute folder is asked for from there: it has its own module."""
    return (".", package) if package.startswith("/") and not folder else (package, folder)


def _at(type_name: str, file: str, line: int) -> tuple[Path, int] | None:
    if not type_name and not (file and line):
        raise InvalidParams("no type was named", hint="type: Response, package: net/http; or a file and a line")
    return None if type_name else (Path(file).resolve(), line)


def verdict(found: check.Checked) -> str:
    """What was found, in words: first what is wrong in the code that was given."""
    how = "; ".join([f"{found.go_version}, nothing was run", *found.warnings])
    if found.ok:
        return f"It builds{' and go vet finds nothing' if found.vetted else ''} ({how})."
    other = len(found.problems) - len(found.own()) if found.given else 0
    beside = f", {other} of them in other files" if other else ""
    head = f"{len(found.problems)} problem{'s' if len(found.problems) != 1 else ''}{beside} ({how}):"
    return f"{head}\n{fitting([each.text(found.folder) for each in found.problems], ROOM)}"
