"""Grouped convolutions in the form that is fastest for their sizes, and transposed ones.

Letters: B images, H and W height and width, k kernel. Maps are kept in channels-last memory.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from twinlatent.method.fourier import fourier_conv
from twinlatent.torch_state import full_precision

THIN_CHANNELS = 8
"""Below this many input channels a group, libraries compute the input gradient of a convolution slowly if it has a
stride or a large kernel."""
WIDE_KERNEL = 8
"""Kernels from this size on are large."""
PHASES = 4
"""Into how many phases an axis is divided for the input gradient of a thin convolution without a stride."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: tuple[int, int], groups: int) -> Tensor:
    """What `conv2d` gives, up to rounding.

    Args:
        x: (B, groups·inputs, H, W).
        weight: (groups·filters, inputs, k, k).
        bias: (groups·filters,).
        padding: rows and columns (before, after).
    """
    if _is_thin(weight, stride):
        return thin_conv(x, weight, bias, stride, padding, groups)
    if by_fourier(weight.shape[-1], stride, padding, x.shape) and x.device.type == "cpu":
        return fourier_conv(x, weight, bias, padding, groups)
    return _padded_conv(x, weight, bias, stride, padding, groups)


def input_gradient(
    grad: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], groups: int, size: Sequence[int]
) -> Tensor:
    """The gradient of `convolve` with respect to x, (B, groups·inputs, *size), where it is not by spectra.

    Args:
        grad: of its result, (B, groups·filters, H, W).
        weight, stride, padding, groups: as there.
        size: height and width of x.
    """
    if _is_thin(weight, stride):
        return _thin_gradient(grad, weight, stride, padding, groups, size)
    (before, after), (height, width) = padding, size
    around, cut = (before, 0) if before == after else (0, before)
    more = 0 if before == after else before + after
    shape = len(grad), groups * weight.shape[1], height + more, width + more
    x = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last)  # only its shape
    found: Tensor = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [around] * 2, [1, 1], False, [0, 0], groups, [True, False, False]
    )[0]
    return found[..., cut : cut + height, cut : cut + width]


def _is_thin(weight: Tensor, stride: int) -> bool:
    return weight.shape[1] < THIN_CHANNELS and (stride > 1 or weight.shape[-1] >= WIDE_KERNEL)


def _thin_gradient(
    grad: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], groups: int, size: Sequence[int]
) -> Tensor:
    if stride == 1 and not any(side % PHASES for side in size):
        phases, kernels = _in_phases(grad, weight, groups)
        return transposed_conv(phases, kernels, PHASES, padding[0], groups, size)
    return transposed_conv(grad, weight, stride, padding[0], groups, size)


def by_fourier(kernel: int, stride: int, padding: tuple[int, int], shape: Sequence[int]) -> bool:
    """Whether a convolution of maps (..., H, W) of many channels is computed as a product of spectra on a CPU."""
    return kernel >= WIDE_KERNEL and stride == 1 and sum(padding) == kernel - 1 and shape[-2] == shape[-1]


def thin_conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: tuple[int, int], groups: int) -> Tensor:
    """Grouped, padded convolution whose input gradient is fast for few input channels.

    The forward pass and the gradients of weight and bias are the library's own; the gradient of x is
    computed by `transposed_conv`.
    """
    result: Tensor = _ThinConv.apply(x, weight, bias, stride, padding, groups)  # type: ignore[no-untyped-call]
    return result


class _ThinConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: tuple[int, int], groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = stride, padding, groups
        return _padded_conv(x, weight, bias, stride, padding, groups)

    @staticmethod
    @full_precision()  # a caller may be elsewhere by then
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, groups = ctx.settings
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = _thin_gradient(grad, weight, stride, padding, groups, x.shape[-2:])
        if ctx.needs_input_grad[1]:
            padded = F.pad(x, (*padding, *padding))
            grad_weight = conv2d_weight(padded, weight.shape, grad, stride, groups=groups)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias, None, None, None


