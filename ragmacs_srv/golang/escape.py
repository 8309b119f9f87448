"""A package becomes what its compiler decided: which values go to the heap, which parameters leak, and why.

The compiler's log for machines gives positions in the files themselves, and the chain of reasons; its text names the
functions and what stays on the stack. Nothing is run.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from platform import machine
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from ..errors import InvalidParams, TypeNotFound
from ..settings import nearest
from . import package as packages
from .workshop import Place, Workshop

Kind = Literal["moved_to_heap", "escapes", "leaks_param", "no_escape"]
HEAP: Final = frozenset({"moved_to_heap", "escapes"})
MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}  # as Go names them
SHOWN: Final = 60  # sites in a text
STEPS: Final = 6  # steps of a chain in a text
_LINE: Final = re.compile(r"(.+?):(\d+):(?:(\d+):)? (.*)")
_ESCAPES: Final = re.compile(r"(.*) escapes to heap(?: in (.*?))?:")
_LEAKS: Final = re.compile(r"parameter (.*) leaks to (.*?)(?: for (.*))? with derefs=\d+:?")
_LEAKING: Final = re.compile(r"leaking param(?: content)?: (\S+)(?: to result (\S+) level=\d+)?")
_FROM: Final = re.compile(r"(from .*) at (.+?:\d+(?::\d+)?)")
_REASON: Final = re.compile(r"\(([^()]+)\)$")
_INLINE: Final = re.compile(r"can(?:not)? inline (.+?)(?: with cost \d+.*|: .*)?$")
_DYNAMIC: Final = re.compile(r"make\(\[\].*, *(?!\d+\))[^,]+\)$")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a chain of reasons, and where in the code it is."""

    message: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What the compiler decided about EXPR. `file` is as the compiler names it; line and column count from 1."""

    file: str
    line: int
    column: int  # 0: not known
    expr: str
    kind: Kind
    function: str = ""  # as the compiler names it, such as (*T).Run.func1
    reason: str = ""  # the last in the chain
    to: str = ""  # of a parameter: the result or the heap that it leaks to
    flow: tuple[Step, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "col": self.column,
            "expr": self.expr,
            "kind": self.kind,
            "func": self.function,
            "reason": self.reason,
            "to": self.to,
            "flow": [{"msg": each.message, "pos": each.place} for each in self.flow],
        }


@dataclass(frozen=True, slots=True)
class Escapes:
    """The decisions about one package, or a part of it."""

    package: str
    folder: Path
    sites: tuple[Site, ...]
    caveats: tuple[str, ...]
    go_version: str
    goarch: str
    argv: tuple[str, ...] = field(default=(), compare=False)
    ms: int = field(default=0, compare=False)

    def counted(self) -> dict[str, int]:
        """How many sites there are of each sort."""
        return {
            "heap": sum(each.kind in HEAP for each in self.sites),
            "leaking_params": sum(each.kind == "leaks_param" for each in self.sites),
            "no_escape": sum(each.kind == "no_escape" for each in self.sites),
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "package": self.package,
            "go_version": self.go_version,
            "goarch": self.goarch,
            "counts": self.counted(),
            "sites": [each.as_json() for each in self.sites],
            "caveats": list(self.caveats),
            "argv": list(self.argv),
            "ms": self.ms,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """Which decisions are wanted: those in FUNCTION, in FILE, and in lines FIRST to LAST, 0 for no limit."""

    function: str = ""
    file: str = ""
    first: int = 0
    last: int = 0

    def has(self, site: Site) -> bool:
        """Whether SITE is in it."""
        return (
            (not self.function or _within(site.function, self.function))
            and (not self.file or Path(site.file).name == Path(self.file).name)
            and self.first <= site.line
            and (not self.last or site.line <= self.last)
        )


ALL: Final = Part()


@dataclass(frozen=True, slots=True)
class Log:
    """The compiler's log about one file, without its `//line` comments: `file` is the one that was read."""

    file: Path
    goarch: str
    sites: tuple[Site, ...]


