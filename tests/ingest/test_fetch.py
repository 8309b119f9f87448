import email.utils
import functools
import gzip
import logging
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from ragmacs_srv.errors import (
    AddressRefused,
    Cancelled,
    FetchError,
    InvalidParams,
    NoContent,
    RobotsDenied,
    SettingsError,
)
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest.fetch import USER_AGENT, Fetcher
from ragmacs_srv.ingest.pace import Pace, backoff, next_delay, retry_after, retry_wait
from ragmacs_srv.ingest.urls import canonical
from ragmacs_srv.ingest.wire import Damaged, unpack, within
from tests.servers import Answer, Internet, serve

PAGE = b"<!doctype html><title>Gopher</title><p>A page."
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FakeTime:
    """A clock that stands still but for the pauses, which it records."""

    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def clock(self):
        return self.now

    def pause(self, cancel, seconds):
        cancel.check()
        self.pauses.append(round(seconds, 3))
        self.now += seconds


@pytest.fixture
def internet(monkeypatch):
    """Public names that lead to loopback; no test leaves this machine."""
    net = Internet()
    monkeypatch.setattr(socket, "create_connection", net.connect)
    return net


@pytest.fixture
def public(internet):
    """Open a fetcher that sees `internet` and never really waits."""

    class Public:
        def __init__(self):
            self.time, self.opened = FakeTime(), []

        def __call__(self, **options):
            seams = {"resolve": internet.resolve, "clock": self.time.clock, "pause": self.time.pause}
            self.opened.append(Fetcher(**{**seams, **options}))
            return self.opened[-1]

    opener = Public()
    yield opener
    for fetcher in opener.opened:
        fetcher.close()


def to(site, **options):
    """A fetcher for which SITE is allowed, and which never really waits."""
    time = FakeTime()
    return Fetcher(**{"allow": [site.origin], "clock": time.clock, "pause": time.pause, **options})


def fetch(routes, path="/", **options):
    """What one `get` of PATH from a site with ROUTES gives."""
    with serve(routes) as site, to(site, **options) as fetcher:
        return fetcher.get(site.origin + path)


def seconds_of(work):
    start = time.monotonic()
    work()
    return time.monotonic() - start


# What comes back


def test_a_page_is_what_the_site_sent_with_its_validators():
    headers = {"ETag": '"1"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}
    with serve({"/doc": Answer(PAGE, headers=headers)}) as site, to(site) as fetcher:
        response = fetcher.get(site.origin + "/./doc?utm_source=x#there")
        assert response.url == response.fetched_from == site.origin + "/doc"
    assert (response.status, response.body) == (200, PAGE)
    assert (response.media_type, response.charset) == ("text/html", "utf-8")
    assert (response.etag, response.last_modified) == ('"1"', headers["Last-Modified"])
    assert datetime.fromisoformat(response.fetched_at).tzinfo is not None


def test_the_request_is_for_the_identity_letter_by_letter():
    path = "/a//b/[x];v='1'(*)!$,%2F/~é?q=[1]&r=a+b/?:@&%C3%A9"
    with serve(lambda visit: Answer(b"", 404) if visit.path == "/robots.txt" else PAGE) as site, to(site) as fetcher:
        response = fetcher.get(site.origin + path)
    assert [site.origin + target for target in site.asked] == [response.url] == [canonical(site.origin + path)]


def test_we_say_who_we_are_and_keep_no_cookies():
    with serve({"/": Answer(PAGE, headers={"Set-Cookie": "a=b; Path=/"})}) as site, to(site) as fetcher:
        fetcher.get(site.origin)
        fetcher.get(site.origin)
    assert [request.target for request in site.requests] == ["/robots.txt", "/", "/"]
    for request in site.requests:
        assert request.headers["user-agent"] == USER_AGENT
        assert request.headers["host"] == f"127.0.0.1:{site.port}"
        assert "cookie" not in request.headers
    assert USER_AGENT.startswith("ragmacs/")


def test_variables_of_the_environment_change_nothing(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch({"/": PAGE}).body == PAGE


def test_an_unchanged_page_is_a_304_without_a_body():
    def page(visit):
        known = visit.headers["If-None-Match"] == '"1"' and visit.headers["If-Modified-Since"] == "then"
        return Answer(b"", 304, headers={"ETag": '"1"'}) if known else Answer(PAGE, headers={"ETag": '"1"'})

    with serve({"/": page}) as site, to(site) as fetcher:
        response = fetcher.get(site.origin, etag='"1"', last_modified="then")
    assert (response.status, response.body, response.etag) == (304, b"", '"1"')


def test_a_validator_that_no_header_can_carry_is_not_sent():
    with serve({"/": Answer(PAGE, headers={"ETag": '"é"'})}) as site, to(site) as fetcher:
        for etag in (fetcher.get(site.origin).etag, "a\r\nb: c"):
            assert fetcher.get(site.origin, etag=etag).status == 200
    assert not any("if-none-match" in request.headers for request in site.requests)


def test_a_304_nobody_asked_for_is_an_error():
    with pytest.raises(FetchError) as error:
        fetch({"/": Answer(b"", 304)})
    assert error.value.status == 304


def test_an_empty_page_has_no_content():
    for answer in (Answer(b""), Answer(b"", 204), Answer(b"", headers={"Content-Encoding": "gzip"})):
        with pytest.raises(NoContent, match="is empty"):
            fetch({"/": answer})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 451])
