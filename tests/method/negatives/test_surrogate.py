"""The plain classifier that learns along in the game, and what is made of its gradients."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from twinlatent.data import LabelledImages
from twinlatent.errors import TwinlatentError
from twinlatent.method import game
from twinlatent.method.game import play
from twinlatent.method.game_state import GameSettings
from twinlatent.method.negatives import Setup, SurrogateSettings
from twinlatent.method.negatives.surrogate import Surrogate, new_surrogate, surrogate_negatives, teach
from twinlatent.method.networks import build_classifier
from twinlatent.method.training import TrainingState

CLASSES = 3
SETUP = Setup((1, 8, 8), CLASSES, 0, torch.device("cpu"))
LAYERS = "c(3,4)-bn-relu-mp(2) d(16)"
GREY = torch.full((CLASSES, 40, 1, 6, 6), 0.5)
"""So far from black and white that nothing is clipped."""


def linear(classes: int = CLASSES) -> TrainingState:
    """A classifier whose gradients do not depend on the image, of two classes not even on what it is taken for."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(36, classes))
    return TrainingState(network, torch.optim.Adam(network.parameters()), torch.Generator())


def changes(settings: SurrogateSettings, generator: torch.Generator, classes: int = 2) -> Tensor:
    """What is added to grey images, (n, 36)."""
    grey = GREY[:classes]
    return (surrogate_negatives(linear(classes), grey, settings, generator) - grey).flatten(0, 1).flatten(1)


@pytest.mark.parametrize("steps", [1, 4])
def test_sizes_are_spread_evenly_on_a_logarithmic_scale(steps: int, generator: torch.Generator) -> None:
    settings = SurrogateSettings(share=1, steps=steps, size=0.08, smallest=0.125)
    sizes = changes(settings, generator).square().mean(1).sqrt()
    assert float(sizes.min()) >= 0.01 * (1 - 1e-3)
    assert float(sizes.max()) <= 0.08 * (1 + 1e-3)
    assert float(sizes.log().mean()) == pytest.approx(math.log(0.01 * 0.08) / 2, abs=0.2)
    assert float(sizes.log().std()) == pytest.approx(math.log(8) / 12**0.5, abs=0.15)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_is_moved_by_signs(share: float, generator: torch.Generator) -> None:
    found = changes(SurrogateSettings(share=1, steps=1, signs=share), generator, CLASSES).abs()
    alike = (found.amax(1) - found.amin(1)) < 1e-5
    assert float(alike.double().mean()) == pytest.approx(share, abs=0.12 * (0 < share < 1))


def test_the_share_of_each_class_is_rounded_up(generator: torch.Generator) -> None:
    assert surrogate_negatives(linear(), GREY[:, :10], SurrogateSettings(share=0.31), generator).shape == (
        CLASSES,
        4,
        1,
        6,
        6,
    )


def test_images_become_less_of_their_class(generator: torch.Generator) -> None:
    surrogate, settings = linear(), SurrogateSettings(share=1)
    own = torch.arange(CLASSES)[:, None, None]
    before, after = (
        surrogate.module(x.flatten(0, 1)).log_softmax(1).unflatten(0, x.shape[:2]).gather(2, own.expand(-1, 40, 1))
        for x in (GREY, surrogate_negatives(surrogate, GREY, settings, generator))
    )
    assert bool((after < before).all())


def test_images_stay_in_the_box_and_the_surrogate_as_it_was(
    three_digits: LabelledImages, generator: torch.Generator
) -> None:
    surrogate = new_surrogate(SurrogateSettings(layers=LAYERS), SETUP)
    before = {name: value.clone() for name, value in surrogate.module.state_dict().items()}
    benign = three_digits.images[:12].unflatten(0, (CLASSES, 4))
    found = surrogate_negatives(surrogate, benign, SurrogateSettings(share=1, size=1, smallest=1), generator)
    assert float(found.min()) == 0
    assert float(found.max()) == 1
    assert all(torch.equal(value, before[name]) for name, value in surrogate.module.state_dict().items())
    assert surrogate.module.training
    assert all(p.requires_grad for p in surrogate.module.parameters())


