"""Code that is nowhere yet is compiled and vetted in its package, and nothing of it is written there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ragmacs_srv.errors import InvalidParams, ToolchainFailed
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import check, snippet
from ragmacs_srv.golang.check import Checked, Problem
from ragmacs_srv.golang.toolchain import Output, Toolchain
from ragmacs_srv.golang.workshop import Place, Workshop

FILES = {
    "go.mod": "module example.com/m\n\ngo 1.22\n",
    "m.go": 'package m\n\nimport "fmt"\n\nfunc Said() { fmt.Printf("%d\\n", "x") }\n',
    "sound/sound.go": "package sound\n\nfunc One() int { return 1 }\n",
    "tests/only_test.go": "package tests\n",
}
SOUND = "package sound\n\nfunc Two() int { return One() + 1 }\n"
MANY = "package sound\n\n" + "".join(f"var v{n} int = missing{n}\n" for n in range(30))


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("code")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module")
def shop(go: Toolchain, code: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(lambda: go, tmp_path_factory.mktemp("cache"), (code,), Cancel())


def checked(shop: Workshop, code: Path, package: str, overlay: dict[str, str]) -> Checked:
    return check.check(shop, Place(code, overlay={code / name: text for name, text in overlay.items()}), package)


@pytest.mark.go
def test_a_go_whose_vet_does_not_see_an_overlay_is_said_to_have_compiled_only(go: Toolchain, code: Path) -> None:
    older = replace(go, release=(1, 23))
    shop = Workshop(lambda: older, code, (code,), Cancel())
    done = checked(shop, code, "./sound", {"sound/new.go": SOUND})
    assert (done.ok, done.vetted, len(done.warnings)) == (True, False, 1)
    done = checked(shop, code, "./sound", {"sound/new_test.go": "package sound\n\nvar x int = nothing\n"})
    assert [each.message for each in done.problems] == ["undefined: nothing"]


@pytest.mark.go
def test_code_beside_its_package_is_checked_and_not_written(shop: Workshop, code: Path) -> None:
    before = sorted(code.rglob("*"))
    done = checked(shop, code, "./sound", {"sound/new.go": SOUND})
    assert (done.ok, done.vetted, sorted(code.rglob("*"))) == (True, True, before)


@pytest.mark.go
def test_every_error_is_told_at_the_path_that_was_given(shop: Workshop, code: Path) -> None:
    done = checked(shop, code, "./sound", {"sound/new.go": MANY})
    assert [(each.file, each.line, each.source) for each in done.problems] == [
        (str(code / "sound/new.go"), n + 3, "build") for n in range(30)
    ]
    assert (done.problems[0].column, done.problems[0].message) == (14, "undefined: missing0")
    assert not done.vetted


@pytest.mark.go
def test_findings_of_vet_count_although_it_ends_well(shop: Workshop, code: Path) -> None:
    text = 'package m\n\nimport "fmt"\n\nfunc Also() { fmt.Printf("%d\\n", "y") }\n'
    done = checked(shop, code, ".", {"also.go": text})
    assert [(Path(each.file).name, each.line, each.source) for each in done.problems] == [
        ("also.go", 5, "printf"),
        ("m.go", 5, "printf"),
    ]
    assert [Path(each.file).name for each in done.own()] == ["also.go"]


@pytest.mark.go
@pytest.mark.parametrize("package", ["sound", "tests"])
def test_test_files_are_type_checked(shop: Workshop, code: Path, package: str) -> None:
    text = f"package {package}\n\nvar x int = nothing\n"
    done = checked(shop, code, f"./{package}", {f"{package}/new_test.go": text})
    assert [(Path(each.file).name, each.line, each.message) for each in done.problems] == [
        ("new_test.go", 3, "undefined: nothing")
    ]
    assert checked(shop, code, f"./{package}", {f"{package}/new_test.go": f"package {package}\n"}).ok


@pytest.mark.go
def test_a_program_that_cannot_be_linked_does_not_build(shop: Workshop, code: Path) -> None:
    done = checked(shop, code, "./prog", {"prog/prog.go": "package main\n\nfunc Main() {}\n"})
    assert [each.message for each in done.problems][:1] and "main is undeclared" in done.problems[0].message


@pytest.mark.go
@pytest.mark.parametrize(
    ("text", "message"),
    [("package sound\n\nfunc {", "syntax error"), ('package sound\n\nimport "example.org/nope"\n', "example.org/nope")],
)
def test_what_go_says_before_it_compiles_has_its_place_too(shop: Workshop, code: Path, text: str, message: str) -> None:
    done = checked(shop, code, "./sound", {"sound/new.go": text})
    assert done.problems[0].file == str(code / "sound/new.go")
    assert message in done.problems[0].message


@pytest.mark.go
def test_a_piece_of_code_is_checked_without_a_module(shop: Workshop, go: Toolchain) -> None:
    with snippet.module("func f() int { return time.Now() }", go) as place:
        done = check.check(shop, place, ".")
    assert [(Path(each.file).name, each.line) for each in done.problems] == [(snippet.NAME, 1)]


@pytest.mark.go
def test_what_is_no_package_is_an_error_and_not_a_finding(shop: Workshop, code: Path) -> None:
    with pytest.raises(ToolchainFailed, match="nowhere"):
        checked(shop, code, "./nowhere", {})
    for flag in ("-toolexec=/bin/true", "./...", "x@latest"):
        with pytest.raises(InvalidParams):
            checked(shop, code, flag, {})


# What older and newer releases print


def printed(stdout: str, stderr: str, code: int) -> list[Problem]:
    return list(check._found(Output((), stdout.encode(), stderr, code, 1), Path("/p")))


FOUND = '{"m": {"printf": [{"posn": "/p/a.go:5:24", "end": "/p/a.go:5:26", "message": "wrong type"}]}}'


@pytest.mark.parametrize(("stdout", "stderr"), [(FOUND, ""), ("", f"# m\n{FOUND}\n"), (f"# m\n{{}}\n# m\n{FOUND}", "")])
def test_findings_are_read_from_either_stream(stdout: str, stderr: str) -> None:
    assert printed(stdout, stderr, 0) == [Problem("/p/a.go", 5, 24, "wrong type", "printf")]


def test_an_error_of_an_analyzer_is_no_finding() -> None:
    assert printed('{"m": {"printf": {"error": "it broke"}}}', "", 0) == []


def test_an_error_that_needs_two_lines_is_one() -> None:
    said = "# m\n./a.go:3:2: have (int)\n\twant (string)\nruntime.main: undeclared\n"
    assert printed("{}", said, 1) == [
        Problem("/p/a.go", 3, 2, "have (int) want (string)", "build"),
        Problem("", 0, 0, "runtime.main: undeclared", "build"),
    ]
