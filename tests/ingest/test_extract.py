"""What of a document becomes a Page, and what does not."""

from __future__ import annotations

import html

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragmacs_srv.errors import NoContent
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.ingest.sections import block_texts, build, pieces, repeated, without
from ragmacs_srv.model import Page, Section

URL = "https://docs.test/guide/page"
PROSE = "The collector runs when the heap has grown by as much as the live heap was after the last cycle, and no later."
FILL = f"<p>{PROSE}</p>"


def read(body: str, *, head: str = "<title>The Guide</title>", url: str = URL) -> Page:
    return extract(f"<html><head>{head}</head><body>{body}</body></html>".encode(), url, charset="utf-8")


def content(body: str) -> Page:
    return read(f"<main>{body}{FILL}</main>")


def markdown(page: Page) -> str:
    return "\n\n".join(section.text for section in page.sections)


def kinds(section: Section) -> list[str]:
    return [block.kind for block in section.blocks]


# Anchors and headings


@pytest.mark.parametrize(
    "heading",
    [
        '<h2 id="x">Title</h2>',
        '<h2><a id="x"></a>Title</h2>',
        '<h2><a name="x">Title</a></h2>',
        '<h2><span id="x">Title</span></h2>',
        '<a name="x"></a><h2>Title</h2>',
        '<span id="x"></span>\n<h2>Title</h2>',
        '<section id="x"><h2>Title<a class="headerlink" href="#x">¶</a></h2><p>Text.</p></section>',
        '<div class="section" id="x"><h2>Title</h2><p>Text.</p></div>',
        '<h2>Title <a href="#x" aria-hidden="true">#</a></h2>',
        '<h2>Title<a href="#x">Link to this heading</a></h2>',
        '<div class="markdown-heading"><h2>Title</h2><a id="x" class="anchor" href="#x"></a></div>',
        '<h2 id="x">  Ti\u200btle\u00b6 </h2>',
    ],
)
def test_heading_is_reached_by_the_id_that_belongs_to_it(heading):
    page = content(heading)

    assert [(section.anchor, section.heading) for section in page.sections] == [("x", ("The Guide", "Title"))]


def test_sharp_at_the_end_of_a_name_is_part_of_it():
    assert content('<h2 id="x">Notes on C#</h2>').sections[0].heading == ("The Guide", "Notes on C#")


def test_id_with_a_blank_reaches_nothing():
    assert content('<h2 id="x y">Title</h2>').sections[0].anchor == ""


def test_second_heading_with_the_same_id_stays_in_the_section_a_browser_would_not_leave():
    page = content('<h2 id="x">One</h2><p>a</p><h2 id="x">Two</h2><p>b</p>')

    (section,) = page.sections
    assert section.text.startswith("a\n\n## Two\n\nb")


def test_path_leads_from_the_title_down():
    page = content('<h1>The Guide</h1><h2 id="a">A</h2><h3 id="b">B</h3><h2>C</h2><h4 id="d">D</h4>')

    assert [section.heading for section in page.sections] == [
        ("The Guide", "A"),
        ("The Guide", "A", "B"),
        ("The Guide", "C", "D"),
    ]


def test_title_heads_the_top_section_and_is_not_repeated_in_it():
    (top,) = content("<h1>The Guide</h1>").sections

    assert (top.anchor, top.heading, top.text) == ("", ("The Guide",), PROSE)


def test_title_with_an_id_gives_the_top_its_anchor():
    (top,) = content('<h1 id="guide">The Guide</h1>').sections

    assert (top.anchor, top.heading) == ("guide", ("The Guide",))


def test_title_is_the_heading_that_the_head_speaks_of():
    page = read(
        f"<main><h1><a href='/'>The Go Blog</a></h1><h1>Green Tea</h1>{FILL}</main>",
        head="<title>Green Tea - Go</title>",
    )

    assert page.title == "Green Tea"
    assert "The Go Blog" not in markdown(page)


def test_heading_without_an_id_stays_in_the_text():
    (section,) = content("<h4>Notes on <code>GOGC</code></h4>").sections

    assert section.text == f"#### Notes on GOGC\n\n{PROSE}"
    assert kinds(section) == ["heading", "paragraph"]


