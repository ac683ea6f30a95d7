"""What the tests of the command line share: ways to call the program, a folder of one training, images to read."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import twinlatent as tl
from twinlatent import cli
from twinlatent.attacks.budgets import Budget
from twinlatent.cli.program import app
from twinlatent.data import Split
from twinlatent.drawing import canvas
from twinlatent.drawing.canvas import svg
from twinlatent.evaluation import judged, units, whole
from twinlatent.evaluation.black_box import detection
from twinlatent.evaluation.judges.training import Judges, train_judges
from twinlatent.evaluation.learners import JudgeSettings
from twinlatent.method.detector import Detector
from twinlatent.recipes import recipe_of
from twinlatent.running import cores

FEW = (
    Budget("fgsm", 0.3),
    Budget("pgd", 0.4, steps=3, step_size=0.1),
    Budget("mim", 0.3, steps=3, step_size=0.1, decay=0.3),
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

    @property
    def refusal(self) -> str:
        """What the program said if it failed as it should, in one line and nothing else; empty if it did not."""
        line = re.fullmatch(r"twinlatent: (.+)\n", self.err)
        return line[1] if line and (self.status, self.out) == (1, "") else ""


Program = Callable[..., Done]


# --- calls ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def program(capsys, monkeypatch) -> Program:
    """Call the program in this process, as `twinlatent WORDS`; with a terminal of 160 columns."""
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


def start(*words: object) -> subprocess.Popen[str]:
    """Call the program as users do, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[len(list(words)) % len(before)]})  # with one core there are no workers
    try:
        return subprocess.Popen([sys.executable, "-m", "twinlatent", *map(str, words)], env=environment,
                                encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    finally:
        os.sched_setaffinity(0, before)


def end(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=600)
    return Done(process.returncode, out, err)


@pytest.fixture
def outside() -> Program:
    """Call the program in a process of its own."""

    def call(*words: object) -> Done:
        process = start(*words)
        try:
            return end(process)
        finally:
            process.kill()

    return call


@pytest.fixture(scope="session")
def interrupt() -> Program:
    """Call the program in a process of its own, and press Ctrl-C as soon as `ready()`."""

    def call(*words: object, ready: Callable[[], bool]) -> Done:
        process = start(*words)
        try:
            patience = time.monotonic() + 600
            while not ready():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < patience, "the work did not start"
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            return end(process)
        finally:
            process.kill()

    return call


# --- surroundings ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch) -> None:
    """Every test has a current folder of its own, and no data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWINLATENT_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


Weaken = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="session")
def weaken(fewer_steps: Callable, fewer_radii: Weaken, without_figures: Weaken) -> Weaken:
    """A function: evaluations take a second while a patch holds, by few steps, few radii, and pages without figures."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        fewer_steps(patch, 10)
        fewer_radii(patch)
        without_figures(patch)
        for module in (whole, detection):
            patch.setattr(module, "BLACK_BOX", FEW)
        for place in (judged, units):
            patch.setattr(place, "train_judges", quickly_trained)

    return patched


@pytest.fixture(autouse=True)
def weak_attacks(weaken: Weaken, monkeypatch: pytest.MonkeyPatch) -> None:
    """All evaluations of these tests are weakened, by the patch that a test goes on with: it is undone in one go."""
    weaken(monkeypatch)


@pytest.fixture
def with_figures(weak_attacks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of this test have their figures all the same."""
    monkeypatch.setattr(canvas, "svg", svg)


def quickly_trained(split: Split, *, settings: JudgeSettings | None, **options: object) -> Judges:
    """Judges of few steps."""
    settings = settings or recipe_of(split).judges
    return train_judges(split, settings=settings.model_copy(update={"steps": 20}), **options)


@pytest.fixture(autouse=True)
def one_core(monkeypatch) -> None:
    """No test starts workers but those that ask for them."""
    monkeypatch.setattr(cores, "physical_cores", lambda: 1)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """No test leaves its `--threads` to the next one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# --- a training, and images -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def training() -> list[str]:
    """The words that made `trained`, but for its folder: a better detector than the preset smoke, as fast."""
    faster = ["--set", "rounds=40", "--set", "learning_rate=0.01"]
    return ["train", "digits", "--preset", "smoke", "--no-progress", *faster]


@pytest.fixture(scope="session")
def trained(training: list[str], tmp_path_factory) -> Path:
    """The folder of a training on digits; read only."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = CliRunner().invoke(app, [*training, "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="session")
def white_box() -> list[str]:
    """Words that make an evaluation one of few steps on few images."""
    return ["--steps", "2", "--images", "6", "--subset", "3", "--blackbox-images", "6", "--certified-images", "9",
            "--shift-images", "12", "--no-progress"]  # fmt: skip


@pytest.fixture(scope="session")
def evaluated(trained: Path, white_box: list[str], weaken: Weaken, tmp_path_factory) -> Path:
    """A folder with `judged`, a whole evaluation by the quick suite, and `shared`; to be copied where it is changed."""
    folder = tmp_path_factory.mktemp("evaluated")
    words = ["evaluate", str(trained), "--suite", "quick", *white_box]
    with pytest.MonkeyPatch.context() as patch:
        weaken(patch)
        done = CliRunner().invoke(app, [*words, "--out", str(folder / "judged"), "--shared", str(folder / "shared")])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def detector(trained: Path) -> Detector:
    return tl.load(trained)


@pytest.fixture
def images(digits: Split) -> Tensor:
    """Six test images with values that a byte holds, (6, 1, 8, 8)."""
    return digits.test.images[:6].mul(255).round() / 255


@pytest.fixture(scope="session")
def read_log() -> Callable[[Path], list[dict]]:
    """A function: the log of a folder of a training, a row a round."""

    def read(folder: Path) -> list[dict]:
        return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]

    return read


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """A function: the files of a folder, to compare a folder with what it was."""

    def read(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    return read
