"""A package as the caller names it becomes where it is, and whether it may be read; or why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import ToolchainFailed
from ..processes import Output
from ..roots import below
from . import toolchain
from .toolchain import Toolchain
from .workshop import Place, Workshop, reachable

SOURCES: Final = ("GoFiles", "CgoFiles", "InvalidGoFiles", "TestGoFiles", "XTestGoFiles")
FIELDS: Final = ",".join(("ImportPath", "Name", "Dir", "Standard", "Module", "Error", "DepsErrors", *SOURCES))
# What `go list` says when there is no package: (kind, sign, remedy), the first that fits.
TROUBLES: Final = (
    ("no_module", "go.mod file not found", "go mod init, or go to the folder of the module"),
    ("no_module", "cannot find main module", "go mod init, or go to the folder of the module"),
    ("nested_module", "main module (", "go to the folder of the module that the package belongs to"),
    ("go_too_old", "requires go >= ", "install that Go; another toolchain is never fetched for you"),
    ("module_not_available", "module lookup disabled", "go mod download"),
    ("module_not_available", "missing go.sum entry", "go mod tidy"),
    ("module_not_available", "no required module provides", "go get it, then go mod download"),
    ("module_not_available", "cannot find module providing", "go mod download"),
    ("module_not_available", "inconsistent vendoring", "go mod vendor"),
    ("excluded_by_build_tags", "build constraints exclude all Go files", "give --tags, --goos or --goarch"),
    ("no_go_files", "no Go files in", "name a folder that has Go files"),
)
ELSEWHERE: Final = "an import path such as net/http, or a folder such as ./internal/pool"


@dataclass(frozen=True, slots=True)
class Package:
    """One package; `wrong` is what the compiler, or whoever looked for what it imports, said of it."""

    path: str
    name: str
    folder: Path
    wrong: str = ""


def listed(
    shop: Workshop, go: Toolchain, place: Place, named: str, flags: Sequence[str] = ("-find",)
) -> tuple[Package, Output]:
    """The package NAMED at PLACE, and how `go list` with FLAGS ended.

    Raises AddressRefused for what is neither below a root nor the standard library nor a module that is depended on,
    ToolchainFailed with a kind of TROUBLES or `package_not_found`, InvalidParams and Cancelled.
    """
    operand = reachable(shop, place, named)
    output = toolchain.run(
        go,
        ["list", "-e", f"-json={FIELDS}", *flags, "--", operand],
        cwd=place.folder,
        cancel=shop.cancel,
        target=place.target,
        overlay=place.overlay,
    )
    try:
        said: dict[str, Any] = json.loads(output.stdout)
    except ValueError:
        raise _trouble(shop, place, named, output.stderr, output) from None
    folder = Path(said.get("Dir", ""))
    if said.get("Dir") and not said.get("Standard") and not _depended_on(said.get("Module")):
        for name in (".", *_links(folder, said)):
            below(str(folder / name), (place.folder, *shop.roots))
    wrong = "\n".join(each["Err"].strip() for each in (said.get("Error"), *said.get("DepsErrors", ())) if each)
    if not said.get("Dir") or not said.get("Name"):
        raise _trouble(shop, place, named, wrong or output.stderr, output)
    return Package(said["ImportPath"], said["Name"], folder, wrong), output


def _trouble(shop: Workshop, place: Place, named: str, said: str, output: Output) -> ToolchainFailed:
    """Why there is no package NAMED, from what Go SAID."""
    line = next(iter(diagnostics(said, (place.folder, *shop.roots), place.folder)), "Go knows none")
    for kind, sign, hint in TROUBLES:
        if sign in said:
            return toolchain.error(output, kind, f"package {named}: {line}", hint)
    return toolchain.error(output, "package_not_found", f"package {named}: {line}", ELSEWHERE)


def broken(package: Package, output: Output, place: Place) -> ToolchainFailed:
    """That PACKAGE does not compile, with what is wrong in `diagnostics`; or that something it imports is not there."""
    said = diagnostics(package.wrong, (package.folder,), place.folder)
    for kind, sign, hint in TROUBLES:
        if sign in package.wrong and said:
            return toolchain.error(output, kind, f"package {package.path}: {said[0]}", hint)
    message = f"package {package.path} does not compile: " + ("; ".join(said[:3]) or "something outside of it is wrong")
    hint = "correct it first; ragmacs go check shows all that is wrong"
    return toolchain.error(output, "compile_error", message, hint, diagnostics=said[:20])


def diagnostics(text: str, folders: Sequence[Path], cwd: Path) -> list[str]:
    """The lines of TEXT, what a compiler said in CWD, without those about files that are in none of FOLDERS.

    What an assembler file includes can be any file of this machine, and its errors quote from it.
    """
    found = []
    for line in map(str.strip, text.splitlines()):
        named = re.match(r"(\S.*?):\d+(?::\d+)?: ", line)
        if line and not line.startswith("#") and (not named or _inside(cwd / named[1], folders)):
            found.append(line)
    return found


def _inside(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def _links(folder: Path, said: Mapping[str, Any]) -> list[str]:
    """The files of the package in FOLDER that are links: Go reads what they lead to."""
    names = (name for key in SOURCES for name in said.get(key) or ())
    return [name for name in names if (folder / name).is_symlink()]


def _depended_on(module: Mapping[str, Any] | None) -> bool:
    """Whether MODULE is one that the code requires, and stands in no folder of somebody's choice."""
    if not module or module.get("Main"):
        return False
    replaced = module.get("Replace")
    return not replaced or bool(replaced.get("Version"))
