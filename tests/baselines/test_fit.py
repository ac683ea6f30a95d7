"""Trained baselines: what they reach on real digits, that they are kept, resumed and refused."""

import json
import signal
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from twinlatent import zoo
from twinlatent.baselines import ATTACKS, METHODS, Baseline, BaselineSettings, fit_baseline
from twinlatent.baselines.networks import ReverseCrossEntropy
from twinlatent.criteria import Misclassified
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.verdicts import PARTS
from twinlatent.recipes import recipe_of

PAIRS = [(method, attack) for method in METHODS for attack in ATTACKS[method]]
SLOW_METHODS = [
    "plain",
    "gong",
    *(pytest.param(method, marks=pytest.mark.slow) for method in METHODS if method not in ("plain", "gong")),
]
"""Adversarial training and GAT take longest; the others go through the same code."""
SMALL = {"network": "c(3,32) mp(2) d(100) sm(10)"}
LEAST = {"plain": 0.94, "rce": 0.94, "gong": 0.94, "adversarial-training": 0.86, "gat": 0.9}
"""Accuracy on the test digits with a fraction of the standard rounds and, but for gat, of the standard network."""


@pytest.fixture(scope="module")
def trained(digits: Split) -> dict[str, Baseline]:
    """Each baseline with its default attack, few rounds and a small network."""
    changes = {method: {"rounds": 200} | (SMALL if method != "gat" else {}) for method in METHODS}
    changes["gong"]["attacked_images"] = 100
    settings = {
        method: recipe_of(digits).baseline_settings(method).model_copy(update=changes[method]) for method in METHODS
    }
    return {method: fit_baseline(method, digits, settings=settings[method], progress=False) for method in METHODS}


@pytest.fixture(scope="module")
def smoked(digits: Split) -> Callable[..., Baseline]:
    """A function: a baseline by the preset smoke, trained once for all tests."""
    return cache(lambda *pair: fit_baseline(pair[0], digits, settings=smoke(digits, *pair), progress=False))


def smoke(digits: Split, method: str, attack: str | None = None) -> BaselineSettings:
    """The preset smoke with a small network."""
    settings = recipe_of(digits, "smoke").baseline_settings(method, attack)
    return settings.model_copy(update=SMALL) if method != "gat" else settings


@pytest.mark.parametrize("method", METHODS)
def test_digits_are_classified_and_few_benign_ones_flagged(
    trained: dict[str, Baseline], digits: Split, method: str
) -> None:
    verdict = trained[method].detect(digits.test.images, 0.05)
    assert (verdict.label == digits.test.labels).double().mean() >= LEAST[method]
    assert verdict.adversarial.double().mean() < 0.12


@pytest.mark.slow
@pytest.mark.parametrize(("method", "attack"), PAIRS)
def test_every_training_attack_is_on_the_card(smoked: Callable[..., Baseline], method: str, attack: str) -> None:
    made = smoked(method, attack)
    assert (made.method, made.trained_with) == (method, attack)


def test_adversarial_training_withstands_what_plain_training_does_not(
    trained: dict[str, Baseline], digits: Split
) -> None:
    from twinlatent.attacks import pgd

    some = digits.test.subset(slice(60))
    misclassified = {
        name: pgd(trained[name], some.images, some.labels, epsilon=0.2, steps=15, criterion=Misclassified())
        .success.double().mean().item()
        for name in ("plain", "adversarial-training")
    }  # fmt: skip
    assert misclassified["adversarial-training"] < misclassified["plain"] - 0.25


