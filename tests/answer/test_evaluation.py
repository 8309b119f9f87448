"""Questions with known answers become figures; two runs are told apart only when the questions can show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv import settings
from ragmacs_srv.answer import evaluation, measures, questions
from ragmacs_srv.answer.evaluation import Line
from ragmacs_srv.answer.questions import Question
from ragmacs_srv.app import MAX_QUESTION, App
from ragmacs_srv.cli.evaluation import recorded
from ragmacs_srv.errors import Cancelled, InvalidParams
from ragmacs_srv.events import Cancel
from tests.conftest import Cli, Done

POOL = "handbook:sync-pool#why-syncpool-reduces-garbage"


def question(*groups: list[str], name: str = "q", facts: tuple[str, ...] = ()) -> Question:
    return Question(name, "why?", tuple(map(tuple, groups)), facts)


def line(*found: str, name: str = "q", confidence: float = 0.5, text: str = "") -> Line:
    """A run line whose results are the sections FOUND."""
    places = [place.partition("#") for place in found]
    results = [{"url": url, "anchor": anchor, "text": text} for url, _, anchor in places]
    return {"id": name, "results": results, "confidence": confidence, "abstain": False}


def numbered(n: int, rank: int) -> dict[str, Line]:
    """A run over N questions whose right section, /a#x, always stands at RANK."""
    found = [f"/wrong#{at}" for at in range(1, rank)] + ["/a#x"]
    return {f"q{at}": line(*found, name=f"q{at}") for at in range(n)}


def asked(n: int) -> list[Question]:
    return [question(["/a#x"], name=f"q{at}") for at in range(n)]


# Files of questions


def write(folder: Path, text: str, name: str = "q.jsonl") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("q.jsonl", "", "no questions"),
        ("q.toml", "", "no questions"),
        ("q.jsonl", '{"question": "a?"}\n{"question": ', "line 2 is not JSON"),
        ("q.jsonl", "[]", "line 1 is not a JSON object"),
        ("q.toml", "[[question]\n", "line 1"),
        ("q.toml", 'question = "a?"', r"\[\[question\]\]"),
        ("q.jsonl", '{"question": ""}', "line 1 has no question"),
        ("q.jsonl", '{"id": "x"}', "line 1, id 'x' has no question"),
        ("q.jsonl", '{"id": "x", "question": "a\\u0000b"}', "id 'x': the question holds a NUL"),
        ("q.jsonl", f'{{"id": "x", "question": "{"a" * 4001}"}}', "id 'x': the question has 4,001 characters"),
        ("q.jsonl", '{"id": "x", "question": "\\ud800?"}', "id 'x': question holds half a character"),
        ("q.jsonl", '{"id": "x\\udc00", "question": "a?"}', "id holds half a character"),
        ("q.jsonl", '{"question": "a?", "gold": ["/a#\\ud800"]}', "gold holds half a character"),
        ("q.jsonl", '{"id": ["x"], "question": "a?"}', "id = ['x']"),
        ("q.jsonl", f'{{"id": {"1" * 5000}, "question": "a?"}}', "line 1"),
        ("q.toml", f'[[question]]\nid = {"1" * 5000}\nquestion = "a?"', "digits"),
        ("q.toml", f'[[question]]\nid = 0x{"f" * 5000}\nquestion = "a?"', "digits"),
        ("q.toml", f'[[question]]\ngold = 0x{"f" * 5000}\nquestion = "a?"', "gold = a number of too many digits"),
        ("q.jsonl", '{"question": "a?"}\n' + "[" * 100_000, "line 2 is not JSON"),
        ("q.toml", "a = " + "[" * 100_000, "recursion"),
        ("q.jsonl", '{"id": "x", "question": "a?", "gold": [[]]}', "id 'x': gold = [[]]"),
        ("q.jsonl", '{"question": "a?", "gold": [["/a#x"], []]}', "gold = [['/a#x'], []]"),
        ("q.jsonl", '{"question": "a?", "gold": ["http://[/"]}', "'http://[/' is no section"),
        ("q.jsonl", '{"id": "x", "question": "a?", "facts": ["|"]}', "id 'x': the fact '|'"),
        ("q.jsonl", '{"question": "a?", "facts": ["one| "]}', "the fact 'one| '"),
        ("q.jsonl", '{"question": "a?", "facts": ["**"]}', "the fact '**'"),
        ("q.toml", '[[question]]\nquestion = " "', "question 1 has no question"),
        ("q.jsonl", '{"question": "a?", "gold": "/a#x"}', "gold = '/a#x'"),
        ("q.jsonl", '{"question": "a?", "gold": [[1]]}', r"gold = \[1\]"),
        ("q.jsonl", '{"question": "a?", "gold": ["GOGC"]}', "'GOGC' is no section"),
        ("q.jsonl", '{"question": "a?", "facts": "x"}', "facts = 'x'"),
        ("q.jsonl", '{"id": 1, "question": "a?"}\n{"id": "1", "question": "b?"}', "2 questions have the id '1'"),
        ("q.jsonl", '{"question": "a?"}\n{"question": "a?"}', "have the id 'a?'"),
    ],
    ids=range(33),
)
def test_a_wrong_file_is_named_with_the_place_and_the_reason(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        questions.read(write(tmp_path, text, name))
    message = f"{caught.value.message} {caught.value.hint}"
    assert str(tmp_path / name) in message
    assert says.replace("\\", "") in message


def test_a_question_without_id_is_known_by_its_text(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeff{"question": "a?", "gold": ["/a#x", "/a#y"], "collection": "go"}\n\n')
    (only,) = questions.read(path).questions
    assert only == Question("a?", "a?", (("/a#x",), ("/a#y",)), topic="go")


def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path: Path) -> None:
    odd = "a\u2028b\u2029c\x85d\x0c"
    row = json.dumps({"id": odd, "question": f"{odd}?", "results": []}, ensure_ascii=False)
    path = write(tmp_path, f"{row}\r\n\n{row.replace('b', 'e')}")
    assert [each.text for each in questions.read(path).questions] == [f"{odd}?", f"{odd}?".replace("b", "e")]
    assert len(evaluation.read_run(path)) == 2


def test_the_longest_question_that_may_be_asked_may_be_in_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"question": "a" * MAX_QUESTION}))
    assert len(questions.read(path).questions) == 1
    assert questions.LONGEST == MAX_QUESTION


