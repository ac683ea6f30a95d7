"""The command line: what every command prints and writes, and that bad input ends in one line."""

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import twinlatent as tl
from twinlatent import cli, zoo
from twinlatent.data import Split
from twinlatent.evaluation import blackbox, evaluate, whitebox
from twinlatent.evaluation.records import read_records
from twinlatent.evaluation.run_folder import read_run
from twinlatent.method.checkpoints import load_tensors
from twinlatent.method.detector import Detector

ROUNDS = 40
FASTER = [f"rounds={ROUNDS}", "learning_rate=0.01"]  # a better detector than the preset smoke, as fast
TRAIN = ["train", "digits", "--preset", "smoke", "--no-progress"]
FEW = (
    blackbox.Budget("fgsm", 0.3),
    blackbox.Budget("pgd", 0.4, steps=3, step_size=0.1),
    blackbox.Budget("mim", 0.3, steps=3, step_size=0.1, decay=0.3),
)


@dataclass(frozen=True)
class Done:
    """How a call of the program ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Standard output with every run of white space as one space, since tables and long lines are wrapped."""
        return " ".join(self.out.split())


Program = Callable[..., Done]


@pytest.fixture
def program(capsys, monkeypatch) -> Program:
    """Call the program in this process, as `twinlatent WORDS`; any exception but an exit comes through."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["twinlatent", *map(str, words)])
        capsys.readouterr()
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        return Done(status, *capsys.readouterr())

    return call


@pytest.fixture
def ok(program: Program) -> Program:
    """The same, and it must succeed in silence on standard error."""

    def call(*words: object) -> Done:
        done = program(*words)
        assert (done.status, done.err) == (0, "")
        return done

    return call


def outside(*words: object, folder: Path) -> Done:
    """Call the program as users do, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "twinlatent", *map(str, words)], cwd=folder, env=environment(),
                          capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch) -> None:
    """Every test has a current folder of its own, and no data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWINLATENT_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def weak_attacks(monkeypatch) -> None:
    """Evaluations that take a second: a substitute of few steps, attacks of few steps."""
    for name in ("SUBSTITUTE_STEPS", "SMALL_STEPS"):
        monkeypatch.setattr(blackbox, name, 10)
    for module in (evaluate, blackbox):
        monkeypatch.setattr(module, "BLACK_BOX", FEW)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of a training on digits; read only."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = CliRunner().invoke(cli.app, [*TRAIN, *sets(FASTER), "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def detector(trained: Path) -> Detector:
    return tl.load(trained)


def sets(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_tensors(folder / "detector.safetensors", "detector")[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- help -----------------------------------------------------------------------------------------------------------


def test_help_names_every_command(ok: Program) -> None:
    for words, commands in (
        ([], ["demo", "train", "detect", "evaluate", "report", "reproduce", "attack", "motivation", "data", "zoo"]),
        (["data"], ["list", "fetch", "show"]),
        (["zoo"], ["list", "show"]),
    ):
        assert [name for name in commands if f" {name} " not in ok(*words, "--help").text] == []


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "train", "detect", "evaluate", "report", "reproduce", "attack", "motivation"),
        *("data list", "data fetch", "data show", "zoo list", "zoo show"),
    ],
)
def test_every_command_explains_itself(command: str, ok: Program) -> None:
    assert re.search(rf"Usage: .*twinlatent {command} ", ok(*command.split(), "--help").text)


def test_no_words_at_all_give_the_help(program: Program) -> None:
    done = program()
    assert "Usage: " in done.out + done.err
    assert "Traceback" not in done.err


# --- train ----------------------------------------------------------------------------------------------------------


def test_training_leaves_its_files_and_says_where(trained: Path, ok: Program) -> None:
    assert {path.name for path in trained.iterdir()} == {
        *("detector.safetensors", "state.safetensors", "log.jsonl", "training.json")
    }
    assert [line["round"] for line in log_of(trained)] == list(range(1, ROUNDS + 1))
    done = ok(*TRAIN, "--set", "rounds=2", "--out", "new")
    assert done.text.startswith("new/detector.safetensors: 2 rounds in ")
    assert re.search(r"359 test images: accuracy 0\.\d{4}, flagged 0\.\d{4} where 0.05 was asked for", done.text)


def test_the_card_says_how_it_was_trained(trained: Path, detector: Detector) -> None:
    card = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert card == detector.card
    assert (card["training"]["rounds"], card["training"]["learning_rate"]) == (ROUNDS, 0.01)
    assert (card["rounds"], card["seed"], card["data"]["name"]) == (ROUNDS, 0, "digits")


def test_options_of_a_training_arrive(ok: Program) -> None:
    threads = torch.get_num_threads()
    try:
        changes = sets(["rounds=2", "adversary.epsilon=0.35", "loss.margin=3"])
        ok(*TRAIN, "--out", "new", *changes, "--label-rule", "nearest_mean", "--score", "joint", "--seed", "7",
           "--threads", "1", "--device", "cpu")  # fmt: skip
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    made = tl.load("new")
    assert (made.settings.label_rule, made.settings.score, made.card["seed"]) == ("nearest_mean", "joint", 7)
    training = made.card["training"]
    assert (training["adversary"]["epsilon"], training["loss"]["margin"], training["rounds"]) == (0.35, 3.0, 2)


def test_baselines_are_trained_used_and_refused_by_the_same_command(ok: Program, program: Program) -> None:
    train = ["train", "digits", "--method", "gong", "--preset", "smoke", "--no-progress"]
    done = ok(*train, "--attack", "cw", "--set", "attacked_images=20", "--out", "new")
    assert re.search(r"359 test images: accuracy 0\.\d{4}, flagged 0\.\d{4} where 0.05 was asked for", done.text)
    made = tl.load("new")
    assert (made.method, made.trained_with, made.card["training"]["attacked_images"]) == ("gong", "cw", 20)
    for more, line in (
        (["--attack", "pgd"], "gong is not trained with 'pgd'; choose from mim, cw"),
        (["--score", "joint"], "gong has a label rule and scores of its own; leave --label-rule and --score out"),
    ):
        failed = program(*train, *more, "--out", "other")
        assert (failed.status, failed.err) == (1, f"twinlatent: {line}\n")
        assert not Path("other").exists()


def test_ones_own_folders_are_trained_on(digits: Split, ok: Program) -> None:
    for i in range(120):
        kind = "odd" if digits.train.labels[i] % 2 else "even"
        save_image(digits.train.images[i, 0], Path(f"mine/{kind}/{i}.png"))
    ok("train", "folder:mine", "--size", 8, "--preset", "smoke", "--set", "rounds=2", "--out", "run", "--no-progress")
    assert tl.load("run").class_names == ("even", "odd")


def test_an_earlier_training_is_not_overwritten(trained: Path, program: Program) -> None:
    before = contents(trained)
    done = program(*TRAIN, "--out", trained)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"twinlatent: {trained} holds a training already; resume it, or give another folder\n"
    assert contents(trained) == before


def test_resuming_a_finished_training_changes_nothing(trained: Path, tmp_path: Path, ok: Program) -> None:
    copy = copied(trained, tmp_path / "copy")
    ok(*TRAIN, *sets(FASTER), "--out", copy, "--resume")
    assert same(weights(copy), weights(trained))
    assert log_of(copy) == log_of(trained)


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for name, content in contents(folder).items():
        (to / name).write_bytes(content)
    return to


LONG = [*TRAIN, "--threads", "1", *sets(["rounds=150", "batch=2", "adversary.steps=1", "checkpoint_every=1000"])]


@dataclass(frozen=True)
class Interrupted:
    """A training that got Ctrl-C after its first few rounds."""

    folder: Path
    done: Done
    rounds: int


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    words = [sys.executable, "-m", "twinlatent", *LONG, "--out", str(folder)]
    process = subprocess.Popen(words, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        patience = time.monotonic() + 60
        log = folder / "log.jsonl"
        while not (log.exists() and log.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < patience, "the training did not start"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return Interrupted(folder, Done(process.returncode, out, err), len(log_of(folder)))


def test_an_interrupted_training_goes_on_to_the_same_weights(interrupted: Interrupted, tmp_path: Path, ok: Program):
    assert interrupted.done.status == 130
    assert "Traceback" not in interrupted.done.err
    assert 3 <= interrupted.rounds < 150
    names = {path.name for path in interrupted.folder.iterdir()}
    assert names == {"state.safetensors", "log.jsonl"}, "there must be no detector of half a training, nor scraps"
    threads = torch.get_num_threads()
    try:
        ok(*LONG, "--out", interrupted.folder, "--resume")
        ok(*LONG, "--out", tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    assert same(weights(interrupted.folder), weights(tmp_path / "whole"))
    resumed, whole = ([{**line, "seconds": 0} for line in log_of(f)] for f in (interrupted.folder, tmp_path / "whole"))
    assert resumed == whole


def test_an_interrupted_training_says_that_it_was_saved(interrupted: Interrupted) -> None:
    assert interrupted.done.err.startswith("twinlatent: ")
    assert f"round {interrupted.rounds} of 150" in interrupted.done.err
    assert "--resume" in interrupted.done.err


# --- detect ---------------------------------------------------------------------------------------------------------


def save_image(image: Tensor, path: Path) -> Path:
    """Write a grey image (H, W) in [0, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.mul(255).round().byte().numpy()).save(path)
    return path


