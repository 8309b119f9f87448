from __future__ import annotations

import csv
import io
import json
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.ingest.lists import fold, parse
from ragmacs_srv.model import Item

NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._~", min_size=1, max_size=12)
ADDRESS = st.builds(
    lambda host, path, query: f"https://{host}.example.org/{path}" + (f"?q={query}" if query else ""),
    st.text("abcxyz", min_size=1, max_size=8),
    NAME.filter(lambda each: each.strip(".") and each[-1] not in "._"),
    st.text("abc123", max_size=5),
)
WORD = st.text("abcdefgXYZäß漢", min_size=1, max_size=9)
TITLE = st.lists(WORD, min_size=1, max_size=5).map(" ".join)
TAG = st.text("abcdefg", min_size=1, max_size=6)
ITEM = st.builds(Item, ADDRESS, TITLE, st.lists(TAG, max_size=3, unique=True).map(tuple), st.just(""), st.booleans())
ITEMS = st.lists(ITEM, min_size=1, max_size=6, unique_by=lambda each: each.url)


def as_markdown(items: list[Item]) -> str:
    lines = (
        f"- [{'x' if each.read else ' '}] [{each.title}]({each.url}) {' '.join('#' + tag for tag in each.tags)}"
        for each in items
    )
    return "# To read\n\nSome prose before.\n\n" + "\n".join(lines)


def as_org(items: list[Item]) -> str:
    lines = (
        f"** {'DONE' if each.read else 'TODO'} [[{each.url}][{each.title}]]"
        + (f" :{':'.join(each.tags)}:" if each.tags else "")
        for each in items
    )
    return "#+TITLE: To read\n* Papers\nSome prose.\n" + "\n".join(lines)


def as_pocket(items: list[Item]) -> str:
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["title", "url", "time_added", "tags", "status"])
    for each in items:
        rows.writerow([each.title, each.url, 1, "|".join(each.tags), "archive" if each.read else "unread"])
    return out.getvalue()


def as_jsonl(items: list[Item]) -> str:
    shapes = ({"url": each.url, "title": each.title, "tags": each.tags, "read": each.read} for each in items)
    return "\n".join(map(json.dumps, shapes))


@pytest.mark.parametrize("write", [as_markdown, as_org, as_pocket, as_jsonl])
@settings(max_examples=40)
@given(items=ITEMS, mark=st.sampled_from(["", "\ufeff"]), end=st.sampled_from(["\n", "\r\n"]))
def test_what_a_list_says_of_an_address_is_what_is_read(write: object, items: list[Item], mark: str, end: str) -> None:
    assert callable(write)
    text = mark + write(items).replace("\r\n", "\n").replace("\n", end)
    assert parse(text.encode()) == items


@settings(max_examples=40)
@given(items=ITEMS)
def test_bookmarks_keep_their_titles_and_tags(items: list[Item]) -> None:
    lines = (f'<DT><A HREF="{escape(i.url)}" TAGS="{",".join(i.tags)}">{escape(i.title)}</A>' for i in items)
    found = parse(("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n" + "\n".join(lines)).encode())
    assert [(i.url, i.title, i.tags) for i in found] == [(i.url, i.title, i.tags) for i in items]


@settings(max_examples=40)
@given(items=ITEMS)
def test_opml_and_feeds_name_their_addresses(items: list[Item]) -> None:
    outlines = "".join(f'<outline text="{escape(i.title)}" url="{escape(i.url)}"/>' for i in items)
    entries = "".join(f"<item><title>{escape(i.title)}</title><link>{escape(i.url)}</link></item>" for i in items)
    opml = parse(f'<?xml version="1.0"?><opml version="2.0"><body>{outlines}</body></opml>'.encode())
    feed = parse(f'<?xml version="1.0"?><rss version="2.0"><channel>{entries}</channel></rss>'.encode())
    assert [(i.url, i.title) for i in opml] == [(i.url, i.title) for i in feed] == [(i.url, i.title) for i in items]


@settings(max_examples=40)
@given(urls=st.lists(ADDRESS, min_size=1, max_size=8))
def test_every_line_of_a_plain_list_is_an_item(urls: list[str]) -> None:
    lines = [line for url in urls for line in (url, "not an address", "")]
    assert [each.url for each in parse("\n".join(["# mine", *lines]).encode())] == [line for line in lines if line]


