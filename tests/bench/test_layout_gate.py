"""A layout costs little more than having the package listed, which nobody can do without: CPU times of one run.

The median of the ratios counts, each of two runs that follow one another: a run of `go list` takes a quarter more or
less CPU time than the next, so that the ratio of the lowest of each is a matter of luck.
"""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from ragmacs_srv import registry
from ragmacs_srv.errors import ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import toolchain
from ragmacs_srv.golang.workshop import Workshop

pytestmark = [pytest.mark.go, pytest.mark.slow]

RUNS = 25
# (package, type, how many times `go list` at most): its files are parsed, and net/http is one of the largest
PACKAGES = [("encoding/json", "Decoder", 1.3), ("net/http", "Response", 1.6)]


class Stand:
    """The App, as far as the tool uses it."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop


def spent(work: Callable[[], object]) -> float:
    """CPU time of WORK in milliseconds, with that of the processes it starts."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in both)

    before = used()
    work()
    return 1000 * (used() - before)


@pytest.mark.parametrize(("package", "name", "most"), PACKAGES)
def test_a_warm_layout_takes_hardly_longer_than_go_list(package: str, name: str, most: float, tmp_path: Path) -> None:
    try:
        go = toolchain.find(os.environ)
    except ToolchainMissing as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    stand = Stand(Workshop(lambda: go, tmp_path / "cache", (), Cancel()))

    def lay_out() -> None:
        done = registry.call(stand, "struct_layout", {"package": package, "type": name})
        assert not done.error, done.text

    def list_it() -> None:
        done = toolchain.run(go, ["list", "-export", "-deps", "--", package], cwd=tmp_path, cancel=Cancel())
        assert done.code == 0

    lay_out()  # builds the program and what the package imports
    list_it()
    pairs = [(spent(lay_out), spent(list_it)) for _ in range(RUNS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    layout, listing = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"\n{package}: layout {layout:.0f} ms, go list {listing:.0f} ms: {ratio:.2f} times")
    assert ratio <= most
