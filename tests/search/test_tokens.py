from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ragmacs_srv import pipeline
from ragmacs_srv.errors import Cancelled
from ragmacs_srv.events import Cancel, Progress
from ragmacs_srv.pipeline import indexing
from ragmacs_srv.search import generation, retrieve, tokens
from ragmacs_srv.search.generation import Generation, Scope
from ragmacs_srv.search.retrieve import FUSED_SHARE, RERANKED, guaranteed, reranked
from ragmacs_srv.search.store import Store, passage_hash
from ragmacs_srv.search.tokens import DIM, Projection, TokenFile, train
from tests.fakes import HashEmbedder
from tests.search.fakes_tokens import TokenHashEmbedder
from tests.search.library import AT, READER, build, publish, put, source, written

Vectors = NDArray[np.float32]
NAMES = ("heap", "stack", "pool", "limit", "arena", "pause")


def vectors(count: int, width: int = 200, seed: int = 0) -> Vectors:
    """Random vectors, most of whose length lies in the first few directions, as the model's does."""
    rng = np.random.default_rng([seed, count])
    return (rng.standard_normal((count, width)) / np.arange(1, width + 1)).astype(np.float32)


def unit(rows: Vectors) -> Vectors:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# The projection


def test_the_same_sample_gives_the_same_projection() -> None:
    made, again = (train("model", [vectors(500), vectors(300)], passages=2) for _ in range(2))
    assert made.matrix.tobytes() == again.matrix.tobytes()
    assert made.key == again.key != train("other", [vectors(500), vectors(300)], passages=2).key
    assert made.tokens == 800


def test_a_projection_is_orthonormal_and_keeps_what_matters() -> None:
    made = train("model", [vectors(2000)], passages=1)
    np.testing.assert_allclose(made.matrix.T @ made.matrix, np.eye(DIM), atol=1e-4)
    fresh = vectors(50, seed=1)
    exact = unit(fresh) @ unit(fresh).T
    small = made.reduce(fresh).astype(np.float32) / tokens.SCALE
    np.testing.assert_allclose(small @ small.T, exact, atol=0.03)


def test_a_compact_projection_is_half_of_the_other() -> None:
    sample = [vectors(2000)]
    whole, half = train("model", sample, passages=1), train("model", sample, passages=1, dim=tokens.COMPACT)
    np.testing.assert_array_equal(half.matrix, whole.matrix[:, : tokens.COMPACT])
    assert half.reduce(vectors(9)).nbytes == whole.reduce(vectors(9)).nbytes / 2
    assert half.key != whole.key
    assert half.keeps(tokens.COMPACT) and whole.keeps(DIM) and not half.keeps(DIM) and not whole.keeps(tokens.COMPACT)


def test_narrow_tokens_are_only_turned() -> None:
    assert train("tiny", [vectors(10, width=32)], passages=1).dim == 32


@pytest.mark.parametrize(
    ("trained_on", "passages", "outgrown"),
    [(1000, 199, False), (1000, 200, True), (tokens.SAMPLE, 10_000, False)],
)
def test_only_what_was_trained_on_too_little_is_outgrown(trained_on: int, passages: int, outgrown: bool) -> None:
    assert Projection("m", vectors(4, width=4), trained_on, 100).outgrown(passages) == outgrown


# The file


def written_file(folder: Path, chunks: list[Vectors]) -> TokenFile:
    projection = train("model", [vectors(2000)], passages=1)
    tokens.write(folder, projection, map(projection.reduce, chunks))
    return TokenFile(folder)


def test_maxsim_orders_as_comparing_every_token_would(tmp_path: Path) -> None:
    chunks = [vectors(n, seed=7) for n in range(5, 45)]
    question = vectors(9, seed=3)
    exact = [float((unit(question) @ unit(chunk).T).max(axis=1).mean()) for chunk in chunks]
    opened = written_file(tmp_path, chunks)
    given = opened.maxsim(question, range(len(chunks))).mean(axis=1)
    np.testing.assert_allclose(given, exact, atol=0.01)
    assert np.corrcoef(given, exact)[0, 1] > 0.999
    assert opened.maxsim(question, [30, 2]).mean(axis=1).tolist() == [given[30], given[2]]


