"""The shared server as processes: who starts it, who ends it, and what is left afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragmacs_srv import client
from ragmacs_srv.errors import Busy
from ragmacs_srv.search import soundness
from ragmacs_srv.search.store import Store
from ragmacs_srv.serve import daemon
from ragmacs_srv.serve.place import Place, holder
from ragmacs_srv.settings import folders
from tests.search import library
from tests.servers import Answer, Site, Visit, serve

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]
OTHER = "import ragmacs_srv; ragmacs_srv.__version__ = '0.0.0'; from ragmacs_srv.client import main; main()"


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where the server of this test listens; its home holds some pages, and no model is asked for."""
    library.build(home / "store")
    (home / "config.toml").write_text('[search]\nmode = "lexical"\n')
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return Place.of(folders(os.environ), dict(os.environ))


@pytest.fixture
def start(place: Place) -> Iterator[Start]:
    """Start `ragmacs …`; nothing that was started outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, code: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, *(["-c", code] if code else ["-m", "ragmacs_srv"]), *args]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    daemon.stop(place)
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def until(condition: Callable[[], object]) -> None:
    """Wait until CONDITION holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def starts(place: Place) -> list[str]:
    """What servers said when they started, or could not."""
    return [line for line in place.log.read_text().splitlines() if line.startswith(("serving", "ragmacs:"))]


def test_after_a_kill_the_next_commands_start_one_server(start: Start, place: Place) -> None:
    code, first, _ = said(start("search", "heap"))
    killed = holder(place.path)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not holder(place.path))
    assert place.path.is_socket()
    commands = [start("search", "heap", "-v") for _ in range(5)]
    done = [said(command) for command in commands]
    assert [(code, out) for code, out, _ in done] == [(code, first)] * 5
    assert all(f"the server at {place.path} answered" in err for _, _, err in done)
    assert holder(place.path) != killed
    assert starts(place) == [f"serving at {place.path}"] * 2


@pytest.mark.parametrize("command", [("search", "heap"), ("serve", "--detach")], ids=" ".join)
def test_a_server_of_another_version_is_replaced(start: Start, place: Place, command: tuple[str, ...]) -> None:
    old = start("serve", code=OTHER)
    until(lambda: holder(place.path) and daemon.status(place))
    assert said(start(*command))[0] == 0
    assert old.wait(60) == 0
    status = daemon.status(place)
    assert status is not None
    assert status["server"]["version"] == client.__version__


def test_a_changed_configuration_starts_the_server_anew(start: Start, place: Place, home: Path) -> None:
    assert said(start("search", "heap"))[0] == 0
    before = holder(place.path)
    (home / "config.toml").write_text('[search]\nmode = "lexical"\nlimit = 3\n')
    commands = [start("search", "heap", "-v") for _ in range(3)]
    last = [said(command)[2].splitlines()[-1] for command in commands]
    assert last == [f"ragmacs: the server at {place.path} answered"] * 3
    assert holder(place.path) not in {0, before}
    assert starts(place) == [f"serving at {place.path}"] * 2
    (home / "config.toml").write_text("[search")
    code, _, err = said(start("search", "heap"))
    assert (code, str(home / "config.toml") in err) == (78, True)


def test_a_server_whose_socket_was_removed_is_replaced(start: Start, place: Place) -> None:
    """As a cleaner of /tmp does, while the lock beside it is held."""
    assert said(start("serve", "--detach"))[0] == 0
    lost = holder(place.path)
    place.path.unlink()
    assert said(start("search", "heap", "-v"))[2].endswith(f"the server at {place.path} answered\n")
    assert holder(place.path) not in {0, lost}


def test_who_starts_a_server_has_one_with_the_configuration_of_now(start: Start, place: Place, home: Path) -> None:
    """As Emacs does, whose connection would go on with the old one for ever."""
    found = json.loads(said(start("serve", "--detach", "--http", "0", "--json"))[1])
    (home / "config.toml").write_text('[search]\nmode = "lexical"\nlimit = 3\n')
    anew = json.loads(said(start("serve", "--detach", "--json"))[1])
    assert anew["server"]["pid"] == holder(place.path) != found["server"]["pid"]
    assert anew["server"]["http"] == found["address"]
    assert said(start("serve", "--detach"))[0] == 0
    assert starts(place) == [f"serving at {place.path}"] * 2


def test_a_relative_home_is_the_same_for_who_starts_a_server_and_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"RAGMACS_HOME": "docs"}
    assert Place.of(folders(environ), environ).environ["RAGMACS_HOME"] == str(tmp_path / "docs")
    assert f'"RAGMACS_HOME={tmp_path}/docs"' in daemon.unit(environ)


