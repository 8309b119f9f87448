import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import AddressRefused
from ragmacs_srv.ingest.urls import canonical, join, origin, parse, shown, split_fragment


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        ("HTTPS://Go.DEV/Doc/GC-guide", "https://go.dev/Doc/GC-guide"),
        ("https://go.dev", "https://go.dev/"),
        ("https://go.dev?", "https://go.dev/"),
        ("https://go.dev:443/a", "https://go.dev/a"),
        ("http://go.dev:80/a", "http://go.dev/a"),
        ("http://go.dev:/a", "http://go.dev/a"),
        ("http://go.dev:0443/a", "http://go.dev:443/a"),
        ("https://go.dev:80/a", "https://go.dev:80/a"),
        ("https://go.dev./a", "https://go.dev/a"),
        ("https://go.dev/a/", "https://go.dev/a/"),
        ("https://go.dev/a/./b/../c", "https://go.dev/a/c"),
        ("https://go.dev/a/..", "https://go.dev/"),
        ("https://go.dev/a/b/..", "https://go.dev/a/"),
        ("https://go.dev/a/.", "https://go.dev/a/"),
        ("https://go.dev/../../a", "https://go.dev/a"),
        ("https://go.dev/a//b", "https://go.dev/a//b"),
        ("https://go.dev/%61%7e%2d", "https://go.dev/a~-"),
        ("https://go.dev/a%2fb%c3%a9", "https://go.dev/a%2Fb%C3%A9"),
        ("https://go.dev/é b", "https://go.dev/%C3%A9%20b"),
        ("https://go.dev/100%", "https://go.dev/100%25"),
        ("https://go.dev/%2541", "https://go.dev/%2541"),
        ("https://go.dev/%2e%2e/a", "https://go.dev/a"),
        ("https://go.dev/a?", "https://go.dev/a"),
        ("https://go.dev/a?b=1&c=%7e", "https://go.dev/a?b=1&c=~"),
        ("https://go.dev/a?q=x/../y", "https://go.dev/a?q=x/../y"),
        ("https://go.dev/a#b?c", "https://go.dev/a"),
        ("https://go.dev/a#" + "b" * 9000, "https://go.dev/a"),
        ("https://go.dev/a?utm_source=x&q=1&GCLID=2&fbclid=3", "https://go.dev/a?q=1"),
        ("https://go.dev/a?utm_source=x", "https://go.dev/a"),
        ("https://go.dev/a?autm_source=x&gclids=1", "https://go.dev/a?autm_source=x&gclids=1"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("https://EXAMPLE。com/", "https://example.com/"),
        ("http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"),
        ("http://a_b.example/", "http://a_b.example/"),
    ],
)
def test_addresses_of_one_page_have_one_identity(written, identity):
    assert canonical(written) == identity


@pytest.mark.parametrize(
    "written",
    [
        "",
        "go.dev/doc",
        "/doc",
        "//go.dev/doc",
        "file:///etc/passwd",
        "ftp://go.dev/",
        "javascript:alert(1)",
        "data:text/html,x",
        "mailto:gopher@go.dev",
        "http:",
        "http:go.dev",
        "http:///doc",
        "http://:80/",
        "http://user@go.dev/",
        "http://user:secret@go.dev/",
        "http://go.dev@127.0.0.1/",
        "http://@go.dev/",
        "http://go.dev\\@127.0.0.1/",
        "http://go.dev/a\\b",
        "http://go.dev/\r\nHost: x",
        "http://go.dev/\x00",
        "http://go\tdev/",
        " http://go.dev/",
        "http://go.dev/\ud800",
        "http://go%2edev/",
        "http://[fe80::1%25eth0]/",
        "http://go.dev:0/",
        "http://go.dev:65536/",
        "http://go.dev:99999999999999999999/",
        "http://go.dev:８０/",
        "http://go.dev:-1/",
        "http://go.dev:80:80/",
        "http://::1/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[1.2.3.4]/",
        "http://a..b/",
        "http://.a/",
        "http://a b/",
        "http://a!b/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/",
        "http://" + "é" * 300 + ".example/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1.1/",
        "http://①②⑦.①/",
        "http://go.dev/" + "a" * 9000,
        "http://go.dev/" + "é" * 3000,
        "http://go.dev?" + "a" * 100_000,
        "http://go.dev?utm_source=" + "a" * 9000,
    ],
)
def test_what_is_not_a_plain_web_address_is_refused(written):
    with pytest.raises(AddressRefused) as refusal:
        canonical(written)
    assert "\n" not in refusal.value.message
    assert len(refusal.value.message) < 500