def rows(done: Done) -> list[dict]:
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def images(digits: Split) -> Tensor:
    """Six test images with values that a byte holds, (6, 1, 8, 8)."""
    return digits.test.images[:6].mul(255).round() / 255


def test_json_lines_say_what_the_detector_says(trained: Path, detector: Detector, images: Tensor, ok: Program) -> None:
    np.save("images.npy", images.numpy())
    said = rows(ok("detect", trained, "images.npy", "--json"))
    verdict = detector.detect(images)
    assert [row["image"] for row in said] == [f"images.npy[{i}]" for i in range(6)]
    assert [row["label"] for row in said] == [detector.class_names[label] for label in verdict.label]
    assert [row["adversarial"] for row in said] == verdict.adversarial.tolist()
    for field in ("p_value", "suspicion"):
        assert [row[field] for row in said] == pytest.approx(getattr(verdict, field).tolist(), abs=1e-6)
    assert {tuple(row) for row in said} == {("image", "label", "adversarial", "p_value", "suspicion")}


def write_png(images: Tensor) -> list[str]:
    return [str(save_image(image, Path(f"{i}.png"))) for i, image in enumerate(images[:, 0])]


def write_jpeg(images: Tensor) -> list[str]:
    for i, image in enumerate(images[:, 0]):
        pixels = image.mul(255).round().byte().numpy()
        Image.fromarray(pixels).save(f"{i}.jpg", quality=100, subsampling=0)
    return [f"{i}.jpg" for i in range(len(images))]


def write_array(shape: str, kind: str) -> Callable[[Tensor], list[str]]:
    def write(images: Tensor) -> list[str]:
        values = {"n1hw": images, "nhw": images[:, 0], "hw": images[0, 0]}[shape]
        np.save("a.npy", (values * 255).round().byte().numpy() if kind == "uint8" else values.numpy().astype(kind))
        return ["a.npy"]

    return write


def write_npz(**names: str) -> Callable[[Tensor], list[str]]:
    def write(images: Tensor) -> list[str]:
        pieces = {"images": images.numpy(), "labels": np.arange(len(images))}
        np.savez("a.npz", **{name: pieces[piece] for name, piece in names.items()})
        return ["a.npz"]

    return write


@pytest.mark.parametrize(
    ("write", "count", "tolerance"),
    [
        pytest.param(write_png, 6, 0, id="png"),
        pytest.param(write_jpeg, 6, 0.5, id="jpeg"),  # lossy
        pytest.param(write_array("n1hw", "float32"), 6, 0, id="npy"),
        pytest.param(write_array("nhw", "float64"), 6, 0, id="npy without channels, float64"),
        pytest.param(write_array("nhw", "uint8"), 6, 0, id="npy of bytes"),
        pytest.param(write_array("hw", "float32"), 1, 0, id="npy of one image"),
        pytest.param(write_npz(anything="images"), 6, 0, id="npz of one array"),
        pytest.param(write_npz(images="images", labels="labels"), 6, 0, id="npz with images"),
    ],
)
def test_all_kinds_of_files_give_the_same_verdicts(
    write, count: int, tolerance: float, trained: Path, detector: Detector, images: Tensor, ok: Program
) -> None:
    said = rows(ok("detect", trained, *write(images), "--json"))
    wanted = detector.detect(images[:count]).suspicion.tolist()
    assert [row["suspicion"] for row in said] == pytest.approx(wanted, abs=tolerance or 2e-5)


def test_files_of_all_kinds_go_together_in_their_order(trained: Path, images: Tensor, ok: Program) -> None:
    png = write_png(images)[3]
    np.save("two.npy", images[:2].numpy())
    said = rows(ok("detect", trained, png, "two.npy", png, "--json"))
    assert [row["image"] for row in said] == ["3.png", "two.npy[0]", "two.npy[1]", "3.png"]
    assert said[0] == said[3]