def test_heading_without_text_of_its_own_still_is_a_section():
    page = content('<h2 id="a">A</h2><h3 id="b">B</h3>')

    assert [(section.anchor, section.text) for section in page.sections] == [("a", ""), ("b", PROSE)]


def test_text_before_the_first_heading_is_the_top():
    page = read(f'<main>{FILL}<h2 id="a">A</h2><p>more</p></main>')

    assert [(section.anchor, section.text) for section in page.sections] == [("", PROSE), ("a", "more")]


def test_page_without_headings_is_one_section_named_by_its_title():
    (section,) = read(f"<div>{FILL}</div>").sections

    assert (section.anchor, section.heading, section.text) == ("", ("The Guide",), PROSE)


def test_page_without_any_title_is_named_by_its_address():
    assert read(f"<main>{FILL}</main>", head="").title == "page"


@pytest.mark.parametrize("tag", ["main", "article", "section", "my-content"])
def test_head_that_is_not_closed_holds_no_content(tag):
    page = extract(f"<!doctype html><meta charset=utf-8><title>T</title><{tag}>{FILL}</{tag}>".encode(), URL)

    assert (page.title, markdown(page)) == ("T", PROSE)


def test_unclosed_heading_does_not_swallow_the_text():
    (section,) = content('<h2 id="a">A<p>text</p>').sections

    assert section.heading == ("The Guide", "A")
    assert section.text.startswith("text")


# Blocks


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>one\n two</p><p>three</p>", "one two\n\nthree"),
        ("<p>one<br>two</p>", "one\ntwo"),
        ("bare <b>text</b><p>then</p>tail", "bare text\n\nthen\n\ntail"),
        ("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>", "- a\n- b\n  - c\n- d"),
        ("<ol start=9><li>a<li>b<p>more</p></ol>", "9. a\n10. b\n\n    more"),
        ("<ul><li><p>a</p><p>b</p></li><li>c</li></ul>", "- a\n\n  b\n\n- c"),
        ("<ul><li><input type=checkbox checked> a<li><input type=checkbox> b</ul>", "- [x] a\n- [ ] b"),
        ("<dl><dt>term<dd>what it means<dd><p>also</p></dl>", "term\n: what it means\n: also"),
        ("<blockquote><p>said</p><footer>someone</footer></blockquote>", "> said\n\n> someone"),
        ("<table><tr><th>a<th>b<tr><td>1<td><p>2</p><p>3</p></table>", "| a | b |\n| 1 | 2 3 |"),
        ("<table><caption>c</caption><tr><td>1</table>", "c\n\n| 1 |"),
        ("<table role=presentation><tr><td><p>a</p><td><p>b</p></table>", "a\n\nb"),
        ("<table><tr><td><h3>a</h3><p>b</p></table>", "### a\n\nb"),
        ("<figure><img src=x alt='a heap'><figcaption>Fig. 1</figcaption></figure>", "[image: a heap]\n\nFig. 1"),
        ("<p>see <img src=x alt=heap> here</p>", "see here\n\n[image: heap]"),
        ("<details><summary>more</summary>inside</details>", "more\n\ninside"),
        ("<p>set <code>GOGC</code>s</p>", "set `GOGC`s"),
        ("<p><code> a </code>b</p>", "`a` b"),
        ("<p><code>go</code> <code>list</code></p>", "`go list`"),
        ("<p><code>a`b</code></p>", "`` a`b ``"),
        ("<p><code></code>x</p>", "x"),
        ("<p>10<sup>9</sup>, the 4<sup>th</sup></p>", "10^9, the 4th"),
        ("<p>fact<sup><a class='footnote-ref' href='#fn1'>1</a></sup>, <q>said</q></p>", 'fact, "said"'),
        ("<p>see <a href='#x'>link</a> and <a href='/y'>this</a></p>", "see link and this"),
    ],
)
def test_markup_becomes_markdown(source, text):
    (section,) = content(source + "<hr>").sections

    assert section.text == f"{text}\n\n{PROSE}"


CODE = "\n\tif x {\n\n\t\treturn ```a```  \n\t}\n\n"


