"""Attacks of other libraries: judged by us whatever they say, and those that are installed, against known answers."""

import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent import attacks, bridges
from twinlatent.bridges.attacks import Bridged, imported
from twinlatent.criteria import HitsTarget, Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector
from twinlatent.testing import GaussianDetector

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bridges.md"
EPSILON = 0.2


@pytest.fixture(scope="module")
def known() -> tuple[GaussianDetector, Tensor, Tensor]:
    """A detector that is passed at a known radius, with images and labels."""
    model = GaussianDetector.random(classes=3)
    return model, *model.samples(12)


def passing(model: GaussianDetector) -> Any:
    return Misclassified() & Undetected(model.bounds(), 0.05)


# --- without any library ----------------------------------------------------------------------------------------------


def bridged(search: Callable[..., Any], epsilon: float = EPSILON, **how: Any) -> Bridged:
    """A library of our own: its attack is the search."""
    return Bridged("mine", search, {}, epsilon, search=lambda attack, settings, *rest: attack(*rest), **how)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_lies_outside_is_brought_back_and_judged_there(known, norm) -> None:
    model, images, labels = known
    found = attacks.run(bridged(lambda view, x, *_: 9 - 20 * x, norm=norm), model, images, labels)
    size = found.linf if norm == "linf" else found.l2
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert size.max() <= EPSILON * (1 + 1e-5)
    assert torch.equal(found.success, model(found.images).labels != labels)


def test_nan_and_what_is_worse_than_the_start_are_not_kept(known) -> None:
    model, images, labels = known
    found = attacks.run(bridged(lambda view, x, *_: x * float("nan")), model, images, labels)
    assert torch.equal(found.images, images)

    def downhill(view, x, *_):
        asked = x.clone().requires_grad_()
        view.lead(view(asked)).sum().backward()
        return x - 0.01 * asked.grad.sign()

    assert torch.equal(attacks.run(bridged(downhill), model, images, labels).images, images)


def test_steps_are_what_the_library_asked(known) -> None:
    def two_gradients(view, x, *_):
        for _ in range(2):
            asked = x.clone().requires_grad_()
            view(asked).sum().backward()
        view(x)
        return x

    found = attacks.run(bridged(two_gradients), *known)
    assert found.steps.tolist() == [2] * 12
    assert found.dead_steps.tolist() == [0] * 12
    asking = attacks.run(
        bridged(lambda view, x, *_: torch.stack([view(x).mean() * 0 + x for _ in range(5)])[0]), *known
    )
    assert asking.steps.tolist() == [5] * 12


def test_images_of_one_label_and_target_go_together_or_alone(known) -> None:
    model, images, labels = known
    seen: list[list[int]] = []

    def noted(view, x, aim, epsilon):
        assert aim.labels.unique().tolist() == [view.label]
        assert aim.targets.unique().tolist() == [view.target]
        seen.append([view.label, view.target, len(x)])
        return x

    targets = (labels + 1 + (torch.arange(12) >= 6).long()) % 3
    for alone in (False, True):
        attacks.run(bridged(noted, alone=alone), model, images, labels, targets=targets)
    assert sorted(seen[:6]) == [[c, t, 2] for c in range(3) for t in range(3) if c != t]
    assert [count for *_, count in seen[6:]] == [1] * 12


