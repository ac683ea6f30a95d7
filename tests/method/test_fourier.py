"""Convolutions by spectra: the library's own convolution is the oracle."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.method.fourier import IMAGES_AT_ONCE, fourier_conv, fourier_rounding

CASES = [  # images, channels in, channels out, side, kernel, groups
    (3, 2, 3, 8, 5, 1),
    (2, 3, 2, 9, 4, 2),
    (2, 1, 2, 5, 8, 3),  # a kernel larger than the image
    (1, 2, 1, 6, 1, 2),  # no padding at all
    (IMAGES_AT_ONCE + 1, 2, 2, 7, 3, 2),
]


def padding_of(kernel: int) -> tuple[int, int]:
    return (kernel - 1) // 2, kernel // 2


def made(case: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    images, inputs, outputs, side, kernel, groups = case
    generator = torch.Generator().manual_seed(0)
    shapes = (images, groups * inputs, side, side), (groups * outputs, inputs, kernel, kernel), (groups * outputs,)
    x, weight, bias = (torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes)
    return x, weight, bias


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_it_is_the_convolution_with_its_gradients(case: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    kernel, groups = case[4:]
    values = made(case, dtype)
    before, after = padding_of(kernel)
    ours = fourier_conv(*values, (before, after), groups)
    theirs = F.conv2d(F.pad(values[0], (before, after, before, after)), *values[1:], groups=groups)
    torch.testing.assert_close(ours, theirs, atol=tolerance * theirs.abs().max().item(), rtol=0)
    upstream = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    for mine, true in zip(torch.autograd.grad(ours, values, upstream), torch.autograd.grad(theirs, values, upstream),
                          strict=True):  # fmt: skip
        torch.testing.assert_close(mine, true, atol=tolerance * true.abs().max().item(), rtol=0)


@pytest.mark.parametrize("wanted", [(True, False), (False, True)], ids=["images", "weights"])
def test_one_gradient_alone(wanted: tuple[bool, bool]) -> None:
    case = CASES[0]
    x, weight, bias = made(case, torch.float64)
    x.requires_grad_(wanted[0])
    weight.requires_grad_(wanted[1])
    asked = x if wanted[0] else weight
    assert torch.autograd.gradcheck(lambda *_: fourier_conv(x, weight, bias, padding_of(case[4]), case[5]), (asked,))


def test_an_image_does_not_depend_on_its_batch() -> None:
    case = CASES[-1]
    x, weight, bias = made(case, torch.float32)
    whole = fourier_conv(x, weight, bias, padding_of(case[4]), case[5])
    for i in (0, IMAGES_AT_ONCE - 1, IMAGES_AT_ONCE):
        alone = fourier_conv(x[i : i + 1], weight, bias, padding_of(case[4]), case[5])
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=1e-5)


def test_second_derivatives_are_refused() -> None:
    case = CASES[0]
    x, weight, bias = made(case, torch.float64)
    (first,) = torch.autograd.grad(
        fourier_conv(x, weight, bias, padding_of(case[4]), case[5]).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


ROUNDED = [(9, 1, 16, 9), (8, 2, 64, 12), (32, 4, 32, 12), (32, 2, 16, 12), (8, 3, 5, 8), (1, 3, 28, 20)]


@pytest.mark.parametrize("kind", ["positive", "any sign", "one pixel", "waves", "sizes"])
@pytest.mark.parametrize(("inputs", "outputs", "side", "kernel"), ROUNDED)
def test_rounding_is_a_tenth_of_what_is_proved_at_most(
    kind: str, inputs: int, outputs: int, side: int, kernel: int, generator
) -> None:
    x, weight = torch.rand(2, inputs, side, side, generator=generator), torch.rand(outputs, inputs, kernel, kernel)
    if kind == "any sign":
        x, weight = 2 * x - 1, 2 * weight - 1
    elif kind == "one pixel":
        x = torch.zeros_like(x)
        x[..., side // 2, side // 3] = 1
    elif kind == "waves":
        x = torch.cos(2 * torch.pi * torch.arange(side) * 3 / (side + kernel // 2)).expand_as(x).contiguous()
    elif kind == "sizes":
        x, weight = x * 10 ** (6 * x), weight * 10 ** (6 * weight)
    padding = padding_of(kernel)
    ours = fourier_conv(x, weight, torch.zeros(outputs), padding, 1).double()
    true = F.conv2d(F.pad(x, 2 * padding).double(), weight.double())
    size = x.double().flatten(1).norm(dim=1)[:, None] * weight.double().flatten(1).norm(dim=1)
    missed = ((ours - true).abs().amax((2, 3)) / size).max().item()
    proved = fourier_rounding(inputs, side, kernel, padding, 2.0**-24)
    assert 0 < missed < proved / 10
    assert proved < 2e-4


def test_rounding_is_as_the_square_of_a_float_says() -> None:
    """It goes with the unit roundoff, and grows with every size."""
    usual = fourier_rounding(8, 32, 12, (5, 6), 2.0**-24)
    assert fourier_rounding(8, 32, 12, (5, 6), 2.0**-53) == pytest.approx(usual * 2.0**-29, rel=1e-3)
    larger = [(16, 32, 12, (5, 6)), (8, 40, 12, (5, 6)), (8, 32, 14, (5, 6))]
    assert all(fourier_rounding(*sizes, 2.0**-24) > usual for sizes in larger)
