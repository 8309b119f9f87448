"""The thin client: the same words and exit codes as the command line, for a fraction of its start."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv import __version__, cli, client, meeting, settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import LLMUnavailable, RagmacsError
from tests.conftest import Done
from tests.real_server import real
from tests.rpc_server import Hangup, Send, Server, greet, listening
from tests.search import library

ROOT = Path(__file__).resolve().parents[1]
QUESTION = "When does the heap collector run a cycle?"
ANSWER = {"mode": "lexical", "confidence": 1.0, "model": "", "notes": [], "citations": []}
NOBODY = ("-c", "raise SystemExit(75)")  # a server that does not start


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds something; its files never change."""
    folder: Path = library.build(tmp_path_factory.mktemp("library") / "store")
    return folder


@pytest.fixture(autouse=True)
def socket_at(home: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server of this test listens: searching is lexical, and no other can be started."""
    shutil.copytree(store, home / "store")
    (home / "config.toml").write_text('[search]\nmode = "lexical"\n')
    run = home.parent / "run"
    run.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    monkeypatch.setattr(client, "SERVE", NOBODY)
    return Path(meeting.socket_path(str(home), os.environ))


@pytest.fixture
def server(socket_at: Path) -> Iterator[Server]:
    """Answers as the real one does."""
    with listening(socket_at, search=search, server_status=status) as running:
        yield running


def search(params: dict[str, Any], send: Send) -> Any:
    with App(settings.load(os.environ), os.environ) as app:
        found = app.search(params["query"], k=params["k"], collections=params["collections"])
        return {**found.as_json(), "took_ms": 0}


def status(params: dict[str, Any], send: Send) -> Any:
    with App(settings.load(os.environ), os.environ) as app:
        return {"server": None, **app.status()}


Both = Callable[..., Done]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Both:
    """The command line in this process, as cli.py does it."""

    def run(*args: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["ragmacs", *args])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
        with pytest.raises(SystemExit) as done:
            cli.main()
        return Done(int(done.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Both:
    """The command line through the server; exit code -1 where it is left to cli.py."""

    def run(*args: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
        code = client.run(args, os.environ)
        return Done(-1 if code is None else code, *capsys.readouterr())

    return run


# Both ways


@pytest.fixture(scope="module", params=["something", "nothing"])
def indexed(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the server that `ragmacs serve` is, with something indexed or nothing."""
    home: Path = tmp_path_factory.mktemp(request.param) / "home"
    if request.param == "something":
        shutil.copytree(store, home / "store")
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text('[search]\nmode = "lexical"\n')
    with real({"RAGMACS_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}):
        yield home


@pytest.fixture
def agree(indexed: Path, thin: Both, here: Both, monkeypatch: pytest.MonkeyPatch) -> Both:
    """What the command line gives through the server, once it is what it gives with --no-server."""
    monkeypatch.setenv("RAGMACS_HOME", str(indexed))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(indexed))

    def run(*args: str, stdin: str = "heap\n") -> Done:
        served, own = thin(*args, stdin=stdin), here(*args, "--no-server", stdin=stdin)
        assert (served.code, untimed(served.out), served.err) == (own.code, untimed(own.out), own.err)
        return served

    return run


def untimed(text: str) -> str:
    return re.sub(r'"took_ms": \d+', '"took_ms": 0', text)


LIMIT = '{"query": "heap", "limit": 2}'
SERVED: list[tuple[int, tuple[str, ...]]] = [
    (0, ("search", "heap")),
    (0, ("search", "--json", "heap cycle", "-n", "2")),
    (0, ("search", "heap", "--limit=3", "-q")),
    (0, ("search", "zebra crossing")),
    (0, ("search", "\udcff heap")),
    (0, ("search", "-")),
    (0, ("search", "heap since:2000", "--json")),
    (0, ("search", "heap -site:nowhere.example", "since:foo")),
    (3, ("search", "heap site:nowhere.example")),
    (2, ("search", "site:go.example", "--json")),
    (0, ("ask", f"{QUESTION} since:2000 -site:nowhere.example")),
    (0, ("ask", QUESTION, "-site:nowhere.example", "--json")),
    (0, ("search", "heap", "-release:9.99", "cycle", "--json")),
    (3, ("ask", "heap release:9.99", "--json")),
    (2, ("search", "heap", "-c", "docs=0")),
    (3, ("search", "heap", "-c", "nothing=2")),
    (2, ("search", "")),
    (2, ("search", " ", "--json")),
    (3, ("search", "heap", "-c", "nothing")),
    (3, ("search", "heap", "--collection", "nothing", "--json")),
    (0, ("ask", QUESTION)),
    (0, ("ask", QUESTION, "--json")),
    (0, ("ask", "-", "--quiet")),
    (0, ("ask", "How", "do", "I", "tune", "autovacuum", "in", "PostgreSQL?")),
    (0, ("ask", "How do I tune autovacuum in PostgreSQL?", "--json")),
    (2, ("ask", "")),
    (2, ("ask", "x" * 5000, "--json")),
    (3, ("ask", "why", "-c", "nothing")),
    (0, ("tool", "search_docs", LIMIT)),
    (0, ("tool", "search_docs", LIMIT, "--json")),
    (0, ("tool", "ask_docs", f'{{"question": "{QUESTION}"}}')),
    (0, ("tool", "list_collections", "{}")),
    (2, ("tool", "search_docs", "{}")),
    (2, ("tool", "search_docs", '{"query": "heap", "nonsense": 1}', "--json")),
    (3, ("tool", "search_docs", '{"query": "heap", "collection": "nothing"}')),
    (3, ("tool", "ask_docs", '{"question": "heap site:nowhere.example"}')),
]


@pytest.mark.parametrize(
    ("code", "args"), SERVED, ids=[" ".join(args)[:50].encode("ascii", "replace").decode() for _, args in SERVED]
)
def test_the_server_and_this_process_say_the_same(agree: Both, code: int, args: tuple[str, ...]) -> None:
    assert agree(*args).code == code


@pytest.mark.parametrize(("code", "stdin"), [(0, "heap "), (2, "x" * 300_000), (2, "\x00é\n" * 70_000)])
def test_both_read_as_much_of_stdin(agree: Both, code: int, stdin: str) -> None:
    assert agree("search", "-", stdin=stdin).code == code
    assert agree("ask", "-", "--json", stdin=stdin).code == code


def test_both_look_in_the_same_home(agree: Both, indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGMACS_HOME", "/no/such/home")
    assert agree("search", "heap", "--home", str(indexed)).code == 0
    monkeypatch.chdir(indexed.parent)
    assert agree("search", "heap", "--home", "home", "--json").code == 0


def test_both_look_in_the_same_collection(thin: Both, agree: Both, indexed: Path) -> None:
    name = "guides" if (indexed / "store").exists() else "handbook"
    assert agree("search", "heap", "-c", name, "--json").json["results"]
    assert agree("ask", QUESTION, "-c", name, "-c", name).code == 0
    assert agree("search", "heap", "-c", f"{name}=0.5", "--json").json["results"]


def test_a_status_names_the_server_that_runs(agree: Both, thin: Both, here: Both) -> None:
    served, own, none = (
        way("status", "--json", *flag).json for way, *flag in ((thin,), (here,), (here, "--no-server"))
    )
    assert served["index"] == own["index"] == none["index"]
    assert served["server"]["pid"] == own["server"]["pid"] == os.getpid()
    assert {"version", "socket", "uptime_s", "rss_anon_mb"} <= served["server"].keys()
    assert none["server"] is None
    first, *rest = thin("status").out.splitlines()
    assert first.startswith(f"server      pid {os.getpid()}, up ")
    assert "\n".join(rest) + "\n" == here("status", "--no-server").out


NOT_SERVED: list[tuple[str, ...]] = [
    (),
    ("--help",),
    ("--json", "search", "heap"),
    ("search",),
    ("search", "heap", "-n", "0"),
    ("search", "heap", "-n", "many"),
    ("search", "heap", "-n"),
    ("search", "heap", "-n3"),
    ("search", "heap", "--mode", "lexical"),
    ("search", "heap", "--json=yes"),
    ("search", "heap", "--help"),
    ("search", "heap", "-vv"),
    ("search", "heap", "-c", "-q"),
    ("search", "--", "-heap"),
    ("search", "-heap"),
    ("ask", "why", "--no-llm"),
    ("ask", "why", "-n", "3"),
    ("status", "now"),
    ("tool", "search_docs"),
    ("tool", "search_docs", "{}", "--yes"),
    ("tool", "read_page", '{"url": "https://go.example/"}'),  # who would be asked for consent?
    ("crawl", "go-gc"),
]


@pytest.mark.parametrize("args", NOT_SERVED, ids=" ".join)
def test_what_is_not_known_to_the_letter_is_left_to_the_command_line(
    thin: Both, server: Server, args: tuple[str, ...]
) -> None:
    assert thin(*args) == Done(-1, "", "")
    assert server.asked == []


SETTINGS = ["RAGMACS_SEARCH_MODE", "RAGMACS_LLM_KEY", "RAGMACS_NONSENSE"]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("whose", ["the server's", "this process's"])
def test_a_server_with_other_settings_in_its_environment_is_not_asked(
    thin: Both, socket_at: Path, monkeypatch: pytest.MonkeyPatch, name: str, whose: str
) -> None:
    without = meeting.configuration(os.environ)
    monkeypatch.setenv(name, "lexical")
    theirs = meeting.configuration(os.environ)
    if whose == "the server's":
        monkeypatch.delenv(name)
    configuration = theirs if whose == "the server's" else without
    greeting = {"version": __version__, "configuration": configuration}
    with listening(socket_at, initialize=lambda params, send: greeting) as server:
        done = thin("search", "heap", "-v")
    assert (done.code, server.names(), "other settings" in done.err) == (-1, [], True)


@pytest.mark.parametrize("name", [*SETTINGS, "RAGMACS_SERVE_IDLE_MINUTES", "RAGMACS_DEBUG"])
def test_a_server_with_the_same_settings_in_its_environment_is_asked(
    thin: Both, socket_at: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "lexical")
    found = {"results": [], "mode": "hybrid", "reason": "", "notes": []}
    with listening(socket_at, search=lambda params, send: found):
        assert thin("search", "heap") == Done(0, "nothing found\n", "")


@pytest.mark.parametrize(
    ("name", "starts"), [("RAGMACS_SEARCH_MODE", False), ("RAGMACS_LLM_KEY", True), ("RAGMACS_SERVE_QUEUE", True)]
)
def test_a_setting_for_one_command_starts_no_server(
    thin: Both, monkeypatch: pytest.MonkeyPatch, name: str, starts: bool
) -> None:
    monkeypatch.setenv(name, "lexical")
    done = thin("search", "heap", "-v")
    assert (done.code, "exit code 75" in done.err, f"{name} is set" in done.err) == (-1, starts, not starts)


def test_what_a_server_tells_of_its_environment_keeps_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGMACS_LLM_KEY", "secret")
    assert "secret" not in str(meeting.configuration(os.environ))


def test_no_server_means_none(thin: Both, server: Server) -> None:
    done = thin("search", "heap", "--no-server", "-v")
    assert (done.code, server.asked, "--no-server" in done.err) == (-1, [], True)


def test_v_changes_nothing_but_what_is_said_aside(agree: Both, thin: Both, here: Both) -> None:
    served, own = thin("search", "heap", "-v"), here("search", "heap", "-v", "--no-server")
    assert (served.code, served.out) == (own.code, own.out) == (0, agree("search", "heap").out)
    assert " answered" in served.err


def test_v_says_who_answered(thin: Both, server: Server, socket_at: Path) -> None:
    assert str(socket_at) in thin("status", "-v").err


# What can go wrong


def test_what_a_terminal_would_obey_is_not_printed(thin: Both, socket_at: Path) -> None:
    def answer(params: dict[str, Any], send: Send) -> Any:
        send("$/delta", {"token": params["token"], "text": "a\x1b[31m\u202eb"})
        cited = {"n": 1, "title": "\x9bt", "heading": [], "link": "https://x.test/\x07"}
        return {**ANSWER, "citations": [cited], "notes": ["\x1b]0;title\x07"]}

    with listening(socket_at, ask=answer):
        done = thin("ask", "why")
    assert done.out == "a[31mb\n\n[1] t <https://x.test/>\n"
    assert "\x1b" not in done.err


TOOL = {"text": "Found.", "data": {"results": []}, "error": False}
REFUSED = {"code": -32602, "exit_code": 2, "message": "no query", "hint": "search_docs(query: string)"}


def test_a_tool_is_run_by_the_server(thin: Both, socket_at: Path) -> None:
    with listening(socket_at, tools_call=lambda params, send: TOOL) as server:
        assert thin("tool", "search_docs", '{"query": "heap"}') == Done(0, "Found.\n", "")
        assert thin("tool", "search_docs", "-", "--json", stdin="{}").json == {"text": "Found.", "data": TOOL["data"]}
        assert thin("tool", "search_docs", "[]").code == -1
        assert thin("tool", "search_docs", "nonsense").code == -1
    assert [params for method, params in server.asked if method == "tools/call"] == [
        {"name": "search_docs", "arguments": {"query": "heap"}},
        {"name": "search_docs", "arguments": {}},
    ]


def test_a_tool_that_fails_sets_the_exit_code(thin: Both, socket_at: Path) -> None:
    said = {"text": "Error: no query.", "data": {"error": REFUSED}, "error": True}
    with listening(socket_at, tools_call=lambda params, send: said):
        assert thin("tool", "search_docs", "{}") == Done(2, "", "Error: no query.\n")
        shown = json.loads(thin("tool", "search_docs", "{}", "--json").err)["error"]
    assert shown == {key: REFUSED[key] for key in ("code", "message", "hint")}


def test_an_answer_that_breaks_off_is_an_error(thin: Both, socket_at: Path) -> None:
    def answer(params: dict[str, Any], send: Send) -> Any:
        send("$/delta", {"token": params["token"], "text": "Because"})
        raise LLMUnavailable("the LLM went away", hint="ask again")

    with listening(socket_at, ask=answer):
        assert thin("ask", "why") == Done(6, "Because", "ragmacs: the LLM went away\nhint: ask again\n")


def hang_up(params: dict[str, Any], send: Send) -> Any:
    raise Hangup


def shut_down(params: dict[str, Any], send: Send) -> Any:
    raise ShutDown("this connection is shut down")


class ShutDown(RagmacsError):
    """What a server says to whoever asks for more while it ends."""

    code = -32600


@pytest.mark.parametrize("ending", [hang_up, shut_down])
def test_a_search_survives_the_end_of_a_server(thin: Both, socket_at: Path, ending: Callable[..., Any]) -> None:
    searches = iter([ending, search])
    with listening(socket_at, search=lambda *given: next(searches)(*given)) as server:
        done = thin("search", "-", stdin="heap")
    assert (done.code, server.names()) == (0, ["search", "search"])


def test_a_search_that_ends_two_servers_is_left_to_this_process(thin: Both, socket_at: Path) -> None:
    with listening(socket_at, search=hang_up) as server:
        done = thin("search", "-", "-v", stdin="heap")
    assert (done.code, server.names()) == (-1, ["search", "search"])
    assert "twice" in done.err
    assert sys.stdin.read() == "heap"


def test_a_question_is_not_asked_twice(thin: Both, socket_at: Path) -> None:
    with listening(socket_at, ask=hang_up) as server:
        done = thin("ask", "why", "--json")
    assert (done.code, done.out, server.names()) == (70, "", ["ask"])
    assert "--no-server" in json.loads(done.err)["error"]["hint"]


@pytest.mark.parametrize("greeting", [hang_up, lambda params, send: {}, lambda params, send: [1]])
def test_who_does_not_greet_is_no_server(thin: Both, socket_at: Path, greeting: Callable[..., Any]) -> None:
    with listening(socket_at, initialize=greeting):
        done = thin("search", "heap", "-v")
    assert (done.code, "does not answer" in done.err) == (-1, True)


@pytest.mark.parametrize("ending", [hang_up, shut_down])
def test_a_server_that_was_about_to_end_is_started_anew(
    thin: Both, socket_at: Path, ending: Callable[..., Any]
) -> None:
    greetings = iter([ending, greet])
    found = {"results": [], "mode": "hybrid", "reason": "", "notes": []}
    methods = {"initialize": lambda *given: next(greetings)(*given), "search": lambda params, send: found}
    with listening(socket_at, **methods):
        assert thin("search", "heap") == Done(0, "nothing found\n", "")


def test_who_does_not_answer_a_greeting_is_not_waited_for(
    thin: Both, socket_at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "HANDSHAKE_TIMEOUT", 0.05)
    over = threading.Event()
    with listening(socket_at, initialize=lambda params, send: over.wait(30)):
        assert thin("search", "heap").code == -1
        over.set()


def test_a_server_that_cannot_start_is_done_without(thin: Both) -> None:
    done = thin("search", "heap", "-v")
    assert (done.code, "exit code 75" in done.err) == (-1, True)
    assert "no server is running" in thin("status", "-v").err


@pytest.mark.parametrize("how", ["open", "link"])
def test_a_folder_that_is_not_ours_alone_is_not_trusted(thin: Both, socket_at: Path, server: Server, how: str) -> None:
    folder = socket_at.parent
    if how == "open":
        folder.chmod(0o770)
    else:
        folder.symlink_to(folder.rename(folder.with_name("elsewhere")))
    done = thin("search", "heap", "-v")
    assert (done.code, server.asked, str(folder) in done.err) == (-1, [], True)


BACKGROUND = """
import os, signal, sys
sys.path.insert(0, {root!r})
if os.fork() == 0:
    os.setsid()
    from pathlib import Path
    from ragmacs_srv import __version__
    from tests.rpc_server import Server
    found = {{"results": [], "mode": "hybrid", "reason": "", "notes": ["I am new"]}}
    def end(params, send): os._exit(0)
    Server(Path({path!r}), {{"search": lambda params, send: found, "server/stop": end}})
    signal.alarm(60)
    signal.pause()
else:
    os._exit(0)
"""


@pytest.fixture
def startable(socket_at: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that has nothing to say can be started."""
    script = BACKGROUND.format(root=str(ROOT), path=str(socket_at))
    monkeypatch.setattr(client, "SERVE", ("-c", script))
    yield
    peer = client.Peer(str(socket_at))
    peer.stop()
    peer.close()


def test_a_server_is_started_when_none_runs(thin: Both, startable: None) -> None:
    assert thin("search", "heap") == Done(0, "nothing found\n", "note: I am new\n")


def end(server: Server) -> Callable[..., Any]:
    """What a server does that is told to stop."""

    def stop(params: dict[str, Any], send: Send) -> Any:
        server.refuse()
        raise Hangup

    return stop


def test_a_server_of_another_version_is_replaced(thin: Both, socket_at: Path, startable: None) -> None:
    with listening(socket_at, initialize=lambda params, send: {"version": "0.0"}) as old:
        old.methods["server/stop"] = end(old)
        done = thin("search", "heap")
    assert (done.code, done.err, old.names()) == (0, "note: I am new\n", ["server/stop"])


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda file: file.write_text('[search]\nmode = "hybrid"\n'),
    "removed": lambda file: file.unlink(),
    "an old one put in its place": lambda file: (
        shutil.copystat(ROOT, shutil.copy2(file, file.with_name("x"))) or file.with_name("x").rename(file)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_server_that_has_read_another_configuration_is_replaced(
    thin: Both, socket_at: Path, home: Path, startable: None, change: str
) -> None:
    read = greet({}, lambda *_: None)
    CHANGES[change](home / "config.toml")
    with listening(socket_at, initialize=lambda params, send: read) as old:
        old.methods["server/stop"] = end(old)
        done = thin("search", "heap")
    assert (done.code, done.err, old.names()) == (0, "note: I am new\n", ["server/stop"])


def test_a_status_ends_no_server(thin: Both, socket_at: Path) -> None:
    """Nor the HTTP address that others have of it: none would be started in its place."""
    with listening(socket_at, initialize=lambda params, send: {"version": "0.0"}) as old:
        done = thin("status", "-v")
    assert (done.code, old.names(), "is of version 0.0" in done.err) == (-1, [], True)


def test_a_server_that_is_at_work_is_not_replaced(thin: Both, socket_at: Path) -> None:
    found = {"version": "0.0", "server": {"queue": {"search": {"running": 0}, "index": {"running": 1}}}}
    with listening(socket_at, initialize=lambda params, send: found) as server:
        done = thin("search", "heap", "-v")
    assert (done.code, server.names(), "is at work" in done.err) == (-1, [], True)


# As a process


def process(*args: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from ragmacs_srv.client import main; main()", *args]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_process_says_what_the_server_said(server: Server, thin: Both) -> None:
    with process("search", "heap") as running:
        assert running.communicate(timeout=60) == (thin("search", "heap").out, "")
    assert running.returncode == 0


@pytest.mark.slow
def test_a_command_that_is_not_served_is_run(server: Server) -> None:
    with process("search", "heap", "--mode", "lexical") as running:
        out, _ = running.communicate(timeout=60)
    assert (running.returncode, out.startswith("1. "), server.asked) == (0, True, [])


def test_ctrl_c_cancels_what_was_asked(socket_at: Path) -> None:
    over = threading.Event()

    def endless(params: dict[str, Any], send: Send) -> Any:
        send("$/delta", {"token": params["token"], "text": "Well,"})
        over.wait(30)
        raise Hangup

    with listening(socket_at, ask=endless) as server, process("ask", "why") as running:
        assert running.stdout is not None
        assert running.stdout.read(5) == "Well,"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        assert server.wait_for("$/cancelRequest")
        over.set()
    assert server.asked[-1] == ("$/cancelRequest", {"id": 2})
    assert (running.returncode, out, err) == (130, "", "ragmacs: cancelled\nhint: what was finished is kept\n")


@pytest.mark.parametrize("module", ["_socket", "json", "ragmacs_srv.start", "typer"])
def test_ctrl_c_while_loading_is_one_line(server: Server, module: str) -> None:
    code = (
        "import os, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), 2)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from ragmacs_srv.client import main\n"
        "main()"
    )
    command = "search heap" if module in {"_socket", "json"} else "doctor"
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ragmacs: cancelled\n")


def test_output_into_a_closed_pipe_is_no_error(server: Server) -> None:
    with process("search", "heap", "--json") as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(60) == 141
        assert running.stderr is not None
        assert running.stderr.read() == ""


HEAVY = {"typing", "dataclasses", "socket", "signal", "pathlib", "subprocess", "hashlib", "argparse", "typer", "numpy"}


def test_a_search_through_the_server_loads_next_to_nothing(server: Server) -> None:
    code = (
        "import os, sys; from ragmacs_srv import client; code = client.run(['search', 'heap'], os.environ)\n"
        f"print(code, {HEAVY!r} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == "0 set()\n"


# Where things are


FOLDERS: dict[str, dict[str, str]] = {
    "RAGMACS_HOME": {"RAGMACS_HOME": "/srv/docs"},
    "RAGMACS_HOME with a tilde": {"RAGMACS_HOME": "~/docs"},
    "relative": {"RAGMACS_HOME": "here/docs/"},
    "with dots": {"RAGMACS_HOME": "/srv/./docs//x/../y"},
    "empty": {"RAGMACS_HOME": "", "HOME": "/home/a"},
    "XDG": {"XDG_DATA_HOME": "/data", "HOME": "/home/a"},
    "XDG with a tilde": {"XDG_DATA_HOME": "~/data", "HOME": "/home/a"},
    "empty XDG": {"XDG_DATA_HOME": "", "HOME": "/home/a/"},
    "XDG config": {"XDG_CONFIG_HOME": "/etc/xdg", "HOME": "/home/a"},
    "HOME": {"HOME": "/home/a"},
    "nothing": {},
}


@pytest.mark.parametrize("case", FOLDERS)
def test_the_client_finds_the_folders_that_the_settings_name(case: str) -> None:
    environ = FOLDERS[case]
    where = settings.folders(environ)
    assert meeting.data_folder(environ) == os.path.abspath(where.data)  # noqa: PTH100 - what dots lead to stays open
    assert meeting.config_file(environ) == os.path.abspath(where.config_file)  # noqa: PTH100


def test_a_socket_is_named_after_its_data_folder(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"/srv/docs").hexdigest()[:8]
    assert meeting.socket_path("/srv/docs", {"XDG_RUNTIME_DIR": str(tmp_path)}) == f"{tmp_path}/ragmacs/{digest}.sock"
    assert (
        meeting.socket_path("/srv/docs", {"TMPDIR": f"{tmp_path}/"})
        == f"{tmp_path}/ragmacs-{os.getuid()}/{digest}.sock"
    )


def test_a_data_folder_has_one_socket_whatever_links_lead_to_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "docs")
    paths = {meeting.socket_path(f"{tmp_path}/{name}", {}) for name in ("docs", "link", "link/../docs", "docs/")}
    assert len(paths) == 1


@pytest.mark.parametrize("runtime", ["", "relative", "/no/such/folder", "/" + "x" * 100])
def test_a_socket_is_never_where_it_cannot_be(runtime: str) -> None:
    path = meeting.socket_path("/srv/docs", {"XDG_RUNTIME_DIR": runtime, "TMPDIR": runtime})
    assert path.startswith(f"/tmp/ragmacs-{os.getuid()}/")


def test_a_folder_that_others_can_write_to_is_not_private(tmp_path: Path) -> None:
    folder, link = tmp_path / "private", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    assert meeting.is_private(str(folder))
    assert not meeting.is_private(str(link))
    assert not meeting.is_private(str(tmp_path / "none"))
    folder.chmod(0o730)
    assert not meeting.is_private(str(folder))