def test_a_server_that_starts_anew_listens_on_http_as_before(start: Start, place: Place, home: Path) -> None:
    found = json.loads(said(start("serve", "--detach", "--http", "0", "--json"))[1])
    (home / "config.toml").write_text('[search]\nmode = "lexical"\nlimit = 3\n')
    assert said(start("search", "heap", "--quiet"))[::2] == (0, "")
    after = json.loads(said(start("status", "--json"))[1])["server"]
    assert after["pid"] != found["server"]["pid"]
    assert after["http"] == found["address"]


def test_a_second_server_says_which_one_is_there(start: Start, place: Place) -> None:
    first = start("serve")
    until(lambda: holder(place.path) == first.pid)
    code, out, err = said(start("serve"))
    assert (code, out) == (75, "")
    assert err == f"ragmacs: a server is already running at {place.path} (pid {first.pid})\nhint: {STOP} ends it\n"
    assert said(start("serve", "--stop")) == (0, "stopped\n", "")
    assert first.wait(60) == 0
    assert said(start("serve", "--stop")) == (0, "no server was running\n", "")


STOP = "ragmacs serve --stop"


def test_a_server_without_clients_ends_by_itself(start: Start, place: Place, home: Path) -> None:
    with (home / "config.toml").open("a") as file:
        file.write("[serve]\nidle_minutes = 0.02\n")
    assert said(start("ask", "heap"))[0] == 0
    until(lambda: not holder(place.path))
    assert not place.path.exists()
    assert starts(place) == [f"serving at {place.path}"]


DEAF = """
import signal, sys
from pathlib import Path
from ragmacs_srv.serve.place import listening
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
with listening(Path(sys.argv[1])):
    signal.pause()
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for an answer."""
    monkeypatch.setattr(daemon, "ANSWER_S", 0.1)
    monkeypatch.setattr(daemon, "STOP_S", 0.5)


def test_a_server_that_does_not_answer_is_ended_by_a_signal(start: Start, place: Place, impatient: None) -> None:
    deaf = start(str(place.path), code=DEAF)
    until(lambda: holder(place.path))
    assert daemon.stop(place)
    assert deaf.wait(60) == -signal.SIGTERM


def test_a_server_that_does_not_end_is_named(start: Start, place: Place, impatient: None) -> None:
    deaf = start(str(place.path), "stubborn", code=DEAF)
    until(lambda: holder(place.path))
    with pytest.raises(Busy, match=f"pid {deaf.pid}") as refused:
        daemon.stop(place)
    assert refused.value.hint == f"kill -9 {deaf.pid}"
    deaf.kill()
    until(lambda: not holder(place.path))


PAGES = 5


@pytest.fixture
def endless() -> Iterator[Site]:
    """Some pages, and one that never comes."""

    def answer(visit: Visit) -> Answer | bytes | None:
        if visit.path == "/last":
            visit.hang()
            return None
        if visit.path == "/robots.txt":
            return Answer(status=404)
        links = "".join(f'<a href="/p{n}">page {n}</a> ' for n in range(1, PAGES)) + '<a href="/last">the last</a>'
        words = " ".join(f"The collector marks object {visit.path} {n} and moves on." for n in range(80))
        return f"<article><h1>{visit.path}</h1><p>{words}</p><p>{links}</p></article>".encode()

    with serve(answer) as site:
        yield site


@pytest.mark.parametrize("where", ["in the server", "in a process"])
def test_a_crawl_that_is_told_to_end_keeps_what_it_has(
    start: Start, place: Place, home: Path, endless: Site, where: str
) -> None:
    if where == "in the server":
        process = start("serve")
        until(lambda: daemon.status(place))
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(place.path))
            params = {"targets": [f"{endless.origin}/p0"], "name": "site", "allow": [endless.origin]}
            asking.sendall(daemon.frame({"jsonrpc": "2.0", "id": 1, "method": "index/crawl", "params": params}))
            until(lambda: "/last" in endless.asked)
            process.send_signal(signal.SIGTERM)
            assert process.wait(daemon.STOP_S) == 0
    else:
        process = start("crawl", f"{endless.origin}/p0", "--name", "site", "--allow", endless.origin)
        until(lambda: "/last" in endless.asked)
        process.send_signal(signal.SIGTERM)
        assert process.wait(daemon.STOP_S) == 130
    assert soundness.problems(home / "store") == []
    with Store(home / "store") as store:
        assert {url for url in store.urls() if url.startswith(endless.origin)} == {
            f"{endless.origin}/p{n}" for n in range(PAGES)
        }
