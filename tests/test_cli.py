"""The command line as its users meet it: lexical mode, so that no model is needed."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from rich import markup

from ragmacs_srv.cli import terminal
from ragmacs_srv.cli.terminal import cli
from ragmacs_srv.events import Progress
from ragmacs_srv.model import Page
from ragmacs_srv.search.store import Store
from tests import demo_site
from tests.conftest import Cli, Done
from tests.llm_server import says, scripted
from tests.pdfs import encrypted, pdf
from tests.search import library
from tests.servers import Answer, Site, Visit, serve

QUESTION = "Why is my heap about twice as large as my live data?"


@pytest.fixture
def guide(run: Cli, site: Site) -> Iterator[Site]:
    """The demo site with its guide indexed under go.dev's name."""
    assert (
        run("crawl", "https://go.dev/doc/gc-guide", "--depth", "0", "--mirror", f"https://go.dev={site.origin}").code
        == 0
    )
    yield site


def test_the_first_question_is_answered_from_the_handbook_with_citations(run: Cli, home: Path) -> None:
    shutil.rmtree(home)
    done = run("ask", QUESTION)
    assert done.code == 0
    assert "[1]" in done.out
    assert "[2]" in done.out
    assert "<handbook:gogc-and-gomemlimit#" in done.out
    assert "ragmacs crawl go-gc" in done.err


def test_a_mirrored_page_is_cited_by_its_own_address(run: Cli, guide: Site) -> None:
    done = run("ask", QUESTION, "--json")
    first = done.json["citations"][0]
    assert first["link"] == "https://go.dev/doc/gc-guide#GOGC"
    assert first["fetched_from"] == f"{guide.origin}/doc/gc-guide"
    assert done.json["mode"] == "lexical"


def test_search_gives_sections_in_the_documented_shape(run: Cli, guide: Site) -> None:
    found = run("search", "memory limit in containers", "--json", "-n", "2").json
    keys = {"url", "anchor", "link", "title", "heading", "text", "score", "collection", "fetched_at", "fetched_from"}
    assert set(found) >= {"results", "mode", "confidence", "generation", "took_ms"}
    assert set(found["results"][0]) == keys
    assert found["results"][0]["link"] == "https://go.dev/doc/gc-guide#Memory_limit"
    assert len(found["results"]) <= 2


