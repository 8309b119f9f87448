"""Go code that is nowhere yet becomes what the compiler and `go vet` say of it: in its package, beside its tests.

The code is given to Go in an overlay: nothing is written into the user's folders, and nothing is run.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..errors import ToolchainFailed
from ..processes import Output
from . import package as packages
from . import toolchain
from .toolchain import Target, Toolchain
from .workshop import Place, Workshop, reachable

SECONDS: Final = 180.0  # for each of the two: what the package imports may have to be compiled
BUILD: Final = "build"
SEES: Final = (1, 24)  # before it, go vet read the files on disk, whatever an overlay said
BLIND: Final = "go vet of {0} does not see code that is written nowhere: it was compiled only"
_LINE: Final = re.compile(r"(?:vet: )?(?P<file>[^:\n]+\.\w+):(?P<line>\d+)(?::(?P<column>\d+))?: (?P<message>.+)")
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where; line and column count from 1, 0 is unknown."""

    file: str
    line: int
    column: int
    message: str
    source: str  # "build", or the analyzer of go vet

    def text(self, folder: Path) -> str:
        """The problem in a line, its file as seen from FOLDER."""
        file = self.file.removeprefix(f"{folder.absolute()}/")
        where = ":".join(str(each) for each in (file, self.line, self.column) if each)
        return f"{where}: {self.message} ({self.source})" if where else f"{self.message} ({self.source})"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a package, first what is in the files that were `given`."""

    package: str
    folder: Path
    given: tuple[str, ...]
    problems: tuple[Problem, ...]
    vetted: bool  # what does not build is not vetted
    warnings: tuple[str, ...]
    go_version: str
    target: Target
    argv: tuple[str, ...]
    ms: int

    @property
    def ok(self) -> bool:
        return not self.problems

    def own(self) -> tuple[Problem, ...]:
        """The problems in the files that were given."""
        return tuple(each for each in self.problems if each.file in self.given)

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "package": self.package,
            "files": list(self.given),
            "problems": [each.as_json() for each in self.problems],
            "builds": not any(each.source == BUILD for each in self.problems),
            "vetted": self.vetted,
            "go_version": self.go_version,
            "goarch": self.target.goarch or _MACHINES.get(platform.machine(), platform.machine()),
            "goos": self.target.goos or platform.system().lower(),
            "argv": list(self.argv),
            "ms": self.ms,
            "warnings": list(self.warnings),
        }


def check(shop: Workshop, place: Place, package: str, *, vet: bool = True) -> Checked:
    """What `go build` and `go vet` find in PACKAGE at PLACE, whose overlay is the code in question.

    Test files are type-checked by `go vet`. Raises ToolchainFailed for what is no package, ToolchainMissing,
    InvalidParams and Cancelled.
    """
    go, operand = shop.find(), reachable(shop, place, package)
    given = tuple(str(path) for path in place.overlay)
    with suppress(ToolchainFailed):  # what is no package is said below; what may not be read is refused here
        packages.listed(shop, go, place, operand)
    built = _run(go, shop, place, ["build", "-gcflags=-e", "-o", os.devnull, "--", operand])  # -e: all, not ten
    problems = [] if _only_tests(built) else list(_said(built, place.folder))
    runs, blind = [built], bool(given) and go.release < SEES
    vetting = vet and not problems and not blind
    if blind and not problems and any(each.endswith("_test.go") for each in given):
        arguments = ["test", "-c", "-vet=off", "-gcflags=-e", "-o", os.devnull, operand]
        runs.append(_run(go, shop, place, arguments))
        problems = list(_said(runs[-1], place.folder))
    elif vetting:
        runs.append(_run(go, shop, place, ["vet", "-json", "--", operand]))
        problems = list(_found(runs[-1], place.folder))
    ranked = sorted(
        dict.fromkeys(_unquoted(each, shop, place) for each in problems),
        key=lambda each: (each.file not in given, each.file, each.line, each.column),
    )
    return Checked(
        package,
        place.folder,
        given,
        tuple(ranked),
        vetting,
        (BLIND.format(go.version),) if blind and vet else (),
        go.version,
        place.target,
        built.argv,
        sum(each.ms for each in runs),
    )


def _unquoted(problem: Problem, shop: Workshop, place: Place) -> Problem:
    """PROBLEM without its words where it is in a file out of the roots: what assembler includes is quoted in errors."""
    folders = (place.folder, *shop.roots)
    line = f"{problem.file}:1: " if problem.file else problem.message
    if packages.diagnostics(line, folders, place.folder):
        return problem
    return replace(problem, message="something is wrong in a file that is in no folder that may be read")


def _run(go: Toolchain, shop: Workshop, place: Place, arguments: list[str]) -> Output:
    options: dict[str, Any] = {"target": place.target, "overlay": place.overlay, "seconds": SECONDS}
    return toolchain.run(go, arguments, cwd=place.folder, cancel=shop.cancel, **options)


def _only_tests(built: Output) -> bool:
    return built.code != 0 and "no non-test Go files" in built.stderr


def _said(output: Output, folder: Path) -> Iterator[Problem]:
    """The problems that the compiler, or the type checker of vet, printed.

    Raises ToolchainFailed when it failed without naming one: then there is no package.
    """
    if output.code == 0:
        return
    found = list(_parsed(output.stderr, folder))
    if not found:
        said = output.stderr.strip().partition("\n")[0] or f"status {output.code}"
        hint = "name the folder of a package, in a module; go mod download gets what is missing"
        raise toolchain.error(output, "package_not_found", f"go build: {said}", hint)
    yield from found


def _parsed(text: str, folder: Path) -> Iterator[Problem]:
    """The problems in the lines of TEXT; what is indented goes on with the one before it."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("# "):
            inside = True
        elif line[:1].isspace() and lines:
            lines[-1] += f" {line.strip()}"
        elif line.strip() and (inside or _LINE.match(line)):
            lines.append(line.strip())
    for line in lines:
        if at := _LINE.fullmatch(line):
            file = os.path.normpath(folder.absolute() / at["file"])
            yield Problem(file, int(at["line"]), int(at["column"] or 0), at["message"], BUILD)
        else:
            yield Problem("", 0, 0, line.removeprefix("vet: "), BUILD)


def _found(output: Output, folder: Path) -> Iterator[Problem]:
    """The findings of `go vet -json`, which ends with 0 even if it has some; older ones print them on stderr."""
    text = "\n".join(line for line in (output.stdout.decode(errors="replace") + output.stderr).splitlines())
    for reply in _objects(text):
        for analyzers in reply.values():
            for analyzer, findings in analyzers.items():
                if isinstance(findings, list):  # else it is an error of the analyzer's own
                    yield from (_finding(analyzer, each, folder) for each in findings)
    if output.code:
        yield from _said(output, folder)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in TEXT, among other lines."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            end = at + 1
        else:
            if isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()):
                yield value
        at = text.find("{", end)


def _finding(analyzer: str, finding: Mapping[str, Any], folder: Path) -> Problem:
    file, line, column = [*finding["posn"].rsplit(":", 2), "0", "0"][:3]
    return Problem(os.path.normpath(folder.absolute() / file), int(line), int(column), finding["message"], analyzer)
