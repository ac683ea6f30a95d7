"""Checks trip on what they are for: on made-up counts, on defences that deceive, and not on a sound detector."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import Suite, run_suite
from twinlatent.attacks.results import AttackResult
from twinlatent.attacks.suite_runs import SuiteResult
from twinlatent.attacks.suites import SuiteName
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.checks import attacks as check_attacks
from twinlatent.evaluation.checks import each as checks
from twinlatent.evaluation.checks.attacks import Probe, Slope
from twinlatent.evaluation.checks.run import checks_of, run_checks
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.protocol.points import draw
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.results.parts import Check, Status
from twinlatent.evaluation.white_box.suite import attack_detector
from twinlatent.method.detector import Detector
from twinlatent.outputs import Bounds, Outputs
from twinlatent.testing import FPR, GaussianDetector, Honeypot, LinearClassifier, Noisy, Quantised, TradeOffDetector

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "trusting_a_result.md").read_text(encoding="utf-8")
Toy = GaussianDetector | TradeOffDetector | Honeypot
N = 100


def first(count: int, n: int = N) -> Tensor:
    """The first `count` of n images."""
    return torch.arange(n) < count


def last(count: int, n: int = N) -> Tensor:
    return first(count, n).flip(0)


def slope(*norms: float, value: float = 1.0) -> Slope:
    """Gradients of two pixels with these L2 norms."""
    gradient = torch.tensor([[float(norm), 0.0] for norm in norms])
    return Slope(torch.full((len(norms),), float(value)), gradient)


def answers(logits: Tensor) -> Outputs:
    return Outputs(logits, torch.zeros_like(logits))


# --- the documentation ----------------------------------------------------------------------------------------------


def test_every_check_has_its_paragraph() -> None:
    paragraphs = {name: " ".join(text.split()) for name, text in re.findall(r"^## (.+)\n([^#]+)", PAGE, re.MULTILINE)}
    assert tuple(paragraphs) == checks.NAMES
    for text in paragraphs.values():
        assert "?" in text  # what it asks
        assert re.search(r"\*When it (fails|does not pass)\*: ", text)


# --- each check, both ways --------------------------------------------------------------------------------------------

FINE = slope(*[1.0] * 20)
CASES: dict[str, list[tuple[Status, Callable[[], Check]]]] = {
    "gradients": [
        ("pass", lambda: checks.check_gradients({"Margin": FINE}, {"pgd": first(1)})),
        ("warn", lambda: checks.check_gradients({"Margin": slope(*[1.0] * 19, 0)}, {"pgd": first(0)})),
        ("fail", lambda: checks.check_gradients({"Margin": slope(*[0.0] * 20)}, {"pgd": first(0)})),
        ("fail", lambda: checks.check_gradients({"Margin": slope(*[float("nan")] * 20)}, {"pgd": first(0)})),
        ("fail", lambda: checks.check_gradients({"Margin": slope(*[1e-5] * 20, value=1e3)}, {"pgd": first(0)})),
        ("pass", lambda: checks.check_gradients({"Margin": slope(*[1e-5] * 20, value=1)}, {"pgd": first(0)})),
        ("fail", lambda: checks.check_gradients({"Margin": FINE, "Suspicion": slope(0, 0, 0)}, {"pgd": first(0)})),
        ("warn", lambda: checks.check_gradients({"Margin": FINE}, {"pgd": first(0), "mim": first(4)})),
        ("fail", lambda: checks.check_gradients({"Margin": FINE}, {"pgd": first(0), "mim": first(90)})),
        ("warn", lambda: checks.check_gradients({"Margin": FINE}, {"a": first(0), "mim": first(90)}, ["a"])),
        ("fail", lambda: checks.check_gradients({"Margin": FINE}, {"a": first(9), "mim": first(90)}, ["a"])),
        ("warn", lambda: checks.check_gradients({"Margin": FINE}, {})),
    ],
    "gradient-balance": [
        ("pass", lambda: checks.check_balance(FINE, slope(*[50.0] * 20))),
        ("pass", lambda: checks.check_balance(slope(0, 2, 1), slope(0, 50, 1))),
        ("warn", lambda: checks.check_balance(FINE, slope(*[1e-3] * 20))),
        ("warn", lambda: checks.check_balance(FINE, slope(*[1e3] * 20))),
        ("fail", lambda: checks.check_balance(FINE, slope(*[1e-5] * 20))),
        ("fail", lambda: checks.check_balance(slope(0, 0), slope(1, 1))),
        ("fail", lambda: checks.check_balance(slope(0, 0), slope(0, 0))),
    ],
    "gamma": [
        ("pass", lambda: checks.check_gamma({"mim_w": first(5), "pgd": None}, first(N), first(N))),
        ("pass", lambda: checks.check_gamma({"mim_w": first(N), "pgd_w": first(0)}, first(N), first(N))),
        ("pass", lambda: checks.check_gamma({"mim_w": first(N)}, first(0), first(N))),
        ("pass", lambda: checks.check_gamma({"mim_w": first(N)}, first(N), first(0))),
        ("warn", lambda: checks.check_gamma({"mim_w": first(30)}, first(N), first(N))),
        ("fail", lambda: checks.check_gamma({"mim_w": first(80)}, first(N), first(N))),
        ("warn", lambda: checks.check_gamma({"pgd": None}, first(N), first(N))),
    ],
    "adaptive": [
        ("pass", lambda: checks.check_adaptive({"pgd": first(30)}, {"mim_w": last(30)})),
        ("pass", lambda: checks.check_adaptive({"pgd": first(60)}, {"mim_w": last(30), "cw_w": first(40)})),
        ("warn", lambda: checks.check_adaptive({"pgd": first(33)}, {"mim_w": first(30)})),
        ("fail", lambda: checks.check_adaptive({"pgd": first(50)}, {"mim_w": first(30)})),
        ("warn", lambda: checks.check_adaptive({}, {"mim_w": first(30)})),
        ("warn", lambda: checks.check_adaptive({"pgd": first(1)}, {})),
    ],
    "iterative": [
        ("pass", lambda: checks.check_iterative({"fgsm": first(10), "pgd": first(10)})),
        ("warn", lambda: checks.check_iterative({"fgsm": first(11), "pgd": first(10)})),
        ("fail", lambda: checks.check_iterative({"fgsm_w": first(40), "fgsm": first(3), "pgd": first(10)})),
        ("warn", lambda: checks.check_iterative({"pgd": first(10)})),
    ],
    "blind": [
        ("pass", lambda: checks.check_blind(dict.fromkeys(checks.WITHOUT_GRADIENTS, first(9)), {"pgd": first(8)})),
        ("warn", lambda: checks.check_blind(dict.fromkeys(checks.WITHOUT_GRADIENTS, first(9)), {"pgd": first(6)})),
        ("fail", lambda: checks.check_blind(dict.fromkeys(checks.WITHOUT_GRADIENTS, last(20)), {"pgd": first(80 - 1)})),
        ("warn", lambda: checks.check_blind({"noise": first(0)}, {"pgd": first(8)})),
        ("fail", lambda: checks.check_blind({"noise": first(50)}, {"pgd": first(8)})),
        ("warn", lambda: checks.check_blind({}, {"pgd": first(8)})),
        ("warn", lambda: checks.check_blind({"noise": first(0)}, {})),
    ],
    "epsilon": [
        ("pass", lambda: checks.check_epsilon({0.3: first(60), 0.1: first(0), 0.2: first(60)})),
        ("pass", lambda: checks.check_epsilon({0.1: first(N), 0.2: first(N)})),
        ("warn", lambda: checks.check_epsilon({0.1: first(0), 0.2: first(40), 0.3: first(38)})),
        ("warn", lambda: checks.check_epsilon({0.1: first(40), 0.2: first(40)})),
        ("fail", lambda: checks.check_epsilon({0.1: first(60), 0.2: first(20), 0.3: first(80)})),
        ("warn", lambda: checks.check_epsilon({0.1: first(60)})),
        ("warn", lambda: checks.check_epsilon({})),
    ],
    "unbounded": [
        ("pass", lambda: checks.check_unbounded(first(20, 20), first(0, 20))),
        ("warn", lambda: checks.check_unbounded(first(19, 20), first(19, 20))),
        ("fail", lambda: checks.check_unbounded(first(15, 20), first(15, 20))),
    ],
    "effort": [
        ("pass", lambda: checks.check_effort(first(20, 20), first(1, 20), first(1, 20))),
        ("pass", lambda: checks.check_effort(first(0, 20), first(0, 20), first(0, 20))),
        ("warn", lambda: checks.check_effort(first(20, 20), first(1, 20), last(1, 20))),
        ("fail", lambda: checks.check_effort(first(20, 20), first(5, 20), first(0, 20))),
        ("fail", lambda: checks.check_effort(first(20, 20), first(0, 20), first(5, 20))),
    ],
    "determinism": [
        ("pass", lambda: checks.check_determinism(*[answers(torch.eye(2))] * 3)),
        ("pass", lambda: checks.check_determinism(*[answers(torch.eye(2))] * 2, answers(torch.eye(2) + 1e-5))),
        ("warn", lambda: checks.check_determinism(*[answers(torch.eye(2))] * 2, answers(torch.eye(2) + 1e-3))),
        ("fail", lambda: checks.check_determinism(*[answers(torch.eye(2))] * 2, answers(torch.eye(2) + 0.1))),
        ("fail", lambda: checks.check_determinism(answers(torch.eye(2)), *[answers(torch.eye(2) + 1e-6)] * 2)),
        ("fail", lambda: checks.check_determinism(Outputs(torch.eye(2), torch.eye(2)), *[answers(torch.eye(2))] * 2)),
        ("fail", lambda: checks.check_determinism(*[answers(torch.full((2, 2), torch.nan))] * 3)),
    ],
    "threshold": [
        ("pass", lambda: checks.check_threshold(rate(55, 1000), 0.05)),
        ("warn", lambda: checks.check_threshold(rate(80, 1000), 0.05)),
        ("warn", lambda: checks.check_threshold(rate(20, 1000), 0.05)),
        ("fail", lambda: checks.check_threshold(rate(110, 1000), 0.05)),
    ],
    "counts": [
        ("pass", lambda: checks.check_counts({"pgd": 100, "benign": 5000})),
        ("warn", lambda: checks.check_counts({"pgd": 99, "benign": 5000})),
        ("fail", lambda: checks.check_counts({"pgd": 100, "benign": 5})),
        ("fail", lambda: checks.check_counts({"pgd": 0})),
    ],
    "certificate": [
        ("pass", lambda: checks.check_certificate([(first(40), last(60)), (first(0), last(20))])),
        ("fail", lambda: checks.check_certificate([(first(0), last(60)), (first(41), last(60))])),
        ("pass", lambda: checks.check_certificate([(first(9), last(9))], (rate(9, N), rate(850, 10 * N)))),
        ("pass", lambda: checks.check_certificate([(first(9), last(9))], (rate(9, N), rate(80, 10 * N)))),
        ("fail", lambda: checks.check_certificate([(first(40), last(9))], (rate(40, N), rate(80, 10 * N)))),
        ("skip", lambda: checks.check_certificate([(first(40), first(0))])),
        ("skip", lambda: checks.check_certificate([], None, "no bound is known for gong")),
        ("skip", lambda: checks.check_certificate([])),
    ],
    "mild-changes": [
        ("pass", lambda: checks.check_mild_changes({"blur": rate(21, N), "noise": rate(5, N)})),
        ("warn", lambda: checks.check_mild_changes({"blur": rate(24, N), "noise": rate(16, N)})),
        ("pass", lambda: checks.check_mild_changes({"blur": rate(36, N)}, 0.10)),
        ("warn", lambda: checks.check_mild_changes({"blur": rate(45, N)}, 0.10)),
        ("skip", lambda: checks.check_mild_changes({})),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", checks.NAMES)
def test_each_check_tells_good_from_bad(name: str) -> None:
    made = [(status, make()) for status, make in CASES[name]]
    assert [check.status for _, check in made] == [status for status, _ in made]
    assert {check.name for _, check in made} == {name}
    lacks = {"certificate": "warn", "mild-changes": "fail"}.get(name, "skip")
    assert {"pass", "warn", "fail", "skip"} - {lacks} == {status for status, _ in made}
    assert all(re.search(r"\d|No|nothing", check.finding) and check.finding.endswith(".") for _, check in made)


def test_findings_say_what_they_rest_on() -> None:
    said = {status: make().finding for status, make in CASES["effort"]}
    assert "lost 20 of n=20 [83.9, 100.0] %; more effort wins 5 of n=20 [11.2, 46.9] %" in said["fail"]
    assert "5 of n=20" in said["fail"]
    assert "0 at 0.1, 60 at 0.2, 60 at 0.3" in CASES["epsilon"][0][1]().finding
    missing = checks.check_blind({"noise": first(0)}, {"pgd": first(8)}).finding
    assert missing.endswith("not run: transfer, square.")
    proved = [make().finding for _, make in CASES["certificate"]]
    assert proved[1].startswith(
        "Over 2 points attacks win 41 of n=200 images, and it is proved for 120 that none can; 1 "
    )
    assert "attacked 0.400 of n=100 [0.309, 0.498] > proved 0.080 of n=1000 [" in proved[4]
    assert proved[6] == "No bound is known for gong."
    assert CASES["mild-changes"][1][1]().finding == (
        "Where 0.05 was asked for, clearly more than 0.15 of the benign images are flagged after 1 of 2 mild changes "
        "(blur); most after blur: 0.240 of n=100 [0.167, 0.332]."
    )
    lonely = checks.check_blind({"noise": first(9), "square": first(12)}, {"pgd": first(8)}).finding
    assert "4 of n=100" in lonely
    assert "noise 1, square 4" in lonely


# --- what is read from attacks ------------------------------------------------------------------------------------


def found(images: Tensor, **changed: Tensor) -> AttackResult:
    n = len(images)
    no, none = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.int64)
    zero = torch.zeros(n)
    return replace(AttackResult(images, none, no, zero, zero, none, none, torch.full((n,), torch.nan), no), **changed)


def test_dead_steps_count_where_they_are_most() -> None:
    steps, dead = torch.tensor([4, 4, 4, 0, 4]), torch.tensor([2, 3, 4, 0, 4])
    won = torch.tensor([False, False, False, False, True])
    result = found(torch.zeros(5, 1, 2, 2), steps=steps, dead_steps=dead)
    assert checks.mostly_dead(result, won).tolist() == [False, True, True, False, False]


def test_an_attack_without_a_search_for_gamma_is_never_stuck() -> None:
    images, stuck = torch.zeros(2, 1, 2, 2), torch.tensor([True, False])
    assert checks.stuck(found(images, gamma_stuck=stuck)) is None
    searched = found(images, gamma_stuck=stuck, gamma=torch.tensor([10.0, torch.nan]))
    assert checks.stuck(searched).tolist() == [True, False]


def test_images_an_attack_was_not_run_on_are_not_misclassified() -> None:
    images = torch.zeros(3, 1, 2, 2)
    results = [found(images, labels=torch.tensor([-1, 1, 0])), found(images, labels=torch.tensor([-1, 0, 0]))]
    assert checks.misclassified(results, torch.zeros(3, dtype=torch.int64)).tolist() == [False, True, False]


# --- toys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A toy under attack."""

    toy: Toy
    model: nn.Module
    epsilon: float
    suite: SuiteName = "standard"

    def checked(self) -> dict[str, Check]:
        """Its checks by name, with thresholds fixed on some samples and verified on others."""
        images, labels = self.toy.samples(N, seed=3)
        bounds = self._bounds()
        won = {radius: self._wins(radius, bounds) for radius in (0.5 * self.epsilon, 0.9 * self.epsilon, self.epsilon)}
        result = self._attacked(self.epsilon, bounds)
        with torch.no_grad():
            outputs = self.toy(self.toy.samples(1000, seed=2)[0])
        flagged = outputs.suspicion_of_label > bounds.thresholds[FPR][outputs.labels]
        probe = Probe(self.model, images[:20], labels[:20], bounds, FPR, "linf", self.epsilon, steps=20)
        made = checks_of(probe, labels, result, by_epsilon=won, flagged=rate(int(flagged.sum()), 1000), progress=False)
        assert tuple(check.name for check in made) == checks.NAMES
        return {check.name: check for check in made}

    def _bounds(self) -> Bounds:
        with torch.no_grad():
            outputs = self.toy(self.toy.samples(1000, seed=1)[0])
        levels = self.toy.bounds().thresholds[FPR].clone()
        for c in outputs.labels.unique():
            levels[c] = outputs.suspicion_of_label[outputs.labels == c].quantile(1 - FPR)
        return replace(self.toy.bounds(), thresholds={FPR: levels})

    def _attacked(self, epsilon: float, bounds: Bounds, *names: str) -> SuiteResult:
        images, labels = self.toy.samples(N, seed=3)
        suite = Suite(
            "standard" if names else self.suite,
            epsilon,
            steps=20,
            level=bounds.thresholds[FPR],
            robust=bounds.robust_mean is not None,
            substitute=LinearClassifier.random((1, *images.shape[2:])),
        )
        attacks = {name: attack for name, attack in suite.attacks().items() if not names or name in names}
        criterion = Misclassified() & Undetected(bounds)
        return run_suite(attacks, self.model, images, labels, criterion=criterion, norm="linf", epsilon=epsilon,
                         progress=False)  # fmt: skip

    def _wins(self, epsilon: float, bounds: Bounds) -> Tensor:
        return self._attacked(epsilon, bounds, "mim_w").by_attack["mim_w"].wins


