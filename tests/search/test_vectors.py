import numpy as np
import pytest

from ragmacs_srv.errors import IndexCorrupt, StorageError
from ragmacs_srv.search import vectors
from ragmacs_srv.search.vectors import RECALL, FaissIndex, Sizes, write
from tests.search.library import disk_of

DIM = 48
COUNT = 3000
KINDS = {
    "Flat": Sizes(),
    "SQfp16": Sizes(flat=0),
    "IVF,SQfp16": Sizes(flat=0, half=0),
}


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def grouped(count=COUNT, spread=1.0):
    """Vectors around a center for every ten of them."""
    random = np.random.default_rng(1)
    centers = random.standard_normal((-(-count // 10), DIM))
    return unit(np.repeat(centers, 10, axis=0)[:count] + spread * random.standard_normal((count, DIM)))


def questions(rows, count=50):
    """Vectors between two of ROWS: none of them is stored."""
    random = np.random.default_rng(2)
    return unit(rows[random.integers(0, len(rows), count)] + rows[random.integers(0, len(rows), count)])


def written(path, rows, kind):
    """ROWS as a file of KIND, opened, and what writing it said."""
    built = write(path, DIM, len(rows), lambda numbers: (rows[each] for each in numbers), KINDS[kind])
    return FaissIndex(path), built


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dense.faiss"


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """(index, what it was built as, the vectors in it), once for every kind."""
    rows = grouped()
    return *written(tmp_path_factory.mktemp(request.param) / "dense.faiss", rows, request.param), rows


each_kind = pytest.mark.parametrize("kind", KINDS)


# Every kind keeps the same contract


def test_the_nearest_come_first_with_their_cosine(made):
    index, built, rows = made
    found = []
    for question in questions(rows):
        cosines = rows @ question
        numbers, scores = index.search(question, 10)
        assert list(scores) == sorted(scores, reverse=True)
        assert np.allclose(scores, cosines[numbers], atol=1e-3)
        found.append(np.isin(np.argsort(-cosines)[:10], numbers).mean())
    assert np.mean(found) == 1 if built.kind == "Flat" else np.mean(found) >= 0.98


def test_a_search_among_few_rows_compares_each(made):
    index, _, rows = made
    among = np.random.default_rng(3).choice(COUNT, 40, replace=False)
    for question in questions(rows, 5):
        numbers, scores = index.search(question, 10, among)
        best = among[np.argsort(-(rows[among] @ question))]
        assert list(numbers) == list(best[:10])
        assert np.allclose(scores, rows[numbers] @ question, atol=1e-3)
    assert sorted(index.search(rows[0], 99, among)[0]) == sorted(among)


def test_a_search_among_many_rows_finds_only_those(made, monkeypatch):
    index, _, rows = made
    monkeypatch.setattr(vectors, "EXACT", 0)
    among, found = np.arange(0, COUNT, 3), []
    for question in questions(rows):
        numbers, _ = index.search(question, 10, among)
        assert len(numbers) == 10 and not (numbers % 3).any()
        found.append(np.isin(among[np.argsort(-(rows[among] @ question))[:10]], numbers).mean())
    assert np.mean(found) >= 0.97


def test_a_search_among_none_finds_none(made):
    index, _, rows = made
    numbers, scores = index.search(rows[0], 10, np.empty(0, np.int64))
    assert (len(numbers), len(scores)) == (0, 0)


@each_kind
@pytest.mark.parametrize("count", [1, 3, 45, 130])
def test_fewer_rows_than_asked_for_are_all_found(path, kind, count):
    rows = grouped(count)
    index, _ = written(path, rows, kind)
    assert sorted(index.search(rows[0], 500)[0]) == list(range(count))


@each_kind
def test_nothing_is_found_in_nothing(path, kind):
    index, built = written(path, grouped(0), kind)
    assert built.kind == "Flat"
    assert [len(found) for found in index.search(grouped(1)[0], 10)] == [0, 0]


@each_kind
@pytest.mark.parametrize("keep", [0, 10, 44, 400, 0.3, 0.6, -8], ids=lambda keep: f"first {keep} bytes")
def test_a_truncated_file_is_corrupt(path, kind, keep):
    written(path, grouped(300), kind)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    with pytest.raises(IndexCorrupt) as error:
        FaissIndex(path)
    assert "\n" not in error.value.message
    assert error.value.hint == "ragmacs reindex"


@each_kind
@pytest.mark.parametrize("missing", [1, 100, 2_000], ids=lambda missing: f"{missing} bytes short")
def test_a_disk_that_is_full_at_the_last_byte_is_noticed(path, kind, missing):
    written(path, grouped(300), kind)
    with disk_of(path.stat().st_size - missing), pytest.raises(StorageError, match=r"dense\.faiss: File too large"):
        written(path, grouped(300), kind)


# The kind, and how well it finds


@pytest.mark.parametrize(
    ("count", "kind"),
    [(0, "Flat"), (100, "Flat"), (101, "SQfp16"), (200, "SQfp16"), (201, "IVF,SQfp16")],
)
def test_the_kind_depends_on_the_number(path, count, kind):
    rows = grouped(count)
    built = write(path, DIM, count, lambda numbers: (rows[each] for each in numbers), Sizes(flat=100, half=200))
    assert built.kind == kind


def test_half_floats_take_half_the_space(tmp_path):
    sizes = {}
    for kind in KINDS:
        written(tmp_path / "dense.faiss", grouped(), kind)
        sizes[kind] = (tmp_path / "dense.faiss").stat().st_size
    assert sizes["SQfp16"] < 0.51 * sizes["Flat"]
    assert sizes["IVF,SQfp16"] < 0.66 * sizes["Flat"]


def test_the_recall_that_was_measured_is_the_promise(made):
    _, built, _ = made
    assert built.recall >= RECALL


def test_more_lists_are_looked_at_when_neighbours_are_scattered(tmp_path):
    _, near = written(tmp_path / "near", grouped(spread=0.2), "IVF,SQfp16")
    _, far = written(tmp_path / "far", grouped(spread=2), "IVF,SQfp16")
    assert near.nprobe < far.nprobe <= far.nlist == near.nlist
    assert min(near.recall, far.recall) >= RECALL


def test_passages_that_stand_in_many_places_do_not_lower_the_recall(path):
    rows = np.repeat(grouped(100), 30, axis=0)
    _, built = written(path, rows, "IVF,SQfp16")
    assert built.recall >= RECALL


def test_the_same_vectors_give_the_same_file(tmp_path):
    for name in ("a", "b"):
        written(tmp_path / name, grouped(), "IVF,SQfp16")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_vectors_are_asked_for_in_order_once_after_a_sample(path):
    rows, asked = grouped(), []

    def given(numbers):
        asked.append(list(numbers))
        return (rows[each] for each in numbers)

    write(path, DIM, COUNT, given, KINDS["IVF,SQfp16"])
    sample, everything = asked
    assert everything == list(range(COUNT))
    assert len(set(sample)) == len(sample) <= COUNT