@pytest.mark.parametrize(
    "around",
    ["%s", "<ul><li>a%sb</ul>", "<table><tr><td>a%s<td>b</table>", "<figure>%s</figure>", "<dl><dd>%s</dl>", "<p>a%sb"],
)
def test_code_stands_verbatim_in_a_block_of_its_own(around):
    (section,) = content(around % f"<pre>{CODE}</pre>").sections

    (block,) = (section.text[b.start : b.end] for b in section.blocks if b.kind == "code")
    assert CODE in block
    assert block.startswith("````\n\tif")
    assert block.endswith("\n````")


def test_code_keeps_its_words_through_highlighting_and_names_its_language():
    page = content(
        '<div class="highlight"><pre><code class="language-go"><span>x</span> := <b>1</b></code></pre></div>'
    )

    assert markdown(page).startswith("```go\nx := 1\n```")


def test_line_numbers_are_no_code():
    page = content("<table><tr><td class=linenos><pre>1\n2</pre><td><pre>a\nb</pre></table>")

    assert markdown(page).startswith("```\na\nb\n```")


def test_tab_names_stand_above_their_panels():
    page = content(
        '<div class="tabbed-set"><input type=radio><input type=radio>'
        '<div class="tabbed-labels"><label>Debian</label><label>Fedora</label></div>'
        '<div class="tabbed-content"><div><pre>apt</pre></div><div><pre>dnf</pre></div></div></div>'
    )

    assert markdown(page).startswith("Debian\n\n```\napt\n```\n\nFedora\n\n```\ndnf\n```")


# What is not content


@pytest.mark.parametrize(
    "noise",
    [
        "<nav>NOISE</nav>",
        "<footer><p>NOISE</p></footer>",
        "<header><a href='/'>NOISE</a></header>",
        "<aside>NOISE</aside>",
        "<script>NOISE</script><style>NOISE</style><template>NOISE</template><noscript>NOISE</noscript>",
        "<form><label>NOISE</label><button>NOISE</button><select><option>NOISE</select></form>",
        "<div hidden>NOISE</div><div aria-hidden=true>NOISE</div><div style='color:red; display : none'>NOISE</div>",
        "<!-- NOISE --><?php NOISE ?>",
        "<svg><text>NOISE</text></svg>",
        "<div role=navigation>NOISE</div>",
        "<ol class=SiteBreadcrumb><li>NOISE</ol>",
        "<section class='Cookie-notice js-x'>NOISE uses cookies</section>",
        "<div id=toc><ul><li><a href=#x>NOISE</a></ul></div>",
        "<p class=author>NOISE<br>29 October 2025</p>",
        "<p><b>Next article: </b><a href=/b>NOISE</a><br><b>Previous article: </b><a href=/a>NOISE</a></p>",
        "<p><b>Next article: </b><a href=/b>NOISE</a><br><b><a href=/all>Blog Index</a></b></p>",
        "<a href=/edit class=md-content__button title='Edit this page'>Edit this page</a>",
    ],
)
def test_what_surrounds_the_content_is_dropped(noise):
    text = markdown(read(f"<main>{FILL}{noise}</main>"))

    assert text == PROSE


@pytest.mark.parametrize(
    "kept",
    [
        "<header><h1>Other</h1><p>KEPT</p></header>",
        "<aside class='starlight-aside note'>KEPT</aside>",
        "<div role=tabpanel hidden>KEPT</div>",
        "<div hidden=until-found>KEPT</div>",
        "<section id=pagination><h2>Pagination</h2><p>KEPT</p></section>",
        "<p>Next, see <a href=/x>KEPT</a>.</p>",
        "<p>To change it, <a href=/x>edit this page</a>, KEPT.</p>",
        "<ul><li><a href=/a>KEPT list of links</a><li><a href=/b>and links</a></ul>",
    ],
)
def test_what_only_looks_like_noise_stays(kept):
    assert "KEPT" in markdown(read(f"<article>{kept}{FILL}</article>"))


def test_text_behind_what_was_dropped_stays_in_place():
    assert markdown(content("<p>one<script>x</script>two</p>")).startswith("onetwo")