def test_a_client_error_is_final(status):
    with serve({"/": Answer(PAGE, status)}) as site, to(site) as fetcher:
        with pytest.raises(FetchError) as error:
            fetcher.get(site.origin)
        assert site.asked == ["/"]
    assert error.value.status == status
    assert f"{site.origin}/" in error.value.message


def test_a_pdf_is_one_whatever_the_server_calls_it():
    assert fetch({"/": Answer(b"%PDF-1.7")}).media_type == "application/pdf"


@pytest.mark.parametrize(("body", "words"), [(b"\x89PNG\r\n\x1a\n", "an image"), (b"PK\x03\x04", "a ZIP archive")])
def test_a_binary_served_as_html_is_refused_by_its_name(body, words):
    with pytest.raises(FetchError, match=f"is {words}.* although the server calls it text/html; not supported yet"):
        fetch({"/": Answer(body)})


def test_a_charset_that_is_no_text_encoding_is_not_passed_on():
    assert fetch({"/": Answer(PAGE, type="text/html; charset=zlib_codec")}).charset == ""
    assert (
        fetch({"/": Answer(PAGE, type="text/html; charset=UTF-16")}).charset == "utf-16"
    )  # a lie, but a text encoding


# How much comes back


def test_a_page_may_be_as_large_as_the_limit_but_not_larger():
    page = PAGE.ljust(1000)
    assert fetch({"/": page}, max_bytes=1000).body == page
    with pytest.raises(FetchError, match="larger than 999 bytes"):
        fetch({"/": page}, max_bytes=999)


def endless(visit):
    visit.start()
    while not visit.site.closing.is_set():
        visit.wfile.write(b"<p>more" * 10_000)


def fifty_megabytes(visit):
    visit.start()
    for _ in range(50):
        visit.wfile.write(bytes(2**20))


@pytest.mark.parametrize("page", [endless, fifty_megabytes])
def test_a_page_too_large_is_given_up_early(page):
    with pytest.raises(FetchError, match="larger than 10 MiB"):
        fetch({"/": page})


