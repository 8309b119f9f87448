"""Info manuals become pages: where they are found, what their nodes say, and that Emacs opens every one of them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import AddressRefused, FetchError, NoContent
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import infotext, texinfo
from ragmacs_srv.ingest.kinds import info
from ragmacs_srv.model import Page

OPEN: Final = Path(__file__).parents[1] / "elisp" / "open-nodes.el"
TOP: Final = """\
File: pond.info,  Node: Top,  Next: Frogs & co.,  Up: (dir)

The Pond
********

All about the pond.

* Menu:

* Frogs & co.::   What jumps.
* Index::
"""
FROGS: Final = """\
File: pond.info,  Node: Frogs & co.,  Next: Tadpoles,  Prev: Top,  Up: Top

2 ‘frog’ and Others
*******************

* Menu:

* Tadpoles: Tadpoles.   What jumps
                         later.
"""
TADPOLES: Final = """\
File: pond.info,  Node: Tadpoles,  Next: Index,  Up: Frogs & co.

2.1 Tadpoles
============

A tadpole has a tail.
"""
INDEX: Final = """\
File: pond.info,  Node: Index,  Prev: Tadpoles,  Up: Top

Index
*****

\0\b[index\0\b]
* Menu:

* frog:                 Frogs & co..   (line  3)
* tail:                 Tadpoles.      (line  6)
"""
HEAD: Final = (
    "This is pond.info, produced by hand.\n\nSTART-INFO-DIR-ENTRY\n* Pond: (pond).  Water.\nEND-INFO-DIR-ENTRY\n\n"
)
TAIL: Final = "\x1f\nTag Table:\nNode: Top\x7f999\n\x1f\nEnd Tag Table\n\n\x1f\nLocal Variables:\ncoding: {}\nEnd:\n"


def manual(*nodes: str, coding: str = "utf-8") -> bytes:
    return (HEAD + "".join(f"\x1f\n{node}\n" for node in nodes) + TAIL.format(coding)).encode(coding)


def page(*nodes: str, coding: str = "utf-8") -> Page:
    return info.page(manual(*nodes, coding=coding), "info:pond")


def blocks(text: str) -> list[str]:
    return [piece.text for piece in infotext.read(text.split("\n"))[1]]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder where manuals are; one is."""
    (tmp_path / "pond.info").write_bytes(manual(TOP, FROGS, TADPOLES, INDEX))
    monkeypatch.setenv("INFOPATH", str(tmp_path))
    return tmp_path


# Finding


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("info:elisp", "info:elisp"),
        ("INFO:elisp#Buffers", "info:elisp"),
        ("info:emacs/transient", "info:transient"),
        ("info:dired-x.info", "info:dired-x"),
        ("info:", "info:"),
    ],
)
def test_an_address_has_one_spelling(address: str, url: str) -> None:
    assert info.canonical(address) == url


@pytest.mark.parametrize("address", ["info:..", "info:../..", "info:a/", "info:.info", "info:-x", "info:a b", "info:é"])
def test_what_names_no_manual_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        info.canonical(address)


def test_a_manual_that_is_not_installed_is_gone_and_says_which_is_meant(installed: Path) -> None:
    with pytest.raises(FetchError, match="no Info manual 'pont' is installed") as caught:
        info.read("info:pont", None, Cancel())
    assert caught.value.status == 404
    assert "did you mean 'pond'" in caught.value.hint