def test_image_files_of_another_size_are_resized(trained: Path, detector: Detector, ok: Program) -> None:
    save_image(torch.full((20, 31), 0.4), Path("large.png"))
    (row,) = rows(ok("detect", trained, "large.png", "--json"))
    small = detector.detect(torch.full((1, 1, 8, 8), 0.4))
    assert row["suspicion"] == pytest.approx(small.suspicion.item(), abs=2e-5)


def test_invert_swaps_black_and_white(trained: Path, images: Tensor, ok: Program) -> None:
    np.save("plain.npy", images.numpy())
    np.save("swapped.npy", 1 - images.numpy())
    plain, swapped, back = (
        [(row["label"], row["suspicion"]) for row in rows(ok("detect", trained, *words, "--json"))]
        for words in (["plain.npy"], ["swapped.npy"], ["swapped.npy", "--invert"])
    )
    assert [label for label, _ in back] == [label for label, _ in plain]
    assert [s for _, s in back] == pytest.approx([s for _, s in plain], abs=2e-5)
    assert [s for _, s in swapped] != pytest.approx([s for _, s in plain], abs=1e-2)


@pytest.mark.parametrize("fpr", [0.05, 0.3])
def test_the_rate_decides_who_is_flagged(fpr: float, trained: Path, digits: Split, ok: Program) -> None:
    np.save("all.npy", digits.test.images.numpy())
    said = rows(ok("detect", trained, "all.npy", "--fpr", fpr, "--json"))
    assert [row["adversarial"] for row in said] == [row["p_value"] <= fpr for row in said]
    assert 0 < sum(row["adversarial"] for row in said) < len(said)


def test_the_table_has_a_row_an_image(trained: Path, images: Tensor, ok: Program) -> None:
    name = "all [red][].npy"  # no markup, a file's name
    np.save(name, images.numpy())
    done = ok("detect", trained, name)
    assert [done.out.count(f"{name}[{i}]") for i in range(6)] == [1] * 6
    assert "p-value" in done.out


def test_a_detector_is_found_by_folder_and_by_file(trained: Path, images: Tensor, ok: Program) -> None:
    np.save("a.npy", images.numpy())
    (Path("elsewhere.safetensors")).write_bytes((trained / "detector.safetensors").read_bytes())
    assert ok("detect", trained, "a.npy", "--json") == ok("detect", "elsewhere.safetensors", "a.npy", "--json")


# --- evaluate -------------------------------------------------------------------------------------------------------

OUTSIDE = ["--suite", "none", "--blackbox-images"]
INSIDE = ["--steps", 2, "--images", 6, "--few", 3, "--blackbox-images", 6, "--out", "judged", "--no-progress"]


def test_the_whole_evaluation_leaves_white_box_judges_checks_and_page(trained: Path, ok: Program) -> None:
    done = ok("evaluate", trained, *INSIDE)
    run = read_run("judged")
    records = [r for r in run.records if r.budget == "standard, 2 steps"]
    assert {r.metric for r in records} >= {"sr@5", "sr@10", "sr_c1c2", "sr_c1c2c3", "benign_pass_c1c2"}
    assert {r.score for r in records if r.metric == "sr@5"} == {"ratio", "vulnerable"}
    assert {r.n for r in records if r.metric == "sr@5"} == {6, 3}
    assert [f"  {check.name}: " in done.out for check in run.checks] == [True] * 12
    assert run.judges is not None
    assert {case.judge for case in run.judges.cases} == {"knn", "cnn", "agreement"}
    assert run.grid is not None
    assert {path.name for path in Path("judged").iterdir()} == {
        *("results.json", "model.json", "evaluation.npz", "training-log.jsonl", "checks.json", "judges.json"),
        *("pictures.npz", "report.html"),
    }


def test_an_evaluation_with_the_quick_suite_has_conditions_too(trained: Path, ok: Program) -> None:
    ok("evaluate", trained, "--suite", "quick", *INSIDE)
    found = {(r.metric, r.attack) for r in read_records("judged/results.json") if r.budget == "quick, 2 steps"}
    assert {("sr@5", "worst"), ("sr_c1c2", "pgd_w"), ("sr_c1c2", "cw_w")} <= found


def test_an_evaluation_that_was_interrupted_gives_the_same_numbers(trained: Path, ok: Program, monkeypatch) -> None:
    """Ctrl-C comes when all is attacked and is to be checked, and what was attacked by then is not attacked again."""
    real, done = evaluate.run_checks, ok("evaluate", trained, *INSIDE, "--shared", "shared")
    whole = [(r.metric, r.attack, r.epsilon, r.score, r.value, r.n) for r in read_records("judged/results.json")]
    shutil.rmtree("judged")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run_checks", interrupted)
    stopped = CliRunner().invoke(cli.app, ["evaluate", str(trained), *map(str, INSIDE), "--shared", "shared"])
    assert stopped.exit_code == cli.INTERRUPTED
    kept = {path: path.stat().st_mtime_ns for path in Path("judged/unfinished/points-ratio").rglob("*.npz")}
    assert kept
    monkeypatch.setattr(evaluate, "run_checks", lambda *a, **k: touched(kept) and real(*a, **k))
    assert ok("evaluate", trained, *INSIDE, "--shared", "shared").out.splitlines()[-2:] == done.out.splitlines()[-2:]
    again = [(r.metric, r.attack, r.epsilon, r.score, r.value, r.n) for r in read_records("judged/results.json")]
    assert again == whole


def touched(kept: dict[Path, int]) -> bool:
    """Whether all kept batches are as they were."""
    return all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_a_report_is_made_again_from_its_folder_alone(trained: Path, ok: Program, program: Program) -> None:
    ok("evaluate", trained, *OUTSIDE, 5, "--out", "judged", "--no-progress")
    before = Path("judged/report.html").read_bytes()
    Path("judged/report.html").unlink()
    is_one_line(program("report", "nosuch"), "nosuch")
    assert ok("report", "judged").out.strip() == "judged/report.html"
    assert Path("judged/report.html").read_bytes() == before


