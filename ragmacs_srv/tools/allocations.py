"""What Go code allocates, for a model: as its compiler decided, and as its benchmarks measure when a person agrees."""

from __future__ import annotations

from typing import Annotated

from ..errors import InvalidParams
from ..golang import benchmarks, escape
from ..golang.toolchain import Target, word
from ..registry import Between, Result, tool
from .golang import Bench, File, Folder, Goarch, Text, cited, place_of

STACK = ("Why the stack is cheaper than the heap, and what makes a value escape", "handbook:stack-over-heap")
FEWER = ("Why the number of allocations counts, and how to lower it", "handbook:fewer-allocations")

Package = Annotated[str, "Import path such as net/http, or a folder such as ./internal/pool. Default: that of `file`."]


@tool()
def go_escape(
    app: Bench,
    package: Package = "",
    function: Annotated[str, "Only what is in this function or method, such as Run or Server.Run."] = "",
    folder: Folder = "",
    file: File = "",
    text: Text = "",
    first: Annotated[int, "Only from this line of the files on.", Between(0, 10**7)] = 0,
    last: Annotated[int, "Only up to this line.", Between(0, 10**7)] = 0,
    goarch: Goarch = "",
) -> Result:
    """Show what the Go compiler moves to the heap in a package, with the chain of reasons, and which parameters leak:
    its own escape analysis. Nothing is run. Use it instead of guessing whether a value escapes."""
    target = Target(word(goarch, "GOARCH"))
    part = escape.Part(function, file, first, last)
    shop = app.workshop
    with place_of(shop, folder, file, text, target) as (place, implied):
        found = escape.analyse(shop, place, _named(implied or package), part)
    whole = len(found.sites) <= 12
    return cited(escape.text(found, chains=whole), found.as_json(), STACK)


def asks_to_run(app: Bench, package: str = "", **_: object) -> str:
    """What to ask a person before code of theirs is run."""
    return f"Run the benchmarks of {package[:200] or 'this code'} on this machine?"


@tool(changes_state=True, asks=asks_to_run)
def go_bench_allocs(
    app: Bench,
    package: Package = "",
    pattern: Annotated[str, "Which benchmarks, a regular expression as `go test -bench` takes it. Default: all."] = "",
    source: Annotated[
        str, "Go source of benchmarks to add for this run, written nowhere. Name them in `pattern`."
    ] = "",
    folder: Folder = "",
    file: File = "",
    text: Text = "",
    before: Annotated[str, "What an earlier run printed (`output` of its reply): compare with it."] = "",
    count: Annotated[int, "How often each is run.", Between(1, 20)] = 5,
    seconds: Annotated[int, "How long they may take together.", Between(1, 600)] = 60,
) -> Result:
    """Run benchmarks of the user's Go code and report allocations and bytes per operation, medians of several runs.
    It runs the code of the package: a person is asked first. For what the compiler decides without running anything
    use go_escape."""
    shop = app.workshop
    with place_of(shop, folder, file, text, Target()) as (place, implied):
        found = benchmarks.measure(
            shop, place, _named(implied or package), pattern=pattern, generated=source, count=count, seconds=seconds
        )
    changes = benchmarks.compare(benchmarks.parse_benchmem(before), found) if before else []
    shape = {**found.as_json(), "changes": [each.as_json() for each in changes]}
    return cited(benchmarks.text(found, changes), shape, FEWER)


def _named(package: str) -> str:
    if not package:
        raise InvalidParams("no package was named", hint="package: ./internal/pool, or a file of it, or text")
    return package
