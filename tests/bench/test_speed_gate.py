"""Search must stay this much faster than the plain tools it is made of; ratios of CPU times in one run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench import speed

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(1500)]

Sides = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    pytest.importorskip("bm25s")
    measured = speed.measure(tmp_path_factory.mktemp("speed"))
    print("\n" + speed.table(measured))
    yield measured


def test_the_first_answer_comes_long_before_sentence_transformers_is_imported(found: Sides) -> None:
    assert found["ours"]["ready"] <= 0.15 * found["theirs"]["ready"]


@pytest.mark.parametrize(("kind", "most"), [("lexical", 1.0), ("dense", 1.0), ("hybrid", 1.25), ("maxsim", 1.25)])
def test_a_warm_query_costs_about_what_encoding_its_question_does(found: Sides, kind: str, most: float) -> None:
    """The aim is 1.0 for all; hybrid queries were measured between .92 and 1.06, beside other work, too."""
    assert found["ours"][kind] <= most * found["theirs"]["encode"]


def test_a_search_through_the_server_costs_hardly_more_than_the_search(found: Sides) -> None:
    assert found["ours"]["protocol"] <= 0.05 * found["ours"]["maxsim"]


def test_ten_thousand_chunks_fit_into_little_memory(found: Sides) -> None:
    assert found["ours"]["anon_mb"] <= 250


def test_searching_never_loads_torch(found: Sides) -> None:
    assert not found["ours"]["torch"]
