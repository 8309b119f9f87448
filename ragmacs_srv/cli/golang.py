"""A package and a type become what the user's Go says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import render
from ..errors import StorageError
from ..golang import canvas, table
from ..golang import layout as layouts
from ..golang import svg as pictures
from ..golang.toolchain import Target, word
from ..tools.golang import place_of
from .terminal import HERE, Terminal, cli, command

go_cli = typer.Typer(help="What your Go says of your code.", no_args_is_help=True)
cli.add_typer(go_cli, name="go")

Goarch = Annotated[str, typer.Option("--goarch", help="Architecture; default: this machine's.")]
Goos = Annotated[str, typer.Option("--goos", help="Operating system; default: this machine's.")]
Tags = Annotated[str, typer.Option("--tags", help="Build tags, separated by commas.")]
Cgo = Annotated[bool, typer.Option("--cgo", help="Read cgo files, which runs the C compiler.")]
Workspace = Annotated[bool, typer.Option("--workspace", help="Obey the go.work file above the folder.")]


def target_of(goarch: str, goos: str, tags: str, cgo: bool, workspace: bool) -> Target:
    """The Target that the flags say."""
    listed = tuple(filter(None, word(tags, "--tags").split(",")))
    return Target(word(goarch, "--goarch"), word(goos, "--goos"), listed, cgo, workspace)


@command()
def layout(
    terminal: Terminal,
    package: Annotated[str, typer.Argument(metavar="PKG", help="Import path, or a folder such as ./pool.")],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE", help="A struct, or an instance such as 'Pair\\[int, string]'; default: list all."
        ),
    ] = None,
    goarch: Goarch = "",
    goos: Goos = "",
    tags: Tags = "",
    cgo: Cgo = False,
    workspace: Workspace = False,
    cache_line: Annotated[int, typer.Option(help="Bytes of a cache line.")] = layouts.CACHE_LINE,
    picture: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it, - for stdout.")] = None,
    theme: Annotated[str, typer.Option(metavar="auto|light|dark", help="Colours of the picture.")] = "auto",
    structlayout: Annotated[
        bool, typer.Option("--structlayout-json", help="Print what `structlayout -json` would, for its companions.")
    ] = False,
) -> None:
    """Show how a Go struct lies in memory, and the order of its fields that saves most."""
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with place_of(shop, "", "", "", target_of(goarch, goos, tags, cgo, workspace)) as (place, _):
            if name is None:
                surveyed = layouts.survey(shop, place, package, cache_line=cache_line)
                terminal.print({"structs": [each.as_json() for each in surveyed]}, table.survey(surveyed))
                return
            found = layouts.lay_out(shop, place, package, name, cache_line=cache_line)
    if structlayout:
        print(render.dumps(found.structlayout()))  # noqa: T201
        return
    if picture:
        draw(pictures.svg(found, canvas.theme(theme)), picture)
        if str(picture) == "-":
            return
    terminal.print(found.as_json(), table.table(found))


def draw(drawn: str, path: Path) -> None:
    """Write the picture DRAWN to PATH, - for stdout; raises StorageError."""
    if str(path) == "-":
        print(drawn, end="")  # noqa: T201
        return
    try:
        path.write_text(drawn, "utf-8")
    except OSError as exc:
        raise StorageError(f"{path} cannot be written: {exc.strerror}", hint="name another file") from exc
