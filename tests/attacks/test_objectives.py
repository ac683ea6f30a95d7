"""Objectives: each by hand, their sums, and their gradients."""

from math import exp, log

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import (
    Bypass,
    CrossEntropy,
    LatentMatching,
    LogOdds,
    Margin,
    RobustDensity,
    Suspicion,
    latent_matching,
    mim,
)
from twinlatent.attacks.objectives import Objective
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import GaussianDetector

LOGITS = torch.tensor([[1.0, 3.0, 2.0], [4.0, 0.0, -1.0]])
SUSPICION = torch.tensor([[0.1, 0.2, 0.3], [0.7, 0.8, 0.9]])
ROBUST = torch.tensor([[-1.0, -2.0, -3.0], [-6.0, -5.0, -4.0]])
LATENTS = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [3.0, 4.0]], [[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
OUTPUTS = Outputs(LOGITS, SUSPICION, ROBUST, LATENTS)
FREE, TOWARDS = Aim(torch.tensor([1, 0])), Aim(torch.tensor([1, 0]), torch.tensor([0, 2]))
REFERENCES = torch.tensor([[[0.0, 1.0], [9.0, 9.0]], [[0.0, 0.0], [1.0, 0.0]], [[3.0, 0.0], [0.0, 2.0]]])
LEVEL = torch.tensor([0.5, 0.1, 0.0])


def lse(*values: float) -> float:
    return log(sum(exp(value) for value in values))


@pytest.mark.parametrize(
    ("objective", "free", "towards"),
    [
        (CrossEntropy(), [lse(1, 3, 2) - 3, lse(4, 0, -1) - 4], [1 - lse(1, 3, 2), -1 - lse(4, 0, -1)]),
        (LogOdds(), [lse(1, 2) - 3, lse(0, -1) - 4], [1 - lse(3, 2), -1 - lse(4, 0)]),
        (Margin(), [-1, -4], [-2, -5]),
        (Margin(-3.0), [-3, -4], [-3, -5]),
        (RobustDensity(), [-1, -4], [-1, -4]),
        (Suspicion(), [0.2, 0.7], [0.2, 0.7]),
        (Suspicion("target"), [0.2, 0.7], [0.1, 0.9]),
        (Bypass(LEVEL), [-0.1, -0.2], [-0.1, -0.2]),
        (Bypass(LEVEL, at="target"), [-0.1, -0.2], [0, -0.9]),
        (Bypass(LEVEL, "probability"), [exp(0.1) - exp(0.2), exp(0.5) - exp(0.7)], None),
        (Bypass(torch.full((3,), 0.2)), [0, -0.5], [0, -0.5]),
        (Bypass(0.2), [0, -0.5], [0, -0.5]),
        (Bypass(0.2, "probability"), [0, exp(0.2) - exp(0.7)], None),
        (LatentMatching(REFERENCES), [-1, -1], [-1, -4]),
        (Margin() - 10 * Suspicion(), [-3, -11], [-4, -12]),
        (2 * (Margin() + 3 * Suspicion()) * 0.5 + Margin(), [-1.4, -5.9], [-3.4, -7.9]),
    ],
)  # fmt: skip
def test_each_is_right_by_hand(objective: Objective, free: list[float], towards: list[float] | None) -> None:
    for aim, expected in [(FREE, free), (TOWARDS, towards or free)]:
        value = objective(OUTPUTS, aim)
        torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float32))
        for i in range(2):  # and an image does not feel the others
            row = slice(i, i + 1)
            alone = Outputs(LOGITS[row], SUSPICION[row], ROBUST[row], LATENTS[row])
            torch.testing.assert_close(objective(alone, aim[row]), value[row])


def test_gamma_weighs_the_bypass_of_each_image() -> None:
    aim = Aim(FREE.labels, gamma=torch.tensor([10.0, 0.5]))
    torch.testing.assert_close(Bypass(LEVEL)(OUTPUTS, aim), torch.tensor([-1.0, -0.1]))
    torch.testing.assert_close((Margin() + Bypass(LEVEL))(OUTPUTS, aim), torch.tensor([-2.0, -4.1]))


def test_sums_keep_their_terms() -> None:
    both = LogOdds() - 0.5 * (Margin() + 2 * Suspicion())
    assert both.terms == ((1.0, LogOdds()), (-0.5, Margin()), (-1.0, Suspicion()))