def _padded_conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: tuple[int, int], groups: int) -> Tensor:
    before, after = padding
    if before == after:
        return F.conv2d(x, weight, bias, stride, before, groups=groups)
    return F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride, groups=groups)


def transposed_conv(x: Tensor, weight: Tensor, stride: int, crop: int, groups: int, size: Sequence[int]) -> Tensor:
    """Transposed convolution, its output cut to `size` after `crop` rows and columns.

    A convolution of stride s is one of stride 1 over the s² phases of its input (space to depth). Its transpose is
    therefore an ordinary convolution, of ⌈k/s⌉² taps, to the phases, followed by a pixel shuffle.

    Args:
        x: (B, groups·filters, H, W).
        weight: (groups·filters, inputs, k, k), as of the convolution that is transposed.
        size: height and width of the result (B, groups·inputs, *size).
    """
    taps = math.ceil(weight.shape[-1] / stride)
    (first, skip), (height, width) = divmod(crop, stride), size
    before = taps - 1 - first
    below, right = (
        math.ceil((skip + wanted) / stride) + taps - 1 - before - have
        for wanted, have in ((height, x.shape[-2]), (width, x.shape[-1]))
    )
    phase_weight = _phase_weight(weight, stride, taps, groups)
    if before == below == right:  # the usual case, without a copy
        phases = F.conv2d(x, phase_weight, padding=before, groups=groups)
    else:
        phases = F.conv2d(F.pad(x, (before, right, before, below)), phase_weight, groups=groups)
    image = F.pixel_shuffle(phases, stride) if stride > 1 else phases
    return image[..., skip : skip + height, skip : skip + width]


def _in_phases(x: Tensor, weight: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """A transposed convolution of stride 1 as one of stride `PHASES` over the phases of x, which become channels.

    It gives that many more results at once, which for few input channels is what makes it fast.

    Args:
        x: (B, groups·filters, H, W).
        weight: (groups·filters, inputs, k, k).

    Returns:
        both for `transposed_conv`: (B, groups·phases²·filters, H/phases, W/phases), and kernels moved by their phase.
    """
    phases = x.unflatten(3, (-1, PHASES)).unflatten(2, (-1, PHASES)).unflatten(1, (groups, -1))  # b g o y py x px
    phases = phases.permute(0, 3, 5, 1, 4, 6, 2).flatten(3).permute(0, 3, 1, 2)  # in channels-last memory
    taps, kernels = weight.shape[-1], weight.unflatten(0, (groups, -1))
    moved = weight.new_zeros(groups, PHASES, PHASES, *kernels.shape[1:3], *(2 * [taps + PHASES - 1]))
    for row in range(PHASES):
        for column in range(PHASES):
            moved[:, row, column, :, :, row : row + taps, column : column + taps] = kernels
    return phases, moved.flatten(0, 3)


def _phase_weight(weight: Tensor, stride: int, taps: int, groups: int) -> Tensor:
    """(groups·filters, inputs, k, k) → (groups·inputs·stride², filters, taps, taps), flipped."""
    fill = taps * stride - weight.shape[-1]
    weight = F.pad(weight, (0, fill, 0, fill)).unflatten(0, (groups, -1))
    weight = weight.unflatten(-1, (taps, stride)).unflatten(-3, (taps, stride))  # g o i ty py tx px
    weight = weight.permute(0, 2, 4, 6, 1, 3, 5).flip(-2, -1)  # g i py px o ty tx
    return weight.flatten(0, 3).contiguous(memory_format=torch.channels_last)


def channels_last(x: Tensor) -> Tensor:
    """In channels-last memory; of one channel that is no other memory, but it is said in the strides.

    A library that is not told puts out maps of the other order, and all that follows converts back and forth.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    height, width = x.shape[-2:]
    return x.as_strided(x.shape, (height * width, 1, width, 1)) if x.shape[1] == 1 else x
