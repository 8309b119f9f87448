"""What a model asks for before and after it writes Go, as tools and as commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragmacs_srv import registry
from ragmacs_srv.app import App
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.registry import BUDGET, Result
from ragmacs_srv.settings import load
from tests.conftest import Cli

SHOP = """package shop

type Status int

const (
	Open Status = iota
	Closed
)

type Order struct {
	ID     int64
	Status Status
	Next   *Order
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    (root / "go.mod").write_text("module example.com/shop\n\ngo 1.22\n")
    (root / "shop.go").write_text(SHOP)
    return root


@pytest.fixture(scope="module")
def app(go: Toolchain, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    environ = {**go.environ, "RAGMACS_HOME": str(tmp_path_factory.mktemp("home")), "RAGMACS_GO_PATH": str(go.program)}
    with App(load(environ), environ) as made:
        made.roots = (folder,)
        yield made


def call(app: App, tool: str, /, **arguments: object) -> Result:
    done = registry.call(app, tool, arguments)
    assert len(done.text) <= BUDGET
    json.dumps(done.data)
    return done


@pytest.mark.go
def test_the_reply_that_fills_a_type_is_go_that_an_editor_can_insert(app: App, folder: Path) -> None:
    done = call(app, "go_fill_type", package=f"{folder}/", type="Order")
    assert done.text.startswith("// Built and vetted in package shop with go1.")
    assert call(app, "go_check", file=str(folder / "shop.go"), text=with_imports(SHOP) + done.text).data["ok"]
    assert done.data["functions"] == ["randomOrder"]
    assert (done.data["builds"], done.data["vetted"]) == (True, True)
    assert sorted(each.name for each in folder.iterdir()) == ["go.mod", "shop.go"]


def with_imports(text: str) -> str:
    return text.replace("package shop\n", 'package shop\n\nimport "math/rand"\n', 1)


@pytest.mark.go
def test_a_type_at_a_line_of_a_buffer_is_filled(app: App, folder: Path) -> None:
    text = SHOP.replace("ID     int64", "ID     string")
    line = text.split("\n").index("type Order struct {") + 2
    done = call(app, "go_fill_type", package=".", type="", file=str(folder / "shop.go"), line=line, text=text)
    assert "ID:     strconv.FormatInt(r.Int63(), 36)," in done.data["code"]


@pytest.mark.go
def test_definitions_are_told_with_where_they_stand(app: App, folder: Path) -> None:
    done = call(app, "go_typedef", package=".", type="Order")
    assert f"// {folder / 'shop.go'}:10, holds itself\ntype Order struct {{" in done.text
    assert "// Open = 0, Closed = 1" in done.text
    assert done.data["types"][0]["recursive"]
    assert done.data["see"]


@pytest.mark.go
def test_code_is_checked_in_its_package_and_on_its_own(app: App, folder: Path) -> None:
    wrong = 'package shop\n\nvar o = Order{ID: "x"}\n'
    done = call(app, "go_check", file=str(folder / "new.go"), text=wrong)
    assert (done.data["ok"], done.error) == (False, False)
    assert 'new.go:3:19: cannot use "x"' in done.text
    assert call(app, "go_check", text="func f() time.Time { return time.Now() }").data["ok"]
    assert call(app, "go_check", package=".").text.startswith("It builds and go vet finds nothing (go1.")


@pytest.mark.go
@pytest.mark.parametrize(
    ("tool", "more"), [("go_fill_type", {"type": "T"}), ("go_typedef", {"type": "T"}), ("go_check", {})]
)
def test_folders_outside_of_the_roots_are_refused(app: App, folder: Path, tool: str, more: dict[str, str]) -> None:
    for where in (
        {"folder": str(folder.parent)},
        {"folder": str(folder), "package": "../x"},
        {"package": str(folder.parent)},
    ):
        done = call(app, tool, **{"package": ".", **where, **more})
        assert done.error and "is in no folder that was opened" in done.text, done.text
    assert "cannot be '-toolexec=sh'" in call(app, tool, package="-toolexec=sh", **more).text


@pytest.mark.go
def test_a_package_of_the_module_outside_of_the_roots_is_refused(app: App, folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "inner.go").write_text("package inner\n")
    app.roots = (inner,)
    try:
        for tool in ("go_fill_type", "go_typedef"):
            assert "is in no folder" in call(app, tool, package="example.com/shop", type="Order").text
    finally:
        app.roots = (folder,)
        (inner / "inner.go").unlink()
        inner.rmdir()


@pytest.mark.go
def test_nothing_to_work_on_is_an_error_with_an_example(app: App) -> None:
    for tool in ("go_fill_type", "go_typedef"):
        assert "no type was named" in call(app, tool, package=".", type="").text
    assert "nothing to check" in call(app, "go_check").text


@pytest.mark.go
def test_commands_fill_check_and_refuse_to_overwrite(
    go: Toolchain, folder: Path, run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGMACS_GO_PATH", str(go.program))
    (tmp_path / "m").mkdir()
    for name in ("go.mod", "shop.go"):
        (tmp_path / "m" / name).write_text((folder / name).read_text())
    monkeypatch.chdir(tmp_path / "m")
    done = run("go", "fill", ".", "Order", "Status", "--as", "quick", "--out", "filled_test.go")
    assert (done.code, done.out) == (0, "randomOrder, randomStatus in filled_test.go\n"), done.err
    assert run("go", "check", ".").code == 0
    assert run("go", "fill", ".", "Order", "--out", "filled_test.go").code != 0
    (tmp_path / "more.go").write_text("package shop\n\nvar x int = Nothing\n")
    done = run("go", "check", ".", "--with", str(tmp_path / "more.go"))
    assert (done.code, "more.go:3:13: undefined: Nothing" in done.out) == (1, True)
    assert "type Order struct" in run("go", "typedef", ".", "Order").out
