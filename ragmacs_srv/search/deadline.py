"""An embedder becomes one that answers in time or not at all: who asks a question does not wait for a slow one."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbedderSlow
from .embed import Embedder, Encoded, TokenEmbedder

T = TypeVar("T")
PER_TEXT = 0.02  # seconds more for every text but the first: five times what our own engines need on an idle machine


def within(embedder: Embedder, seconds: float) -> Embedder:
    """EMBEDDER, whose every call raises EmbedderSlow after SECONDS and a little per text; a TokenEmbedder stays one."""
    # Not isinstance: before Python 3.12 that reads every attribute, `dim` too, for which an engine may load its model.
    if hasattr(embedder, "encode"):
        return PromptTokenEmbedder(cast(TokenEmbedder, embedder), seconds)
    return PromptEmbedder(embedder, seconds)


class PromptEmbedder:
    """An Embedder with a deadline.

    Calls take turns in one thread at a time. While one is overdue there is no use in waiting behind it: all
    others fail at once, until it returns.
    """

    def __init__(self, embedder: Embedder, seconds: float) -> None:
        self._embedder = embedder
        self._seconds = seconds
        self._turn = threading.Lock()  # held while a call runs
        self._due = math.inf  # when that call is to have returned

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def key(self) -> str:
        return self._embedder.key

    @property
    def numeric(self) -> str:
        return self._embedder.numeric

    @cached_property
    def dim(self) -> int:
        return self._in_time(lambda: self._embedder.dim, 1)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        return self._in_time(lambda: self._embedder.embed(texts, query=query), len(texts))

    def _in_time(self, call: Callable[[], T], texts: int) -> T:
        """What CALL with so many TEXTS returns, or raises; EmbedderSlow when that takes too long."""
        seconds = self._seconds + PER_TEXT * max(0, texts - 1)
        end = time.monotonic() + seconds
        overdue = time.monotonic() >= self._due
        if overdue or not self._turn.acquire(timeout=self._seconds):
            raise self._slow()
        self._due = time.monotonic() + seconds
        given: Future[T] = Future()
        threading.Thread(target=self._work, args=(call, given), name=self.name, daemon=True).start()
        try:
            return given.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            raise self._slow() from None

    def _work(self, call: Callable[[], T], given: Future[T]) -> None:
        try:
            given.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
            given.set_exception(exc)
        finally:
            self._due = math.inf
            self._turn.release()

    def _slow(self) -> EmbedderSlow:
        message = f"the embedding model {self.name} did not answer within {self._seconds:g} s"
        return EmbedderSlow(message, hint="ask again, or give it longer: [search] deadline")


class PromptTokenEmbedder(PromptEmbedder):
    """A TokenEmbedder with a deadline."""

    def __init__(self, embedder: TokenEmbedder, seconds: float) -> None:
        super().__init__(cast(Embedder, embedder), seconds)
        self._tokens = embedder

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Encoded:
        return self._in_time(lambda: self._tokens.encode(texts, query=query), len(texts))

    def spans(self, question: str) -> list[tuple[int, int]]:
        return self._in_time(lambda: self._tokens.spans(question), 1)