@functools.cache
def bomb():
    """50 MB of nothing in 50 kB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(50)), packer.flush()])


def test_a_gzip_bomb_is_refused():
    with pytest.raises(FetchError, match="larger than 1 MiB"):
        fetch({"/": Answer(bomb(), headers={"Content-Encoding": "gzip"})}, max_bytes=2**20)


def test_a_gzip_bomb_takes_no_more_memory_than_the_limit():
    packed = bomb()
    tracemalloc.start()
    try:
        body = unpack([packed], "gzip", 2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(body) == 2**20 + 1
    assert peak < 6 * 2**20


def test_a_packed_page_is_unpacked():
    packed = gzip.compress(PAGE) + gzip.compress(b" And more.")
    for coding in ("gzip", "x-gzip", "identity, GZIP"):
        response = fetch({"/": Answer(packed, headers={"Content-Encoding": coding})})
        assert response.body == PAGE + b" And more."


def test_unpacking_does_not_care_where_chunks_end():
    packed = gzip.compress(PAGE) + gzip.compress(PAGE)
    assert unpack((packed[n : n + 1] for n in range(len(packed))), "gzip", 1000) == PAGE + PAGE


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip", "nonsense"])
def test_a_coding_we_did_not_ask_for_is_refused(coding):
    with pytest.raises(FetchError, match="though only gzip was asked for"):
        fetch({"/": Answer(PAGE, headers={"Content-Encoding": coding})})


def test_padding_after_a_packed_body_is_ignored():
    assert unpack([gzip.compress(PAGE) + bytes(100), bytes(100)], "gzip", 1000) == PAGE


@pytest.mark.parametrize("packed", [gzip.compress(PAGE)[:-12], b"not gzip"], ids=["cut short", "not gzip"])
def test_a_broken_packed_body_is_an_error(packed):
    with pytest.raises(Damaged):
        unpack([packed], "gzip", 1000)


def test_a_body_shorter_than_promised_is_an_error():
    def cut_short(visit):
        visit.send_response(200)
        visit.send_header("Content-Length", "1000")
        visit.end_headers()
        visit.wfile.write(PAGE)

    with pytest.raises(FetchError, match="the connection broke"):
        fetch({"/": cut_short})


# How long it takes


def drip(visit):
    visit.start()
    while not visit.site.closing.wait(0.05):
        visit.wfile.write(b".")
        visit.wfile.flush()


def slow_headers(visit):
    visit.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not visit.site.closing.wait(0.05):
        visit.wfile.write(b"x")
        visit.wfile.flush()


def silence(visit):
    visit.hang()


@pytest.mark.parametrize("page", [drip, slow_headers, silence])
def test_the_deadline_holds_for_all_that_is_slow(page):
    with serve({"/": page}) as site, Fetcher(allow=[site.origin], deadline=0.2) as fetcher:

        def get():
            with pytest.raises(FetchError, match=r"did not arrive within 0\.2 s"):
                fetcher.get(site.origin)

        assert seconds_of(get) < 10


def test_a_socket_that_notices_the_end_of_the_time_first_is_late_too():
    def work():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        within(60, Cancel(), work)


def test_the_deadline_is_for_all_redirects_together():
    def slowly(visit):
        visit.site.closing.wait(0.2)
        return moved(visit.path + "a")

    routes = {"/" + "a" * n: slowly for n in range(9)}
    with serve(routes) as site, pytest.raises(FetchError, match=r"did not arrive within 0\.5 s"):
        Fetcher(allow=[site.origin], deadline=0.5).get(site.origin)


@pytest.mark.parametrize("page", [drip, slow_headers, silence])
def test_cancel_ends_a_fetch_that_hangs(page):
    asked, cancel = threading.Event(), Cancel()

    def route(visit):
        asked.set()
        page(visit)

    with serve({"/": route}) as site, to(site) as fetcher:
        threading.Thread(target=lambda: asked.wait(10) and cancel.cancel()).start()
        with pytest.raises(Cancelled):
            fetcher.get(site.origin, cancel=cancel)
        assert asked.is_set()


def test_a_cancelled_exchange_frees_its_connection():
    gone, asked, cancel = threading.Event(), threading.Event(), Cancel()

    def route(visit):
        visit.start()
        visit.wfile.flush()
        asked.set()
        if visit.connection.recv(1) == b"":
            gone.set()

    with serve({"/": route}) as site, to(site) as fetcher:
        threading.Thread(target=lambda: asked.wait(10) and cancel.cancel()).start()
        with pytest.raises(Cancelled):
            fetcher.get(site.origin, cancel=cancel)
        assert gone.wait(10)


def test_cancel_ends_an_encryption_that_does_not_begin(internet, public):
    cancel = Cancel()
    internet.names["docs.example.com"] = ["93.184.216.34"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        internet.routes["93.184.216.34", 443] = server.getsockname()[1]
        accepted = []
        threading.Thread(target=lambda: (accepted.append(server.accept()[0]), cancel.cancel())).start()
        with pytest.raises(Cancelled):
            public().get("https://docs.example.com/", cancel=cancel)
        accepted[0].close()


def test_cancel_ends_a_look_up_that_hangs():
    cancel, over = Cancel(), threading.Event()

    def resolve(host, port):
        cancel.cancel()
        over.wait(10)
        return []

    with Fetcher(resolve=resolve) as fetcher, pytest.raises(Cancelled):
        fetcher.get("https://go.dev/", cancel=cancel)
    over.set()


def test_cancel_ends_a_wait_for_ones_turn():
    cancel = Cancel()
    rules = b"User-agent: *\nCrawl-delay: 20"
    with serve({"/": PAGE, "/robots.txt": rules}) as site, Fetcher(allow=[site.origin]) as fetcher:
        fetcher.get(site.origin)
        threading.Timer(0.05, cancel.cancel).start()
        with pytest.raises(Cancelled):
            fetcher.get(site.origin, cancel=cancel)


def test_what_was_cancelled_before_it_began_asks_nobody():
    cancel = Cancel()
    cancel.cancel()
    with serve({"/": PAGE}) as site, to(site) as fetcher:
        with pytest.raises(Cancelled):
            fetcher.get(site.origin, cancel=cancel)
        assert site.requests == []


def test_fetches_leave_no_thread_behind():
    with serve({"/": PAGE}) as site, to(site) as fetcher:
        for _ in range(5):
            fetcher.get(site.origin)
        for thread in threading.enumerate():
            if thread.name == "exchange":
                thread.join(10)
                assert not thread.is_alive()


# Whom we connect to


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "0",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "user@127.0.0.1",
        "go.dev@127.0.0.1",
        "127.0.0.1.",
        "LOCALHOST.",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_refused_in_every_spelling(internet, host, scheme):
    with serve({"/": PAGE}) as site, Fetcher() as fetcher:
        for url in (f"{scheme}://{host}/", f"{scheme}://{host}:{site.port}/"):
            with pytest.raises(AddressRefused):
                fetcher.get(url)
        assert site.requests == []
    assert internet.dialled == []


def test_an_allow_entry_does_not_open_another_port_beside_it():
    with serve({"/": PAGE}) as allowed, serve({"/": PAGE}) as canary, to(allowed) as fetcher:
        assert fetcher.get(allowed.origin).status == 200
        with pytest.raises(AddressRefused):
            fetcher.get(canary.origin)
        assert canary.requests == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://go.dev/", "gopher://go.dev/", "go.dev/doc"])
def test_only_web_addresses_are_read(url):
    with Fetcher() as fetcher, pytest.raises(AddressRefused):
        fetcher.get(url)


def test_a_name_is_resolved_once_and_that_address_is_dialled(internet, public):
    with serve({"/": PAGE}) as site, serve({"/": b"secret"}) as inner:
        internet.publish("rebind.example.com", site)
        answers = iter([["93.184.216.34"], [f"127.0.0.1:{inner.port}"]])
        fetcher = public(resolve=lambda host, port: internet.lookups.append(host) or next(answers))
        response = fetcher.get("http://rebind.example.com/")
    assert response.body == PAGE
    assert internet.lookups == ["rebind.example.com"]
    assert set(internet.dialled) == {("93.184.216.34", 80)}
    assert {request.headers["host"] for request in site.requests} == {"rebind.example.com"}
    assert inner.requests == []


def test_the_next_vetted_address_is_tried_when_one_does_not_answer(internet, public):
    with serve({"/": PAGE}) as site:
        internet.publish("docs.example.com", site)
        internet.names["docs.example.com"] = ["2606:4700::1111", "93.184.216.34"]
        assert public().get("http://docs.example.com/").body == PAGE
    assert internet.dialled[:2] == [("2606:4700::1111", 80), ("93.184.216.34", 80)]


def test_every_refusal_is_logged_with_its_rule(caplog):
    with caplog.at_level(logging.INFO), Fetcher() as fetcher, pytest.raises(AddressRefused):
        fetcher.get("http://10.0.0.1/")
    assert "10.0.0.1 is a private network, not the public internet [rule: address]" in caplog.text


def test_a_refusal_says_how_to_allow():
    with Fetcher() as fetcher, pytest.raises(AddressRefused) as refusal:
        fetcher.get("http://127.0.0.1:8737/doc")
    assert "--allow http://127.0.0.1:8737" in refusal.value.hint


# Redirects


def moved(location, status=302):
    return Answer(b"", status, headers={"Location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_gives_the_page_its_new_identity(status):
    with serve({"/a": moved("b?x=1#y", status), "/b": PAGE}) as site, to(site) as fetcher:
        response = fetcher.get(site.origin + "/a")
    assert response.url == site.origin + "/b?x=1"


def test_five_redirects_are_followed_but_not_six():
    routes = {f"/{n}": moved(f"/{n + 1}") for n in range(6)} | {"/": moved("/1")}
    assert fetch({**routes, "/5": PAGE}).url.endswith("/5")
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        fetch({**routes, "/6": PAGE})


def test_a_redirect_in_a_circle_ends():
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        fetch({"/": moved("/")})


def test_a_redirect_to_nowhere_is_an_error():
    with pytest.raises(FetchError, match="without saying where"):
        fetch({"/": Answer(b"", 302)})


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "javascript:alert(1)", "http://u:p@go.dev/", "http://go.dev:22/", "http://wiki/"]
)
def test_a_redirect_to_what_we_do_not_read_is_refused(location):
    with pytest.raises(AddressRefused, match="redirects to an address we do not read"):
        fetch({"/": moved(location)})


def test_a_redirect_to_private_address_is_refused(internet, public):
    with serve({"/": PAGE}) as canary:
        for location in (canary.origin, f"//localhost:{canary.port}/", "http://10.0.0.1/", "http://inner.example.com/"):
            with serve({"/": moved(location)}) as site:
                internet.publish("docs.example.com", site)
                internet.names["inner.example.com"] = ["192.168.0.1"]
                with pytest.raises(AddressRefused):
                    public().get("http://docs.example.com/")
        assert canary.requests == []


def test_a_redirect_is_checked_against_the_robots_of_its_target(internet, public):
    with (
        serve({"/": moved("http://b.example.com/x")}) as a,
        serve({"/robots.txt": b"User-agent: *\nDisallow: /x"}) as b,
    ):
        internet.publish("a.example.com", a, "93.184.216.34")
        internet.publish("b.example.com", b, "93.184.216.35")
        with pytest.raises(RobotsDenied):
            public().get("http://a.example.com/")
        assert b.asked == []


# Mirrors


def test_a_page_from_a_mirror_keeps_its_identity():
    with serve({"/doc": PAGE}) as site, Fetcher(mirrors={"https://go.dev": site.origin}) as fetcher:
        response = fetcher.get("https://go.dev/doc?q=1")
    assert response.url == "https://go.dev/doc?q=1"
    assert response.fetched_from == site.origin + "/doc?q=1"


@pytest.mark.parametrize("location", ["/new", "new", "{origin}/new", "https://go.dev/new", "//127.0.0.1:{port}/new"])
def test_a_mirrors_redirect_is_mapped_back(location):
    def old(visit):
        return moved(location.format(origin=visit.site.origin, port=visit.site.port))

    with serve({"/old": old, "/new": PAGE}) as site, Fetcher(mirrors={"https://go.dev": site.origin}) as fetcher:
        response = fetcher.get("https://go.dev/old")
    assert (response.url, response.fetched_from) == ("https://go.dev/new", site.origin + "/new")


def test_a_redirect_between_mirrors_is_mapped_back():
    with serve({"/x": PAGE}) as pkg, serve({"/x": moved(pkg.origin + "/x")}) as go:
        fetcher = Fetcher(mirrors={"https://go.dev": go.origin, "https://pkg.go.dev": pkg.origin})
        assert fetcher.get("https://go.dev/x").url == "https://pkg.go.dev/x"
        fetcher.close()


def test_the_robots_of_a_mirror_hold():
    rules = b"User-agent: *\nDisallow: /private"
    with serve({"/robots.txt": rules}) as site, Fetcher(mirrors={"https://go.dev": site.origin}) as fetcher:
        with pytest.raises(RobotsDenied, match=r"https://go\.dev/private"):
            fetcher.get("https://go.dev/private")
        assert site.asked == []


def test_a_site_without_a_mirror_is_not_reached_through_one(internet, public):
    with serve({"/": PAGE}) as site:
        with pytest.raises(FetchError, match=r"cannot connect to pkg\.go\.dev"):
            public(mirrors={"https://go.dev": site.origin}).get("https://pkg.go.dev/")
        assert site.requests == []


@pytest.mark.parametrize(
    "mirrors", [{"go.dev": "http://h"}, {"https://go.dev/doc": "http://h"}, {"https://go.dev": "x"}]
)
def test_a_mirror_that_is_no_origin_is_an_invalid_argument(mirrors):
    with pytest.raises(InvalidParams):
        Fetcher(mirrors=mirrors)


# robots.txt


@pytest.mark.parametrize(
    ("rules", "path", "may"),
    [
        pytest.param(b"User-agent: *\nDisallow: /a", "/a/b", False, id="disallowed"),
        pytest.param(b"User-agent: *\nDisallow: /a", "/b", True, id="not mentioned"),
        pytest.param(b"\xef\xbb\xbfUser-agent: *\nDisallow: /a", "/a", False, id="after a byte order mark"),
        pytest.param(b"User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b", True, id="the longest match wins"),
        pytest.param(b"User-agent: *\nDisallow: /*.gif$", "/x.gif", False, id="wildcard"),
        pytest.param(b"User-agent: *\nDisallow: /*.gif$", "/x.gif?y", True, id="wildcard up to the end"),
        pytest.param(b"User-agent: ragmacs\nDisallow: /\n\nUser-agent: *\nAllow: /", "/", False, id="our group"),
        pytest.param(b"User-agent: *\nDisallow: /\n\nUser-agent: RagMacs\nAllow: /", "/", True, id="our group only"),
        pytest.param(b"User-agent: *\nDisallow: /a\r\rUser-agent: *\nDisallow: /b", "/b", False, id="merged groups"),
        pytest.param(b"User-agent: *\nDisallow: /%7ejoe", "/~joe", False, id="escapes"),
        pytest.param(b"\xff\xfe\x00 junk \x00\n\nUser-agent: *\nDisallow: /a", "/a", False, id="after junk"),
        pytest.param(b"<!doctype html><h1>Not found</h1>", "/a", True, id="a page instead"),
        pytest.param(b"", "/a", True, id="empty"),
    ],
)
def test_robots_txt_is_obeyed(rules, path, may):
    with serve({"/robots.txt": rules, path: PAGE}) as site, to(site) as fetcher:
        if may:
            assert fetcher.get(site.origin + path).status == 200
        else:
            with pytest.raises(RobotsDenied):
                fetcher.get(site.origin + path)
            assert site.asked == []


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_site_that_hides_its_robots_txt_is_left_alone(status):
    with serve({"/robots.txt": Answer(b"", status), "/": PAGE}) as site, to(site) as fetcher:
        for _ in range(2):
            with pytest.raises(RobotsDenied, match=f"answered {status}"):
                fetcher.get(site.origin)
        assert [request.target for request in site.requests] == ["/robots.txt"]


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_site_without_robots_txt_may_be_read(status):
    assert fetch({"/robots.txt": Answer(b"User-agent: *\nDisallow: /", status), "/": PAGE}).body == PAGE


@pytest.mark.parametrize("rules", [drip, silence])
def test_a_robots_txt_that_does_not_arrive_forbids_everything(rules):
    with serve({"/robots.txt": rules, "/": PAGE}) as site, Fetcher(allow=[site.origin], robots_deadline=0.3) as fetcher:
        with pytest.raises(RobotsDenied, match="could not be read"):
            fetcher.get(site.origin)
        assert site.asked == []


def test_robots_txt_is_read_through_five_redirects_but_not_six():
    routes = {f"/{n}": moved(f"/{n + 1}") for n in range(6)} | {"/robots.txt": moved("/1"), "/": PAGE}
    with pytest.raises(RobotsDenied, match="asks not to read"):
        fetch({**routes, "/5": b"User-agent: *\nDisallow: /"})
    with pytest.raises(RobotsDenied, match="more than 5 redirects"):
        fetch({**routes, "/6": b""})


def test_a_robots_txt_that_leads_to_a_private_address_forbids_everything(internet, public):
    with serve({"/robots.txt": b""}) as canary, serve({"/robots.txt": moved(canary.origin), "/": PAGE}) as site:
        internet.publish("docs.example.com", site)
        with pytest.raises(RobotsDenied):
            public().get("http://docs.example.com/")
        assert canary.requests == []


def test_only_the_first_500_kib_of_robots_txt_count():
    filler = b"# filler\n" * 60_000
    rules = b"User-agent: *\nDisallow: /a\n" + filler + b"Disallow: /b\n"
    with serve({"/robots.txt": rules, "/b": PAGE}) as site, to(site) as fetcher:
        assert fetcher.get(site.origin + "/b").status == 200
        with pytest.raises(RobotsDenied):
            fetcher.get(site.origin + "/a")


def test_robots_txt_is_read_once_a_day(internet, public):
    with serve({"/": PAGE}) as site:
        internet.publish("docs.example.com", site)
        fetcher = public()
        fetcher.get("http://docs.example.com/")
        fetcher.get("http://docs.example.com/")
        public.time.now += 24 * 3600
        fetcher.get("http://docs.example.com/")
    assert [request.target for request in site.requests].count("/robots.txt") == 2


def test_threads_that_share_a_site_read_its_robots_txt_once():
    with serve({"/": PAGE}) as site, to(site) as fetcher:
        threads = [threading.Thread(target=fetcher.get, args=[site.origin]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [request.target for request in site.requests].count("/robots.txt") == 1
    assert len(site.asked) == 8


# Sites that cannot be reached


def test_a_network_that_is_down_is_named_in_one_line_and_noticed_once(internet, public):
    fetcher = public()
    for n in range(100):
        with pytest.raises(FetchError, match=r"^cannot connect to go\.dev: its name does not resolve") as error:
            fetcher.get(f"https://go.dev/{n}")
        assert "robots" not in error.value.message
    assert internet.lookups == ["go.dev"]


def test_a_host_that_refuses_connections_is_noticed_once_and_believed_for_a_minute(internet, public):
    internet.names["go.dev"] = ["93.184.216.34"]
    fetcher = public()
    for n in range(3):
        with pytest.raises(FetchError, match=r"^cannot connect to go\.dev: Connection refused$"):
            fetcher.get(f"https://go.dev/{n}")
    assert len(internet.dialled) == 1
    public.time.now += 61
    with pytest.raises(FetchError):
        fetcher.get("https://go.dev/")
    assert len(internet.dialled) == 2


def test_threads_that_share_a_dead_host_notice_once(internet, public):
    everybody = threading.Barrier(4)

    def resolve(host, port):
        everybody.wait(10)
        return ["93.184.216.34"]

    def get(n):
        with suppress(FetchError):
            fetcher.get(f"https://go.dev/{n}")

    fetcher = public(resolve=resolve)
    threads = [threading.Thread(target=get, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(internet.dialled) == 1


def test_a_look_up_without_an_answer_ends_with_the_deadline():
    over = threading.Event()
    fetcher = Fetcher(resolve=lambda host, port: over.wait(10) and [], deadline=0.2)
    with fetcher, pytest.raises(FetchError, match="did not arrive within"):
        fetcher.get("https://go.dev/")
    over.set()


def test_a_server_that_speaks_no_http_is_an_error():
    def noise(visit):
        visit.wfile.write(b"220 smtp.example.com ESMTP\r\n")

    with pytest.raises(FetchError, match="the connection broke"):
        fetch({"/": noise})


def test_headers_without_end_are_an_error():
    def headers(visit):
        visit.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for n in range(20_000):
            visit.wfile.write(b"X-%d: %s\r\n" % (n, b"x" * 100))

    with pytest.raises(FetchError):
        fetch({"/": headers})


# Being polite, and trying again


@pytest.mark.parametrize(("last", "now", "wait"), [(10, 10, 1), (10, 10.4, 0.6), (10, 11, 0), (10, 99, 0)])
def test_the_next_request_waits_for_the_rest_of_the_delay(last, now, wait):
    assert next_delay(last, now, 1.0) == pytest.approx(wait)


def test_turns_of_one_origin_are_a_delay_apart_whoever_takes_them():
    pace = Pace(lambda: 5.0)
    assert [pace.take_turn("a", 1.0) for _ in range(3)] == [0, 1, 2]
    assert pace.take_turn("b", 1.0) == 0


def test_a_public_site_is_asked_once_a_second(internet, public):
    with serve({"/": PAGE}) as site:
        internet.publish("docs.example.com", site)
        fetcher = public()
        for _ in range(3):
            fetcher.get("http://docs.example.com/")
    assert public.time.pauses == [1, 1]


def test_an_allowed_loopback_site_and_a_mirror_are_not_waited_for():
    time = FakeTime()
    with serve({"/": PAGE}) as site:
        options = {"allow": [site.origin], "mirrors": {"https://go.dev": site.origin}}
        with Fetcher(**options, clock=time.clock, pause=time.pause) as fetcher:
            for _ in range(3):
                fetcher.get("https://go.dev/")
                fetcher.get(site.origin)
    assert time.pauses == []


@pytest.mark.parametrize(("asked", "kept"), [("5", [5, 5]), ("0.5", [0.5, 0.5]), ("3600", [30, 30]), ("-1", [])])
def test_a_crawl_delay_is_kept_up_to_half_a_minute(asked, kept):
    time = FakeTime()
    routes = {"/robots.txt": f"User-agent: *\nCrawl-delay: {asked}".encode(), "/": PAGE}
    with serve(routes) as site, to(site, clock=time.clock, pause=time.pause) as fetcher:
        for _ in range(3):
            fetcher.get(site.origin)
    assert time.pauses == kept


def failing(times, answer):
    """A route that fails that many TIMES with ANSWER."""
    left = iter([answer] * times)
    return lambda visit: next(left, PAGE)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(status):
    time = FakeTime()
    with serve({"/": failing(3, Answer(b"", status))}) as site, to(site, clock=time.clock, pause=time.pause) as fetcher:
        assert fetcher.get(site.origin).body == PAGE
    assert time.pauses == [1, 2, 4]


def test_after_four_tries_a_failure_is_final():
    with serve({"/": Answer(b"", 500)}) as site, to(site) as fetcher:
        with pytest.raises(FetchError) as error:
            fetcher.get(site.origin)
        assert len(site.asked) == 4
    assert error.value.status == 500


def test_a_connection_that_breaks_is_tried_again_at_a_site_that_answers():
    def reset(visit):
        linger_not = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        visit.connection.close()

    left = iter([reset, reset])

    def route(visit):
        failure = next(left, None)
        return failure(visit) if failure else PAGE

    with serve({"/": route}) as site, to(site) as fetcher:
        assert fetcher.get(site.origin).body == PAGE


def test_retry_after_is_waited_for():
    time = FakeTime()
    answer = Answer(b"", 503, headers={"Retry-After": "7"})
    with serve({"/": failing(1, answer)}) as site, to(site, clock=time.clock, pause=time.pause) as fetcher:
        assert fetcher.get(site.origin).body == PAGE
    assert time.pauses == [7]


def test_a_long_retry_after_is_left_to_the_user():
    later = email.utils.format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    for header in ("7200", later):
        with serve({"/": Answer(b"", 429, headers={"Retry-After": header})}) as site, to(site) as fetcher:
            with pytest.raises(FetchError) as error:
                fetcher.get(site.origin)
            assert len(site.asked) == 1
        assert 7100 < error.value.retry_after <= 7200
        assert "come back at" in error.value.hint


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:01:00", None),
        ("Sun, 01 Mar 99999 12:01:00 GMT", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after(header, NOW) == seconds


def test_an_absurd_retry_after_is_still_a_date():
    assert NOW + timedelta(seconds=retry_after("9" * 400, NOW))


@pytest.mark.parametrize(
    ("status", "asked", "attempt", "wait"),
    [
        (500, None, 1, backoff(1)),
        (429, 5.0, 2, 5.0),
        (429, 60.0, 2, 60.0),
        (429, 61.0, 2, None),
        (500, None, 4, None),
        (404, None, 1, None),
        (200, None, 1, None),
    ],
)
def test_whether_to_try_again(status, asked, attempt, wait):
    assert retry_wait(status, asked, attempt) == wait


# Encryption


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for a name that is its own authority: (certificate file, server context)."""

    def make(name):
        folder = tmp_path_factory.mktemp("tls")
        key, cert = folder / "key.pem", folder / "cert.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        subprocess.run([*command, *names, "-days", "2", "-keyout", key, "-out", cert], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return str(cert), context

    return make


