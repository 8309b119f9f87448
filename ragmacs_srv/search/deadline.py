"""An embedder becomes one that answers in time or not at all, and answers many callers at once.

Who asks a question does not wait for a slow embedder, nor behind somebody else's hundred passages.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbedderSlow
from .embed import BATCH, Embedder, Encoded, TokenEmbedder

PER_TEXT = 0.02  # seconds more for every text but the first: five times what our own engines need on an idle machine
TURN = 2 * BATCH  # texts in one turn: two passes, which our own engines run beside each other
QUESTIONS, PASSAGES = 256, 1024  # whose rows are kept: with all their tokens 20 KB each, and 2 KB
Pass = Callable[[Sequence[str]], Sequence[Any]]  # texts to rows, one each


def within(embedder: Embedder, seconds: float) -> Embedder:
    """EMBEDDER, whose every call raises EmbedderSlow after SECONDS and a little per text; a TokenEmbedder stays one."""
    # Not isinstance: before Python 3.12 that reads every attribute, `dim` too, for which an engine may load its model.
    if hasattr(embedder, "encode"):
        return PromptTokenEmbedder(cast(TokenEmbedder, embedder), seconds)
    return PromptEmbedder(embedder, seconds)


class PromptEmbedder:
    """An Embedder with a deadline, for callers in any number of threads; it knows what it was asked lately.

    While one pass is overdue there is no use in waiting behind it: all others fail at once, until it returns.
    """

    def __init__(self, embedder: Embedder, seconds: float) -> None:
        self._embedder = embedder
        self._seconds = seconds
        self._turns = _Turns(embedder.name, seconds)
        self._questions = _Lately(self._turns, self._as_questions, QUESTIONS)
        self._passages = _Lately(self._turns, self._as_passages, PASSAGES)

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
        return int(self._turns.rows(lambda texts: [self._embedder.dim], [""])[0])

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        rows = (self._questions if query else self._passages).rows(texts)
        return np.array(rows, np.float32).reshape(len(texts), -1 if rows else self.dim)

    def _as_questions(self, texts: Sequence[str]) -> Sequence[Any]:
        return list(self._embedder.embed(texts, query=True))

    def _as_passages(self, texts: Sequence[str]) -> Sequence[Any]:
        return list(self._embedder.embed(texts))


class _Understood(NamedTuple):
    """All that a TokenEmbedder says of a question, in one turn."""

    vector: NDArray[np.float32]
    tokens: NDArray[np.float32]
    spans: list[tuple[int, int]]


class PromptTokenEmbedder(PromptEmbedder):
    """A TokenEmbedder with a deadline."""

    def __init__(self, embedder: TokenEmbedder, seconds: float) -> None:
        super().__init__(cast(Embedder, embedder), seconds)
        self._tokens = embedder
        self._understood = _Lately(self._turns, self._understand, QUESTIONS)

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Encoded:
        rows = self._understood.rows(texts) if query else self._turns.rows(self._encode, texts)
        vectors = np.array([row.vector for row in rows], np.float32)
        return Encoded(vectors.reshape(len(texts), -1 if rows else self.dim), [row.tokens for row in rows])

    def spans(self, question: str) -> list[tuple[int, int]]:
        return cast(_Understood, self._understood.rows([question])[0]).spans

    def _understand(self, texts: Sequence[str]) -> Sequence[_Understood]:
        vectors, tokens = self._tokens.encode(texts, query=True)
        spans = [self._tokens.spans(text) for text in texts]
        return list(map(_Understood, vectors, tokens, spans))

    def _encode(self, texts: Sequence[str]) -> Sequence[_Understood]:
        vectors, tokens = self._tokens.encode(texts)
        return [_Understood(*row, []) for row in zip(vectors, tokens, strict=True)]


class _Turns:
    """One embedder for many callers: a pass at a time, in a thread that ends when nobody waits.

    What is asked of the same kind, by whomever, shares a pass. The kinds take turns of TURN texts.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: dict[Pass, deque[tuple[str, Future[Any]]]] = {}  # the kind whose turn it is comes first
        self._working = False
        self._due = math.inf  # when the pass that runs is to have returned

    def rows(self, work: Pass, texts: Sequence[str]) -> list[Any]:
        """What WORK gives for TEXTS, or what it raises; EmbedderSlow when that takes too long."""
        end = time.monotonic() + self._seconds + PER_TEXT * max(0, len(texts) - 1)
        if time.monotonic() >= self._due:
            raise self._slow()
        given = self._put(work, texts)
        try:
            return [each.result(max(0.0, end - time.monotonic())) for each in given]
        except TimeoutError:
            raise self._slow() from None
        finally:
            for each in given:
                each.cancel()  # nobody waits for the rest any more

    def _put(self, work: Pass, texts: Sequence[str]) -> list[Future[Any]]:
        made: list[tuple[str, Future[Any]]] = [(text, Future()) for text in texts]
        with self._lock:
            self._waiting.setdefault(work, deque()).extend(made)
            idle, self._working = not self._working, True
        if idle:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return [future for _, future in made]

    def _run(self) -> None:
        while taken := self._take():
            work, texts, futures = taken
            self._due = time.monotonic() + self._seconds + PER_TEXT * (len(texts) - 1)
            try:
                for future, row in zip(futures, work(texts), strict=True):
                    future.set_result(row)
            except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
                for future in futures:
                    if not future.done():
                        future.set_exception(exc)
            self._due = math.inf

    def _take(self) -> tuple[Pass, list[str], list[Future[Any]]] | None:
        """What is encoded next, and for whom; None ends the thread."""
        with self._lock:
            while self._waiting:
                work = next(iter(self._waiting))
                queue = self._waiting.pop(work)
                batch = [queue.popleft() for _ in range(min(TURN, len(queue)))]
                if queue:
                    self._waiting[work] = queue  # behind the others
                wanted = [each for each in batch if each[1].set_running_or_notify_cancel()]
                if wanted:
                    return work, [text for text, _ in wanted], [future for _, future in wanted]
            self._working = False
            return None

    def _slow(self) -> EmbedderSlow:
        message = f"the embedding model {self._name} did not answer within {self._seconds:g} s"
        return EmbedderSlow(message, hint="ask again, or give it longer: [search] deadline")


class _Lately:
    """What WORK gives, by turns; the rows of the last ROOM texts are known."""

    def __init__(self, turns: _Turns, work: Pass, room: int) -> None:
        self._turns = turns
        self._work = work
        self._room = room
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}  # what was asked for longest ago comes first

    def rows(self, texts: Sequence[str]) -> list[Any]:
        """A row for each of TEXTS; raises what `_Turns.rows` does."""
        rows = self._recall(texts)
        wanted = sorted({text for text in texts if text not in rows}, key=len)  # those of a pass are equally long
        if wanted:
            rows |= zip(wanted, map(_copied, self._turns.rows(self._work, wanted)), strict=True)
            self._keep({text: rows[text] for text in wanted})
        return [rows[text] for text in texts]

    def _recall(self, texts: Sequence[str]) -> dict[str, Any]:
        with self._lock:
            found = {text: self._known.pop(text) for text in dict.fromkeys(texts) if text in self._known}
            self._known |= found
        return found

    def _keep(self, rows: dict[str, Any]) -> None:
        with self._lock:
            self._known |= rows
            for text in list(self._known)[: max(0, len(self._known) - self._room)]:
                del self._known[text]


def _copied(row: Any) -> Any:
    """ROW without the rest of its pass, which it would keep in memory."""
    return row.copy() if isinstance(row, np.ndarray) else row