@settings(max_examples=40)
@given(text=st.text(max_size=300) | st.text('[](){}<>*-:#/"\\\n ,|ahtps', max_size=300))
def test_no_text_is_too_odd(text: str) -> None:
    try:
        found = parse(text.encode(errors="replace"))
    except InvalidParams:
        return
    assert found and all(entry.url for entry in fold(found))


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "[a](" * 12_000, "[[" * 25_000, "* " + "x" * 50_000, "[[a][" * 10_000, "* x" + " " * 50_000 + "x"],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    parse(("read\n" + text + "\nhttps://go.dev/").encode())


@pytest.mark.parametrize(
    ("line", "url", "title"),
    [
        ("https://go.dev/doc A guide", "https://go.dev/doc", "A guide"),
        ("A guide: https://go.dev/doc.", "https://go.dev/doc", "A guide"),
        ("<https://go.dev/doc>", "https://go.dev/doc", ""),
        ("(https://en.example.org/Go_(language))", "https://en.example.org/Go_(language)", ""),
    ],
)
def test_an_address_ends_where_its_sentence_goes_on(line: str, url: str, title: str) -> None:
    (item,) = parse(line.encode())
    assert (item.url, item.title) == (url, title)


def test_a_web_page_as_a_list_gives_the_links_of_its_content() -> None:
    page = (
        b'<html><body><nav><a href="/menu">Menu</a></nav><main><a href="one">One</a> <a href="#top">Top</a>'
        b'<a href="mailto:a@b.c">Mail</a><a href="//other.org/two">Two</a></main><footer><a href="/f">F</a></footer>'
    )
    found = parse(page, base="https://go.dev/list/")
    assert [(i.url, i.title) for i in found] == [("https://go.dev/list/one", "One"), ("https://other.org/two", "Two")]


def test_relative_links_of_a_feed_are_resolved() -> None:
    rss = b'<rss version="2.0"><channel><link>https://f.org/</link><item><link>/1</link></item></channel></rss>'
    atom = (
        b'<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://at.org/x/"><entry><link href="1"/></entry></feed>'
    )
    assert [each.url for each in (*parse(rss), *parse(atom))] == ["https://f.org/1", "https://at.org/x/1"]
    assert parse(rss, base="https://real.org/feed")[0].url == "https://real.org/1"


def test_the_links_in_the_text_of_our_own_report_are_no_items() -> None:
    report = (
        b"* TODO [[https://a.org/][A]]\n:PROPERTIES:\n:URL: https://a.org/\n:END:\n- Said. [[https://a.org/#x][x]]\n"
    )
    assert [each.url for each in parse(report)] == ["https://a.org/"]


def test_an_open_checkbox_under_a_finished_heading_is_unread() -> None:
    text = b"* DONE Week 1\n- [ ] https://a.org/\n- https://b.org/\n"
    assert [each.read for each in parse(text)] == [False, True]


def test_instapaper_folders_become_tags_and_states() -> None:
    text = b"URL,Title,Selection,Folder,Timestamp\nhttps://a.org,A,,Archive,1\nhttps://b.org,B,,Compilers,1\n"
    assert [(i.tags, i.read) for i in parse(text)] == [((), True), (("Compilers",), False)]


def test_duplicates_fold_into_the_first_with_what_all_of_them_say() -> None:
    items = [
        Item("https://go.dev/doc?utm_source=x#a", "", ("gc",)),
        Item("HTTPS://GO.dev/doc#b", "The guide", ("go",), read=True),
        Item("file:///etc/passwd"),
    ]
    first, local = fold(items)
    assert (first.url, first.title, first.tags, first.read) == ("https://go.dev/doc", "The guide", ("gc", "go"), True)
    assert first.also == ("https://go.dev/doc?utm_source=x#a", "HTTPS://GO.dev/doc#b")
    assert local.url == "file:///etc/passwd" and "only http and https" in local.refused


@pytest.mark.slow
def test_ten_thousand_windows_lines_with_broken_ones_lose_none() -> None:
    lines = [f"https://go.dev/{n}#part" if n % 333 else f"htp:/broken {n}" for n in range(10_000)]
    entries = fold(parse(("\ufeff" + "\r\n".join(lines)).encode()))
    assert len(entries) == 10_000
    assert sum(bool(entry.refused) for entry in entries) == 31


@pytest.mark.parametrize("body", [b"", b"\n\n", b"# only a comment\n", b"[]", b"{}", b"<html></html>", b"\xff\xfe"])
def test_a_list_without_addresses_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidParams, match="no addresses"):
        parse(body)