def test_the_certificate_is_checked_against_the_name_though_an_address_is_dialled(internet, public, certificate):
    ca_file, tls = certificate("docs.example.com")
    with serve({"/": PAGE}, tls=tls) as site:
        internet.publish("docs.example.com", site)
        internet.publish("other.example.com", site)
        fetcher = public(ca_file=ca_file)
        assert fetcher.get("https://docs.example.com/").body == PAGE
        with pytest.raises(FetchError, match=r"^cannot connect to other\.example\.com: its certificate .*mismatch"):
            fetcher.get("https://other.example.com/")
    assert set(internet.dialled) == {("93.184.216.34", 443)}
    assert {request.headers["host"] for request in site.requests} == {"docs.example.com"}


def test_a_certificate_of_an_unknown_authority_is_refused(internet, public, certificate):
    _, tls = certificate("docs.example.com")
    with serve({"/": PAGE}, tls=tls) as site:
        internet.publish("docs.example.com", site)
        with pytest.raises(FetchError, match="certificate") as error:
            public().get("https://docs.example.com/")
        assert site.requests == []
    assert "ca_file" in error.value.hint


def test_cancel_ends_an_encrypted_body_that_hangs(internet, public, certificate):
    ca_file, tls = certificate("docs.example.com")
    asked, gone, cancel = threading.Event(), threading.Event(), Cancel()

    def route(visit):
        visit.start()
        visit.wfile.flush()
        asked.set()
        with suppress(OSError):
            visit.connection.recv(1)
        gone.set()

    with serve({"/": route}, tls=tls) as site:
        internet.publish("docs.example.com", site)
        threading.Thread(target=lambda: asked.wait(10) and cancel.cancel()).start()
        with pytest.raises(Cancelled):
            public(ca_file=ca_file).get("https://docs.example.com/", cancel=cancel)
        assert gone.wait(10)