GAUSSIAN, HONEYPOT = GaussianDetector.random(), Honeypot()
HALF = 0.203
"""A radius at which, with thresholds at 5 %, about half of the Gaussian detector's samples can be won."""
ZERO = ("gradients", "gradient-balance", "unbounded")


def test_a_sound_detector_passes_every_check() -> None:
    made = Case(GAUSSIAN, GAUSSIAN, HALF).checked()
    assert made.pop("certificate").finding == "No certificate was made."
    assert made.pop("mild-changes").finding == "No mild changes were measured."
    assert {name: check.finding for name, check in made.items() if check.status != "pass"} == {}
    won = int(re.search(r"know the detector win (\d+)", made["adaptive"].finding).group(1))
    assert 20 < won < 80  # neither all nor nothing, so that the checks have something to find


@pytest.mark.parametrize(
    ("case", "trips"),
    [
        (Case(GAUSSIAN, Quantised(GAUSSIAN), HALF), dict.fromkeys(ZERO, "fail")),
        (Case(GAUSSIAN, Noisy(GAUSSIAN, 0.05), HALF), {"determinism": "fail"}),
        (Case(HONEYPOT, HONEYPOT, HONEYPOT.epsilon), {"blind": "fail"}),
        (Case(HONEYPOT, HONEYPOT, HONEYPOT.epsilon, "quick"), {"blind": "fail", "effort": "fail"}),
    ],
    ids=["zero gradients", "randomised", "honeypot", "honeypot, few attacks"],
)  # fmt: skip
def test_defences_that_deceive_trip_the_checks_meant_for_them(case: Case, trips: dict[str, Status]) -> None:
    made = case.checked()
    assert {name: made[name].status for name in trips} == trips
    innocent = {"gradients", "gradient-balance", "determinism", "unbounded", "effort"} - trips.keys()
    assert {name: made[name].finding for name in innocent if made[name].status == "fail"} == {}


