"""Each attack against models whose least perturbation is known: it wins just outside of it, and never inside."""

from functools import partial

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import (
    L2,
    Ascent,
    Bypass,
    CarliniWagner,
    EveryTarget,
    GammaSearch,
    Iterative,
    LInf,
    LogOdds,
    Margin,
    Restarts,
    SignStep,
    Suspicion,
    UnitStep,
    bpda,
    carlini_wagner,
    expectation,
    fgsm,
    mim,
    multi_targeted,
    orthogonal_pgd,
    pgd,
    run,
    selective_pgd,
    square,
    uniform_noise,
)
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.testing import GaussianDetector, LinearClassifier, Noisy, Quantised, TradeOffDetector

SIZES = [1, pytest.param(3, marks=pytest.mark.slow), 8]
SLOW_SIZES = [pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow), 8]


def wrong_at_its_radius(
    attack, model, images: Tensor, labels: Tensor, norm: str, over: float = 1.01
) -> list[tuple[float, int]]:
    """(radius, image) where an image within reach stands or another falls: at the least, middle and largest radius."""
    optimal, wrong = model.optimal_radius(images, labels, norm), []
    for radius in {0.99 * optimal.min().item(), over * optimal.median().item(), over * optimal.max().item()}:
        size = {} if attack.func in (fgsm, square) else {"step_size": radius / 20}
        success = attack(model, images, labels, epsilon=radius, **size).success
        stands = (over * optimal <= 1.0001 * radius) & ~success
        falls = (0.99 * optimal >= 0.9999 * radius) & success
        wrong += [(radius, i) for i in (stands | falls).nonzero()[:, 0].tolist()]
    return wrong


# --- classification -----------------------------------------------------------------------------------------------

MANY = {"steps": 100}  # in L2 a random start is nearly orthogonal to the way out
BOUNDED = {
    "pgd": (partial(pgd, **MANY), 2),
    "pgd with restarts": (partial(pgd, **MANY, restarts=2), 2),
    "mim": (partial(mim, steps=50), 2),
    "multi-targeted": (partial(multi_targeted, steps=50), 4),
    "selective": (partial(selective_pgd, **MANY), 2),
}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", BOUNDED)
def test_linear_models_fall_at_their_radius(name: str, norm: str, n: int) -> None:
    attack, classes = BOUNDED[name]
    model = LinearClassifier.random(classes=classes, seed=n)
    images, labels = model.samples(n, seed=1)
    assert wrong_at_its_radius(partial(attack, norm=norm), model, images, labels, norm) == []


@pytest.mark.parametrize("n", SIZES)
def test_fgsm_is_optimal_for_two_classes(n: int) -> None:
    model = LinearClassifier.random((3, 4, 6), seed=n)
    images, labels = model.samples(n)
    assert wrong_at_its_radius(partial(fgsm), model, images, labels, "linf") == []


@pytest.mark.parametrize("n", SIZES)
def test_square_comes_near_and_never_inside(n: int) -> None:
    """Windows of one pixel come last, so the corner of the ball is reached but for a few pixels."""
    model = LinearClassifier.random((1, 4, 4), seed=n)
    images, labels = model.samples(n)
    assert wrong_at_its_radius(partial(square, queries=500), model, images, labels, "linf", over=1.05) == []


def test_noise_needs_far_more_than_the_radius() -> None:
    model = LinearClassifier.random()
    images, labels = model.samples(8)
    radius = model.optimal_radius(images, labels, "linf").max().item()
    assert not uniform_noise(model, images, labels, epsilon=1.5 * radius).success.any()


@pytest.mark.parametrize("n", SLOW_SIZES)
@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 2), ((3, 4, 6), 4)])
def test_carlini_wagner_is_nearly_least(shape, classes: int, n: int) -> None:
    model = LinearClassifier.random(shape, classes, seed=n)
    images, labels = model.samples(n)
    radius = model.optimal_radius(images, labels, "l2")
    result = carlini_wagner(model, images, labels)
    assert result.success.all()
    assert (result.l2 >= 0.9999 * radius).all()
    assert (result.l2 <= 1.25 * radius).all()


