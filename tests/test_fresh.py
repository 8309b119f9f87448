"""What an update keeps, what it takes out, and when: a site that is ill for a while loses nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import Cancelled, FetchError
from ragmacs_srv.events import Cancel, Sink, ignore
from ragmacs_srv.ingest import kinds
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, web
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Source
from ragmacs_srv.pipeline import Reader, Report, walk
from ragmacs_srv.search import roster
from ragmacs_srv.search import store as store_module
from ragmacs_srv.search.database import connect
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from tests.conftest import Cli
from tests.search import library
from tests.servers import Answer, Route, Site, Visit, serve
from tests.test_pipeline import html

Routes = Mapping[str, Route]


def prose(about: str, words: int = 120) -> str:
    """A text that shares nothing with one about something else."""
    return " ".join(f"{about}{n}{'.' if n % 9 == 8 else ''}" for n in range(words))


def linked(*links: str) -> bytes:
    return html(prose("root"), title="Root", links=links)


def page(about: str, words: int = 120) -> bytes:
    return html(prose(about, words), title=about.title())


def pages(*names: str) -> Routes:
    """A root that links to a page about each of NAMES."""
    return {"/": linked(*(f"/{name}" for name in names)), **{f"/{name}": page(name) for name in names}}


class World:
    """A store, and the means to crawl into it; `report` is what the last crawl did."""

    def __init__(self, store: Store, extractor: Extractor) -> None:
        self.store = store
        self.extractor = extractor
        self.resolves = True

    def crawl(self, site: Site, *, cancel: Cancel | None = None, sink: Sink = ignore, **changes: object) -> Report:
        return self._walk(site, partial(pipeline.crawl, cancel=cancel, sink=sink), **changes)

    def retry(self, site: Site) -> Report:
        return self._walk(site, pipeline.retry)

    def _walk(self, site: Site, walk: Callable[..., Report], **changes: object) -> Report:
        named = f"http://localhost:{site.port}"
        source = replace(Source("demo", "Demo", (f"{named}/",), depth=3), **changes)  # type: ignore[arg-type]
        with Fetcher(allow=[named], resolve=self._resolve, pause=lambda *_: None) as fetcher:
            return walk(self.store, Reader(Means(fetcher), self.extractor, Words()), source)

    def _resolve(self, host: str, port: int, /) -> list[str]:
        if not self.resolves:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ["127.0.0.1"]

    @property
    def held(self) -> list[str]:
        """The paths of the pages that readers would see."""
        return ["/" + url.split("/", 3)[-1] for url in self.store.urls()]

    def text(self, path: str) -> str:
        (url,) = [each for each in self.store.urls() if each.endswith(path)]
        return "\n".join(section.text for section in self.store.page(url).page.sections)


@pytest.fixture
def world(tmp_path: Path, page_reader: Extractor) -> Iterator[World]:
    with Store(tmp_path / "store") as opened:
        yield World(opened, page_reader)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(pages("a", "b", "c")) as running:
        yield running


# A site that is ill


def everywhere(answer: Route) -> Routes | Callable[[Visit], Answer | bytes | None]:
    """ANSWER for every address but robots.txt."""

    def route(visit: Visit) -> Answer | bytes | None:
        if visit.path == "/robots.txt":
            return Answer(b"", 404)
        return answer(visit) if callable(answer) else answer

    return route


def to(place: str, then: Route) -> Routes | Callable[[Visit], Answer | bytes | None]:
    """Every address leads to PLACE, which gives THEN."""
    return everywhere(
        lambda visit: then if visit.path == place else Answer(status=302, headers={"Location": place})  # type: ignore[arg-type,return-value]
    )


def dated(visit: Visit) -> bytes:
    at = len(visit.site.requests)
    return html(f"Error 502 at {visit.path}, request {at}: the site cannot be reached now.", title="Sorry")


FORM: Final = (
    b"<html><body><main><h1>Sign in</h1><form><input type=password></form><p>Please do.</p></main></body></html>"
)
SHELL: Final = b"<html><head><script src=app.js></script></head><body><div id=root></div></body></html>"
ILL: Final[dict[str, Routes | Callable[[Visit], Answer | bytes | None]]] = {
    "500": everywhere(Answer(b"oops", 500)),
    "403": everywhere(Answer(b"no", 403)),
    "robots.txt fails": {**pages("a", "b", "c"), "/robots.txt": Answer(b"", 503)},
    "robots.txt denies": {**pages("a", "b", "c"), "/robots.txt": b"User-agent: *\nDisallow: /\n"},
    "empty": everywhere(b""),
    "a shell for scripts": everywhere(SHELL),
    "a login form": everywhere(FORM),
    "one text for all, with 200": everywhere(html(prose("holiday", 40), title="Back soon")),
    "an error for each, with 200": everywhere(dated),
    "a redirect to a login form": to("/login", FORM),
    "a redirect to a login without a form": to("/login", html(prose("signin", 300))),
    "a redirect to the home page": to("/", linked("/a", "/b", "/c")),
    "a redirect to a new page": to("/welcome", html(prose("welcome", 900))),
    "a redirect elsewhere": everywhere(Answer(status=302, headers={"Location": "http://127.0.0.1:9/"})),
    "a loop": everywhere(lambda visit: Answer(status=302, headers={"Location": visit.path + "x"})),
}


ALIKE: Final = {"403", "robots.txt denies", "empty", "a redirect to a login form", "a redirect elsewhere", "a loop"}


@pytest.mark.parametrize(
    "ill", [pytest.param(ill, id=name, marks=[pytest.mark.slow] * (name in ALIKE)) for name, ill in ILL.items()]
)
def test_a_site_that_is_ill_loses_nothing_however_often_it_is_asked(
    world: World, site: Site, ill: Routes | Callable[[Visit], Answer | bytes | None]
) -> None:
    well = site.routes
    world.crawl(site)
    before = [(path, world.text(path)) for path in world.held]
    for _ in range(3):
        site.routes = ill
        assert world.crawl(site).failed
        assert [(path, world.text(path)) for path in world.held] == before
    site.routes = well
    assert world.crawl(site).outcomes == {"unchanged": 4}
    assert not list(world.store.problems())


def test_a_name_that_does_not_resolve_loses_nothing(world: World, site: Site) -> None:
    world.crawl(site)
    world.resolves = False
    for _ in range(3):
        assert world.crawl(site).outcomes == {"failed": 4}
    world.resolves = True
    assert world.crawl(site).outcomes == {"unchanged": 4}


def test_a_site_that_nobody_serves_loses_nothing(world: World) -> None:
    with serve(pages("a", "b")) as site:
        world.crawl(site)
    for _ in range(3):
        assert world.crawl(site).outcomes == {"failed": 3}
    assert world.held == ["/", "/a", "/b"]


def test_a_list_of_pages_that_fails_loses_nothing(world: World, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] | FetchError = [f"http://localhost:{site.port}/{name}" for name in "ab"]

    def pages(*_: object) -> list[str]:
        if isinstance(listed, FetchError):
            raise listed
        return listed

    kind = ModuleType("list")
    vars(kind).update(LOCAL=False, canonical=str, pages=pages, read=web.read)
    monkeypatch.setitem(sys.modules, "ragmacs_srv.ingest.kinds.list", kind)
    monkeypatch.setitem(kinds.KINDS, "list", "list")  # type: ignore[arg-type]
    wanted = {"seeds": ("list:all",), "allow": ("http*",)}
    assert world.crawl(site, **wanted).outcomes == {"new": 2}
    good, listed = listed, FetchError("the list cannot be had", status=404)
    for _ in range(3):
        assert set(world.crawl(site, **wanted).outcomes) == {"gone"}
        assert world.held == ["/a", "/b"]
    listed = good[:1]
    assert world.crawl(site, **wanted).outcomes == {"unchanged": 1, "left": 1}
    assert world.held == ["/a", "/b"]
    assert world.store.receipt("demo", "list:all") is None
    assert world.crawl(site, **wanted).outcomes == {"unchanged": 1}
    assert world.held == ["/a"]


# What is gone


def test_a_page_is_kept_when_it_is_first_gone_and_leaves_at_the_second_look(world: World, site: Site) -> None:
    world.crawl(site)
    site.routes = {**pages("a", "b", "c"), "/b": Answer(b"", 410)}
    assert world.crawl(site).outcomes == {"unchanged": 3, "gone": 1}
    assert "/b" in world.held
    assert world.crawl(site).outcomes == {"unchanged": 3, "gone": 1}
    assert "/b" not in world.held


def test_a_page_that_comes_back_is_counted_from_the_start(world: World, site: Site) -> None:
    well, without = site.routes, {**pages("a", "b", "c"), "/b": Answer(b"", 404)}
    world.crawl(site)
    for routes, left in ((without, True), (well, True), (without, True), (without, False), (well, True)):
        site.routes = routes
        world.crawl(site)
        assert ("/b" in world.held) == left


def test_a_page_that_nothing_leads_to_is_kept_once(world: World, site: Site) -> None:
    world.crawl(site)
    site.routes = {**pages("a", "b", "c"), "/": linked("/a", "/c")}
    report = world.crawl(site)
    assert (report.outcomes["left"], report.failed) == (1, [])
    assert "/b" in world.held
    world.crawl(site)
    assert "/b" not in world.held


def test_a_page_that_is_linked_again_was_never_away(world: World, site: Site) -> None:
    well, without = site.routes, {**pages("a", "b", "c"), "/": linked("/a", "/c")}
    world.crawl(site)
    for routes in (without, well, without):
        site.routes = routes
        world.crawl(site)
        assert "/b" in world.held


@pytest.mark.parametrize("change", [{"deny": ("*/b",)}, {"depth": 0}], ids=["denied", "less deep"])
def test_what_the_collection_no_longer_means_leaves_at_once(
    world: World, site: Site, change: dict[str, object]
) -> None:
    world.crawl(site)
    world.crawl(site, **change)
    assert "/b" not in world.held


def test_a_copy_stays_when_the_address_it_was_kept_under_is_gone(world: World, site: Site) -> None:
    site.routes = {"/": linked("/a", "/copy"), "/a": page("a"), "/copy": page("a")}
    assert world.crawl(site).outcomes == {"new": 2, "alias": 1}
    site.routes = {"/": linked("/a", "/copy"), "/copy": page("a")}
    for _ in range(3):
        world.crawl(site)
    assert world.held == ["/", "/copy"]


def test_an_alias_that_is_gone_leaves_its_page_alone(world: World, site: Site) -> None:
    site.routes = {"/": linked("/a", "/copy"), "/a": page("a"), "/copy": page("a")}
    world.crawl(site)
    site.routes = {"/": linked("/a", "/copy"), "/a": page("a")}
    for _ in range(3):
        world.crawl(site)
    assert world.held == ["/", "/a"]


# What moved, and what was rewritten


@pytest.mark.parametrize("linked_too", [False, True], ids=["by its old address", "linked by its new address, too"])
@pytest.mark.parametrize("revised", [False, True], ids=["as it was", "revised"])
def test_a_page_that_moved_is_known_by_its_new_address(
    world: World, site: Site, linked_too: bool, revised: bool
) -> None:
    world.crawl(site)
    text = html(prose("a", 100), prose("news", 60), title="A") if revised else page("a")
    links = ("/0", "/a", "/b", "/c") if linked_too else ("/a", "/b", "/c")
    moved = Answer(status=301, headers={"Location": "/0"})
    site.routes = {**pages("b", "c"), "/": linked(*links), "/a": moved, "/0": text}
    world.crawl(site)
    assert world.held == ["/", "/0", "/b", "/c"]
    assert set(world.crawl(site).outcomes) <= {"unchanged", "alias"}
    assert world.held == ["/", "/0", "/b", "/c"]


@pytest.mark.slow
def test_a_page_that_says_something_else_and_less_is_taken_at_the_second_look(world: World, site: Site) -> None:
    names = [f"p{n}" for n in range(12)]
    site.routes = pages(*names)
    world.crawl(site)
    site.routes = {**pages(*names), "/p3": page("stub", 40)}
    report = world.crawl(site)
    assert [each.reason for each in report.failed if "until the next update" in each.reason]
    assert "p30" in world.text("/p3")
    assert world.crawl(site).outcomes == {"unchanged": 12, "changed": 1}
    assert "stub0" in world.text("/p3")


def test_a_page_that_is_rewritten_is_taken_at_once(world: World, site: Site) -> None:
    world.crawl(site)
    site.routes = {**pages("a", "b", "c"), "/b": page("rewritten")}
    assert world.crawl(site).outcomes == {"unchanged": 3, "changed": 1}


def test_bytes_that_change_without_their_text_are_no_change(world: World, site: Site) -> None:
    served = count()
    site.routes = {"/": lambda visit: page("a") + f"<!-- {next(served)} -->".encode()}
    world.crawl(site)
    before = world.store.revision()
    assert world.crawl(site).outcomes == {"unchanged": 1}
    assert world.store.revision() == before
    assert not list(world.store.problems())


# Only what failed


def test_only_what_failed_is_read_again(world: World, site: Site) -> None:
    site.routes = {**pages("a", "b", "c"), "/b": Answer(b"", 403), "/c": Answer(b"", 404)}
    world.crawl(site)
    site.routes = {**pages("a", "b", "c"), "/b": html(prose("b"), links=("/d",)), "/d": page("d")}
    site.requests.clear()
    assert world.retry(site).outcomes == {"new": 2}
    assert site.asked == ["/b", "/d"]
    assert world.held == ["/", "/a", "/b", "/d"]
    assert world.retry(site).outcomes == {}


def test_what_robots_txt_denied_costs_one_request_to_ask_again(world: World, site: Site) -> None:
    site.routes = {**pages("a", "b", "c"), "/robots.txt": b"User-agent: *\nDisallow: /b\nDisallow: /c\n"}
    world.crawl(site)
    site.requests.clear()
    assert world.retry(site).outcomes == {"refused": 2}
    assert [each.target for each in site.requests] == ["/robots.txt"]


def test_reading_again_what_failed_drops_nothing(world: World, site: Site) -> None:
    world.crawl(site)
    site.routes = {**pages("b"), "/": linked("/b", "/c"), "/c": Answer(b"", 403)}
    world.crawl(site)
    site.routes = {**pages("b"), "/": linked("/b", "/c")}
    for _ in range(3):
        world.retry(site)
        assert world.held == ["/", "/a", "/b", "/c"]


# The command


def generation(home: Path) -> str:
    return max(path.name for path in home.glob("store/gen-*"))


@pytest.mark.slow
def test_an_update_of_all_makes_one_generation_and_none_for_no_change(run: Cli, site: Site, home: Path) -> None:
    for name in ("a", "b"):
        assert run("crawl", f"{site.origin}/{name}", "--name", name, "--allow", site.origin).code == 0
    made = generation(home)
    assert run("update").code == 0
    assert generation(home) == made
    site.routes = {"/a": page("apple"), "/b": page("banana")}
    assert [each["outcomes"] for each in run("update", "--json").json["crawls"]] == [{"changed": 1}] * 2
    assert int(generation(home)[4:]) == int(made[4:]) + 1


def test_an_update_of_what_failed_says_what_became_of_it(run: Cli, site: Site) -> None:
    site.routes = {**pages("a", "b"), "/b": Answer(b"", 403)}
    assert run("crawl", f"{site.origin}/", "--name", "demo", "--depth", "1", "--allow", site.origin).code == 1
    assert run("update", "demo", "--failed").code == 4  # as of a crawl that read no page
    site.routes = pages("a", "b")
    done = run("update", "--failed", "--json")
    assert (done.code, done.json["crawls"][0]["outcomes"]) == (0, {"new": 1})
    assert run("update", "--failed").out == "demo: nothing\n"


def test_a_collection_whose_file_is_wrong_keeps_no_other_waiting(
    run: Cli, site: Site, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "sources").mkdir(parents=True)
    mine = home / "sources/mine.toml"
    mine.write_text(f'seeds = ["{site.origin}/a"]')
    for target in ("mine", f"{site.origin}/b"):
        assert run("crawl", target, "--allow", site.origin, "--depth", "0").code == 0
    mine.write_text("seeds = 7")
    assert run("update", "mine").code == 78
    done = run("update", "--json")
    assert [each["outcomes"] for each in done.json["crawls"]] == [{"unchanged": 1}] * 2
    assert "mine.toml" in caplog.text


def test_a_file_that_was_cut_short_is_read_as_it_is(world: World, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    for about, words in (("first", 200), ("second", 20), ("error", 20)):
        file.write_text(f"# Notes\n\n{prose(about, words)}\n")
        assert not world.crawl(site, seeds=(file.as_uri(),)).failed
        assert f"{about}7" in world.text("notes.md")


def test_collections_are_listed_with_their_state_while_somebody_writes(run: Cli, site: Site, home: Path) -> None:
    site.routes = {**pages("a", "b", "c"), "/b": Answer(b"", 403)}
    run("crawl", f"{site.origin}/", "--name", "demo", "--depth", "1", "--allow", site.origin)
    site.routes = {**pages("a", "b"), "/": linked("/a", "/b", "/c"), "/b": Answer(b"", 403)}
    run("update", "demo")
    with Store(home / "store"):
        rows = {row["name"]: row for row in run("collections", "--json").json["collections"]}
        of_demo = run("collections", "demo", "--json").json
        shown = run("collections").out.splitlines()
    assert (rows["demo"]["state"], rows["demo"]["age"], rows["demo"]["pages"]) == ("1 failed", "0 minutes", 3)
    assert rows["demo"]["bytes"] > 1000
    assert (rows["go-gc"]["state"], rows["handbook"]["state"]) == ("never read", "built in")
    assert all(len(line) <= 100 for line in shown) and list(rows) == sorted(rows)
    assert len(of_demo["pages"]) == 3
    assert [(each["url"].rpartition("/")[2], each["status"], each["kept"]) for each in of_demo["without"]] == [
        ("b", "failed", False),
        ("c", "gone", True),
    ]


def test_the_size_of_a_collection_is_that_of_what_readers_see(run: Cli, site: Site) -> None:
    def shown() -> dict[str, object]:
        return next(row for row in run("collections", "--json").json["collections"] if row["name"] == "demo")

    run("crawl", f"{site.origin}/", "--name", "demo", "--depth", "1", "--allow", site.origin)
    before = shown()
    run("remove", f"{site.origin}/b")
    after = shown()
    assert (before["pages"], after["pages"], after["state"]) == (4, 3, "fresh")
    assert after["chunks"] < before["chunks"] and after["bytes"] < before["bytes"]  # type: ignore[operator]


def test_pages_are_not_all_counted_at_every_page(run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def traced(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.set_trace_callback(said.append)
        return db

    monkeypatch.setattr(store_module, "connect", traced)
    for n in range(12):
        (tmp_path / f"{n}.md").write_text(f"# Note {n}\n\n{prose(f'note{n}')}\n")
    for command in (("crawl", tmp_path.as_uri(), "--name", "notes"), ("update", "notes")):
        said.clear()
        run(*command)
        assert 0 < sum("FROM chunks" in each and "count(" in each for each in said) < 12


def test_a_collection_whose_file_is_wrong_says_so_in_its_line(run: Cli, home: Path) -> None:
    (home / "sources").mkdir(parents=True)
    (home / "sources/mine.toml").write_text("seeds = 7")
    (line,) = [line for line in run("collections").out.splitlines() if line.startswith("mine")]
    assert "cannot be read" in line


def test_an_answer_from_pages_that_are_old_says_so(run: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = "2020-01-01T00:00:00+00:00"
    with Store(home / "store") as store:
        store.start_crawl(library.source("docs"), {}, old)
        library.put(store, library.written("heap"), at=old)
        store.finish_crawl("docs", old)
        library.publish(store)
    note = "ragmacs update docs"
    assert note in run("ask", "heap").err
    assert note in "".join(run("ask", "heap", "--json").json["notes"])
    monkeypatch.setenv("RAGMACS_ANSWER_OLD_DAYS", "0")
    assert note not in run("ask", "heap").err


# What changed


def sections(**texts: str) -> bytes:
    parts = "".join(f'<h2 id="{name}">{name.title()}</h2><p>{text}</p>' for name, text in texts.items())
    return f"<html><head><title>Page</title></head><body><article><h1>Page</h1>{parts}</article></body></html>".encode()


def seen(world: World, since: str = "") -> list[tuple[str, str]]:
    return [(each.change, each.url.rpartition("/")[2] + each.anchor) for each in world.store.history("demo", since)]


def test_what_an_update_found_changed_is_remembered(world: World, site: Site) -> None:
    first = {"kept": prose("kept", 60), "said": prose("said", 60), "dropped": prose("dropped", 60)}
    site.routes = {**pages("a", "b"), "/a": sections(**first)}
    world.crawl(site)
    assert seen(world) == []  # all of it was new
    second = {"said": prose("said", 50) + " and more", "kept": prose("kept", 60), "added": prose("added", 60)}
    site.routes = {**pages("a", "b"), "/a": sections(**second)}
    world.crawl(site)
    assert seen(world) == [("changed", "asaid"), ("new", "aadded"), ("removed", "adropped")]
    site.routes = {**pages("a", "c"), "/a": sections(**second), "/": linked("/a", "/c")}
    world.crawl(site)
    assert seen(world) == [("new page", "c")] or seen(world) == [("changed", ""), ("new page", "c")]
    world.crawl(site)
    assert seen(world) == [("removed page", "b")]
    assert len(seen(world, "2020")) >= 5
    assert not list(world.store.problems())
    world.store.remove_collection("demo")
    assert seen(world, "2020") == []


def test_an_update_that_was_stopped_tells_what_is_new_though_the_list_of_collections_is_lost(
    world: World, site: Site
) -> None:
    world.crawl(site)
    site.routes = pages("a", "b", "c", "d")
    cancel = Cancel()
    with pytest.raises(Cancelled):
        world.crawl(site, cancel=cancel, sink=lambda _: cancel.cancel())
    (world.store.folder / roster.FILE).unlink()  # as on a full disk
    world.crawl(site)
    assert ("new page", "d") in seen(world)


def test_a_page_that_moved_and_one_that_is_read_otherwise_changed_nothing(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.routes = {**pages("b"), "/": linked("/a", "/b"), "/a": sections(one=prose("one"), two=prose("two"))}
    world.crawl(site)
    moved = Answer(status=301, headers={"Location": "/0"})
    site.routes = {**site.routes, "/a": moved, "/0": sections(one=prose("one"), two=prose("two"))}
    world.crawl(site)
    assert "/0" in world.held
    monkeypatch.setattr(walk, "EXTRACTION", 10**6)
    monkeypatch.setattr(Reader, "recipe", f"{10**6}.0:words")
    site.routes = {**site.routes, "/0": sections(one=prose("other"), two=prose("two"))}
    assert "changed" in world.crawl(site).outcomes
    assert seen(world, "2020") == []


def test_old_changes_are_forgotten(world: World, site: Site) -> None:
    world.crawl(site)
    site.routes = {**pages("a", "b", "c"), "/b": page("rewritten")}
    world.crawl(site)
    (change,) = world.store.history("demo", "2020")
    world.store.forget_history(change.at)
    assert world.store.history("demo", "2020") == [change]
    world.store.forget_history("9999")
    assert world.store.history("demo", "2020") == []


def test_a_diff_is_shown_while_somebody_writes(run: Cli, site: Site, home: Path) -> None:
    assert run("diff").code == 3
    run("crawl", f"{site.origin}/b", "--name", "demo", "--depth", "0", "--allow", site.origin)
    site.routes = {"/b": html(prose("b", 100) + " This is new here.", title="B")}
    run("update")
    with Store(home / "store"):
        assert f"changed       {site.origin}/b" in run("diff", "demo").out
        shown = run("diff", "--since", "1d", "--text").out
        (change,) = run("diff", "--json", "--text").json["changes"]
    assert "{+This is new here.+}" in shown
    assert (change["change"], change["before"] == prose("b")) == ("changed", True)
    assert run("diff", "nope").code == 3
    assert run("diff", "--since", "soon").code == 2
    run("update")
    assert run("diff").out == "nothing changed\n"


# By itself


def test_the_timer_script_writes_its_units_and_enables_them(run: Cli, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/systemctl"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    fake.chmod(0o755)
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "XDG_CONFIG_HOME": f"{tmp_path}/a config"}
    subprocess.run(["sh", "-e"], input=run("service", "--timer").out, env=environ, text=True, check=True)
    shape = run("service", "--timer", "--json").json
    units = tmp_path / "a config/systemd/user"
    assert (units / "ragmacs-update.service").read_text() == shape["unit"]
    assert (units / "ragmacs-update.timer").read_text() == shape["timer"]
    assert (tmp_path / "called").read_text().splitlines() == [
        each.removeprefix("systemctl ") for each in shape["commands"]
    ]
    assert f'ExecStart="{sys.executable}" "-m" "ragmacs_srv" "update"' in shape["unit"]
    assert "RAGMACS_HOME=" in shape["unit"]