def test_a_ca_file_that_cannot_be_read_is_a_mistake_in_the_settings(tmp_path):
    (tmp_path / "empty.pem").touch()
    for file in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        with pytest.raises(SettingsError, match=file.name):
            Fetcher(ca_file=str(file))


# A proxy


def test_a_proxy_gets_the_name_but_not_what_we_refuse(internet, public):
    with serve(lambda visit: Answer(b"", 404) if visit.path.endswith("robots.txt") else PAGE) as proxy:
        fetcher = public(proxy=proxy.origin)
        assert fetcher.get("http://docs.example.com/a").body == PAGE
        for url in ("http://10.0.0.1/", "http://wiki/", "http://docs.example.com:8080/", "http://2130706433/"):
            with pytest.raises(AddressRefused):
                fetcher.get(url)
    assert [request.target for request in proxy.requests] == [
        "http://docs.example.com/robots.txt",
        "http://docs.example.com/a",
    ]
    assert internet.lookups == []


def test_an_allowed_site_on_this_machine_is_not_asked_through_the_proxy():
    with serve({"/": PAGE}) as site, serve({}) as proxy:
        with Fetcher(allow=[site.origin], proxy=proxy.origin) as fetcher:
            assert fetcher.get(site.origin).body == PAGE
        assert proxy.requests == []