def test_what_has_no_tokens_is_like_nothing(tmp_path: Path) -> None:
    nothing = vectors(0)
    opened = written_file(tmp_path, [vectors(3), nothing])
    assert opened.maxsim(vectors(2), [1]).tolist() == [[0.0, 0.0]]
    assert opened.maxsim(nothing, [0, 1]).shape == (2, 0)
    (tmp_path / "empty").mkdir()
    assert written_file(tmp_path / "empty", [nothing]).maxsim(vectors(2), [0]).tolist() == [[0.0, 0.0]]


def test_what_has_no_tokens_yet_is_as_good_as_the_others(tmp_path: Path) -> None:
    opened = written_file(tmp_path, [vectors(3), vectors(0), vectors(5, seed=7)])
    given = opened.maxsim(vectors(4, seed=3), [0, 1, 2])
    np.testing.assert_allclose(given[1], (given[0] + given[2]) / 2, rtol=1e-5)
    assert given[0].tolist() != given[2].tolist()


# Search


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("made"), NAMES, embedder=TokenHashEmbedder())


@pytest.fixture
def opened(made: Path) -> Iterator[Generation]:
    with generation.current(made) as found:  # type: ignore[union-attr]
        yield found


def order(found: retrieve.Results) -> list[tuple[str, str]]:
    return [(hit.section.url, hit.section.anchor) for hit in found.hits]


def test_the_best_are_ordered_by_both_scores_and_the_rest_follows() -> None:
    fused = [(n, 1 - n / 50) for n in range(40)]
    likeness = [0.5 + (n == 20) - (n == 0) * 0.5 for n in range(RERANKED)]
    mixed = reranked(fused, likeness)
    assert mixed[0][0] == 20
    assert mixed[0][1] == pytest.approx(FUSED_SHARE * (1 - 20 / 29) + (1 - FUSED_SHARE))
    assert [key for key, _ in mixed[RERANKED:]] == list(range(RERANKED, 40))
    assert sorted(key for key, _ in mixed) == list(range(40))
    scores = [score for _, score in mixed]
    assert scores == sorted(scores, reverse=True)
    assert reranked([], []) == []


def test_the_best_lexical_candidate_keeps_a_place() -> None:
    scored = [(n, 1 - n / 10) for n in range(10)]
    assert [key for key, _ in guaranteed(scored, 8, place=5)] == [0, 1, 2, 3, 8, 4, 5, 6, 7, 9]
    assert guaranteed(scored, 2, place=5) == scored
    scores = [score for _, score in guaranteed(scored, 8, place=5)]
    assert scores == sorted(scores, reverse=True)


def test_a_search_reranks_only_where_tokens_are_known_and_wanted(opened: Generation, tmp_path: Path) -> None:
    question = "heap limit pause of the collector"
    with_tokens = retrieve.search(opened, TokenHashEmbedder(), question, k=20)
    switched_off = retrieve.search(opened, TokenHashEmbedder(), question, k=20, rerank=False)
    no_tokens_of_question = retrieve.search(opened, HashEmbedder(), question, k=20)
    build(tmp_path, NAMES, embedder=HashEmbedder())
    with generation.current(tmp_path) as bare:  # type: ignore[union-attr]
        no_tokens_in_generation = retrieve.search(bare, TokenHashEmbedder(), question, k=20)
        assert bare.tokens is None
        assert bare.maxsim(vectors(1), [1]).shape == (0, 1)
    assert order(switched_off) == order(no_tokens_of_question) == order(no_tokens_in_generation)
    assert order(with_tokens) != order(switched_off)
    assert sorted(order(with_tokens)) == sorted(order(switched_off))
    assert {each.mode for each in (with_tokens, switched_off, no_tokens_in_generation)} == {"hybrid"}


def test_reranking_stays_in_its_collections(opened: Generation) -> None:
    found = retrieve.search(opened, TokenHashEmbedder(), "heap limit pause", k=20, scope=Scope(("guides",)))
    assert found.hits and {hit.collection for hit in found.hits} == {"guides"}


def test_a_lexical_search_encodes_nothing(opened: Generation) -> None:
    assert retrieve.search(opened, None, "heap", k=5).mode == "lexical"


# Indexing


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        opened.start_crawl(source("docs"), {}, AT)
        for name in NAMES:
            put(opened, written(name))
        yield opened