def test_invisible_characters_are_stripped():
    page = content("<p>a\u202eb\u200bc\u2066d\ufeffe\U000e0041f\u00adg&#7;h</p><pre>x\u202ey</pre>")

    assert markdown(page).startswith("abcdefgh\n\n```\nxy\n```")


# Which element is the content


def test_only_article_is_the_content():
    page = read(f"<main><p>{'menu ' * 15}</p><article>{FILL}</article></main>")

    assert (markdown(page), page.marked) == (PROSE, True)


def test_main_is_the_content_of_a_list_of_articles():
    page = read(f"<p>{'menu ' * 15}</p><main><article>{FILL}</article><article><p>two</p></article></main>")

    assert markdown(page) == f"{PROSE}\n\ntwo"


def test_empty_main_is_not_believed():
    page = read(f"<main></main><div>{FILL}</div>")

    assert (markdown(page), page.marked) == (PROSE, False)


def test_unmarked_content_is_found_between_menus():
    menu = "".join(f"<li><a href=/{n}>Entry number {n}</a></li>" for n in range(20))
    page = read(f"<div><ul>{menu}</ul></div><div><div>{FILL * 9}</div></div>")

    assert page.marked is False
    assert "Entry" not in markdown(page)


def test_guess_that_loses_most_of_the_page_gives_way_to_the_body():
    items = "".join(f"<li><a href=/{n}>Feature number {n} of the whole product</a></li>" for n in range(60))
    page = read(f"<div>{FILL}</div><ul>{items}</ul>")

    assert "Feature number 59" in markdown(page)


@pytest.mark.parametrize(
    "body", ["", "<p>Loading…</p>", "<div id=root></div><script>app()</script>", "<frameset></frameset>"]
)
def test_page_without_text_is_no_content(body):
    with pytest.raises(NoContent) as caught:
        read(body)
    assert URL in caught.value.message


def test_a_file_may_be_short_but_not_without_a_word():
    assert extract(b"A note.", "file:///notes.md", media_type="text/markdown").sections[0].text == "A note."
    with pytest.raises(NoContent) as caught:
        extract(b"---", "file:///notes.md", media_type="text/markdown")
    assert "browser" not in caught.value.hint


@pytest.mark.parametrize("body", [b"", b"   ", b"\0\0\0", b"<!-- -->"])
def test_document_without_elements_is_no_content(body):
    with pytest.raises(NoContent):
        extract(body, URL)


def test_words_in_code_count_as_text():
    code = "for i := range 10 { fmt.Println(i, i*i, i*i*i) } // prints ten numbers, squares and cubes, each on a line"

    assert read(f"<main><pre>{code}</pre></main>").sections[0].blocks[0].kind == "code"


def test_type_that_is_no_text_is_no_content():
    with pytest.raises(NoContent, match=r"an image \(png\), which cannot be read"):
        extract(b"x", URL, media_type="image/png")


def test_a_login_form_is_no_page():
    form = "<form><input name=user><input type=PASSWORD></form>"
    words = "Sign in to go on to the page that you have asked for, or make an account, which is free of charge. " * 2
    with pytest.raises(NoContent, match="asks for a login"):
        extract(f"<title>Log in</title><main><h1>Log in</h1><p>{words}</p>{form}</main>".encode(), URL)
    assert extract(f"<header>{form}</header><main><p>{words * 4}</p></main>".encode(), URL).sections


@pytest.mark.parametrize(
    "mark",
    [
        '<script type="application/ld+json">{"isAccessibleForFree": "False"}</script>',
        '<meta property="article:content_tier" content="locked">',
    ],
    ids=["schema.org", "content tier"],
)
def test_a_page_behind_a_paywall_says_that_it_is_a_beginning(mark):
    body = f"<head>{mark}</head><body><main><p>{PROSE}</p></main></body>".encode()
    assert "only its beginning" in extract(body, URL).notes[0]
    assert extract(body.replace(mark.encode(), b""), URL).notes == ()


@pytest.mark.slow
def test_hundred_thousand_nested_elements_end_in_an_error_not_a_crash():
    with pytest.raises(NoContent):
        extract(b"<div>" * 100_000 + PROSE.encode(), URL)


def test_two_thousand_nested_elements_are_read():
    page = extract(b"<div>" * 2_000 + PROSE.encode(), URL)

    assert markdown(page) == PROSE


