import numpy as np
import pytest

from ragmacs_srv.errors import IndexCorrupt, StorageError
from ragmacs_srv.search.vectors import FlatIndex, write_flat
from tests.search.library import disk_of


def unit(n, dim=12, seed=1):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dense.faiss"


def test_the_nearest_come_first_with_their_cosine(path):
    vectors = unit(50)
    assert write_flat(path, 12, [vectors[:20], vectors[20:]]) == 50
    cosines = vectors @ vectors[7]
    rows, scores = FlatIndex(path).search(vectors[7], 10)
    assert list(rows) == list(np.argsort(-cosines)[:10])
    assert np.allclose(scores, np.sort(cosines)[::-1][:10], atol=1e-6)


def test_a_search_among_some_rows_finds_only_those(path):
    vectors = unit(50)
    write_flat(path, 12, [vectors])
    rows, _ = FlatIndex(path).search(vectors[7], 10, np.array([3, 9, 41], np.int64))
    assert sorted(rows) == [3, 9, 41]


@pytest.mark.parametrize(("rows", "among"), [(0, None), (5, []), (0, [])], ids=["no rows", "among none", "neither"])
def test_nothing_is_found_in_nothing(path, rows, among):
    write_flat(path, 12, [unit(rows)] if rows else [])
    only = None if among is None else np.array(among, np.int64)
    found, scores = FlatIndex(path).search(unit(1)[0], 10, only)
    assert (len(found), len(scores)) == (0, 0)


def test_fewer_rows_than_asked_for_are_all_found(path):
    write_flat(path, 12, [unit(3)])
    assert len(FlatIndex(path).search(unit(1)[0], 10)[0]) == 3


@pytest.mark.parametrize("keep", [0, 10, 44, 400, -1], ids=lambda keep: f"first {keep} bytes")
def test_a_truncated_file_is_corrupt(path, keep):
    write_flat(path, 12, [unit(50)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IndexCorrupt) as error:
        FlatIndex(path)
    assert "\n" not in error.value.message
    assert error.value.hint == "ragmacs reindex"


@pytest.mark.parametrize("missing", [1, 100, 2_000], ids=lambda missing: f"{missing} bytes short")
def test_a_disk_that_is_full_at_the_last_byte_is_noticed(path, missing):
    write_flat(path, 12, [unit(50)])
    with disk_of(path.stat().st_size - missing), pytest.raises(StorageError, match=r"dense\.faiss: File too large"):
        write_flat(path, 12, [unit(50)])
