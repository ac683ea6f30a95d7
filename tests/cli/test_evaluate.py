"""`twinlatent evaluate`, and what is made of its folders: `report` and `reproduce`."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import twinlatent as tl
from twinlatent.cells import CELLS
from twinlatent.cli.program import app
from twinlatent.data import LabelledImages, Split
from twinlatent.evaluation import judged, whole
from twinlatent.evaluation.black_box.substitutes import SUBSTITUTES
from twinlatent.evaluation.protocol import which_split as module
from twinlatent.evaluation.results.records import read_records
from twinlatent.evaluation.results.report import read_run
from twinlatent.evaluation.white_box import to_file
from twinlatent.failures import INTERRUPTED
from twinlatent.method.detector import Detector

OUTSIDE = ["--suite", "none", "--shift-images", "0", "--blackbox-images"]


def test_the_whole_evaluation_leaves_white_box_judges_checks_and_page(
    trained: Path, white_box: list[str], ok: Callable
) -> None:
    done = ok("evaluate", trained, *white_box, "--out", "judged")
    run = read_run("judged")
    records = [r for r in run.records if r.budget == "standard, 2 steps"]
    assert {r.metric for r in records} >= {"sr@5", "sr@10", "sr_c1c2", "sr_c1c2c3", "benign_pass_c1c2", "benign_c3"}
    assert {r.score for r in records if r.metric == "sr@5"} == {"ratio", "vulnerable"}
    assert {r.n for r in records if r.metric == "sr@5"} == {6, 3}
    assert {r.budget for r in run.records if r.attack == "cw_w"} == {"standard, 2 steps; CW-L2_W: 3 steps, 4 c, 3 γ"}
    proved = [r for r in run.records if r.metric == "sr_certified"]
    attacked = {(r.epsilon, r.metric, r.score, r.n) for r in records if r.metric[:3] == "sr@" and r.attack == "worst"}
    assert {(r.epsilon, f"sr@{100 * r.asked:g}", r.score, r.n) for r in proved} == attacked
    assert run.settings is not None
    assert run.settings["certified_images"] == 9
    assert [f"  {check.name}: " in done.out for check in run.checks] == [True] * 14
    assert run.judges is not None
    assert {case.judge for case in run.judges.cases} == {"knn", "cnn", "agreement"}
    (ceiling,) = (r for r in records if r.metric == "benign_c3")
    (benign,) = (c for c in run.judges.cases if (c.judge, c.cases) == ("agreement", "benign"))
    assert (ceiling.value, ceiling.n, ceiling.score) == (benign.value, benign.n, None)
    assert f"C3 alone is met by {ceiling.value:.3f}" in done.out
    worst = {r.epsilon: r for r in records if (r.metric, r.attack) == ("sr_c1c2c3", "worst")}
    counts = {s.epsilon: s.shows_true for s in run.judges.attacks if (s.attack, s.goal) == ("worst", "c1c2")}
    assert {epsilon: round(r.value * r.n) for epsilon, r in worst.items()} == counts
    assert run.grid is not None
    assert {path.name for path in Path("judged").iterdir()} == {
        *("results.json", "model.json", "evaluation.npz", "training-log.jsonl", "checks.json", "judges.json"),
        *("pictures.npz", "report.html"),
    }


def test_an_evaluation_with_the_quick_suite_has_conditions_too(evaluated: Path) -> None:
    mine = (r for r in read_records(evaluated / "judged/results.json") if r.budget.startswith("quick, 2 steps"))
    found = {(r.metric, r.attack) for r in mine}
    assert {("sr@5", "worst"), ("sr_c1c2", "pgd_w"), ("sr_c1c2", "cw_w")} <= found


def test_an_evaluation_prints_a_table_and_leaves_a_page(
    trained: Path, read_log: Callable, contents: Callable, ok: Callable
) -> None:
    before = contents(trained)
    done = ok("evaluate", trained, *OUTSIDE, 12, "--out", "judged", "--no-progress")
    assert "Page with pictures: judged/report.html" in done.text
    for attack in ("fgsm", "pgd", "mim"):
        assert len(re.findall(rf"^ +{attack} +0\.3 .* 12 *$", done.out, re.MULTILINE)) == 1
    assert re.search(
        r"Benign test images: accuracy 0\.\d{4}, flagged .* 0\.\d{4} where 0.05 was asked for, .*n = 359", done.text
    )
    records = read_records("judged/results.json")
    assert {record.attack for record in records} == {"none", "fgsm", "pgd", "mim"}
    assert {record.n for record in records if record.attack != "none" and record.budget == "blackbox at 0.3"} == {12}
    assert {record.command.split()[0] for record in records} == {"twinlatent"}
    page = Path("judged/report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert 'id="training"' in page
    assert [dict(line) for line in read_run("judged").log] == read_log(trained)
    assert contents(trained) == before, "an evaluation must not touch the training"


def test_numbers_on_the_screen_are_those_of_the_records(trained: Path, ok: Callable) -> None:
    done = ok("evaluate", trained, *OUTSIDE, 7, "--out", "judged", "--no-progress")
    outside = [r for r in read_records("judged/results.json") if r.budget == "blackbox at 0.3"]
    records = {(r.metric, r.attack, r.score): r.value for r in outside if r.substitute in (None, "mean")}
    assert f"accuracy {records['accuracy', 'none', None]:.4f}" in done.text
    for attack in ("fgsm", "pgd", "mim"):
        row = next(line for line in done.out.splitlines() if line.split()[:1] == [attack])
        for key in ("attack_success", None), ("auc", "vulnerable"), ("auc", "joint"), ("auc", "ratio"):
            assert f"{records[key[0], attack, key[1]]:.3f}" in row
    by_substitute = {(r.substitute, r.attack): r.value for r in outside if (r.metric, r.score) == ("auc", "ratio")}
    after = done.out[done.out.index("AUC of the detector's own score on each") :]
    for attack in ("fgsm", "pgd", "mim"):
        (row,) = (line for line in after.splitlines() if line.split()[:1] == [attack])
        assert row.split()[1:] == [f"{by_substitute[name, attack]:.3f}" for name in SUBSTITUTES]


def test_options_of_an_evaluation_arrive(trained: Path, ok: Callable) -> None:
    ok("evaluate", trained, "digits", *OUTSIDE, 5, "--epsilon", "0.1", "--score", "vulnerable",
       "--label-rule", "density", "--seed", 0, "--out", "judged", "--no-progress")  # fmt: skip
    records, card = read_records("judged/results.json"), read_run("judged").model
    assert {record.epsilon for record in records if record.attack not in ("none", "cw")} == {0.1}
    assert (card.score, card.label_rule) == ("vulnerable", "density")
    assert {record.score for record in records if record.metric == "fpr"} == {"vulnerable"}


def test_some_substitutes_can_be_chosen_and_the_former_name_of_subset_is_known(trained: Path, ok: Callable, program):
    ok("evaluate", trained, *OUTSIDE, 2, "--few", 3, "--substitute", "cnn5", "--substitute", "f_p", "--no-progress")
    records = read_records("evaluation/results.json")
    assert {r.substitute for r in records if r.metric == "auc"} == {"cnn5", "f_p", "mean"}
    assert "'cnn6'" in program("evaluate", trained, *OUTSIDE, 2, "--substitute", "cnn6", "--out", "x").refusal
    assert "--few" not in ok("evaluate", "--help").out


MINE = """
from twinlatent.attacks import Iterative, LInf, SignStep
attacks = {"mine": lambda epsilon: Iterative(LInf(epsilon), SignStep(epsilon), 2)}
"""


def test_attacks_of_the_user_s_come_from_a_file(trained: Path, program: Callable, monkeypatch) -> None:
    Path("mine.py").write_text(MINE, encoding="utf-8")
    named = partial(program, "evaluate", trained, "--out", "x", "--no-progress", "--attacks")
    assert "mine.py has no nothing" in named("mine.py:nothing").refusal
    assert "there is no file other.py" in named("other.py:attacks").refusal
    assert "attacks is a type; give a dict" in named("mine.py:LInf").refusal
    assert not Path("x").exists()
    given: list[object] = []
    monkeypatch.setattr(tl, "evaluate", lambda *_, attacks, **__: given.append(attacks["mine"](0.2).ball))
    monkeypatch.setattr("twinlatent.report.console.print_run", given.append)
    assert named("mine.py:attacks").status == 0
    assert given == [tl.attacks.LInf(0.2), None]


def test_an_evaluation_never_judges_on_training_images(trained: Path, detector: Detector, ok: Callable, monkeypatch):
    judged: list[Split] = []
    real = whole.evaluate_blackbox

    def noted(made: Detector, split: Split, **options):
        judged.append(split)
        return real(made, split, **options)

    monkeypatch.setattr(whole, "evaluate_blackbox", noted)
    ok("evaluate", trained, *OUTSIDE, 2, "--seed", 1, "--no-progress")
    assert judged[0].fingerprint == detector.card["data"]["fingerprint"]


def test_an_evaluation_beside_the_training_keeps_its_log(
    trained: Path, tmp_path: Path, read_log: Callable, ok: Callable
) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    ok("evaluate", copy / "detector.safetensors", *OUTSIDE, 2, "--out", copy, "--no-progress")
    assert read_log(copy) == read_log(trained)


def test_a_damaged_log_ends_in_one_line(trained: Path, tmp_path: Path, program: Callable) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    with (copy / "log.jsonl").open("a") as log:
        log.write('{"round')
    assert "log.jsonl" in program("evaluate", copy, *OUTSIDE, 2, "--no-progress").refusal
    assert not list(Path("evaluation").glob("*")), "it is said before any work"


@pytest.mark.parametrize(
    "foreign", [b"Monday: fed the cat\n", b'{"round": 1}\n', b"\xff\xfe", b"[1]\n", b'{"a": NaN}\n']
)
def test_a_foreign_log_beside_a_detector_file_is_left_out(
    trained: Path, tmp_path: Path, program: Callable, foreign: bytes, monkeypatch
) -> None:
    """What follows the reading of the log is not made: it gets none."""
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / "log.jsonl").write_bytes(foreign)
    given: list[Path | None] = []

    def noted(*_: object, log: Path | None, **__: object) -> None:
        given.append(log)
        raise KeyboardInterrupt

    monkeypatch.setattr(tl, "evaluate", noted)
    done = program("evaluate", copy / "detector.safetensors", *OUTSIDE, 2, "--no-progress")
    assert given == [None]
    assert re.fullmatch(r"left out of the page: \S+log\.jsonl: .+\n(twinlatent: )?stopped.*\n", done.err)
    assert program("evaluate", trained / "detector.safetensors", *OUTSIDE, 2, "--no-progress")
    assert given[1] == trained / "log.jsonl"


def numbers(path: Path) -> list[tuple]:
    return [(r.metric, r.attack, r.epsilon, r.score, r.value, r.n) for r in read_records(path)]


def test_an_evaluation_that_was_interrupted_gives_the_same_numbers(
    trained: Path, evaluated: Path, white_box: list[str], ok: Callable, monkeypatch
) -> None:
    """Ctrl-C comes when all is attacked and is to be checked, and what was attacked by then is not attacked again."""
    shutil.copytree(evaluated / "shared", "shared")
    words = ["evaluate", str(trained), "--suite", "quick", *white_box, "--out", "judged", "--shared", "shared"]
    real = judged.run_checks

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(judged, "run_checks", interrupted)
    stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == INTERRUPTED
    kept = {path: path.stat().st_mtime_ns for path in Path("judged/unfinished/points-ratio").rglob("*.npz")}
    assert kept
    first_sitting = json.loads(Path("judged/unfinished/seconds.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(judged, "run_checks", lambda *a, **k: untouched(kept) and real(*a, **k))
    ok(*words)
    assert numbers(Path("judged/results.json")) == numbers(evaluated / "judged/results.json")
    seconds = {r.seconds for r in read_records("judged/results.json") if r.metric == "sr_c1c2"}
    assert min(seconds) > first_sitting > 0


@pytest.mark.parametrize(
    ("when", "said"), [(0, "nothing was done yet"), (1, "finished batches are kept; the same com")]
)
def test_ctrl_c_says_truly_what_is_kept(when: int, said: str, trained: Path, program, monkeypatch, fewer_steps) -> None:
    real, calls = whole.train_substitute, []

    def stopping(*given, **options):
        calls.append(given)
        if len(calls) > when:
            raise KeyboardInterrupt
        return real(*given, **options)

    monkeypatch.setattr(whole, "train_substitute", stopping)
    fewer_steps(monkeypatch, 2)
    for shared in ([], ["--shared", "shared"]):
        calls.clear()
        done = program("evaluate", trained, *OUTSIDE, 2, "--out", f"judged{len(shared)}", *shared, "--no-progress")
        assert done.status == INTERRUPTED
        assert f"twinlatent: stopped; {said}" in done.err
    assert Path("judged0").exists() == bool(when)


def untouched(kept: dict[Path, int]) -> bool:
    """Whether all kept batches are as they were."""
    return all(path.stat().st_mtime_ns == time for path, time in kept.items())


@pytest.mark.parametrize("command", ["evaluate", "attack"])
@pytest.mark.parametrize("shared", [1, 40])
def test_images_it_was_trained_on_are_told_in_one_line(command, shared: int, trained, digits, program, monkeypatch):
    """A few are left out, and the work begins; of many it does not."""
    test = LabelledImages(*(torch.cat([getattr(digits.test, field), getattr(digits.train, field)[:shared]])
                            for field in ("images", "labels")))  # fmt: skip
    monkeypatch.setattr(module, "load", lambda *_, **__: replace(digits, name="folder:/new/pictures", test=test))
    begun = []
    for place, function in ((tl, "evaluate"), (to_file, "attack_to_file")):
        monkeypatch.setattr(place, function, lambda made, split, *_, **__: begun.append(split) or sys.exit(0))
    done = program(command, trained, "folder:pictures", "--no-progress")
    line = f"the detector was made with {shared} of the {359 + shared} test images of folder:/new/pictures ({shared} in"
    assert line in done.err
    assert done.err.count("\n") == 1
    assert (done.status, len(begun)) == ((0, 1) if shared == 1 else (1, 0))
    assert all(torch.equal(split.test.images, digits.test.images) for split in begun)


# --- report and reproduce -------------------------------------------------------------------------------------------


def test_what_an_evaluation_leaves_is_whole_until_any_file_of_it_is_damaged(
    trained: Path, evaluated: Path, ok: Callable, program: Callable
) -> None:
    shutil.copytree(evaluated, "out")
    said = ok("results", "check", "out", trained).out.splitlines()
    assert f"{trained}/training.json: no result, left out" in said
    (whole,) = [line for line in said if not line.endswith("left out")]
    assert re.fullmatch(r"out/judged: an evaluation: \d+ records, \d+ checks, judges, pictures, a training log", whole)
    for name, holds in (("judges.json", "what judges say"), ("model.json", "a model card"), ("checks.json", "checks")):
        assert ok("results", "check", Path("out/judged", name)).out.endswith(f"{holds}\n")
    assert "results.json: " in ok("results", "convert", "out").out
    for path in sorted(Path("out/judged").glob("*")):
        if path.name != "report.html":
            before = path.read_bytes()
            path.write_bytes(before[: len(before) // 2])
            done = program("results", "check", "out")
            assert f"{path}: " in done.out
            assert (done.status, done.err) == (1, "twinlatent: 1 of 1 is damaged: out/judged\n")
            path.write_bytes(before)


def test_a_report_is_made_again_from_its_folder_alone(evaluated: Path, ok: Callable, program: Callable) -> None:
    shutil.copytree(evaluated / "judged", "judged")
    before = Path("judged/report.html").read_bytes()
    Path("judged/report.html").unlink()
    assert "nosuch/results.json: no such file; give the folder of an evaluation" in program("report", "nosuch").refusal
    assert ok("report", "judged").out.strip() == "judged/report.html"
    assert Path("judged/report.html").read_bytes() == before


@pytest.mark.slow
def test_a_table_of_the_paper_is_reproduced_and_kept(
    ok: Callable, program: Callable, fewer_rounds, monkeypatch
) -> None:
    fewer_rounds(monkeypatch, 5)
    monkeypatch.setitem(CELLS, "table2", CELLS["table2"][-1:])
    table = ["reproduce", "table2", "--preset", "smoke", "--data", "digits", "--out", "again", "--no-progress"]
    done = ok(*table)
    assert "again/digits/comparison.html" in done.text
    records = read_records("again/digits/results.json")
    assert {(r.method, r.trained_with) for r in records} == {("plain", "none")}
    before = {path: path.stat().st_mtime_ns for path in Path("again").rglob("detector.safetensors")}
    assert ok(*table).out == done.out
    assert {path: path.stat().st_mtime_ns for path in Path("again").rglob("detector.safetensors")} == before
    failed = program("reproduce", "table9")
    assert failed.err.startswith("twinlatent: 'table9' is unknown; choose from table1, ")
