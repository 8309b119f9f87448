"""A question does not wait for a slow embedder, and a stuck one costs one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from ragmacs_srv.errors import EmbedderMissing, EmbedderSlow
from ragmacs_srv.search.deadline import within
from ragmacs_srv.search.embed import TokenEmbedder
from tests.fakes import HashEmbedder, StuckEmbedder
from tests.search.fakes_tokens import TokenHashEmbedder


@pytest.fixture
def stuck(request: pytest.FixtureRequest) -> Iterator[StuckEmbedder]:
    embedder = StuckEmbedder(name=request.node.name)
    yield embedder
    embedder.let_go.set()


def working(embedder: StuckEmbedder) -> list[threading.Thread]:
    """The threads that wait for EMBEDDER."""
    return [thread for thread in threading.enumerate() if thread.name == embedder.name]


def test_in_time_it_is_the_embedder_itself() -> None:
    inner = TokenHashEmbedder()
    prompt = within(inner, 60)
    assert (prompt.name, prompt.key, prompt.dim) == (inner.name, inner.key, inner.dim)
    assert np.array_equal(prompt.embed(["a heap"], query=True), inner.embed(["a heap"]))
    assert isinstance(prompt, TokenEmbedder)
    assert np.array_equal(prompt.encode(["a heap"]).tokens[0], inner.encode(["a heap"]).tokens[0])
    assert not isinstance(within(HashEmbedder(), 60), TokenEmbedder)


def test_a_stuck_embedder_is_given_up_and_asked_no_more(stuck: StuckEmbedder) -> None:
    prompt = within(stuck, 0.01)
    for _ in range(20):
        with pytest.raises(EmbedderSlow, match=f"{stuck.name} did not answer"):
            prompt.embed(["a heap"])
    assert stuck.waited == 1


def test_threads_do_not_pile_up_behind_a_stuck_embedder(stuck: StuckEmbedder) -> None:
    prompt = within(stuck, 0.01)

    def ask() -> None:
        with pytest.raises(EmbedderSlow):
            prompt.embed(["a heap"])

    askers = [threading.Thread(target=ask) for _ in range(20)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    assert len(working(stuck)) == 1


def test_it_answers_again_when_the_stuck_call_has_returned(stuck: StuckEmbedder) -> None:
    prompt = within(stuck, 0.5)
    with pytest.raises(EmbedderSlow):
        prompt.embed(["a heap"])
    stuck.let_go.set()
    for thread in working(stuck):
        thread.join()
    assert prompt.embed(["a heap"]).shape == (1, stuck.dim)


def test_an_engine_that_loads_its_model_to_tell_its_width_is_not_waited_for(stuck: StuckEmbedder) -> None:
    class Lazy(TokenHashEmbedder):
        @property
        def dim(self) -> int:  # type: ignore[override]
            return stuck.embed([""]).shape[1]

        @dim.setter
        def dim(self, value: int) -> None: ...

    prompt = within(Lazy(name=stuck.name), 0.01)
    with pytest.raises(EmbedderSlow):
        isinstance(prompt, TokenEmbedder) and prompt.encode(["a heap"])
    assert len(working(stuck)) == 1


def test_callers_take_turns_in_a_healthy_one() -> None:
    inner = HashEmbedder()
    prompt, found = within(inner, 60), []
    askers = [threading.Thread(target=lambda: found.append(prompt.embed(["a heap"]))) for _ in range(20)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    assert len(found) == inner.calls == 20


def test_its_own_failures_are_passed_on_as_they_are() -> None:
    class Broken(HashEmbedder):
        def embed(self, texts: object, *, query: bool = False) -> object:  # type: ignore[override]
            raise EmbedderMissing("the file is damaged")

    prompt = within(Broken(), 60)
    for _ in range(2):
        with pytest.raises(EmbedderMissing, match="damaged"):
            prompt.embed(["a heap"])
