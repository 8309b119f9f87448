"""A line that Go printed, or a struct, becomes what it is, what it measures, and the pages that say what to make of it.

Several things in one text are explained one after the other. Only a struct needs Go on this machine; nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..errors import InvalidParams, ToolchainError
from ..golang import benchmarks, crash, escape, gctrace, goroutines, snippet, table, toptext, why
from ..golang import layout as layouts
from ..golang.workshop import Workshop
from ..model import Page
from .units import sentences

LONGEST: Final = 2 << 20  # characters that are looked at
QUOTE: Final = 300  # characters of a quote
KNOWN: Final = (
    "lines of GODEBUG=gctrace=1, of go build -gcflags=-m, of go test -benchmem, of go tool pprof -top, a panic, a "
    "fatal error or a dump of goroutines, or the source of a struct"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A page that says why something matters; QUOTE is what its section begins with, "" where it is not indexed."""

    title: str
    link: str
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a piece of text IS, what there is to say of it, the same as JSON, and where to read on."""

    kind: str
    name: str
    text: str
    fields: Mapping[str, Any]
    pages: why.Pages
    sources: tuple[Source, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        see = [{"title": each.title, "link": each.link, "quote": each.quote} for each in self.sources]
        return {"kind": self.kind, "name": self.name, "text": self.text, "fields": dict(self.fields), "see": see}


def explain(text: str, shop: Workshop, page: Callable[[str], Page | None]) -> list[Explanation]:
    """What there is in TEXT, and what it says; PAGE gives the page at an address, if it is indexed.

    Raises InvalidParams, with what can be read, where there is nothing known in it, and Cancelled.
    """
    if len(text) > LONGEST:
        raise InvalidParams(f"more than {LONGEST >> 20} MB of text", hint="give the part that you want explained")
    found = [each for reader in _READERS for each in reader(text)]
    if not found and _STRUCT.search(text):
        found.append(_struct(text, shop))
    if not found:
        raise InvalidParams("nothing in it is known", hint=KNOWN)
    return [_sourced(each, page) for each in found]


def told(found: Explanation) -> str:
    """FOUND as text: its name, what there is to say, and where to read on."""
    lines = [f"{found.name}.", "", found.text, ""]
    for n, each in enumerate(found.sources, 1):
        lines.append(f"[{n}] {each.title} <{each.link}>")
        if each.quote:
            lines.append(f"    {each.quote}")
    return "\n".join(lines).rstrip()


def _sourced(found: Explanation, page: Callable[[str], Page | None]) -> Explanation:
    sources = tuple(Source(title, link, _quote(page(link), link)) for title, link in found.pages)
    return replace(found, sources=sources)


def _quote(page: Page | None, link: str) -> str:
    """What the section at LINK begins with, as PAGE has it: whole sentences, none that announces what is left out."""
    anchor = link.partition("#")[2]
    section = next((each for each in page.sections if each.anchor == anchor), None) if page else None
    if section is None:
        return ""
    opening = section.text.strip().partition("\n\n")[0]
    kept = 0
    for _, end in sentences(opening, 0, len(opening)):
        if end > QUOTE or opening[:end].endswith(":"):
            break
        kept = end
    return opening[:kept]


# What is known. Each reader gives what it finds in a text.


def _crashed(text: str) -> Iterator[Explanation]:
    died = crash.read(text)
    dump = None
    with suppress(InvalidParams):
        dump = goroutines.read(text.encode(), "the text")
    if died:
        lines = [f"It said: {died.said}", died.means]
        fields: dict[str, Any] = died.as_json()
        if dump:
            lines += ["", goroutines.told(replace(dump, reason=""), limit=6)]
            fields["goroutines"] = dump.as_json(20)
        yield Explanation("crash", died.name, "\n".join(lines), fields, died.pages)
    elif dump:
        name = {"dump": "A dump of goroutines", goroutines.LEAK: "A profile of leaked goroutines"}
        title = name.get(dump.kind, "A goroutine profile")
        yield Explanation("goroutines", title, goroutines.told(dump), dump.as_json(20), why.GOROUTINES)


def _traced(text: str) -> Iterator[Explanation]:
    with suppress(InvalidParams):
        for trace in gctrace.read(text):
            several = f", {len(trace.cycles)} cycles" if len(trace.cycles) > 1 else ""
            yield Explanation("gctrace", f"A GC trace{several}", gctrace.told(trace), trace.as_json(10), why.TRACES)


def _escaped(text: str) -> Iterator[Explanation]:
    sites = escape.parse_m2(text)
    if not sites:
        return
    lines = [line for site in sites[:10] for line in _site(site)]
    if len(sites) > 10:
        lines.append(f"… {len(sites) - 10} more")
    lines.append(
        "An allocation on the heap is work for the collector only where it happens often: a benchmark with -benchmem, "
        "or a profile of alloc_objects, says whether it does."
    )
    fields = {"sites": [each.as_json() for each in sites]}
    yield Explanation(
        "escape", "What the compiler decided in its escape analysis", "\n".join(lines), fields, why.ESCAPES
    )


def _site(site: escape.Site) -> Iterator[str]:
    """What the compiler decided about one expression, and why."""
    where = f"{site.file}:{site.line}" + (f" in {site.function}" if site.function else "")
    meaning = {
        "moved_to_heap": f"the variable {site.expr} is put on the heap: it may be needed after its call returned",
        "escapes": f"{site.expr} is allocated on the heap",
        "leaks_param": f"what the parameter {site.expr} points to goes on to {site.to or 'the heap'}: "
        "a caller's value may have to be on the heap",
        "no_escape": f"{site.expr} does not leave the call, and can be on the stack",
    }
    yield f"{where}: {meaning[site.kind]}."
    if site.kind == "no_escape" and re.match(r"make\(\[\].*, *(?!\d+\))[^,]+\)$", site.expr[:200]):
        yield "    but since Go 1.25 that is said of sizes not known before, too: only small ones are then on the stack"
    if site.reason:
        yield f"    reason: {site.reason}"
    for step in site.flow[:6]:
        yield f"    {step.message}" + (f" at {step.place}" if step.place else "")


def _benchmarked(text: str) -> Iterator[Explanation]:
    measured = benchmarks.parse_benchmem(text)
    if not measured.benchmarks:
        return
    lines = [benchmarks.text(measured), ""]
    free = [each.name for each in measured.benchmarks if each.median("allocs/op") == 0]
    dear = [each for each in measured.benchmarks if (each.median("allocs/op") or 0) > 0]
    if free:
        lines.append(f"No allocation on the heap: {', '.join(free[:8])}.")
    for each in dear[:8]:
        count, size = each.median("allocs/op") or 0, each.median("B/op")
        about = f", {size / count:,.0f} bytes each on average" if size else ""
        lines.append(f"{each.name}: {count:,g} allocs/op{about}.")
    if not any("allocs/op" in each.units for each in measured.benchmarks):
        lines.append("Allocations were not measured: run it with -benchmem.")
    lines.append("allocs/op and B/op are exact; ns/op needs several runs (-count=10) to be compared.")
    fields = measured.as_json()
    yield Explanation("benchmark", "Measurements of benchmarks", "\n".join(lines), fields, why.ALLOCATIONS)


def _ranked(text: str) -> Iterator[Explanation]:
    top = toptext.read(text)
    if top:
        pages = why.PROFILES if top.measure.startswith(("alloc_", "inuse_")) else why.COSTS
        yield Explanation("pprof", "What go tool pprof -top printed", toptext.told(top), top.as_json(), pages)


_READERS: Final = (_crashed, _traced, _escaped, _benchmarked, _ranked)
_STRUCT: Final = re.compile(r"\bstruct\s*\{")


def _struct(text: str, shop: Workshop) -> Explanation:
    """How the structs in TEXT lie in memory, where there is a Go to ask."""
    try:
        with snippet.module(text, shop.find()) as place:
            found = layouts.survey(shop, place, ".")
    except ToolchainError as exc:
        lines = f"It cannot be measured: {exc.message}.\n{exc.hint}"
        return Explanation("struct", "The source of a struct", lines, {"error": exc.message, **exc.data}, why.STRUCTS)
    told = table.table(found[0]) if len(found) == 1 else table.survey(found)
    fields = {"structs": [each.as_json() for each in found]}
    return Explanation("struct", "A struct, as it lies in memory", told, fields, why.STRUCTS)