@pytest.mark.parametrize("initial_c", [1e-3, pytest.param(1e3, marks=pytest.mark.slow)])
def test_carlini_wagner_finds_its_c(initial_c: float) -> None:
    model = LinearClassifier.random(classes=3)
    images, labels = model.samples(3)
    result = carlini_wagner(model, images, labels, initial_c=initial_c, searches=12)
    assert result.success.all()
    assert (result.l2 <= 1.25 * model.optimal_radius(images, labels, "l2")).all()


@pytest.mark.parametrize("confidence", [0.5, 2.0])
def test_carlini_wagner_keeps_its_confidence(confidence: float) -> None:
    model = LinearClassifier.random()
    images, labels = model.samples(4)
    result = carlini_wagner(model, images, labels, confidence=confidence)
    gap = model(result.images).gather(1, 1 - labels[:, None]) - model(result.images).gather(1, labels[:, None])
    assert (gap >= confidence - 1e-5).all()
    slope = (model.weight[0] - model.weight[1]).norm()
    least = model.optimal_radius(images, labels, "l2") + confidence / slope
    assert (result.l2 <= 1.25 * least).all()


# --- classification and detection -----------------------------------------------------------------------------------


def to_pass(model: GaussianDetector) -> Bypass:
    return Bypass(model.bounds().thresholds[0.05])


@pytest.mark.parametrize("n", SLOW_SIZES)
@pytest.mark.parametrize("name", ["pgd", "mim", "multi-targeted", "selective", "orthogonal"])
def test_detectors_fall_at_their_radius(name: str, n: int) -> None:
    many, several = {"steps": 60}, {"restarts": 6}  # a start may lie on the wrong side of |r_y|, where it is a trap
    model = GaussianDetector.random(classes=3 if name == "multi-targeted" else 2, seed=n)
    both = LogOdds() + to_pass(model)
    attacks = {
        "pgd": partial(pgd, **many, **several, objective=both),
        "mim": partial(mim, **many, objective=both),
        "multi-targeted": partial(multi_targeted, steps=120, objective=both),
        "selective": partial(selective_pgd, **many, **several),
        "orthogonal": partial(orthogonal_pgd, **many, **several),
    }
    images, labels = model.samples(n)
    criterion = Misclassified() & Undetected(model.bounds())
    assert wrong_at_its_radius(partial(attacks[name], criterion=criterion), model, images, labels, "linf") == []


@pytest.mark.parametrize("attack", [selective_pgd, orthogonal_pgd])
def test_guides_share_an_l2_ball_between_two_aims(attack) -> None:
    model = GaussianDetector.random(seed=3)
    images, labels = model.samples(3)
    criterion = Misclassified() & Undetected(model.bounds())
    settings = {"steps": 150, "norm": "l2", "criterion": criterion, "restarts": 2}
    assert wrong_at_its_radius(partial(attack, **settings), model, images, labels, "l2", over=1.05) == []


@pytest.mark.parametrize("n", SLOW_SIZES)
@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_carlini_wagner_is_nearly_least_past_a_detector(classes: int, n: int) -> None:
    model = GaussianDetector.random(classes=classes, seed=n)
    images, labels = model.samples(n)
    criterion = Misclassified() & Undetected(model.bounds())
    attack = CarliniWagner(Margin(0.0) + to_pass(model), searches=8)
    result = run(attack if classes == 2 else EveryTarget(attack), model, images, labels, criterion=criterion)
    radius = model.optimal_radius(images, labels, "l2")
    assert result.success.all()
    assert (result.l2 >= 0.9999 * radius).all()
    if classes == 2:  # every target stops at the first that falls
        assert (result.l2 <= 1.25 * radius).all()


# --- the weight γ -------------------------------------------------------------------------------------------------


def gamma_search(model: TradeOffDetector, images: Tensor, labels: Tensor, **settings):
    objective = LogOdds() + Bypass(model.bounds().suspicion_mean)
    attack = Iterative(LInf(model.epsilon), SignStep(model.epsilon / 20), 60, Ascent(objective))
    criterion = Misclassified() & Undetected(model.bounds())
    if not settings:
        return run(attack, model, images, labels, criterion=criterion)
    return run(GammaSearch(attack, **settings), model, images, labels, criterion=criterion)


