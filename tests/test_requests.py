"""Many requests of one App share what one of them has built, and nothing of it is the first one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import Cancelled, RagmacsError
from ragmacs_srv.events import Cancel
from tests.search import library
from tests.servers import Answer, serve


def app_of(home: Path, **flags: str) -> App:
    environ = {"RAGMACS_HOME": str(home), "PATH": os.environ["PATH"]}
    return App(settings.load(environ, {name.replace("__", "."): value for name, value in flags.items()}), environ)


def test_what_one_request_built_the_next_one_has(home: Path) -> None:
    with app_of(home, llm__base_url="http://127.0.0.1:9", search__llm_rerank="true") as app:
        with app.request() as first:
            made = first.chat, first.judge
        with app.request() as second:
            assert (second.chat, second.judge) == made


def test_a_request_that_was_stopped_leaves_no_embedder_that_is(home: Path) -> None:
    library.build(home / "store")
    flags = {"embed__engine": "endpoint", "embed__model": "m", "search__deadline": "20"}
    with (
        serve({"/v1/embeddings": Answer(b"no", 404)}) as site,
        app_of(home, embed__base_url=site.origin, **flags) as app,
    ):
        stopped = Cancel()
        with app.request(cancel=stopped) as first:
            first.asker(first.generation())
        stopped.cancel()
        with app.request() as second:
            embedder, reason = second.asker(second.generation())
            assert embedder is not None, reason
            with pytest.raises(RagmacsError) as failed:
                embedder.embed(["What sets the heap limit?"])
    assert not isinstance(failed.value, Cancelled)
