from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ragmacs_srv.answer import batch, themes
from ragmacs_srv.answer.batch import Metered, Options
from ragmacs_srv.answer.journal import Journal, Kept
from ragmacs_srv.answer.llm import Chat
from ragmacs_srv.answer.prompt import Message
from ragmacs_srv.answer.summarize import Point, Summary
from ragmacs_srv.errors import AddressRefused, Busy, Cancelled, FetchError, IndexCorrupt, LLMUnavailable, NoContent
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest.address import Unreachable
from ragmacs_srv.ingest.lists import Entry, fold, parse
from ragmacs_srv.model import Block, Page, Response, Section


def page(url: str, text: str = "The collector frees what nothing can reach any more.") -> Page:
    section = Section(url, "top", ("A page",), text, (Block("paragraph", 0, len(text)),))
    return Page(url, f"Title of {url.rpartition('/')[2]}", (section,))


class Web:
    """Pages without a network: `leads` are redirects, `failures` what addresses raise; both counts are by address."""

    def __init__(self) -> None:
        self.leads: dict[str, str] = {}
        self.failures: dict[str, Exception] = {}
        self.texts: dict[str, str] = {}
        self.fetched: list[str] = []
        self.summarized: list[str] = []
        self.before: Callable[[str], None] = lambda url: None
        self._lock = threading.Lock()

    def fetch(self, url: str) -> Kept | Page:
        self.before(url)
        with self._lock:
            self.fetched.append(url)
        if url in self.failures:
            raise self.failures[url]
        end = self.leads.get(url, url)
        return Kept.of(page(end, *([self.texts[end]] if end in self.texts else [])), response(end))

    def summarize(self, page: Page, chat: Chat | None) -> Summary:
        with self._lock:
            self.summarized.append(page.url)
        if chat:
            try:
                said = "".join(chat.stream([Message("user", "x" * 400)], max_tokens=9, cancel=Cancel()))
            except LLMUnavailable as exc:
                return Summary(page.url, page.title, (Point("extracted", page.url),), notes=(exc.message,))
            return Summary(page.url, page.title, (Point(said, page.url),), model=chat.model)
        return Summary(page.url, page.title, (Point("extracted", page.url),))


class Scripted:
    """A chat that says the same each time, but fails the times that are in `fails`."""

    model = "scripted"

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.asked = 0
        self.fails = fails

    def stream(self, messages: Sequence[Message], *, max_tokens: int, cancel: Cancel) -> Iterator[str]:
        self.asked += 1
        if self.asked in self.fails:
            raise LLMUnavailable("the LLM said nothing for 120 seconds")
        yield "written"

    def relay(self, body: object, *, cancel: Cancel) -> Iterator[bytes]:
        raise NotImplementedError


def response(url: str) -> Response:
    return Response(url, url, 200, b"<html>", "text/html", "", "", "", "2026-01-01T00:00:00Z")


def entries(*urls: str) -> list[Entry]:
    return fold(parse("\n".join(urls).encode()))


def states(listed: Sequence[Entry], journal: Journal) -> dict[str, str]:
    return {row.entry.url: row.record.state for row in batch.rows(listed, journal.records())}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "out.org.batch") as opened:
        yield opened


def test_every_address_ends_as_done_failed_or_refused(journal: Journal) -> None:
    web = Web()
    web.failures["https://a.org/gone"] = FetchError("it does not exist", status=404)
    web.failures["https://b.org/robots"] = AddressRefused("it is private")
    web.failures["https://b.org/empty"] = NoContent("no words")
    listed = entries(
        "https://a.org/1", "https://a.org/gone", "https://b.org/robots", "https://b.org/empty", "file:///x"
    )
    batch.run(listed, journal, web, Options())
    assert list(states(listed, journal).values()) == ["done", "failed", "refused", "failed", "refused"]
    assert all(row.record.reason for row in batch.rows(listed, journal.records()) if row.record.state != "done")


def test_what_is_recorded_is_neither_fetched_nor_summarized_again(tmp_path: Path) -> None:
    web, listed, cancel = Web(), entries(*(f"https://a.org/{n}" for n in range(9))), Cancel()
    web.failures["https://a.org/2"] = FetchError("it does not exist", status=404)
    web.before = lambda url: cancel.cancel() if url.endswith("5") else None
    with Journal(tmp_path / "j") as journal, pytest.raises(Cancelled):
        batch.run(listed, journal, web, Options(), cancel=cancel)
    with Journal(tmp_path / "j") as journal:
        assert set(states(listed, journal).values()) == {"done", "failed", "pending"}
        batch.run(listed, journal, web, Options())
        assert sorted(web.fetched) == sorted(entry.url for entry in listed)
        assert sorted(web.summarized) == sorted(set(web.fetched) - set(web.failures))
        web.before = lambda url: pytest.fail(f"{url} was fetched again")
        batch.run(listed, journal, web, Options())


