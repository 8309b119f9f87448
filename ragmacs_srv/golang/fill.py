"""A Go type becomes a function that makes random values of it, which builds and vets in the package where it belongs.

`helper` writes it; `check` has the user's Go compile it, in an overlay. What does not build is never given.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ..errors import InvalidParams, ToolchainFailed
from . import check, helper, snippet
from .check import Checked
from .workshop import Place, Workshop, inside, reachable

Form = Literal["func", "quick", "fuzz"]
WAYS: Final = get_args(Form)
NAME: Final = "ragmacs_filled"  # of the file that it is checked in
TOO_NEW: Final = "stdversion"  # the analyzer that knows since when the standard library has something


@dataclass(frozen=True, slots=True)
class Filled:
    """Go code that was built and vetted; `source` is a whole file, `code` the functions in it."""

    types: tuple[str, ...]
    functions: tuple[str, ...]  # one for each type
    reused: tuple[str, ...]  # that the package had before
    package: str  # the import path of where it belongs; "" for a package of its own
    folder: str
    test: bool  # it can stand in a test file only
    imports: tuple[str, ...]  # as they are written: `"time"`, or `rand2 "crypto/rand"`
    code: str
    source: str
    form: Form
    seed: int
    checked: Checked
    warnings: tuple[str, ...]
    ms: int

    def as_json(self) -> dict[str, Any]:
        said = self.checked.as_json()
        return {
            "types": list(self.types),
            "functions": list(self.functions),
            "reused": list(self.reused),
            "package": self.package,
            "folder": self.folder,
            "test": self.test,
            "imports": list(self.imports),
            "code": self.code,
            "source": self.source,
            "form": self.form,
            "seed": self.seed,
            **{key: said[key] for key in ("builds", "vetted", "go_version", "goarch", "goos", "argv")},
            "warnings": list(self.warnings),
            "ms": self.ms,
        }

    def text(self) -> str:
        """The code for a place in a file, with what that has to import."""
        where = f"package {self.package.rpartition('/')[2]}" if self.package else "a package of its own"
        imports = ", ".join(self.imports)
        how = "Built and vetted" if self.checked.vetted else "Built"
        return f"// {how} in {where} with {self.checked.go_version}; imports {imports}.\n\n{self.code}"


def fill(
    shop: Workshop,
    place: Place,
    wanted: Sequence[tuple[str, str]],
    *,
    form: str = "func",
    seed: int = 1,
    at: tuple[Path, int] | None = None,
    file: Path | None = None,
) -> Filled:
    """Functions that fill the types WANTED, each (package as `go list` takes it, name); or the one AT a (file, line).

    They belong into the package of the first where that is in the user's module, else into the one at PLACE, else into
    one of their own; FILE is what they will stand in. With FORM `quick` they are generators of testing/quick, with
    `fuzz` seeds of fuzz tests, the first of which is SEED.

    Raises TypeNotFound (`unknown_type`, `generic`), ToolchainFailed (`nothing_to_fill`, `unexported_type`,
    `does_not_build` with what the compiler said, …), ToolchainMissing, InvalidParams and Cancelled.
    """
    began = time.monotonic()
    if form not in WAYS:
        raise InvalidParams(f"code cannot be made as {form!r}", hint=f"one of {', '.join(WAYS)}")
    asked = [{"package": reachable(shop, place, package), "type": name} for package, name in wanted]
    request: dict[str, Any] = {"op": "fill", "wanted": asked, "as": form, "seed": seed}
    if at:
        request |= {"file": str(at[0]), "line": at[1]}
    answer, checked = _made(shop, place, request, file)
    return Filled(
        types=tuple(answer["types"]),
        functions=tuple(answer["functions"]),
        reused=tuple(answer["reused"] or ()),
        package="" if answer["alone"] else answer["package"].partition(" ")[0],
        folder=answer["dir"],
        test=answer["test"],
        imports=tuple(answer["imports"]),
        code=answer["code"],
        source=written(answer),
        form=form,  # type: ignore[arg-type]
        seed=seed,
        checked=checked,
        warnings=(*(answer["warnings"] or ()), *checked.warnings),
        ms=round((time.monotonic() - began) * 1000),
    )


def written(answer: Mapping[str, Any]) -> str:
    """The file that the helper's ANSWER makes, as gofmt would write it."""
    imports = "".join(f"\t{each}\n" for each in answer["imports"])
    return f"package {answer['name']}\n\nimport (\n{imports})\n\n{answer['code']}"


def _made(
    shop: Workshop, place: Place, request: Mapping[str, Any], file: Path | None
) -> tuple[dict[str, Any], Checked]:
    """The helper's answer to REQUEST, and what Go says of it; without what is newer than the module may use."""
    without: set[str] = set()
    while True:
        answer, _ = helper.ask(shop, place, {**request, "without": sorted(without)})
        inside(shop, place, answer["dir"])
        source = written(answer)
        path, checked = _checked(shop, place, answer, source, file)
        newer = {each.message.split()[0] for each in checked.problems if (each.file, each.source) == (path, TOO_NEW)}
        if newer <= without:
            _reject(checked, path, source)
            return answer, checked
        without |= newer


def _checked(
    shop: Workshop, place: Place, answer: Mapping[str, Any], source: str, file: Path | None
) -> tuple[str, Checked]:
    """Where SOURCE belongs, and what Go says of it there."""
    if answer["alone"]:
        with snippet.module(source, shop.find(), place.target) as alone:
            path = alone.folder / snippet.NAME
            return str(path), check.check(shop, replace(alone, overlay={path: source}), ".")
    name = f"{NAME}{'_test' if answer['test'] else ''}.go"
    path = file if file and file.parent == Path(answer["dir"]) and file.suffix == ".go" else Path(answer["dir"], name)
    return str(path), check.check(shop, replace(place, overlay={**place.overlay, path: source}), answer["dir"])


def _reject(checked: Checked, path: str, source: str) -> None:
    """Raises ToolchainFailed, with the words of Go, for what is wrong with SOURCE, or with its package."""
    own = [each for each in checked.problems if each.file == path]
    broken = [each for each in checked.problems if each.source == check.BUILD]
    if not own and not broken:
        return
    said = "\n".join(each.text(Path(path).parent) for each in (own or broken)[:10])
    data: dict[str, Any] = {"kind": "does_not_build" if own else "compile_error", "stderr_tail": said}
    if own:
        message, hint = f"what was made does not build or vet: {said}", "write it by hand, from ragmacs go typedef"
        raise ToolchainFailed(message, hint=hint, data={**data, "source": source})
    raise ToolchainFailed(f"the package does not build: {said}", hint="make the package compile", data=data)
