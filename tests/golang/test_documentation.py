"""The documentation that our Go program writes holds what `go doc` and `go list` speak of, each under its anchor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv.errors import ToolchainFailed, ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import toolchain
from ragmacs_srv.golang.godoc import Documentation
from ragmacs_srv.golang.toolchain import REMEDY, Toolchain
from ragmacs_srv.golang.workshop import Workshop
from tests.golang.conftest import written

PACKAGES = ["runtime", "runtime/debug", "sync", "sync/atomic", "unsafe", "testing", "net/http", "builtin", "iter"]


@pytest.fixture
def documentation(go: Toolchain, cache: Path) -> Documentation:
    return Documentation(Workshop(lambda: go, cache, (), Cancel()))


def sections(documentation: Documentation, path: str) -> dict[str, Any]:
    """The sections of a package by their anchors."""
    said = json.loads(documentation.package(path, Cancel()))
    found = {each["anchor"]: each for each in said["sections"]}
    assert len(found) == len(said["sections"])
    return found


def told(go: Toolchain, *arguments: str) -> str:
    done = toolchain.run(go, arguments, cwd=Path("/"), cancel=Cancel())
    assert done.code == 0, done.stderr
    return done.stdout.decode()


FUNCTION = re.compile(r"^func (?:\((?:\w+ )?\*?(\w+)(?:\[.*?\])?\) )?(\w+)")


def symbols(text: str) -> Iterator[tuple[str, str]]:
    """(how it is declared, the anchor it has on pkg.go.dev) of all that `go doc -all` TEXT declares."""
    group = ""
    for line in text.splitlines():
        if found := FUNCTION.match(line):
            yield "func", ".".join(filter(None, found.groups()))
        elif found := re.match(r"^(type|const|var) (\w+)", line):
            yield found[1], found[2]
        elif found := re.match(r"^(const|var) \($", line):
            group = found[1]
        elif line == ")":
            group = ""
        elif group and (found := re.match(r"^\t([A-Z]\w*(?:, [A-Z]\w*)*)", line)):
            yield from ((group, name) for name in found[1].split(", "))


@pytest.mark.go
@pytest.mark.parametrize("path", PACKAGES)
def test_every_symbol_that_go_doc_lists_has_a_section(go: Toolchain, documentation: Documentation, path: str) -> None:
    found = sections(documentation, path)
    listed = set(symbols(told(go, "doc", "-cmd", "-all", *(["-u"] if path == "builtin" else []), "--", path)))
    grouped = {
        name
        for each in found.values()
        if each["heading"] and each["heading"][-1].startswith(("const ", "var "))
        for name in re.findall(r"\w+", each["pieces"][0]["text"])
    }
    assert listed
    assert [(kind, name) for kind, name in listed if name not in (grouped if kind in {"const", "var"} else found)] == []


@pytest.mark.go
def test_the_standard_library_is_what_go_list_says(go: Toolchain, documentation: Documentation) -> None:
    listed = {each for each in told(go, "list", "std").split() if not re.search(r"(^|/)(internal|vendor)(/|$)", each)}
    found = set(documentation.standard(Cancel()))
    assert found ^ listed <= {"builtin", "runtime/cgo"}, "one is documentation only, the other for those who have C"
    assert "builtin" in found


@pytest.mark.go
def test_a_section_has_the_declaration_what_is_said_and_its_place(go: Toolchain, documentation: Documentation) -> None:
    section = sections(documentation, "runtime/debug")["SetMemoryLimit"]
    code, *paragraphs = (each["text"] for each in section["pieces"])
    assert code == "```go\nfunc SetMemoryLimit(limit int64) int64\n```"
    assert paragraphs[0].startswith("SetMemoryLimit provides the runtime with a soft memory limit.")
    file, _, line = section["place"].partition(":")
    text = (go.goroot / "src" / file).read_text().splitlines()
    assert text[int(line) - 1].startswith("func SetMemoryLimit(")


@pytest.mark.go
def test_what_belongs_to_a_type_stands_below_it(documentation: Documentation) -> None:
    found = {anchor: each["heading"] for anchor, each in sections(documentation, "runtime/debug").items()}
    assert found["ReadBuildInfo"] == ["type BuildInfo", "func ReadBuildInfo"]
    assert found["BuildInfo.String"] == ["type BuildInfo", "func (*BuildInfo) String"]
    assert found["SetGCPercent"] == ["func SetGCPercent"]
    generic = sections(documentation, "sync/atomic")["Pointer.Load"]
    assert generic["heading"] == ["type Pointer", "func (*Pointer[T]) Load"]


@pytest.mark.go
def test_headings_of_a_package_begin_sections(documentation: Documentation) -> None:
    found = sections(documentation, "runtime")
    assert found["hdr-Environment_Variables"]["heading"] == ["Environment Variables"]
    text = "\n".join(each["text"] for each in found["hdr-Environment_Variables"]["pieces"])
    assert "GOGC" in text
    assert "GOGC" not in str(found[""])


@pytest.mark.go
def test_examples_are_verbatim_and_say_what_they_print(go: Toolchain, documentation: Documentation) -> None:
    found = sections(documentation, "sync")
    assert found["example-Once"]["heading"] == ["type Once", "Example"]
    code, said, output = (each["text"] for each in found["example-Once"]["pieces"])
    assert (said, output) == ("Output:", "```\nOnly once\n```")
    inside = [line for line in code.splitlines() if not line.startswith("```")]
    assert (
        "\n".join(f"\t{line}" if line else "" for line in inside)
        in (go.goroot / "src/sync/example_test.go").read_text()
    )
    assert "Output:" not in code
    whole = sections(documentation, "sync")["example-Pool"]["pieces"][0]["text"]
    assert "// The Pool's New function should generally only return pointer\n" in whole, "comments stay"


@pytest.mark.go
def test_what_is_deprecated_says_so(documentation: Documentation) -> None:
    pieces = sections(documentation, "runtime")["GOROOT"]["pieces"]
    assert any(each["text"].startswith("Deprecated: ") for each in pieces)


@pytest.mark.go
def test_commands_and_internal_packages_are_read_when_they_are_named(documentation: Documentation) -> None:
    assert "" in sections(documentation, "cmd/gofmt")
    assert "Escape" in sections(documentation, "internal/abi")


@pytest.mark.go
def test_a_folder_is_the_package_of_its_module_and_nothing_of_it_is_run(
    documentation: Documentation, tmp_path: Path
) -> None:
    code = "// Package pool keeps.\npackage pool\n\n// Take takes.\nfunc Take() {}\n\nvar _ = broken.Import\n"
    root = written(tmp_path / "a b", {"go.mod": 'go 1.99\n\nmodule "example.com/m" // x\n', "pool/pool.go": code})
    said = json.loads(documentation.package(str(root / "pool"), Cancel()))
    assert (said["path"], said["name"]) == ("example.com/m/pool", "pool")
    assert [(each["anchor"], each["place"]) for each in said["sections"]] == [
        ("", f"{root}/pool/pool.go:2"),
        ("Take", f"{root}/pool/pool.go:5"),
    ]


@pytest.mark.go
@pytest.mark.parametrize("path", ["runtime/debgu", "runtime/internal", "..", "runtime/debug/garbage.go"])
def test_a_package_that_is_not_there_is_told_from_one_that_cannot_be_read(
    documentation: Documentation, path: str
) -> None:
    with pytest.raises(ToolchainFailed) as caught:
        documentation.package(path, Cancel())
    assert caught.value.data["kind"] == "package_not_found"
    assert path != "runtime/debgu" or caught.value.hint == "did you mean runtime/debug?"


@pytest.mark.go
def test_the_stamp_tells_toolchains_apart(go: Toolchain, documentation: Documentation, tmp_path: Path) -> None:
    other = replace(go, version="go1.99.9")
    assert Documentation(Workshop(lambda: other, tmp_path, (), Cancel())).stamp() != documentation.stamp()
    assert documentation.stamp().startswith(go.version)


def test_without_go_there_is_no_stamp(tmp_path: Path) -> None:
    shop = Workshop(lambda: toolchain.find({}, "/nowhere/go"), tmp_path, (), Cancel())
    with pytest.raises(ToolchainMissing) as caught:
        Documentation(shop).stamp()
    assert caught.value.hint == REMEDY