def test_what_a_small_suite_lacks_is_said() -> None:
    made = Case(GAUSSIAN, GAUSSIAN, HALF, "quick").checked()
    assert made["blind"].status == "warn"
    assert made["blind"].finding.endswith("not run: transfer, square.")


def test_images_that_are_won_as_they_are_are_no_attack_s() -> None:
    images, labels = GAUSSIAN.samples(N, seed=3)
    wrong = torch.where(first(30), 1 - labels, labels)  # misclassified as they are, by these labels, and not flagged
    bounds = GAUSSIAN.bounds()
    suite = Suite("quick", 0.01, steps=2, level=bounds.thresholds[FPR], robust=True)
    result = run_suite(suite.attacks(), GAUSSIAN, images, wrong, criterion=Misclassified() & Undetected(bounds),
                       norm="linf", epsilon=0.01, progress=False)  # fmt: skip
    assert int(result.success.sum()) == 30
    probe = Probe(GAUSSIAN, images[:20], wrong[:20], bounds, epsilon=0.01, steps=2)
    made = checks_of(probe, wrong, result, by_epsilon={}, flagged=rate(5, N), progress=False)
    said = {check.name: check.finding for check in made}
    assert "know the detector win 0, those that do not 0" in said["adaptive"]
    assert "The suite lost 0 of n=20" in said["effort"]


