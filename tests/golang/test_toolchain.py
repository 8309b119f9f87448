"""The user's Go runs under the policy, and whatever it has started ends with it."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import Cancelled, InvalidParams, ToolchainFailed, ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import toolchain
from ragmacs_srv.golang.toolchain import Target, Toolchain
from ragmacs_srv.processes import Output

MODULE = "module example.com/m\n\ngo 1.22\n"
MARK = "the marker that only foreign code writes"


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def pretend(folder: Path, version: str) -> Path:
    """A program that says it is Go VERSION."""
    return script(folder / "go", f"""echo '{{"GOROOT": "{folder}", "GOVERSION": "{version}"}}'""")


def python(code: str, cancel: Cancel | None = None, **options: object) -> Output:
    command = [sys.executable, "-c", code]
    return toolchain.started(command, cwd=Path.cwd(), environ={}, cancel=cancel or Cancel(), **options)  # type: ignore[arg-type]


# Finding it


def test_without_go_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing) as caught:
        toolchain.find({}, configured=str(tmp_path / "go"))
    assert (caught.value.data, "install Go" in caught.value.hint) == ({"kind": "go_missing"}, True)


@pytest.mark.parametrize("version", ["go1.19.8", "go1.21.13"])
def test_a_go_that_computes_wrong_sizes_is_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing, match=version) as caught:
        toolchain.find({"PATH": "/bin"}, configured=str(pretend(tmp_path, version)))
    assert caught.value.data == {"kind": "go_too_old"}


@pytest.mark.parametrize(
    ("version", "release"), [("go1.27.3", (1, 27)), ("go1.28rc1", (1, 28)), ("devel go1.28-0abc12 Mon", (1, 28))]
)
def test_the_release_is_read_from_what_go_says(version: str, release: tuple[int, int], tmp_path: Path) -> None:
    assert toolchain.find({"PATH": "/bin"}, configured=str(pretend(tmp_path, version))).release == release


@pytest.mark.parametrize("body", ["exit 1", "echo '{}'", "echo '[]'", 'echo \'{"GOROOT": 1, "GOVERSION": "x"}\'', ""])
def test_what_is_no_go_is_not_taken_for_one(body: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainMissing):
        toolchain.find({"PATH": "/bin"}, configured=str(script(tmp_path / "go", body)))


# Running it


@pytest.fixture
def stub(tmp_path: Path) -> Toolchain:
    """A go that prints its environment."""
    program = script(tmp_path / "prints-env", "env")
    return Toolchain(program, "go1.27.3", (1, 27), tmp_path, {"PATH": "/usr/bin:/bin"} | toolchain.POLICY)


def seen(go: Toolchain, **target: object) -> dict[str, str]:
    done = toolchain.run(go, ["list"], cwd=Path("/"), cancel=Cancel(), target=Target(**target))  # type: ignore[arg-type]
    return dict(line.split("=", 1) for line in done.stdout.decode().splitlines())


def test_nothing_of_the_users_environment_reaches_go_but_its_caches(stub: Toolchain, tmp_path: Path) -> None:
    evil = dict.fromkeys(("GOFLAGS", "GOCACHEPROG", "GOAUTH", "CC", "GOROOT", "GODEBUG", "LD_PRELOAD", "KEY"), MARK)
    found = toolchain.find({"PATH": "/bin", "GOPATH": "/p", **evil}, str(pretend(tmp_path, "go1.27.3")))
    assert MARK not in str(found.environ)
    assert found.environ["GOPATH"] == "/p"
    environ = seen(stub)
    assert {"GOENV": "off", "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOWORK": "off", "CGO_ENABLED": "0"}.items() <= (
        environ.items()
    )
    assert environ["GOFLAGS"]


def test_what_is_opted_into_is_given(stub: Toolchain) -> None:
    environ = seen(stub, cgo=True, workspace=True, goarch="386", goos="windows")
    assert (environ["CGO_ENABLED"], environ["GOARCH"], environ["GOOS"]) == ("1", "386", "windows")
    assert "GOWORK" not in environ


def test_an_exit_status_is_returned_with_what_was_said() -> None:
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.code, done.stdout, done.stderr) == (3, b"out\n", "err\n")


def test_what_is_sent_arrives_whole() -> None:
    sent = os.urandom(1 << 20)
    done = python("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin=sent)
    assert done.stdout == sent


def test_a_program_need_not_read_what_it_is_sent() -> None:
    assert python("pass", stdin=bytes(1 << 20)).code == 0


GRANDCHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
"""


