from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import Cancelled, EmbedderMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.search import export
from ragmacs_srv.search.embed import (
    BATCH,
    BATCH_TOKENS,
    Embedder,
    ModelFolder,
    OnnxEmbedder,
    SentenceTransformerEmbedder,
    TokenEmbedder,
    batches,
    find_model,
)
from ragmacs_srv.settings import EmbedSettings
from tests.search import tiny_models

TEXTS = [
    "What does GOGC do?",
    "The collector runs when the heap has grown by GOGC percent. " * 40,
    'func main() { debug.SetGCPercent(-1) }\n\n\tif err != nil { panic("héllo, 世界") }',
    "",
    *(f"{n} words and " * n for n in range(1, 20)),
]
PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.fixture(scope="session")
def minilm() -> ModelFolder:
    try:
        return find_model(EmbedSettings(), Path("/nowhere"), {"HOME": "/nowhere"})
    except EmbedderMissing as exc:
        pytest.skip(exc.message)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


def assert_agree(given: Embedder, expected: Embedder) -> None:
    assert isinstance(given, TokenEmbedder) and isinstance(expected, TokenEmbedder)
    assert (given.key, given.dim) == (expected.key, expected.dim)
    for query in (False, True):
        ours, theirs = given.encode(TEXTS, query=query), expected.encode(TEXTS, query=query)
        cosines = np.sum(ours.vectors * theirs.vectors, axis=1)
        assert cosines.mean() > 0.99999 and cosines.min() > 0.9999
        np.testing.assert_allclose(ours.vectors, given.embed(TEXTS, query=query), atol=1e-6)
        np.testing.assert_allclose(theirs.vectors, expected.embed(TEXTS, query=query), atol=1e-5)
        for mine, other in zip(ours.tokens, theirs.tokens, strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-3)


def test_batches_hold_what_is_alike_and_no_more_than_pays() -> None:
    lengths = [300, 3, 250, 4, 5, 1000, *[10] * 20]
    made = list(batches(lengths))
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    assert [lengths[row] for batch in made for row in batch] == sorted(lengths)
    assert all(len(batch) <= BATCH for batch in made)
    assert all(len(batch) * max(lengths[row] for row in batch) <= BATCH_TOKENS for batch in made if len(batch) > 1)
    assert list(batches([])) == []


@pytest.mark.model
def test_both_engines_give_the_same_vectors(minilm: ModelFolder, cache: Path) -> None:
    given = OnnxEmbedder(minilm, export.exported(minilm, cache))
    assert_agree(given, SentenceTransformerEmbedder(minilm))
    assert given.encode(["hello world"]).tokens[0].shape == (2, 384)
    assert given.embed([]).shape == (0, 384)


@pytest.mark.model
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean", "lasttoken"])
def test_any_pooling_agrees_with_its_prompts_and_its_limit(tmp_path: Path, pooling: str) -> None:
    model = ModelFolder("tiny", tiny_models.build(tmp_path, pooling=pooling, prompts=PROMPTS), "test")
    assert export.main(model.path, tmp_path / "out") == 0
    given = OnnxEmbedder(model, tmp_path / "out")
    assert_agree(given, SentenceTransformerEmbedder(model))
    assert len(given.encode(["a b c " * 100]).tokens[0]) == tiny_models.MAX_TOKENS - 2
    assert not np.allclose(given.embed(["gogc"]), given.embed(["gogc"], query=True))


@pytest.mark.model
def test_every_token_knows_its_characters(tmp_path: Path) -> None:
    model = ModelFolder("tiny", tiny_models.build(tmp_path, pooling="mean", prompts=PROMPTS), "test")
    assert export.main(model.path, tmp_path / "out") == 0
    given, question = OnnxEmbedder(model, tmp_path / "out"), "gogc a b"
    spans = given.spans(question)
    assert spans == SentenceTransformerEmbedder(model).spans(question)
    assert len(spans) == len(given.encode([question], query=True).tokens[0])
    assert [question[start:end] for start, end in spans if start >= 0] == [*"gogcab"]
    assert any(end <= 0 for _, end in spans)  # the prompt's


