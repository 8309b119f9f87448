"""Every command that README shows does what it says, in the order it shows them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.servers import Site

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = [line[2:] for block in CONSOLE.findall(README) for line in block.splitlines() if line.startswith("$ ")]
RAGMACS = [command for command in COMMANDS if command.startswith("ragmacs ")]
GO = [command for command in RAGMACS if command.split()[1] in {"layout", "go"} or " godoc:" in command]


@pytest.mark.slow
def test_readme_commands_run_in_their_order(
    run: Cli, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, so go.dev is a mirror; lexical, so that no model is needed."""
    monkeypatch.chdir(tmp_path)  # some write files
    (tmp_path / "reading.md").write_text("- [ ] [The guide](https://go.dev/doc/gc-guide) #gc\n")
    monkeypatch.setenv("RAGMACS_NETWORK_MIRROR", f"https://go.dev={site.origin}")
    for command in RAGMACS:
        if command in GO:
            continue
        words = shlex.split(command, comments=True)[1:]
        done = run(*(word.replace("http://127.0.0.1:8737", site.origin) for word in words))
        assert done.code == 0, f"{command}\n{done.out}{done.err}"
        assert done.out.strip(), command


@pytest.mark.go
@pytest.mark.parametrize("command", GO)
def test_readme_commands_about_go_run(command: str, run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*shlex.split(command, comments=True)[1:])
    assert (done.code, bool(done.out.strip())) == (0, True), f"{command}\n{done.out}{done.err}"


def test_readme_shows_every_make_target_a_developer_needs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command


def test_readme_names_the_rooms_that_exist() -> None:
    rooms = set(re.findall(r"`ragmacs_srv/(\w+)`", README))
    assert rooms == {path.parent.name for path in (ROOT / "ragmacs_srv").glob("*/__init__.py")}


@pytest.mark.parametrize("key", re.findall(r"^\| `(\[\w+\] [^|]+)` \|", README, re.MULTILINE))
def test_readme_settings_exist(key: str) -> None:
    from ragmacs_srv.settings import SECTIONS

    section, names = re.fullmatch(r"\[(\w+)\] (.+)", key.replace("`", "")).groups()  # type: ignore[union-attr]
    known = set(SECTIONS[section].__dataclass_fields__)  # type: ignore[attr-defined]
    assert {name.strip() for name in names.split(",")} <= known
