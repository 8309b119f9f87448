"""A Go type becomes its definition, or a function that fills it; code becomes what the compiler and vet say of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidParams, StorageError
from ..golang import check as checks
from ..golang import fill as fills
from ..golang import typedef as definitions
from ..tools.generate import verdict
from ..tools.golang import place_of
from .golang import Cgo, Goarch, Goos, Tags, Workspace, go_cli, target_of
from .terminal import HERE, Terminal, command, text_of

Package = Annotated[str, typer.Argument(metavar="PKG", help="Import path, or a folder such as ./pool.")]


@command(go_cli)
def typedef(
    terminal: Terminal,
    package: Package,
    name: Annotated[str, typer.Argument(metavar="TYPE", help="A type, or an instance such as 'Pair[int, string]'.")],
    tags: Tags = "",
    cgo: Cgo = False,
    workspace: Workspace = False,
) -> None:
    """Show the definition of a type, and of the types that it is made of."""
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with place_of(shop, "", "", "", target_of("", "", tags, cgo, workspace)) as (place, _):
            found = definitions.typedef(shop, place, package, name)
    terminal.print(found.as_json(), found.text())


@command(go_cli)
def check(
    terminal: Terminal,
    package: Annotated[str, typer.Argument(metavar="PKG", help="As above; - is a piece of code on stdin.")],
    source: Annotated[
        Path | None, typer.Option("--with", metavar="FILE", help="Go code as if it were in PKG, a folder; - for stdin.")
    ] = None,
    vet: Annotated[bool, typer.Option(help="Run go vet, too.")] = True,
    goarch: Goarch = "",
    goos: Goos = "",
    tags: Tags = "",
    cgo: Cgo = False,
    workspace: Workspace = False,
) -> int:
    """Check that Go code builds and passes go vet; it is neither written nor run. Ends with 1 when it does not."""
    file, text = ("", text_of("-")) if package == "-" else _placed(package, source)
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with place_of(shop, "", file, text, target_of(goarch, goos, tags, cgo, workspace)) as (place, implied):
            found = checks.check(shop, place, implied or package, vet=vet)
    terminal.print(found.as_json(), verdict(found))
    return 0 if found.ok else 1


def _placed(package: str, source: Path | None) -> tuple[str, str]:
    """(the file in PACKAGE that SOURCE would be, its text)"""
    if source is None:
        return "", ""
    if not Path(package).is_dir():
        raise InvalidParams(f"{package} is no folder into which --with could put code", hint="for example ./pool")
    name = "ragmacs_checked.go" if str(source) == "-" else source.name
    try:
        text = sys.stdin.read() if str(source) == "-" else source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{source} cannot be read: {exc}", hint="name a Go file") from exc
    return str(Path(package).resolve() / name), text


@command(go_cli)
def fill(
    terminal: Terminal,
    package: Package,
    names: Annotated[list[str], typer.Argument(metavar="TYPE…", help="Types, or instances such as 'Pair[int, bool]'.")],
    form: Annotated[str, typer.Option("--as", metavar="func|quick|fuzz", help="What is made of it, too.")] = "func",
    seed: Annotated[int, typer.Option(help="The first seed of a fuzz test.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it; the file must not exist.")] = None,
    tags: Tags = "",
    workspace: Workspace = False,
) -> None:
    """Write functions that fill types with random values, built and vetted by your Go before you see them."""
    if out and out.exists():
        raise StorageError(f"{out} exists", hint="name another file, or remove it")
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with place_of(shop, "", "", "", target_of("", "", tags, False, workspace)) as (place, _):
            wanted = [(package, name) for name in names]
            file = out.resolve() if out else None
            made = fills.fill(shop, place, wanted, form=form, seed=seed, file=file)
    if out is None:
        terminal.print(made.as_json(), made.source.rstrip("\n"))
        return
    try:
        out.write_text(made.source, "utf-8")
    except OSError as exc:
        raise StorageError(f"{out} cannot be written: {exc.strerror}", hint="name another file") from exc
    terminal.print({**made.as_json(), "file": str(out)}, f"{', '.join(made.functions)} in {out}")
