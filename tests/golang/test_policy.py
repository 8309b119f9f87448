"""Code that came from anywhere is looked at, and nothing of it runs: no tool leaves a trace of what it would do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv import registry
from ragmacs_srv.errors import AddressRefused, Cancelled, InvalidParams, RagmacsError, ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import helper, toolchain
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Workshop
from tests.golang.conftest import written
from tests.golang.test_toolchain import gone, script

# Every tool that reads the user's code, with arguments for a package `.` that declares T; a new tool is one line more.
READERS: dict[str, dict[str, Any]] = {
    "struct_layout": {"package": ".", "type": "T"},
    "go_escape": {"package": "."},
    "go_doc": {"name": ".", "source": True},
    "go_typedef": {"package": ".", "type": "T"},
    "go_check": {"package": "."},
    "go_fill_type": {"package": ".", "type": "T"},
}
RUNNERS: dict[str, dict[str, Any]] = {"go_bench_allocs": {"package": "."}}
SECRET = "Secret123"  # the first word of a file that is in no root
GOMOD = "module example.com/m\n\ngo 1.22\n"


@dataclass(frozen=True)
class Stand:
    """The App, as far as the tools of Go use it."""

    workshop: Workshop


@dataclass(frozen=True)
class Trap:
    """A module in `root`, and programs that write `marker` when somebody runs them."""

    root: Path
    hook: Path
    marker: Path


def shadowed(trap: Trap) -> None:
    """Programs that Go would run stand first on PATH."""
    for name in ("git", "hg", "gcc", "cc", "g++", "clang", "pkg-config", "ld"):
        trap.hook.with_name(name).symlink_to(trap.hook)


def git(trap: Trap) -> None:
    config = f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {trap.hook}\n\thooksPath = {trap.hook.parent}\n"
    written(
        trap.root,
        {
            ".git/config": config,
            ".git/HEAD": "ref: refs/heads/main\n",
            "m.go": "package main\n\ntype T struct{ A bool }\n\nfunc main() {}\n",
        },
    )
    for name in ("objects", "refs"):
        (trap.root / ".git" / name).mkdir()


def env_file(trap: Trap) -> None:
    written(
        trap.root.parent, {"home/.config/go/env": f"GOFLAGS=-toolexec={trap.hook}\nCC={trap.hook}\nCGO_ENABLED=1\n"}
    )


def cgo(trap: Trap) -> None:
    code = f'package m\n\n// #cgo pkg-config: x\n// #cgo CFLAGS: -B{trap.hook.parent}\nimport "C"\n\ntype U C.int\n'
    written(trap.root, {"c.go": code})


def newer(trap: Trap) -> None:
    written(trap.root, {"go.mod": "module example.com/m\n\ngo 1.99\n\ntoolchain go1.99.1\n"})


def replaced(trap: Trap) -> None:
    written(
        trap.root.parent, {"outside/go.mod": "module example.com/o\n", "outside/o.go": "package o\n\ntype O struct{}\n"}
    )
    require = "\nrequire example.com/o v0.0.0\n\nreplace example.com/o => ../outside\n"
    written(trap.root, {"go.mod": GOMOD + require, "o.go": 'package m\n\nimport "example.com/o"\n\nvar _ o.O\n'})


def effects(trap: Trap) -> None:
    write = f'os.WriteFile("{trap.marker}", nil, 0o666)'
    code = f'package m\n\nimport "os"\n\n//go:generate {trap.hook}\nvar _ = {write}\n\nfunc init() {{ {write} }}\n'
    test = f'package m\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc TestMain(m *testing.M) {{ {write} }}\n'
    written(trap.root, {"e.go": code, "e_test.go": test})


def vendored(trap: Trap) -> None:
    written(
        trap.root,
        {
            "vendor/modules.txt": "# example.com/x v1.0.0 => /etc\n## explicit\nexample.com/x\n",
            "vendor/example.com/x/x.go": "package x\n",
        },
    )


def workspace(trap: Trap) -> None:
    written(trap.root.parent, {"go.work": "go 1.99\n\nuse ./nowhere\n\nreplace example.com/m => /etc\n"})


def lines(trap: Trap) -> None:
    wrong = "package m\n\n/*line ../secret:1:1*/ var Y = F() + Z\n"
    written(
        trap.root, {"l.go": "package m\n\n//line ../secret:1\nfunc F() *int { x := 1; return &x }\n", "w.go": wrong}
    )


def linked(trap: Trap) -> None:
    (trap.root / "p.go").symlink_to(trap.root.parent / "secret")


def only_linked(trap: Trap) -> None:
    (trap.root / "m.go").unlink()
    linked(trap)


def included(trap: Trap) -> None:
    """An assembler file takes in another, and errors quote it."""
    written(trap.root, {"s.s": '#include "../secret"\n', "d.go": "package m\n\nfunc f(int)\n"})


def circle(trap: Trap) -> None:
    (trap.root / "loop").symlink_to(trap.root)
    (trap.root / "a.go").symlink_to("a.go")


def directives(trap: Trap) -> None:
    flags = f'//go:cgo_ldflag "-B{trap.hook.parent}"\n//go:debug madvdontneed=1\n//go:embed ../secret\nvar E string\n'
    code = f'package m\n\nimport _ "unsafe"\nimport _ "embed"\n\n//go:linkname f os.exit\nfunc f(int)\n\n{flags}'
    written(trap.root, {"d.go": code, "go.mod": f"{GOMOD}\ntool example.com/m/{'x' * 50}\n"})


def bytes_of_any_kind(trap: Trap) -> None:
    (trap.root / "b.go").write_bytes(b"package m\xff\x00\n\x1b[31m" + bytes(range(256)))


TRAPS: list[Callable[[Trap], None]] = [
    shadowed, git, env_file, cgo, newer, replaced, effects, vendored, workspace, lines, linked, only_linked, included,
    circle, directives, bytes_of_any_kind,
]  # fmt: skip


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    marker = tmp_path / "marker"
    (tmp_path / "bin").mkdir()
    hook = script(tmp_path / "bin" / "hook", f'echo "$@" >> {marker}; exec "$@"')
    written(tmp_path, {"secret": f"{SECRET} of another user\n"})
    root = written(tmp_path / "module", {"go.mod": GOMOD, "m.go": "package m\n\ntype T struct{ A bool; B int64 }\n"})
    return Trap(root, hook, marker)


def environ(go: Toolchain, trap: Trap) -> dict[str, str]:
    """What a user has who was made to set everything that runs programs."""
    home = trap.root.parent / "home"
    return {
        **go.environ,
        "PATH": f"{trap.hook.parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "GOENV": str(home / ".config/go/env"),
        "GOFLAGS": f"-toolexec={trap.hook}",
        "GOCACHEPROG": str(trap.hook),
        "CC": str(trap.hook),
        "PKG_CONFIG": str(trap.hook),
        "GOPROXY": "https://example.com",
    }


@pytest.mark.go
@pytest.mark.parametrize("setting", TRAPS, ids=lambda each: each.__name__)
def test_no_tool_runs_anything_of_the_code_that_it_reads(
    setting: Callable[[Trap], None], go: Toolchain, cache: Path, trap: Trap
) -> None:
    setting(trap)
    found = toolchain.find(environ(go, trap), str(go.program))
    stand = Stand(Workshop(lambda: found, cache, (trap.root,), Cancel()))
    for name, arguments in READERS.items():
        said = outcome(stand, name, {**arguments, "folder": str(trap.root)})
        assert SECRET not in said, f"{name} shows a file that is in no root"
        assert not trap.marker.exists(), f"{name} ran {trap.marker.read_text()}"


def outcome(stand: Stand, name: str, arguments: dict[str, Any]) -> str:
    """What the tool NAME says; a failure must say what to do."""
    try:
        done = registry.lookup(name).run(stand, **arguments)
        return f"{done.text} {done.data}"
    except RagmacsError as exc:
        assert exc.message and exc.hint and isinstance(exc.data.get("kind", ""), str)
        assert "kind" in exc.data or isinstance(exc, AddressRefused | InvalidParams)
        return f"{exc.message} {exc.hint} {exc.data}"


@pytest.mark.go
def test_the_traps_would_go_off(go: Toolchain, trap: Trap) -> None:
    """Without the policy what is set here does run."""
    env_file(trap)
    unguarded = {**go.environ, "HOME": str(trap.root.parent / "home"), "GOROOT": str(go.goroot)}
    unguarded |= {"GOENV": str(trap.root.parent / "home/.config/go/env"), "CGO_ENABLED": "0"}
    del unguarded["GOFLAGS"]
    command = [str(go.program), "list", "-export", "."]
    subprocess.run(command, cwd=trap.root, env=unguarded, capture_output=True, timeout=200)
    assert trap.marker.exists()


@pytest.mark.parametrize("name", READERS | RUNNERS)
@pytest.mark.parametrize("text", ["-o=/tmp/x", "-toolexec=/bin/sh", "--", "./...", "x@latest", "a\nb", "-http"])
def test_a_package_that_is_a_flag_reaches_no_program(name: str, text: str, tmp_path: Path) -> None:
    go = Toolchain(script(tmp_path / "go", f"touch {tmp_path}/ran"), "go1.27.3", (1, 27), tmp_path, {})
    arguments = {key: text if value == "." else value for key, value in (READERS | RUNNERS)[name].items()}
    stand = Stand(Workshop(lambda: go, tmp_path, (tmp_path,), Cancel()))
    with pytest.raises(InvalidParams) as caught:
        registry.lookup(name).run(stand, **arguments)
    assert caught.value.hint
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", READERS | RUNNERS)
@pytest.mark.parametrize("folder", ["/etc", "link", "link/../../outside", "relative"])
def test_a_folder_outside_of_the_roots_is_not_entered(name: str, folder: str, tmp_path: Path) -> None:
    root = written(tmp_path / "root", {"m.go": "package m\n"})
    written(tmp_path / "outside", {"m.go": "package m\n"})
    (root / "link").symlink_to(tmp_path / "outside")
    arguments = {**(READERS | RUNNERS)[name], "folder": str(root / folder) if folder.startswith("link") else folder}
    stand = Stand(Workshop(lambda: pytest.fail("no Go is needed"), tmp_path, (root,), Cancel()))
    with pytest.raises(AddressRefused) as caught:
        registry.lookup(name).run(stand, **arguments)
    assert "roots" in caught.value.hint


@pytest.mark.go
@pytest.mark.parametrize("name", READERS)
def test_packages_outside_of_the_roots_are_not_shown(name: str, go: Toolchain, cache: Path, trap: Trap) -> None:
    outside = "package o\n\ntype T struct{ Hidden int }\n\nfunc F() *T { hidden := T{}; return &hidden }\n"
    replaced(trap)
    written(trap.root.parent, {"outside/o.go": outside, "outside/type.go": "package o\n\ntype O struct{}\n"})
    (trap.root / "link").symlink_to(trap.root.parent / "outside")
    stand = Stand(Workshop(lambda: go, cache, (trap.root,), Cancel()))
    for package in ("example.com/o", "../outside", str(trap.root.parent / "outside"), "./link"):
        arguments = {key: package if value == "." else value for key, value in READERS[name].items()}
        with pytest.raises(AddressRefused):
            registry.lookup(name).run(stand, **arguments)


def test_what_runs_code_asks_a_person_first() -> None:
    for name, arguments in RUNNERS.items():
        assert registry.question(None, name, arguments).startswith("Run ")
    assert {each.name for each in registry.tools() if each.changes_state} >= RUNNERS.keys()
    for name, arguments in READERS.items():
        assert registry.question(None, name, arguments) == ""


# Without Go, and while it is made ready


@pytest.mark.parametrize("name", READERS | RUNNERS)
def test_without_go_every_tool_says_so_faster_than_a_program_starts(name: str, tmp_path: Path) -> None:
    stand = Stand(Workshop(lambda: toolchain.find({}, "/nowhere/go"), tmp_path, (tmp_path,), Cancel()))
    took = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(ToolchainMissing) as caught:
            registry.lookup(name).run(stand, **(READERS | RUNNERS)[name])
        took.append(time.perf_counter() - began)
        assert (caught.value.data["kind"], "install Go" in caught.value.hint) == ("go_missing", True)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    assert min(took) < time.perf_counter() - began


def fake(tmp_path: Path, body: str) -> Toolchain:
    """A go whose every command is BODY; `$out` is what `build` should write."""
    find = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && out="$2"; shift; done'
    return Toolchain(
        script(tmp_path / "go", f"{find}\n{body}"), "go1.27.3", (1, 27), tmp_path, {"PATH": "/usr/bin:/bin"}
    )


def waited_for(path: Path) -> str:
    """What stands in the file PATH, once it does."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} was never written"
        threading.Event().wait(0.01)
    return path.read_text()


