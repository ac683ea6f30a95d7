"""`twinlatent attack`: its table, images and records agree, and Ctrl-C costs one batch."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twinlatent.cli import attack
from twinlatent.data import Split
from twinlatent.evaluation.protocol import which_split
from twinlatent.evaluation.results.records import read_records
from twinlatent.evaluation.white_box import to_file as whitebox
from twinlatent.method.detector import Detector

QUICK = ["--suite", "quick", "--steps", "2", "--images", "6"]
QUICK_ATTACKS = ["none", "noise", "fgsm", "fgsm_w", "pgd", "mim_w", "selective", "probing"]


def arrays(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def asked(saved: dict[str, np.ndarray]) -> dict:
    return json.loads(str(saved["about"]))["asked"]


def cells(done: Any) -> dict[str, list[str]]:
    """The rows of the table of attacks, by name: the cells that are not empty."""
    words = [line.split() for line in done.out.splitlines()]
    return {row[0]: row[1:] for row in words if len(row) > 3 and re.fullmatch(r"\d\.\d{3}", row[1])}


def test_an_attack_prints_a_table_and_leaves_its_images(
    trained: Path, detector: Detector, contents: Callable, ok: Callable
) -> None:
    before = contents(trained)
    done = ok("attack", trained, *QUICK, "--save", "new/a.npz", "--records", "new/a.json", "--no-progress")
    assert done.out.startswith("Success: misclassified and not flagged at 5 %; linf radius 0.3; 95 % intervals\n")
    assert done.out.endswith("\nImages: new/a.npz\n")
    saved, records = arrays("new/a.npz"), read_records("new/a.json")
    table = cells(done)
    assert {name.partition(".")[0] for name in saved if "." in name} == set(QUICK_ATTACKS)
    assert list(table) == [record.attack for record in records] == [*QUICK_ATTACKS, "worst"]
    for record in records:
        row = table[record.attack]
        assert row[:2] == [f"{record.value:.3f}", f"{record.low:.2f}–{record.high:.2f}"]
        assert row[-1] == "6"
        if record.attack != "worst":
            verdict = detector.detect(saved[f"{record.attack}.images"])
            misclassified = verdict.label != torch.from_numpy(saved["labels"])
            assert row[2] == f"{misclassified.double().mean():.3f}"
            assert record.value == pytest.approx((misclassified & ~verdict.adversarial).double().mean().item())
    assert {record.metric for record in records} == {"sr@5"}
    assert {record.command.split()[0] for record in records} == {"twinlatent"}
    assert {path.name for path in Path("new").iterdir()} == {"a.npz", "a.json"}
    said = [json.loads(line) for line in ok("detect", trained, "new/a.npz", "--json").out.splitlines()]
    assert [row["image"] for row in said] == [f"new/a.npz:worst[{k}]" for k in range(6)]
    assert [row["adversarial"] for row in said] == detector.detect(saved["worst"]).adversarial.tolist()
    assert contents(trained) == before, "an attack must not touch the training"


def test_an_attack_alone_goes_by_its_defaults(trained: Path, ok: Callable) -> None:
    done = ok("attack", trained, "--steps", 1, "--images", 3, "--no-progress")
    assert {"transfer", "square", "bypass-targets", "latent-targets", "worst"} <= set(cells(done))
    defaults = {"suite": "standard", "epsilon": 0.3, "norm": "linf", "goal": "undetected", "fpr": 0.05, "seed": 0}
    assert defaults.items() <= asked(arrays("adversarial.npz")).items()


MINE = """
from twinlatent.attacks import Iterative, LInf, SignStep
attacks = {"mine": lambda epsilon: Iterative(LInf(epsilon), SignStep(epsilon), 2)}
"""


def test_attacks_of_the_user_s_join_the_suite(trained: Path, ok: Callable, program: Callable) -> None:
    Path("mine.py").write_text(MINE, encoding="utf-8")
    words = ["attack", trained, *QUICK, "--no-progress", "--attacks"]
    assert "attacks is a type; give a dict" in program(*words, "mine.py:LInf").refusal
    assert not Path("adversarial.npz").exists()
    done = ok(*words, "mine.py:attacks", "--save", "a.npz", "--records", "a.json")
    assert list(cells(done)) == [*QUICK_ATTACKS, "mine", "worst"]
    assert {record.budget for record in read_records("a.json")} == {"quick, 2 steps; with mine"}
    assert arrays("a.npz")["mine.images"].shape == (6, 1, 8, 8)
    for number in (1, 2):
        ok(*words, "mine.py:attacks", "--save", "b.npz", "--shard", f"{number}/2")
    ok("merge", "b.npz", "b.npz.shard-1-of-2", "b.npz.shard-2-of-2", "--no-progress")
    np.testing.assert_array_equal(arrays("b.npz")["mine.images"], arrays("a.npz")["mine.images"])


FOREIGN = """
import torch
from twinlatent import Outputs

