"""What benchmarks print becomes numbers, and nothing of the user's is run unless somebody said so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ragmacs_srv import registry
from ragmacs_srv.errors import InvalidParams, ToolchainFailed
from ragmacs_srv.golang import benchmarks
from ragmacs_srv.golang.benchmarks import ALLOCS, BYTES, NS, Measured, compare, parse_benchmem
from ragmacs_srv.golang.workshop import Place, Workshop
from tests.conftest import Cli

PRINTED = """\
goos: linux
goarch: amd64
pkg: example.com/esc
cpu: AMD EPYC
BenchmarkLeak-2   \t  234512\t       173.1 ns/op\t     144 B/op\t       1 allocs/op
BenchmarkLeak-2   \t  234512\t       170.1 ns/op\t     144 B/op\t       1 allocs/op
BenchmarkLeak-2   \t  234512\t       190.0 ns/op\t     144 B/op\t       1 allocs/op
BenchmarkStay-2   \t67766746\t         0.3484 ns/op\t       0 B/op\t       0 allocs/op
BenchmarkSub/size=3-2 \t19078993\t 1.351 ns/op\t7402.47 MB/s\t 1.500 widgets/op\t 0 B/op\t 0 allocs/op
BenchmarkSub/a-b/x-16 \t 5\t 1e+06 ns/op
BenchmarkSolo \t 7\t 10 ns/op
--- BENCH: BenchmarkLog-2
    log_test.go:9: BenchmarkNot 5 words of a log
BenchmarkBroken-2 \t 5\t ten ns/op
PASS
ok  \texample.com/esc\t0.204s
"""


def test_lines_become_runs_with_any_units() -> None:
    found = parse_benchmem(PRINTED)
    assert [(each.name, each.procs, len(each.runs)) for each in found.benchmarks] == [
        ("BenchmarkLeak", 2, 3),
        ("BenchmarkStay", 2, 1),
        ("BenchmarkSub/size=3", 2, 1),
        ("BenchmarkSub/a-b/x", 16, 1),
        ("BenchmarkSolo", 1, 1),
    ]
    leak, stay, sub, *_ = found.benchmarks
    assert (leak.median(NS), leak.median(BYTES), leak.median(ALLOCS)) == (173.1, 144, 1)
    assert stay.median(NS) == 0.3484
    assert sub.runs[0].values == {NS: 1.351, "MB/s": 7402.47, "widgets/op": 1.5, BYTES: 0, ALLOCS: 0}
    assert found.header == {"goos": "linux", "goarch": "amd64", "pkg": "example.com/esc", "cpu": "AMD EPYC"}
    assert found.passed
    assert parse_benchmem(found.output).benchmarks == found.benchmarks


@pytest.mark.parametrize("text", ["", "PASS", "BenchmarkX", "Benchmark-2 5", "hello 1 2 3"])
def test_what_is_no_result_is_none(text: str) -> None:
    assert parse_benchmem(text).benchmarks == ()


def leak(*rows: tuple[float, float, float]) -> Measured:
    return parse_benchmem(
        "\n".join(f"BenchmarkLeak-2 1 {ns} ns/op {size} B/op {count} allocs/op" for ns, size, count in rows)
    )


@pytest.mark.parametrize(
    ("before", "after", "apart"),
    [((100, 101, 102), (80, 81, 82), True), ((100, 101, 102), (90, 100.5, 80), False), ((100,), (50,), False)],
)
def test_times_differ_only_when_the_runs_do_not_overlap(
    before: tuple[float, ...], after: tuple[float, ...], apart: bool
) -> None:
    (change,) = compare(leak(*((ns, 144, 1) for ns in before)), leak(*((ns, 0, 0) for ns in after)))
    assert change.apart == apart
    assert (change.before[ALLOCS], change.after[ALLOCS]) == (1, 0)
    shown = benchmarks.text(leak((1, 0, 0)), [change])
    assert "1 → 0 allocs/op, 144 → 0 B/op" in shown
    assert ("not different" in shown) == (not apart)


def test_only_what_both_measured_is_compared() -> None:
    assert compare(parse_benchmem(PRINTED), leak((1, 0, 0)))[0].name == "BenchmarkLeak"
    assert compare(parse_benchmem(""), leak((1, 0, 0))) == []


def test_units_of_ones_own_are_shown() -> None:
    assert "BenchmarkSub/size=3: 7,402 MB/s, 1.5 widgets/op" in benchmarks.text(parse_benchmem(PRINTED))


# Consent


def test_a_person_is_asked_before_benchmarks_run() -> None:
    asked = registry.question(None, "go_bench_allocs", {"package": "./pool"})
    assert asked == "Run the benchmarks of ./pool on this machine?"
    assert registry.lookup("go_bench_allocs").changes_state


def test_on_the_command_line_nothing_runs_without_the_flag(run: Cli) -> None:
    done = run("go", "allocs", "./pool")
    assert (done.code, "--run" in done.err) == (2, True)


@pytest.mark.parametrize("text", ['{"a": 1}', "{", "[]{"])
def test_a_file_that_is_no_earlier_run_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    path.write_text(text)
    if text.startswith("{"):
        with pytest.raises(InvalidParams, match=r"before\.json"):
            benchmarks.printed(path)
    path.write_text('{"output": "BenchmarkX-2 1 5 ns/op"}')
    assert parse_benchmem(benchmarks.printed(path)).benchmarks[0].name == "BenchmarkX"
    with pytest.raises(InvalidParams, match="cannot be read"):
        benchmarks.printed(tmp_path / "nowhere")


# The real one

CODE = "package m\n\ntype T struct{ n [18]int }\n\nfunc Leak() *T { t := T{}; return &t }\n"
TESTS = """\
package m

