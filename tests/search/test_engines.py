from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import Cancelled, EmbedderMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest.kinds import handbook
from ragmacs_srv.search import export, remote
from ragmacs_srv.search.embed import (
    BATCH,
    BATCH_TOKENS,
    EXPORTED,
    Embedder,
    Exported,
    ModelFolder,
    OnnxEmbedder,
    OpenVinoEmbedder,
    SentenceTransformerEmbedder,
    TokenEmbedder,
    Words,
    batches,
    find_model,
)
from ragmacs_srv.settings import EmbedSettings
from tests.search import tiny_models
from tests.servers import Answer, serve

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


def assert_agree(given: Embedder, expected: Embedder, *, key: bool = True) -> None:
    assert isinstance(given, TokenEmbedder) and isinstance(expected, TokenEmbedder)
    assert (given.dim, given.numeric) == (expected.dim, expected.numeric)
    assert given.key == expected.key or not key
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
    with pytest.raises(export.Unexportable, match=r"does not agree.*to try again, delete"):
        export.exported(model, tmp_path / "onnx")
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
        "with App(settings.load(os.environ, {'search.deadline': 0}), os.environ) as app:\n"
        "    for n in range(100):\n"
        "        found = app.search(f'how do I reduce allocations {n}?')\n"
        "        assert found.mode == 'hybrid', found\n"
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


# OpenVINO


@pytest.fixture(scope="session")
def openvino(minilm: ModelFolder, cache: Path) -> OpenVinoEmbedder:
    try:
        return OpenVinoEmbedder(minilm, export.exported(minilm, cache))
    except EmbedderMissing as exc:
        pytest.skip(exc.message)


@pytest.mark.model
def test_openvino_is_close_to_the_reference_but_of_another_class(
    openvino: OpenVinoEmbedder, minilm: ModelFolder, cache: Path
) -> None:
    exact = OnnxEmbedder(minilm, export.exported(minilm, cache))
    assert (openvino.key, openvino.dim) == (exact.key, exact.dim)
    assert (openvino.numeric, exact.numeric) == ("bf16", "exact")
    given, expected = openvino.encode(TEXTS), exact.encode(TEXTS)
    cosines = np.sum(given.vectors * expected.vectors, axis=1)
    assert cosines.mean() > 0.9995 and cosines.min() > 0.999
    assert not np.allclose(given.vectors, expected.vectors, atol=1e-5)  # or the hint was not taken
    assert [each.shape for each in given.tokens] == [each.shape for each in expected.tokens]


@pytest.mark.model
@pytest.mark.parametrize("engine", [OnnxEmbedder, OpenVinoEmbedder])
def test_passes_that_run_beside_each_other_give_what_they_give_in_turn(
    minilm: ModelFolder, cache: Path, engine: type[OnnxEmbedder | OpenVinoEmbedder], request: pytest.FixtureRequest
) -> None:
    if engine is OpenVinoEmbedder:
        request.getfixturevalue("openvino")
    made = export.exported(minilm, cache)
    beside, in_turn = (engine(minilm, made, threads=threads).embed(TEXTS) for threads in (4, 1))
    np.testing.assert_allclose(beside, in_turn, atol=1e-6)


SAYS_NOTHING = """
import sys
from pathlib import Path
spoken = []
sys.addaudithook(lambda event, _: spoken.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
from ragmacs_srv.search.embed import ModelFolder, OpenVinoEmbedder
OpenVinoEmbedder(ModelFolder("m", Path(sys.argv[1]), ""), Path(sys.argv[2])).embed(["x"])
assert not spoken, spoken
assert not [name for name, module in sys.modules.items() if "telemetry" in name and module]
"""


@pytest.mark.model
def test_openvino_tells_nobody_that_it_was_imported(
    openvino: OpenVinoEmbedder, cache: Path, minilm: ModelFolder, tmp_path: Path
) -> None:
    """Importing it reports that to Google Analytics, under an id that it keeps in ~/intel, unless kept from it."""
    made = export.exported(minilm, cache)
    environ = {name: value for name, value in os.environ.items() if name != "CI"}  # it would be silent there
    command = [sys.executable, "-c", SAYS_NOTHING, str(minilm.path), str(made)]
    subprocess.run(command, env=environ | {"HOME": str(tmp_path)}, check=True, cwd=Path(export.__file__).parents[2])
    assert list(tmp_path.iterdir()) == []


def pretended_export(folder: Path) -> Path:
    """A folder that looks like an exported model."""
    folder.mkdir()
    made = Exported(4, "", "", ("right", 0), {})
    (folder / EXPORTED).write_text(json.dumps(asdict(made)))
    return folder


def test_without_openvino_the_engine_is_missing_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EmbedderMissing, match="openvino is not installed") as error:
        OpenVinoEmbedder(ModelFolder("m", tmp_path, ""), pretended_export(tmp_path / "onnx"))
    assert error.value.hint == "pip install 'ragmacs-srv[openvino]'"


def test_a_cpu_without_bfloat16_is_told_of_never_worked_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(Core=lambda: SimpleNamespace(get_property=lambda device, name: ["FP32", "INT8"]))
    monkeypatch.setitem(sys.modules, "openvino", old)
    with pytest.raises(EmbedderMissing, match="this CPU does not calculate in bfloat16") as error:
        OpenVinoEmbedder(ModelFolder("m", tmp_path, ""), pretended_export(tmp_path / "onnx"))
    assert 'engine = "onnx"' in error.value.hint


def test_where_openvino_cannot_run_a_search_is_lexical_and_says_why(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("model.safetensors", "modules.json", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(export, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(App, "tokens", Words())
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_EMBED_PATH": str(tmp_path), "RAGMACS_EMBED_ENGINE": "openvino-bf16"}
    with App(settings.load(environ), {}) as app:
        app.crawl(handbook.source())
        found = app.search("heap limit")
    assert found.mode == "lexical" and found.hits
    assert "ragmacs reindex" in found.reason
    assert "no vectors are made: OpenVINO cannot run" in caplog.text and 'engine = "torch"' in caplog.text


# A model that is pulled


@pytest.mark.model
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_pulled_model_gives_the_vectors_of_the_one_on_the_hub(tmp_path: Path, pooling: str) -> None:
    folder = tiny_models.build(tmp_path / "hub", pooling=pooling, dense=True, prompts=PROMPTS)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    listing = {"sha": "1", "siblings": [{"rfilename": name} for name in files]}
    routes = {f"/acme/tiny/resolve/1/{name}": Answer(body, type="") for name, body in files.items()}
    with serve({"/api/models/acme/tiny": Answer(json.dumps(listing).encode()), **routes}) as site:
        remote.pull("acme/tiny", tmp_path / "models", endpoint=site.origin)
    pulled = find_model(EmbedSettings(model="acme/tiny"), tmp_path / "models", {"HOME": str(tmp_path)})
    assert pulled.origin == "pulled"
    made = export.exported(pulled, tmp_path / "onnx")
    assert_agree(OnnxEmbedder(pulled, made), SentenceTransformerEmbedder(ModelFolder("tiny", folder, "")), key=False)
