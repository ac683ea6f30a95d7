"""Networks as modules: padding worked out by hand, layers against plain functions."""

import math
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.networks import PlainNetwork, apply_ramps, build_classifier, straight_through
from twinlatent.method.plans import plan

# --- 'same' padding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [6, 7, 8])
def test_convolution_is_same_padded(kernel: int, stride: int, side: int, real_images) -> None:
    network = PlainNetwork(plan(f"c({kernel},2,{stride})-relu z(1,1)", (1, side, side), "encoder"))
    x, conv = real_images(1, side), network.layers[0]
    size = -(-side // stride)
    missing = max((size - 1) * stride + kernel - side, 0)
    expected = torch.zeros(2, size, size)
    for row in range(size):  # output pixel (row, column) starts at stride·(row, column) less half of what is missing
        for column in range(size):
            for a in range(kernel):
                for b in range(kernel):
                    i, j = row * stride + a - missing // 2, column * stride + b - missing // 2
                    if 0 <= i < side and 0 <= j < side:
                        expected[:, row, column] += conv.weight[:, 0, a, b].detach() * x[0, 0, i, j]
    torch.testing.assert_close(conv(x)[0] - conv.bias[:, None, None], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 1), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (6, 3)])
def test_transposed_convolution_is_the_adjoint_of_the_convolution(kernel: int, stride: int) -> None:
    side, inputs, filters = 4, 3, 2
    big = stride * side
    conv = PlainNetwork(plan(f"c({kernel},{inputs},{stride})-relu z(1,1)", (filters, big, big), "encoder")).layers[0]
    up = PlainNetwork(plan(f"ct({kernel},{filters},{stride})-relu d(4)", (inputs, side, side), "decoder")).layers[0]
    up.weight.data = conv.weight.data
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, filters, big, big, generator=generator)
    y = torch.rand(1, inputs, side, side, generator=generator)
    down, raised = conv(x) - conv.bias[:, None, None], up(y) - up.bias[:, None, None]
    assert raised.shape == x.shape
    torch.testing.assert_close((down * y).sum(), (raised * x).sum(), atol=1e-4, rtol=1e-4)


# --- networks -----------------------------------------------------------------------------------------------------


def test_a_classifier_is_its_layers_one_after_another(real_images) -> None:
    network, x = build_classifier("c(3,4) mp(2) d(6) sm(3)", (1, 8, 8)), real_images(5)
    conv, first, last = (layer for layer in network.layers if sum(1 for _ in layer.parameters()))
    hidden = F.max_pool2d(F.relu(F.conv2d(x, conv.weight, conv.bias, padding=1)), 2).flatten(1)
    expected = F.linear(F.relu(F.linear(hidden, first.weight, first.bias)), last.weight, last.bias)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("shared", [True, False])
def test_ramps_pass_gradients_straight_through_within_the_block_alone(shared: bool, real_images) -> None:
    """Where ramps rise over the first tenth of [0, 1], the rest is flat; within, as if the clamp were not there."""
    text = "ramp(2) c(3,4) | d(3)-relu z(1,1)" if shared else "ramp(2) c(3,4) z(1,1)"
    encoders = ClassEncoders(plan(text, (1, 8, 8), "encoder"), 3, torch.Generator().manual_seed(0))
    for network in (encoders.trunk, encoders.networks) if shared else (encoders.networks,):
        for name, value in network.named_parameters():
            if name.endswith(("_start", "_log_width")):
                value.data = torch.full_like(value, 0.0 if name.endswith("_start") else math.log(0.1))
    images = 0.5 + 0.5 * real_images(4)

    def answers(block: AbstractContextManager) -> tuple[Tensor, Tensor]:
        x = images.clone().requires_grad_()
        with block:
            mean = encoders(x).robust.mean
            return mean, torch.autograd.grad(mean.sum(), x)[0]

    before, (mean, gradient), after = answers(nullcontext()), answers(straight_through()), answers(nullcontext())
    assert torch.equal(mean, before[0])
    assert torch.equal(before[1], torch.zeros_like(images))
    assert torch.equal(after[1], before[1])
    assert gradient.abs().amax((1, 2, 3)).min() > 0


def test_a_gradient_straight_through_is_that_of_ramps_without_an_end(real_images) -> None:
    x = real_images(3).requires_grad_()
    start, log_width = torch.tensor([[0.2, 0.7]]), torch.tensor([[-1.0, 0.5]])
    weight = torch.rand(3, 2, 8, 8)
    with straight_through():
        (found,) = torch.autograd.grad((weight * apply_ramps(x, start, log_width)).sum(), x)
    torch.testing.assert_close(found, (weight / log_width.exp()[0, :, None, None]).sum(1, keepdim=True))


def test_a_decoder_gives_pixels(generator) -> None:
    network = PlainNetwork(plan("d(24) d(16) 2(ct(3,4)) d(64)", (8,), "decoder"))
    pixels = network(100 * torch.randn(50, 8, generator=generator))
    assert pixels.shape == (50, 64)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.std() > 0.01


def test_leaky_slope_is_that_of_the_known_autoencoder() -> None:
    network = PlainNetwork(plan("d(2) d(4)", (1,), "decoder"))
    first, last = network.layers[0], network.layers[2]
    x = torch.tensor([[-3.0], [2.0]])
    h = x * first.weight[:, 0] + first.bias
    expected = torch.sigmoid(torch.where(h > 0, h, 0.2 * h) @ last.weight.T + last.bias)
    torch.testing.assert_close(network(x), expected)