def test_random_numbers_of_all_kinds_come_from_the_images(known) -> None:
    def draws(view, x, *_):
        return x + 0.1 * (torch.rand(1).item() + np.random.rand() + random.random() - 1.5)

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    model, images, labels = known
    first, again = (attacks.run(bridged(draws, alone=True), model, images, labels).images for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, attacks.run(bridged(draws, alone=True), model, images, labels, seed=1).images)
    assert torch.equal(first[5:7], attacks.run(bridged(draws, alone=True), model, images[5:7], labels[5:7]).images)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1], before[2]) == (np.random.get_state()[1].tolist(), random.getstate())


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: bridges.foolbox("LinfPGD"),
            r"^foolbox: foolbox is not installed; pip install '\.\[bridges\]' in a copy",
        ),
        (lambda: bridges.art("ProjectedGradientDescent"), r"^art: art is not installed; pip install '\.\[br"),
        (
            lambda: bridges.torchattacks("PGD"),
            "^torchattacks: torchattacks is not installed; pip install 'torchattacks'",
        ),
        (lambda: bridges.secml("pgd.PGD"), "^secml: secmlt is not installed; pip install 'secml-torch'$"),
        (lambda: bridges.adv_lib("fmn"), "^adv_lib: adv_lib is not installed; pip install 'adv-lib'$"),
        (lambda: bridges.foolbox(list, [1]), "settings of foolbox are a list; give a dict"),
        (lambda: bridges.foolbox(3), "foolbox has no attack 3; give the name of one in foolbox.attacks"),
        (lambda: bridges.foolbox(list, sees="all"), "sees is 'all'; choose passed or logits"),
        (lambda: bridges.foolbox(list, norm="l1"), "norm 'l1' is unknown; choose linf or l2"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(make, line, monkeypatch) -> None:
    for name in ("foolbox", "art", "torchattacks", "secmlt", "adv_lib"):
        for loaded in [part for part in sys.modules if part.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails, as if it were not there
    with pytest.raises(TwinlatentError, match=line):
        make()


@pytest.mark.parametrize(
    ("search", "line"),
    [
        (lambda *_: 1 / 0, r"^mine: <lambda>: ZeroDivisionError: division by zero; mend its settings$"),
        (lambda view, x, *_: x[:1, :, 1:], r"^mine: <lambda> answers \(\d, 1, 8, 8\) images with \(1, 1, 7, 8\)"),
    ],
)
def test_an_attack_that_fails_is_named(search, line, known) -> None:
    with pytest.raises(TwinlatentError, match=line):
        attacks.run(bridged(search), *known)


# --- with the real libraries ------------------------------------------------------------------------------------------


@contextmanager
def empty(*names: str) -> Iterator[None]:
    """Empty modules in place of what a library imports at its start and does not use in what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            if name not in sys.modules and find_spec(name.partition(".")[0]) is None:
                module = ModuleType(name)
                module.__spec__ = ModuleSpec(name, None)
                module.models = module.Visdom = object  # type: ignore[attr-defined]
                patch.setitem(sys.modules, name, module)
        yield


FIXED = {
    "foolbox-pgd": ("foolbox", "LinfPGD", {"steps": 60, "rel_stepsize": 0.1}),
    "art-pgd": ("art", "ProjectedGradientDescent", {"max_iter": 60, "eps_step": 0.02, "num_random_init": 1}),
    "torchattacks-pgd": ("torchattacks", "PGD", {"steps": 60, "alpha": 0.02}),
    "torchattacks-apgd": ("torchattacks", "APGD", {"steps": 60}),
    "secml-pgd": ("secml", "pgd.PGD", {"perturbation_model": "linf", "num_steps": 60, "step_size": 0.02,
                                       "backend": "native"}),
    "adv_lib-pgd": ("adv_lib", "pgd_linf", {"steps": 60, "relative_step_size": 0.1}),
    "adv_lib-apgd": ("adv_lib", "apgd", {"n_iter": 60, "norm": float("inf")}),
}  # fmt: skip
"""Attacks within a given radius, which must find what our own ones find."""
LEAST = {
    "foolbox-fmn": ("foolbox", "LInfFMNAttack", {"steps": 60}),
    "foolbox-noise": ("foolbox", "LinfRepeatedAdditiveUniformNoiseAttack", {"repeats": 5}),
    "art-hopskipjump": ("art", "HopSkipJump", {"norm": np.inf, "max_iter": 2, "max_eval": 50, "init_eval": 10}),
    "foolbox-ddn": ("foolbox", "DDNAttack", {"steps": 200}),
    "art-deepfool": ("art", "DeepFool", {}),
    "torchattacks-deepfool": ("torchattacks", "DeepFool", {}),
    "secml-fmn": ("secml", "fmn.FMN", {"perturbation_model": "linf", "num_steps": 60, "step_size": 0.5}),
    "adv_lib-fmn": ("adv_lib", "fmn", {"steps": 60, "norm": float("inf")}),
}
"""Attacks that look for the least change, or ask answers alone."""
MODULES = {"foolbox": "foolbox", "art": "art", "torchattacks": "torchattacks", "secml": "secmlt", "adv_lib": "adv_lib"}


def made(name: str) -> Callable[[float], Bridged]:
    """The bridge of a row, where its library is installed."""
    library, attack, settings = (FIXED | LEAST)[name]
    if find_spec(MODULES[library]) is None:
        pytest.skip(f"{library} is not installed: make test-all installs it")
    with empty("torchvision", "torchvision.models", "visdom"):
        return getattr(bridges, library)(attack, settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED | LEAST)
def test_their_images_are_in_the_ball_and_nowhere_is_won_what_cannot_be(name, known) -> None:
    model, images, labels = known
    radius = model.optimal_radius(images, labels, "linf")
    criterion = passing(model)
    for epsilon in (0.0, 0.7 * radius.min().item(), radius.median().item()):
        found = attacks.run(made(name)(epsilon), model, images, labels, criterion=criterion)
        assert found.linf.max() <= epsilon + 1e-6
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        assert not found.success[radius > epsilon * 1.001].any()
        assert torch.equal(found.success, criterion(model(found.images), attacks.attack.Aim(labels)))


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_they_pass_the_detector_where_that_is_possible_because_they_see_it(name, known) -> None:
    model, images, labels = known
    epsilon = 1.2 * model.optimal_radius(images, labels, "linf").max().item()
    criterion = passing(model)
    found = attacks.run(made(name)(epsilon), model, images, labels, criterion=criterion)
    assert found.success.float().mean() >= 0.9
    assert (found.steps > 0).all()
    blind = attacks.run(replace(made(name)(epsilon), sees="logits"), model, images, labels, criterion=criterion)
    assert (blind.labels != labels).float().mean() >= 0.9
    assert blind.success.float().mean() < found.success.float().mean()


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["foolbox-ddn", "art-deepfool", "torchattacks-deepfool"])
def test_the_least_change_in_l2_is_found_in_the_model_s_precision(name, precision) -> None:
    model = GaussianDetector.random(classes=3).to(precision)
    images, labels = model.samples(6)
    images = images.to(precision)
    radius = model.optimal_radius(images, labels, "l2")
    attack = replace(made(name)(1.3 * radius.max().item()), norm="l2")
    found = attacks.run(attack, model, images, labels, criterion=passing(model))
    assert found.images.dtype == precision
    assert found.success.float().mean() >= 0.9
    assert (found.l2 >= radius * 0.999)[found.success].all()
    assert found.l2.max() <= attack.epsilon * (1 + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["foolbox-pgd", "art-pgd", "torchattacks-pgd", "secml-pgd", "adv_lib-pgd"])
def test_they_go_for_targets(name, known) -> None:
    model, images, labels = known
    targets = (labels + 1) % 3
    epsilon = 2 * model.optimal_radius(images, labels, "linf").max().item()
    criterion = HitsTarget() & Undetected(model.bounds(), 0.05)
    found = attacks.run(made(name)(epsilon), model, images, labels, targets=targets, criterion=criterion)
    assert found.success.float().mean() >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXED)
def test_alone_an_answer_does_not_depend_on_the_others(name, known) -> None:
    model, images, labels = known
    attack = replace(made(name)(EPSILON), alone=True)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    whole = attacks.run(attack, model, images, labels, criterion=passing(model))
    part = attacks.run(attack, model, images[4:6], labels[4:6], criterion=passing(model))
    torch.testing.assert_close(part.images, whole.images[4:6])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


@pytest.mark.slow
def test_a_library_without_what_it_needs_is_named() -> None:
    made("adv_lib-fmn")
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "adv_lib"}
    with pytest.MonkeyPatch.context() as patch:
        for name in kept:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "torchvision", None)
        with pytest.raises(
            TwinlatentError, match=r"^adv_lib: torchvision is not installed; pip install 'torchvision'$"
        ):
            imported("adv_lib")


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    trained_detector: Detector, fewer_steps, monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, but with a detector that is trained already."""
    for name in ("foolbox-pgd", "art-pgd"):
        made(name)
    fewer_steps(monkeypatch, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tl, "fit_split", lambda split, progress: trained_detector)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    with empty("torchvision", "torchvision.models", "visdom"):
        for number, block in enumerate(blocks):
            exec(compile(block, f"block {number}", "exec"), names)
    said = capsys.readouterr().out
    assert {record.attack for record in names["report"].records} >= {"foolbox-pgd", "art-pgd", "worst"}
    assert "passed: misclassified" in said
    assert set(names["attacks"]) == {"foolbox-pgd", "foolbox-fmn"}