def test_the_questions_that_ship_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert questions.read(questions.find("handbook")).collections == ("handbook",)
    with pytest.raises(InvalidParams, match="handbok") as caught:
        questions.find("handbok")
    assert "'handbook'" in caught.value.hint


@pytest.mark.parametrize(
    ("gold", "url", "anchor", "right"),
    [
        ("/doc/x#y", "http://127.0.0.1:8737/doc/x", "y", True),
        ("/doc/x#y", "https://go.dev/doc/x/", "y", True),
        ("/doc/x#y", "https://go.dev/doc/x", "z", False),
        ("/doc/x#", "https://go.dev/doc/x", "z", False),
        ("/doc/x", "https://go.dev/doc/x", "z", True),
        ("https://go.dev/doc/x#y", "https://go.dev/doc/x", "y", True),
        ("https://go.dev/doc/x#y", "https://other.dev/doc/x", "y", False),
        ("handbook:arenas#a", "handbook:arenas", "a", True),
        ("/doc/x#gr%C3%B6%C3%9Fe", "https://go.dev/doc/x", "größe", True),
    ],
)
def test_gold_names_a_section_a_page_or_a_path(gold: str, url: str, anchor: str, right: bool) -> None:
    assert questions.answers(gold, url, anchor) is right


# Metrics


def test_the_metrics_of_a_section_in_second_place() -> None:
    scored = evaluation.score(question(["/a#x", "/a#y"]), line("/b#x", "/a#y", "/a#x"))
    assert scored.rank == 2
    expected = {
        "hit@1": 0,
        "hit@3": 1,
        "hit@5": 1,
        "hit@10": 1,
        "mrr@10": 0.5,
        "ndcg@10": pytest.approx(0.6309, abs=1e-4),
    }
    assert scored.values == expected


