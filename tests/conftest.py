"""What every test gets: a home of its own, no way off this machine, and a store that holds something."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from ragmacs_srv import cli, meeting, settings
from ragmacs_srv.app import App
from ragmacs_srv.ingest import worker
from ragmacs_srv.serve.place import holder
from tests import demo_site
from tests.servers import Site, serve

SHARED = Path(__file__).resolve().parents[2] / "shared"
TOOLS = {"model", "go", "llmserver", "emacs", "slow"}  # with CI=1 none of these may be skipped


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script: children would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty RAGMACS_HOME, whose server does not outlive the test; no other setting leaks in from the environment."""
    for name in [name for name in os.environ if name.startswith("RAGMACS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("RAGMACS_HOME", str(folder))
    yield folder
    assert not holder(Path(meeting.socket_path(str(folder), os.environ))), "a server was left behind"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting to anything but loopback is a failure of the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test tried to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def page_reader() -> Iterator[worker.Extractor]:
    """One page reader for all tests of this process: to start one takes as long as to read thirty pages."""

    class Kept(worker.Extractor):
        def close(self) -> None:
            """Whoever asked for it is done; the next test is not."""

    kept = Kept()
    yield kept
    worker.Extractor.close(kept)


@pytest.fixture(autouse=True)
def kept_page_reader(page_reader: worker.Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every App reads pages with it."""
    monkeypatch.setattr(worker, "Extractor", lambda: page_reader)


@pytest.fixture(scope="session")
def handbook_store(page_reader: worker.Extractor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first question to an empty home leaves there; its files never change."""
    environ = {"RAGMACS_HOME": str(tmp_path_factory.mktemp("handbook")), "RAGMACS_SEARCH_MODE": "lexical"}
    with pytest.MonkeyPatch.context() as patch, App(settings.load(environ), environ) as app:
        patch.setattr(worker, "Extractor", lambda: page_reader)
        app.generation()
    return app.settings.folders.handbook


@pytest.fixture
def handbook(home: Path, handbook_store: Path) -> Path:
    """The home, after the first question: the handbook is indexed, and nothing else."""
    shutil.copytree(handbook_store, settings.folders({"RAGMACS_HOME": str(home)}).handbook)
    return home


@pytest.fixture
def site() -> Iterator[Site]:
    """A small site of our own that answers under go.dev's paths."""
    with serve(demo_site.answer) as running:
        yield running


@pytest.fixture(scope="session")
def shared() -> Path:
    """The saved pages and questions beside the checkout; the test is skipped without them."""
    if not SHARED.is_dir():
        pytest.skip("no saved pages beside the checkout (../shared)")
    return SHARED


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ragmacs() -> Run:
    """Run the command line in a process of its own: ragmacs("ask", "…", env={…}, input="…")."""

    def run(*args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ragmacs_srv.cli", *args]
        return subprocess.run(
            command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=120, **options
        )

    return run


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def run(handbook: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process, without vectors, where one question was asked: run("ask", "…", stdin="…")."""
    monkeypatch.setenv("RAGMACS_SEARCH_MODE", "lexical")

    def run(*args: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["ragmacs", *args])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
        code = 0
        try:
            cli.main()
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


def pytest_configure(config: pytest.Config) -> None:
    """A quarter of hypothesis's examples where a part of the tests runs, all of them where all tests do."""
    few = {"max_examples": 25} if config.option.markexpr else {}
    hypothesis.settings.register_profile("ours", **few)
    hypothesis.settings.load_profile("ours")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """In CI a tool that is missing is a failure, not a skip."""
    report = yield
    tools = TOOLS.intersection(mark.name for mark in item.iter_markers())
    excused = item.get_closest_marker("shared") is not None and not SHARED.is_dir()
    if os.environ.get("CI") == "1" and report.skipped and tools and not excused:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped in CI: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}"
        )
    return report
