"""Extraction must not fall below what was measured on the saved pages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).with_name("extraction.py")
SITE = Path(__file__).resolve().parents[3] / "shared" / "site"


@pytest.mark.shared
@pytest.mark.slow
def test_saved_pages_keep_anchors_code_and_prose_and_lose_their_menus():
    if not (SITE / "pages").is_dir():
        pytest.skip(f"no saved pages in {SITE}")

    run = subprocess.run([sys.executable, BENCH, "--site", SITE], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