def gone(pid: int) -> bool:
    """Whether the process PID ends within ten seconds; one that nobody waits for is over, too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (OSError, ProcessLookupError):
            return True
    return False


def test_what_a_command_left_running_ends_with_it() -> None:
    done = python(GRANDCHILD)
    assert gone(int(done.stdout))


@pytest.mark.slow
def test_a_command_that_takes_too_long_is_stopped_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(ToolchainFailed, match="took more than") as caught:
        python(GRANDCHILD.replace("print(child.pid, flush=True)", f"open({str(note)!r}, 'w').write(str(child.pid))")
               + "\ntime.sleep(600)", seconds=2)  # fmt: skip
    assert caught.value.data == {"kind": "timeout"}
    assert gone(int(note.read_text()))


def test_a_command_that_prints_too_much_is_stopped() -> None:
    with pytest.raises(ToolchainFailed, match="printed more than") as caught:
        python("while True: print('x' * 1000)", limit=1 << 20)
    assert caught.value.data == {"kind": "too_large"}


def test_a_cancelled_command_ends_at_once() -> None:
    cancel = Cancel()
    threading.Timer(0.2, cancel.cancel).start()
    with pytest.raises(Cancelled):
        python("import time; time.sleep(600)", cancel)


def test_a_cancelled_call_is_cancelled_before_it_begins_too() -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Cancelled):
        python("import time; time.sleep(600)", cancel)


def test_a_folder_that_is_not_there_is_named(stub: Toolchain) -> None:
    with pytest.raises(ToolchainMissing, match="/nowhere"):
        toolchain.run(stub, ["list"], cwd=Path("/nowhere"), cancel=Cancel())


# What the caller may name


@pytest.mark.parametrize(
    "text", ["", "-o=/tmp/x", "--", "./...", "net/...", "example.com/m@v1.2.3", "a\nb", "a\x00b", "\x1b[31m"]
)
def test_what_go_could_misread_is_refused(text: str) -> None:
    with pytest.raises(InvalidParams):
        toolchain.operand(text)


@pytest.mark.parametrize("text", ["/home/you/secret.go", "./m.go", "../m.go", "internal/../../m.go"])
def test_a_file_is_no_package_wherever_it_is(text: str) -> None:
    with pytest.raises(InvalidParams, match="cannot be"):
        toolchain.operand(text)


PASS = ["net/http", ".", "./internal/pool", "../other", "/abs/path", "example.com/m/v2", "é", "example.com/nats.go"]


@pytest.mark.parametrize("text", PASS)
def test_a_package_passes_as_it_is(text: str) -> None:
    assert toolchain.operand(text) == text


@given(st.text())
def test_no_operand_is_a_flag_or_several_packages(text: str) -> None:
    try:
        passed = toolchain.operand(text)
    except InvalidParams:
        return
    assert passed == text and not passed.startswith("-") and "..." not in passed and "\0" not in passed


# The real one


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text(MODULE)
    (tmp_path / "main.go").write_text("package main\n\nfunc main() {}\n")
    return tmp_path


def listed(go: Toolchain, cwd: Path, *arguments: str, **options: object) -> Output:
    return toolchain.run(go, ["list", *arguments], cwd=cwd, cancel=Cancel(), **options)  # type: ignore[arg-type]


@pytest.mark.go
def test_an_overlay_replaces_a_file_and_errors_name_the_real_one(go: Toolchain, module: Path) -> None:
    broken = module / "main.go"
    done = toolchain.run(
        go, ["vet", "--", "."], cwd=module, cancel=Cancel(), overlay={broken: "package main\n\nfunc main() { x }\n"}
    )
    assert done.code != 0
    assert "main.go:3:15: undefined: x" in done.stderr
    assert "ragmacs-go-" not in done.stderr


@pytest.mark.go
def test_a_repository_cannot_run_a_program_of_its_own(go: Toolchain, module: Path) -> None:
    marker = module / "marker"
    hook = script(module / "hook", f"echo {MARK} > {marker}")
    (module / ".git").mkdir()
    (module / ".git" / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {hook}\n")
    (module / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (module / ".git" / "objects").mkdir()
    (module / ".git" / "refs").mkdir()
    environ = {**go.environ, "GOFLAGS": f"-toolexec={hook}", "CC": str(hook)}
    again = toolchain.find(environ, str(go.program))
    assert listed(again, module, "-export", "-json", "--", ".").code == 0
    assert not marker.exists()


@pytest.mark.go
def test_another_toolchain_is_not_fetched(go: Toolchain, module: Path) -> None:
    (module / "go.mod").write_text("module example.com/m\n\ngo 1.99\n")
    done = listed(go, module, "--", ".")
    assert (done.code, "requires go >= 1.99" in done.stderr) == (1, True)
