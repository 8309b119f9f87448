"""What `go doc` says on this machine, for a model: of the very versions that the user's code is built with."""

from __future__ import annotations

from typing import Annotated

from ..golang import doc
from ..golang.workshop import placed
from ..registry import Result, tool
from .golang import Bench, Folder, cited

MEMORY = ("Rules for memory in Go, each with what measures it", "handbook:memory-rules")


@tool()
def go_doc(
    app: Bench,
    name: Annotated[str, "A package, or a name in one: net/http, net/http.Client.Do, ./internal/pool.Pool."],
    symbol: Annotated[str, "A name in that package, when it is not part of `name`: Client or Client.Do."] = "",
    folder: Folder = "",
    source: Annotated[bool, "Show the source code instead."] = False,
    unexported: Annotated[bool, "Show what is not exported, too."] = False,
) -> Result:
    """Show the documentation or the source of a Go package, type, function or method, as it is on the user's machine:
    the standard library, the user's module, and what it depends on. Use it before citing a signature from memory."""
    shop = app.workshop
    with placed(shop, folder) as place:
        found = doc.explain(shop, place, name, symbol, source=source, unexported=unexported)
    return cited(found.text, found.as_json(), MEMORY)