def test_the_first_folder_of_the_path_wins(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = installed / "other"
    other.mkdir()
    (other / "pond.info").write_bytes(manual(TOP.replace("The Pond", "Another pond")))
    (other / "lake.info").write_bytes(manual(TOP))
    (other / "dir").write_text("")
    monkeypatch.setenv("INFOPATH", f"{other}:{installed}")
    assert list(info.pages("info:", None, Cancel())) == ["info:lake", "info:pond"]
    assert b"Another pond" in info.read("info:pond", None, Cancel()).body


def test_a_path_that_ends_with_a_colon_adds_to_the_usual_places(tmp_path: Path) -> None:
    assert list(info.folders({"INFOPATH": str(tmp_path)})) == [tmp_path]
    more = list(info.folders({"INFOPATH": f"{tmp_path}:", "PATH": ""}))
    assert more[0] == tmp_path
    assert Path("/usr/share/info") in more


def test_the_manuals_of_emacs_packages_are_found(tmp_path: Path) -> None:
    package = tmp_path / ".emacs.d/elpa/pond-1.0"
    package.mkdir(parents=True)
    (package / "dir").write_text("")
    (package / "pond.info").write_bytes(manual(TOP))
    assert info.find("pond", {"HOME": str(tmp_path), "PATH": ""}) == [package / "pond.info"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_a_packed_manual_is_the_same_manual(installed: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    plain = (installed / "pond.info").read_bytes()
    (installed / f"lake.info{suffix}").write_bytes(pack(plain))
    assert info.read("info:lake", None, Cancel()).body == plain


def test_the_parts_of_a_split_manual_are_put_together_in_order(installed: Path) -> None:
    shared = "\x1f\nIndirect:\nlake.info-1: 99\nlake.info-2: 999\n" + TAIL.format("utf-8")
    (installed / "lake.info.gz").write_bytes(gzip.compress((HEAD + shared).encode()))
    (installed / "lake.info-1.gz").write_bytes(gzip.compress(f"{HEAD}\x1f\n{TOP}\x1f\n{FROGS}".encode()))
    (installed / "lake.info-2.gz").write_bytes(gzip.compress(f"{HEAD}\x1f\n{TADPOLES}".encode()))
    body = info.read("info:lake", None, Cancel()).body
    assert [each.anchor for each in info.page(body, "info:lake").sections] == ["Top", "Frogs-_0026-co_002e", "Tadpoles"]
    assert list(info.pages("info:", None, Cancel())) == ["info:lake", "info:pond"]


def test_a_manual_is_read_again_only_when_a_file_of_it_changed(installed: Path) -> None:
    first = info.read("info:pond", None, Cancel())
    again = info.read("info:pond", None, Cancel(), etag=first.etag)
    assert (first.status, again.status, again.body) == (200, 304, b"")
    os.utime(installed / "pond.info", ns=(1, 1))
    assert info.read("info:pond", None, Cancel(), etag=first.etag).status == 200


def test_a_damaged_file_fails_and_is_not_gone(installed: Path) -> None:
    (installed / "lake.info.gz").write_bytes(gzip.compress(manual(TOP))[:60])
    with pytest.raises(FetchError, match=r"lake\.info\.gz cannot be read") as caught:
        info.read("info:lake", None, Cancel())
    assert caught.value.status == 0


# Nodes


@given(name=st.text())
def test_the_name_of_a_node_comes_back_from_its_anchor(name: str) -> None:
    anchor = texinfo.encode(name)
    assert texinfo.decode(anchor) == name
    assert re.fullmatch(r"[A-Za-z0-9_-]*", anchor)


@pytest.mark.parametrize(
    ("name", "anchor"),
    [
        ("Buffer Names", "Buffer-Names"),
        ("Floating-Point Type", "Floating_002dPoint-Type"),
        ("%-Constructs", "_0025_002dConstructs"),
        ("café", "caf_00e9"),
        ("🐸", "__01f438"),
    ],
)
def test_anchors_are_those_of_texinfo(name: str, anchor: str) -> None:
    assert texinfo.encode(name) == anchor


def test_a_node_is_a_section_under_the_nodes_above_it() -> None:
    made = page(TOP, FROGS, TADPOLES, INDEX)
    assert made.title == "The Pond"
    assert [(each.link, each.heading) for each in made.sections] == [
        ("info:pond#Top", ("The Pond",)),
        ("info:pond#Frogs-_0026-co_002e", ("The Pond", "frog and Others")),
        ("info:pond#Tadpoles", ("The Pond", "frog and Others", "Tadpoles")),
        ("info:pond#Index", ("The Pond", "Index")),
    ]


def test_menus_are_left_out_unless_a_node_has_nothing_else() -> None:
    top, frogs, _, index = page(TOP, FROGS, TADPOLES, INDEX).sections
    assert top.text == "All about the pond."
    assert frogs.text == "- Tadpoles: What jumps later."
    assert index.text == "An index of 2 entries."


def test_text_behind_a_menu_is_kept() -> None:
    assert blocks("Before.\n\n* Menu:\n\n* A::   One.\n\nAfter\n\n* B:: Two.\n\nBehind.") == ["Before.", "Behind."]


def test_nodes_that_stand_above_each_other_end() -> None:
    one = "File: pond.info,  Node: A,  Up: B\n\nText.\n"
    other = "File: pond.info,  Node: B,  Up: A\n\nText.\n"
    assert [each.anchor for each in page(one, other).sections] == ["A", "B"]


def test_a_title_is_told_by_the_top_node_the_directory_entry_or_the_address() -> None:
    untitled = TADPOLES.replace("Node: Tadpoles", "Node: Top")
    assert page(untitled).title == "Tadpoles"
    assert page(TADPOLES).title == "Pond"
    assert info.page(manual(TADPOLES).replace(b"* Pond: (pond)", b"* "), "info:pond").title == "pond"


@pytest.mark.parametrize("coding", ["utf-8", "iso-8859-1"])
def test_the_coding_is_the_one_the_manual_names(coding: str) -> None:
    assert (
        page(TADPOLES.replace("tail", "Schwänzchen"), coding=coding).sections[0].text == "A tadpole has a Schwänzchen."
    )


def test_quoted_names_of_nodes_may_hold_commas() -> None:
    node = "File: pond.info,  Node: \x7fa, b\x7f,  Up: Top\n\nText.\n"
    assert page(node).sections[0].anchor == texinfo.encode("a, b")


def test_a_file_without_nodes_holds_nothing() -> None:
    with pytest.raises(NoContent, match="no nodes"):
        info.page(b"This is no Info file.\n", "info:pond")


# Text


def test_a_paragraph_is_one_line() -> None:
    assert blocks("One\nand two.\n\n   Three\nand four.") == ["One and two.", "Three and four."]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("It croaks (*note\nFrogs::).", "It croaks (see Frogs)."),
        ("It croaks.  *Note Frogs::.", "It croaks. See Frogs."),
        ("As told in *note Frogs::, it croaks.", "As told in Frogs, it croaks."),
        ("For more, *note Frogs::.", "For more, see Frogs."),
        ("*Note Two Frogs: (pond)Frogs.", "See Two Frogs (pond)."),
        ("*Note (pond)Two Frogs::.", "See Two Frogs (pond)."),
        ("*Note (pond)::.", "See Top (pond)."),
        ("Call ‘frog’, ‘pond’s’ and ‘ ’.", "Call `frog`, `pond`s’ and ‘ ’."),
        ("Call `frog' or 'toad', don't wait.", "Call `frog` or `toad`, don't wait."),
    ],
)
def test_references_and_code_are_read_as_people_read_them(written: str, read: str) -> None:
    assert blocks(written) == [read]


def test_a_definition_is_an_item_that_its_text_explains() -> None:
    text = """\
 -- Function: frog-jump distance
          &optional height
 -- Command: frog-leap
     Jump as far
     as DISTANCE.

     Return ‘t’.

          (frog-jump 3)
               ⇒ t

   After that."""
    assert blocks(text) == [
        "- Function: `frog-jump distance &optional height`",
        "- Command: `frog-leap`",
        ": Jump as far as DISTANCE.",
        "Return `t`.",
        "```\n(frog-jump 3)\n     ⇒ t\n```",
        "After that.",
    ]


def test_terms_stand_above_what_they_mean() -> None:
    text = "‘-a’\n‘--all’\n     All frogs.\n\n     Even green ones:\n          frog -a\n\n‘-b’\n     Blue ones."
    assert blocks(text) == [
        "`-a`, `--all`", ": All frogs.", "Even green ones:", "```\nfrog -a\n```", "`-b`", ": Blue ones.",
    ]  # fmt: skip


def test_an_example_right_below_a_sentence_is_code() -> None:
    assert blocks("For instance:\n     (frog)") == ["For instance:", "```\n(frog)\n```"]


def test_an_example_keeps_its_lines_and_its_blank_ones() -> None:
    assert (
        blocks("Text.\n\n     (defun a ()\n       1)\n\n     (a)\n\nMore.")[1] == "```\n(defun a ()\n  1)\n\n(a)\n```"
    )


def test_a_quotation_is_no_code() -> None:
    quotation = "     Common Lisp note: In Common Lisp, frogs are always folded to\n     upper case, unless escaped."
    assert blocks(f"Text.\n\n{quotation}")[1].startswith(
        "Common Lisp note: In Common Lisp, frogs are always folded to u"
    )


def test_items_nest() -> None:
    text = "   • One\n     goes on.\n\n     And on.\n\n        1. Inner.\n\n   • Two."
    assert blocks(text) == ["- One goes on.", "And on.", "1. Inner.", "- Two."]


def test_headings_columns_and_footnotes_inside_a_node() -> None:
    text = "Inner\n.....\n\nFrog   green\nToad   brown\n\nText.(1)\n\n   ---- Footnotes ----\n\n   (1) Small\nprint."
    heading, pieces = infotext.read(f"1.2 Outer\n=========\n\n{text}".split("\n"))
    assert heading == "Outer"
    shown = ["#### Inner", "```\nFrog   green\nToad   brown\n```", "Text.(1)", "(1) Small print."]
    assert [each.text for each in pieces] == shown


@given(text=st.text(alphabet="ab ‘’*:-=.\n()\x7f1N", max_size=400))
def test_no_text_is_too_strange(text: str) -> None:
    infotext.read(text.split("\n"))


# What is installed here


def whole(name: str, environ: dict[str, str]) -> tuple[str, Page]:
    """The text of the manual NAME, and its page."""
    body = b"".join(gzip.decompress(path.read_bytes()) for path in info.find(name, environ))
    return texinfo.text(body), info.page(body, f"info:{name}")


@pytest.fixture
def here() -> dict[str, str]:
    """Where the manuals of this machine are, and those in the folder $TEST_INFO."""
    return {"INFOPATH": f"{os.environ.get('TEST_INFO', '')}:", "PATH": os.environ["PATH"]}


def packed(name: str, environ: dict[str, str]) -> int:
    """The bytes that the manual NAME takes, or 0 where it is not packed as usual."""
    files = info.find(name, environ)
    return sum(path.stat().st_size for path in files) if all(path.suffix == ".gz" for path in files) else 0


@pytest.mark.slow
def test_every_node_of_the_shorter_manuals_of_this_machine_is_a_section(here: dict[str, str]) -> None:
    names = [each for each in info.manuals(here) if 0 < packed(each, here) < 50_000]
    if not names:
        pytest.skip("no Info manuals here: install info, or one of Emacs")
    for name in names:
        text, made = whole(name, here)
        tags = re.findall(r"^Node: ([^\x7f\n]+)\x7f", text, re.MULTILINE)
        assert {texinfo.encode(each) for each in tags} == {each.anchor for each in made.sections}, name


@pytest.mark.emacs
@pytest.mark.skipif(not shutil.which("emacs"), reason="emacs is not installed")
def test_emacs_opens_every_section_of_the_lisp_manual(here: dict[str, str], tmp_path: Path) -> None:
    if not info.find("elisp", here):
        pytest.skip("no Emacs Lisp manual: install emacs-common-non-dfsg, or name its folder in TEST_INFO")
    text, made = whole("elisp", here)
    links = tmp_path / "links"
    links.write_text("\n".join(each.link for each in made.sections))
    command = ["emacs", "-Q", "--batch", "-l", str(OPEN)]
    environ = {**os.environ, **here, "TEST_LINKS": str(links)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout == "", done.stderr
    assert f"{len(made.sections)} of {len(made.sections)} opened" in done.stderr
    assert len(made.sections) >= 0.99 * text.count("\x1f\nFile:") > 900


@pytest.mark.slow
def test_what_a_function_is_called_finds_its_node(here: dict[str, str]) -> None:
    if not info.find("elisp", here):
        pytest.skip("no Emacs Lisp manual: install emacs-common-non-dfsg, or name its folder in TEST_INFO")
    sections = {each.anchor: each.text for each in whole("elisp", here)[1].sections}
    assert "- Function: `mapcar function sequence`\n: `mapcar` applies FUNCTION" in sections["Mapping-Functions"]
    assert '```\n(get-buffer-create "foo")\n     ⇒ #<buffer foo>\n```' in sections["Creating-Buffers"]
    assert len(sections["Index"]) < 100
    assert not any("* Menu:" in text for anchor, text in sections.items())