def test_a_section_past_the_tenth_place_counts_for_nothing() -> None:
    scored = evaluation.score(question(["/a#x"]), line(*(f"/b#{n}" for n in range(10)), "/a#x"))
    assert (scored.rank, set(scored.values.values())) == (11, {0.0})


def test_a_question_of_two_parts_needs_both() -> None:
    both = question(["/a#x"], ["/b#y"])
    half, whole = evaluation.score(both, line("/a#x", "/a#z")), evaluation.score(both, line("/a#x", "/b#y"))
    assert (half.values["hit@1"], half.values["all@10"], whole.values["all@10"]) == (1, 0, 1)
    assert half.values["ndcg@10"] == pytest.approx(1 / (1 + 0.6309), abs=1e-4)
    assert whole.values["ndcg@10"] == 1
    assert "all@10" not in evaluation.score(question(["/a#x"]), line("/a#x")).values


def test_facts_are_looked_for_within_the_budget_whatever_their_marks() -> None:
    text = "x" * 90 + " see `allocs/op`\nand  90–95 %"
    about = question(["/a#x"], facts=("ALLOCS/op and 90-95 %", "never|`see`"))
    assert evaluation.score(about, line("/a#x", text=text), budget=200).values["facts<200c"] == 1
    assert evaluation.score(about, line("/a#x", text=text), budget=100).values["facts<100c"] == 0.5


def test_an_answer_is_judged_by_what_it_cites_and_says() -> None:
    about = question(["/a#x"], facts=("one", "two"))
    answer = {**line("/b#y", text="one"), "citations": line("/b#y", "/a#x")["results"]}
    scored = evaluation.score(about, answer)
    assert scored.values == {"cited@1": 0, "cited": 1, "facts": 0.5, "all facts": 0}


def test_what_is_not_indexed_is_counted_apart(run: Cli, tmp_path: Path) -> None:
    rows = [
        {"id": "here", "question": "why does sync.Pool reduce garbage", "gold": [POOL, "handbook:arenas"]},
        {"id": "gone", "question": "what is GOGC", "gold": [[POOL], ["https://go.dev/doc/gc-guide#GOGC"]]},
        {"id": "typo", "question": "what is a pool", "gold": ["handbook:sync-pool#wy"]},
    ]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)))
    done = run("eval", "--questions", str(path), "--json")
    assert done.json["questions"] == 1
    assert done.json["not_indexed"] == {
        "gone": ["https://go.dev/doc/gc-guide#GOGC"],
        "typo": ["handbook:sync-pool#wy"],
    }
    assert "https://go.dev/doc/gc-guide#GOGC" in done.err


def test_questions_of_which_nothing_is_indexed_are_an_error(run: Cli, tmp_path: Path) -> None:
    path = write(tmp_path, '{"question": "a?", "gold": ["https://go.dev/doc/gc-guide#GOGC"]}')
    done = run("eval", "--questions", str(path))
    assert (done.code, "https://go.dev/doc/gc-guide#GOGC" in done.err) == (3, True)


# Chance


def test_auroc_counts_pairs_and_half_the_ties() -> None:
    assert measures.auroc([3, 2], [1, 2]).value == (1 + 1 + 1 + 0.5) / 4
    assert measures.auroc([1] * 10, [0] * 10) == measures.Figure(1, 20, 1, 1)


def test_an_interval_is_the_same_on_every_run_and_narrows_with_more_samples() -> None:
    few, many = measures.mean([0, 1] * 10), measures.mean([0, 1] * 200)
    assert few == measures.mean([0, 1] * 10)
    assert few.low is not None and few.high is not None and many.low is not None and many.high is not None
    assert few.low < many.low < 0.5 < many.high < few.high
    # The normal approximation: 1.96 * 0.5 / sqrt(400)
    assert many.high - many.low == pytest.approx(2 * 0.049, abs=0.01)


def test_fewer_than_ten_samples_have_no_interval() -> None:
    assert measures.mean([0.0, 1.0]) == measures.Figure(0.5, 2)


# Comparing


def test_a_run_that_is_always_better_is_better() -> None:
    compared = evaluation.compare(asked(12), numbered(12, 3), numbered(12, 1))
    assert compared.verdict == "better"
    assert compared.differences["mrr@10"].value == pytest.approx(2 / 3)
    assert compared.better == {f"q{n}": (3, 1) for n in range(12)}
    assert evaluation.compare(asked(12), numbered(12, 1), numbered(12, 3)).verdict == "worse"