import "testing"

var sink *T

func BenchmarkLeak(b *testing.B) {
	for i := 0; i < b.N; i++ {
		sink = Leak()
	}
}

func BenchmarkPanic(b *testing.B) { panic("on purpose") }
func BenchmarkFail(b *testing.B)  { b.Fatal("on purpose") }
func BenchmarkLoop(b *testing.B) {
	for {
	}
}
"""
Bench = Callable[[Mapping[str, str]], Workshop]


def measured(shop: Workshop, pattern: str = "", **options: object) -> Measured:
    place = Place(shop.roots[0])  # enough operations for what the runtime itself allocates not to count
    return benchmarks.measure(shop, place, ".", pattern=pattern, benchtime="20000x", **options)  # type: ignore[arg-type]


@pytest.mark.go
@pytest.mark.slow
def test_allocations_are_counted_and_failures_have_a_kind(bench: Bench) -> None:
    shop = bench({"m.go": CODE, "m_test.go": TESTS})
    found = measured(shop, "Leak", count=2)
    assert [(each.name, len(each.runs), each.median(ALLOCS)) for each in found.benchmarks] == [("BenchmarkLeak", 2, 1)]
    assert found.benchmarks[0].median(BYTES) == 144
    assert found.header["pkg"] == "example.com/m"
    for pattern, kind in (
        ("Panic", "panic"),
        ("Fail", "test_failed"),
        ("Loop", "timeout"),
        ("Nope", "no_benchmarks"),
        ("(", "test_failed"),
    ):
        with pytest.raises(ToolchainFailed) as caught:
            measured(shop, pattern, seconds=1)
        assert (caught.value.data["kind"], bool(caught.value.hint)) == (kind, True), caught.value.data


@pytest.mark.go
@pytest.mark.slow
def test_a_benchmark_can_be_added_without_a_file(bench: Bench) -> None:
    shop = bench({"m.go": CODE})
    with pytest.raises(ToolchainFailed) as caught:
        measured(shop)
    assert caught.value.data["kind"] == "no_benchmarks"
    source = "var kept *T\n\nfunc BenchmarkMade(b *testing.B) { for i := 0; i < b.N; i++ { kept = Leak() } }"
    found = measured(shop, generated=source)
    assert [(each.name, each.median(ALLOCS)) for each in found.benchmarks] == [("BenchmarkMade", 1)]
    assert sorted(path.name for path in shop.roots[0].iterdir()) == ["go.mod", "m.go"]
    with pytest.raises(ToolchainFailed, match="undefined: nope") as caught:
        measured(shop, generated="func BenchmarkMade(b *testing.B) {\n nope() }")
    assert caught.value.data["kind"] == "test_build_failed"
    assert f"{benchmarks.GENERATED}:2:2" in caught.value.message


@pytest.mark.parametrize("benchtime", ["", "1h", "5", "-1s", "1s -exec=x"])
def test_a_time_that_go_would_not_take_is_refused(benchtime: str, tmp_path: Path) -> None:
    shop = Workshop(lambda: pytest.fail("no Go is needed"), tmp_path, (tmp_path,), None)  # type: ignore[arg-type]
    with pytest.raises(InvalidParams, match="a benchmark cannot take"):
        benchmarks.measure(shop, Place(tmp_path), ".", benchtime=benchtime)