def test_a_build_that_is_cancelled_ends_with_all_that_it_started(tmp_path: Path) -> None:
    go = fake(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; wait")
    cancel, ended = Cancel(), []

    def build() -> None:
        with pytest.raises(Cancelled):
            helper.built(go, Workshop(lambda: go, tmp_path / "cache", (), cancel))
        ended.append(True)

    thread = threading.Thread(target=build)
    thread.start()
    pids = [int(waited_for(tmp_path / name)) for name in ("parent", "child")]
    cancel.cancel()
    thread.join(60)
    assert ended
    assert all(map(gone, pids))
    assert not list((tmp_path / "cache").rglob("helper"))


class Watched(Cancel):
    """Tells when somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Event()

    def wait(self, seconds: float) -> None:
        self.waits.set()
        super().wait(seconds)


def test_two_who_need_the_program_at_once_build_it_once(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    body = f"echo built >> {tmp_path}/builds; while [ ! -e {gate} ]; do sleep 0.01; done; echo done > $out"
    go, second = fake(tmp_path, body), Watched()
    made: list[Path] = []

    def build(cancel: Cancel) -> threading.Thread:
        shop = Workshop(lambda: go, tmp_path / "cache", (), cancel)
        thread = threading.Thread(target=lambda: made.append(helper.built(go, shop)))
        thread.start()
        return thread

    threads = [build(Cancel())]
    waited_for(tmp_path / "builds")
    threads.append(build(second))
    assert second.waits.wait(60), "the second one does not wait for the first"
    gate.touch()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2 and made[0] == made[1]
    assert (tmp_path / "builds").read_text() == "built\n"
