"""`twinlatent train`: what it leaves, which options arrive, and that Ctrl-C costs nothing."""

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.method.checkpoints import load_tensors
from twinlatent.method.detector import Detector


def sets(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_tensors(folder / "detector.safetensors", "detector")[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_none(values: Any, *names: str) -> Any:
    """A table without what is None, as TOML has it, and without some names."""
    if not isinstance(values, dict):
        return values
    return {name: without_none(value) for name, value in values.items() if value is not None and name not in names}


def save_image(image: Tensor, path: Path) -> Path:
    """Write a grey image (H, W) in [0, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.mul(255).round().byte().numpy()).save(path)
    return path


def test_training_leaves_its_files_and_says_where(
    trained: Path, training: list[str], read_log: Callable, ok: Callable
) -> None:
    assert {path.name for path in trained.iterdir()} == {
        *("detector.safetensors", "state.safetensors", "log.jsonl", "training.json")
    }
    assert [line["round"] for line in read_log(trained)] == list(range(1, 41))
    done = ok(*training, "--set", "rounds=2", "--out", "new")
    assert re.match(r"# recipe digits-smoke, smoke; 980 training images: 0 \d+, 1 \d+, .*, 9 \d+\n", done.out)
    said, card = done.out.partition("new/detector")[0], tl.load("new").card
    assert tomllib.loads(said) == without_none(card["recipe"], "name")
    assert card["recipe"]["game"]["rounds"] == card["training"]["rounds"] == 2
    Path("again.toml").write_text(said, encoding="utf-8")
    ok("train", "digits", "--recipe", "again.toml", "--out", "again", "--no-progress")
    assert same(weights(Path("new")), weights(Path("again")))
    assert "new/detector.safetensors: 2 rounds in " in done.text
    assert re.search(r"98 selection images: accuracy 0\.\d{4}, flagged 0\.\d{4} where 0.05 was asked for", done.text)


def test_a_recipe_of_ones_own(training: list[str], ok: Callable, program: Callable) -> None:
    Path("mine.toml").write_text("[game]\nrounds = 3\n[game.negatives.partway]\nshare = 0.5\n", encoding="utf-8")
    done = ok(*training[:4], "--recipe", "mine.toml", "--set", "batch=4", "--out", "new", "--no-progress")
    assert done.out.startswith("# recipe mine, smoke; 980 training images: 0 ")
    made = tl.load("new").card["training"]
    assert (made["rounds"], made["batch"], made["negatives"]["partway"]["share"]) == (3, 4, 0.5)
    Path("mine.toml").write_text("[game]\nround = 3\n", encoding="utf-8")
    refusal = program(*training, "--recipe", "mine.toml", "--out", "other").refusal
    assert "setting 'game.round' is unknown; did you mean game.rounds?" in refusal
    assert not Path("other").exists()


def test_the_card_says_how_it_was_trained(trained: Path, detector: Detector) -> None:
    card = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert card == detector.card
    assert (card["training"]["rounds"], card["training"]["learning_rate"]) == (40, 0.01)
    assert (card["rounds"], card["seed"], card["data"]["name"]) == (40, 0, "digits")


def test_options_of_a_training_arrive(training: list[str], ok: Callable) -> None:
    changes = sets(["rounds=2", "adversary.epsilon=0.35", "loss.margin=3"])
    ok(*training, "--out", "new", *changes, "--label-rule", "nearest_mean", "--score", "joint", "--seed", "7",
       "--thresholds", "together", "--threads", "1", "--device", "cpu")  # fmt: skip
    assert torch.get_num_threads() == 1
    made = tl.load("new")
    assert (made.settings.label_rule, made.settings.score, made.card["seed"]) == ("nearest_mean", "joint", 7)
    assert made.settings.thresholds == made.card["recipe"]["detector"]["thresholds"] == "together"
    settings = made.card["training"]
    assert (settings["adversary"]["epsilon"], settings["loss"]["margin"], settings["rounds"]) == (0.35, 3.0, 2)


def test_baselines_are_trained_used_and_refused_by_the_same_command(ok: Callable, program: Callable) -> None:
    train = ["train", "digits", "--method", "gong", "--preset", "smoke", "--no-progress"]
    done = ok(*train, "--attack", "cw", "--set", "attacked_images=20", "--out", "new")
    assert re.search(r"98 selection images: accuracy 0\.\d{4}, flagged 0\.\d{4} where 0.05 was asked for", done.text)
    made = tl.load("new")
    assert (made.method, made.trained_with, made.card["training"]["attacked_images"]) == ("gong", "cw", 20)
    for more, line in (
        (["--attack", "pgd"], "gong is not trained with 'pgd'; choose from mim, cw"),
        (
            ["--score", "joint"],
            "gong has a label rule, scores and thresholds of its own; leave --label-rule, --score and --thresholds out",
        ),
    ):
        failed = program(*train, *more, "--out", "other")
        assert failed.refusal == line
        assert not Path("other").exists()


def test_ones_own_folders_are_trained_on(digits: Split, ok: Callable) -> None:
    for i in range(120):
        kind = "odd" if digits.train.labels[i] % 2 else "even"
        save_image(digits.train.images[i, 0], Path(f"mine/{kind}/{i}.png"))
    ok("train", "folder:mine", "--size", 8, "--preset", "smoke", "--set", "rounds=2", "--out", "run", "--no-progress")
    assert tl.load("run").class_names == ("even", "odd")


def test_a_training_on_a_handful_of_images_succeeds(digits: Split, ok: Callable) -> None:
    for label in (0, 1):
        for i, place in enumerate((digits.train.labels == label).nonzero()[:5, 0]):
            save_image(digits.train.images[place, 0], Path(f"few/{label}/{i}.png"))
    ok("train", "folder:few", "--size", 8, "--preset", "smoke", "--set", "rounds=2", "--out", "run", "--no-progress")
    assert tl.load("run").class_names == ("0", "1")


def test_a_device_that_holds_no_numbers_is_refused(training: list[str], program: Callable) -> None:
    assert "'meta'" in program(*training, "--out", "x", "--device", "meta").refusal


def test_an_earlier_training_is_not_overwritten(
    trained: Path, training: list[str], contents: Callable, program: Callable
) -> None:
    before = contents(trained)
    refusal = program(*training, "--out", trained).refusal
    assert refusal.startswith(
        f"{trained} holds a training already; resume it (--resume), or give another folder, or write over it"
    )
    assert contents(trained) == before


def test_resuming_a_finished_training_changes_nothing(
    trained: Path, training: list[str], tmp_path: Path, read_log: Callable, ok: Callable
) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    ok(*training, "--out", copy, "--resume")
    assert same(weights(copy), weights(trained))
    assert read_log(copy) == read_log(trained)


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------

LONG = ["train", "digits", "--preset", "smoke", "--no-progress", "--threads", "1",
        *sets(["rounds=150", "batch=2", "adversary.steps=1", "checkpoint_every=1000"])]  # fmt: skip


@dataclass(frozen=True)
class Interrupted:
    """A training that got Ctrl-C after its first few rounds."""

    folder: Path
    done: Any  # how it ended
    rounds: int


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, interrupt: Callable, read_log: Callable) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    log = folder / "log.jsonl"
    done = interrupt(*LONG, "--out", folder, ready=lambda: log.exists() and log.read_bytes().count(b"\n") >= 3)
    return Interrupted(folder, done, len(read_log(folder)))


@pytest.mark.slow  # within one process it is quick: method/test_game.py
def test_an_interrupted_training_goes_on_to_the_same_weights(
    interrupted: Interrupted, tmp_path: Path, read_log: Callable, ok: Callable
) -> None:
    assert interrupted.done.status == 130
    assert "Traceback" not in interrupted.done.err
    assert 3 <= interrupted.rounds < 150
    names = {path.name for path in interrupted.folder.iterdir()}
    assert names == {"state.safetensors", "log.jsonl"}, "there must be no detector of half a training, nor scraps"
    ok(*LONG, "--out", interrupted.folder, "--resume")
    ok(*LONG, "--out", tmp_path / "whole")
    assert same(weights(interrupted.folder), weights(tmp_path / "whole"))
    resumed, whole = (
        [{**line, "seconds": 0} for line in read_log(f)] for f in (interrupted.folder, tmp_path / "whole")
    )
    assert resumed == whole


@pytest.mark.slow
def test_an_interrupted_training_says_that_it_was_saved(interrupted: Interrupted) -> None:
    assert interrupted.done.err.startswith("twinlatent: ")
    assert f"round {interrupted.rounds} of 150" in interrupted.done.err
    assert "--resume" in interrupted.done.err