def test_asking_leaves_the_random_state_and_the_model_alone() -> None:
    model = Noisy(GAUSSIAN).train()
    images, labels = GAUSSIAN.samples(4)
    before = torch.random.get_rng_state()
    check_attacks.repeated(Probe(model, images, labels, GAUSSIAN.bounds()))
    terms = check_attacks.slopes(Probe(model, images, labels, GAUSSIAN.bounds()))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert terms.keys() == {"Margin", "Suspicion", "RobustDensity"}


def test_slopes_are_the_gradients() -> None:
    images, labels = GAUSSIAN.samples(3)
    terms = check_attacks.slopes(Probe(GAUSSIAN, images, labels, GAUSSIAN.bounds()))
    v = GAUSSIAN(images).latents[torch.arange(3), labels, 1]
    torch.testing.assert_close(terms["Suspicion"].gradient, (v[:, None] * GAUSSIAN.vulnerable[labels]).detach())
    assert check_attacks.slopes(Probe(HONEYPOT, *HONEYPOT.samples(2), HONEYPOT.bounds())).keys() == {
        "Margin",
        "Suspicion",
    }


# --- a real detector ----------------------------------------------------------------------------------------------


def test_a_detector_is_checked(trained_detector: Detector, digits: Split) -> None:
    settings = WhiteBoxSettings(suite="quick", epsilon=0.1, steps=4, images=30)
    run = attack_detector(trained_detector, digits, settings, drawn=draw(digits.test, 30, 0), progress=False)
    asked = {"by_epsilon": {0.05: first(3, 30), 0.1: first(9, 30)}, "benign": digits.test.images}
    made = run_checks(trained_detector, run.benign, run.result, settings=settings, seed=0, progress=False, **asked)
    again = run_checks(trained_detector, run.benign, run.result, settings=settings, seed=0, progress=False, **asked)
    status = {check.name: check.status for check in made}
    assert made == again
    assert tuple(status) == checks.NAMES
    assert (status["gradients"], status["determinism"], status["counts"]) == ("pass", "pass", "warn")
    for changed in ({"goal": "c1c2"}, {"remaining_only": True}):
        with pytest.raises(TwinlatentError, match="checks need the goal undetected and every attack on every image"):
            run_checks(trained_detector, run.benign, run.result, settings=settings.model_copy(update=changed), seed=0,
                       progress=False, **asked)  # fmt: skip
