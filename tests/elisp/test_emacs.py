"""Emacs runs our Lisp against a real server: each ERT test in an Emacs of its own, within a minute."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragmacs_srv.errors import ToolchainMissing
from ragmacs_srv.golang import toolchain
from tests import demo_site
from tests.conftest import SHARED
from tests.elisp.obedient import obedient
from tests.llm_server import Act, Reply, Request, delta, says, scripted
from tests.servers import Answer, Site, Visit, serve

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
ELEVENTH = "/list/11"  # that is not soon there when it is asked for the first time

Emacs = Callable[..., "subprocess.CompletedProcess[str]"]


def routes(visit: Visit) -> Answer | None:
    """The demo site, and what cannot be read, or not soon."""
    if visit.path.startswith("/slow") or (visit.path == ELEVENTH and visit.site.asked.count(ELEVENTH) == 1):
        visit.hang()
        return None
    if visit.path.startswith("/missing"):
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
def site() -> Iterator[Site]:
    with serve(routes) as running:
        yield running


@contextmanager
def household(home: Path, site: Site, more: str = "") -> Iterator[dict[str, str]]:
    """The environment of who has the guide of SITE indexed in HOME; their server is stopped at the end."""
    (home / "sources").mkdir(parents=True)
    (home / "sources" / "elsewhere.toml").write_text(ELSEWHERE)
    (home / "config.toml").write_text(CONFIG.format(site=site.origin, port=free_port()) + more)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAGMACS_", "EMACS"))}
    test = {"TEST_RAGMACS": RAGMACS, "TEST_SITE": site.origin, "RAGMACS_DEBUG": "1", **go()}
    made = {**kept, **test, "RAGMACS_HOME": str(home), "HOME": str(home)}
    crawl = ["crawl", "https://go.dev/doc/gc-guide", "--depth", "0", "--name", "guide"]
    subprocess.run([*RAGMACS.split(), *crawl], env=made, check=True, capture_output=True, timeout=60)
    if "TEST_GO" in made:  # where nothing was ever built with it, the first build takes longer than a test waits
        subprocess.run([*RAGMACS.split(), "doctor", "--warm"], env=made, check=True, capture_output=True, timeout=300)
    yield made
    subprocess.run([*RAGMACS.split(), "serve", "--stop"], env=made, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[dict[str, str]]:
    with obedient() as model, household(tmp_path_factory.mktemp("emacs") / "home", site) as made:
        yield {**made, "TEST_MODEL": model}


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


def watched(emacs: Emacs, name: str, **extra: str) -> None:
    """Run the test NAME of those whose other side we watch."""
    run = f'(ert-run-tests-batch-and-exit "^ragmacs-srv-watched-{name}$")'
    done = emacs("-l", str(HERE / "ragmacs-srv-watched.el"), "--eval", run, **extra)
    assert done.returncode == 0, done.stderr


def test_a_reading_list_that_is_stopped_goes_on_and_asks_for_no_page_twice(emacs: Emacs, site: Site) -> None:
    paths = [f"/list/{n}" for n in range(1, 21)]
    paths[2], paths[6], paths[14] = "/missing/3", "/missing/7", "/broken.pdf"
    before = len(site.asked)
    watched(emacs, "reading-list", TEST_LIST=" ".join(site.origin + path for path in paths))
    assert Counter(site.asked[before:]) == {**dict.fromkeys(paths, 1), ELEVENTH: 2}  # it had not come


def test_an_aborted_chat_ends_what_the_model_writes(emacs: Emacs, site: Site, tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        if "slowly" in request.body["messages"][-1]["content"]:
            return Reply([delta("GOGC sets "), delta("how far the heap may grow [1]. "), delta("It "), Act.HANG])
        return says("GOGC sets how far the heap may grow [1].")

    with (
        scripted(answer=answer) as model,
        household(tmp_path / "emacs", site, f'[llm]\nbase_url = "{model.url}"\nmodel = "m"\n') as made,
    ):
        watched(emacs, "abort", **made)
        assert model.hung_up.wait(20)
        assert len(model.requests) == 2


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


SAYS_WHERE = "(princ (plist-get (ragmacs-srv-request-and-wait :index/status nil) :index))"
USE = """
  (progn
    (if (require 'use-package nil t)                 ; since Emacs 29
        (progn
          (load (getenv "INIT"))
          (when (featurep 'ragmacs-srv) (error "It is loaded at once")))
      (let ((use (with-temp-buffer (insert-file-contents (getenv "INIT")) (cddr (read (current-buffer))))))
        (load (expand-file-name "ragmacs-srv" (plist-get use :load-path)))
        (global-set-key (kbd "C-c r") ragmacs-srv-command-map)
        (dolist (each (plist-get use :commands))
          (unless (commandp each) (error "%s is no command" each)))
        (setq ragmacs-srv-command (eval (cadr (plist-get use :custom))))))
    (unless (commandp 'ragmacs-srv-menu) (error "There is no menu"))
    (unless (key-binding (kbd "C-c r")) (error "There is no key"))
    (ragmacs-srv-status))
"""


def alone(environ: dict[str, str], init: Path, *forms: str) -> subprocess.CompletedProcess[str]:
    """FORMS in an Emacs that knows of us only what the file INIT, named in its environment, says."""
    command = ["emacs", "-Q", "--batch", *(arg for form in forms for arg in ("--eval", form))]
    env = {**environ, "INIT": str(init), "RAGMACS_HOME": "/nowhere"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_the_lines_for_the_init_file_are_all_that_an_emacs_needs(environ: dict[str, str], tmp_path: Path) -> None:
    init = tmp_path / "init.el"
    with init.open("w") as out:
        subprocess.run([*RAGMACS.split(), "emacs"], env=environ, check=True, stdout=out, timeout=60)
    done = alone(environ, init, USE, SAYS_WHERE)
    assert done.returncode == 0, done.stderr
    assert environ["RAGMACS_HOME"] in done.stdout


def test_the_lines_of_the_manual_do_the_same(environ: dict[str, str], tmp_path: Path) -> None:
    blocks = re.findall(r"#\+begin_src emacs-lisp\n(.*?)#\+end_src", (ELISP / "ragmacs-srv.org").read_text(), re.DOTALL)
    command = " ".join(
        f'"{word}"' for word in [*RAGMACS.split(), "serve", "--stdio", "--home", environ["RAGMACS_HOME"]]
    )
    init = tmp_path / "init.el"
    init.write_text(blocks[0].replace("/FOLDER/elisp", str(ELISP)) + f"(setq ragmacs-srv-command '({command}))")
    bound = '(unless (eq (key-binding (kbd "C-c r a")) (quote ragmacs-srv-ask)) (error "There is no key"))'
    done = alone(environ, init, '(load (getenv "INIT"))', bound, SAYS_WHERE)
    assert done.returncode == 0, done.stderr
    assert environ["RAGMACS_HOME"] in done.stdout
