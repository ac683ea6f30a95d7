"""A whole cell of Table 1 in small: its records, its files, and that it is done once."""

import shutil
import signal
from pathlib import Path

import pytest

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.records import Record
from twinlatent.method.training import Schedule, share_of_rate
from twinlatent.motivation import experiment
from twinlatent.motivation.accumulation import VulnerableImages
from twinlatent.motivation.experiment import SHOWN, read_motivation, run_motivation
from twinlatent.motivation.settings import MotivationSettings

STEPS = 100
"""Of F_p's training."""
METRICS = {
    "substitute_accuracy", "attack_success", "test_attack_success", "test_xb_accuracy", "test_xv_accuracy",
    "control_relabelled_accuracy", "control_noise_accuracy", "control_unattacked_accuracy",
}  # fmt: skip


def numbers(records: tuple[Record, ...]) -> dict[str, tuple[float, int]]:
    return {r.metric: (r.value, r.n) for r in records}


@pytest.fixture(scope="module")
def small(smoke) -> MotivationSettings:
    return smoke("pgd", images=70, test_images=50)


@pytest.fixture(scope="module")
def cell(digits: Split, small, shared: Path, tmp_path_factory, fewer_steps) -> Path:
    """The folder of a whole cell; to be copied where it is changed."""
    folder = tmp_path_factory.mktemp("motivation") / "cell"
    with pytest.MonkeyPatch.context() as patched:
        fewer_steps(patched, STEPS)
        run_motivation(digits, small, folder, shared=shared, progress=False)
    return folder


def test_a_cell_leaves_its_numbers_with_their_origin(cell: Path, digits: Split) -> None:
    found = read_motivation(cell)
    by = numbers(found.records)
    assert set(by) == METRICS
    kept = round(by["attack_success"][0] * by["attack_success"][1])
    assert by["attack_success"][1] == 2 * 70
    assert by["test_attack_success"][1] == 50
    assert by["test_xv_accuracy"][1] == round(50 * by["test_attack_success"][0])
    assert by["test_xb_accuracy"][1] == by["control_noise_accuracy"][1] == len(digits.test)
    assert kept > 0
    assert {r.method for r in found.records} == {"motivation"}
    assert {(r.data, r.attack, r.epsilon, r.budget) for r in found.records} == {
        ("digits", "pgd", 0.3, "section3, 70 images, 2 iterations, random targets")
    }


def test_pictures_are_of_each_label_and_never_of_its_own_class(cell: Path) -> None:
    found = read_motivation(cell)
    assert len(found.images) == len(found.labels) == len(found.true) > 0
    assert (found.labels != found.true).all()
    assert max(found.labels.tolist().count(name) for name in set(found.labels.tolist())) <= SHOWN
    assert found.images.shape[1:] == (8, 8)


@pytest.mark.slow
def test_features_of_f_p_are_learnt_where_controls_learn_nothing(
    digits: Split, smoke, shared: Path, tmp_path: Path
) -> None:
    settings = smoke("pgd", images=600, test_images=250, steps=15, batch=200, classifier_steps=300, learning_batch=64,
                     targets="random", learning_rate=5e-3)  # fmt: skip
    by = numbers(run_motivation(digits, settings, tmp_path, shared=shared, progress=False).records)
    controls = [by[metric][0] for metric in by if metric.startswith("control")]
    assert by["test_xb_accuracy"][0] > 0.6
    assert by["test_xv_accuracy"][0] > 0.3
    assert max(controls) < 0.4


def test_interrupted_anywhere_it_ends_in_the_same_numbers(
    digits: Split, small, shared: Path, cell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes while F_v learns; what is finished is not done again."""
    whole = read_motivation(cell)

    def interrupting(round_: int, rounds: int, schedule: Schedule) -> float:
        if round_ == 17:
            signal.raise_signal(signal.SIGINT)
        return share_of_rate(round_, rounds, schedule)

    with monkeypatch.context() as patched:
        patched.setattr("twinlatent.motivation.learning.share_of_rate", interrupting)
        with pytest.raises(KeyboardInterrupt, match="stopped after round 18 of 40"):
            run_motivation(digits, small, tmp_path / "cut", shared=shared, progress=False)
    assert not (tmp_path / "cut" / "results.json").exists()
    state = tmp_path / "cut" / "accumulated" / "state.safetensors"
    before = state.stat().st_mtime_ns
    again = run_motivation(digits, small, tmp_path / "cut", shared=shared, progress=False)
    assert state.stat().st_mtime_ns == before
    assert numbers(again.records) == numbers(whole.records)


def test_what_is_done_is_read_and_what_differs_is_refused(
    digits: Split, small, shared: Path, cell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_motivation(cell)
    monkeypatch.setattr(experiment, "train_substitute", None)
    assert run_motivation(digits, small, cell, shared=shared, progress=False).records == found.records
    with pytest.raises(
        TwinlatentError, match="holds an experiment with other data, settings or code; give another folder"
    ):
        run_motivation(digits, small.model_copy(update={"iterations": 3}), cell, shared=shared, progress=False)
    monkeypatch.setattr(experiment, "code_identity", lambda parts: {"code": "other"})
    with pytest.raises(TwinlatentError, match="holds an experiment with other data, settings or code"):
        run_motivation(digits, small, cell, shared=shared, progress=False)


def test_more_images_than_there_are_are_refused(digits: Split, small, tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match="9999 training images are asked for; digits has 980"):
        run_motivation(digits, small.model_copy(update={"images": 9999}), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_an_attack_that_fools_nobody_is_said(digits: Split, small, shared: Path, tmp_path: Path) -> None:
    harmless = small.model_copy(update={"budget": "paper.section3.fashion-mnist5.mim", "steps": 1, "images": 3,
                                        "discriminator_weight": 0.0})  # fmt: skip
    with pytest.raises(TwinlatentError, match="mim fooled F_p on no training image"):
        run_motivation(digits, harmless, tmp_path, shared=shared, progress=False)


def test_test_images_that_fool_nobody_cost_one_number_alone(
    digits: Split, small, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = experiment.accumulate

    def none_of_the_test(*args: object, **kwargs: object) -> VulnerableImages:
        found = gather(*args, **kwargs)  # type: ignore[arg-type]
        if kwargs.get("teach", True):
            return found
        return VulnerableImages(found.images[:0], found.labels[:0], found.sources[:0], (), found.seconds)

    monkeypatch.setattr(experiment, "accumulate", none_of_the_test)
    by = numbers(run_motivation(digits, small, tmp_path, shared=shared, progress=False).records)
    assert set(by) == METRICS - {"test_xv_accuracy"}
    assert by["test_attack_success"] == (0, 50)


def test_a_damaged_folder_is_named_and_mended(digits: Split, small, shared: Path, cell: Path, tmp_path: Path) -> None:
    shutil.copytree(cell, tmp_path, dirs_exist_ok=True)
    found = read_motivation(tmp_path)
    (tmp_path / "figure2.npz").write_bytes(b"half")
    with pytest.raises(TwinlatentError, match=r"figure2\.npz is missing or damaged; remove results\.json"):
        run_motivation(digits, small, tmp_path, shared=shared, progress=False)
    (tmp_path / "results.json").unlink()
    assert numbers(run_motivation(digits, small, tmp_path, shared=shared, progress=False).records) == numbers(
        found.records
    )