def test_it_learns_the_classes(three_digits: LabelledImages) -> None:
    surrogate = new_surrogate(SurrogateSettings(layers=LAYERS, learning_rate=1e-2), SETUP)
    own = torch.stack([three_digits.images[three_digits.labels == label][:30] for label in range(CLASSES)])
    for _ in range(40):
        teach(surrogate, own)
    labels = torch.arange(CLASSES).repeat_interleave(30)
    with torch.no_grad():
        accuracy = (surrogate.module.eval()(own.flatten(0, 1)).argmax(1) == labels).double().mean().item()
    assert accuracy > 0.9


def test_its_weights_come_from_the_seed_and_are_not_those_of_an_evaluation_with_that_seed() -> None:
    settings = SurrogateSettings(layers=LAYERS)
    first, same, other = (
        nn.utils.parameters_to_vector(
            new_surrogate(settings, Setup((1, 8, 8), CLASSES, seed, torch.device("cpu"))).module.parameters()
        )
        for seed in (0, 0, 1)
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = build_classifier(f"{LAYERS} sm({CLASSES})", (1, 8, 8))
    evaluated = nn.utils.parameters_to_vector(network.parameters())
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first, evaluated)


def settings_of(**changed: object) -> GameSettings:
    networks = {"encoder": "c(3,4) z(4,4)", "decoder": "d(9) ct(3,4) d(64)"}
    return GameSettings.model_validate(networks | {"rounds": 3, "batch": 8, "adversary": {"steps": 1}} | changed)


@pytest.mark.parametrize("partway", [0.0, 0.5])
def test_each_class_gets_its_own_images_moved(
    partway: float, three_digits: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    real = game.defender_turn

    def watched(state, benign, attacked, *rest):
        seen.append((benign, attacked))
        return real(state, benign, attacked, *rest)

    monkeypatch.setattr(game, "defender_turn", watched)
    settings = settings_of(negatives={"surrogate": {"share": 0.4, "layers": LAYERS}, "partway": {"share": partway}})
    play(three_digits, CLASSES, settings, seed=1, progress=False)
    assert len(seen) == 3
    for benign, attacked in seen:
        assert attacked.shape[1] == 8 + 6 * partway + 4  # 6 of 8 are attacked; ⌈0.4 · 8⌉ are moved
        change = (attacked[:, -4:] - benign[:, :4]).flatten(2).square().mean(2).sqrt()
        assert float(change.min()) > 0
        assert float(change.max()) <= settings.negatives.surrogate.size * (1 + 1e-3)


def test_it_learns_in_every_round_and_the_log_says_how_well(three_digits: LabelledImages, tmp_path: Path) -> None:
    settings = settings_of(negatives={"surrogate": {"share": 0.1, "layers": LAYERS, "learning_rate": 1e-2}}, rounds=40)
    state = play(three_digits, CLASSES, settings, seed=1, folder=tmp_path, progress=False)
    losses = [json.loads(line)["loss_surrogate"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 40
    assert losses[0] == pytest.approx(math.log(CLASSES), rel=0.3)
    assert losses[-1] < 0.3 * losses[0]
    surrogate = state.negatives["surrogate"]
    assert isinstance(surrogate, Surrogate)
    with torch.no_grad():
        answers = surrogate.state.module.eval()(three_digits.images).argmax(1)
    assert (answers == three_digits.labels).double().mean() > 0.9


def test_without_a_share_there_is_none(three_digits: LabelledImages, tmp_path: Path) -> None:
    state = play(three_digits, CLASSES, settings_of(), seed=1, folder=tmp_path, progress=False)
    assert list(state.negatives) == ["benign", "attacked"]
    assert not any("surrogate" in name for name in state.tensors())
    assert "surrogate" not in (tmp_path / "log.jsonl").read_text()


@pytest.mark.parametrize("layers", ["no notation", "d(8) sm(3)"])
def test_layers_that_are_none_are_named(layers: str, three_digits: LabelledImages, tmp_path: Path) -> None:
    settings = settings_of(negatives={"surrogate": {"share": 1, "layers": layers}})
    with pytest.raises(TwinlatentError, match=r"negatives\.surrogate\.layers, to which sm\(3\) is added: .*'"):
        play(three_digits, CLASSES, settings, folder=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
