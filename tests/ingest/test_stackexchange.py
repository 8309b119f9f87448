"""Questions and answers by the interface of their sites: what is asked, what is kept, what a crawl makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv import pipeline
from ragmacs_srv.errors import AddressRefused, Cancelled, FetchError
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import kinds, posts
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, stackexchange
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Page, Source
from ragmacs_srv.pipeline import Reader, Report
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from tests.conftest import Cli
from tests.fakes import HashEmbedder
from tests.servers import Answer
from tests.servers import serve as http
from tests.stackexchange_server import ORIGIN, Api, Post, question, reply
from tests.stackexchange_server import stackexchange as serve

TAGS = "stackexchange:go"
CODE = "func Get() *T {\n\tif x &lt; 1 {\n\t\treturn   nil\n\t}\n}\n"


def prose(about: str) -> str:
    return f"<p>This made-up paragraph is about {about}, and it has enough words in it to be worth a place.</p>"


def one(number: int = 1, *replies: Post, title: str = "Why?", **more: Any) -> Post:
    replies = replies or (reply(number * 100, prose(f"answer {number}"), accepted=True),)
    return question(number, title, prose(f"question {number}"), *replies, **more)


@dataclass
class World:
    """What reads from an Api: its Means, and how long it was told to wait."""

    means: Means
    waited: list[float] = field(default_factory=list)


@contextmanager
def reading(api: Api, key: str = "") -> Iterator[World]:
    waited: list[float] = []

    def pause(cancel: Cancel, seconds: float) -> None:
        cancel.check()
        waited.append(seconds)

    with Fetcher(mirrors={ORIGIN: api.origin}, pause=pause, clock=lambda: 0.0) as fetcher:
        yield World(Means(fetcher, stackexchange_key=lambda: key), waited)


def listed(api: Api, address: str = TAGS) -> list[str]:
    with reading(api) as world:
        return list(stackexchange.pages(address, world.means, Cancel()))


@pytest.fixture
def page(page_reader: Extractor) -> Callable[..., Page]:
    """The page of a question, all the way from the interface."""

    def read(asked: Post) -> Page:
        with serve(asked) as api, reading(api) as world:
            response = stackexchange.read(f"stackexchange:questions/{asked['question_id']}", world.means, Cancel())
            return page_reader.extract(response)

    return read


# Addresses


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("stackexchange:go", "stackexchange:go"),
        ("StackExchange:pprof+Go", "stackexchange:go+pprof"),
        ("stackexchange:stackoverflow.com/go", "stackexchange:go"),
        ("stackexchange:emacs.stackexchange.com/org-mode", "stackexchange:emacs/org-mode"),
        ("stackexchange:emacs.stackexchange/org-mode", "stackexchange:emacs/org-mode"),
        ("stackexchange:c%2B%2B", "stackexchange:c%2B%2B"),
        ("stackexchange:questions/007#answer-1", "stackexchange:questions/7"),
        ("stackexchange:unix/questions/7", "stackexchange:unix/questions/7"),
    ],
)
def test_an_address_has_one_spelling(address: str, url: str) -> None:
    assert kinds.canonical(address) == url


@pytest.mark.parametrize("address", ["", "go/", "a/b/c", "go pprof", "go+", "emacs/questions/x/y", "/go", "a_b/go"])
def test_what_names_no_questions_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        kinds.canonical(f"stackexchange:{address}")
    assert "stackexchange:go+pprof" in caught.value.hint


# Asking


def test_a_list_is_read_page_by_page() -> None:
    with serve(*(one(n) for n in range(1, 204))) as api:
        assert listed(api) == [f"stackexchange:questions/{n}" for n in range(1, 204)]
        assert api.asked == ["filters/create", "questions 1", "questions 2", "questions 3"]


def test_what_came_with_a_list_is_not_asked_again() -> None:
    with serve(one(1), one(2)) as api, reading(api) as world:
        for url in list(stackexchange.pages(TAGS, world.means, Cancel())):
            stackexchange.read(url, world.means, Cancel())
        assert api.asked == ["filters/create", "questions 1"]


def test_another_site_is_asked_by_its_name_and_cited_by_its_host() -> None:
    asked = one(5, tags=("org-mode",), site="emacs")
    with serve(emacs=[asked]) as api, reading(api) as world:
        (url,) = stackexchange.pages("stackexchange:emacs/org-mode", world.means, Cancel())
        response = stackexchange.read(url, world.means, Cancel())
    assert response.url == "https://emacs.stackexchange.com/questions/5"
    assert response.fetched_from == f"{api.origin}/2.3/questions"


def test_the_next_request_waits_as_long_as_the_last_answer_asked(caplog: pytest.LogCaptureFixture) -> None:
    with serve(*(one(n) for n in range(1, 102))) as api, reading(api) as world:
        api.backoff = {2: 10}
        list(stackexchange.pages(TAGS, world.means, Cancel()))
        assert world.waited == [10.0]
    assert "wait for 10 s" in caplog.text


def test_waiting_can_be_cancelled() -> None:
    cancel = Cancel()
    with serve(*(one(n) for n in range(1, 102))) as api, Fetcher(mirrors={ORIGIN: api.origin}) as fetcher:
        api.backoff = {2: 50}
        found = stackexchange.pages(TAGS, Means(fetcher), cancel)
        for _ in range(100):
            next(found)
        cancel.cancel()
        with pytest.raises(Cancelled):
            next(found)
        assert len(api.requests) == 2


def test_who_is_told_to_wait_for_hours_asks_nothing_more() -> None:
    with serve(*(one(n) for n in range(1, 102))) as api, reading(api) as world:
        api.backoff = {2: 7200}
        with pytest.raises(FetchError, match=r"come back at .* UTC"):
            list(stackexchange.pages(TAGS, world.means, Cancel()))
        assert len(api.requests) == 2


def test_a_list_ends_where_the_quota_does_and_what_came_can_be_read() -> None:
    with serve(*(one(n) for n in range(1, 102))) as api, reading(api) as world:
        api.quota = 2
        found: list[str] = []
        with pytest.raises(FetchError, match=r"300 requests a day is used up; try again tomorrow") as caught:
            found.extend(stackexchange.pages(TAGS, world.means, Cancel()))
        assert "[stackexchange] key_command" in caught.value.hint
        assert len(world.means.at_hand) == 100
        assert stackexchange.read("stackexchange:questions/1", world.means, Cancel()).body
        assert len(api.requests) == 2


def test_who_is_throttled_is_told_until_when_and_asks_nothing_more() -> None:
    with serve(one()) as api, reading(api) as world:
        api.throttle = "too many requests from this IP, more requests available in 7200 seconds"
        for _ in range(2):
            with pytest.raises(FetchError, match="more requests available in 7200 seconds") as caught:
                list(stackexchange.pages(TAGS, world.means, Cancel()))
        assert len(api.requests) == 1
        assert "key_command" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("stackexchange:nowhere/go", "No site found for name `nowhere`"),
        ("stackexchange:gargabe-collection", "no questions: stackexchange:gargabe-collection"),
    ],
    ids=["site", "tag"],
)
def test_an_unknown_name_is_an_error_that_says_which(address: str, says: str) -> None:
    with serve(one()) as api, pytest.raises(FetchError, match=says) as caught:
        listed(api, address)
    assert caught.value.hint
    assert not caught.value.status  # it is not gone: a page that was read once stays


def test_a_question_that_is_not_shown_any_more_is_gone() -> None:
    with serve(one()) as api, reading(api) as world, pytest.raises(FetchError) as caught:
        stackexchange.read("stackexchange:questions/2", world.means, Cancel())
    assert caught.value.status == 404


STRANGE: list[Post] = [
    {"link": "https://evil.test/questions/1"},
    {"link": "http://stackoverflow.com:8080/questions/1"},
    {"question_id": -5},
    {"creation_date": 10**18},
]


@pytest.mark.parametrize("told", STRANGE, ids=lambda told: next(iter(told)))
def test_a_question_of_no_site_or_time_is_an_error_and_no_page(told: Post) -> None:
    with serve({**one(), **told}) as api, pytest.raises(FetchError, match="a form we do not know"):
        listed(api)


def test_an_answer_nested_without_end_is_an_error() -> None:
    deep = Answer(b'{"items":' + b"[" * 100_000, 200, "application/json")
    said = pytest.raises(FetchError, match="a form we do not know")
    with http(deep) as site, Fetcher(mirrors={ORIGIN: site.origin}) as fetcher, said:
        list(stackexchange.pages(TAGS, Means(fetcher), Cancel()))


@pytest.mark.parametrize("seconds", [10**12, 10**300, -5], ids=["long", "endless", "back"])
def test_a_wait_beyond_all_calendars_ends_in_words(seconds: int) -> None:
    with serve(one()) as api, reading(api) as world:
        api.backoff = {2: seconds}
        assert list(stackexchange.pages(TAGS, world.means, Cancel())) == ["stackexchange:questions/1"]
        assert not any(each < 0 for each in world.waited)


def test_an_answer_in_another_form_is_an_error_and_no_crash() -> None:
    broken = one()
    del broken["link"]
    with serve(broken) as api, pytest.raises(FetchError, match="a form we do not know"):
        listed(api)


def test_the_key_stands_in_the_request_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serve(one()) as api, reading(api, key="s3cret&") as world:
        (url,) = stackexchange.pages(TAGS, world.means, Cancel())
        response = stackexchange.read(url, world.means, Cancel())
        api.throttle = "no"
        with pytest.raises(FetchError) as caught:
            stackexchange.read("stackexchange:questions/2", world.means, Cancel())
        assert all("key=s3cret%26" in request.target for request in api.requests)
    told = f"{response} {caught.value} {caught.value.hint} {caught.value.data} {caplog.text}"
    assert "s3cret" not in told


def test_a_question_that_nobody_has_answered_is_not_listed() -> None:
    unanswered = one(2, reply(20, prose("nothing"), score=0))
    with serve(one(1), unanswered, one(3)) as api:
        assert listed(api) == ["stackexchange:questions/1", "stackexchange:questions/3"]
        api.questions["stackoverflow"] = [unanswered]
        with pytest.raises(FetchError, match="no questions"):
            listed(api)


def test_who_may_not_choose_where_to_go_is_told_what_the_user_can_do() -> None:
    with Fetcher(only=lambda _: False) as fetcher, pytest.raises(AddressRefused) as caught:
        stackexchange.read("stackexchange:questions/1", Means(fetcher), Cancel())
    assert caught.value.hint == "ragmacs crawl stackexchange:questions/1"
    assert caught.value.message.startswith("refused stackexchange:questions/1: it is not indexed")


def test_an_interface_that_cannot_be_reached_is_not_waited_for() -> None:
    with serve() as api:
        closed = api.origin
    waited: list[float] = []
    opened = Fetcher(mirrors={ORIGIN: closed}, pause=lambda _, seconds: waited.append(seconds))
    with opened as fetcher, pytest.raises(FetchError, match="cannot connect"):
        stackexchange.read("stackexchange:questions/1", Means(fetcher), Cancel())
    assert waited == []


def test_no_robots_txt_is_asked() -> None:
    with serve(one()) as api:
        listed(api)
        assert "/robots.txt" not in [request.target for request in api.requests]


# Pages


def test_a_question_comes_first_then_its_answers_the_accepted_one_before_those_with_more_votes(
    page: Callable[..., Page],
) -> None:
    found = page(
        one(
            1,
            reply(10, prose("a good answer"), score=90, by="Bea"),
            reply(11, prose("the accepted answer"), score=2, accepted=True, by="Cy"),
            reply(12, prose("a bad answer"), score=0),
            title="Pools &amp; &lt;GC&gt;",
        )
    )
    assert found.url == "https://stackoverflow.com/questions/1"
    assert found.title == "Pools & <GC>"
    assert [(each.anchor, each.heading) for each in found.sections] == [
        ("question", ("Pools & <GC>", "Question by Ann")),
        ("answer-11", ("Pools & <GC>", "Accepted answer by Cy")),
        ("answer-10", ("Pools & <GC>", "Answer by Bea")),
    ]
    assert "1 more answer with fewer votes" in found.sections[0].text


def test_every_section_says_who_wrote_it_when_and_under_which_licence(page: Callable[..., Page]) -> None:
    found = page(one(1, reply(10, prose("pools"), score=42, by="Zo&#235;", last_edit_date=1_650_000_000)))
    assert found.sections[0].text.endswith(
        "By Ann (https://stackoverflow.com/users/7/somebody), 2017-07-14; score 10+; CC BY-SA 3.0"
    )
    assert found.sections[1].text.endswith(
        "By Zoë (https://stackoverflow.com/users/10/somebody), 2020-09-13, edited 2022-04-15; score 20+; CC BY-SA 4.0"
    )
    assert found.sections[1].heading[-1] == "Answer by Zoë"


def test_code_is_verbatim(page: Callable[..., Page]) -> None:
    body = f'{prose("code")}<pre class="lang-go"><code>{CODE}</code></pre><h2>And then</h2>{prose("more")}'
    found = page(one(1, reply(10, body)))
    assert "```go\n" + CODE.replace("&lt;", "<") + "```" in found.sections[1].text
    assert "## And then" in found.sections[1].text


def test_the_best_answers_are_kept_and_the_others_are_counted(page: Callable[..., Page]) -> None:
    found = page(one(1, *(reply(n, prose(f"answer {n}"), score=n) for n in range(1, 13))))
    assert len(found.sections) == 1 + 8
    assert "4 more answers" in found.sections[0].text


def test_markup_that_a_post_leaves_open_stays_in_its_section(page: Callable[..., Page]) -> None:
    found = page(
        one(
            1, reply(10, f"<blockquote><ul><li>{prose('lists')}"), reply(11, f"</div></li></blockquote>{prose('ends')}")
        )
    )
    assert "lists" in found.sections[1].text
    assert "ends" in found.sections[2].text
    assert "ends" not in found.sections[1].text


def test_an_author_who_left_is_no_obstacle(page: Callable[..., Page]) -> None:
    left = one(1)
    del left["owner"]
    assert page(left).author == "a user who left"


@given(order=st.permutations(range(12)))
def test_the_same_answers_in_any_order_are_the_same_body(order: list[int]) -> None:
    replies = [reply(n, prose(f"answer {n}"), score=n % 5, accepted=n == 3) for n in range(12)]
    assert posts.kept(one(1, *replies)) == posts.kept(one(1, *(replies[n] for n in order)))


@given(score=st.integers(-50, 100_000), votes=st.integers(0, 100_000))
def test_the_score_that_is_kept_never_exceeds_the_real_one_and_follows_it(score: int, votes: int) -> None:
    low, high = (json.loads(posts.kept({**one(1), "score": each}))["score"] for each in (score, score + votes))
    assert low <= max(score, -1)
    assert low <= high


# Crawls


@dataclass
class Library:
    """A store, and what fills it from an Api."""

    store: Store
    extractor: Extractor
    embedder: HashEmbedder = field(default_factory=HashEmbedder)

    def crawl(self, api: Api, *seeds: str, **changes: Any) -> Report:
        source = Source("so", "Questions", seeds or (TAGS,), **changes)
        with reading(api) as world:
            report = pipeline.crawl(self.store, Reader(world.means, self.extractor, Words()), source)
        pipeline.embed(self.store, self.embedder)
        return report

    @property
    def numbers(self) -> list[int]:
        return sorted(int(url.rpartition("/")[2]) for url in self.store.urls())


@pytest.fixture
def library(tmp_path: Path, page_reader: Extractor) -> Iterator[Library]:
    with Store(tmp_path / "store") as store:
        yield Library(store, page_reader)


def test_a_second_crawl_of_the_same_questions_does_no_work(library: Library) -> None:
    with serve(one(1), one(2)) as api:
        assert library.crawl(api).outcomes == {"new": 2}
        before, embedded = library.store.revision(), len(library.embedder.texts)
        assert library.crawl(api).outcomes == {"unchanged": 2}
        assert library.store.revision() == before
        assert len(library.embedder.texts) == embedded
        assert library.store.urls() == [f"https://stackoverflow.com/questions/{n}" for n in (1, 2)]


def test_what_changes_daily_is_no_change(library: Library) -> None:
    asked = one(1, reply(10, prose("pools"), score=21))
    with serve(asked) as api:
        library.crawl(api)
        asked["view_count"] += 50
        asked["answers"][0]["score"] = 29
        asked["answers"][0]["last_activity_date"] += 5
        asked["answers"][0]["owner"]["reputation"] += 10
        assert library.crawl(api).outcomes == {"unchanged": 1}


def test_of_a_changed_answer_only_what_changed_is_embedded_again(library: Library) -> None:
    asked = one(1, reply(10, prose("pools")), reply(11, prose("arenas")))
    with serve(asked) as api:
        library.crawl(api)
        before = len(library.embedder.texts)
        asked["answers"][1]["body"] = prose("finalizers")
        assert library.crawl(api).outcomes == {"changed": 1}
        (again,) = library.embedder.texts[before:]
        assert "finalizers" in again


def test_many_more_votes_have_only_the_last_passage_of_an_answer_embedded_again(library: Library) -> None:
    long = "".join(prose(f"part {n}") for n in range(60))
    asked = one(1, reply(10, long, score=2))
    with serve(asked) as api:
        library.crawl(api)
        before = len(library.embedder.texts)
        asked["answers"][0]["score"] = 200
        assert library.crawl(api).outcomes == {"changed": 1}
        (again,) = library.embedder.texts[before:]
        assert "part 0," not in again
        assert "score 200+" in again


def test_a_deleted_answer_leaves_the_page(library: Library) -> None:
    asked = one(1, reply(10, prose("pools")), reply(11, prose("arenas")))
    with serve(asked) as api:
        library.crawl(api)
        del asked["answers"][1]
        library.crawl(api)
        (url,) = library.store.urls()
        assert [each.anchor for each in library.store.page(url).page.sections] == ["question", "answer-10"]


def test_a_deleted_question_is_gone_after_the_second_look(library: Library) -> None:
    with serve(one(1), one(2)) as api:
        library.crawl(api)
        del api.questions["stackoverflow"][1]
        assert library.crawl(api).outcomes == {"unchanged": 1, "gone": 1}
        assert library.numbers == [1, 2]
        library.crawl(api)
        assert library.numbers == [1]
        assert library.crawl(api).outcomes == {"unchanged": 1}


def test_a_question_that_left_the_list_is_asked_for_and_stays(library: Library) -> None:
    with serve(one(1), one(2)) as api:
        library.crawl(api)
        api.questions["stackoverflow"][1]["tags"] = ["java"]
        assert library.crawl(api).outcomes == {"unchanged": 1, "changed": 1}  # its tags are a part of it
        assert library.crawl(api).outcomes == {"unchanged": 2}
        assert library.numbers == [1, 2]


def test_questions_that_left_the_list_are_asked_for_together(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackexchange, "PAGE_SIZE", 4)
    with serve(*(one(n) for n in range(1, 9))) as api:
        library.crawl(api)
        for each in api.questions["stackoverflow"][1:]:
            each["tags"] = ["java"]
        del api.questions["stackoverflow"][2]
        before = len(api.asked)
        assert library.crawl(api).outcomes == {"unchanged": 1, "changed": 6, "gone": 1}
        assert api.asked[before:] == ["filters/create", "questions 1", "questions/2;3;4;5", "questions/3;6;7;8"]


def test_questions_leave_with_the_last_seed_of_their_kind(library: Library) -> None:
    with serve(one(1), one(2)) as api:
        library.crawl(api)
        library.crawl(api, "handbook:sync-pool")
        assert [url for url in library.store.urls() if "stackoverflow" in url] == []


@pytest.mark.parametrize("trouble", ["throttled", "empty", "quota"])
def test_a_list_that_fails_loses_nothing(library: Library, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    monkeypatch.setattr(stackexchange, "PAGE_SIZE", 2)
    with serve(*(one(n) for n in range(1, 5))) as api:
        library.crawl(api)
        if trouble == "throttled":
            api.throttle = "too many requests from this IP"
        elif trouble == "empty":
            api.questions["stackoverflow"] = []
        else:
            api.quota = 2
        for _ in range(3):
            report = library.crawl(api)
            assert report.outcomes["failed"] == 1
        assert library.numbers == [1, 2, 3, 4]
        assert "failed" not in {each.status for each in library.store.receipts("so") if each.page}


def test_what_was_listed_before_the_quota_ended_is_read(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stackexchange, "PAGE_SIZE", 2)
    with serve(*(one(n) for n in range(1, 5))) as api:
        api.quota = 2
        report = library.crawl(api)
        assert report.outcomes == {"new": 2, "failed": 1}
        assert "try again tomorrow" in report.failed[0].reason
        api.quota = 300
        assert library.crawl(api).outcomes == {"unchanged": 2, "new": 2}


def test_questions_with_several_of_the_tags_are_read_once(library: Library) -> None:
    with serve(one(1, tags=("go", "pprof")), one(2)) as api:
        assert library.crawl(api, TAGS, "stackexchange:go+pprof").outcomes == {"new": 2}


def test_a_list_is_not_read_far_beyond_what_the_collection_takes(library: Library) -> None:
    with serve(*(one(n) for n in range(1, 302))) as api:
        report = library.crawl(api, max_pages=3)
        assert (report.outcomes, bool(report.cut)) == ({"new": 3}, True)
        assert api.asked == ["filters/create", "questions 1"]


def test_the_body_that_is_kept_holds_nothing_that_is_not_shown() -> None:
    with serve(one(1)) as api, reading(api) as world:
        body = json.loads(stackexchange.read("stackexchange:questions/1", world.means, Cancel()).body)
    assert set(body) == {
        "answers",
        "author",
        "body",
        "date",
        "edited",
        "licence",
        "more",
        "profile",
        "score",
        "tags",
        "title",
    }


def test_the_command_line_crawls_and_cites_the_answer_by_its_author(
    run: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGMACS_STACKEXCHANGE_KEY", "s3cret")
    with serve(one(1, reply(10, prose("weak pointers"), accepted=True, by="Cy"), title="Pools?")) as api:
        assert run("crawl", TAGS, "--name", "so", "--mirror", f"{ORIGIN}={api.origin}").code == 0
        assert all("key=s3cret" in request.target for request in api.requests)
    (found, *_) = run("search", "weak pointers", "--json").json["results"]
    assert found["link"] == "https://stackoverflow.com/questions/1#answer-10"
    assert found["heading"] == ["Pools?", "Accepted answer by Cy"]
    assert "CC BY-SA 4.0" in found["text"]
    assert not [path for path in home.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
