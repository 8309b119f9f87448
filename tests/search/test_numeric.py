"""Vectors of one model and one numeric class are compared with each other, and with no others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import EmbedderMissing
from ragmacs_srv.events import Progress
from ragmacs_srv.pipeline import indexing
from ragmacs_srv.search import generation, retrieve
from ragmacs_srv.search.embed import Embedder, space
from ragmacs_srv.search.store import CRAWL_DB, Store
from tests.fakes import HashEmbedder
from tests.search.fakes_tokens import TokenHashEmbedder
from tests.search.library import AT, READER, publish, put, source, written

NAMES = ("heap", "stack", "pool", "limit")


def engine(numeric: str) -> TokenHashEmbedder:
    """An engine for one and the same model."""
    made = TokenHashEmbedder()
    made.key, made.numeric = "model", numeric
    return made


def server(dim: int = 16) -> HashEmbedder:
    """A server's model; how wide its vectors are is up to the server."""
    made = HashEmbedder(dim)
    made.key, made.numeric = "model", "remote:m"
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        opened.start_crawl(source("docs"), {}, AT)
        for name in NAMES:
            put(opened, written(name))
        yield opened


def found(store: Store, embedder: Embedder) -> retrieve.Results:
    with generation.current(store.folder) as opened:  # type: ignore[union-attr]
        return retrieve.search(opened, embedder, "heap limit", k=5)


def test_engines_of_one_class_go_on_with_each_others_index(store: Store) -> None:
    publish(store, engine("exact"))
    other = engine("exact")
    assert publish(store, other) is None
    assert other.encoded == []
    assert found(store, other).mode == "hybrid"


def test_an_engine_of_another_class_embeds_anew_and_mixes_nothing(store: Store) -> None:
    exact, bf16 = engine("exact"), engine("bf16")
    publish(store, exact)
    made = publish(store, bf16)
    assert made is not None and (made.model_key, made.numeric) == ("model", "bf16")
    assert sorted(bf16.encoded) == sorted(exact.encoded)
    assert store.known_vectors(space(exact)) == store.known_vectors(space(bf16))
    assert store.projection(space(exact)).key != store.projection(space(bf16)).key  # type: ignore[union-attr]
    assert made.projection == store.projection(space(bf16)).key  # type: ignore[union-attr]


def test_a_search_with_another_class_is_lexical_and_names_the_repair(store: Store) -> None:
    publish(store, engine("exact"))
    other = engine("bf16")
    results = found(store, other)
    assert results.mode == "lexical" and results.hits
    assert results.reason == (
        "the index holds exact vectors, not bf16 ones as [embed] engine gives; run: ragmacs reindex"
    )
    assert other.texts == []
    publish(store, other, force=True)
    assert found(store, other).mode == "hybrid"


def test_what_was_kept_before_there_were_classes_is_exact(store: Store) -> None:
    """Rows of the released schema, which knew only the model's key."""
    publish(store, engine("exact"))
    with sqlite3.connect(store.folder / CRAWL_DB) as db:
        assert db.execute("SELECT DISTINCT model FROM vectors").fetchall() == [("model",)]
        assert db.execute("SELECT model FROM projections").fetchall() == [("model",)]
    db.close()


def test_a_model_that_gives_other_dimensions_under_its_old_name_is_embedded_anew(store: Store) -> None:
    publish(store, server(16))
    assert "of 24 numbers now, the index holds 16" in found(store, server(24)).reason
    put(store, written("arena"))
    other = server(24)
    made = publish(store, other)
    assert made is not None and (made.dim, len(other.texts)) == (24, made.chunks)
    assert found(store, other).mode == "hybrid"


def test_an_index_is_made_and_found_stale_without_asking_for_the_dimension(store: Store) -> None:
    """A server that is down must not keep pages without a change from being published."""
    publish(store, server())

    class Down(HashEmbedder):
        @property
        def dim(self) -> int:
            raise EmbedderMissing("down")

        @dim.setter
        def dim(self, value: int) -> None: ...

    down = Down()
    down.key, down.numeric = "model", "remote:m"
    assert pipeline.embed(store, down) == 0
    assert pipeline.publish(store, READER, down, force=True) is not None
    assert found(store, down).reason == "down"


def test_training_tells_how_far_it_is_and_keeps_the_vectors_of_each_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "EMBED_BATCH", 4)
    embedder = engine("exact")
    kept: list[int] = []
    told: list[Progress] = []

    def watch(progress: Progress) -> None:
        told.append(progress)
        kept.append(len(store.known_vectors(space(embedder))))

    total = pipeline.embed(store, embedder, rerank=True, sink=watch)
    assert [(each.done, each.total) for each in told] == [(n, total) for n in [*range(0, total, 4), total]]
    assert kept == [each.done for each in told]
    vectors = np.stack(list(store.vectors(space(embedder), sorted(store.known_vectors(space(embedder))))))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