def test_a_table_of_the_paper_is_reproduced_and_kept(ok: Program, program: Program) -> None:
    table = ["reproduce", "table2", "--preset", "smoke", "--data", "digits", "--out", "again", "--no-progress"]
    done = ok(*table)
    assert "again/digits/comparison.html" in done.text
    records = read_records("again/digits/results.json")
    cells = {(r.method, r.trained_with) for r in records}
    assert cells == {("twinlatent", "mim"), ("twinlatent", "cw"), ("plain", "none")}
    before = {path: path.stat().st_mtime_ns for path in Path("again").rglob("detector.safetensors")}
    assert ok(*table).out == done.out
    assert {path: path.stat().st_mtime_ns for path in Path("again").rglob("detector.safetensors")} == before
    failed = program("reproduce", "table9")
    assert failed.err.startswith("twinlatent: 'table9' is unknown; choose from table2, ")


def test_a_cell_of_table_1_is_printed_and_kept(ok: Program, program: Program, monkeypatch) -> None:
    monkeypatch.setattr(blackbox, "SMALL_STEPS", 100)
    cell = ["motivation", "--data", "digits", "--attack", "fgsm", "--preset", "smoke", "--out", "cell", "--no-progress"]
    done = ok(*cell)
    assert "Page with pictures: cell/report.html" in done.text
    records = {r.metric: r for r in read_records("cell/results.json")}
    assert records["attack_success"].n == 2 * 60
    assert f"{records['test_xb_accuracy'].value:.3f}" in done.text
    added = round(records["attack_success"].value * 120)
    assert f"{added} added to X_v, {120 - added} did not fool F_p" in done.text
    before = Path("cell/results.json").read_bytes()
    assert ok(*cell).out == done.out
    assert Path("cell/results.json").read_bytes() == before
    is_one_line(program(*cell, "--iterations", "3"), "cell holds an experiment with other data or settings")


def test_an_interrupted_cell_of_table_1_says_how_to_go_on(program: Program, monkeypatch) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_cell", stop)
    done = program("motivation", "--data", "digits", "--preset", "smoke", "--no-progress")
    assert done.status == 130
    assert done.err == "twinlatent: stopped; what is finished is kept, and the same command goes on\n"


def test_an_evaluation_prints_a_table_and_leaves_a_page(trained: Path, ok: Program) -> None:
    before = contents(trained)
    done = ok("evaluate", trained, *OUTSIDE, 12, "--out", "judged", "--no-progress")
    assert "Page with pictures: judged/report.html" in done.text
    for attack in ("fgsm", "pgd", "mim"):
        assert len(re.findall(rf"^ +{attack} +0\.3 .* 12 *$", done.out, re.MULTILINE)) == 1
    assert re.search(r"Benign test images: accuracy 0\.\d{4}, .*n = 359", done.text)
    records = read_records("judged/results.json")
    assert {record.attack for record in records} == {"none", "fgsm", "pgd", "mim"}
    assert {record.n for record in records if record.attack != "none" and record.budget == "blackbox at 0.3"} == {12}
    assert {record.command.split()[0] for record in records} == {"twinlatent"}
    page = Path("judged/report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "How training went" in page
    assert [dict(line) for line in read_run("judged").log] == log_of(trained)
    assert contents(trained) == before, "an evaluation must not touch the training"


def test_options_of_an_evaluation_arrive(trained: Path, ok: Program) -> None:
    ok("evaluate", trained, "digits", *OUTSIDE, 5, "--epsilon", "0.1", "--score", "vulnerable",
       "--label-rule", "density", "--seed", 0, "--out", "judged", "--no-progress")  # fmt: skip
    records, card = read_records("judged/results.json"), read_run("judged").model
    assert {record.epsilon for record in records if record.attack not in ("none", "cw")} == {0.1}
    assert (card.score, card.label_rule) == ("vulnerable", "density")
    assert {record.score for record in records if record.metric == "fpr"} == {"vulnerable"}


def test_numbers_on_the_screen_are_those_of_the_records(trained: Path, ok: Program) -> None:
    done = ok("evaluate", trained, *OUTSIDE, 7, "--out", "judged", "--no-progress")
    outside = [r for r in read_records("judged/results.json") if r.budget == "blackbox at 0.3"]
    records = {(r.metric, r.attack, r.score): r.value for r in outside}
    assert f"accuracy {records['accuracy', 'none', None]:.4f}" in done.text
    for attack in ("fgsm", "pgd", "mim"):
        (row,) = (line for line in done.out.splitlines() if line.split()[:1] == [attack])
        for key in ("attack_success", None), ("auc", "vulnerable"), ("auc", "joint"), ("auc", "ratio"):
            assert f"{records[key[0], attack, key[1]]:.3f}" in row


# --- attack ---------------------------------------------------------------------------------------------------------

QUICK = ["--suite", "quick", "--steps", "2", "--images", "6"]


def arrays(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def asked(saved: dict[str, np.ndarray]) -> dict:
    return json.loads(str(saved["about"]))["asked"]


def cells(done: Done) -> dict[str, list[str]]:
    """The rows of the table of attacks, by name: the cells that are not empty."""
    words = [line.split() for line in done.out.splitlines()]
    return {row[0]: row[1:] for row in words if len(row) > 3 and re.fullmatch(r"\d\.\d{3}", row[1])}


def test_an_attack_prints_a_table_and_leaves_its_images(trained: Path, detector: Detector, digits: Split, ok: Program):
    before = contents(trained)
    done = ok("attack", trained, *QUICK, "--save", "new/a.npz", "--records", "new/a.json", "--no-progress")
    assert done.out.startswith("Success: misread and not flagged at 5 %; linf radius 0.3; 95 % intervals\n")
    assert done.out.endswith("\nImages: new/a.npz\n")
    saved, records = arrays("new/a.npz"), read_records("new/a.json")
    table = cells(done)
    assert list(table) == [record.attack for record in records] == [*saved_attacks(saved), "worst"]
    for record in records:
        row = table[record.attack]
        assert row[:2] == [f"{record.value:.3f}", f"{record.low:.2f}–{record.high:.2f}"]
        assert row[-1] == "6"
        if record.attack != "worst":
            verdict = detector.detect(saved[f"{record.attack}.images"])
            misread = verdict.label != torch.from_numpy(saved["labels"])
            assert row[2] == f"{misread.double().mean():.3f}"
            assert record.value == pytest.approx((misread & ~verdict.adversarial).double().mean().item())
    assert {record.metric for record in records} == {"sr@5"}
    assert {record.command.split()[0] for record in records} == {"twinlatent"}
    assert {path.name for path in Path("new").iterdir()} == {"a.npz", "a.json"}
    assert contents(trained) == before, "an attack must not touch the training"


def saved_attacks(saved: dict[str, np.ndarray]) -> list[str]:
    """Names of the attacks in a file, in the order of the suite."""
    names = ["none", "noise", "fgsm", "fgsm_w", "pgd", "mim_w", "selective"]
    assert {name.partition(".")[0] for name in saved if "." in name} == set(names)
    return names


def test_an_attack_alone_goes_by_its_defaults(trained: Path, ok: Program) -> None:
    done = ok("attack", trained, "--steps", 1, "--images", 3, "--no-progress")
    assert {"transfer", "square", "bypass-targets", "latent-targets", "worst"} <= set(cells(done))
    defaults = {"suite": "standard", "epsilon": 0.3, "norm": "linf", "goal": "undetected", "fpr": 0.05, "seed": 0}
    assert defaults.items() <= asked(arrays("adversarial.npz")).items()


@pytest.mark.parametrize(("there", "attacked"), [(3, 3), (None, 5)])
def test_as_many_images_as_there_are_are_attacked_up_to_a_default(there, attacked: int, trained, ok, monkeypatch):
    assert cli.DEFAULT_IMAGES == 200
    whole = cli.split_of

    def part(*given, **options) -> Split:
        split = whole(*given, **options)
        return split if there is None else replace(split, test=split.test.subset(slice(there)))

    monkeypatch.setattr(cli, "split_of", part)
    monkeypatch.setattr(cli, "DEFAULT_IMAGES", 5)
    ok("attack", trained, "--suite", "quick", "--steps", 1, "--no-progress")
    saved = arrays("adversarial.npz")
    assert asked(saved)["images"] == len(saved["labels"]) == attacked


def test_options_of_an_attack_arrive(trained: Path, detector: Detector, digits: Split, ok: Program) -> None:
    done = ok("attack", trained, "digits", *QUICK, "--save", "a.npz", "--records", "a.json", "--epsilon", 1.5,
              "--norm", "l2", "--goal", "misclassified", "--fpr", 0.1, "--remaining-only", "--seed", 3,
              "--device", "cpu", "--label-rule", "density", "--score", "vulnerable", "--no-progress")  # fmt: skip
    assert done.out.startswith("Success: misread; l2 radius 1.5; 95 % intervals\n")
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
        ("undetected", 0.1, "misread and not flagged at 10 %", "sr@10"),
        ("c1c2", 0.05, "misread, C1 and C2", "sr_c1c2"),
    ],
)
def test_the_goal_is_said_and_measured(goal: str, fpr: float, said: str, metric: str, trained: Path, ok: Program):
    words = ["attack", trained, *QUICK, "--goal", goal, "--fpr", fpr, "--records", "a.json", "--no-progress"]
    assert ok(*words).out.startswith(f"Success: {said}; ")
    assert {record.metric for record in read_records("a.json")} == {metric}


