"""Suites: what is in them, that it may be run, and that each attack knows no more than its kind says."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import run, suites
from twinlatent.attacks.attack import Attack
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.attacks.budgets import preset
from twinlatent.attacks.carlini_wagner import CarliniWagner
from twinlatent.attacks.gradient_free import Noise, Square, Unchanged
from twinlatent.attacks.iterative import Iterative
from twinlatent.attacks.objectives import Bypass, Margin, latent_matching
from twinlatent.attacks.probing import Probing
from twinlatent.attacks.search import EveryTarget, Restarts
from twinlatent.attacks.suites import ADAPTIVE, BLIND, KINDS, PLAIN, PROBES, QUERIES, STEPS, Suite, SuiteName
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import FPR, GaussianDetector, LinearClassifier

NAMES = get_args(SuiteName)
by_name = pytest.mark.parametrize("name", NAMES)
L2_PAPER = ("paper", "l2")  # there is no such suite
by_norm = pytest.mark.parametrize("norm", get_args(Norm))


@pytest.fixture
def knowing(gaussian: GaussianDetector, linear: LinearClassifier) -> Suite:
    """A standard suite of few steps that has all there is to know of the toy detector."""
    references = latent_matching(gaussian, *gaussian.samples(30, seed=9))
    level = gaussian.bounds().thresholds[FPR]
    return Suite("standard", 0.2, steps=3, level=level, robust=True, references=references, substitute=linear)


def named(suite: Suite, name: SuiteName, **changes: Any) -> Suite:
    """The suite under another name; the paper's has steps of its own."""
    return replace(suite, name=name, **({"steps": None} if name == "paper" else {}), **changes)


def inside(value: Any, kind: type) -> Iterator[Any]:
    """Every object of a kind in a nest of dataclasses."""
    if isinstance(value, kind):
        yield value
    if is_dataclass(value):
        for field in fields(value):
            yield from inside(getattr(value, field.name), kind)


def gradient_steps(attack: Attack) -> set[int]:
    return {each.steps for each in inside(attack, Iterative)}


@pytest.mark.parametrize(("name", "norm"), [pair for pair in product(NAMES, get_args(Norm)) if pair != L2_PAPER])
@pytest.mark.parametrize("has_detector", [True, False])
def test_every_suite_is_made_for_detectors_and_for_classifiers(name, norm, has_detector: bool, knowing: Suite) -> None:
    suite = named(knowing, name, norm=norm, epsilon=0.125)
    if not has_detector:
        suite = replace(suite, level=None, robust=False, references=None)
    made = suite.attacks()
    assert next(iter(made)) == "none"
    assert isinstance(made["none"], Unchanged)
    assert not set(made) - set(KINDS), "an attack has no kind"
    kinds = {KINDS[attack] for attack in made if attack != "none"}
    assert (ADAPTIVE in kinds) == has_detector, "a classifier has nothing to adapt to, a detector must be adapted to"
    for attack in made.values():
        assert all(each.ball == ball_of(norm, 0.125) for each in (*inside(attack, Iterative), *inside(attack, Noise)))
        assert all((norm, each.epsilon) == ("linf", 0.125) for each in inside(attack, Square))


def test_every_kind_of_attack_is_in_some_suite(knowing: Suite) -> None:
    made = [named(knowing, name, level=level) for name in NAMES for level in (knowing.level, None)]
    assert {attack for suite in made for attack in suite.attacks()} == set(KINDS)


def test_the_thorough_suite_has_the_standard_one_and_more(knowing: Suite) -> None:
    """The same attacks under the same names, then restarts and three times the queries, for every wrong class."""
    usual, thorough = knowing.attacks(), named(knowing, "thorough").attacks()
    assert list(thorough)[: len(usual)] == list(usual)
    assert [str(thorough[name]) for name in usual] == [str(attack) for attack in usual.values()]
    assert list(thorough)[len(usual) :] == ["selective-restarts", "square-targets"]
    (restarts,), (square,) = (
        list(inside(thorough[name], kind))
        for name, kind in (("selective-restarts", Restarts), ("square-targets", Square))
    )
    assert restarts.count == suites.RESTARTS
    assert all(each.random_start for each in inside(thorough["selective-restarts"], Iterative))
    assert str(square.objective) == str(Margin(0.0) + Bypass(knowing.level, at="target"))
    assert square.queries == 3 * max(each.queries for each in inside(usual["square"], Square))
    assert all(
        each.count is None
        for name in ("selective-restarts", "square-targets")
        for each in inside(thorough[name], EveryTarget)
    )


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        ({"substitute": None}, "transfer"),
        ({"robust": False}, "robust-targets"),
        ({"references": None}, "latent-targets"),
        ({"norm": "l2"}, "square"),
    ],
)
def test_an_attack_is_left_out_where_what_it_needs_is_missing(without: dict, gone: str, knowing: Suite) -> None:
    whole, part = knowing.attacks(), replace(knowing, **without).attacks()
    assert set(whole) - set(part) == {gone}


@pytest.mark.parametrize("name", ["quick", "standard", "thorough"])
def test_steps_are_those_that_are_asked_for(name: SuiteName, knowing: Suite) -> None:
    asked, own = (replace(knowing, name=name, steps=steps).attacks() for steps in (7, None))
    assert {steps for attack in asked.values() for steps in gradient_steps(attack)} == {1, 7}
    assert 7 not in {steps for attack in own.values() for steps in gradient_steps(attack)}
    probing = {each.steps * each.probes for attack in own.values() for each in inside(attack, Probing)}
    assert max(probing) in range(STEPS[name] - PROBES + 1, STEPS[name] + 1)
    assert {each.queries for attack in asked.values() for each in inside(attack, Square)} <= {70, 8, 210}