# Links and facts


def test_links_are_absolute_without_fragment_and_once():
    page = read(
        f"<nav><a href='../up#x'>u</a></nav><main>{FILL}<a href='/a b'>a</a><a href='/a b#c'>a</a><a href='#x'>x</a>"
        "<a href='mailto:x@y'>m</a><a href='javascript:x'>j</a><a href='http://['>broken</a><a>none</a>"
        "<a href='https://other.test/\n'>o</a><a rel='ugc nofollow' href='/no'>no</a></main>"
    )

    assert page.links == (
        "https://docs.test/up",
        "https://docs.test/a%20b",
        "https://other.test/",
    )


def test_links_honour_base():
    page = read(f"<main>{FILL}<a href=x>x</a></main>", head="<base href='/other/'>")

    assert page.links == ("https://docs.test/other/x",)


def test_nofollow_page_offers_no_links():
    page = read(f"<main>{FILL}<a href=x>x</a></main>", head="<meta name=Robots content='noarchive, NOFOLLOW'>")

    assert page.links == ()


def test_author_and_day_come_from_the_byline():
    page = read(
        f"<main><h1>The Guide</h1><p class=author>Rob Pike<br>25 August 2014</p>{FILL * 3}</main>",
        head="<title>The Guide</title><meta name=author content='Rob Pike'>",
    )

    assert (page.author, page.date) == ("Rob Pike", "2014-08-25")


def test_day_in_the_prose_is_not_the_day_of_the_page():
    assert read(f"<main>{FILL}<p>Mon Jan 2 15:04:05 2006 is the layout.</p></main>").date == ""


# Characters

UMLAUTS = "Grüße aus Köln, ¡olé! " * 10


@pytest.mark.parametrize(
    ("codec", "charset", "meta"),
    [
        ("utf-8", "", ""),
        ("utf-8", "UTF-8", "<meta charset=iso-8859-1>"),
        ("utf-8-sig", "iso-8859-1", ""),
        ("utf-8", "no-such-charset", ""),
        ("utf-8", "", "<meta charset=utf-16>"),
        ("cp1252", "", ""),
        ("cp1252", "iso-8859-1", ""),
        ("cp1252", "", "<meta http-equiv=Content-Type content='text/html; charset=ISO-8859-1'>"),
        ("utf-16", "", ""),
        ("utf-16-be", "utf-16be", ""),
    ],
)
def test_characters_are_read_as_a_browser_reads_them(codec, charset, meta):
    body = f"<html><head>{meta}<title>Größe</title></head><body><main><p>{UMLAUTS}</p></main></body></html>".encode(
        codec
    )

    page = extract(body, URL, charset=charset)

    assert (page.title, markdown(page)) == ("Größe", UMLAUTS.strip())


def test_wrong_charset_does_not_fail():
    assert PROSE in markdown(extract(f"<main>{FILL}ü</main>".encode("latin-1"), URL, charset="utf-8"))


def test_codec_that_is_no_charset_is_ignored():
    assert PROSE in markdown(extract(f"<main>{FILL}\\x41</main>".encode(), URL, charset="unicode_escape"))


# Markdown and plain text

README = f"""---
title: "My notes"
---

{PROSE}

## Use `go test`

- one
- two

## Use `go test`

| a | b |
|---|---|
| 1 | 2 |

### Set {{#custom}}

```go
x := 1
```
See [there](other.md).
"""


def test_markdown_takes_the_same_path_with_the_ids_github_gives():
    page = extract(README.encode(), URL, media_type="text/markdown")

    assert page.title == "My notes"
    assert page.links == ("https://docs.test/guide/other.md",)
    assert [(section.anchor, section.text) for section in page.sections] == [
        ("", PROSE),
        ("use-go-test", "- one\n- two"),
        ("use-go-test-1", "| a | b |\n| 1 | 2 |"),
        ("custom", "```go\nx := 1\n```\n\nSee there."),
    ]
    assert page.sections[3].heading == ("My notes", "Use go test", "Set")


