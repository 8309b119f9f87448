"""Vectors from a server: what is asked, what is accepted, and what is done about one that fails."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import Cancelled, EmbedderMissing, SettingsError
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest.kinds import handbook
from ragmacs_srv.search.embed import Embedder, TokenEmbedder
from ragmacs_srv.search.remote import ASKING, INDEXING, EndpointEmbedder, Patience, unit_vectors
from tests.fakes import HashEmbedder
from tests.llm_server import Act, Reply, Server, json_reply, refuses, scripted

AT_ONCE = replace(INDEXING, pause=0)


def vectors(*rows: Sequence[float], **more: Any) -> Reply:
    """A reply as OpenAI's servers send it."""
    listed = [{"object": "embedding", "index": n, "embedding": list(row)} for n, row in enumerate(rows)]
    return json_reply({"object": "list", "model": "m", "data": listed, **more})


def embedder(server: Server, *, key: str = "", cancel: Cancel | None = None, **patience: Patience) -> EndpointEmbedder:
    return EndpointEmbedder(server.url, "m", key=key, cancel=cancel, **{"indexing": AT_ONCE, **patience})


# What is asked


def test_texts_are_sent_as_openai_wants_them_and_come_back_as_unit_vectors() -> None:
    with scripted(vectors([3, 4], [0, 2])) as server:
        given = embedder(server, key="sk-1").embed(["heap", "stack"])
    [request] = server.requests
    assert request.path == "/v1/embeddings"
    assert request.body == {"model": "m", "input": ["heap", "stack"], "encoding_format": "float"}
    assert request.headers["Authorization"] == "Bearer sk-1"
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, [[0.6, 0.8], [0, 1]], atol=1e-7)


def test_the_indexes_say_which_vector_is_whose() -> None:
    rows = [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}]
    with scripted(json_reply({"data": rows})) as server:
        np.testing.assert_array_equal(embedder(server).embed(["a", "b"]), [[1, 0], [0, 1]])


def test_without_indexes_the_order_is_that_of_the_texts() -> None:
    with scripted(json_reply({"data": [{"embedding": [1, 0]}, {"embedding": [0, 1]}]})) as server:
        np.testing.assert_array_equal(embedder(server).embed(["a", "b"]), [[1, 0], [0, 1]])


def test_many_texts_are_asked_for_in_parts_and_none_in_no_part() -> None:
    with scripted(vectors(*[[1, 0]] * 32), vectors(*[[0, 1]] * 8)) as server:
        asked = embedder(server)
        assert asked.embed(["x"] * 40).argmax(axis=1).tolist() == [0] * 32 + [1] * 8
        assert asked.embed([]).shape == (0, 2)
    assert [len(request.body["input"]) for request in server.requests] == [32, 8]


def test_how_wide_the_vectors_are_is_learnt_from_the_first_or_asked() -> None:
    with scripted(vectors([1, 2, 3]), vectors([1, 2, 3])) as server:
        known, asked = embedder(server), embedder(server)
        known.embed(["x"])
        assert (known.dim, asked.dim, asked.dim) == (3, 3, 3)
    assert len(server.requests) == 2


def test_a_server_cannot_tell_the_vectors_of_tokens() -> None:
    assert not isinstance(EndpointEmbedder("http://127.0.0.1:1", "m"), TokenEmbedder)


def test_another_server_or_model_is_another_space() -> None:
    made = [EndpointEmbedder(f"http://127.0.0.1:{port}", model) for port in (1, 2) for model in ("a", "b")]
    assert len({each.key for each in made}) == 4
    assert EndpointEmbedder("http://127.0.0.1:1/v1/embeddings/", "a").key == made[0].key
    assert made[0].numeric == "remote:a"


# What is accepted


def data(*rows: object) -> bytes:
    return json.dumps({"data": list(rows)}).encode()


