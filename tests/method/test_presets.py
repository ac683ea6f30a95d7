"""Presets: whatever their values, they must name networks that fit the images and each other."""

import math
from typing import get_args

import pytest

from twinlatent.errors import TwinlatentError
from twinlatent.method.game import GameSettings
from twinlatent.method.networks import Conv, plan
from twinlatent.method.presets import Preset, preset_settings

PRESETS = get_args(Preset)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [8, 12, 13, 14, 27, 28, 32, 64])
def test_networks_fit_images_of_any_size(preset: str, side: int) -> None:
    settings = preset_settings(preset, (1, side, side))
    assert isinstance(settings, GameSettings)
    encoder = plan(settings.encoder, (1, side, side), "encoder")
    robust, vulnerable = encoder.latent
    assert robust == vulnerable
    assert plan(settings.decoder, (robust,), "decoder").output_shape == (math.prod((1, side, side)),)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_networks_of_fashion_mnist_have_twice_the_filters(preset: str) -> None:
    def filters(data: str) -> list[int]:
        operations = plan(preset_settings(preset, (1, 28, 28), data).encoder, (1, 28, 28), "encoder").operations
        return [operation.filters for operation in operations if isinstance(operation, Conv)]

    assert filters("fashion-mnist5") == filters("fashion-mnist") == [2 * count for count in filters("mnist")]


def test_presets_differ_in_their_work() -> None:
    smoke, standard, paper = (preset_settings(preset, (1, 28, 28)) for preset in ("smoke", "standard", "paper"))
    work = [settings.rounds * settings.batch * settings.adversary.steps for settings in (smoke, standard, paper)]
    assert work == sorted(work)
    assert (paper.loss.kl_weight, paper.loss.error_penalty_weight, paper.loss.margin_weight) == (1, 100, 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_survive_being_written_down(preset: str) -> None:
    settings = preset_settings(preset, (1, 28, 28), "mnist")
    assert GameSettings(**settings.model_dump()) == settings
    assert GameSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("name", ["", "fast", "Smoke"])
def test_unknown_presets_are_refused(name: str) -> None:
    with pytest.raises(TwinlatentError, match="unknown; choose from smoke, standard, paper") as caught:
        preset_settings(name, (1, 28, 28))
    assert repr(name) in str(caught.value)
