"""The plain classifier that learns along in the game, and what is made of its gradients."""

import math

import pytest
import torch
from torch import Tensor, nn

from twinlatent.data import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.method import game
from twinlatent.method.game import GameSettings, play
from twinlatent.method.networks import build_classifier
from twinlatent.method.outsider import OutsiderSettings, moved_away, new_outsider, teach
from twinlatent.method.training import TrainingState

CLASSES = 3
LAYERS = "c(3,4)-bn-relu-mp(2) d(16)"
GREY = torch.full((CLASSES, 40, 1, 6, 6), 0.5)
"""So far from black and white that nothing is clipped."""


def linear() -> TrainingState:
    """A classifier whose gradients are the same for all images of a class."""
    torch.default_generator.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES))
    return TrainingState(network, torch.optim.Adam(network.parameters()), torch.Generator())


def changes(settings: OutsiderSettings, generator: torch.Generator) -> Tensor:
    """What is added to grey images, (n, 36)."""
    return (moved_away(linear(), GREY, settings, generator) - GREY).flatten(0, 1).flatten(1)


def test_sizes_are_spread_evenly_between_the_two_on_a_logarithmic_scale(generator: torch.Generator) -> None:
    settings = OutsiderSettings(share=1, steps=1, smallest=0.01, largest=0.08)
    sizes = changes(settings, generator).square().mean(1).sqrt()
    assert float(sizes.min()) >= 0.01 * (1 - 1e-3)
    assert float(sizes.max()) <= 0.08 * (1 + 1e-3)
    assert float(sizes.log().mean()) == pytest.approx(math.log(0.01 * 0.08) / 2, abs=0.15)


def test_several_steps_add_up_to_the_size_where_the_gradient_stays(generator: torch.Generator) -> None:
    """A linear classifier of two classes has one gradient everywhere."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    two = TrainingState(network, torch.optim.Adam(network.parameters()), torch.Generator())
    settings = OutsiderSettings(share=1, steps=4, smallest=0.05, largest=0.05)
    sizes = (moved_away(two, GREY[:2], settings, generator) - GREY[:2]).flatten(2).square().mean(2).sqrt()
    torch.testing.assert_close(sizes, torch.full_like(sizes, 0.05), rtol=1e-3, atol=0)


def test_every_fourth_image_is_moved_by_signs(generator: torch.Generator) -> None:
    found = changes(OutsiderSettings(share=1, steps=1), generator).abs()
    alike = (found.amax(1) - found.amin(1)) < 1e-5
    assert alike.tolist() == [n % 4 == 0 for n in range(len(alike))]


def test_images_become_less_of_their_class(generator: torch.Generator) -> None:
    outsider, settings = linear(), OutsiderSettings(share=1)
    own = torch.arange(CLASSES)[:, None, None]
    before, after = (
        outsider.module(x.flatten(0, 1)).log_softmax(1).unflatten(0, x.shape[:2]).gather(2, own.expand(-1, 40, 1))
        for x in (GREY, moved_away(outsider, GREY, settings, generator))
    )
    assert bool((after < before).all())


def test_images_stay_in_the_box_and_the_outsider_as_it_was(
    three_digits: LabelledImages, generator: torch.Generator
) -> None:
    outsider = new_outsider(OutsiderSettings(layers=LAYERS), (1, 8, 8), CLASSES, 0, "cpu")
    before = {name: value.clone() for name, value in outsider.module.state_dict().items()}
    benign = three_digits.images[:12].unflatten(0, (CLASSES, 4))
    found = moved_away(outsider, benign, OutsiderSettings(share=1, largest=1, smallest=1), generator)
    assert float(found.min()) == 0
    assert float(found.max()) == 1
    assert all(torch.equal(value, before[name]) for name, value in outsider.module.state_dict().items())
    assert outsider.module.training
    assert all(p.requires_grad for p in outsider.module.parameters())


def test_it_learns_the_classes(three_digits: LabelledImages) -> None:
    outsider = new_outsider(OutsiderSettings(layers=LAYERS, learning_rate=1e-2), (1, 8, 8), CLASSES, 0, "cpu")
    own = torch.stack([three_digits.images[three_digits.labels == label][:30] for label in range(CLASSES)])
    for _ in range(40):
        teach(outsider, own)
    labels = torch.arange(CLASSES).repeat_interleave(30)
    with torch.no_grad():
        accuracy = (outsider.module.eval()(own.flatten(0, 1)).argmax(1) == labels).double().mean().item()
    assert accuracy > 0.9


def test_its_weights_come_from_the_seed_and_are_not_those_of_an_evaluation_with_that_seed() -> None:
    settings = OutsiderSettings(layers=LAYERS)
    first, same, other = (
        nn.utils.parameters_to_vector(new_outsider(settings, (1, 8, 8), CLASSES, seed, "cpu").module.parameters())
        for seed in (0, 0, 1)
    )
    torch.default_generator.manual_seed(0)
    evaluated = nn.utils.parameters_to_vector(build_classifier(f"{LAYERS} sm({CLASSES})", (1, 8, 8)).parameters())
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first, evaluated)


def settings_of(**changed: object) -> GameSettings:
    networks = {"encoder": "c(3,4) z(4,4)", "decoder": "d(9) ct(3,4) d(64)"}
    return GameSettings.model_validate(networks | {"rounds": 3, "batch": 8, "adversary": {"steps": 1}} | changed)


def test_each_class_gets_its_own_images_moved(three_digits: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    real = game.defender_turn

    def watched(state, benign, attacked, asked):
        seen.append((benign, attacked))
        return real(state, benign, attacked, asked)

    monkeypatch.setattr(game, "defender_turn", watched)
    play(three_digits, CLASSES, settings_of(outsider={"share": 0.4, "layers": LAYERS}), seed=1, progress=False)
    assert len(seen) == 3
    for benign, attacked in seen:
        away = attacked[:, 8:]
        assert away.shape[1] == 4  # ⌈0.4 · 8⌉
        change = (away - benign[:, :4]).flatten(2).square().mean(2).sqrt()
        assert float(change.min()) > 0
        assert float(change.max()) <= 0.08 * (1 + 1e-3)


def test_without_a_share_there_is_none(three_digits: LabelledImages) -> None:
    state = play(three_digits, CLASSES, settings_of(outsider={"layers": "no notation"}), seed=1, progress=False)
    assert state.outsider is None
    assert not any(name.startswith("outsider") for name in state.tensors())


def test_layers_that_are_none_are_named(three_digits: LabelledImages) -> None:
    with pytest.raises(TwinlatentError, match="no notation"):
        play(three_digits, CLASSES, settings_of(outsider={"share": 1, "layers": "no notation"}), progress=False)