@pytest.mark.model
def test_dense_modules_are_part_of_the_exported_model(tmp_path: Path) -> None:
    model = ModelFolder("tiny", tiny_models.build(tmp_path, pooling="mean", dense=True), "test")
    assert export.main(model.path, tmp_path / "out") == 0
    given = OnnxEmbedder(model, tmp_path / "out")
    assert given.dim == tiny_models.WIDTH // 2
    assert_agree(given, SentenceTransformerEmbedder(model))


@pytest.mark.model
def test_a_model_whose_graph_lies_is_refused_and_the_refusal_remembered(tmp_path: Path) -> None:
    """Pooling without the prompt cannot be seen in the graph; comparing tells."""
    folder = tiny_models.build(tmp_path, pooling="mean", prompts=PROMPTS)
    config = folder / "1_Pooling" / "config.json"
    config.write_text(config.read_text().replace('"include_prompt": true', '"include_prompt": false'))
    model = ModelFolder("tiny", folder, "test")
    with pytest.raises(export.Unexportable, match="does not agree"):
        export.exported(model, tmp_path / "onnx")
    start = time.process_time()
    with pytest.raises(export.Unexportable, match=r"does not agree.*to try again, delete"):
        export.exported(model, tmp_path / "onnx")
    assert time.process_time() - start < 1
    assert not list((tmp_path / "onnx").glob("*.tmp"))


@pytest.mark.model
def test_a_killed_export_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    model = ModelFolder("tiny", tiny_models.build(tmp_path, pooling="mean"), "test")
    out = tmp_path / "onnx" / f"{model.key}-{export.VERSION}"
    command = [sys.executable, "-m", "ragmacs_srv.search.export", str(model.path), str(out)]
    child = subprocess.Popen(command, cwd=Path(export.__file__).parents[2], stderr=subprocess.DEVNULL)
    while not out.with_name(out.name + ".tmp").exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not out.exists()
    assert export.exported(model, tmp_path / "onnx") == out
    assert [path.name for path in out.parent.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.model
def test_exports_at_the_same_time_and_damaged_ones_end_in_one_whole_model(tmp_path: Path) -> None:
    model = ModelFolder("tiny", tiny_models.build(tmp_path, pooling="mean"), "test")
    outs: list[Path] = []
    threads = [threading.Thread(target=lambda: outs.append(export.exported(model, tmp_path / "x"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outs[0] == outs[1]
    weights = outs[0] / export.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    assert_agree(OnnxEmbedder(model, export.exported(model, tmp_path / "x")), SentenceTransformerEmbedder(model))


@pytest.mark.model
def test_an_export_can_be_cancelled(minilm: ModelFolder, tmp_path: Path) -> None:
    cancel = Cancel()
    threading.Timer(0.5, cancel.cancel).start()
    with pytest.raises(Cancelled):
        export.exported(minilm, tmp_path, cancel=cancel)
    assert not list(tmp_path.glob("*.refused"))


def test_without_onnxruntime_torch_takes_over_and_says_so(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("model.safetensors", "modules.json", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(export, "NEEDED", ("no_such_package",))
    with App(settings.load({"RAGMACS_HOME": str(home), "RAGMACS_EMBED_PATH": str(tmp_path)}), {}) as app:
        embedder, _ = app.embedder
    assert isinstance(embedder, SentenceTransformerEmbedder)
    assert "no_such_package is not installed" in caplog.text


@pytest.mark.model
def test_a_search_does_not_import_torch(home: Path, cache: Path, minilm: ModelFolder) -> None:
    export.exported(minilm, cache)
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "onnx").symlink_to(cache)
    code = (
        "import sys, os; from ragmacs_srv import settings; from ragmacs_srv.app import App\n"
        "with App(settings.load(os.environ), os.environ) as app:\n"
        "    found = app.search('how do I reduce allocations?')\n"
        "assert found.mode == 'hybrid', found\n"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(export.__file__).parents[2])


@pytest.mark.model
def test_onnxruntime_keeps_no_telemetry(cache: Path, minilm: ModelFolder, tmp_path: Path) -> None:
    """Its wheel carries a telemetry client that keeps a device id in the user's cache, unless told not to."""
    made = export.exported(minilm, cache)
    code = (
        "from pathlib import Path; from ragmacs_srv.search.embed import ModelFolder, OnnxEmbedder;"
        f"OnnxEmbedder(ModelFolder('m', Path({str(minilm.path)!r}), ''), Path({str(made)!r})).embed(['x'])"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", code], env=environ | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*Microsoft*")) == []