def analyse(shop: Workshop, place: Place, package: str, part: Part = ALL) -> Escapes:
    """What the compiler decides about PART of PACKAGE, as `go list` takes it at PLACE.

    Raises ToolchainFailed (`compile_error` with `diagnostics`, and what keeps a package from being read), TypeNotFound
    (`unknown_function`), ToolchainMissing, AddressRefused, InvalidParams and Cancelled.
    """
    if part.file.endswith("_test.go"):
        raise InvalidParams(f"{part.file} is a test", hint="ask about the files of the package itself")
    go = shop.find()
    with tempfile.TemporaryDirectory(prefix="ragmacs-go-") as folder:  # a new one: Go's cache does not keep the log
        flags = ["-export", f"-gcflags=-m=2 -json=0,{Path(folder).as_uri()}"]  # compiles, and links nothing
        found, output = packages.listed(shop, go, place, package, flags)
        if found.wrong:
            raise packages.broken(found, output, place)
        logs = [read_log(path.read_text("utf-8", "replace")) for path in sorted(Path(folder).glob("*/*.json"))]
    said = [replace(each, file=_absolute(each.file, place.folder)) for each in parse_m2(output.stderr)]
    decided = merged([each for log in logs if log.file.parent == found.folder for each in log.sites], said)
    decided = [each for each in decided if Path(each.file).parent == found.folder]
    known = {_bare(name) for name in functions(output.stderr)}
    if part.function and not any(_within(name, part.function) for name in known):
        message = f"package {found.path} has no function {part.function}"
        raise TypeNotFound(message, hint=nearest(part.function, sorted(known)), data={"kind": "unknown_function"})
    foreign = sum(each.kind in HEAP for log in logs if log.file.parent != found.folder for each in log.sites)
    sites = tuple(sorted(filter(part.has, decided), key=lambda each: (each.file, each.line, each.column)))
    goarch = place.target.goarch or next((log.goarch for log in logs), "") or MACHINES.get(machine(), machine())
    return Escapes(
        found.path,
        found.folder,
        sites,
        _caveats(sites, go.release, foreign),
        go.version,
        goarch,
        output.argv,
        output.ms,
    )


def merged(logged: Iterable[Site], said: Sequence[Site]) -> list[Site]:
    """The sites that the compiler LOGGED, with the function that it SAID in its text; and what stays on the stack.

    Without a log all of SAID.
    """
    named = {(each.file, each.line, each.column, each.expr): each for each in said}
    sites = []
    for each in logged:
        match = named.get((each.file, each.line, each.column, each.expr))
        sites.append(replace(each, function=match.function, kind=match.kind) if match else each)
    if not sites:
        return list(said)
    return sites + [each for each in said if each.kind == "no_escape"]


# The log


def read_log(text: str) -> Log:
    """The decisions in TEXT, the log that `-json=0` writes about one file; several about one place are one."""
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    header = lines[0] if lines else {}
    file = Path(header.get("file", ""))
    found: dict[tuple[int, int, str], Site] = {}
    finals = set()  # where an expression is allocated; a variable that moves to the heap has no such line
    for each in lines[1:]:
        start, message = each["range"]["start"], each["message"]
        line, column = start["line"], start["character"]
        if each["code"] in {"escape", "escapes"} and not message:
            finals.add((line, column))
        elif site := _logged(each["code"], message, str(file), line, column):
            flow = tuple(_steps(each.get("relatedInformation") or ()))
            found.setdefault((line, column, site.expr), replace(site, flow=flow, reason=_reason(flow)))
    sites = (replace(each, kind="escapes") if (each.line, each.column) in finals else each for each in found.values())
    return Log(file, header.get("goarch", ""), tuple(sites))


def _logged(code: str, message: str, file: str, line: int, column: int) -> Site | None:
    if code in {"escape", "escapes"}:
        return Site(file, line, column, message.removesuffix(" escapes to heap"), "moved_to_heap")
    if code == "leak" and (leak := _LEAKS.fullmatch(message)):
        return Site(file, line, column, leak[1], "leaks_param", to=leak[2])
    return None


def _steps(related: Iterable[Mapping[str, Any]]) -> Iterator[Step]:
    for each in related:
        kind, _, message = each["message"].partition(":")
        if kind == "escflow":
            where = each["location"]
            start = where["range"]["start"]
            file = unquote(urlsplit(where["uri"]).path)
            yield Step(message.strip(), f"{file}:{start['line']}:{start['character']}")


def _reason(flow: Sequence[Step]) -> str:
    """The last reason in FLOW that says more than that there is a pointer."""
    reasons = [
        found[1] for each in flow if each.message.startswith("from ") and (found := _REASON.search(each.message))
    ]
    return next((each for each in reversed(reasons) if each != "reference"), "")


# The text


def parse_m2(text: str) -> list[Site]:
    """The decisions in TEXT, what `go build -gcflags=-m=2` (or `-m`) prints, also a part of it; other lines count not.

    With `-m` alone there is no function and no reason.
    """
    blocks: dict[tuple[str, str, str, str], Site] = {}
    sites: dict[tuple[str, str, str, str], Site] = {}
    open_at: tuple[str, str, str, str] | None = None
    for raw in text.splitlines():
        match = _LINE.fullmatch(raw.strip())
        if match is None:
            continue
        file, line, column, said = match[1], match[2], match[3] or "0", match[4]
        if said.startswith("  "):
            if open_at and open_at[:3] == (file, line, column):
                blocks[open_at] = _continued(blocks[open_at], said.strip())
        elif block := _opened(file, int(line), int(column), said):
            open_at = file, line, column, block.expr
            if open_at in blocks:
                open_at = file, line, column, block.expr + "#again"  # the first chain is enough
            blocks[open_at] = block
        elif site := _final(file, int(line), int(column), said):
            sites.setdefault((file, line, column, site.expr), site)
    for key, block in blocks.items():
        if key in sites:
            sites[key] = _joined(sites[key], block)
        elif not key[3].endswith("#again"):
            sites[key] = replace(block, reason=_reason(block.flow))
    return list(sites.values())


