"""A model of other images than (n, channels, H, W) in [0, 1] is told by what it answers to them, with the mend."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.foreign import detector_of


@pytest.fixture(scope="module")
def coloured(digits: Split) -> Split:
    """Digits of three channels, the middle one darker."""

    def of(part: LabelledImages) -> LabelledImages:
        return LabelledImages(part.images * torch.tensor([1.0, 0.5, 0.9])[:, None, None], part.labels)

    return Split(digits.name, *(of(getattr(digits, p)) for p in ("train", "calibration", "test")), digits.class_names)


def trained(split: Split, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """A network, nine in ten right, of images that a function changed."""
    torch.manual_seed(0)
    x, y = change(split.train.images), split.train.labels
    network = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimiser.step()
    assert (network(x).argmax(1) == y).double().mean() > 0.9
    return network


def with_suspicion(logits: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """With one that takes any images."""
    return logits, lambda images: images.flatten(1).var(1)


def said_of(model: object, split: Split) -> list[str]:
    said: list[str] = []
    with detector_of(model, split, "mine", say=said.append):  # type: ignore[arg-type]
        pass
    return said


def counted(line: str) -> tuple[int, int, int]:
    """Images read correctly as they are, all, and those read correctly in the other range."""
    found = re.search(r"classifies (\d+) of (\d+) calibration images correctly .*, and (\d+) ", line)
    assert found
    return int(found[1]), int(found[2]), int(found[3])


RANGES = [
    (lambda x: 255 * x, 0, 1 / 255, r"scaled to 255; .* judge tl\.Normalised\(model, 0, 1 / 255\)$"),
    (
        lambda x: (x - 0.5) / 0.5,
        0.5,
        0.5,
        r" less 0\.5, divided by 0\.5; .* tl\.Normalised\(model, 0\.5, 0\.5\)$",
    ),
    (lambda x: (x - 0.8) / 0.1, 0.8, 0.1, r"if it was trained so, or nearly so, judge tl\.Normalised\(model, "),
]


@pytest.mark.parametrize(("change", "mean", "std", "line"), RANGES, ids=["255", "-1 to 1", "strange"])
def test_a_model_of_another_range_is_refused_with_a_wrapper(change, mean, std, line: str, digits: Split) -> None:
    network = trained(digits, change)
    with pytest.raises(TwinlatentError, match=line) as refused:
        said_of(with_suspicion(network), digits)
    here, n, there = counted(str(refused.value))
    assert n == 256
    assert there > here + 0.1 * n
    assert said_of(with_suspicion(tl.Normalised(network, mean, std)), digits) == []


def test_of_a_small_loss_it_is_said_and_of_chance_nothing(digits: Split) -> None:
    """In [0, 1] a model errs on so many images; once they are scaled it does not."""
    network = trained(digits, lambda x: x)
    rows = digits.calibration.images.flatten(1)

    def erring(n: int) -> Callable[[Tensor], Tensor]:
        def model(images: Tensor) -> Tensor:
            scaled = images.amax((1, 2, 3)) > 1
            same = (images.flatten(1)[:, None] == rows[None, :n]).all(2).any(1)
            hit = (same & ~scaled)[:, None]
            logits = network(torch.where(scaled[:, None, None, None], images / 255, images))
            return torch.where(hit, -logits, logits)

        return model

    assert said_of(with_suspicion(erring(4)), digits) == []
    (line,) = said_of(with_suspicion(erring(16)), digits)
    here, _, there = counted(line)
    assert 12 <= there - here <= 25
    with pytest.raises(TwinlatentError, match="scaled to 255"):
        said_of(with_suspicion(erring(60)), digits)


# --- other shapes -----------------------------------------------------------------------------------------------------


def convolution(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(72, 10)).eval()


GREY, COLOUR, FLAT = convolution(1), convolution(3), nn.Linear(64, 10)
SHAPES = [
    (lambda x: GREY(x.permute(0, 3, 1, 2)), "as (n, height, width, channels)", "images.permute(0, 2, 3, 1)"),
    (lambda x: FLAT(x), "as rows (n, pixels)", "images.flatten(1)"),
    (lambda x: GREY(x[:, None]), "as (n, height, width)", "images[:, 0]"),
    (lambda x: COLOUR(x), "of three channels", "images.expand(-1, 3, -1, -1)"),
]


@pytest.mark.parametrize(("logits", "words", "code"), SHAPES, ids=[words for _, words, _ in SHAPES])
def test_a_model_of_another_shape_is_refused_and_what_is_named_mends_it(logits, words, code, digits: Split) -> None:
    with pytest.raises(TwinlatentError) as refused:
        said_of(with_suspicion(logits), digits)
    assert str(refused.value) == (f"mine: it cannot answer images (8, 1, 8, 8), as (n, channels, height, width), but "
                                  f"{words}; judge lambda images: model({code}) instead")  # fmt: skip
    mended = eval(f"lambda images: model({code})", {"model": logits})
    assert said_of(with_suspicion(mended), digits) == []


def test_of_colour_one_channel_is_named_and_channels_last_found_though_it_answers(coloured: Split) -> None:
    with pytest.raises(TwinlatentError, match=r"but of one channel; judge lambda images: model\(images\.mean\(1, "):
        said_of(with_suspicion(lambda x: GREY(x)), coloured)
    network = trained(coloured, lambda x: x.permute(0, 2, 3, 1))
    wrapper = r"lambda images: model\(images\.permute\(0, 2, 3, 1\)\)$"
    with pytest.raises(TwinlatentError, match=rf"and \d+ as \(n, height, width, channels\); .*, judge {wrapper}"):
        said_of(with_suspicion(network), coloured)
    assert said_of(with_suspicion(lambda x: network(x.permute(0, 2, 3, 1))), coloured) == []


def test_what_no_form_answers_keeps_its_own_error(digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=r"mine cannot answer images \(8, 1, 8, 8\): RuntimeError: mat1 and mat2"):
        said_of(with_suspicion(nn.Linear(3, 10)), digits)


# --- order of the classes ---------------------------------------------------------------------------------------------


def test_columns_in_another_order_are_named(digits: Split) -> None:
    """What the line says mends it."""
    rows, of_class = digits.train.images.flatten(1), nn.functional.one_hot(digits.train.labels).float()
    weights = torch.linalg.lstsq(torch.cat([rows, torch.ones(len(rows), 1)], 1), of_class, driver="gelsd").solution

    def right(images: Tensor) -> Tensor:
        return images.flatten(1) @ weights[:-1] + weights[-1]

    assert said_of(with_suspicion(right), digits) == []
    for holds in ([3, 0, 1, 2, 5, 6, 7, 8, 9, 4], [0, 1, 2, 3, 4, 5, 6, 9, 8, 7]):  # the class of each column

        def wrong(x: Tensor, holds: list[int] = holds) -> Tensor:
            return right(x)[:, holds]

        (line,) = said_of(with_suspicion(wrong), digits)
        found = re.search(r"give logits\[:, (\[[\d, ]+\])\], and suspicion likewise$", line)
        assert found
        assert "in that of split.class_names, 0, 1" in line
        mend = eval(found[1])
        assert said_of(with_suspicion(lambda x, mend=mend: wrong(x)[:, mend]), digits) == []
