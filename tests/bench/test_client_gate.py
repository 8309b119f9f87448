"""A search through a running server costs little more than starting Python: CPU times of whole processes, in one run.

The lowest of many runs counts, since other work on the machine only ever adds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.real_server import real
from tests.search import library

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RUNS = 20
MOST = 3.0
# What pip writes; newer versions of it do without `re`, but then the client pays for that, since json needs it.
SCRIPT = """\
# -*- coding: utf-8 -*-
import re
import sys
from ragmacs_srv.client import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""


def spent(command: Sequence[str]) -> float:
    """The CPU time of one process, in milliseconds of user and system."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return 1000 * (used.ru_utime + used.ru_stime)


def test_a_search_through_the_server_costs_at_most_three_pythons(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.build(home / "store")
    (home / "config.toml").write_text('[search]\nmode = "lexical"\n')
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # pip compiles what it installs
    script = tmp_path / "console-script"
    script.write_text(SCRIPT)
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "an empty console script": [sys.executable, "-c", "import re, sys"],
        "ragmacs search": [sys.executable, str(script), "search", "heap limit"],
    }
    with real(os.environ) as server:
        rounds = [{name: spent(command) for name, command in commands.items()} for _ in range(RUNS)]
        assert server.service.requests == 2 * RUNS  # a greeting, and the search
    least = {name: min(each[name] for each in rounds) for name in commands}
    base = least["python -c pass"]
    print()
    for name, cost in least.items():
        print(f"{name:24} {cost:5.1f} ms of CPU, {cost / base:.2f} x python -c pass")
    assert least["ragmacs search"] <= MOST * base