def test_the_paper_s_suite_has_the_paper_s_steps(knowing: Suite) -> None:
    """Table 8: FGSM 1, PGD 240 and MIM 1200 iterations, CW 12,000 with κ = 200, three searches each."""
    for level in (knowing.level, None):
        made = named(knowing, "paper", level=level).attacks()
        by = {name.removesuffix("_w"): attack for name, attack in made.items()}
        assert {n: gradient_steps(by[n]) for n in ("fgsm", "pgd", "mim")} == {"fgsm": {1}, "pgd": {240}, "mim": {1200}}
        (cw,) = inside(by["cw"], CarliniWagner)
        assert (cw.steps, cw.confidence, cw.searches, cw.abort_early) == (12_000, 200, 3, False)


@pytest.mark.parametrize("has_detector", [True, False])
def test_the_paper_s_suite_runs(has_detector: bool, knowing: Suite, gaussian: GaussianDetector, monkeypatch) -> None:
    monkeypatch.setattr(suites, "preset", lambda name: replace(preset(name), steps=2))
    suite = named(knowing, "paper", **({} if has_detector else {"level": None}))
    images, labels = gaussian.samples(4)
    for name, made in suite.attacks().items():
        found = run(made, gaussian, images, labels, criterion=Misclassified() & Undetected(gaussian.bounds(), FPR))
        inside_ball = (found.images - images).abs().amax((1, 2, 3)) <= suite.epsilon + 1e-6
        assert inside_ball.all() or name.startswith("cw")
        assert (found.steps > 0).all() == (name != "none")


@pytest.mark.parametrize("name", ["quick", "standard", "thorough"])
@by_norm
def test_every_attack_runs_and_stays_in_its_ball(name, norm, knowing: Suite, gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(6)
    criterion = Misclassified() & Undetected(gaussian.bounds(), FPR)
    for attack, made in replace(knowing, name=name, norm=norm, epsilon=0.2).attacks().items():
        found = run(made, gaussian, images, labels, criterion=criterion)
        change = (found.images - images).flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        assert (size <= 0.2 + 1e-6).all(), attack
        assert (size > 0).any() == (attack != "none"), attack


def other_suspicion(model: nn.Module):
    """The model with another suspicion, flat and useless."""

    def answer(images: Tensor) -> Outputs:
        outputs = model(images)
        return replace(outputs, suspicion=7 + 0 * outputs.suspicion)

    return answer


def test_plain_attacks_take_no_notice_of_the_suspicion(knowing: Suite, gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(6)
    made = {**knowing.attacks(), **replace(knowing, level=None).attacks()}
    plain = [name for name in made if KINDS[name] == PLAIN]
    assert {"fgsm", "pgd", "mim", "targets"} <= set(plain)
    for name in plain:
        known, unknown = (
            run(made[name], model, images, labels).images for model in (gaussian, other_suspicion(gaussian))
        )
        assert torch.equal(known, unknown), name


def test_adaptive_attacks_do(knowing: Suite, gaussian: GaussianDetector) -> None:
    noise = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images, labels = 0.45 + 0.1 * noise, torch.arange(12) % 3  # grey images, which are flagged to begin with
    criterion = Misclassified() & Undetected(gaussian.bounds(), FPR)
    adaptive = {name: attack for name, attack in knowing.attacks().items() if KINDS[name] == ADAPTIVE}
    for name, attack in adaptive.items():
        known, unknown = (
            run(attack, model, images, labels, criterion=criterion).images
            for model in (gaussian, other_suspicion(gaussian))
        )
        assert not torch.equal(known, unknown), name


def test_attacks_that_are_blind_or_query_need_no_gradient(knowing: Suite, gaussian: GaussianDetector) -> None:
    def opaque(images: Tensor) -> Outputs:
        with torch.no_grad():
            return gaussian(images)

    images, labels = gaussian.samples(6)
    kinds = {name: KINDS[name] for name in knowing.attacks() if KINDS[name] in (BLIND, QUERIES)}
    assert kinds == {"none": BLIND, "noise": BLIND, "transfer": BLIND, "square": QUERIES}
    for name in kinds:
        attack = knowing.attacks()[name]
        assert torch.equal(run(attack, opaque, images, labels).images, run(attack, gaussian, images, labels).images), (
            name
        )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"name": "huge"}, "suite 'huge' is unknown; choose from quick, standard, thorough, paper"),
        ({"norm": "l1"}, "norm 'l1' is unknown; choose linf or l2"),
        ({"norm": ["l2"]}, r"norm \['l2'\] is unknown; choose linf or l2"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"steps": 0}, "steps is 0; give a whole number of at least 1"),
        ({"steps": -3}, "steps is -3; give a whole number"),
        ({"epsilon": 3.0}, "epsilon is 3.0; in L∞ give at most 1"),
        ({"name": "paper", "steps": 3}, "suite paper has the paper's steps"),
        ({"name": "paper", "norm": "l2"}, "suite paper has .* norm l2"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(settings: dict, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line):
        Suite(**settings)


@by_name
def test_a_radius_of_zero_is_one(name: SuiteName, gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(3)
    for attack, made in named(Suite(epsilon=0.0, steps=2), name).attacks().items():
        if not list(inside(made, CarliniWagner)):
            assert torch.equal(run(made, gaussian, images, labels).images, images), attack
