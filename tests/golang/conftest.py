"""A Go toolchain for the tests that need one, with caches of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragmacs_srv.errors import ToolchainMissing
from ragmacs_srv.golang import toolchain
from ragmacs_srv.golang.toolchain import Toolchain


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """The Go on this machine; its build cache is the user's, where there is one: filling it takes minutes."""
    home = tmp_path_factory.mktemp("go")
    environ = {"HOME": str(home), "GOCACHE": str(Path(os.environ.get("GOCACHE") or Path.home() / ".cache/go-build"))}
    try:
        return toolchain.find({"PATH": os.environ["PATH"], **environ})
    except ToolchainMissing as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