def test_a_proxy_that_does_not_answer_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    fetcher = Fetcher(proxy=f"http://127.0.0.1:{port}")
    with fetcher, pytest.raises(FetchError, match="by way of the proxy"):
        fetcher.get("https://docs.example.com/")


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "ftp://proxy.example", "http://", "http:///x"])
def test_a_proxy_that_is_none_is_a_mistake_in_the_settings(proxy):
    with pytest.raises(SettingsError, match="cannot use the proxy"):
        Fetcher(proxy=proxy)


# Interfaces for programs


def call(routes, **options):
    """What a call of /call at a site with ROUTES gives, and the targets that the site saw."""
    with serve(routes) as site, to(site, **options) as fetcher:
        try:
            return fetcher.call(site.origin + "/call?a=b", secret="key=s3cret"), [each.target for each in site.requests]
        except FetchError as exc:
            return exc, [each.target for each in site.requests]


def test_an_interface_is_called_whatever_robots_txt_says_and_the_secret_is_not_told():
    answer = Answer(b"{}", type="application/json")
    response, asked = call({"/call": answer, "/robots.txt": b"User-agent: *\nDisallow: /"})
    assert asked == ["/call?a=b&key=s3cret"]
    assert response.media_type == "application/json"
    assert "s3cret" not in str(response)


def test_the_body_of_an_error_is_what_the_interface_says_of_it():
    response, _ = call({"/call": Answer(b'{"error_id": 400}', 400, "application/json")})
    assert response.body == b'{"error_id": 400}'


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(status=302, headers={"Location": "/elsewhere"}), "status 302"),
        (Answer(PAGE), "not supported"),
        (Answer(b"{" + b" " * 200, type="application/json"), "larger than 100 bytes"),
    ],
    ids=["redirect", "HTML", "too much"],
)
def test_an_interface_that_answers_otherwise_is_an_error(answer, says):
    error, asked = call({"/call": answer, "/elsewhere": PAGE}, max_bytes=100)
    assert says in str(error)
    assert "s3cret" not in str(error)
    assert len(asked) == 1
