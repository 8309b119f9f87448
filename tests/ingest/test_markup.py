"""Org, reStructuredText and AsciiDoc say what Markdown says; no text of theirs is lost, and none is too strange."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragmacs_srv.errors import NoContent
from ragmacs_srv.ingest import files, rst
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.ingest.sections import pieces
from ragmacs_srv.model import Page

README: Final = Path(__file__).resolve().parents[2] / "README.md"
FORMS: Final = ("org", "rst", "adoc", "md")
WORDS: Final = (
    "The collector frees memory that nothing reaches, and it runs when the heap has grown by as much as GOGC says."
)


def page(text: str, suffix: str) -> Page:
    made = files.response(text.encode(), f"file:///x/notes.{suffix}", suffix=f".{suffix}")
    return extract(made.body, made.url, media_type=made.media_type)


def blocks(of: Page) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for section in of.sections for each in pieces(section)]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


# One content, written in four ways


def test_the_readme_says_the_same_in_every_markup() -> None:
    told = page(README.read_text(), "md")
    assert len(told.sections) > 10
    for form in ("org", "rst", "adoc"):
        other = page("\n\n".join(written(told, form)) + "\n", form)
        assert [each.heading for each in other.sections] == [each.heading for each in told.sections], form
        for one, two in zip(told.sections, other.sections, strict=True):
            assert words(two.text) == words(one.text), (form, one.heading)
            assert code(two.text) == code(one.text), (form, one.heading)


def code(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)\n```$", text, re.M | re.S)


def written(of: Page, form: str) -> Iterator[str]:
    """OF in another markup, block by block."""
    for section in of.sections:
        yield heading(section.heading[-1], len(section.heading), form)
        for each in pieces(section):
            if each.kind == "code":
                yield from verbatim(each.text, form)
            elif each.kind == "row":
                cells = [inline(cell.strip(), form) for cell in each.text.strip("|").split(" | ")]
                yield table(cells, form)
            else:
                yield inline(each.text.strip("[]") if each.kind == "image" else each.text, form)


def heading(name: str, level: int, form: str) -> str:
    marks = {"org": "*" * level, "adoc": "=" * level}
    return f"{marks[form]} {name}" if form in marks else f"{name}\n{'=-~^'[level - 1] * (len(name) + 1)}"


def verbatim(fenced: str, form: str) -> Iterator[str]:
    language, _, rest = fenced.lstrip("`").partition("\n")
    body = rest.rpartition("\n")[0]
    if form == "org":
        escaped = re.sub(r"^(\s*)(?=[*#,])", r"\1,", body, flags=re.M)
        yield f"#+begin_src {language}\n{escaped}\n#+end_src"
    elif form == "adoc":
        yield f"[source,{language}]\n----\n{body}\n----"
    else:
        yield f".. code-block:: {language}\n\n" + "\n".join(f"   {each}" for each in body.split("\n"))


def table(cells: list[str], form: str) -> str:
    if form == "rst":
        return ".. list-table::\n\n" + "\n".join(
            f"   {'* -' if n == 0 else '  -'} {cell}" for n, cell in enumerate(cells)
        )
    row = f"| {' | '.join(each.replace('|', '') for each in cells)}"
    return f"|===\n{row}\n|===" if form == "adoc" else row + " |"


def inline(text: str, form: str) -> str:
    """Markdown's inline markup, which here is code alone, as FORM has it; what would be markup there is escaped."""
    parts = re.split(r"(`[^`]+`)", text)
    marks = {"org": "={}=", "rst": "\\ ``{}``\\ ", "adoc": "`+{}+`"}
    escapes = {"rst": r"([*_|`\\<>])", "adoc": "()(?!)", "org": "()(?!)"}
    return "".join(
        marks[form].format(each[1:-1]) if each[:1] == "`" else re.sub(escapes[form], r"\\\1", each)
        for each in parts
        if each
    )


# What each of them has of its own