def row(*numbers: object, index: object = 0) -> Mapping[str, object]:
    return {"index": index, "embedding": list(numbers)}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list"),
        (b'{"data": {}}', "no list"),
        (data("x", "y"), "no list"),
        (data(row(1, 0)), "1 vectors for 2 texts"),
        (data(row(1, 0), row(1, 0, index=1), row(1, 0, index=2)), "3 vectors for 2 texts"),
        (data(row(1, 0), row(1, 0)), "indexes"),
        (data(row(1, 0), row(1, 0, index=2)), "indexes"),
        (data(row(1, 0), row(1, 0, index="1")), "indexes"),
        (data(row(1, 0), row(1, index=1)), "one length"),
        (data(row(), row(index=1)), "lists of numbers"),
        (data(row("1", "0"), row("1", "0", index=1)), "lists of numbers"),
        (data(row(None, 0), row(1, 0, index=1)), "lists of numbers"),
        (data({"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": "AAAA"}), "lists of numbers"),
        (data(row(math.nan, 0), row(1, 0, index=1)), "not finite"),
        (data(row(math.inf, 0), row(1, 0, index=1)), "not finite"),
        (data(row(1e300, 0), row(1, 0, index=1)), "not finite"),
        (data(row(0, 0), row(1, 0, index=1)), "zero"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_are_no_vectors_for_the_texts_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unit_vectors(body, 2)


def test_vectors_of_another_width_than_before_are_refused() -> None:
    with scripted(vectors([1, 0]), vectors([1, 0, 0])) as server:
        asked = embedder(server)
        asked.embed(["x"])
        with pytest.raises(EmbedderMissing, match="of 2 numbers, then of 3"):
            asked.embed(["x"])


# What is done about failures


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_indexing_tries_again_what_may_be_gone_in_a_moment(status: int) -> None:
    with scripted(refuses(status, "busy"), refuses(status, "busy", Retry_After="0"), vectors([1, 0])) as server:
        assert embedder(server).embed(["x"]).shape == (1, 2)
    assert len(server.requests) == 3


def test_indexing_gives_up_after_a_few_attempts() -> None:
    with scripted(*[refuses(503, "loading")] * 9) as server, pytest.raises(EmbedderMissing, match="503: loading"):
        embedder(server).embed(["x"])
    assert len(server.requests) == 1 + INDEXING.retries


@pytest.mark.parametrize("after", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_server_that_wants_us_to_wait_long_is_not_waited_for(after: str) -> None:
    with scripted(refuses(429, "slow down", Retry_After=after)) as server, pytest.raises(EmbedderMissing):
        embedder(server).embed(["x"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_question_is_asked_once(status: int) -> None:
    with scripted(refuses(status, "busy", Retry_After="0")) as server, pytest.raises(EmbedderMissing):
        embedder(server).embed(["x"], query=True)
    assert len(server.requests) == 1


def test_a_question_waits_no_longer_than_a_search_can() -> None:
    assert ASKING.connect + ASKING.silence <= 1.5 and ASKING.retries == 0
    hasty = replace(ASKING, silence=0.05)
    with scripted(Reply(before=[Act.HANG])) as server, pytest.raises(EmbedderMissing, match="sent nothing for"):
        embedder(server, asking=hasty).embed(["x"], query=True)


def test_a_server_that_drips_is_left() -> None:
    slow = replace(ASKING, total=0)
    with scripted(vectors([1, 0])) as server, pytest.raises(EmbedderMissing, match="not done in time"):
        embedder(server, asking=slow).embed(["x"], query=True)


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    with scripted() as server:
        pass
    with pytest.raises(EmbedderMissing) as error:
        embedder(server).embed(["x"])
    assert server.url in error.value.message and "cannot be reached" in error.value.message
    assert error.value.hint == "is the server running?"


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "RAGMACS_EMBED_KEY"), (404, "[embed] model"), (400, "[embed] model"), (302, "base_url")]
)
def test_a_refusal_is_final_and_keeps_the_key_to_itself(status: int, hint: str) -> None:
    reply = refuses(status, "wrong key sk-1\nsk-1", Location="http://127.0.0.1:1/")
    with scripted(reply) as server, pytest.raises(EmbedderMissing, match=str(status)) as error:
        embedder(server, key="sk-1").embed(["x"])
    assert len(server.requests) == 1
    assert hint in error.value.hint
    assert "sk-1" not in error.value.message and "\n" not in error.value.message


def test_waiting_for_a_server_can_be_cancelled() -> None:
    cancel = Cancel()
    with scripted(Reply(before=[Act.HANG])) as server:

        def stop() -> None:
            server.next_request()
            cancel.cancel()

        threading.Thread(target=stop).start()
        with pytest.raises(Cancelled):
            embedder(server, cancel=cancel).embed(["x"])
        assert server.hung_up.wait(30)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:11434", "ftp://x/v1", "http://", "http://[::1", "http://u:sk-1@x/v1", "http://x/v1?k=sk-1"],
)
def test_an_address_that_cannot_be_meant_is_refused_unquoted(address: str) -> None:
    with pytest.raises(SettingsError, match="base_url") as error:
        EndpointEmbedder(address, "m")
    assert "sk-1" not in error.value.message + error.value.hint


