"""A Go toolchain for the tests that need one, with caches of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ragmacs_srv.errors import ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import toolchain
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Workshop


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """The Go on this machine; its build cache is the user's, where there is one: filling it takes minutes."""
    home = tmp_path_factory.mktemp("go")
    environ = {"HOME": str(home), "GOCACHE": str(Path(os.environ.get("GOCACHE") or Path.home() / ".cache/go-build"))}
    try:
        return toolchain.find({"PATH": os.environ["PATH"], **environ})
    except ToolchainMissing as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where our own Go program is kept, once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bench(go: Toolchain, cache: Path, tmp_path: Path) -> Callable[[Mapping[str, str]], Workshop]:
    """A Workshop whose only root is a new module with the files that are given by name."""

    def made(files: Mapping[str, str]) -> Workshop:
        root = written(tmp_path / "module", {"go.mod": "module example.com/m\n\ngo 1.22\n", **files})
        return Workshop(lambda: go, cache, (root,), Cancel())

    return made


def written(root: Path, files: Mapping[str, str]) -> Path:
    """The folder ROOT with FILES."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
