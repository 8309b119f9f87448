"""Twenty clients at once, of whom one vanishes, while the server indexes: nothing is lost, little is kept."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator

import pytest

from tests.bench import load
from tests.servers import Site

pytestmark = [pytest.mark.model, pytest.mark.slow]

Runs = list[load.Run]
PLAN = load.Plan(clients=20, requests=5, pages=8, more=4)


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[load.Server, Site]]:
    with load.warmed(tmp_path_factory.mktemp("load"), PLAN) as server:
        yield server


@pytest.fixture(scope="module")
def runs(warmed: tuple[load.Server, Site]) -> Runs:
    measured = load.measure(*warmed, PLAN, runs=2)
    print("\n" + load.table(measured))
    return measured


def test_every_request_has_its_one_reply(runs: Runs) -> None:
    for run in runs:
        assert (run.errors(), run.strays, run.vanished) == ({}, 0, 1)
        assert run.busy() <= 0.2


def test_results_are_of_generations_that_were_published(runs: Runs) -> None:
    for run in runs:
        oldest, newest = run.indexed
        assert oldest < newest
        assert {oldest, newest} <= set(run.generations()) <= set(range(oldest, newest + 1))


def test_memory_and_descriptors_come_back(runs: Runs) -> None:
    first, second = runs
    assert first.after["anon_mb"] - first.before["anon_mb"] < 150
    assert second.after["anon_mb"] - first.after["anon_mb"] < 20
    for run in runs:
        assert run.after["descriptors"] <= run.before["descriptors"] + 5


def test_a_search_hardly_waits_for_indexing(warmed: tuple[load.Server, Site]) -> None:
    alone, meanwhile = map(statistics.median, asyncio.run(load.beside(*warmed, pages=6)))
    print(f"\nsearch, median: {alone:.4f} s alone, {meanwhile:.4f} s while the server crawls")
    assert meanwhile < 4 * alone