def test_markdown_without_front_matter_is_named_by_its_heading():
    page = extract(f"# Notes\n\n{PROSE}".encode(), URL, media_type="text/markdown")

    assert (page.title, page.sections[0].anchor, page.sections[0].heading) == ("Notes", "notes", ("Notes",))


def test_plain_text_is_cut_at_blank_lines_and_kept():
    page = extract(f"{PROSE}\n  indented\n\n \n<b>&amp;\r\n".encode(), URL, media_type="text/plain")

    (section,) = page.sections
    assert [piece.text for piece in pieces(section)] == [f"{PROSE}\n  indented", "<b>&amp;"]
    assert section.heading == ("page",)


# Spans


def blocks_of_html() -> st.SearchStrategy[tuple[str, list[str]]]:
    """Random small documents, and the text of each `pre` in them."""
    text = st.text("ab `*|<&\n\t#-é\u200b", max_size=12)
    code = st.text("ab`\n\t <&é", max_size=12)
    inline = st.one_of(
        text.map(html.escape),
        text.map(lambda t: f"<code>{html.escape(t)}</code>"),
        text.map(lambda t: f"<a href='{len(t)}'>{html.escape(t)}</a><br>"),
    )
    leaf: st.SearchStrategy[tuple[str, list[str]]] = st.one_of(
        inline.map(lambda t: (f"<p>{t}</p>", list[str]())),
        code.map(lambda t: (f"<pre>{html.escape(t)}</pre>", [t])),
        st.tuples(st.integers(1, 6), inline).map(lambda p: (f"<h{p[0]}>{p[1]}</h{p[0]}>", list[str]())),
        st.tuples(st.integers(1, 6), inline).map(lambda p: (f"<h{p[0]} id={p[0]}>{p[1]}</h{p[0]}>", list[str]())),
        st.just(("<img src=x alt=picture>", list[str]())),
    )

    def wrap(inner: st.SearchStrategy[tuple[str, list[str]]]) -> st.SearchStrategy[tuple[str, list[str]]]:
        tags = st.sampled_from(
            ["div", "ul><li", "ol><li", "blockquote", "table><tr><td", "dl><dd", "figure", "section", "b", "code"]
        )

        def close(tag: str) -> str:
            return "".join(f"</{name}>" for name in reversed(tag.split("><")))

        joined = st.lists(inner, max_size=4).map(
            lambda parts: ("".join(p[0] for p in parts), [code for p in parts for code in p[1]])
        )
        return st.tuples(tags, joined).map(lambda p: (f"<{p[0]}>{p[1][0]}{close(p[0])}", p[1][1]))

    return st.recursive(leaf, wrap, max_leaves=12)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(blocks_of_html())
def test_spans_are_exact_and_code_is_verbatim_whatever_the_markup(document):
    source, codes = document

    page = content(source)

    anchors = [section.anchor for section in page.sections]
    assert len(anchors) == len(set(anchors))
    for section in page.sections:
        end = 0
        for block in section.blocks:
            assert section.text[end : block.start].strip("\n") == ""
            assert block.start < block.end
            assert section.text[block.start : block.end].strip()
            end = block.end
        assert end == len(section.text)
        assert section == build(section.url, section.anchor, section.heading, pieces(section))
    for code in codes:
        if code.strip():
            assert code.replace("\u200b", "") in markdown(page)


# Repeats


def test_text_on_half_of_the_pages_and_on_five_is_repeated():
    pages = [{"menu", f"page {n}"} | ({"rare"} if n < 4 else set()) for n in range(8)]

    assert repeated(pages) == {"menu"}


def test_four_pages_are_too_few_to_tell():
    assert repeated([{"menu"}] * 4) == frozenset()


def test_repeats_are_taken_out_and_spans_follow():
    page = content("<h4>Menu</h4><p>Menu</p><ul><li>a</ul>")

    cleaned = without(page.sections[0], {"Menu", "#### Menu"})

    assert block_texts(page) == {"Menu", "- a", PROSE}
    assert [piece.text for piece in pieces(cleaned)] == ["#### Menu", "- a", PROSE]
    assert cleaned.text == f"#### Menu\n\n- a\n\n{PROSE}"


def test_section_without_repeats_is_returned_as_it_is():
    section = content("").sections[0]

    assert without(section, {"Menu"}) is section
