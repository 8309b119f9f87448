"""Man pages become pages: whom they are asked from, and what their columns say."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import AddressRefused, Cancelled, FetchError
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import mantext
from ragmacs_srv.ingest.kinds import man
from ragmacs_srv.ingest.sections import Heading
from ragmacs_srv.model import Page

PROSE: Final = "The frog jumps from leaf to leaf, and nobody knows whether it ever comes back to the one it left. " * 4
FROG: Final = rf"""
.TH FROG 1 2026-01-01 "Pond 1.0" "Pond Manual"
.SH NAME
frog \- jump from leaf to leaf
.SH SYNOPSIS
.nf
\fBfrog\fR [\fIOPTION\fR]...
     [\fILEAF\fR]
.fi
.SH DESCRIPTION
{PROSE}
.PP
It is green.
.SS Kinds of frogs
.IP \(bu 2
Small ones.
.IP \(bu
Large ones.
.SH OPTIONS
.TP
\fB\-a\fR, \fB\-\-all\fR
Jump over all leaves.
.IP
Even over small ones.
.TP
.B \-h
Help.
.TP
.B \-\-long
Jump far.
.SH EXAMPLES
Jump twice:
.PP
.RS 4
.nf
frog leaf &&
  frog leaf
.fi
.RE
.SH SEE ALSO
toad(1)
.SH SEE ALSO
newt(1)
"""
TOAD: Final = r"""
.Dd January 1, 2026
.Dt TOAD 1
.Os
.Sh NAME
.Nm toad
.Nd sit under a stone
.Sh SYNOPSIS
.Nm
.Op Fl s Ar stone
.Sh DESCRIPTION
It sits.
.Bl -tag -width Ds
.It Fl s Ar stone
Sit under
.Ar stone .
.It Fl v
Say so.
.El
"""


def blocks(printed: str) -> list[str]:
    """The blocks of one section of a page, as it is printed."""
    parts = mantext.read(
        f"FROG(1)          Pond Manual          FROG(1)\n\nDESCRIPTION\n{printed}\n\nPond 1.0     FROG(1)\n"
    )[1]
    assert [each.text for each in parts if isinstance(each, Heading)] == ["DESCRIPTION"]
    return [each.text for each in parts if not isinstance(each, Heading)]


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("man:ls", "man:ls"),
        ("MAN:ls(1)#NAME", "man:ls(1)"),
        ("man:[(1)", "man:[(1)"),
        ("man:a::b(3pm)", "man:a::b(3pm)"),
    ],
)
def test_an_address_has_one_spelling(address: str, url: str) -> None:
    assert man.canonical(address) == url


@pytest.mark.parametrize(
    "address", ["man:", "man:-k", "man:../etc", "man:a/b", "man:a b", "man:a(-l)", "man:a(1", "man:.a"]
)
def test_what_could_be_an_option_or_a_file_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        man.canonical(address)


# What is printed


@pytest.mark.parametrize(
    ("printed", "read"),
    [
        ("       One.\n\n       Two.", ["One.", "Two."]),
        ("       -a     All.\n\n              More.", ["`-a`", ": All.", "More."]),
        ("       --help Help.", ["`--help`", ": Help."]),
        ("       -a\n       --all\n              All.", ["`-a`, `--all`", ": All."]),
        ("       -a\n              All.\n       -b\n              Blue.", ["`-a`", ": All.", "`-b`", ": Blue."]),
        ("       •  One.\n\n       •  Two.", ["- One.", "- Two."]),
        ("       1.  One.\n\n       2.  Two.", ["1. One.", "2. Two."]),
        ("       It ends.  It begins.", ["It ends. It begins."]),
        ("       Call:\n\n           frog --all\n\n       Then.", ["Call:", "```\nfrog --all\n```", "Then."]),
        ("       int\n       main()\n       {\n           a();\n       }", ["```\nint\nmain()\n{\n    a();\n}\n```"]),
        ("       b\x08bold _\x08i and \x1b[1mmore\x1b[0m.", ["bold i and more."]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_columns_say_what_a_line_is(printed: str, read: list[str]) -> None:
    assert blocks(printed) == read


def test_lines_that_were_filled_are_one_paragraph() -> None:
    filled = ("       " + "frog " * 13).rstrip()
    assert blocks(f"{filled}\n{filled}\n       end.") == [("frog " * 26) + "end."]


def test_anchors_are_headings_without_blanks_each_once() -> None:
    printed = "SEE ALSO\n       a\n\nSEE ALSO\n       b\n   <Sub>  #1\n       c\n"
    anchors = [each.anchor for each in mantext.read(printed)[1] if isinstance(each, Heading)]
    assert anchors == ["SEE_ALSO", "SEE_ALSO~2", "_Sub_1"]


@given(text=st.text(alphabet="ab  -.\n\t\b\x1b[1m(){}", max_size=400))
def test_no_text_is_too_strange(text: str) -> None:
    mantext.read(text)


# What is asked


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of man pages; two are there."""
    folder = tmp_path / "man" / "man1"
    folder.mkdir(parents=True)
    (folder / "frog.1").write_text(FROG.lstrip())
    (folder / "toad.1").write_text(TOAD.lstrip())
    monkeypatch.setenv("MANPATH", str(folder.parent))
    return folder


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Make a shell script be the `man` of this machine."""

    def put(script: str) -> None:
        program = tmp_path / "bin" / "man"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    yield put


def read(name: str) -> Page:
    (url,) = man.pages(f"man:{name}", None, Cancel())
    return man.page(man.read(url, None, Cancel()).body, url)


real = pytest.mark.skipif(not shutil.which("man"), reason="man is not installed: apt install man-db groff-base")


@real
@pytest.mark.slow
def test_a_page_is_cut_at_its_headings(installed: Path) -> None:
    made = read("frog")
    assert (made.url, made.title) == ("man:frog(1)", "frog(1): jump from leaf to leaf")
    assert [(each.anchor, each.heading[1:]) for each in made.sections] == [
        ("NAME", ("NAME",)),
        ("SYNOPSIS", ("SYNOPSIS",)),
        ("DESCRIPTION", ("DESCRIPTION",)),
        ("Kinds_of_frogs", ("DESCRIPTION", "Kinds of frogs")),
        ("OPTIONS", ("OPTIONS",)),
        ("EXAMPLES", ("EXAMPLES",)),
        ("SEE_ALSO", ("SEE ALSO",)),
        ("SEE_ALSO~2", ("SEE ALSO",)),
    ]
    assert [each.text for each in made.sections] == [
        "frog - jump from leaf to leaf",
        "```\nfrog [OPTION]...\n     [LEAF]\n```",
        f"{PROSE.strip()}\n\nIt is green.",
        "- Small ones.\n- Large ones.",
        "`-a, --all`\n: Jump over all leaves.\n\nEven over small ones.\n\n`-h`\n: Help.\n\n`--long`\n: Jump far.",
        "Jump twice:\n\n```\nfrog leaf &&\n  frog leaf\n```",
        "toad(1)",
        "newt(1)",
    ]


@real
@pytest.mark.slow
def test_pages_in_the_macros_of_bsd_are_read_alike(installed: Path) -> None:
    made = read("toad(1)")
    assert made.title == "toad(1): sit under a stone"
    assert made.sections[1].text == "```\ntoad [-s stone]\n```"
    assert made.sections[2].text == "It sits.\n\n`-s stone`\n: Sit under stone.\n\n`-v`\n: Say so."


@real
@pytest.mark.slow
def test_a_page_is_printed_again_only_when_its_file_changed(installed: Path) -> None:
    first = man.read("man:frog(1)", None, Cancel())
    again = man.read("man:frog(1)", None, Cancel(), etag=first.etag)
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert man.read("man:frog", None, Cancel(), etag=first.etag).url == "man:frog(1)"
    os.utime(installed / "frog.1", ns=(1, 1))
    assert man.read("man:frog(1)", None, Cancel(), etag=first.etag).status == 200


@real
@pytest.mark.slow
def test_a_page_that_is_not_there_is_gone(installed: Path) -> None:
    with pytest.raises(FetchError, match=r"no man page newt\(1\)") as caught:
        man.read("man:newt(1)", None, Cancel())
    assert caught.value.status == 404


def test_without_man_pages_are_kept_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FetchError, match="no `man` on this machine") as caught:
        man.read("man:frog(1)", None, Cancel())
    assert caught.value.status == 0


def test_a_placeholder_of_man_is_told(pretend: Callable[[str], None]) -> None:
    pretend('echo "This system has been minimized by removing packages and content."')
    with pytest.raises(FetchError, match="does not say where its pages are"):
        man.read("man:frog(1)", None, Cancel())


def running(pid: int) -> bool:
    """Whether the process PID does anything; one that nobody waits for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_man_that_hangs_ends_when_the_user_has_enough(pretend: Callable[[str], None], tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    os.mkfifo(pid)
    pretend(f"sleep 100 &\necho $! >{pid}\nwait")
    cancel, child = Cancel(), []

    def stop() -> None:
        child.append(int(pid.read_text()))
        cancel.cancel()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Cancelled):
        man.read("man:frog(1)", None, cancel)
    stopper.join()
    deadline = time.monotonic() + 10
    while running(child[0]) and time.monotonic() < deadline:
        pass
    assert not running(child[0])


def test_man_sees_nothing_of_the_environment_that_it_does_not_need(
    pretend: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("RAGMACS_LLM_KEY", "secret")
    monkeypatch.setenv("MANROFFOPT", "-Tps")
    pretend(f"env >{seen}")
    with pytest.raises(FetchError):
        man.read("man:frog(1)", None, Cancel())
    names = {each.partition("=")[0] for each in seen.read_text().splitlines()}
    assert names.isdisjoint({"RAGMACS_LLM_KEY", "MANROFFOPT"})