@pytest.mark.parametrize(
    ("n", "changed"),
    [pytest.param(40, {"q3": 1}, id="one of forty"), pytest.param(5, dict.fromkeys("01234", 1), id="too few")],
)
def test_what_may_be_chance_is_no_difference(n: int, changed: dict[str, int]) -> None:
    before = numbered(n, 2)
    after = before | {f"q{key.lstrip('q')}": numbered(n, rank)[f"q{key.lstrip('q')}"] for key, rank in changed.items()}
    compared = evaluation.compare(asked(n), before, after)
    assert compared.verdict.startswith("no difference")
    assert len(compared.better) == len(changed)


def test_runs_are_paired_by_question() -> None:
    before = {key: each for key, each in numbered(20, 2).items() if key != "q7"} | {"other": line("/a#x", name="other")}
    assert evaluation.compare(asked(20), before, numbered(20, 1)).questions == 19


def test_answers_are_not_compared_with_results() -> None:
    answers = {key: {**each, "citations": each["results"]} for key, each in numbered(3, 1).items()}
    with pytest.raises(InvalidParams, match="answers"):
        evaluation.compare(asked(3), answers, numbered(3, 1))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no results"),
        ("{", "line 1 is not JSON"),
        ('{"id": "a"}', "line 1"),
        ('{"id": "a", "results": [{"anchor": "x"}]}', "results = "),
        ('{"id": "a", "results": [{"url": "http://["}]}', "url"),
        ('{"id": "a", "results": [{"url": "/a", "text": 5}]}', "text"),
        ('{"id": "a", "results": {}}', "results"),
        ('{"id": "a", "results": null}', "results"),
        ('{"id": "a", "results": ["/a#x"]}', "results"),
        ('{"id": "a", "results": [], "citations": []}', "results"),
        ('{"id": null, "results": []}', "id"),
        ('{"id": "a", "results": [], "confidence": "high"}', "confidence"),
        ('{"id": "a", "results": [], "confidence": null}', "confidence"),
        ('{"id": "a", "results": [], "confidence": true}', "confidence"),
        ('{"id": "a", "results": [], "confidence": NaN}', "confidence"),
        (f'{{"id": "a", "results": [], "confidence": 1{"0" * 400}}}', "confidence"),
        ('{"id": "a", "results": [], "abstain": "maybe"}', "abstain"),
        ('{"id": "a", "results": [], "abstain": null}', "abstain"),
        ('{"id": "a", "results": [], "mode": ["x"]}', "mode"),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
    ids=range(20),
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str, says: str) -> None:
    sound = '{"id": "z", "results": []}\n' if text else ""
    with pytest.raises(InvalidParams, match=says.replace("line 1", "line 2")) as caught:
        evaluation.read_run(write(tmp_path, sound + text))
    assert f"{tmp_path / 'q.jsonl'}{', line 2' if text else ''}" in caught.value.message


def test_a_file_of_answers_and_results_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": "a", "results": []}\n{"id": "b", "results": [{"url": "/a"}], "citations": []}')
    with pytest.raises(InvalidParams, match="line 2"):
        evaluation.read_run(path)


def test_answers_without_known_facts_are_compared_by_what_they_cite() -> None:
    right = {key: {**each, "citations": each["results"]} for key, each in numbered(12, 1).items()}
    wrong = {key: {**each, "citations": []} for key, each in right.items()}
    assert evaluation.compare(asked(12), wrong, right).verdict == "better"


