"""A preparation aside: begun once, remembered when it failed, and never the end of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragmacs_srv.aside import PREPARE, Preparation
from ragmacs_srv.errors import EmbedderMissing
from ragmacs_srv.search.database import claimed


def failed(folder: Path, configuration: str) -> None:
    """A preparation that found out why it cannot work."""
    with pytest.raises(EmbedderMissing), Preparation(folder, configuration).remembered():
        raise EmbedderMissing("the weights are cut", hint="ragmacs model pull")


def test_what_failed_is_said_and_not_begun_again(tmp_path: Path) -> None:
    failed(tmp_path, "onnx")
    said = Preparation(tmp_path, "onnx").start("the model", {})
    assert said == f"the weights are cut; ragmacs model pull ({PREPARE} tries again)"
    assert not (tmp_path / "prepare.lock").exists()


def test_another_configuration_is_begun_though_one_failed(tmp_path: Path) -> None:
    failed(tmp_path, "onnx")
    lock = claimed(tmp_path / "prepare.lock")  # somebody is at it, so that nothing is really started here
    assert lock is not None
    assert "is being prepared" in Preparation(tmp_path, "torch").start("the model", {})


def test_what_succeeds_at_last_is_forgotten(tmp_path: Path) -> None:
    failed(tmp_path, "onnx")
    with Preparation(tmp_path, "onnx").remembered():
        pass
    assert not (tmp_path / "prepare.failed").exists()


def test_a_cache_that_cannot_be_written_is_a_reason_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    said = Preparation(tmp_path / "cache", "onnx").start("the model", {})
    assert said.startswith("the model cannot be prepared: ")
