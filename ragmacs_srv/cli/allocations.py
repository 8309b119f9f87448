"""A package becomes what its compiler puts on the heap, and what its benchmarks allocate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidParams
from ..golang import benchmarks, escape
from ..tools.golang import place_of
from .golang import Cgo, Goarch, Goos, Tags, Workspace, go_cli, target_of
from .terminal import HERE, Terminal, command

Package = Annotated[str, typer.Argument(metavar="PKG", help="Import path, or a folder such as ./pool.")]


@command(go_cli, "escape")
def show_escapes(
    terminal: Terminal,
    package: Package,
    function: Annotated[str, typer.Option(help="Only what is in this function or method.")] = "",
    file: Annotated[str, typer.Option(help="Only what is in this file.")] = "",
    lines: Annotated[str, typer.Option(metavar="FIRST[:LAST]", help="Only what is in these lines.")] = "",
    goarch: Goarch = "",
    goos: Goos = "",
    tags: Tags = "",
    cgo: Cgo = False,
    workspace: Workspace = False,
) -> None:
    """Show what the compiler moves to the heap, and why. Nothing is run."""
    part = escape.Part(function, file, *_range(lines))
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with place_of(shop, "", "", "", target_of(goarch, goos, tags, cgo, workspace)) as (place, _):
            found = escape.analyse(shop, place, package, part)
    terminal.print(found.as_json(), escape.text(found))


@command(go_cli)
def allocs(
    terminal: Terminal,
    package: Package,
    run: Annotated[bool, typer.Option("--run", help="Agree that the code of the package is run.")] = False,
    bench: Annotated[str, typer.Option(metavar="REGEXP", help="Which benchmarks; default: all.")] = "",
    source: Annotated[
        Path | None, typer.Option("--with", metavar="FILE", help="Go source of benchmarks to add for this run.")
    ] = None,
    before: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What an earlier run printed (go test, or --json): compare.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How often each is run.")] = 5,
    benchtime: Annotated[str, typer.Option(help="How long one run takes, or Nx for N operations.")] = "100ms",
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="How long they may take together.")] = 60,
    tags: Tags = "",
    cgo: Cgo = False,
    workspace: Workspace = False,
) -> None:
    """Run the benchmarks of a package, and show allocations and bytes per operation."""
    if not run:
        message = f"the benchmarks of {package} are code that would be run, with all that you may do"
        raise InvalidParams(message, hint=f"ragmacs go allocs {package} --run", data={"kind": "needs_consent"})
    earlier = benchmarks.parse_benchmem(benchmarks.printed(before)) if before else None
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with place_of(shop, "", "", "", target_of("", "", tags, cgo, workspace)) as (place, _):
            found = benchmarks.measure(
                shop,
                place,
                package,
                pattern=bench,
                generated=benchmarks.printed(source) if source else "",
                count=count,
                benchtime=benchtime,
                seconds=seconds,
            )
    changes = benchmarks.compare(earlier, found) if earlier else []
    shape = {**found.as_json(), "changes": [each.as_json() for each in changes]}
    terminal.print(shape, benchmarks.text(found, changes))


def _range(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    try:
        return (int(first or 0), int(last or 0) if colon else int(first)) if text else (0, 0)
    except ValueError:
        raise InvalidParams(f"--lines cannot be {text!r}", hint="for example 10:20") from None
