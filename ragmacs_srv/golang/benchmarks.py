"""A package's benchmarks become allocations and bytes per operation; what they print, also pasted, becomes numbers.

Running them runs the code of the package, with all that this user may do: whoever calls `measure` has asked a person.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidParams, ToolchainFailed
from ..events import Cancel
from ..processes import Output
from . import package as packages
from . import toolchain
from .toolchain import Toolchain
from .workshop import Place, Workshop

BUILD_TIME: Final = 180.0  # seconds: what a test imports may have to be compiled
GENERATED: Final = "ragmacs_generated_test.go"  # exists for the command only
NS, BYTES, ALLOCS = "ns/op", "B/op", "allocs/op"
_RESULT: Final = re.compile(r"(Benchmark\S*?)(?:-(\d+))?\s+(\d+)\s+(\S.*)")
_HEADER: Final = re.compile(r"(goos|goarch|pkg|cpu): (.*)")
_CLAUSE: Final = re.compile(r"^\s*package\s+\w+", re.M)


@dataclass(frozen=True, slots=True)
class Run:
    """One line of a benchmark: N operations, and what one of them took, by unit."""

    n: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The runs of one benchmark, or of one of its parts: `BenchmarkSub/size=3`."""

    name: str
    procs: int  # GOMAXPROCS
    runs: tuple[Run, ...]

    def of(self, unit: str) -> list[float]:
        """What the runs took, in UNIT."""
        return [each.values[unit] for each in self.runs if unit in each.values]

    def median(self, unit: str) -> float | None:
        """The median of the runs in UNIT; None when it was not measured."""
        values = self.of(unit)
        return statistics.median(values) if values else None

    @property
    def units(self) -> list[str]:
        return list(dict.fromkeys(unit for each in self.runs for unit in each.values))

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "procs": self.procs,
            "runs": [{"n": each.n, **each.values} for each in self.runs],
            "median": {unit: self.median(unit) for unit in self.units},
            "min": {unit: min(self.of(unit)) for unit in self.units},
            "max": {unit: max(self.of(unit)) for unit in self.units},
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """What benchmarks printed; `header` has goos, goarch, pkg and cpu where they were printed."""

    benchmarks: tuple[Benchmark, ...]
    header: Mapping[str, str]
    passed: bool
    go_version: str = ""
    argv: tuple[str, ...] = field(default=(), compare=False)
    ms: int = field(default=0, compare=False)
    output: str = ""  # the lines of the benchmarks, as Go printed them

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmarks": [each.as_json() for each in self.benchmarks],
            **{key: self.header.get(key, "") for key in ("goos", "goarch", "pkg", "cpu")},
            "pass": self.passed,
            "go_version": self.go_version,
            "argv": list(self.argv),
            "ms": self.ms,
            "output": self.output,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One benchmark before and after, by median; None where one of them did not measure it.

    Allocations and bytes are exact; times are `apart` only when every run after is on one side of every run before.
    """

    name: str
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    apart: bool

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "before": self.before, "after": self.after, "time_differs": self.apart}


# What is printed


def parse_benchmem(text: str) -> Measured:
    """What TEXT, the output of `go test -bench` or some lines of it, measured; other lines count not.

    Units come in any order and of any name; a benchmark that printed several lines has as many runs.
    """
    runs: dict[tuple[str, int], list[Run]] = {}
    header: dict[str, str] = {}
    kept = []
    for line in map(str.strip, text.splitlines()):
        if about := _HEADER.fullmatch(line):
            header.setdefault(about[1], about[2])
        elif (result := _RESULT.fullmatch(line)) and (values := _values(result[4])):
            runs.setdefault((result[1], int(result[2] or 1)), []).append(Run(int(result[3]), values))
            kept.append(line)
    found = tuple(Benchmark(name, procs, tuple(each)) for (name, procs), each in runs.items())
    passed = not re.search(r"^(?:FAIL|panic:|--- FAIL)", text, re.M)
    return Measured(found, header, passed, output="\n".join(kept))


def _values(text: str) -> dict[str, float]:
    """The pairs of a number and a unit that TEXT is; {} if it is anything else."""
    words = text.split()
    if len(words) % 2:
        return {}
    try:
        return {unit: float(number) for number, unit in zip(words[::2], words[1::2], strict=True)}
    except ValueError:
        return {}


def compare(before: Measured, after: Measured) -> list[Change]:
    """What became of each benchmark that both measured."""
    old = {each.name: each for each in before.benchmarks}
    return [_change(old[each.name], each) for each in after.benchmarks if each.name in old]


def _change(before: Benchmark, after: Benchmark) -> Change:
    units = (ALLOCS, BYTES, NS)
    old, new = before.of(NS), after.of(NS)
    apart = len(old) > 1 and len(new) > 1 and (max(old) < min(new) or max(new) < min(old))
    return Change(
        after.name, {unit: before.median(unit) for unit in units}, {unit: after.median(unit) for unit in units}, apart
    )


# Running them


def measure(
    shop: Workshop,
    place: Place,
    package: str,
    *,
    pattern: str = "",
    generated: str = "",
    count: int = 5,
    benchtime: str = "100ms",
    seconds: int = 60,
) -> Measured:
    """Run the benchmarks of PACKAGE that PATTERN, as of `-bench`, matches: COUNT times, each for BENCHTIME.

    GENERATED is Go source of benchmarks that are added to the package for this run, on disk nowhere in it. Runs the
    user's code. Raises ToolchainFailed (`no_benchmarks`, `test_build_failed`, `panic`, `test_failed`, `timeout`, and
    what keeps a package from being read), InvalidParams, ToolchainMissing, AddressRefused and Cancelled.
    """
    if not re.fullmatch(r"\d{1,4}(ms|s)|\d{1,9}x", benchtime):
        raise InvalidParams(f"a benchmark cannot take {benchtime!r}", hint="for example 100ms, 2s, or 1000x times")
    go = shop.find()
    found, output = packages.listed(shop, go, place, package)
    if found.wrong:
        raise packages.broken(found, output, place)
    if generated:
        place = replace(place, overlay={**place.overlay, found.folder / GENERATED: _clothed(generated, found.name)})
    with tempfile.TemporaryDirectory(prefix="ragmacs-go-") as folder:
        program = Path(folder, "benchmarks.test")
        output = _compiled(shop, go, place, package, found, program)
        if not program.exists():
            raise _none(found.path, pattern, output)
        flags = [f"-test.bench={pattern or '.'}", f"-test.benchtime={benchtime}", f"-test.count={count}"]
        argv = [str(program), "-test.run=^$", "-test.benchmem", *flags]
        output = _run(argv, found, toolchain.environment(go, place.target), shop.cancel, seconds)
    made = parse_benchmem(output.stdout.decode(errors="replace"))
    if output.code:
        raise _failed(found.path, output)
    if not made.benchmarks:
        raise _none(found.path, pattern, output)
    return replace(made, go_version=go.version, argv=tuple(argv), ms=output.ms)


def _compiled(
    shop: Workshop, go: Toolchain, place: Place, package: str, found: packages.Package, program: Path
) -> Output:
    """Write the tests of the package FOUND to PROGRAM; none is written for a package without tests."""
    output = toolchain.run(
        go,
        ["test", "-c", "-vet=off", "-o", str(program), toolchain.operand(package)],  # it knows no `--`
        cwd=place.folder,
        cancel=shop.cancel,
        target=place.target,
        overlay=place.overlay,
        seconds=BUILD_TIME,
    )
    if output.code:
        wrong = [line for line in output.stderr.splitlines() if line.strip() and not line.startswith("#")]
        message = f"the tests of {found.path} do not compile: {'; '.join(wrong[:3])}"
        raise toolchain.error(output, "test_build_failed", message, "correct it first", diagnostics=wrong[:20])
    return output


def _run(
    argv: Sequence[str], package: packages.Package, environ: Mapping[str, str], cancel: Cancel, seconds: int
) -> Output:
    """Run the program ARGV where the tests of PACKAGE expect to be."""
    try:
        return toolchain.started(argv, cwd=package.folder, environ=environ, cancel=cancel, seconds=seconds)
    except ToolchainFailed as exc:
        if exc.data["kind"] != "timeout":
            raise
        message = f"the benchmarks of {package.path} took more than {seconds} s and were stopped"
        raise ToolchainFailed(message, hint="choose one of them, or allow more seconds", data=exc.data) from exc


def _clothed(source: str, package: str) -> str:
    """SOURCE as a file of PACKAGE, with what it needs around it; lines keep their numbers."""
    if _CLAUSE.search(source):
        return source
    imported = "" if re.search(r'"testing"', source) else '; import "testing"'
    return f"package {package}{imported}; {source}"


def _none(package: str, pattern: str, output: Output) -> ToolchainFailed:
    wanted = f" that {pattern!r} matches" if pattern else ""
    hint = "write func BenchmarkName(b *testing.B) in a _test.go file, or give the source of one"
    return toolchain.error(output, "no_benchmarks", f"package {package} has no benchmark{wanted}", hint)


def _failed(package: str, output: Output) -> ToolchainFailed:
    """Why the benchmarks of PACKAGE, whose program ended with OUTPUT, gave nothing."""
    printed = output.stdout.decode(errors="replace")
    said = f"{printed}\n{output.stderr}"  # a line of the one can be without its end
    kind, message = "test_failed", f"the benchmarks of {package} failed"
    if panic := re.search(r"^(?:panic|fatal error): .*", said, re.M):
        kind, message = "panic", f"a benchmark of {package} ended with {panic[0]}"
    elif reason := re.search(r"^(?:--- FAIL.*|error: .*|testing: .*)", said, re.M):
        message = f"the benchmarks of {package} failed: {reason[0]}"
    return toolchain.error(output, kind, message, "see what it printed: output_tail", output_tail=printed[-2000:])


# As text


def text(found: Measured, changes: Sequence[Change] = ()) -> str:
    """FOUND as a table of medians, and what changed."""
    rows: list[tuple[str, ...]] = [("benchmark", ALLOCS, BYTES, NS, "runs")]
    for each in found.benchmarks:
        shown = (_number(each.median(unit)) for unit in (ALLOCS, BYTES, NS))
        rows.append((each.name, *shown, str(len(each.runs))))
    head = " ".join(filter(None, (found.header.get("pkg"), found.go_version, found.header.get("cpu"))))
    lines = [head, *_columns(rows), *_others(found.benchmarks)]
    if changes:
        lines += ["", "before → after:", *(f"{each.name}  {_changed(each)}" for each in changes)]
    return "\n".join(lines).strip()


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        yield "  ".join([name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])])


def _others(benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    """What a benchmark measures beside time and memory."""
    for each in benchmarks:
        units = [unit for unit in each.units if unit not in {NS, BYTES, ALLOCS}]
        if units:
            yield f"  {each.name}: " + ", ".join(f"{_number(each.median(unit))} {unit}" for unit in units)


def _changed(change: Change) -> str:
    parts = []
    for unit in (ALLOCS, BYTES, NS):
        before, after = change.before[unit], change.after[unit]
        if before is None or after is None:
            continue
        same = " (the runs overlap: not different)" if unit == NS and not change.apart else ""
        parts.append(f"{_number(before)} → {_number(after)} {unit}{same}")
    return ", ".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def printed(path: Path) -> str:
    """What the file PATH has: Go source, the output of `go test -bench`, or that in our JSON of an earlier run.

    Raises InvalidParams.
    """
    try:
        said = path.read_text("utf-8", "replace")
    except OSError as exc:
        raise InvalidParams(f"{path} cannot be read: {exc.strerror}", hint="name a file") from exc
    if not said.startswith("{"):
        return said
    try:
        return str(json.loads(said)["output"])
    except (ValueError, KeyError, TypeError):
        raise InvalidParams(f"{path} is no earlier run", hint="keep one: ragmacs go allocs PKG --run --json") from None