def test_redirects_to_one_page_are_one_row_and_one_summary(journal: Journal) -> None:
    web = Web()
    web.leads = {"https://a.org/old": "https://a.org/new", "https://b.org/short": "https://a.org/new"}
    listed = entries("https://a.org/old", "https://a.org/new", "https://b.org/short")
    batch.run(listed, journal, web, Options())
    (row,) = batch.rows(listed, journal.records())
    assert (row.url, row.record.state, len(row.also)) == ("https://a.org/new", "done", 2)
    assert web.summarized == ["https://a.org/new"]
    assert web.fetched.count("https://a.org/new") <= 1


def test_a_dead_network_is_tried_again_by_the_next_run_and_a_404_only_on_request(journal: Journal) -> None:
    web, listed = Web(), entries("https://a.org/1", "https://b.org/2")
    web.failures["https://a.org/1"] = Unreachable("no route", origin="https://a.org")
    web.failures["https://b.org/2"] = FetchError("it does not exist", status=404)
    batch.run(listed, journal, web, Options())
    assert set(states(listed, journal).values()) == {"failed"}
    web.failures.clear()
    batch.run(listed, journal, web, Options())
    assert list(states(listed, journal).values()) == ["done", "failed"]
    batch.run(listed, journal, web, Options(retry_failed=True))
    assert list(states(listed, journal).values()) == ["done", "done"]


def test_one_site_is_asked_for_one_page_at_a_time_and_several_sites_at_once(journal: Journal) -> None:
    web, busy, seen, lock = Web(), set[str](), 0, threading.Lock()
    both = threading.Barrier(2, timeout=30)

    def before(url: str) -> None:
        nonlocal seen
        site = url[:14]
        with lock:
            assert site not in busy
            busy.add(site)
        if url.endswith("/0"):
            both.wait()  # passes only when two sites are asked at the same time
        with lock:
            seen += 1
            busy.discard(site)

    web.before = before
    listed = entries(*(f"https://{site}.org/{n}" for n in range(5) for site in "ab"))
    batch.run(listed, journal, web, Options())
    assert seen == 10


def test_another_length_is_made_from_the_pages_that_were_kept(journal: Journal) -> None:
    web, listed = Web(), entries("https://a.org/1")
    batch.run(listed, journal, web, Options(length=50))
    batch.run(listed, journal, web, Options(length=90))
    assert (len(web.fetched), len(web.summarized)) == (1, 2)


def test_another_style_or_language_is_made_from_the_pages_that_were_kept(journal: Journal) -> None:
    web, listed = Web(), entries("https://a.org/1")
    for options in (Options(), Options(style="tldr"), Options(language="German"), Options(language="German")):
        batch.run(listed, journal, web, options)
    assert (len(web.fetched), len(web.summarized)) == (1, 3)


def test_an_llm_that_is_silent_once_costs_one_summary_that_can_be_retried_without_fetching(journal: Journal) -> None:
    web, listed = Web(), entries(*(f"https://a.org/{n}" for n in range(20)))
    batch.run(listed, journal, web, Options(), chat=Metered(Scripted(fails=[7]), 0))
    rows = batch.rows(listed, journal.records())
    assert [row.text for row in rows].count("extracted") == 1
    assert [row.record.notes for row in rows if row.text == "extracted"] == [("the LLM said nothing for 120 seconds",)]
    batch.run(listed, journal, web, Options(retry_failed=True), chat=Metered(Scripted(), 0))
    assert {row.text for row in batch.rows(listed, journal.records())} == {"written"}
    assert (len(web.fetched), len(web.summarized)) == (20, 21)


def test_a_summary_that_an_llm_did_not_end_can_be_retried(journal: Journal) -> None:
    class Broken(Web):
        def summarize(self, page: Page, chat: Chat | None) -> Summary:
            return replace(super().summarize(page, chat), complete=len(self.summarized) > 1)

    web, listed = Broken(), entries("https://a.org/1")
    for retry in (False, False, True, True):
        batch.run(listed, journal, web, Options(retry_failed=retry), chat=Metered(Scripted(), 0))
    assert (len(web.fetched), len(web.summarized)) == (1, 2)


