"""Hints name what helps with what was asked for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import typer

from ragmacs_srv.app import App
from ragmacs_srv.cli.terminal import Terminal
from ragmacs_srv.errors import Cancelled, RagmacsError
from ragmacs_srv.events import Cancel, ignore
from ragmacs_srv.pipeline import Report, nothing_read
from ragmacs_srv.search.store import Receipt
from ragmacs_srv.settings import load


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://a.example/", "--mirror"),
        ("godoc:sync", "ragmacs doctor"),
        ("file:///n.md", "ragmacs collections mine"),
    ],
)
def test_the_network_is_blamed_only_for_what_comes_from_it(url: str, said: str) -> None:
    report = Report("mine")
    report.add(Receipt("mine", url, "failed", "", "it is empty", "", "", 0, ""))
    failure = nothing_read([report])
    assert failure is not None
    assert said in failure.hint
    assert ("--mirror" in failure.hint) == url.startswith("https:")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nope", "ragmacs collections lists the names"),
        ("go-gv", "did you mean 'go-gc'? ragmacs collections lists the names"),
        ("go-gc", "ragmacs crawl go-gc"),
    ],
)
def test_only_a_collection_that_there_is_can_be_crawled(tmp_path: Path, name: str, hint: str) -> None:
    environ = {"RAGMACS_HOME": str(tmp_path), "RAGMACS_SEARCH_MODE": "lexical"}
    with App(load(environ, {}), environ) as app:
        for asks in (app.collection, lambda name: app.search("heap", collections=[name])):
            with pytest.raises(RagmacsError) as caught:
                asks(name)
            assert caught.value.hint == hint


def test_a_question_at_the_terminal_ends_at_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> bool:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as exc:
            raise typer.Abort from exc
        return True

    monkeypatch.setattr(typer, "confirm", asked)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(Cancelled) as caught:
            Terminal({}, json=False, no_server=True, sink=ignore, cancel=Cancel()).confirm("Read this?")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert caught.value.hint == "nothing was begun"
    finally:
        signal.signal(signal.SIGTERM, before)
