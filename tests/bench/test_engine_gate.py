"""Engines must not fall below these bounds: next to SentenceTransformer, in one run, in CPU time."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragmacs_srv.errors import EmbedderMissing
from ragmacs_srv.search.embed import find_model
from ragmacs_srv.settings import EmbedSettings
from tests.bench import engines
from tests.bench.engines import Row

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

SPEED = {"onnx": 1.5, "openvino-bf16": 2.8}  # chunks per CPU-second, SentenceTransformer's as 1
COSINE = {"onnx": 0.9999, "openvino-bf16": 0.999}
OVERLAP = {"onnx": 0.99, "openvino-bf16": 0.98}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    try:
        model = find_model(EmbedSettings(), Path("/nowhere"), {"HOME": "/nowhere"})
    except EmbedderMissing as exc:
        pytest.skip(exc.message)
    measured = engines.measure(engines.engines(model, tmp_path_factory.mktemp("onnx")), engines.chunks(model))
    print(f"\n{engines.table(measured)}")
    return measured


@pytest.mark.parametrize("name", SPEED)
def test_an_engine_is_as_much_faster_than_the_reference_as_we_say(rows: dict[str, Row], name: str) -> None:
    if name not in rows:
        pytest.skip(f"{name} does not run here")
    assert rows[name].ratio >= SPEED[name]


@pytest.mark.parametrize("name", COSINE)
def test_an_engine_is_as_close_to_the_reference_as_we_say(rows: dict[str, Row], name: str) -> None:
    if name not in rows:
        pytest.skip(f"{name} does not run here")
    assert rows[name].cosine >= COSINE[name]
    assert rows[name].overlap >= OVERLAP[name]


def test_a_question_costs_no_more_than_with_the_reference(rows: dict[str, Row]) -> None:
    assert rows["onnx"].query <= rows[engines.REFERENCE].query
