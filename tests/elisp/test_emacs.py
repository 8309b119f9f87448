"""Emacs runs our Lisp against a real server: each ERT test in an Emacs of its own, within a minute."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragmacs_srv.errors import ToolchainMissing
from ragmacs_srv.golang import toolchain
from tests import demo_site
from tests.conftest import SHARED
from tests.elisp.obedient import obedient
from tests.servers import Answer, Visit, serve

pytestmark = [pytest.mark.emacs, pytest.mark.skipif(not shutil.which("emacs"), reason="emacs is not installed")]

HERE = Path(__file__).parent
ELISP = HERE.parents[1] / "elisp"
RAGMACS = f"{sys.executable} -m ragmacs_srv"
TESTS = [
    (path, name)
    for path in sorted(HERE.glob("*-tests.el"))
    for name in re.findall(r"^\((?:ert|[\w-]+)-deftest (\S+)", path.read_text(), re.MULTILINE)
]
CONFIG = """\
[search]
mode = "lexical"
[network]
allow = ["{site}"]
mirror = ["https://go.dev={site}"]
[serve]
http_port = {port}
"""
ELSEWHERE = 'title = "A site that nobody read yet"\nseeds = ["https://elsewhere.example/doc"]\n'

Emacs = Callable[..., "subprocess.CompletedProcess[str]"]


def routes(visit: Visit) -> Answer | None:
    """The demo site, and what cannot be read, or not soon."""
    if visit.path.startswith("/slow"):
        visit.hang()
        return None
    if visit.path == "/missing":
        return Answer(b"no such page", 404)
    if visit.path == "/broken.pdf":
        return Answer(b"%PDF-1.4\nnothing that could be read", type="application/pdf")
    return demo_site.answer(visit)


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def go() -> dict[str, str]:
    """What says that there is a Go, and keeps the build cache of the user for it: to fill one takes minutes."""
    try:
        found = toolchain.find(os.environ)
    except ToolchainMissing:
        return {}
    return {"TEST_GO": found.version, "GOCACHE": os.environ.get("GOCACHE") or str(Path.home() / ".cache/go-build")}


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of an Emacs whose server has the demo site's guide indexed; the server is stopped at the end."""
    home = tmp_path_factory.mktemp("emacs")
    (home / "sources").mkdir()
    (home / "sources" / "elsewhere.toml").write_text(ELSEWHERE)
    with serve(routes) as site, obedient() as model:
        (home / "config.toml").write_text(CONFIG.format(site=site.origin, port=free_port()))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAGMACS_", "EMACS"))}
        test = {"TEST_RAGMACS": RAGMACS, "TEST_SITE": site.origin, "TEST_MODEL": model, "RAGMACS_DEBUG": "1"}
        made = {**kept, **test, **go(), "RAGMACS_HOME": str(home), "HOME": str(home)}
        crawl = ["crawl", "https://go.dev/doc/gc-guide", "--depth", "0", "--name", "guide"]
        subprocess.run([*RAGMACS.split(), *crawl], env=made, check=True, capture_output=True, timeout=60)
        yield made
        subprocess.run([*RAGMACS.split(), "serve", "--stop"], env=made, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def emacs(environ: dict[str, str]) -> Emacs:
    """Run an Emacs that finds our files and the packages they work with: emacs("-l", FILE, …)."""
    make = ["make", "--silent", "--no-print-directory", "-C", str(ELISP)]
    subprocess.run([*make, "compile"], check=True, timeout=300)
    found = subprocess.run([*make, "load-path"], check=True, capture_output=True, text=True, timeout=60)

    def run(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        command = ["emacs", "-Q", "--batch", *found.stdout.split(), "-L", str(HERE), *args]
        return subprocess.run(command, env={**environ, **extra}, capture_output=True, text=True, timeout=60)

    return run


@pytest.mark.parametrize(("path", "name"), TESTS, ids=[name for _, name in TESTS])
def test_in_emacs(emacs: Emacs, path: Path, name: str) -> None:
    done = emacs("-l", str(path), "--eval", f'(ert-run-tests-batch-and-exit "^{re.escape(name)}$")')
    if skipped := re.search(r"^ +SKIPPED.*|^Test \S+ skipped.*", done.stderr, re.MULTILINE):
        pytest.skip(skipped[0].strip())
    print(done.stderr)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["compile", "checkdoc", "lint"])
def test_our_lisp_passes(emacs: Emacs, target: str) -> None:
    done = subprocess.run(["make", "--silent", "-C", str(ELISP), target], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_protocol_check_of_jsonrpc_el_passes(emacs: Emacs) -> None:
    check = SHARED / "protocol" / "emacs_jsonrpc.el"
    if not check.is_file():
        pytest.skip("no protocol checks beside the checkout (../shared)")
    done = emacs("-l", str(check), RPC_CMD=f"{RAGMACS} serve --stdio", RPC_METHOD="ping")
    assert done.returncode == 0, done.stdout


def test_the_lines_for_the_init_file_name_our_files_commands_and_program(emacs: Emacs, environ: dict[str, str]) -> None:
    made = subprocess.run(
        [*RAGMACS.split(), "emacs"], env=environ, check=True, capture_output=True, text=True, timeout=60
    )
    check = """
      (let* ((form (read (getenv "SNIPPET"))) (folder (plist-get (cddr form) :load-path)))
        (load (expand-file-name "ragmacs-srv" folder))
        (dolist (each (plist-get (cddr form) :commands))
          (unless (commandp each) (error "%s is no command" each)))
        (setq ragmacs-srv-command (eval (cadr (plist-get (cddr form) :custom))))
        (princ (plist-get (ragmacs-srv-request-and-wait :index/status nil) :index)))
    """
    done = emacs("--eval", check, SNIPPET=made.stdout, RAGMACS_HOME="/nowhere")
    assert done.returncode == 0, done.stderr
    assert environ["RAGMACS_HOME"] in done.stdout
