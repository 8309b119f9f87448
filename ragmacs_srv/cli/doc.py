"""A name becomes what `go doc` says of it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..golang import doc
from ..golang.workshop import placed
from .golang import go_cli
from .terminal import HERE, Terminal, command


@command(go_cli, "doc")
def show_doc(
    terminal: Terminal,
    name: Annotated[str, typer.Argument(metavar="PKG[.NAME[.METHOD]]", help="For example net/http.Client.Do.")],
    symbol: Annotated[str, typer.Argument(metavar="[NAME]", help="A name in the package.")] = "",
    source: Annotated[bool, typer.Option("--source", help="Show the source code.")] = False,
    unexported: Annotated[bool, typer.Option("--unexported", help="Also what is not exported.")] = False,
) -> None:
    """Show the documentation or the source of a Go name, as it is on this machine."""
    with terminal.app() as app:
        app.roots = HERE
        shop = app.workshop
        with placed(shop) as place:
            found = doc.explain(shop, place, name, symbol, source=source, unexported=unexported)
    terminal.print(found.as_json(), found.text)