def test_a_forgotten_scheme_is_put_into_the_hint():
    with pytest.raises(AddressRefused) as refusal:
        canonical("go.dev/doc/gc-guide")
    assert refusal.value.hint == "https://go.dev/doc/gc-guide"


def test_a_password_is_not_repeated_in_the_message():
    with pytest.raises(AddressRefused) as refusal:
        canonical("https://me:secret@go.dev/")
    assert "secret" not in refusal.value.message + str(refusal.value.data)


_CHARS = st.text(alphabet=st.sampled_from("aZ.%/~?&=#:@[]{}|+ é\u20ac％0-4EeF2"), max_size=30)


@given(st.sampled_from(["http://Go.dev", "https://go.dev:443", "http://[::1]:8080", "https://bücher.example"]), _CHARS)
def test_the_identity_of_an_identity_is_itself(start, rest):
    identity = canonical(f"{start}/{rest}")
    assert canonical(identity) == identity
    assert identity.isascii()
    assert parse(identity).url == identity


@given(st.text(max_size=60))
def test_any_text_is_an_identity_or_refused(text):
    for written in (text, "http://" + text, "https://go.dev/" + text):
        try:
            identity = canonical(written)
        except AddressRefused:
            continue
        assert canonical(identity) == identity


@given(_CHARS)
def test_a_link_is_an_identity_or_nothing(href):
    found = join("https://go.dev/doc/gc-guide", href)
    assert found is None or canonical(found) == found


@pytest.mark.parametrize(
    ("href", "target"),
    [
        ("", "https://go.dev/a/b?q=1"),
        ("#x", "https://go.dev/a/b?q=1"),
        ("?r=2", "https://go.dev/a/b?r=2"),
        ("?", "https://go.dev/a/b"),
        ("c", "https://go.dev/a/c"),
        ("c?d=e#f", "https://go.dev/a/c?d=e"),
        ("./c", "https://go.dev/a/c"),
        ("../c", "https://go.dev/c"),
        ("../../../c", "https://go.dev/c"),
        ("/c//d", "https://go.dev/c//d"),
        ("//pkg.go.dev/c", "https://pkg.go.dev/c"),
        ("http://pkg.go.dev", "http://pkg.go.dev/"),
        (" \n c\n d ", "https://go.dev/a/c%20d"),
        ("mailto:gopher@go.dev", None),
        ("javascript:void(0)", None),
        ("JavaScript:void(0)", None),
        ("data:text/html,x", None),
        ("file:///etc/passwd", None),
        ("tel:1", None),
        ("http://[bad", None),
        ("http://user@go.dev/", None),
        ("//", None),
    ],
)
def test_links_are_resolved_as_browsers_do(href, target):
    assert join("https://go.dev/a/b?q=1#z", href) == target


def test_empty_path_segments_survive_a_relative_link():
    assert join("https://go.dev/a//b/c", "d") == "https://go.dev/a//b/d"


def test_a_link_on_a_page_without_an_address_leads_nowhere():
    assert join("page.html", "a") is None


@pytest.mark.parametrize(
    ("url", "page", "anchor"),
    [
        ("https://go.dev/doc#GOGC", "https://go.dev/doc", "GOGC"),
        ("https://go.dev/doc", "https://go.dev/doc", ""),
        ("https://go.dev/doc#", "https://go.dev/doc", ""),
        ("https://go.dev/doc#caf%C3%A9", "https://go.dev/doc", "café"),
        ("https://go.dev/doc#a#b", "https://go.dev/doc", "a#b"),
    ],
)
def test_a_fragment_names_the_heading(url, page, anchor):
    assert split_fragment(url) == (page, anchor)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Go.dev:443/doc?x#y", "https://go.dev"),
        ("http://127.0.0.1:8737/", "http://127.0.0.1:8737"),
        ("http://[::1]:80/x", "http://[::1]"),
    ],
)
def test_an_origin_names_only_an_unusual_port(url, expected):
    assert origin(url) == expected


def test_what_is_shown_is_one_short_line():
    line = shown("http://a:b@c/\n\x1b[31m" + "x" * 500)
    assert line.startswith("http://…@c/\\n\\x1b[31m")
    assert line.isprintable()
    assert len(line) <= 201