network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()


def build(images):
    logits = network(images)
    return Outputs(logits, -logits)
"""


def test_results_call_a_detector_of_the_user_s_as_asked(ok: Callable) -> None:
    Path("theirs.py").write_text(FOREIGN, encoding="utf-8")
    words = ["attack", "theirs.py:build", "digits", *QUICK, "--no-progress"]
    for more, name in (([], "theirs:build"), (["--name", "linear"], "linear")):
        ok(*words, *more, "--save", f"{name[0]}.npz", "--records", f"{name[0]}.json")
        assert {record.method for record in read_records(f"{name[0]}.json")} == {name}


@pytest.mark.parametrize(("there", "attacked"), [(3, 3), (None, 5)])
def test_as_many_images_as_there_are_are_attacked_up_to_a_default(there, attacked: int, trained, ok, monkeypatch):
    assert attack.DEFAULT_IMAGES == 200
    whole = which_split.split_of

    def part(*given, **options) -> Split:
        split = whole(*given, **options)
        return split if there is None else replace(split, test=split.test.subset(slice(there)))

    monkeypatch.setattr(which_split, "split_of", part)
    monkeypatch.setattr(attack, "DEFAULT_IMAGES", 5)
    ok("attack", trained, "--suite", "quick", "--steps", 1, "--no-progress")
    saved = arrays("adversarial.npz")
    assert asked(saved)["images"] == len(saved["labels"]) == attacked


def test_options_of_an_attack_arrive(trained: Path, detector: Detector, digits: Split, ok: Callable) -> None:
    done = ok("attack", trained, "digits", *QUICK, "--save", "a.npz", "--records", "a.json", "--epsilon", 1.5,
              "--norm", "l2", "--goal", "misclassified", "--fpr", 0.1, "--remaining-only", "--seed", 3,
              "--device", "cpu", "--label-rule", "density", "--score", "vulnerable", "--no-progress")  # fmt: skip
    assert done.out.startswith("Success: misclassified; l2 radius 1.5; 95 % intervals\n")
    saved, records = arrays("a.npz"), read_records("a.json")
    wanted = {"suite": "quick", "steps": 2, "images": 6, "epsilon": 1.5, "norm": "l2", "goal": "misclassified",
              "fpr": 0.1, "remaining_only": True, "seed": 3}  # fmt: skip
    assert wanted.items() <= asked(saved).items()
    assert {(r.metric, r.score, r.epsilon, r.seed) for r in records} == {("attack_success", "vulnerable", None, 3)}
    order = torch.randperm(len(digits.test), generator=torch.Generator().manual_seed(3))[:6]
    np.testing.assert_array_equal(saved["labels"], digits.test.labels[order].numpy())
    labels = detector.using(label_rule="density").detect(saved["worst"]).label.numpy()
    np.testing.assert_array_equal(labels != saved["labels"], saved["worst_attack"] != "")
    assert not all(saved[f"{record.attack}.tried"].all() for record in records if record.attack != "worst")


@pytest.mark.parametrize(
    ("goal", "fpr", "said", "metric"),
    [
        ("undetected", 0.1, "misclassified and not flagged at 10 %", "sr@10"),
        ("c1c2", 0.05, "misclassified, C1 and C2", "sr_c1c2"),
    ],
)
def test_the_goal_is_said_and_measured(goal: str, fpr: float, said: str, metric: str, trained: Path, ok: Callable):
    words = ["attack", trained, *QUICK, "--goal", goal, "--fpr", fpr, "--records", "a.json", "--no-progress"]
    assert ok(*words).out.startswith(f"Success: {said}; ")
    assert {record.metric for record in read_records("a.json")} == {metric}


def test_records_that_cannot_be_written_cost_no_work(trained: Path, tmp_path: Path, program: Callable) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "file" in program("attack", trained, *QUICK, "--records", "file/a.json", "--no-progress").refusal
    assert program("attack", trained, *QUICK, "--records", "a.json", "--no-progress").status == 0
    assert read_records("a.json")[-1].attack == "worst"


def test_progress_of_an_attack_goes_to_standard_error(trained: Path, program: Callable) -> None:
    done = program("attack", trained, *QUICK)
    assert done.status == 0
    assert [line.split(":")[0] for line in done.err.splitlines()] == list(cells(done))[:-1]


def test_the_help_of_an_attack_names_its_options(ok: Callable) -> None:
    said = ok("attack", "--help").text
    options = ["save", "records", "suite", "epsilon", "norm", "goal", "fpr", "images", "steps", "remaining-only",
               "unproved-only", "seed", "label-rule", "score", "size", "device", "threads", "no-progress"]  # fmt: skip
    assert [option for option in options if f"--{option} " not in said] == []
    assert "After an interruption, run the same command to resume." in said


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InterruptedAttack:
    """An attack that got Ctrl-C after its first few batches."""

    path: Path
    words: list[str]
    done: Any  # how it ended
    kept: frozenset[str]


@pytest.fixture
def interrupted_attack(trained: Path, tmp_path: Path, interrupt: Callable) -> InterruptedAttack:
    path = tmp_path / "sub" / "a.npz"
    words = ["attack", str(trained), "--suite", "quick", "--steps", "30", "--images", "150", "--epsilon", "0.02",
             "--threads", "1", "--no-progress", "--save"]  # fmt: skip
    unfinished = path.with_name("a.npz.unfinished")
    done = interrupt(*words, path, ready=(unfinished / "pgd-000050.npz").exists)
    return InterruptedAttack(path, words, done, frozenset(file.name for file in unfinished.iterdir()))


@pytest.mark.slow  # within one process it is quick: attacks/test_suite_runs.py
def test_an_interrupted_attack_goes_on_to_the_same_images(interrupted_attack: InterruptedAttack, ok: Callable) -> None:
    stopped = interrupted_attack
    assert (stopped.done.status, stopped.done.out) == (130, "")
    assert stopped.done.err == "twinlatent: stopped; finished batches are kept; the same command resumes\n"
    assert {"identity.json", "none-000000.npz", "pgd-000050.npz"} <= stopped.kept
    assert "selective-000100.npz" not in stopped.kept, "it was done already"
    assert not [name for name in stopped.kept if name.startswith(".")], "there must be no scraps"
    assert not stopped.path.exists()
    resumed = ok(*stopped.words, stopped.path)
    whole = ok(*stopped.words, "whole.npz")
    first, second = arrays(stopped.path), arrays("whole.npz")
    assert first.keys() == second.keys()
    for name in first.keys() - {"about"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert [file.name for file in stopped.path.parent.iterdir()] == ["a.npz"]
    seconds = 2  # from the right, the one column that may differ
    shown = [{name: row[:-seconds] for name, row in cells(done).items()} for done in (resumed, whole)]
    assert shown[0] == shown[1]


def test_unfinished_work_of_other_options_is_refused(trained: Path, tmp_path: Path, program: Callable, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whitebox, "save_run", stop)
        assert program("attack", trained, *QUICK, "--no-progress").status == 130
    done = program("attack", trained, *QUICK, "--no-progress", "--epsilon", 0.1)
    assert "adversarial.npz.unfinished holds unfinished work with other epsilon" in done.refusal
    assert program("attack", trained, *QUICK, "--no-progress").status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"adversarial.npz"}