def test_a_key_that_no_header_carries_is_refused_unquoted() -> None:
    with pytest.raises(SettingsError) as error:
        EndpointEmbedder("http://127.0.0.1:1", "m", key="sk-1 ü")
    assert "sk-1" not in error.value.message


# In the application


def app(home: Path, url: str, **more: str) -> App:
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_EMBED_ENGINE": "endpoint", "RAGMACS_EMBED_BASE_URL": url, **more}
    environ["RAGMACS_EMBED_MODEL"] = "m"
    return App(settings.load(environ), {"RAGMACS_EMBED_KEY": "sk-1"})


class Machine(Server):
    """A server that embeds as HashEmbedder does."""

    def __init__(self, fake: Embedder) -> None:
        super().__init__([])
        self.fake = fake

    def take(self, request: Any) -> Reply:
        super().take(request)
        return vectors(*self.fake.embed(request.body["input"]).tolist())


def test_an_index_of_a_servers_vectors_is_searched_by_meaning_until_the_server_is_gone(home: Path) -> None:
    with scripted() as server:
        fake = HashEmbedder()
        server.take = Machine(fake).take  # type: ignore[method-assign]
        with app(home, server.url) as ours:
            ours.crawl(handbook.source())
            assert ours.search("heap limit").mode == "hybrid"
            made = ours.manifest()
            assert made is not None and (made.numeric, made.dim, made.projection) == ("remote:m", 16, "")
        asked = fake.calls
        with app(home, server.url) as again:
            again.reindex()
            assert fake.calls == asked  # nothing is embedded twice
    with app(home, server.url) as ours:
        found = ours.search("heap limit")
    assert found.mode == "lexical" and found.hits
    assert "cannot be reached" in found.reason


def test_a_servers_model_that_gives_other_vectors_now_is_not_compared_with_the_index(home: Path) -> None:
    with scripted() as server:
        server.take = Machine(HashEmbedder(16)).take  # type: ignore[method-assign]
        with app(home, server.url) as ours:
            ours.crawl(handbook.source())
        server.take = Machine(HashEmbedder(24)).take  # type: ignore[method-assign]
        with app(home, server.url) as ours:
            found = ours.search("heap limit")
    assert found.mode == "lexical"
    assert "gives vectors of 24 numbers now, the index holds 16; run: ragmacs reindex" in found.reason


def test_an_endpoint_without_an_address_is_a_mistake_in_the_settings(home: Path) -> None:
    with app(home, "") as ours, pytest.raises(SettingsError, match="names no server"):
        ours.crawl(handbook.source())
