"""A question does not wait for a slow embedder, and a stuck one costs one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from ragmacs_srv.errors import EmbedderMissing, EmbedderSlow
from ragmacs_srv.search.deadline import QUESTIONS, TURN, PromptEmbedder, within
from ragmacs_srv.search.embed import Embedder, TokenEmbedder
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


class Gated(TokenHashEmbedder):
    """Waits before its first pass until it is let go; `passes` says how many texts each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.begun, self.let_go = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        self.passes.append(len(texts))
        self.begun.set()
        assert self.let_go.wait(60)
        return super().embed(texts, query=query)


def asked(work: Callable[[int], object], numbers: Iterable[int]) -> list[Future[object]]:
    """WORK for each of NUMBERS, each in a thread of its own."""
    pool = ThreadPoolExecutor(100)
    futures = [pool.submit(work, number) for number in numbers]
    pool.shutdown(wait=False)
    return futures


def until_waiting(prompt: Embedder, count: int) -> None:
    """Wait until COUNT texts wait for their turn."""
    waiting = cast(PromptEmbedder, prompt)._turns._waiting
    deadline = time.monotonic() + 30
    while sum(map(len, list(waiting.values()))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_questions_that_wait_share_a_pass_and_each_gets_its_own_answer() -> None:
    inner = Gated()
    prompt = within(inner, 60)
    assert isinstance(prompt, TokenEmbedder)
    first = asked(lambda n: prompt.encode([f"heap{n}"], query=True).tokens[0], [0])
    assert inner.begun.wait(60)
    others = asked(lambda n: prompt.encode([f"heap{n}"], query=True).tokens[0], range(1, 1 + TURN))
    until_waiting(prompt, TURN)
    inner.let_go.set()
    for n, future in enumerate([*first, *others]):
        assert np.array_equal(cast(Any, future.result(60)), TokenHashEmbedder().encode([f"heap{n}"]).tokens[0])
    assert inner.passes == [1, TURN]


def test_a_question_waits_for_one_turn_of_many_passages_at_most() -> None:
    inner = Gated()
    prompt = within(inner, 60)
    (passages,) = asked(lambda _: prompt.embed([f"passage {n}" for n in range(3 * TURN)]), [0])
    assert inner.begun.wait(60)
    (question,) = asked(lambda _: prompt.embed(["a heap"], query=True), [0])
    until_waiting(prompt, 2 * TURN + 1)
    inner.let_go.set()
    question.result(60), passages.result(60)
    assert inner.passes in ([TURN, 1, TURN, TURN], [TURN, TURN, 1, TURN])


def test_what_was_asked_lately_is_known() -> None:
    inner = TokenHashEmbedder()
    prompt = within(inner, 60)
    assert isinstance(prompt, TokenEmbedder)
    before = prompt.encode(["a heap"], query=True)
    assert prompt.spans("a heap") == inner.spans("a heap")
    assert np.array_equal(prompt.encode(["a heap"], query=True).vectors, before.vectors)
    assert inner.calls == 1
    for n in range(QUESTIONS):
        prompt.encode([f"heap{n}"], query=True)
    prompt.encode(["a heap"], query=True)
    assert inner.calls == 1 + QUESTIONS + 1


def test_its_own_failures_are_passed_on_as_they_are() -> None:
    class Broken(HashEmbedder):
        def embed(self, texts: object, *, query: bool = False) -> object:  # type: ignore[override]
            raise EmbedderMissing("the file is damaged")

    prompt = within(Broken(), 60)
    for _ in range(2):
        with pytest.raises(EmbedderMissing, match="damaged"):
            prompt.embed(["a heap"])