RST: Final = f"""
.. _start:

The Guide
=========

{WORDS} See :ref:`the costs <costs>`, :func:`~runtime.GC`, ``GOGC``, :pep:`8` and |version|.

.. toctree::
   :maxdepth: 2

   install
   Usage <use>

.. _costs:

What it *costs*
---------------

.. code-block:: go
   :emphasize-lines: 1

   x := 1

     y := 2

.. versionadded:: 1.5
   The pacer.

.. warning:: Take care.

   Much care.

.. py:function:: gc(full)
   :async:

   Collects.

.. tabs::

   .. tab:: Linux

      Use the package.

.. figure:: heap.png
   :strange: yes

   The heap.

.. raw:: html

   <script>alert(1)</script>

.. include:: /etc/passwd

Größe
-----

===== =======
small ``1``
large two
===== =======
"""


def test_what_sphinx_adds_to_rst_is_read_as_what_it_says() -> None:
    made = page(RST, "rst")
    assert made.title == "The Guide"
    assert [(each.anchor, each.heading[-1]) for each in made.sections] == [
        ("the-guide", "The Guide"),
        ("what-it-costs", "What it costs"),
        ("grosze", "Größe"),
    ]
    assert blocks(made) == [
        ("paragraph", f"{WORDS} See the costs, `runtime.GC`, `GOGC`, PEP 8 and version."),
        ("item", "- install"),
        ("item", "- Usage"),
        ("code", "```go\nx := 1\n\n  y := 2\n```"),
        ("paragraph", "Added in version 1.5 The pacer."),
        ("paragraph", "Warning"),
        ("paragraph", "Take care."),
        ("paragraph", "Much care."),
        ("paragraph", "`gc(full)`"),
        ("paragraph", "Collects."),
        ("paragraph", "Linux"),
        ("paragraph", "Use the package."),
        ("code", "```\n.. figure:: heap.png\n   :strange: yes\n\n   The heap.\n```"),
        ("row", "| small | `1` |"),
        ("row", "| large | two |"),
    ]
    assert made.notes == ("it includes files that were not read with it: /etc/passwd",)
    assert "root:" not in made.markdown()


def test_rst_reads_no_file_and_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docutils.conf").write_text("[general]\nfile_insertion_enabled: yes\nraw_enabled: yes\n")
    (tmp_path / "secret").write_text("hunter2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCUTILSCONFIG", str(tmp_path / "docutils.conf"))
    asks = f".. include:: secret\n\n.. csv-table::\n   :file: secret\n\n.. raw:: html\n   :file: secret\n\n{WORDS}"
    assert "hunter2" not in page(asks, "rst").markdown()


def test_an_rst_image_is_not_read_whatever_it_asks(tmp_path: Path) -> None:
    picture, pipe = tmp_path / "secret.svg", tmp_path / "pipe.png"
    picture.write_text("<svg xmlns='http://www.w3.org/2000/svg'><text>hunter2</text></svg>")
    os.mkfifo(pipe)  # whoever opened it would wait for ever
    asks = f".. image:: {picture}\n   :loading: embed\n\n.. figure:: {pipe}\n   :loading: embed\n\n{WORDS}"
    assert "hunter2" not in rst.html(asks)


def test_what_a_document_defines_ends_with_it() -> None:
    page(f".. role:: ref(code)\n\n{WORDS}", "rst")
    assert page(f"See :ref:`words`. {WORDS}", "rst").sections[0].text == f"See words. {WORDS}"


ADOC: Final = f"""= The Guide
Jane Doe <jane@x.test>
:goc: GOGC
// a comment

{WORDS} See <<costs,the costs>>, `{{goc}}`, https://go.dev/doc[*the* docs] and {{unknown}}.

== What's it _cost_?

[source,go,linenums]
----
x := 1 // <1>

== no heading
----
<1> One.

* one
  goes on
** two
+
more

. [x] first

Term:: Said of it.

[[costs]]
=== Costs

[NOTE]
====
Inside.
====

TIP: Take care.

[cols="1,2"]
|===
|small |`1`

|large
|two
|===

include::other.adoc[]

ifdef::html[]
Under a condition.
endif::[]

 literal
   text

image::heap.png[The heap, 200]

== Costs

[#own.role]
== Costs

== Costs

////
unseen
////

Old
---
Last.
"""


