"""No command writes over what another one made, or what a user put there, unless told so."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import twinlatent as tl
from twinlatent.claims import claimed, claimed_file
from twinlatent.data import Split
from twinlatent.demo import _is_demo
from twinlatent.evaluation.results.records import read_records
from twinlatent.method.training import training_folder

SHORT = ["--suite", "none", "--blackbox-images", 2, "--shift-images", 0, "--substitute", "f_p", "--no-progress"]
QUICK = ["--suite", "quick", "--steps", 1, "--images", 2, "--no-progress"]


def test_an_evaluation_is_not_written_over(trained: Path, contents: Callable, ok: Callable, program: Callable) -> None:
    ok("evaluate", trained, *SHORT)
    before = contents(Path("evaluation"))
    for other in ([], ["--score", "joint"], ["--seed", 5]):
        refusal = program("evaluate", trained, *SHORT, *other).refusal
        assert refusal.startswith("evaluation holds an evaluation already (results.json); give another folder")
        assert contents(Path("evaluation")) == before
    ok("evaluate", trained, *SHORT, "--score", "joint", "--force")
    assert {r.score for r in read_records("evaluation/results.json") if r.metric == "fpr"} == {"joint"}
    assert {path.name for path in Path("evaluation").iterdir()} == before.keys()


def test_files_of_an_evaluation_s_names_are_not_written_over(trained: Path, program: Callable) -> None:
    Path("mine").mkdir()
    Path("mine/report.html").write_text("years of work")
    assert (
        "mine holds an evaluation already (report.html)"
        in program("evaluate", trained, *SHORT, "--out", "mine").refusal
    )
    assert os.listdir("mine") == ["report.html"]


def test_unfinished_work_of_another_evaluation_is_refused(trained: Path, ok: Callable, program: Callable, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tl.Report, "save", stop)
        assert program("evaluate", trained, *SHORT).status == 130
    Path("evaluation/unfinished/notes.txt").write_text("mine")
    other = [*SHORT, "--score", "joint"]
    refusal = program("evaluate", trained, *other).refusal
    assert "evaluation holds unfinished work of another evaluation" in refusal
    assert "--force" in refusal
    for name in ("my-attacks.npz", "notes.json"):
        Path("evaluation/unfinished", name).write_text("mine")
    ok("evaluate", trained, *SHORT)
    assert set(os.listdir("evaluation/unfinished")) == {"notes.txt", "my-attacks.npz", "notes.json"}


@pytest.mark.parametrize("left", ["detector.safetensors", "training.json", "state.safetensors", "log.jsonl"])
def test_no_part_of_a_training_is_written_over(
    left: str, trained: Path, training: list[str], program: Callable
) -> None:
    Path("run").mkdir()
    shutil.copyfile(trained / left, Path("run") / left)
    before = (Path("run") / left).read_bytes()
    done = program(*training, "--set", "rounds=2", "--out", "run")
    if left == "log.jsonl":  # what a training leaves that was killed before its first state
        assert done.status == 0
    else:
        assert done.refusal.startswith("run holds a ")
        assert (Path("run") / left).read_bytes() == before
        assert os.listdir("run") == [left]


def test_a_log_that_is_no_training_s_stays(training: list[str], program: Callable) -> None:
    Path("run").mkdir()
    Path("run/log.jsonl").write_text('{"my": "own"}\n')
    assert "(log.jsonl)" in program(*training, "--out", "run").refusal
    assert Path("run/log.jsonl").read_text() == '{"my": "own"}\n'


@pytest.mark.parametrize("cut", ["", "{", '{"round": 1, "loss_to'])
def test_a_first_line_that_a_full_disk_cut_short_stands_in_nobodys_way(cut: str, training: list[str], ok: Callable):
    Path("run").mkdir()
    Path("run/log.jsonl").write_text(cut)
    ok(*training, "--set", "rounds=2", "--out", "run")
    assert len(Path("run/log.jsonl").read_text().splitlines()) == 2


def test_force_trains_anew(trained: Path, training: list[str], read_log: Callable, ok: Callable) -> None:
    shutil.copytree(trained, "run")
    Path("run/notes.txt").write_text("mine")
    ok(*training, "--set", "rounds=2", "--out", "run", "--force")
    assert len(read_log(Path("run"))) == 2
    assert Path("run/notes.txt").read_text() == "mine"


def test_force_leaves_what_a_user_put_into_the_parts(tmp_path: Path) -> None:
    part = tmp_path / "run" / "attacked"
    part.mkdir(parents=True)
    for name in ("fgsm-000250.npz", "identity.json", "my-attacks.npz", "notes.json"):
        (part / name).write_text("{}")
    with training_folder(tmp_path / "run", resume=False, overwrite=True, parts=("attacked",)):
        assert set(os.listdir(part)) == {"my-attacks.npz", "notes.json"}


def test_a_finished_training_without_its_state_cannot_be_resumed(trained: Path, training: list[str], program: Callable):
    Path("run").mkdir()
    shutil.copyfile(trained / "detector.safetensors", "run/detector.safetensors")
    assert (
        "run holds a finished training without state.safetensors"
        in program(*training, "--out", "run", "--resume").refusal
    )


def test_one_process_writes_at_a_time(
    trained: Path, training: list[str], contents: Callable, program: Callable
) -> None:
    for words, folder in (
        ([*training, "--out", "run"], "run"),
        (["evaluate", trained, *SHORT, "--out", "run"], "run"),
        (["demo", "--preset", "smoke", "--no-progress", "--out", "run"], "run"),
        (["motivation", "--data", "digits", "--preset", "smoke", "--no-progress", "--out", "run"], "run"),
        (
            ["reproduce", "table2", "--preset", "smoke", "--data", "digits", "--no-progress", "--out", "run"],
            "run/digits",
        ),
    ):
        with claimed(Path(folder)):
            before = os.listdir(folder)
            assert f"{folder} is being written by another call in this process" in program(*words).refusal, words
            assert os.listdir(folder) == before
    with claimed_file(Path("a.npz")):
        assert "a.npz is being written" in program("attack", trained, *QUICK, "--save", "a.npz").refusal


def test_attacked_images_and_records_are_written_over_by_force_alone(trained: Path, ok: Callable, program: Callable):
    words = ["attack", trained, *QUICK, "--save", "a.npz", "--records", "a.json"]
    Path("a.json").write_text("years of work")
    assert "a.json is there already" in program(*words).refusal
    assert Path("a.json").read_text() == "years of work"
    assert not Path("a.npz").exists()
    Path("a.npz").write_text("old")
    ok(*words, "--force")
    assert read_records("a.json")
    assert Path("a.npz").read_bytes()[:2] == b"PK"


def test_scraps_of_a_killed_training_go_with_the_next(trained: Path, training: list[str], ok: Callable) -> None:
    shutil.copytree(trained, "run")
    scrap = Path(f"run/.state.safetensors.twinlatent-{2**31 - 9}-abcd1234.safetensors")
    scrap.write_bytes(b"half")
    ok(*training, "--out", "run", "--resume")
    assert not scrap.exists()


def test_a_demo_writes_over_nothing_but_a_demo(
    trained: Path, contents: Callable, ok: Callable, program: Callable, digits: Split, fewer_rounds, monkeypatch
) -> None:
    fewer_rounds(monkeypatch, 5)
    few = replace(digits, test=digits.test.subset(slice(20)))
    monkeypatch.setattr("twinlatent.demo.load", lambda *_, **__: few)
    demo = ["demo", "--preset", "smoke", "--no-progress", "--out"]
    shutil.copytree(trained, "mine/training")
    refusal = program(*demo, "mine").refusal
    assert "mine holds other work already (training/" in refusal
    assert "force" not in refusal, "demo has no such option"
    assert contents(Path("mine/training")) == contents(trained)
    shutil.copytree(trained, "shown/training")
    Path("shown/demo.json").write_text("{}")  # of a demo that was killed
    ok(*demo, "shown")
    Path("shown/demo.json").unlink()
    assert _is_demo(Path("shown")), "demos of old had no such file"


def test_an_experiment_is_not_written_over_another_folder_s_results(program: Callable) -> None:
    Path("mine").mkdir()
    Path("mine/results.json").write_text("[]")
    words = ["motivation", "--data", "digits", "--preset", "smoke", "--no-progress", "--out", "mine"]
    assert "mine holds other work already (results.json)" in program(*words).refusal
