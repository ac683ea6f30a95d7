"""Convolutions with large kernels, as products of spectra.

A 'same' convolution of k×k taps costs k² products a pixel and pair of channels; in the frequency domain it costs about
four, besides the transforms. The transforms here are matrix products: for maps of up to about a hundred pixels a side
they run at the speed of the machine's matrix multiplication, need no special size, and leave the channels of an image
side by side, as the products of the spectra want them.

Letters: B images, I and O channels in and out, H height and width, k kernel, n points of the transform, m = ⌊n/2⌋ + 1
frequencies of the first axis (the others are conjugates of these), K = m·n frequencies in all.
"""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twinlatent.torch_state import fresh_torch, full_precision


def fourier_conv(x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int], groups: int) -> Tensor:
    """Grouped convolution of stride 1 with 'same' padding, what `conv2d` gives up to rounding.

    Args:
        x: (B, groups·I, H, H).
        weight: (groups·O, I, k, k).
        bias: (groups·O,).
        padding: rows and columns (before, after), k − 1 in all.
        groups: each with its own I of the channels, O of the results.

    Returns:
        (B, groups·O, H, H), with gradients of x, weight and bias; second derivatives raise PyTorch's error.
    """
    images, kernels = x.unflatten(1, (groups, -1)).unbind(1), weight.unflatten(0, (groups, -1)).unbind(0)
    results = [_Correlation.apply(a, b, padding) for a, b in zip(images, kernels, strict=True)]  # type: ignore[no-untyped-call]
    return torch.cat(results, 1) + bias[:, None, None]


