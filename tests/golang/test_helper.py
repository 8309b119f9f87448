"""Our Go program is made ready ahead, and anew when it is broken; `doctor` says how it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragmacs_srv.events import Cancel, Progress
from ragmacs_srv.golang import helper
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Workshop
from tests.conftest import Cli


@pytest.mark.go
def test_a_program_that_is_broken_is_built_anew(go: Toolchain, tmp_path: Path) -> None:
    said: list[Progress] = []
    shop = Workshop(lambda: go, tmp_path, (Path("/nowhere"),), Cancel(), said.append)
    assert not helper.is_built(go, tmp_path)
    program = helper.warm(shop)
    assert helper.is_built(go, tmp_path)
    assert [each.done for each in said] == [0, 1], "who waits is told"
    program.write_text("#!/bin/sh\necho broken\n")
    assert helper.warm(shop) == program
    assert len(program.read_bytes()) > 1000
    assert [each.done for each in said] == [0, 1, 0, 1]


def test_doctor_says_what_is_missing_without_go(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGMACS_GO_PATH", "/nowhere/go")
    rows = {row["what"]: row for row in run("doctor", "--json").json["checks"]}
    assert (rows["go"]["ok"], "install Go" in rows["go"]["found"]) == (False, True)
    done = run("doctor", "--warm")
    assert (done.code, "install Go" in done.err) == (5, True)


@pytest.mark.go
def test_doctor_says_which_go_it_found_and_what_is_built(run: Cli, go: Toolchain) -> None:
    rows = {row["what"]: row["found"] for row in run("doctor", "--json").json["checks"]}
    assert go.version in rows["go"]
    assert "doctor --warm" in rows["go helper"]
