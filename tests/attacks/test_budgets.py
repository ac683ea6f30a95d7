"""The paper's budgets, copied by hand once more, and what is built from them."""

import pytest

from twinlatent.attacks import (
    BUDGETS,
    L2,
    Ascent,
    Budget,
    Bypass,
    CarliniWagner,
    GammaSearch,
    Iterative,
    LInf,
    LogOdds,
    Margin,
    SignStep,
    Suspicion,
    UnitStep,
    preset,
    run,
)
from twinlatent.errors import TwinlatentError

E, N, SS, DF = "epsilon", "steps", "step_size", "decay"
LR, CF, IC, BS = "learning_rate", "confidence", "initial_c", "searches"
CW_160 = {N: 160, LR: 0.1, CF: 3, IC: 10, BS: 1}
WHITE = {
    "fgsm": {E: None, BS: 3},
    "pgd": {E: None, N: 240, SS: 0.01, BS: 3},
    "mim": {E: None, N: 1200, SS: 0.001, DF: 0.9, BS: 3},
    "cw": {N: 12_000, LR: 0.01, CF: 200, IC: 10, BS: 3},
}
BLACK = {
    "fgsm": {E: 0.3},
    "pgd": {E: 0.4, N: 90, SS: 0.01},
    "mim": {E: 0.3, N: 160, SS: 0.01, DF: 0.3},
    "cw": CW_160,
}
TRAINING = {
    "mim": {E: 0.5, N: 3000, SS: 0.001, DF: 0.9},
    "cw": {N: 1000, LR: 0.001, CF: 0, IC: 1, BS: 1},
}
TABLE = {
    "paper.section3.mnist": {
        "fgsm": {E: 0.3},
        "pgd": {E: 0.3, N: 90, SS: 0.01},
        "mim": {E: 0.3, N: 640, SS: 0.01, DF: 0.3},
        "cw": CW_160,
    },
    "paper.section3.fashion-mnist5": {
        "fgsm": {E: 0.3},
        "pgd": {E: 0.4, N: 90, SS: 0.01},
        "mim": {E: 0.3, N: 320, SS: 0.001, DF: 0.3},
        "cw": CW_160,
    },
    "paper.training.mnist": TRAINING,
    "paper.training.fashion-mnist5": TRAINING | {"cw": TRAINING["cw"] | {N: 2000}},
    "paper.training.cats-dogs": {
        "mim": {E: 0.2, N: 1200, SS: 0.001, DF: 0.9},
        "cw": {N: 3000, LR: 0.003, CF: 0, IC: 1, BS: 1},
    },
    "paper.blackbox.mnist": BLACK,
    "paper.blackbox.fashion-mnist5": BLACK,
    "paper.whitebox.mnist": WHITE,
    "paper.whitebox.fashion-mnist5": WHITE,
}
NAMES = [f"{table}.{attack}" for table, rows in TABLE.items() for attack in rows]


def test_there_are_no_others() -> None:
    assert sorted(BUDGETS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_the_papers(name: str) -> None:
    table, _, attack = name.rpartition(".")
    budget = preset(name)
    assert budget.attack == attack
    assert budget.norm == "linf"
    for setting, value in TABLE[table][attack].items():
        assert getattr(budget, setting) == value


@pytest.mark.parametrize("name", NAMES)
def test_every_name_builds(name: str) -> None:
    budget = preset(name)
    radius = budget.epsilon or 0.2
    built = budget.at(radius).build()
    if budget.attack == "cw":
        kappa, rate, c, searches = budget.confidence, budget.learning_rate, budget.initial_c, budget.searches
        assert built == CarliniWagner(Margin(kappa), kappa, budget.steps, rate, c, searches, abort_early=False)
        return
    size = radius if budget.attack == "fgsm" else budget.step_size
    start = budget.attack == "pgd"
    assert built == Iterative(LInf(radius), SignStep(size, budget.decay), budget.steps, Ascent(LogOdds()), start)
    objective = LogOdds() - 10 * Suspicion()
    searched = budget.at(radius).build(objective, search_gamma=True, early_stop=True)
    assert isinstance(searched, GammaSearch)
    assert searched.searches == budget.searches
    assert searched.attack.guide == Ascent(objective)
    assert searched.attack.early_stop


def test_a_budget_in_l2() -> None:
    built = Budget("pgd", 1.5, steps=3, step_size=0.1, norm="l2").build()
    assert (built.ball, built.step) == (L2(1.5), UnitStep(0.1))


def test_a_whitebox_budget_bypasses_a_detector(gaussian) -> None:
    images, labels = gaussian.samples(3)
    objective = LogOdds() + Bypass(gaussian.bounds().suspicion_mean)
    budget = Budget("mim", 0.25, steps=40, step_size=0.01, decay=0.9, searches=3)
    result = run(budget.build(objective, search_gamma=True), gaussian, images, labels)
    assert result.success.all()
    assert (result.gamma == 1).all()


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "mim"])
def test_a_radius_must_be_chosen(attack: str) -> None:
    with pytest.raises(TwinlatentError, match=f"this budget of {attack} has no radius; choose one with budget.at"):
        preset(f"paper.whitebox.mnist.{attack}").build()


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(TwinlatentError, match=r"'paper' is unknown; there are paper\.section3\.mnist\.cw") as caught:
        preset("paper")
    assert "\n" not in str(caught.value)


def test_bad_settings_are_refused_at_once() -> None:
    for made, complaint in [
        (lambda: Budget("pgd", -1.0, steps=2, step_size=0.1), "epsilon is -1.0"),
        (lambda: Budget("pgd", 0.1, steps=0, step_size=0.1), "steps is 0"),
        (lambda: Budget("cw", steps=0), "steps is 0"),
        (lambda: Budget("pgd", 0.1, norm="l1"), "norm 'l1'"),
    ]:
        with pytest.raises(TwinlatentError, match=complaint):
            made()
