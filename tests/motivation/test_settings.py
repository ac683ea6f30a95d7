"""The settings of Algorithm 2 against the paper's tables, and the objectives of the _d attacks by hand."""

import pytest
import torch

from twinlatent.attacks.carlini_wagner import CarliniWagner
from twinlatent.attacks.iterative import Iterative
from twinlatent.criteria import Aim
from twinlatent.errors import TwinlatentError
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.outputs import Outputs
from twinlatent.recipes import recipe_for, shipped

LOGITS = torch.tensor([[2.0, 0.5, 1.0], [0.0, 3.0, 1.0]])
D = torch.tensor([[0.25], [0.75]]).expand(2, 3)
AIM = Aim(torch.tensor([0, 0]))


def settings_of(attack: str, preset: str = "paper", **changes: object) -> MotivationSettings:
    return recipe_for("mnist", (1, 28, 28), 10, 60_000, preset).motivation_settings(attack, **changes)


@pytest.mark.parametrize(
    ("data", "attack", "iterations", "weight", "spent"),
    [
        ("mnist", "fgsm", 2, 100, {"epsilon": 0.3, "steps": 1}),
        ("mnist", "pgd", 7, 10, {"epsilon": 0.3, "steps": 90, "step_size": 0.01}),
        ("mnist", "mim", 30, 2, {"epsilon": 0.3, "steps": 640, "step_size": 0.01, "decay": 0.3}),
        ("mnist", "cw", 30, 0.5, {"steps": 160, "learning_rate": 0.1, "confidence": 3, "initial_c": 10, "searches": 1}),
        ("fashion-mnist5", "fgsm", 3, 10, {"epsilon": 0.3}),
        ("fashion-mnist5", "pgd", 30, 10, {"epsilon": 0.4, "steps": 90, "step_size": 0.01}),
        ("fashion-mnist5", "mim", 30, 1, {"epsilon": 0.3, "steps": 320, "step_size": 0.001, "decay": 0.3}),
        ("fashion-mnist5", "cw", 30, 0.5, {"steps": 160, "learning_rate": 0.1, "confidence": 3}),
    ],
)
def test_every_cell_is_that_of_tables_1_and_6(
    data: str, attack: str, iterations: int, weight: float, spent: dict[str, float]
) -> None:
    found = shipped(f"{data}-paper").motivation_settings(attack)
    assert (found.iterations, found.discriminator_weight, found.images) == (iterations, weight, None)
    assert {name: getattr(found.spent, name) for name in spent} == spent
    assert found.classifier == f"c(5,20) mp(2) c(5,50) mp(2) d(256) sm({10 if data == 'mnist' else 5})"


def test_standard_differs_from_paper_in_the_number_of_images_alone() -> None:
    for data in ("mnist", "fashion-mnist5"):
        for attack in ("fgsm", "pgd", "mim", "cw"):
            one, other = (shipped(name).motivation_settings(attack) for name in (f"{data}-paper", data))
            assert other == one.model_copy(update={"images": 1000})


def test_gradient_attacks_raise_cross_entropy_less_a_multiple_of_d() -> None:
    for attack, weight in (("fgsm", 100), ("pgd", 10), ("mim", 2)):
        made = settings_of(attack).attack()
        assert isinstance(made, Iterative)
        value = made.guide.rank(Outputs(LOGITS, D), AIM)
        cross_entropy = LOGITS.logsumexp(1) - LOGITS[:, 0]
        assert torch.allclose(value, cross_entropy - weight * D[:, 0], atol=1e-5)


def test_carlini_wagner_lowers_distance_and_margin_and_half_of_d() -> None:
    """Its loss is ‖δ‖² − c·objective; what the paper adds is not multiplied by c."""
    made = settings_of("cw").attack()
    assert isinstance(made, CarliniWagner)
    loss = -made.initial_c * made.objective(Outputs(LOGITS, D), AIM)
    f = torch.tensor([1.0, -3.0])  # max(Z_0 − max_other, −3)
    assert torch.allclose(loss, 10 * f + 0.5 * D[:, 0])


def test_the_log_odds_can_be_asked_for() -> None:
    value = settings_of("pgd", gradient_loss="log_odds").attack().guide.rank(Outputs(LOGITS, D), AIM)  # type: ignore[attr-defined]
    odds = LOGITS[:, 1:].logsumexp(1) - LOGITS[:, 0]
    assert torch.allclose(value, odds - 10 * D[:, 0])


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"attack": "deepfool"}, "attack 'deepfool' is unknown; choose from fgsm, pgd, mim, cw"),
        ({"preset": "huge"}, "preset 'huge' is unknown; choose from smoke, standard, paper"),
        ({"iterations": 0}, "setting motivation.iterations = 0: "),
        ({"targets": "all"}, "setting motivation.targets = 'all': "),
        ({"nonsense": 1}, "setting 'motivation.nonsense' is unknown"),
    ],
)
def test_bad_settings_are_refused_in_one_line(asked: dict[str, object], line: str) -> None:
    with pytest.raises(TwinlatentError, match=line) as refused:
        settings_of(**{"attack": "cw"} | asked)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