def test_reverse_cross_entropy_spreads_the_rest_evenly(trained: dict[str, Baseline], digits: Split) -> None:
    some = digits.test.images[:100]
    even, plain = (trained[name].outputs(some).logits.log_softmax(1) for name in ("rce", "plain"))
    spread = [rows.topk(9, largest=False).values.std(1).median() for rows in (even, plain)]
    assert spread[0] < spread[1] / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_baseline_answers_as_before(
    trained: dict[str, Baseline], digits: Split, tmp_path: Path, method: str
) -> None:
    path, some = tmp_path / DETECTOR_FILE, digits.test.images[:40]
    for score in trained[method].scores:
        trained[method].with_score(score).save(path)
        drawn = torch.get_rng_state()
        again = zoo.load(path)
        assert torch.equal(torch.get_rng_state(), drawn)
        assert isinstance(again, Baseline)
        assert (again.method, again.score) == (method, score)
        before, after = trained[method].with_score(score).detect(some), again.detect(some)
        assert all(torch.equal(getattr(before, part), getattr(after, part)) for part in PARTS)
        assert again.seen is not None
        parts = (digits.train, digits.calibration, digits.test)
        shares = [[some.double().mean().item() for some in again.seen.among(part.images)] for part in parts]
        assert shares == [[1, 0], [0, 1], [0, 0]]


def test_an_image_has_the_same_verdict_in_any_company(trained: dict[str, Baseline], digits: Split) -> None:
    for made in trained.values():
        together = made.detect(digits.test.images[:50])
        alone = made.detect(digits.test.images[7:8])
        assert torch.equal(together.suspicion[7:8], alone.suspicion)


@pytest.mark.parametrize("method", SLOW_METHODS)
def test_same_seed_same_baseline_and_another_seed_another(
    smoked: Callable[..., Baseline], digits: Split, method: str
) -> None:
    some, options = digits.test.images[:10], {"settings": smoke(digits, method), "progress": False}
    one = smoked(method, ATTACKS[method][0]).detect(some).suspicion
    two, other = (fit_baseline(method, digits, seed=seed, **options).detect(some).suspicion for seed in (0, 5))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_coarse_products_train_as_well_and_the_trained_classifier_computes_in_float32(digits: Split) -> None:
    settings = recipe_of(digits).baseline_settings("plain").model_copy(update=SMALL | {"rounds": 200})
    coarse = settings.model_copy(update={"products": "bfloat16"})
    fine, rough = (fit_baseline("plain", digits, settings=which, progress=False) for which in (settings, coarse))
    outputs = rough.outputs(digits.test.images)
    assert outputs.logits.dtype == torch.float32
    assert not torch.equal(outputs.logits, fine.outputs(digits.test.images).logits)
    assert (outputs.labels == digits.test.labels).double().mean() >= LEAST["plain"]


