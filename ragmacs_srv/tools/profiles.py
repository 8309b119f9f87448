"""What a Go program recorded or printed about its memory, for a model: profiles, dumps of goroutines, GC traces.

Nothing is run and no Go is needed. Files are read below the roots that the client named, or `[go] roots`; what they
name is never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, Protocol

from .. import roots
from ..errors import InvalidParams
from ..golang import canvas, costs, gctrace, goroutines, plot, received, whatif, why
from ..golang import profile as profiles
from ..golang.workshop import Workshop
from ..registry import Between, Result, tool
from .golang import cited

VIEWS: Final[Mapping[costs.View, Callable[[costs.Costs, int], str]]] = {
    "top": costs.top,
    "peek": costs.peek,
    "tree": costs.tree,
}
Picture = Annotated[Literal["", "auto", "light", "dark"], "Add an SVG picture to the structured reply."]


class Desk(Protocol):
    """The App, as far as these tools use it."""

    @property
    def workshop(self) -> Workshop: ...


@tool()
def go_pprof(
    app: Desk,
    profile: Annotated[str, "File of a pprof profile (heap, allocs, cpu, goroutine, mutex, block), absolute."],
    sample: Annotated[str, "Sample type such as alloc_space, alloc_objects, inuse_space, cpu. Default: its own."] = "",
    limit: Annotated[int, "How many rows.", Between(1, 100)] = 20,
    focus: Annotated[str, "Only stacks with a function or file of this name; a|b for either, .* for anything."] = "",
    base: Annotated[str, "An earlier profile to subtract, absolute: shows what grew."] = "",
    view: Annotated[costs.View, "Rows; peek: callers and callees of what `focus` names; tree: the calls."] = "top",
    by: Annotated[costs.By, "A row for each function, or for each line."] = "function",
) -> Result:
    """Read a Go profile: which functions or lines allocate most (alloc_objects, alloc_space), hold memory (inuse_space)
    or take CPU, flat and with what they call, in percent. Use it to find the line to change, and with `base` to find a
    leak."""
    found = costs.costs(_profile(app, profile), sample, base=_profile(app, base) if base else None, focus=focus, by=by)
    return cited(VIEWS[view](found, limit), found.as_json(limit, view), *sources_of(found))


@tool()
def go_goroutines(
    app: Desk,
    file: Annotated[str, "A goroutine or goroutineleak profile, or its text (?debug=1 or 2), absolute."] = "",
    text: Annotated[str, "Instead of a file: that text, or what a crashing program printed."] = "",
    before: Annotated[str, "File of an earlier one: shows which groups grew."] = "",
    limit: Annotated[int, "How many groups.", Between(1, 100)] = 12,
) -> Result:
    """Group the goroutines of a Go program by where they are and what they wait for, with who created them; with
    `before`, what grew. Use it to find goroutine leaks and deadlocks."""
    found = goroutines.read(_given(app, file, text), file or "the text")
    if before:
        found = goroutines.grown(found, goroutines.read(_content(app, before), before))
    return cited(goroutines.told(found, limit), found.as_json(limit), *why.GOROUTINES)


@tool()
def go_gctrace(
    app: Desk,
    file: Annotated[str, "File with the stderr of a program that ran with GODEBUG=gctrace=1, absolute."] = "",
    text: Annotated[str, "Instead of a file: that output; other lines are passed over."] = "",
) -> Result:
    """Read a Go GC trace: how often the collector ran, how long it stopped the world, live heap, peak and goal, rate
    of allocation, the part of the CPU time it took, and what is worth a look."""
    traces = gctrace.read(_given(app, file, text).decode("utf-8", "replace"))
    return cited(traced(traces), {"processes": [each.as_json() for each in traces]}, *why.TRACES)


@tool()
def go_gc_whatif(
    app: Desk,
    live: Annotated[str, "Live heap, such as 64MiB; with `trace` not needed."] = "",
    gogc: Annotated[str, "GOGC to try: a percentage, or off."] = "100",
    memory_limit: Annotated[str, "GOMEMLIMIT to try, such as 460MiB. Default: none."] = "",
    stacks: Annotated[str, "Memory of goroutine stacks, such as 2MiB."] = "",
    globals: Annotated[str, "Memory of package variables with pointers."] = "",  # noqa: A002
    other: Annotated[str, "What the Go runtime needs beside heap and stacks, such as 10MiB."] = "",
    rate: Annotated[str, "What the program allocates in a second, such as 150MiB."] = "",
    cost: Annotated[float, "Nanoseconds of CPU to mark a live byte; a trace measures it."] = 0.0,
    trace: Annotated[str, "File with a GC trace to take all of these from, absolute."] = "",
    picture: Picture = "",
) -> Result:
    """Calculate what GOGC and GOMEMLIMIT would do: the peak of the heap, memory, collections per second and GC CPU, for
    this GOGC and others, and whether a memory limit means a death spiral. The formulas are the Go GC guide's."""
    traced = gctrace.read(_content(app, trace).decode("utf-8", "replace"))[-1] if trace else None
    program = whatif.given(traced, live=live, stacks=stacks, globals_=globals, other=other, rate=rate, cost=cost)
    chosen = whatif.what_if(program, whatif.gogc(gogc), whatif.limit(memory_limit))
    shape = whatif.as_json(program, chosen)
    if picture:
        shape["svg"] = plot.svg(program, chosen, canvas.theme(picture))
    return cited(whatif.told(program, chosen), shape, *(why.LIMIT if chosen.limit is not None else why.GOGC))


def sources_of(found: costs.Costs) -> why.Pages:
    """Why the measure of FOUND is worth knowing."""
    if "goroutine" in found.measure.type:
        return why.GOROUTINES
    return why.PROFILES if found.measure.type.startswith(("alloc_", "inuse_")) else why.COSTS


def traced(traces: list[gctrace.Trace]) -> str:
    """What there is to say of why.TRACES, one after the other."""
    if len(traces) == 1:
        return gctrace.told(traces[0])
    return "\n\n".join(f"Process {n}:\n{gctrace.told(each)}" for n, each in enumerate(traces, 1))


def _profile(app: Desk, path: str) -> profiles.Profile:
    return profiles.read(_content(app, path), path)


def _given(app: Desk, file: str, text: str) -> bytes:
    if bool(file) == bool(text):
        raise InvalidParams("give either a file or a text", hint="file: an absolute path, or text: what was printed")
    return text.encode() if text else _content(app, file)


def _content(app: Desk, path: str) -> bytes:
    return received.content(roots.below(path, app.workshop.roots))