def test_an_llm_orders_results_only_when_it_is_allowed_to(
    run: Cli, guide: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run("search", QUESTION, "--json", "-n", "2").json
    with scripted(says("2, 1")) as server:
        monkeypatch.setenv("RAGMACS_LLM_BASE_URL", server.url)
        monkeypatch.setenv("RAGMACS_LLM_MODEL", "tiny")
        assert run("search", QUESTION, "--json", "-n", "2").json["results"] == found["results"]
        assert server.requests == []
        monkeypatch.setenv("RAGMACS_SEARCH_LLM_RERANK", "true")
        made = run("search", QUESTION, "--json", "-n", "2").json
        (request,) = server.requests
        failed = run("search", QUESTION, "-n", "2")
    assert [each["link"] for each in made["results"]] == [each["link"] for each in reversed(found["results"])]
    assert made["reranked_by"] == "tiny"
    assert "<<<" in str(request.body)
    assert failed.code == 0
    assert "note: not re-ranked: " in failed.err


def test_a_question_nothing_covers_is_not_answered_and_the_word_is_named(run: Cli, guide: Site) -> None:
    done = run("ask", "How do I tune autovacuum in PostgreSQL replicas?", "--json")
    assert done.code == 0
    assert done.json["abstained"]
    assert "autovacuum" in done.json["uncovered"]
    assert "autovacuum" in done.json["answer"]


def test_a_collection_is_crawled_updated_listed_and_removed(run: Cli, site: Site) -> None:
    mirror = f"https://go.dev={site.origin}"
    first = run("crawl", "go-gc", "--mirror", mirror, "--json")
    assert first.code == 0
    pages = first.json["crawls"][0]["outcomes"]["new"]
    assert pages > 40
    assert run("update", "go-gc", "--json").json["crawls"][0]["outcomes"] == {"unchanged": pages, "alias": 1}
    listed = {row["name"]: row["pages"] for row in run("collections", "--json").json["collections"]}
    assert listed["go-gc"] == pages
    assert "https://go.dev/doc/faq" in run("collections", "go-gc").out
    assert run("status", "--json").json["index"]["collections"] == {"go-gc": pages}
    assert run("remove", "https://go.dev/doc/faq", "--json").json == {"removed": 1}
    assert run("remove", "go-gc", "--json").json == {"removed": pages - 1}
    assert run("verify").code == 0


def test_a_plan_asks_nobody(run: Cli, site: Site) -> None:
    done = run("crawl", f"{site.origin}/doc/gc-guide", "ftp://x.test/", "--plan", "--allow", site.origin)
    assert done.code == 0
    assert "refused" in done.out
    assert site.requests == []


def test_addresses_come_from_a_file(run: Cli, site: Site, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"\ufeff# mine\r\n{site.origin}/a\r\n{site.origin}/b\r\n{site.origin}/a\r\n", "utf-8")
    done = run("crawl", "--from", str(listed), "--depth", "0", "--allow", site.origin, "--json")
    assert done.json["crawls"][0]["collection"] == "list"
    assert done.json["crawls"][0]["outcomes"] == {"new": 2}


def test_fetch_prints_a_page_or_one_section_of_it(run: Cli, site: Site) -> None:
    url = f"{site.origin}/doc/gc-guide"
    whole = run("fetch", url, "--allow", site.origin)
    assert "Target heap = Live heap + (Live heap + GC roots) * GOGC / 100" in whole.out
    assert "Our footer" not in whole.out
    part = run("fetch", url + "#Memory_limit", "--allow", site.origin)
    assert "GOMEMLIMIT" in part.out
    assert "Target heap" not in part.out
    assert run("fetch", url + "#nowhere", "--allow", site.origin).code == 2


def test_doctor_and_config_say_where_things_are(run: Cli, home: Path) -> None:
    assert str(home) in run("doctor").out
    rows = {row["key"]: row["origin"] for row in run("config", "--json").json["settings"]}
    assert rows["search.mode"] == "$RAGMACS_SEARCH_MODE"


def test_eval_writes_a_run_file_and_figures(run: Cli, guide: Site, tmp_path: Path) -> None:
    questions, out = tmp_path / "q.toml", tmp_path / "run.jsonl"
    questions.write_text(f'[[question]]\nid = "q1"\nquestion = "{QUESTION}"\ngold = [["/doc/gc-guide#GOGC"]]\n')
    done = run("eval", "--questions", str(questions), "--run", str(out), "--json")
    assert done.json["questions"] == 1
    assert {done.json["metrics"][name]["value"] for name in ("hit@1", "hit@5", "mrr@10", "ndcg@10")} == {1.0}
    assert json.loads(out.read_text())["results"][0]["anchor"] == "GOGC"
    run("eval", "--questions", str(questions), "--run", str(out), "--answers")
    assert "twice as large" in json.loads(out.read_text())["results"][0]["text"]


# Bad input: one clear line, a hint, the right exit code, nothing lost


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("ask", ""), 2, "empty"),
        (("ask", "   "), 2, "empty"),
        (("ask", "x" * 100_000), 2, "100,000 characters"),
        (("ask", "why", "-c", "nothing"), 3, "nothing"),
        (("crawl",), 2, "nothing to crawl"),
        (("crawl", "go-cg"), 2, "go-cg"),
        (("crawl", "--from", "/no/such/file"), 2, "/no/such/file"),
        (("crawl", "https://x.test/", "--name", "../x"), 2, "../x"),
        (("crawl", "https://nowhere.invalid/"), 4, "nowhere.invalid"),
        (("crawl", "ftp://x.test/"), 4, "hint: https://"),
        (("fetch", "file:///no/such.md"), 4, "/no/such.md does not exist"),
        (("fetch", "http://127.0.0.1:9/"), 4, "--allow http://127.0.0.1:9"),
        (("fetch", "http://10.0.0.1/"), 4, "10.0.0.1"),
        (("fetch", "http://2130706433/"), 4, "2130706433"),
        (("fetch", "handbook:nothing"), 4, "handbook:nothing"),
        (("update", "nothing"), 3, "nothing"),
        (("remove", "nothing"), 3, "nothing"),
        (("collections", "nothing"), 2, "nothing"),
        (("reindex",), 3, "nothing to index"),
        (("search", "x", "--mode", "magic"), 78, "one of hybrid, lexical"),
        (("search", "x", "--limit", "0"), 2, "limit"),
        (("crawl", "go-gc", "--mirror", "nonsense"), 2, "FROM=TO"),
        (("crawl", "go-gc", "--allow", "http://x.test/*"), 2, "x.test"),
        (("eval", "--questions", "/no/such"), 2, "/no/such"),
        (("frobnicate",), 2, "frobnicate"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_clear_line_with_the_right_code(run: Cli, args: tuple[str, ...], code: int, says: str) -> None:
    done = run(*args)
    assert done.code == code, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert code == 2 or len(done.err.strip().splitlines()) <= 3


@pytest.mark.parametrize(
    ("args", "code", "number", "says"),
    [
        (("ask", ""), 2, -32602, "empty"),
        (("ask", "why", "-c", "nothing"), 3, -32010, "nothing"),
        (("search", "x", "--limit", "0"), 2, -32602, "--limit"),
        (("frobnicate",), 2, -32602, "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_under_json_an_error_is_one_json_object(
    run: Cli, args: tuple[str, ...], code: int, number: int, says: str
) -> None:
    done = run(*args, "--json")
    error = json.loads(done.err)["error"]
    assert (done.code, done.out, error["code"]) == (code, "", number)
    assert says in error["message"]
    assert error["hint"]


def test_under_json_the_exit_code_is_that_of_the_command(run: Cli) -> None:
    assert run("verify", "--json").code == 0
    assert run("eval", "--fail-below", "mrr@10=1", "--json").code == 1


def test_an_address_joins_the_collection_of_its_name(run: Cli, site: Site) -> None:
    for path in ("/a", "/b"):
        done = run("crawl", site.origin + path, "--depth", "0", "--name", "mine", "--allow", site.origin)
        assert done.code == 0
    assert run("status", "--json").json["index"]["collections"] == {"mine": 2}
    assert run("crawl", f"{site.origin}/a", "--name", "go-gc", "--allow", site.origin).code == 2


def test_an_empty_index_is_no_internal_error(run: Cli, guide: Site) -> None:
    run("remove", "go.dev")
    assert run("ask", QUESTION).code == 0
    assert run("search", QUESTION).code == 0


def test_what_a_terminal_would_obey_is_not_printed(run: Cli) -> None:
    with misbehaving(lambda visit: Answer(b"GIF89a" + bytes(50), type="application/\x1b[31mred")) as site:
        done = run("fetch", f"{site.origin}/bad", "--allow", site.origin)
    assert done.code == 4
    assert "\x1b" not in done.err + done.out


def test_half_a_character_in_a_question_is_no_internal_error(run: Cli, guide: Site) -> None:
    assert run("ask", "\udcff heap").code == 0


def test_a_nul_byte_on_stdin_is_refused(run: Cli) -> None:
    done = run("ask", "-", stdin="why\0not")
    assert (done.code, "NUL" in done.err) == (2, True)


def test_a_typo_in_a_collection_file_is_named_and_spoils_no_other(run: Cli, home: Path, site: Site) -> None:
    (home / "sources").mkdir(parents=True)
    (home / "sources" / "mine.toml").write_text('sedes = ["https://x.test/"]')
    done = run("crawl", "mine")
    assert done.code == 78
    assert "mine.toml" in done.err
    assert "seeds" in done.err
    assert run("collections").code == 0


@contextmanager
def misbehaving(answer: Callable[[Visit], Answer | bytes | None]) -> Iterator[Site]:
    def route(visit: Visit) -> Answer | bytes | None:
        if visit.path == "/robots.txt":
            return Answer(b"User-agent: *\nDisallow: /private\n", type="text/plain")
        return answer(visit) if visit.path == "/bad" else demo_site.answer(visit)

    with serve(route) as site:
        yield site


def huge(visit: Visit) -> None:
    visit.start()
    for _ in range(60 * 16):
        visit.wfile.write(b"<p>" + b"x" * 65530 + b"</p>")


BAD = {
    "404": (lambda visit: Answer(status=404), "404"),
    "503": (lambda visit: Answer(status=503, headers={"Retry-After": "3600"}), "503"),
    "redirect to a private address": (
        lambda visit: Answer(status=302, headers={"Location": "http://10.0.0.1/"}),
        "10.0.0.1",
    ),
    "redirect to a file": (lambda visit: Answer(status=302, headers={"Location": "file:///etc/passwd"}), "file"),
    "a body without end": (huge, "10 MiB"),
    "PDF as HTML": (lambda visit: Answer(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"x" * 500), "PDF"),
    "empty": (lambda visit: Answer(b""), "empty"),
    "no text": (lambda visit: Answer(b"<html><body><script>run()</script></body></html>"), "text"),
    "100,000 nested divs": (lambda visit: Answer(b"<div>" * 100_000 + b"deep down here" + b"</div>" * 100_000), "text"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_page_fails_alone_and_says_why(run: Cli, case: str) -> None:
    answer, says = BAD[case]
    with misbehaving(answer) as site:
        done = run("crawl", f"{site.origin}/bad", f"{site.origin}/doc/gc-guide", "--depth", "0", "--allow", site.origin)
    assert done.code == 1, done.err
    assert "1 new" in done.out
    assert says in done.out
    assert run("verify").code == 0


def test_robots_are_obeyed(run: Cli) -> None:
    with misbehaving(lambda visit: None) as site:
        done = run("fetch", f"{site.origin}/private/x", "--allow", site.origin)
    assert done.code == 4
    assert "robots" in done.err


def test_a_page_without_headings_and_in_another_charset_is_read(run: Cli) -> None:
    text = "Größe und Maß der Blöcke müssen für Übermut gemessen werden, " * 5
    body = f'<html><head><meta charset="iso-8859-1"></head><body><p>{text}</p></body></html>'.encode("latin-1")
    with misbehaving(lambda visit: Answer(body, type="text/html")) as site:
        done = run("fetch", f"{site.origin}/bad", "--allow", site.origin)
    assert done.code == 0
    assert "Größe und Maß der Blöcke" in done.out


def test_a_store_of_a_newer_version_is_left_alone(run: Cli, guide: Site, home: Path) -> None:
    db = sqlite3.connect(home / "store" / "crawl.db")
    db.execute("PRAGMA user_version = 999")
    db.close()
    done = run("crawl", "go-gc")
    assert (done.code, "upgrade" in done.err) == (3, True)
    assert run("ask", QUESTION).code == 0


def test_a_truncated_generation_is_noticed_and_can_be_made_anew(run: Cli, guide: Site, home: Path) -> None:
    (text,) = home.glob("store/gen-*/text.db")
    os.truncate(text, text.stat().st_size // 2)
    done = run("ask", QUESTION)
    assert (done.code, "text.db" in done.err, "reindex" in done.err) == (3, True, True)
    assert run("verify").code == 3
    assert run("reindex").code == 0
    assert run("ask", QUESTION).code == 0
    assert run("verify").code == 0


def test_a_damaged_row_is_repaired_and_read_again(run: Cli, guide: Site, home: Path) -> None:
    db = sqlite3.connect(home / "store" / "crawl.db")
    db.execute("UPDATE sections SET text = replace(text, 'double', 'triple')")
    db.commit()
    db.close()
    assert run("verify").code == 3
    assert run("verify", "--repair").code == 0
    assert run("update").code == 0
    assert "double" in run("ask", QUESTION).out


def test_an_update_can_use_another_mirror_and_remembers_it(run: Cli, guide: Site) -> None:
    with serve(demo_site.answer) as other:
        mirror = f"https://go.dev={other.origin}"
        assert run("update", "go.dev", "--mirror", mirror).code == 0
        asked = len(other.asked)
        assert run("update", "go.dev").code == 0
        assert 0 < asked < len(other.asked)


def test_a_second_writer_is_told_who_writes(run: Cli, home: Path) -> None:
    with Store(home / "store"):
        done = run("crawl", "go-gc")
    assert done.code == 75
    assert str(os.getpid()) in done.err


@pytest.mark.slow
def test_ctrl_c_ends_a_crawl_that_waits_for_a_page(home: Path) -> None:
    with serve({"/slow": lambda visit: visit.hang()}) as site:
        command = [sys.executable, "-m", "ragmacs_srv.cli", "crawl", f"{site.origin}/slow", "--allow", site.origin]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
            while "/slow" not in site.asked:
                assert running.poll() is None
            running.send_signal(signal.SIGINT)
            assert running.wait(10) == 130


def test_a_full_disk_is_one_line_and_loses_nothing(run: Cli, guide: Site) -> None:
    with library.disk_of(60_000):
        done = run("crawl", "go-gc", "--mirror", f"https://go.dev={guide.origin}")
    assert done.code == 74, done.err
    assert "disk" in done.err
    assert "Traceback" not in done.err
    assert run("verify").code == 0
    assert run("ask", QUESTION).code == 0


@pytest.mark.slow
def test_output_into_a_closed_pipe_is_no_error(run: Cli, guide: Site) -> None:
    command = f"{sys.executable} -m ragmacs_srv.cli search heap --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("{", "")


@pytest.mark.parametrize("module", ["typer", "ragmacs_srv.app"])
def test_ctrl_c_while_loading_is_one_line(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from ragmacs_srv.client import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ragmacs: cancelled\n")


def test_help_says_what_was_written_with_its_brackets() -> None:
    """They are markup to what prints help: `[serve] http_port` came out as `http_port`."""
    commands = typer.main.get_command(cli).commands.values()  # type: ignore[attr-defined]
    helps = [each.help or "" for each in commands]
    helps += [each.help or "" for command in commands for each in command.params if hasattr(each, "help")]
    assert [each for each in helps if markup.render(each).plain != each.replace("\\[", "[")] == []


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_an_address_with_brackets_and_obeys_nothing_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with terminal._progress(quiet=False) as sink:
        sink(Progress("crawl [x", 0, 2, message="https://a.test/[/b]/\x9b[bold]"))
    assert "https://a.test/[/b]/[bold]" in screen.getvalue()


def test_help_lists_every_command(run: Cli) -> None:
    done = run("--help")
    wanted = ["ask", "search", "crawl", "update", "remove", "fetch", "collections", "status", "verify", "reindex"]
    wanted += ["doctor", "config", "model", "eval"]
    assert done.code == 0
    assert not [name for name in wanted if name not in done.out]
    assert run("--version").out.strip()


def test_a_summary_links_every_point_and_keeps_to_its_length(run: Cli, guide: Site) -> None:
    asked = len(guide.asked)
    made = run("summarize", "https://go.dev/doc/gc-guide", "--length", "60", "--json").json
    assert set(made) >= {"url", "title", "summary", "points", "words", "from_cache"}
    assert made["from_cache"] is True
    assert made["words"] == len(made["summary"].split()) <= 60
    assert len(guide.asked) == asked
    shown = run("summarize", "https://go.dev/doc/gc-guide", "--length", "60").out
    assert shown == "".join(f"- {each['text']}\n  {each['link']}\n" for each in made["points"])


def test_a_page_that_is_not_indexed_is_fetched_for_its_summary(run: Cli, site: Site) -> None:
    url = f"{site.origin}/doc/gc-guide"
    assert run("summarize", url).code == 4
    made = run("summarize", f"{url}#GOGC", "--allow", site.origin, "--json").json
    assert made["from_cache"] is False
    assert {each["link"] for each in made["points"]} <= {f"{url}#GOGC", url}


def test_a_file_and_stdin_are_summarized(run: Cli, tmp_path: Path) -> None:
    text = "# Notes\n\n" + "The garbage collector of Go frees memory that nothing reaches any more. " * 4
    path = tmp_path / "notes.md"
    path.write_text(text)
    assert "garbage collector" in run("summarize", str(path)).out
    assert "garbage collector" in run("summarize", "-", stdin=text).out
    missing = run("summarize", str(tmp_path / "none.md"))
    assert missing.code == 2
    assert "cannot be read: No such file" in missing.err
    assert run("summarize", str(path), "--length", "5").code == 2


def test_a_pdf_is_summarized_with_links_to_its_pages(run: Cli, tmp_path: Path) -> None:
    path = tmp_path / "book.pdf"
    words = "The collector of Go frees memory that nothing reaches any more."
    path.write_bytes(pdf([words, "GOGC sets by how much the heap may grow."], [], [words + " It is concurrent."]))
    made = run("summarize", str(path), "--json").json
    assert {each["link"] for each in made["points"]} <= {path.as_uri() + end for end in ("", "#page=1", "#page=3")}
    assert made["notes"] == ["page(s) 2 of the PDF hold no text: pictures, or scanned"]
    assert run("summarize", str(path), "--style", "haiku").code == 2
    outline = run("summarize", str(path), "--style", "tldr", "--language", "French")
    assert "only an LLM can translate" in outline.err
    path.write_bytes(encrypted(path.read_bytes(), "secret"))
    refused = run("summarize", str(path))
    assert refused.code == 4
    assert "qpdf" in refused.err


def test_a_pdf_that_is_fetched_is_a_page_like_any_other(run: Cli) -> None:
    words = [
        "The collector of Go frees memory that nothing reaches any more, and",
        "GOGC sets by how much the heap may grow.",
    ]
    book = Answer(pdf(words, ["The limit of the memory is a soft one."]), type="application/octet-stream")
    with serve(lambda visit: book if visit.path == "/book" else demo_site.answer(visit)) as site:
        url = f"{site.origin}/book"
        made = run("summarize", url, "--allow", site.origin, "--json").json
        assert {each["link"] for each in made["points"]} <= {url, f"{url}#page=1", f"{url}#page=2"}
        assert run("fetch", f"{url}#page=2", "--allow", site.origin).out.endswith(
            "The limit of the memory is a soft one.\n"
        )


def test_a_tool_says_on_the_command_line_what_a_model_hears(run: Cli, guide: Site) -> None:
    done = run("tool", "search_docs", '{"query": "memory limit", "limit": "1"}')
    assert "<https://go.dev/doc/gc-guide#Memory_limit>" in done.out
    found = run("tool", "search_docs", "-", "--json", stdin='{"query": "memory limit", "limit": 1}').json
    assert [each["anchor"] for each in found["data"]["results"]] == ["Memory_limit"]
    assert found["text"].startswith("Sections for")


def test_tools_are_listed_with_their_parameters(run: Cli) -> None:
    assert "search_docs(query: string, limit?: integer" in run("tool").out
    listed = run("tool", "--json").json["tools"]
    assert {"name", "description", "parameters", "open_world", "changes_state"} == set(listed[0])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["search_doc", "{}"], 2, "did you mean 'search_docs'?"),
        (["search_docs"], 2, "needs the argument 'query'"),
        (["search_docs", "{"], 2, "are no JSON"),
        (["read_page", '{"url": "https://example.com/"}'], 4, "it is not indexed"),
    ],
)
def test_a_tool_that_fails_has_the_exit_code_of_its_error(run: Cli, arguments: list[str], code: int, says: str) -> None:
    done = run("tool", *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    failed = run("tool", *arguments, "--json")
    assert set(json.loads(failed.err)["error"]) == {"code", "message", "hint"}
    assert failed.code == code


def test_a_tool_that_runs_code_does_nothing_unasked(run: Cli, tmp_path: Path) -> None:
    given = json.dumps({"package": ".", "folder": str(tmp_path)})
    done = run("tool", "go_bench_allocs", given)
    assert (done.code, "needs consent" in done.err, "--yes" in done.err) == (2, True, True)


@pytest.fixture
def three(home: Path) -> Path:
    """A home with pages in "docs" and "guides", of two sites."""
    with Store(home / "store") as store:
        for name in ("heap", "stack"):
            library.put(store, library.page(name, f"The {name} of the program, and its heap."), "docs")
        section = library.section("https://guide.example/heap", "The heap and how it grows.")
        library.put(store, Page(section.url, "Guide", (section,), date="2020-05-01"), "guides")
        library.publish(store)
    return home


def first(done: Done) -> str:
    return str(done.json["results"][0]["collection"])


def test_weights_come_from_the_flag_else_the_settings_else_the_file_of_the_collection(
    run: Cli, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*flags: str) -> str:
        return first(run("search", "heap grows program", "--json", *flags))

    (three / "sources").mkdir()
    for heavy, light in (("docs", "guides"), ("guides", "docs")):
        text = "seeds = ['https://go.example/']\nweight = %s\n"
        (three / "sources" / f"{heavy}.toml").write_text(text % 50)
        (three / "sources" / f"{light}.toml").write_text(text % 0.02)
        assert found() == heavy
        monkeypatch.setenv("RAGMACS_SEARCH_WEIGHTS", f"{heavy}=0.02, {light}=50")
        assert found() == light
        assert found("-c", f"{heavy}=50", "-c", f"{light}=0.02") == heavy
        monkeypatch.delenv("RAGMACS_SEARCH_WEIGHTS")


def test_a_weight_in_the_settings_that_is_none_is_said_to_be(run: Cli, three: Path) -> None:
    (three / "config.toml").write_text('[search]\nweights = ["docs=heavy"]\n')
    done = run("search", "heap")
    assert done.code == 78
    assert "[search] weights: 'docs=heavy' gives no weight" in done.err


def test_filters_and_facets(run: Cli, three: Path) -> None:
    found = run("search", "heap", "site:guide.example", "--json").json
    assert [each["url"] for each in found["results"]] == ["https://guide.example/heap"]
    assert found["facets"]["year"] == {"2020": 1}
    everything = run("search", "heap")
    assert "sites with sections: go.example (2), guide.example (1); add site:go.example" in everything.err
    assert "<https://guide.example/heap>" in run("ask", "How does the heap grow? since:2019 -site:go.example").out
    assert run("ask", "heap since:2099").code == 3
    assert "since:never was searched for as words" in run("search", "heap since:never").err