def test_records_that_cannot_be_written_cost_no_work(trained: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "file").write_bytes(b"")
    is_one_line(program("attack", trained, *QUICK, "--records", "file/a.json", "--no-progress"), "file")
    assert program("attack", trained, *QUICK, "--records", "a.json", "--no-progress").status == 0
    assert read_records("a.json")[-1].attack == "worst"


def test_progress_of_an_attack_goes_to_standard_error(trained: Path, program: Program) -> None:
    done = program("attack", trained, *QUICK)
    assert done.status == 0
    assert [line.split(":")[0] for line in done.err.splitlines()] == list(cells(done))[:-1]


def test_the_help_of_an_attack_names_its_options(ok: Program) -> None:
    said = ok("attack", "--help").text
    options = ["save", "records", "suite", "epsilon", "norm", "goal", "fpr", "images", "steps", "remaining-only",
               "seed", "label-rule", "score", "size", "device", "threads", "no-progress"]  # fmt: skip
    assert [option for option in options if f"--{option} " not in said] == []
    assert "Interrupted, the same command goes on." in said


@dataclass(frozen=True)
class InterruptedAttack:
    """An attack that got Ctrl-C after its first few batches."""

    path: Path
    words: list[str]
    done: Done
    kept: frozenset[str]


@pytest.fixture
def interrupted_attack(trained: Path, tmp_path: Path) -> InterruptedAttack:
    path = tmp_path / "sub" / "a.npz"
    words = ["attack", str(trained), "--suite", "quick", "--steps", "30", "--images", "150", "--epsilon", "0.02",
             "--threads", "1", "--no-progress", "--save"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "twinlatent", *words, str(path)], env=environment(), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    unfinished = path.with_name("a.npz.unfinished")
    try:
        patience = time.monotonic() + 60
        while not (unfinished / "pgd-000050.npz").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < patience, "the attack did not start"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    done = Done(process.returncode, out, err)
    return InterruptedAttack(path, words, done, frozenset(file.name for file in unfinished.iterdir()))


def test_an_interrupted_attack_goes_on_to_the_same_images(interrupted_attack: InterruptedAttack, ok: Program) -> None:
    stopped = interrupted_attack
    assert stopped.done == Done(
        130, "", "twinlatent: stopped; finished batches are kept, and the same command goes on\n"
    )
    assert {"identity.json", "none-000000.npz", "pgd-000050.npz"} <= stopped.kept
    assert "selective-000100.npz" not in stopped.kept, "it was done already"
    assert not [name for name in stopped.kept if name.startswith(".")], "there must be no scraps"
    assert not stopped.path.exists()
    threads = torch.get_num_threads()
    try:
        resumed = ok(*stopped.words, stopped.path)
        whole = ok(*stopped.words, "whole.npz")
    finally:
        torch.set_num_threads(threads)
    first, second = arrays(stopped.path), arrays("whole.npz")
    assert first.keys() == second.keys()
    for name in first.keys() - {"about"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert [file.name for file in stopped.path.parent.iterdir()] == ["a.npz"]
    seconds = 2  # from the right, the one column that may differ
    shown = [{name: row[:-seconds] for name, row in cells(done).items()} for done in (resumed, whole)]
    assert shown[0] == shown[1]


def test_unfinished_work_of_other_options_is_refused(trained: Path, tmp_path: Path, program: Program, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whitebox, "save_run", stop)
        assert program("attack", trained, *QUICK, "--no-progress").status == 130
    done = program("attack", trained, *QUICK, "--no-progress", "--epsilon", 0.1)
    is_one_line(done, "adversarial.npz.unfinished holds unfinished work with other asked")
    assert program("attack", trained, *QUICK, "--no-progress").status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"adversarial.npz"}


# --- demo -----------------------------------------------------------------------------------------------------------