SMOOTH = [
    CrossEntropy(),
    LogOdds(),
    Margin(),
    Margin(0.5),
    RobustDensity(),
    Suspicion(),
    Bypass(LEVEL.double()),
    Bypass(LEVEL.double(), "probability"),
    LatentMatching(REFERENCES.double()),
    LogOdds() - 3 * Suspicion("target"),
]


@pytest.mark.parametrize("aim", [FREE, TOWARDS])
@pytest.mark.parametrize("objective", SMOOTH)
def test_gradients_are_right(objective: Objective, aim: Aim, generator) -> None:
    parts = [part.double().requires_grad_() for part in (LOGITS, SUSPICION, ROBUST, LATENTS)]
    assert torch.autograd.gradcheck(lambda *p: objective(Outputs(*p), aim), parts)


@pytest.mark.parametrize("aim", [FREE, TOWARDS])
def test_log_odds_go_the_way_of_the_cross_entropy(aim: Aim) -> None:
    """log(e^CE − 1): a rising function of it; towards a target, of the likelihood."""
    entropy, odds = CrossEntropy()(OUTPUTS, aim), LogOdds()(OUTPUTS, aim)
    expected = entropy.expm1().log() if aim.targets is None else -(-entropy).expm1().log()
    torch.testing.assert_close(odds, expected)


@pytest.mark.parametrize("lead", [10.0, 100.0, 1e4])
def test_log_odds_never_lose_their_gradient(lead: float) -> None:
    logits = torch.tensor([[0.0, lead, 1.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(LogOdds()(Outputs(logits, logits), Aim(torch.tensor([1]))).sum(), logits)
    torch.testing.assert_close(slope, torch.tensor([[1 / (1 + exp(1)), -1, exp(1) / (1 + exp(1))]]))


def test_below_its_level_a_bypass_has_neither_value_nor_gradient() -> None:
    suspicion = SUSPICION.clone().requires_grad_()
    value = Bypass(torch.full((3,), 0.75))(Outputs(LOGITS, suspicion), FREE)
    (slope,) = torch.autograd.grad(value.sum(), suspicion)
    assert not value.any()
    assert not slope.any()


@pytest.mark.parametrize(
    ("objective", "complaint"),
    [
        (RobustDensity(), "RobustDensity: this model has no"),
        (LatentMatching(REFERENCES), "LatentMatching: this model has"),
    ],
)
def test_what_a_model_lacks_is_said(objective: Objective, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        objective(Outputs(LOGITS, SUSPICION), FREE)


# --- reference latents --------------------------------------------------------------------------------------------


def test_references_are_the_first_images_that_are_read_rightly() -> None:
    model = GaussianDetector.random(classes=3)
    images, labels = model.samples(20)
    wrong = labels.clone()
    wrong[:3] = (labels[:3] + 1) % 3
    references = latent_matching(model, images, wrong, per_class=4).references
    assert references.shape == (3, 4, 2)
    assert not references.requires_grad
    own = model(images).latents[torch.arange(20), labels]
    for c in range(3):
        rows = [i for i in range(3, 20) if labels[i] == c][:4]
        torch.testing.assert_close(references[c], own[rows].detach())
    assert latent_matching(model, images[:8], labels[:8], per_class=9).references.shape[1] == 2  # what the poorest has


def test_matching_latents_makes_an_image_look_benign() -> None:
    model = GaussianDetector.random(classes=3)
    images, labels = model.samples(6)
    matching = latent_matching(model, *model.samples(30, seed=5))
    targets = (labels + 1) % 3
    result = mim(model, images, labels, epsilon=0.3, step_size=0.02, objective=matching, targets=targets)
    assert result.success.all()
    latents = model(result.images).latents[torch.arange(6), targets]
    assert latents.norm(dim=1).max() < 0.3


def only_logits(images: Tensor) -> Outputs:
    return Outputs(LOGITS[:1].expand(len(images), -1), LOGITS[:1].expand(len(images), -1))


def test_references_that_cannot_be_had_are_refused() -> None:
    model = GaussianDetector.random(classes=3)
    images, labels = model.samples(6)
    with pytest.raises(TwinlatentError, match="this model has no latents"):
        latent_matching(only_logits, images, labels)
    with pytest.raises(TwinlatentError, match="a class has no image that is read rightly"):
        latent_matching(model, images[:2], labels[:2])