@pytest.mark.parametrize("method", SLOW_METHODS)
def test_interrupted_and_resumed_it_is_the_same(
    smoked: Callable[..., Baseline], digits: Split, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes in the 31st round of the first training."""
    rounds, draw = 0, torch.randint

    def counted(*args: object, **kwargs: object) -> torch.Tensor:
        nonlocal rounds
        rounds += 1
        if rounds == 31:
            signal.raise_signal(signal.SIGINT)
        return draw(*args, **kwargs)  # type: ignore[no-any-return, call-overload]

    assert threading.current_thread() is threading.main_thread()
    whole = smoked(method, ATTACKS[method][0]).detect(digits.test.images[:20])
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randint", counted)
        with pytest.raises(KeyboardInterrupt):
            fit_baseline(method, digits, settings=smoke(digits, method), folder=tmp_path, progress=False)
    assert not (tmp_path / DETECTOR_FILE).exists()
    assert list(tmp_path.rglob("state.safetensors"))
    again = fit_baseline(method, digits, settings=smoke(digits, method), folder=tmp_path, resume=True, progress=False)
    assert torch.equal(again.detect(digits.test.images[:20]).suspicion, whole.suspicion)
    assert json.loads((tmp_path / "training.json").read_text())["rounds"] == 60


@pytest.mark.parametrize("method", ["plain", "gong"])
def test_an_earlier_training_is_not_overwritten(digits: Split, tmp_path: Path, method: str) -> None:
    fit_baseline(method, digits, preset="smoke", folder=tmp_path, progress=False)
    before = (tmp_path / DETECTOR_FILE).read_bytes()
    with pytest.raises(TwinlatentError, match="holds a training already"):
        fit_baseline(method, digits, preset="smoke", folder=tmp_path, progress=False)
    assert (tmp_path / DETECTOR_FILE).read_bytes() == before


def test_bad_requests_are_refused_in_one_line(digits: Split, tmp_path: Path) -> None:
    for asked, line in (
        ({"method": "magic"}, "'magic' is unknown; choose from plain"),
        ({"method": "gong", "attack": "fgsm"}, "gong is not trained with 'fgsm'; choose from mim, cw"),
        ({"method": "rce", "preset": "paper"}, "choose smoke or standard"),
        (
            {"method": "plain", "settings": BaselineSettings(network="d(9) sm(10)", attack="pgd")},
            "plain is not trained with 'pgd'",
        ),
        (
            {"method": "gong", "settings": BaselineSettings(network="d(9) sm(10)", attack="cw", epsilon=0.1)},
            "setting epsilon = 0.1: gong does not read it",
        ),
        ({"method": "plain", "resume": True, "folder": tmp_path}, "holds no training to resume"),
    ):
        with pytest.raises(TwinlatentError, match=line):
            fit_baseline(split=digits, progress=False, **asked)  # type: ignore[arg-type]


def test_other_settings_cannot_resume(digits: Split, tmp_path: Path) -> None:
    fit_baseline("plain", digits, preset="smoke", folder=tmp_path, progress=False)
    with pytest.raises(TwinlatentError, match="trained with other seed"):
        fit_baseline("plain", digits, preset="smoke", seed=1, folder=tmp_path, resume=True, progress=False)


def test_a_damaged_description_is_named(trained: dict[str, Baseline], tmp_path: Path) -> None:
    path = tmp_path / DETECTOR_FILE
    trained["plain"].save(path)
    tensors, description = load_tensors(path, "baseline")
    save_tensors(path, "baseline", tensors, description | {"class_names": ["only one"], "network": "c(9,9) sm(1)"})
    with pytest.raises(TwinlatentError, match="does not hold a baseline of this version"):
        zoo.load(path)


def test_a_file_calibrated_under_an_earlier_score_is_refused(trained: dict[str, Baseline], tmp_path: Path) -> None:
    path = tmp_path / DETECTOR_FILE
    trained["plain"].save(path)
    tensors, description = load_tensors(path, "baseline")
    save_tensors(path, "baseline", tensors, {name: d for name, d in description.items() if name != "version"})
    with pytest.raises(TwinlatentError, match="another version of its score; `train --resume`"):
        Baseline.load(path)


def test_an_unknown_score_is_refused(trained: dict[str, Baseline]) -> None:
    with pytest.raises(TwinlatentError, match="score 'joint' is unknown; this detector has k-density, non-me"):
        trained["rce"].with_score("joint")


def test_rce_remembers_images_from_all_over_a_class(digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first ones: within a class images may be sorted, too."""
    remembered: list[torch.Tensor] = []
    real = ReverseCrossEntropy.remember
    monkeypatch.setattr(ReverseCrossEntropy, "remember", lambda self, x: remembered.append(x) or real(self, x))
    settings = recipe_of(digits, "smoke").baseline_settings("rce")
    settings = settings.model_copy(update={"rounds": 1, "references": 20})
    fit_baseline("rce", digits, settings=settings, progress=False)
    (images,) = remembered
    assert images.shape == (10, 20, 1, 8, 8)
    for label, some in enumerate(images):
        own = digits.train.images[digits.train.labels == label]
        places = [int((own == image).flatten(1).all(1).nonzero()[0]) for image in some]
        assert len(set(places)) == 20
        assert max(places) >= len(own) // 2