def test_unchanged_chunks_are_never_encoded_again(store: Store) -> None:
    embedder = TokenHashEmbedder()
    everything = pipeline.embed(store, embedder, rerank=True)
    assert everything == len(embedder.encoded) == len(set(embedder.encoded)) > len(NAMES)
    publish(store, embedder)
    assert publish(store, embedder) is None
    put(store, written("heap", seed=1))
    assert 0 < pipeline.embed(store, embedder, rerank=True) < everything / 2
    assert store.known_tokens(store.projection(embedder.key)) == store.known_vectors(embedder.key)  # type: ignore[arg-type]


def test_a_stopped_run_goes_on_where_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "EMBED_BATCH", 4)
    monkeypatch.setattr(indexing, "SAMPLE", 10)
    cancel, whole = Cancel(), TokenHashEmbedder()
    told: list[Progress] = []

    def stop_after_two_batches(progress: Progress) -> None:
        told.append(progress)
        if len(told) > 2:
            cancel.cancel()

    with pytest.raises(Cancelled):
        pipeline.embed(store, whole, rerank=True, cancel=cancel, sink=stop_after_two_batches)
    rest = TokenHashEmbedder()
    pipeline.embed(store, rest, rerank=True)
    assert rest.encoded
    assert not {*whole.encoded} & {*rest.encoded}


def test_switching_rerank_on_encodes_once_and_off_only_leaves_the_tokens_out(store: Store) -> None:
    embedder = TokenHashEmbedder()
    chunks = pipeline.embed(store, embedder)
    assert embedder.encoded == []
    assert publish(store, embedder).projection != ""
    assert len(embedder.encoded) == chunks
    bare = pipeline.publish(store, READER, embedder, rerank=False)
    assert bare is not None and bare.projection == "" and not {*bare.files} & {tokens.TOKENS, tokens.OFFSETS}
    assert publish(store, embedder).projection != ""
    assert len(embedder.encoded) == chunks


def test_switching_compact_makes_the_token_vectors_anew(store: Store) -> None:
    embedder = TokenHashEmbedder(dim=80)
    chunks = pipeline.embed(store, embedder, rerank=True)
    whole = publish(store, embedder).projection
    assert pipeline.embed(store, embedder, rerank=True, compact=True) == chunks
    assert pipeline.embed(store, embedder, rerank=True, compact=True) == 0
    small = pipeline.publish(store, READER, embedder, rerank=True)
    assert small is not None and small.projection not in {"", whole}
    with generation.current(store.folder) as opened:  # type: ignore[union-attr]
        assert opened.tokens is not None
        assert retrieve.search(opened, embedder, "heap limit", k=5).mode == "hybrid"
        sizes = (opened.folder / tokens.TOKENS).stat().st_size, np.load(opened.folder / tokens.OFFSETS)[-1]
    assert sizes[0] == tokens.COMPACT * sizes[1]
    assert pipeline.embed(store, embedder, rerank=True) == chunks


def test_a_model_narrower_than_compact_has_nothing_to_switch(store: Store) -> None:
    embedder = TokenHashEmbedder(dim=16)
    assert pipeline.embed(store, embedder, rerank=True) > 0
    assert pipeline.embed(store, embedder, rerank=True, compact=True) == 0


def test_a_corpus_twice_as_large_deserves_a_new_projection(store: Store) -> None:
    embedder = TokenHashEmbedder()
    pipeline.embed(store, embedder, rerank=True)
    first = store.projection(embedder.key)
    for name in NAMES:
        put(store, written(f"{name}-2", seed=2))
        put(store, written(f"{name}-3", seed=3))
    pipeline.embed(store, embedder, rerank=True)
    second = store.projection(embedder.key)
    assert first is not None and second is not None and first.key != second.key
    assert store.known_tokens(first) == set()
    assert len(store.known_tokens(second)) == second.passages


def test_what_nothing_needs_any_more_is_dropped(store: Store) -> None:
    embedder = TokenHashEmbedder()
    pipeline.embed(store, embedder, rerank=True)
    for url in store.urls()[1:]:
        store.remove_url(url)
    pipeline.embed(store, embedder, rerank=True)
    left = {passage_hash(chunk) for url in store.urls() for part in store.page(url).chunks for chunk in part}
    assert store.known_tokens(store.projection(embedder.key)) == left  # type: ignore[arg-type]
