"""An update reads, embeds and publishes what changed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench import updates

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(600)]

PAGES = 12


def test_an_update_costs_what_changed(tmp_path: Path) -> None:
    """With 129 pages it takes 1 or 2 % of the first index; with these few, most of it is the start of a process."""
    first, nothing, one = updates.measure(updates.own_pages(PAGES), tmp_path, os.environ)
    print("\n" + updates.table([first, nothing, one]))
    assert first.statuses == {200: PAGES}
    assert (nothing.statuses, nothing.encoded) == ({304: PAGES}, 0)
    assert one.statuses == {304: PAGES - 1, 200: 1}
    assert 1 <= one.encoded <= 2  # the passage that the sentence was put into, or the two that it became
    assert nothing.generation == first.generation
    assert int(one.generation[4:]) == int(first.generation[4:]) + 1
    assert one.cpu <= 0.5 * first.cpu