def test_asciidoc_is_read_as_asciidoctor_reads_it() -> None:
    made = page(ADOC, "adoc")
    assert made.title == "The Guide"
    assert [(each.anchor, each.heading[-1]) for each in made.sections] == [
        ("", "The Guide"),
        ("_whats_it_cost", "What's it cost?"),
        ("costs", "Costs"),
        ("_costs", "Costs"),
        ("own", "Costs"),
        ("_costs_2", "Costs"),
        ("_old", "Old"),
    ]
    assert blocks(made) == [
        ("paragraph", "Jane Doe <jane@x.test>"),
        ("paragraph", f"{WORDS} See the costs, `GOGC`, the docs and {{unknown}}."),
        ("code", "```go\nx := 1 // <1>\n\n== no heading\n```"),
        ("item", "1. One."),
        ("item", "- one goes on"),
        ("item", "  - two"),
        ("paragraph", "more"),
        ("item", "1. [x] first"),
        ("paragraph", "Term"),
        ("item", ": Said of it."),
        ("paragraph", "NOTE:"),
        ("paragraph", "Inside."),
        ("paragraph", "TIP: Take care."),
        ("row", "| small | `1` |"),
        ("row", "| large | two |"),
        ("paragraph", "Under a condition."),
        ("code", "```\nliteral\n  text\n```"),
        ("image", "[image: The heap]"),
        ("paragraph", "Last."),
    ]
    assert made.links == ("https://go.dev/doc",)
    assert made.notes == ("it includes files that were not read with it: other.adoc",)


@pytest.mark.parametrize(
    ("title", "attributes", "anchor"),
    [
        ("Install -- on Debian 12.1", "", "_install_on_debian_12_1"),
        ("Q & A: `go build`!", "", "_q_a_go_build"),
        ("Größe", "", "_größe"),
        ("What is new", ":idprefix:\n:idseparator: -\n", "what-is-new"),
        ("What is new", ":idprefix: id-\n:idseparator:\n", "id-whatisnew"),
    ],
)
def test_the_ids_of_asciidoc_headings_are_those_of_asciidoctor(title: str, attributes: str, anchor: str) -> None:
    (section,) = page(f"= T\n{attributes}\n== {title}\n\n{WORDS}", "adoc").sections
    assert section.anchor == anchor


# Whatever the text


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(alphabet=st.sampled_from("ab \n\t=-*.:|[]`_#+<>{}~^/\\'\"(),;1\x0b\0é")) | st.text())
@settings(deadline=None)
@example(text="|===\n|a\n")
@example(text="* " * 500 + WORDS)
@example(text=".. a::\n" + "".join(f"{' ' * n}.. a::\n" for n in range(1, 300)) + WORDS)
def test_no_text_is_too_strange(form: str, text: str) -> None:
    try:
        made = page(f"{text}\n\n{WORDS}" if text.strip() else text, form)
    except NoContent:
        return
    anchors = [each.anchor for each in made.sections]
    assert not any(re.search(r"[\s<>#]", each) for each in anchors)
    assert len(set(anchors)) == len(anchors)


WORD: Final = st.text("abcdeé", min_size=2, max_size=6) | st.sampled_from(["end.", "so,", "what?"])


@pytest.mark.parametrize("form", FORMS)
@given(
    paragraphs=st.lists(st.lists(WORD, min_size=2, max_size=6), min_size=1, max_size=5),
    indent=st.sampled_from(["", "- ", "1. "]),
)
def test_no_word_of_prose_is_lost(form: str, paragraphs: list[list[str]], indent: str) -> None:
    prose = "\n\n".join([WORDS, *(indent + " ".join(each) for each in paragraphs)])
    read = " ".join(section.text for section in page(prose, form).sections)
    assert re.findall("[a-zé]+", read) == re.findall("[a-zé]+", prose)


def test_what_docutils_cannot_read_is_still_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> str:
        raise RecursionError

    monkeypatch.setattr(rst, "html", broken)
    assert page(f"Title\n=====\n\n{WORDS}", "rst").sections[0].text.endswith(WORDS)