def functions(text: str) -> list[str]:
    """The functions that TEXT, what `-m=2` prints, names."""
    found = []
    for raw in text.splitlines():
        if (match := _LINE.fullmatch(raw)) and (function := _INLINE.fullmatch(match[4])):
            found.append(function[1])
    return found


def _opened(file: str, line: int, column: int, said: str) -> Site | None:
    """The site whose chain of reasons SAID begins."""
    if escape := _ESCAPES.fullmatch(said):
        return Site(file, line, column, escape[1], "escapes", escape[2] or "")
    if leak := _LEAKS.fullmatch(said):
        return Site(file, line, column, leak[1], "leaks_param", leak[3] or "", to=leak[2])
    return None


def _continued(block: Site, said: str) -> Site:
    step = Step(found[1], found[2]) if (found := _FROM.fullmatch(said)) else Step(said)
    return replace(block, flow=(*block.flow, step))


def _final(file: str, line: int, column: int, said: str) -> Site | None:
    """The decision that SAID is."""
    if said.startswith("moved to heap: "):
        return Site(file, line, column, said.removeprefix("moved to heap: "), "moved_to_heap")
    if said.endswith(" escapes to heap"):
        return Site(file, line, column, said.removesuffix(" escapes to heap"), "escapes")
    if said.endswith(" does not escape"):
        return Site(file, line, column, said.removesuffix(" does not escape"), "no_escape")
    if leak := _LEAKING.match(said):
        return Site(file, line, column, leak[1], "leaks_param", to=leak[2] or "{heap}")
    return None


def _joined(site: Site, block: Site) -> Site:
    """SITE with what the BLOCK about it says."""
    return replace(site, function=block.function, flow=block.flow, reason=_reason(block.flow), to=block.to or site.to)


# Parts and words


def _absolute(file: str, folder: Path) -> str:
    return os.path.normpath(folder / file)


def _bare(function: str) -> str:
    """The name of FUNCTION without the marks of receivers and instances: `(*T).Run` is `T.Run`."""
    return re.sub(r"\[.*?\]|[()*]", "", function)


def _within(function: str, wanted: str) -> bool:
    """Whether FUNCTION is WANTED, a method of that name, or a function literal in it."""
    name, asked = _bare(function), _bare(wanted)
    return name == asked or name.startswith(asked + ".func") or f".{asked}." in f".{name}."


def _caveats(sites: Sequence[Site], release: tuple[int, int], foreign: int) -> tuple[str, ...]:
    """What one must know so as not to read too much into SITES."""
    made = []
    if release >= (1, 25) and any(each.kind == "no_escape" and _DYNAMIC.fullmatch(each.expr) for each in sites):
        made.append(
            "make([]T, n) with an n that the compiler does not know is said not to escape since Go 1.25, yet it takes"
            " heap memory when it is larger than a small buffer on the stack: measure it with a benchmark"
        )
    if any(each.kind in HEAP and re.match(r"[\"`\d]", each.expr) for each in sites):
        made.append(
            "a constant that escapes, as one that becomes an interface, lies in read-only data, not on the heap"
        )
    if any(each.kind in HEAP | {"leaks_param"} and not each.function for each in sites):
        made.append(
            "where //line comments rename positions, lines are those of the file itself, and no function is named"
        )
    if foreign:
        made.append(f"{foreign} more in generic code of other packages, which is compiled here, are left out")
    made.append(
        "calls that are inlined are decided in their callers: one site can stand for several allocations, or none"
    )
    return tuple(made)


# As text


def text(found: Escapes, *, chains: bool = True) -> str:
    """FOUND for reading: what goes to the heap and why, then parameters that leak; what stays is only counted."""
    counts = found.counted()
    head = (
        f"{found.package} ({found.go_version} {found.goarch}): {counts['heap']} go to the heap,"
        f" {counts['leaking_params']} parameters leak, {counts['no_escape']} stay on the stack"
    )
    wanted = [each for each in found.sites if each.kind != "no_escape"]
    lines = [line for each in wanted[:SHOWN] for line in _lines(each, found.folder, chains)]
    more = [f"… {len(wanted) - SHOWN} more: ask about one function, file, or lines"] if len(wanted) > SHOWN else []
    return "\n".join([head, *(f"Note: {each}." for each in found.caveats), "", *lines, *more]).strip()


def _lines(site: Site, folder: Path, chains: bool) -> Iterator[str]:
    verb = {"moved_to_heap": "is moved to the heap", "escapes": "escapes", "leaks_param": f"leaks to {site.to}"}
    function = f" in {site.function}" if site.function else ""
    because = f": {site.reason}" if site.reason else ""
    yield f"{_short(site.file, folder)}:{site.line}:{site.column} {site.expr} {verb[site.kind]}{function}{because}"
    if chains:
        yield from (f"    {each.message} {_short(each.place, folder)}".rstrip() for each in site.flow[:STEPS])


def _short(file: str, folder: Path) -> str:
    return file.removeprefix(f"{folder}{os.sep}")
