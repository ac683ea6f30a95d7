"""N dual-latent VAEs, one a class, evaluated in one batched computation.

Letters: C classes, B images, Z latent dimensions. Images are either (B, channels, H, W), and then every
class sees the same ones (inference), or (C, B, channels, H, W), and then each class sees its own (the game).

Between layers, maps are kept as (B, C·channels, H, W) in channels-last memory and convolved in C groups, and
flat features as (C, B, features) for batched matrix products.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.errors import TwinlatentError
from twinlatent.method.convolutions import channels_last, convolve, transposed_conv
from twinlatent.method.densities import DiagonalGaussian
from twinlatent.method.networks import PlainNetwork, activate
from twinlatent.method.plans import Activation, BatchNorm, Conv, Deconv, Dense, Plan, Pool, Reshape, parameters_of
from twinlatent.torch_state import CPU, own_random_state

BATCH_NORM_EPS = 1e-5
"""Added to the variance, as PyTorch does."""
LOG_VARIANCE_RANGE = (-12.0, 6.0)
"""Encoders' log σ² are clamped to this, so that σ² and its KL are finite for every image."""


@dataclass(frozen=True)
class Latents:
    """What C encoders say of B images: two Gaussians with means of shape (C, B, Z_r) and (C, B, Z_v)."""

    robust: DiagonalGaussian
    vulnerable: DiagonalGaussian