def test_the_demo_leaves_a_page_with_everything_it_needs(ok: Program) -> None:
    done = ok("demo", "--out", "shown", "--preset", "smoke", "--seed", 3, "--no-progress")
    assert "Page with pictures: shown/report.html" in done.text
    assert all(re.search(rf"^ +{attack} +0\.3 ", done.out, re.MULTILINE) for attack in ("fgsm", "pgd", "mim"))
    records = read_records("shown/results.json")
    assert {record.seed for record in records} == {3}
    assert {record.n for record in records if not record.budget.endswith(blackbox.MISREAD_ONLY)} == {359}
    page = Path("shown/report.html").read_text(encoding="utf-8")
    assert "How training went" in page
    assert not re.search(r"(src|href)=[\"']?http", page), "the page loads something from elsewhere"
    assert tl.load("shown/training").class_names == tuple("0123456789")


# --- data and zoo ---------------------------------------------------------------------------------------------------


def test_data_sets_are_listed_with_what_they_are(ok: Program) -> None:
    listed = ok("data", "list").text
    for name in (*tl.data.names(), "folder:PATH"):
        assert f" {name} " in listed
    assert "comes with scikit-learn" in listed
    assert "to be fetched" in listed


def test_a_data_set_is_shown(ok: Program) -> None:
    done = ok("data", "show", "digits", "--out", "sub/sheet.png", "--no-progress")
    assert done.text == "sub/sheet.png: 1078 train, 360 calibration, 359 test images of shape (1, 8, 8), 10 classes"
    with Image.open("sub/sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 100


def test_there_is_nothing_to_fetch_for_digits(ok: Program) -> None:
    assert ok("data", "fetch", "digits").out == ""


def test_fetching_says_where_the_files_are(ok: Program, monkeypatch) -> None:
    asked = []

    def fetch(name: str, *, progress: bool) -> list[Path]:
        asked.append((name, progress))
        return [Path("here/a.gz"), Path("here/b.gz")]

    monkeypatch.setattr(tl.data, "fetch", fetch)
    assert ok("data", "fetch", "mnist", "--no-progress").out == "here/a.gz\nhere/b.gz\n"
    assert asked == [("mnist", False)]


def test_a_long_path_stays_in_one_piece(ok: Program, monkeypatch) -> None:
    path = Path("/".join(["a-folder-with-a-long-name"] * 9))
    monkeypatch.setattr(tl.data, "fetch", lambda name, *, progress: [path])
    assert ok("data", "fetch", "mnist").out == f"{path}\n"


def test_a_path_with_brackets_is_shown_as_it_is(ok: Program) -> None:
    assert "sheet [red].png: 1078 train" in ok("data", "show", "digits", "--out", "sheet [red].png").text


@pytest.fixture
def shipped(trained: Path, tmp_path: Path, monkeypatch) -> None:
    """A zoo with one detector."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "tiny.safetensors").write_bytes((trained / "detector.safetensors").read_bytes())
    (folder / "tiny.md").write_text("# tiny\n\nReads digits [a bit].\n", encoding="utf-8")
    monkeypatch.setattr(zoo, "FOLDER", folder)


def test_the_zoo_is_listed_and_its_cards_are_shown(shipped: None, ok: Program) -> None:
    assert re.search(r"│ tiny +│ digits +│ 10 +│ mim +│", ok("zoo", "list").out)
    assert ok("zoo", "show", "tiny").out.strip() == "# tiny\n\nReads digits [a bit]."


def test_a_detector_of_the_zoo_is_found_by_its_name(shipped: None, images: Tensor, trained: Path, ok: Program) -> None:
    np.save("a.npy", images.numpy())
    assert ok("detect", "tiny", "a.npy", "--json") == ok("detect", trained, "a.npy", "--json")


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bad(trained: Path, images: Tensor, tmp_path: Path) -> dict[str, Path]:
    """Files that are not what they should be, by the names that the table below calls them by."""
    detector_file, whole = trained / "detector.safetensors", images.numpy()
    flipped = bytearray(detector_file.read_bytes())
    flipped[-9] ^= 1
    arrays = {
        "wide.npy": np.zeros((2, 9, 8), np.float32), "high.npy": whole * 255, "nan.npy": whole * np.nan,
        "whole.npy": np.ones((8, 8), np.int64), "none.npy": whole[:0], "ok.npy": whole,
        "flat.npy": whole.reshape(6, 64),
        "pickled.npy": np.array([{}], dtype=object), "words.npy": np.array(["a"]), "number.npy": np.array(0.5),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(name, array)
    np.savez("two.npz", a=whole, b=whole)
    np.savez("nothing.npz")
    pieces = {
        "text.npy": b"hello", "zero.npy": b"", "text.npz": b"hello", "cut.npz": Path("two.npz").read_bytes()[:900],
        "there.npz": b"years of work",
        "text.png": b"hello", "cut.png": b"\x89PNG\r\n\x1a\n", "flipped.safetensors": bytes(flipped),
        "cut.safetensors": detector_file.read_bytes()[:5000], "zero.safetensors": b"",
    }  # fmt: skip
    for name, piece in pieces.items():
        Path(name).write_bytes(piece)
    save_image(images[0, 0], Path("one-class/a/0.png"))
    for path in ("empty", "folder.npy"):
        Path(path).mkdir()
    copied(trained, tmp_path / "copy")
    return {"run": trained, "state": trained / "state.safetensors"}


BAD = [  # words, what the line must name
    # train
    ("train nosuch --out x", "nosuch"),
    ("train digit --out x", "did you mean digits"),
    ("train folder: --out x", "folder:"),
    ("train folder:nowhere --out x", "nowhere: no such folder"),
    ("train folder:empty --out x", "empty: 0 class folders"),
    ("train folder:one-class --out x", "one-class: 1 class folders"),
    ("train mnist --out x --size 14", "size is 14"),
    ("train digits --out x --preset huge", "'huge'"),
    ("train digits --out x --set rounds", "'rounds' has no value"),
    ("train digits --out x --set rounds=many", "rounds = 'many'"),
    ("train digits --out x --set rounds=0", "rounds = '0'"),
    ("train digits --out x --set nonsense=1", "nonsense"),
    ("train digits --out x --set adversary.nonsense=1", "adversary.nonsense"),
    ("train digits --out x --set nonsense.epsilon=1", "'nonsense.epsilon'"),
    ("train digits --out x --set adversary.epsilon=2", "adversary.epsilon = '2'"),
    ("train digits --out x --set adversary.epsilon=nan", "adversary.epsilon = 'nan'"),
    ("train digits --out x --set encoder=c(4,16)q(2)", "'q' at column 8"),
    ("train digits --out x --set loss=3", "loss = '3'"),
    ("train digits --out x --label-rule guess", "'guess'"),
    ("train digits --out x --score guess", "'guess'"),
    ("train digits --out x --device nosuch", "'nosuch'"),
    ("train digits --out x --seed 9223372036854775808", "9223372036854775808"),
    ("train digits --out x --resume", "x/state.safetensors is no file"),
    ("train digits --out ok.npy", "ok.npy: File exists"),
    ("train digits --out ok.npy/x", "ok.npy/x: Not a directory"),
    ("train digits --preset smoke --out copy --resume --seed 1", "copy/state.safetensors was trained with other"),
    ("train digits --preset smoke --out copy --resume --set batch=9", "other settings"),
    # detect
    ("detect nosuch ok.npy", "'nosuch'"),
    ("detect empty ok.npy", "empty/detector.safetensors is no file"),
    ("detect text.png ok.npy", "text.png"),
    ("detect cut.safetensors ok.npy", "cut.safetensors is truncated"),
    ("detect zero.safetensors ok.npy", "zero.safetensors"),
    ("detect flipped.safetensors ok.npy", "flipped.safetensors is damaged"),
    ("detect {state} ok.npy", "state.safetensors is no detector file"),
    ("detect {run} nosuch.png", "nosuch.png"),
    ("detect {run} nosuch.npy", "nosuch.npy"),
    ("detect {run} empty", "empty"),
    ("detect {run} folder.npy", "folder.npy"),
    ("detect {run} text.png", "text.png: is not an image"),
    ("detect {run} cut.png", "cut.png"),
    ("detect {run} text.npy", "text.npy"),
    ("detect {run} zero.npy", "zero.npy"),
    ("detect {run} text.npz", "text.npz"),
    ("detect {run} two.npz", "two.npz holds a, b"),
    ("detect {run} nothing.npz", "nothing.npz"),
    ("detect {run} pickled.npy", "pickled.npy"),
    ("detect {run} words.npy", "words.npy"),
    ("detect {run} number.npy", "number.npy has shape ()"),
    ("detect {run} flat.npy", "flat.npy has shape (6, 64)"),
    ("detect {run} wide.npy", "wide.npy has shape (2, 9, 8)"),
    ("detect {run} high.npy", "high.npy: images reach from 0 to 255"),
    ("detect {run} nan.npy", "nan.npy: images contain NaN"),
    ("detect {run} whole.npy", "whole.npy: images are int64"),
    ("detect {run} none.npy", "none.npy"),
    ("detect {run} ok.npy text.png", "text.png"),
    ("detect {run} ok.npy --fpr 0", "fpr is 0"),
    ("detect {run} ok.npy --fpr 1", "fpr is 1"),
    ("detect {run} ok.npy --fpr nan", "fpr is nan"),
    ("detect {run} ok.npy --fpr 1e-6", "fpr 1e-06 is finer"),
    # evaluate
    ("evaluate nosuch", "'nosuch'"),
    ("evaluate {run} nosuch", "'nosuch'"),
    ("evaluate {run} --images 360", "360 test images"),
    ("evaluate {run} --score guess", "'guess'"),
    ("evaluate {run} --label-rule guess", "'guess'"),
    ("evaluate {run} --size 9", "size is 9"),
    ("evaluate {run} digits --suite none --images 2 --out ok.npy", "ok.npy"),
    ("evaluate {run} --suite huge", "huge"),
    ("reproduce all --preset huge", "'huge'"),
    ("reproduce all --data nosuch", "nosuch"),
    ("reproduce table1 --preset huge", "'huge'"),
    ("reproduce fig2 --few 3", "--few 3"),
    # motivation
    ("motivation --data nosuch", "nosuch"),
    ("motivation --data digits --attack nosuch", "'nosuch'"),
    ("motivation --data digits --preset huge", "'huge'"),
    ("motivation --data digits --images 1079", "1079 training images"),
    ("motivation --data digits --set targets=all", "targets = 'all'"),
    ("motivation --data digits --set rounds=3", "'rounds'"),
    ("motivation --data digits --device nosuch", "'nosuch'"),
    ("motivation --data digits --preset smoke --out ok.npy", "ok.npy"),
    # attack
    ("attack nosuch", "'nosuch'"),
    ("attack empty", "empty/detector.safetensors is no file"),
    ("attack cut.safetensors", "cut.safetensors is truncated"),
    ("attack {run} nosuch", "'nosuch'"),
    ("attack {run} --suite huge", "suite = 'huge'"),
    ("attack {run} --norm l1", "norm = 'l1'"),
    ("attack {run} --goal win", "goal = 'win'"),
    ("attack {run} --fpr 0.2", "fpr = 0.2"),
    ("attack {run} --fpr 0", "fpr = 0.0"),
    ("attack {run} --fpr nan", "fpr = nan"),
    ("attack {run} --fpr 0.01", "finer"),
    ("attack {run} --epsilon inf", "epsilon = inf"),
    ("attack {run} --epsilon 3", "epsilon = 3.0"),
    ("attack {run} --suite quick --steps 1 --images 2 --epsilon 1.5", "epsilon = 1.5"),
    ("attack {run} --suite paper --steps 5", "steps = 5"),
    ("attack {run} --suite paper --norm l2", "norm = 'l2'"),
    ("attack {run} --images 360", "360 test images"),
    ("attack {run} --score guess", "'guess'"),
    ("attack {run} --label-rule guess", "'guess'"),
    ("attack {run} --size 9", "size is 9"),
    ("attack {run} --device nosuch", "'nosuch'"),
    ("attack {run} --device meta", "'meta'"),
    ("attack {run} --suite quick --steps 1 --images 2 --seed 18446744073709551616", "18446744073709551616"),
    ("attack {run} --save there.npz", "there.npz is there already"),
    ("attack {run} --save a.npy", "a.npy is written as .npz; name it a.npz"),
    ("attack {run} --save a", "name it a.npz"),
    ("attack {run} --suite quick --steps 1 --images 2 --save ok.npy/a.npz", "ok.npy"),
    ("attack {run} --suite quick --steps 1 --images 2 --records ok.npy/a.json", "ok.npy"),
    ("attack {run} --suite quick --steps 1 --images 2 --records empty", "empty"),
    # demo, data and zoo
    ("demo --preset huge", "'huge'"),
    ("demo --preset smoke --out ok.npy", "ok.npy"),
    ("data fetch nosuch", "'nosuch'"),
    ("data show nosuch", "'nosuch'"),
    ("data show digits --size 9", "size is 9"),
    ("data show digits --out ok.npy/x.png", "ok.npy"),
    ("zoo show nosuch", "'nosuch'"),
]

USAGE = [  # words, what the message must name; these are refused before anything of ours runs
    ("train digits", "--out"),
    ("train", "data"),
    ("train digits --out x --seed -1", "--seed"),
    ("train digits --out x --seed one", "--seed"),
    ("train digits --out x --threads 0", "--threads"),
    ("train digits --out x --size 3", "--size"),
    ("train digits --out x --nonsense", "--nonsense"),
    ("detect", "model"),
    ("detect {run}", "files"),
    ("detect {run} ok.npy --fpr much", "--fpr"),
    ("evaluate {run} --images 0", "--images"),
    ("evaluate {run} --epsilon 2", "--epsilon"),
    ("evaluate {run} --epsilon nan", "--epsilon"),
    ("attack", "model"),
    ("attack {run} --images 0", "--images"),
    ("attack {run} --images few", "--images"),
    ("attack {run} --epsilon -0.1", "--epsilon"),
    ("attack {run} --epsilon nan", "--epsilon"),
    ("attack {run} --steps 0", "--steps"),
    ("attack {run} --seed -1", "--seed"),
    ("attack {run} --threads 0", "--threads"),
    ("nonsense", "nonsense"),
    ("data nonsense", "nonsense"),
]


def is_one_line(done: Done, named: str) -> None:
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith("twinlatent: ")
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1
    assert named in done.err


@pytest.mark.parametrize(("words", "named"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_ends_in_one_line(words: str, named: str, bad: dict[str, Path], program: Program) -> None:
    quiet = [] if words.split()[0] in ("detect", "zoo") else ["--no-progress"]
    is_one_line(program(*words.format(**bad).split(), *quiet), named)


@pytest.mark.parametrize(("words", "named"), USAGE, ids=[words for words, _ in USAGE])
def test_wrong_usage_ends_in_a_short_message(words: str, named: str, bad: dict[str, Path], program: Program) -> None:
    done = program(*words.format(**bad).split())
    assert (done.status, done.out) == (2, "")
    assert named in done.err
    assert len(done.err.splitlines()) <= 6
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("train nosuch --out x", "'nosuch'"),
        ("detect {run} text.npy", "text.npy"),
    ],
)
def test_a_process_of_its_own_prints_no_traceback_either(words: str, named: str, bad: dict[str, Path], tmp_path: Path):
    is_one_line(outside(*words.format(**bad).split(), folder=tmp_path), named)


def test_nothing_is_written_where_the_input_was_bad(bad: dict[str, Path], program: Program, tmp_path: Path) -> None:
    for words in ("train nosuch --out x", "train digits --out x --preset huge", "train digits --out x --set rounds=0",
                  "train digits --out x --score guess", "train digits --out x --device nosuch",
                  "evaluate {run} nosuch --out x", "data show nosuch --out x",
                  "attack {run} nosuch --save x/a.npz", "attack {run} --suite huge --save x/a.npz",
                  "attack {run} --images 360 --save x/a.npz", "attack {run} --fpr 0.01 --save x/a.npz"):  # fmt: skip
        assert program(*words.format(**bad).split()).status == 1
        assert not (tmp_path / "x").exists(), words


# --- known faults ---------------------------------------------------------------------------------------------------


def test_an_array_of_colour_images_is_refused(trained: Path, program: Program) -> None:
    np.save("colour.npy", np.zeros((2, 3, 8, 8), np.float32))
    is_one_line(program("detect", trained, "colour.npy"), "colour.npy")


def test_half_an_archive_ends_in_one_line(bad: dict[str, Path], program: Program) -> None:
    is_one_line(program("detect", bad["run"], "cut.npz"), "cut.npz")
    gc.collect()


def test_a_damaged_archive_ends_in_one_line(trained: Path, images: Tensor, program: Program) -> None:
    np.savez_compressed("damaged.npz", images=np.random.default_rng(0).random((20, 8, 8), np.float32))
    content = bytearray(Path("damaged.npz").read_bytes())
    content[200:260] = b"x" * 60
    Path("damaged.npz").write_bytes(content)
    is_one_line(program("detect", trained, "damaged.npz"), "damaged.npz")


def test_a_device_that_holds_no_numbers_is_refused(program: Program) -> None:
    is_one_line(program(*TRAIN, "--out", "x", "--device", "meta"), "'meta'")


def test_a_training_on_a_handful_of_images_succeeds(digits: Split, ok: Program) -> None:
    for label in (0, 1):
        for i, place in enumerate((digits.train.labels == label).nonzero()[:5, 0]):
            save_image(digits.train.images[place, 0], Path(f"few/{label}/{i}.png"))
    ok("train", "folder:few", "--size", 8, "--preset", "smoke", "--set", "rounds=2", "--out", "run", "--no-progress")


def test_an_evaluation_beside_the_training_keeps_its_log(trained: Path, tmp_path: Path, ok: Program) -> None:
    copy = copied(trained, tmp_path / "copy")
    ok("evaluate", copy / "detector.safetensors", *OUTSIDE, 2, "--out", copy, "--no-progress")
    assert log_of(copy) == log_of(trained)


def test_a_damaged_log_ends_in_one_line(trained: Path, tmp_path: Path, program: Program) -> None:
    copy = copied(trained, tmp_path / "copy")
    with (copy / "log.jsonl").open("a") as log:
        log.write('{"round')
    is_one_line(program("evaluate", copy, *OUTSIDE, 2, "--no-progress"), "log.jsonl")


def test_an_evaluation_never_judges_on_training_images(trained: Path, detector: Detector, ok: Program, monkeypatch):
    judged: list[Split] = []
    real = evaluate.evaluate_blackbox

    def noted(made: Detector, split: Split, **options):
        judged.append(split)
        return real(made, split, **options)

    monkeypatch.setattr(evaluate, "evaluate_blackbox", noted)
    ok("evaluate", trained, *OUTSIDE, 2, "--seed", 1, "--no-progress")
    assert judged[0].fingerprint == detector.card["data"]["fingerprint"]


def test_the_demo_deletes_nothing_that_is_not_its_own(program: Program) -> None:
    Path("mine/training").mkdir(parents=True)
    Path("mine/training/thesis.txt").write_text("years of work")
    program("demo", "--out", "mine", "--preset", "smoke", "--no-progress")
    assert Path("mine/training/thesis.txt").exists()


def test_a_demo_that_cannot_run_keeps_the_earlier_one(trained: Path, program: Program) -> None:
    Path("demo").mkdir()
    copied(trained, Path("demo/training"))
    assert program("demo", "--preset", "huge").status == 1
    assert contents(Path("demo/training")) == contents(trained)
