"""What a Go program recorded or printed becomes tables and a plot; nothing is run, and no Go is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidParams
from ..golang import canvas, costs, gctrace, goroutines, plot, profile, received, whatif, why
from ..tools import profiles as tools
from ..tools.golang import see
from .golang import draw, go_cli
from .terminal import Terminal, command

File = Annotated[str, typer.Argument(metavar="FILE", help="Or - for stdin.")]


@command(go_cli)
def pprof(
    terminal: Terminal,
    file: File,
    sample: Annotated[str, typer.Option("--sample", help="alloc_space, alloc_objects, inuse_space, cpu, …")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100_000, help="How many rows.")] = 20,
    focus: Annotated[str, typer.Option(help="Only stacks with this function or file: a|b, .* for anything.")] = "",
    base: Annotated[str, typer.Option(metavar="FILE", help="An earlier profile to subtract.")] = "",
    view: Annotated[str, typer.Option(metavar="top|peek|tree", help="Rows, callers and callees, or calls.")] = "top",
    by: Annotated[str, typer.Option(metavar="function|line", help="A row for each of these.")] = "function",
) -> None:
    """Show which functions or lines allocate, hold memory, or take CPU, from a profile of a Go program."""
    wanted = next((each for each in tools.VIEWS if each == view), None)
    if wanted is None or by not in ("function", "line"):
        raise InvalidParams(
            f"there is no --view {view} --by {by}", hint="--view top, peek or tree; --by function or line"
        )
    earlier = profile.read(_content(base), base) if base else None
    taken = profile.read(_content(file), file)
    found = costs.costs(taken, sample, base=earlier, focus=focus, by="line" if by == "line" else "function")
    _print(terminal, found.as_json(limit, wanted), tools.VIEWS[wanted](found, limit), tools.sources_of(found))


@command(go_cli, "goroutines")
def show_goroutines(
    terminal: Terminal,
    file: File,
    before: Annotated[str, typer.Option(metavar="FILE", help="An earlier one: show what grew.")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100_000, help="How many groups.")] = 12,
) -> None:
    """Group goroutines by where they are: of a profile, its text, or what a program printed when it crashed."""
    found = goroutines.read(_content(file), file)
    if before:
        found = goroutines.grown(found, goroutines.read(_content(before), before))
    _print(terminal, found.as_json(limit), goroutines.told(found, limit), why.GOROUTINES)


@command(go_cli, "gctrace")
def show_trace(terminal: Terminal, file: File) -> None:
    """Show what the collector did, from what a program prints under GODEBUG=gctrace=1."""
    traces = gctrace.read(_content(file).decode("utf-8", "replace"))
    _print(terminal, {"processes": [each.as_json() for each in traces]}, tools.traced(traces), why.TRACES)


@command(go_cli, "whatif")
def show_outcome(
    terminal: Terminal,
    live: Annotated[str, typer.Option(help="Live heap, such as 64MiB.")] = "",
    gogc: Annotated[str, typer.Option(help="A percentage, or off.")] = "100",
    memory_limit: Annotated[str, typer.Option("--limit", help="GOMEMLIMIT, such as 460MiB.")] = "",
    stacks: Annotated[str, typer.Option(help="Goroutine stacks, such as 2MiB.")] = "",
    globals_: Annotated[str, typer.Option("--globals", help="Package variables with pointers.")] = "",
    other: Annotated[str, typer.Option(help="What the runtime needs beside heap and stacks.")] = "",
    rate: Annotated[str, typer.Option(help="Allocated in a second, such as 150MiB.")] = "",
    cost: Annotated[float, typer.Option(help="Nanoseconds of CPU to mark a live byte.")] = 0.0,
    trace: Annotated[str, typer.Option(metavar="FILE", help="Take all of these from a GC trace, - for stdin.")] = "",
    picture: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it, - for stdout.")] = None,
    theme: Annotated[str, typer.Option(metavar="auto|light|dark", help="Colours of the picture.")] = "auto",
) -> None:
    """Calculate what GOGC and a memory limit would do: memory, collections, GC CPU."""
    traced = gctrace.read(_content(trace).decode("utf-8", "replace"))[-1] if trace else None
    program = whatif.given(traced, live=live, stacks=stacks, globals_=globals_, other=other, rate=rate, cost=cost)
    chosen = whatif.what_if(program, whatif.gogc(gogc), whatif.limit(memory_limit))
    if picture:
        draw(plot.svg(program, chosen, canvas.theme(theme)), picture)
        if str(picture) == "-":
            return
    pages = why.LIMIT if chosen.limit is not None else why.GOGC
    _print(terminal, whatif.as_json(program, chosen), whatif.told(program, chosen), pages)


def _content(name: str) -> bytes:
    """The bytes of the file NAME, or of stdin for "-"."""
    if name == "-":
        return received.bounded(sys.stdin.buffer.read(received.MOST + 1), "stdin")
    return received.content(Path(name))


def _print(terminal: Terminal, shape: dict[str, object], text: str, pages: why.Pages) -> None:
    sources = [{"title": title, "link": link} for title, link in pages]
    terminal.print({**shape, "see": sources}, f"{text}\n\n{see(pages)}")