class ClassNetworks(nn.Module):
    """`classes` copies of one plan with their own parameters, evaluated together.

    Parameter names are `PlainNetwork`'s with a leading class dimension.
    """

    def __init__(self, plan: Plan, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.plan, self.classes = plan, classes
        for index, name, shape in parameters_of(plan):
            value = torch.empty(classes, *shape)
            self.register_parameter(f"{index}_{name}", nn.Parameter(_initialised(plan, index, value, name, generator)))
        for index, operation in enumerate(plan.operations):
            if isinstance(operation, BatchNorm):
                self.register_buffer(f"{index}_running_mean", torch.zeros(classes, operation.channels))
                self.register_buffer(f"{index}_running_var", torch.ones(classes, operation.channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply all networks to the same samples (B, *input_shape) or each to its own (C, B, *input_shape).

        Returns:
            (C, B, *output_shape).
        """
        sample, operations = self.plan.input_shape, self.plan.operations
        own = x.ndim == len(sample) + 2
        if tuple(x.shape[2 if own else 1 :]) != sample or (own and x.shape[0] != self.classes):
            raise TwinlatentError(f"{self.plan.spec} takes samples of shape {sample}; got {tuple(x.shape)}")
        first = operations[0]
        if not own and isinstance(first, Conv):
            x = self._conv(0, first, x, groups=1)
        else:
            x = x if own else x.expand(self.classes, *x.shape)
            x = self._apply_operation(0, _to_map(x) if len(sample) == 3 else x)
        for index in range(1, len(operations)):
            x = self._apply_operation(index, x)
        return x if len(self.plan.output_shape) == 1 else x.unflatten(1, (self.classes, -1)).transpose(0, 1)

    def single(self, index: int) -> PlainNetwork:
        """Copy the network of one class out, as an ordinary module."""
        with own_random_state(CPU, 0):  # its first weights are drawn and thrown away
            network = PlainNetwork(self.plan)
        state = {f"layers.{name.replace('_', '.', 1)}": value[index] for name, value in self.state_dict().items()}
        network.load_state_dict(state, strict=False)
        return network.train(self.training)

    def __repr__(self) -> str:
        return str(self.plan.spec)

    def _apply_operation(self, index: int, x: Tensor) -> Tensor:
        operation = self.plan.operations[index]
        match operation:
            case Conv():
                return self._conv(index, operation, x, groups=self.classes)
            case Deconv():
                return self._deconv(index, operation, x)
            case Dense():
                return self._dense(index, x)
            case BatchNorm():
                return self._batch_norm(index, x)
            case Pool(size):
                return F.max_pool2d(x, size)
            case Reshape(shape):
                return self._reshape(x, shape)
            case Activation("relu") if index and isinstance(self.plan.operations[index - 1], Conv | BatchNorm | Pool):
                return F.relu(x, inplace=True)  # nobody needs what these put out; new memory costs more
            case Activation():
                return activate(x, operation)

    def _of(self, index: int, name: str) -> Tensor:
        value: Tensor = getattr(self, f"{index}_{name}")
        return value

    def _conv(self, index: int, conv: Conv, x: Tensor, groups: int) -> Tensor:
        weight, bias = self._of(index, "weight"), self._of(index, "bias")
        if self._normalises_alike(index + 1):
            scale, shift = self._scale_and_shift(index + 1)
            weight, bias = weight * scale[..., None, None, None], bias * scale + shift
        weight, bias = weight.flatten(0, 1), bias.flatten()
        return convolve(channels_last(x), channels_last(weight), bias, conv.stride, conv.padding, groups)

    def _deconv(self, index: int, deconv: Deconv, x: Tensor) -> Tensor:
        size = x.shape[-1] * deconv.stride
        weight, bias = self._of(index, "weight").flatten(0, 1), self._of(index, "bias").flatten()
        x = x.contiguous(memory_format=torch.channels_last)
        x = transposed_conv(x, weight, deconv.stride, deconv.crop, self.classes, (size, size))
        return x + bias[:, None, None]

    def _dense(self, index: int, x: Tensor) -> Tensor:
        """W xᵀ rather than x Wᵀ: the gradient of a large W then arrives in W's own memory order."""
        bias, weight = self._of(index, "bias"), self._of(index, "weight")
        return torch.baddbmm(bias[:, :, None], weight, x.transpose(1, 2)).transpose(1, 2)

    def _normalises_alike(self, index: int) -> bool:
        """Whether operation `index` is a normalisation that treats all images alike, which a convolution before it can
        do by the way: in evaluation mode."""
        operations = self.plan.operations
        after_conv = 0 < index < len(operations) and isinstance(operations[index - 1], Conv)
        return after_conv and isinstance(operations[index], BatchNorm) and not self.training

    def _scale_and_shift(self, index: int) -> tuple[Tensor, Tensor]:
        """What a batch normalisation in evaluation mode multiplies by and adds, each (C, channels)."""
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self._of(index, name) for name in names)
        scale = weight * torch.rsqrt(var + BATCH_NORM_EPS)
        return scale, bias - mean * scale

    def _batch_norm(self, index: int, x: Tensor) -> Tensor:
        """Normalise each class with its own statistics: the batch's in training mode, else the running ones."""
        if self._normalises_alike(index):
            return x
        flat = x.ndim == 3
        y = x.transpose(0, 1).flatten(1) if flat else x
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self._of(index, name).view(-1) for name in names)
        y = F.batch_norm(y, mean, var, weight, bias, training=self.training, eps=BATCH_NORM_EPS)
        return y.unflatten(1, (self.classes, -1)).transpose(0, 1) if flat else y

    def _reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        if len(shape) == 3:  # (C, B, features) -> (B, C·channels, H, W)
            return _to_map(x.unflatten(2, shape))
        flat: Tensor = x.unflatten(1, (self.classes, -1)).transpose(0, 1).flatten(2)
        return flat


def _to_map(x: Tensor) -> Tensor:
    """(C, B, channels, H, W) → (B, C·channels, H, W)."""
    return x.transpose(0, 1).flatten(1, 2)


def _initialised(plan: Plan, index: int, value: Tensor, name: str, generator: torch.Generator | None) -> Tensor:
    """Uniform in ±1/√fan-in, as PyTorch does for most layers; batch normalisation starts as the identity."""
    operation = plan.operations[index]
    if isinstance(operation, BatchNorm):
        return value.fill_(1.0 if name == "weight" else 0.0)
    assert isinstance(operation, Conv | Deconv | Dense)  # nothing else has parameters
    fan_in = operation.inputs * (1 if isinstance(operation, Dense) else operation.kernel**2)
    bound = 1 / math.sqrt(fan_in)
    return value.uniform_(-bound, bound, generator=generator)


# --- the class VAEs -----------------------------------------------------------------------------------------------


class ClassEncoders(nn.Module):
    """E^c of every class c: images → `Latents`."""

    def __init__(self, plan: Plan, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if plan.latent is None:
            raise TwinlatentError(f"the encoder {plan.spec} must end in z(a,b)")
        self.networks = ClassNetworks(plan, classes, generator)
        self.robust_size, self.vulnerable_size = plan.latent

    def forward(self, images: Tensor) -> Latents:
        """Encode the same images (B, channels, H, W) by all classes, or each class its own (C, B, channels, H, W)."""
        r, v = self.robust_size, self.vulnerable_size
        means, log_variances = self.networks(images).split(r + v, dim=-1)
        log_variances = log_variances.clamp(*LOG_VARIANCE_RANGE)
        return Latents(DiagonalGaussian(means[..., :r], log_variances[..., :r]),
                       DiagonalGaussian(means[..., r:], log_variances[..., r:]))  # fmt: skip

    def __repr__(self) -> str:
        return repr(self.networks)


class ClassVAEs(nn.Module):
    """VAE^c of every class c: an encoder with two latent spaces and one decoder that serves both."""

    def __init__(self, encoder: Plan, decoder: Plan, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoders = ClassEncoders(encoder, classes, generator)
        self.decoders = ClassNetworks(decoder, classes, generator)
        self.classes, self.image_shape = classes, encoder.input_shape
        self._check()

    def _check(self) -> None:
        latent = self.encoders.networks.plan.latent
        if latent is None or latent[0] != latent[1]:
            raise TwinlatentError(f"one decoder serves both latent spaces, so z(a,b) needs a = b; got z{latent}")
        pixels, units = math.prod(self.image_shape), self.decoders.plan.output_shape[0]
        if pixels != units:
            raise TwinlatentError(f"the decoder {self.decoders.plan.spec} gives {units} pixels; images have {pixels}")

    def encode(self, images: Tensor) -> Latents:
        """See `ClassEncoders.forward`."""
        latents: Latents = self.encoders(images)
        return latents

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruct images from latents (C, B, Z) of either space: (C, B, channels, H, W) in [0, 1]."""
        images: Tensor = self.decoders(z)
        return images.reshape(*images.shape[:2], *self.image_shape)