def test_a_token_budget_that_is_used_up_leaves_the_rest_to_the_pages_own_words(journal: Journal) -> None:
    web, listed = Web(), entries(*(f"https://a.org/{n}" for n in range(6)))
    batch.run(listed, journal, web, Options(max_tokens=250), chat=Metered(Scripted(), 250))
    rows = batch.rows(listed, journal.records())
    assert [row.text for row in rows] == ["written"] * 3 + ["extracted"] * 3
    assert "budget of 250 tokens" in rows[-1].record.notes[0]


def test_a_time_budget_leaves_the_rest_pending(journal: Journal) -> None:
    web, listed = Web(), entries(*(f"https://a.org/{n}" for n in range(6)))
    batch.run(listed, journal, web, Options(max_seconds=1e-9))
    assert set(states(listed, journal).values()) == {"pending"}
    batch.run(listed, journal, web, Options())
    assert set(states(listed, journal).values()) == {"done"}


def test_a_bug_stops_the_run_and_loses_nothing_recorded(journal: Journal) -> None:
    web, listed = Web(), entries(*(f"https://a.org/{n}" for n in range(4)))
    web.failures["https://a.org/2"] = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        batch.run(listed, journal, web, Options())
    assert list(states(listed, journal).values()) == ["done", "done", "pending", "pending"]


def test_two_runs_on_one_output_are_refused(journal: Journal) -> None:
    with pytest.raises(Busy, match="another run"):
        Journal(journal.path)


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.org.batch"
    path.write_text("my own notes, " * 100)
    with pytest.raises(IndexCorrupt) as caught:
        Journal(path)
    assert "delete" in caught.value.hint
    assert path.read_text().startswith("my own notes")


def test_a_page_comes_back_from_the_journal_as_it_was(journal: Journal) -> None:
    web, listed = Web(), entries("https://a.org/1")
    batch.run(listed, journal, web, Options())
    assert journal.page("https://a.org/1") == Kept.of(page("https://a.org/1"), response("https://a.org/1"))


def test_themes_group_pages_by_the_words_they_share(journal: Journal) -> None:
    web = Web()
    listed = [
        Entry(f"https://a.org/{word}-{n}", tags=(word,))
        for word, count in (("heap", 3), ("generics", 2))
        for n in range(count)
    ]
    batch.run(listed, journal, web, Options())
    made = themes.digest(batch.rows(listed, journal.records()))
    assert [(each.name, len(each.rows)) for each in made.themes] == [("heap", 3), ("generics", 2)]
    assert [row.url.rpartition("/")[2].partition("-")[0] for row in made.first] == ["heap", "generics"]


def test_a_theme_is_named_by_the_words_that_its_titles_share(journal: Journal) -> None:
    web = Web()
    listed = [Entry(f"https://a.org/{n}", title=f"Release notes of part {n}", tags=("release",)) for n in "123"]
    listed += [Entry(f"https://a.org/{n}") for n in "45"]
    batch.run(listed, journal, web, Options())
    made = batch.rows(listed, journal.records())
    rows = [replace(row, record=replace(row.record, title=row.entry.title or "x")) for row in made]
    (theme,) = themes.digest(rows).themes
    assert (theme.name, len(theme.rows)) == ("release notes", 3)


def test_a_word_that_pages_only_use_is_no_theme(journal: Journal) -> None:
    web = Web()
    listed = entries("https://a.org/heap", "https://a.org/stack", "https://a.org/pool")
    for each in listed:
        web.texts[each.url] = f"Writing about it is writing {each.url} down in writing."
    batch.run(listed, journal, web, Options())
    assert not themes.digest(batch.rows(listed, journal.records())).themes


def test_a_digest_by_an_llm_cites_pages_that_there_are(journal: Journal) -> None:
    class Writer(Scripted):
        def stream(self, messages: Sequence[Message], *, max_tokens: int, cancel: Cancel) -> Iterator[str]:
            yield "Two pages on heaps [1][2], and one that is not there [9]."

    web, listed = Web(), entries("https://a.org/1", "https://a.org/2")
    batch.run(listed, journal, web, Options())
    made = themes.written(batch.rows(listed, journal.records()), Writer(), budget=4000, cancel=Cancel())
    assert made.text == "Two pages on heaps [1][2], and one that is not there."
    assert [row.url for row in made.cited] == ["https://a.org/1", "https://a.org/2"]