def fourier_rounding(inputs: int, size: int, taps: int, padding: tuple[int, int], unit: float) -> float:
    """By how much `fourier_conv` can miss at any place, as a share of ‖x‖₂ ‖w‖₂ of the image and the filter.

    A product of computed matrices A, of k columns, and B misses by γ_k |A| |B|, in the Frobenius norm by γ_k ‖A‖ ‖B‖
    (Higham 2002, section 3.5); two roundings of A's own entries make that k + 2. Norms of spectra count a frequency of
    the first axis twice where its conjugate is left out; so ‖spectrum of x‖ = n ‖x‖. Of H pixels, the first matrix has
    the norm √(nH) and may raise norms by √n, the second √(2nH) and √n: together γ_(H+2) √H + γ_(2H+2) √(2H) of n ‖x‖.
    The products of spectra sum, over frequencies, to n² ‖x‖ ‖w‖ at most, and their own sums of I complex numbers miss
    by √2 γ_(I+1) of that. The way back adds up |product| / n² at most, with √2 γ_(2n+2) and γ_(2m+2).

    Args:
        inputs: I, channels in.
        size: H, height and width.
        taps: k, of the kernel.
        padding: as for `fourier_conv`.
        unit: unit roundoff of the arithmetic, 2⁻²⁴ for float32.
    """

    def gamma(terms: int) -> float:
        return terms * unit / (1 - terms * unit)

    def of_spectrum(side: int) -> float:
        first, second = gamma(side + 2) * math.sqrt(side), gamma(2 * side + 2) * math.sqrt(2 * side)
        return (1 + first) * (1 + second) - 1

    n = size + max(padding)
    products = (1 + of_spectrum(size)) * (1 + of_spectrum(taps)) * (1 + math.sqrt(2) * gamma(inputs + 1))
    back = (1 + math.sqrt(2) * gamma(2 * n + 2)) * (1 + gamma(2 * (n // 2 + 1) + 2))
    return (products * back - 1) * 1.001  # the last: angles, sines and cosines are those of float64


IMAGES_AT_ONCE = 16
"""More of them need spectra for which the system finds new memory each time, which costs more than the products."""


class _Correlation(torch.autograd.Function):
    """y[t] = Σ_u x[t + u − before] w[u], one group; zero outside the image, since n leaves room for the padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        n, size, taps = x.shape[-1] + max(padding), x.shape[-1], weight.shape[-1]
        ctx.sizes = padding[0], size, taps, n
        kernels = _spectrum(weight, n)
        kept, results = [], []
        for part in x.split(IMAGES_AT_ONCE):
            images = _spectrum(part, n)
            kept += [images] if ctx.needs_input_grad[1] else []
            results.append(_signal(_product(images, kernels.transpose(2, 3), conjugate=True), -padding[0], size, n))
        ctx.save_for_backward(kernels, *kept)
        return torch.cat(results)

    @staticmethod
    @once_differentiable
    @full_precision()
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kernels, *kept = ctx.saved_tensors
        before, size, taps, n = ctx.sizes
        of_x, of_weight = [], torch.zeros_like(kernels) if kept else None
        for number, part in enumerate(grad.split(IMAGES_AT_ONCE)):
            grads = _spectrum(part, n)
            if ctx.needs_input_grad[0]:  # Σ_t grad[t] w[s − t + before]
                of_x.append(_signal(_product(grads, kernels, conjugate=False), before, size, n))
            if of_weight is not None:  # Σ_t grad[t] x[t + u − before]
                of_weight += _product(kept[number].transpose(2, 3), grads, conjugate=True).transpose(2, 3)
        whole = None if of_weight is None else _signal(of_weight, -before, taps, n)
        return torch.cat(of_x) if of_x else None, whole, None


def _spectrum(x: Tensor, n: int) -> Tensor:
    """(a, b, H, H) → real and imaginary parts of the n×n transform, (K, 2, a, b)."""
    a, b, size, _ = x.shape
    first, second = (matrix.to(x) for matrix in _forward_matrices(size, n))
    rows = (first @ x.permute(2, 3, 0, 1).reshape(size, -1)).view(-1, 2 * size, a * b)
    return torch.matmul(second, rows).view(-1, 2, a, b)


def _signal(spectrum: Tensor, start: int, count: int, n: int) -> Tensor:
    """(K, 2, a, b) → the signal at positions start ... start + count − 1, modulo n, (a, b, count, count)."""
    _, _, a, b = spectrum.shape
    first, second = (matrix.to(spectrum) for matrix in _backward_matrices(start, count, n))
    rows = torch.matmul(second, spectrum.view(-1, 2 * n, a * b))
    return (first @ rows.view(first.shape[1], -1)).view(count, count, a, b).permute(2, 3, 0, 1)


def _product(x: Tensor, y: Tensor, *, conjugate: bool) -> Tensor:
    """x·y, or x·ȳ, of complex matrices (K, 2, a, b) and (K, 2, b, c), both parts apart: (K, 2, a, c)."""
    real, imaginary = x[:, 0], x[:, 1]
    result = x.new_empty(len(x), 2, x.shape[2], y.shape[3])
    sign = -1 if conjugate else 1
    by_real, by_imaginary = y[:, 0], y[:, 1]
    torch.add(real @ by_real, imaginary @ by_imaginary, alpha=-sign, out=result[:, 0])
    torch.add(imaginary @ by_real, real @ by_imaginary, alpha=sign, out=result[:, 1])
    return result


@lru_cache(maxsize=32)
@fresh_torch()  # they are kept
def _forward_matrices(size: int, n: int) -> tuple[Tensor, Tensor]:
    """First axis, of real numbers: (m·2, H). Second axis, of complex ones: (n·2, 2·H); parts are counted by the 2."""
    positions = torch.arange(size, dtype=torch.float64)
    angles = _angles(torch.arange(n // 2 + 1), positions, n)
    first = torch.stack([angles.cos(), -angles.sin()], 1).flatten(0, 1)
    angles = _angles(torch.arange(n), positions, n)
    cosine, sine = angles.cos(), angles.sin()
    second = torch.stack([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)], 1).flatten(0, 1)
    return first, second


@lru_cache(maxsize=32)
@fresh_torch()  # they are kept
def _backward_matrices(start: int, count: int, n: int) -> tuple[Tensor, Tensor]:
    """First axis, to real numbers: (count, m·2). Second axis, of complex ones: (2·count, n·2)."""
    positions = torch.arange(start, start + count, dtype=torch.float64)
    angles = _angles(torch.arange(n), positions, n).T
    cosine, sine = angles.cos() / n, angles.sin() / n
    second = torch.stack([torch.stack([cosine, -sine], 2).flatten(1), torch.stack([sine, cosine], 2).flatten(1)])
    angles = _angles(torch.arange(n // 2 + 1), positions, n).T
    twice = torch.full((n // 2 + 1,), 2 / n, dtype=torch.float64)  # a frequency and its conjugate
    twice[0] = 1 / n
    if n % 2 == 0:
        twice[-1] = 1 / n
    first = torch.stack([twice * angles.cos(), -twice * angles.sin()], 2).flatten(1)
    return first, second.flatten(0, 1)


def _angles(frequencies: Tensor, positions: Tensor, n: int) -> Tensor:
    """2π·f·t/n, (frequencies, positions)."""
    return 2 * math.pi / n * frequencies.double()[:, None] * positions
