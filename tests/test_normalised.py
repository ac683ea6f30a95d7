"""A model of other numbers than [0, 1] is shown those, and attacks keep their radii in [0, 1]."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.errors import TwinlatentError


def test_a_channel_has_its_own_numbers_in_any_form() -> None:
    images = torch.rand(2, 3, 4, 4)
    for kind in (list, tuple, torch.tensor, np.array):
        shown = tl.Normalised(nn.Identity(), kind([0.5, 0.4, 0.3]), kind([0.5, 0.2, 0.1]))(images)
        assert torch.allclose(shown[:, 1], (images[:, 1] - 0.4) / 0.2)
        assert torch.allclose(shown[:, 2], (images[:, 2] - 0.3) / 0.1)
    assert torch.allclose(tl.Normalised(nn.Identity(), 0, 1 / 255)(images), 255 * images)
    assert torch.allclose(tl.Normalised(nn.Identity(), 0.5, [0.5] * 3)(images), 2 * images - 1)


def test_a_gradient_is_that_of_the_images_and_a_radius_is_in_0_1() -> None:
    seen: list[Tensor] = []

    def model(shown: Tensor) -> Tensor:
        seen.append(shown)
        return torch.stack([shown.sum((1, 2, 3)), torch.zeros(len(shown))], 1)

    images = torch.full((1, 1, 2, 2), 0.5)
    found = tl.attacks.fgsm(tl.Normalised(model, 0, 1 / 255), images, torch.tensor([0]), epsilon=0.1)
    assert torch.allclose(found.images, images - 0.1)
    assert torch.allclose(seen[-1], 255 * (images - 0.1))


def test_weights_of_the_model_belong_to_it() -> None:
    model = tl.Normalised(nn.Linear(2, 3).double(), 0.5, 0.5)
    assert sum(p.numel() for p in model.parameters()) == 9
    assert set(model.state_dict()) == {"mean", "std", "model.weight", "model.bias"}
    assert not model.eval().model.training


@pytest.mark.parametrize(
    ("mean", "std", "line"),
    [
        (123.7, 58.4, r"mean is 123\.7; give that of images in \[0, 1\], so divide what is of images up to 255 by 255"),
        (0.5, 0.0, "std is 0"),
        (0.5, -1, "std is -1"),
        ("a", 1, "mean is a; give"),
        ([], 1, r"mean is \[\]"),
        ([0.5, float("nan")], 1, "mean is nan"),
        ([0.1, 0.2, 0.3], [0.5, 0.5], "mean has 3 channels, std 2; give the same"),
    ],
)
def test_wrong_numbers_are_refused(mean, std, line: str) -> None:
    with pytest.raises(TwinlatentError, match=line):
        tl.Normalised(nn.Identity(), mean, std)


def test_other_channels_and_no_model_are_refused() -> None:
    with pytest.raises(TwinlatentError, match=r"\(2, 1, 4, 4\) have 1 channels, mean and std 3; give one number"):
        tl.Normalised(nn.Identity(), [0.1, 0.2, 0.3], 1)(torch.rand(2, 1, 4, 4))
    with pytest.raises(TwinlatentError, match=r"is a tuple, which answers no images; .* of a pair of functions each"):
        tl.Normalised((nn.Identity(), nn.Identity()), 0, 1)  # type: ignore[arg-type]