def test_a_run_of_another_tool_may_put_the_anchor_into_the_address(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": "q", "results": [{"url": "https://go.dev/a#x"}]}')
    assert evaluation.score(question(["/a#x"]), evaluation.read_run(path)["q"]).rank == 1


# The command


def evaluated(run: Cli, *args: str) -> Any:
    done = run("eval", *args, "--json")
    assert done.code == 0, done.err
    return done.json


@pytest.mark.slow
def test_a_stored_run_is_the_baseline_of_the_next(run: Cli, tmp_path: Path) -> None:
    stored = tmp_path / "run.jsonl"
    first = evaluated(run, "--run", str(stored))
    rows = [json.loads(text) for text in stored.read_text("utf-8").splitlines()]
    assert len(rows) == first["questions"] + first["unanswerable"]
    assert rows[0].keys() == {"id", "results", "confidence", "abstain", "mode"}
    for row in rows:
        row["results"].reverse()
    stored.write_text("\n".join(map(json.dumps, rows)))
    compared = evaluated(run, "--baseline", str(stored))["comparison"]
    assert compared["verdict"] == "better"
    assert compared["after"] == first["metrics"]
    assert compared["worse"].keys().isdisjoint(compared["better"])
    shown = run("eval", "--baseline", str(stored))
    assert "verdict: better" in shown.out
    assert "is noise" in shown.err


@pytest.mark.slow
def test_a_metric_below_its_bound_is_exit_code_1(run: Cli) -> None:
    assert run("eval", "--fail-below", "hit@10=0.5, mrr@10=0.1").code == 0
    done = run("eval", "--fail-below", "hit@10=0.5,mrr@10=0.999")
    assert (done.code, "mrr@10 is 0." in done.err, "hit@10 is" in done.err) == (1, True, False)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--fail-below", "mrr@10"), "mrr@10=0.7"),
        (("--fail-below", "mrr@10=nan"), "'mrr@10=nan' is no bound"),
        (("--fail-below", "hit@1=0,mrr@10=-inf"), "'mrr@10=-inf' is no bound"),
        (("--fail-below", ""), "mrr@10=0.7"),
        (("--fail-below", " ,"), "mrr@10=0.7"),
        (("--fail-below", "hit@99=1"), "there are: hit@1"),
        (("--baseline", "/no/such"), "--run"),
        (("--questions", "hand-book"), "handbook"),
        (("--compare", "/no/such"), "--mode hybrid"),
        (("--compare", "x", "--baseline", "y"), "exclude"),
        (("--run", "/no/such/folder/run.jsonl"), "/no/such/folder/run.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_options_are_one_clear_line(run: Cli, args: tuple[str, ...], says: str) -> None:
    done = run("eval", *args)
    assert done.code == 2
    assert says in done.err


@pytest.mark.parametrize(
    "args",
    [("--fail-below", "facts=0.5"), ("--answers", "--fail-below", "mrr@10=0.5")],
    ids=["of answers", "of results"],
)
def test_a_metric_that_the_run_will_not_have_is_refused_before_it(
    run: Cli, tmp_path: Path, args: tuple[str, ...]
) -> None:
    done = run("eval", *args, "--run", str(tmp_path / "run.jsonl"))
    assert (done.code, "no metric" in done.err) == (2, True)
    assert list(tmp_path.glob("run.*")) == []


@pytest.mark.parametrize("answers", [False, True])
def test_the_metrics_of_a_run_are_known_before_it(answers: bool) -> None:
    some = [question(["/a#x"], ["/a#y"], facts=("x",)), question(name="none")]
    ahead = evaluation.metrics(some, answers=answers)
    whole = {each.id: {**line("/a#x", name=each.id), **({"citations": []} if answers else {})} for each in some}
    assert list(ahead) == list(evaluation.evaluate(some, whole).figures)
    assert {"auroc", "refused", "kept"} <= set(ahead)


def test_a_run_of_another_mode_is_compared_with_a_warning(run: Cli, tmp_path: Path) -> None:
    stored, path = (
        tmp_path / "run.jsonl",
        write(tmp_path, json.dumps({"id": "q", "question": "a pool", "gold": [POOL]})),
    )
    own = evaluated(
        run, "--questions", str(path), "--run", str(stored), "--baseline", str(write_run(tmp_path, "lexical"))
    )
    assert not any("earlier run" in note for note in own["notes"])
    other = evaluated(run, "--questions", str(path), "--baseline", str(write_run(tmp_path, "hybrid")))
    assert "the earlier run was hybrid, this one is lexical" in str(other["notes"])


def write_run(folder: Path, mode: str) -> Path:
    return write(folder, json.dumps({**line(POOL), "mode": mode}), f"{mode}.jsonl")


@pytest.mark.parametrize("link", ["same", "symlink", "hardlink", "part"])
@pytest.mark.parametrize("option", ["--questions", "--baseline"])
def test_a_run_is_never_written_over_what_it_reads(run: Cli, tmp_path: Path, option: str, link: str) -> None:
    out = tmp_path / "out.jsonl"
    read = tmp_path / {"same": "out.jsonl", "part": "out.jsonl.part"}.get(link, "in.jsonl")
    read.write_text(json.dumps({**line(POOL), "question": "what is a pool?", "gold": [POOL]}))
    if link == "symlink":
        out.symlink_to(read)
    elif link == "hardlink":
        out.hardlink_to(read)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    done = run("eval", option, str(read), "--run", str(out))
    assert (done.code, str(read) in done.err) == (2, True)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_a_stored_run_is_replaced_only_by_a_whole_one(run: Cli, tmp_path: Path) -> None:
    stored, link = write(tmp_path, "old"), tmp_path / "link.jsonl"
    link.symlink_to(stored)
    lines = recorded([line("/a#x")], link)
    next(lines)
    assert stored.read_text() == "old"
    assert list(lines) == []
    assert list(evaluation.read_run(stored)) == ["q"]
    assert link.is_symlink()
    assert list(tmp_path.glob("*.part")) == []


def test_a_run_may_go_to_where_nothing_can_be_replaced(run: Cli) -> None:
    assert evaluated(run, "--run", "/dev/null")["questions"] > 0
    assert not Path("/dev/null").is_file()


def test_a_stopped_run_keeps_what_it_has_found(tmp_path: Path) -> None:
    environ = {"RAGMACS_HOME": str(tmp_path / "home"), "RAGMACS_SEARCH_MODE": "lexical"}
    cancel, out = Cancel(), write(tmp_path, "old", "run.jsonl")
    with App(settings.load(environ), environ, cancel=cancel) as app:
        lines = recorded(app.evaluate(asked(5)), out)
        found = [next(lines), next(lines)]
        cancel.cancel()
        with pytest.raises(Cancelled) as caught:
            next(lines)
    part = tmp_path / "run.jsonl.part"
    assert list(evaluation.read_run(part)) == [each["id"] for each in found]
    assert str(part) in caught.value.hint
    assert out.read_text() == "old"


def test_a_folder_without_a_model_is_named_with_what_a_model_folder_holds(run: Cli, tmp_path: Path) -> None:
    done = run("eval", "--mode", "hybrid", "--compare", str(tmp_path / "x"))
    assert (done.code, str(tmp_path / "x") in done.err) == (3, True)
    for name in ("modules.json", "config.json", "tokenizer.json", "model.safetensors"):
        assert name in done.err
    assert "[embed]" not in done.err


@pytest.mark.slow
def test_the_answers_themselves_can_be_judged(run: Cli) -> None:
    metrics = evaluated(run, "--answers")["metrics"]
    assert {"cited@1", "cited", "facts", "all facts", "refused", "kept"} <= metrics.keys()
    assert metrics["cited"]["value"] >= metrics["cited@1"]["value"] > 0


@pytest.mark.model
def test_another_model_is_tried_without_touching_the_store(
    run: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.search.tiny_models import build

    ours, other = (build(tmp_path / pooling, pooling=pooling) for pooling in ("mean", "max"))
    monkeypatch.setenv("RAGMACS_EMBED_PATH", str(ours))
    monkeypatch.setenv("RAGMACS_SEARCH_MODE", "hybrid")
    first = evaluated(run)
    before = {path: path.read_bytes() for path in sorted(home.glob("store/gen-*/*"))}
    compared = evaluated(run, "--compare", str(other))["comparison"]
    assert compared["before"] == first["metrics"]
    assert compared["after"] != first["metrics"]
    assert {path: path.read_bytes() for path in sorted(home.glob("store/gen-*/*"))} == before
    assert list(home.glob("cache/trial-*")) == []
    refused: Done = run("eval", "--compare", str(tmp_path))
    assert (refused.code, str(tmp_path) in refused.err) == (3, True)
