"""Twenty clients at once, of whom one vanishes, while the server indexes: nothing is lost, little is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench import load

pytestmark = [pytest.mark.model, pytest.mark.slow]

Runs = list[load.Run]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    plan = load.Plan(clients=20, requests=10, pages=8, more=4)
    measured = load.measure(tmp_path_factory.mktemp("load"), plan, runs=2)
    print("\n" + load.table(measured))
    yield measured


def test_every_request_has_its_one_reply(runs: Runs) -> None:
    for run in runs:
        assert (run.errors(), run.strays, run.vanished) == ({}, 0, 1)
        assert run.busy() <= 0.2


def test_results_are_of_generations_that_were_published(runs: Runs) -> None:
    for run in runs:
        oldest, newest = run.indexed
        assert oldest < newest
        assert {oldest} <= set(run.generations()) <= set(range(oldest, newest + 1))


def test_memory_and_descriptors_come_back(runs: Runs) -> None:
    first, second = runs
    assert first.after["anon_mb"] - first.before["anon_mb"] < 150
    assert second.after["anon_mb"] - first.after["anon_mb"] < 20
    for run in runs:
        assert run.after["descriptors"] <= run.before["descriptors"] + 5