@pytest.mark.parametrize("n", SLOW_SIZES)
@pytest.mark.parametrize(
    ("start", "searches", "expected"),
    [
        (1.0, 4, 1000**0.5),  # 1 and 10 are too low, 100 too high, then the geometric mean
        (1.0, 9, 1000**0.5),
        (30.0, 1, 30.0),
        (3.0, 2, 30.0),
        (400.0, 2, 40.0),
        (1000.0, 4, 1000**0.5),  # 1000 and 100 are too high, 10 too low
    ],
)
def test_a_working_weight_is_found(start: float, searches: int, expected: float, n: int) -> None:
    model = TradeOffDetector(20, 60)
    images, labels = model.samples(n)
    assert not gamma_search(model, images, labels).success.any()
    result = gamma_search(model, images, labels, start=start, searches=searches)
    assert result.success.all()
    torch.testing.assert_close(result.gamma, torch.full((n,), expected))
    assert not result.gamma_stuck.any()


@pytest.mark.parametrize(
    ("start", "searches", "stuck"),
    [
        (1.0, 1, True),
        (1.0, 2, True),  # too low, and too low
        (1e4, 2, True),  # too high, and too high
        (1.0, 3, False),  # both sides were seen: only the number of searches was too small
        (1e3, 3, False),
    ],
)
def test_a_search_that_is_stuck_at_an_end_says_so(start: float, searches: int, stuck: bool) -> None:
    model = TradeOffDetector(20, 60)
    images, labels = model.samples(3)
    result = gamma_search(model, images, labels, start=start, searches=searches)
    assert not result.success.any()
    assert result.gamma_stuck.tolist() == [stuck] * 3
    assert result.gamma.isfinite().all()


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.06), (200.0, 900.0)])
def test_a_working_weight_is_found_far_away(low: float, high: float) -> None:
    model = TradeOffDetector(low, high)
    images, labels = model.samples(3)
    result = gamma_search(model, images, labels, searches=8)
    assert result.success.all()
    assert ((low < result.gamma) & (result.gamma < high)).all()


# --- masked gradients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_gradient_of_zero_is_counted_and_square_passes_it(norm: str) -> None:
    model = LinearClassifier.random((1, 4, 4))
    images, labels = model.samples(4)
    defended, epsilon = Quantised(model, 64), 2 * model.optimal_radius(images, labels, "linf").max().item()
    stuck = mim(defended, images, labels, epsilon=epsilon, steps=20, norm=norm)
    assert not stuck.success.any()
    assert stuck.dead_steps.tolist() == stuck.steps.tolist() == [20] * 4
    assert square(defended, images, labels, epsilon=epsilon, queries=300).success.all()
    alive = mim(model, images, labels, epsilon=epsilon, steps=20, norm=norm)
    assert alive.dead_steps.tolist() == [0] * 4


def test_bpda_passes_what_has_no_gradient() -> None:
    model = LinearClassifier.random((1, 4, 4))
    images, labels = model.samples(4)
    defended, epsilon = Quantised(model, 64), 1.5 * model.optimal_radius(images, labels, "linf").max().item()
    result = mim(bpda(model, defended.rounded), images, labels, epsilon=epsilon, step_size=epsilon / 10, steps=20)
    assert result.success.all()
    assert (defended(result.images).argmax(1) != labels).all()


def test_expectation_steadies_a_random_defence() -> None:
    model = LinearClassifier.random()
    images, labels = model.samples(8)
    epsilon = 1.3 * model.optimal_radius(images, labels, "linf").max().item()
    result = pgd(expectation(Noisy(model, 0.1), 10), images, labels, epsilon=epsilon, step_size=epsilon / 8, steps=20)
    assert (model(result.images).argmax(1) != labels).all()


def test_parts_can_be_put_together_by_hand(gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(3)
    criterion = Misclassified() & Undetected(gaussian.bounds())
    attack = EveryTarget(Restarts(Iterative(L2(1.2), UnitStep(0.05), 60, Ascent(LogOdds() - Suspicion("target"))), 2))
    assert run(attack, gaussian, images, labels, criterion=criterion).success.all()
