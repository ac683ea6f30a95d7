"""N dual-latent VAEs, one a class, evaluated in one batched computation; their encoders may share first layers.

Letters: C classes, B images, Z latent dimensions. Images are either (B, channels, H, W), and then every
class sees the same ones (inference), or (C, B, channels, H, W), and then each class sees its own (the game).

Between layers, maps are kept as (B, C·channels, H, W) in channels-last memory and convolved in C groups, and
flat features as (C, B, features) for batched matrix products.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.errors import TwinlatentError
from twinlatent.method.convolutions import channels_last, convolve, transposed_conv
from twinlatent.method.densities import DiagonalGaussian
from twinlatent.method.networks import PlainNetwork, Weights, activate, apply_ramps, initialised
from twinlatent.method.plans import (
    Activation,
    BatchNorm,
    Conv,
    Deconv,
    Dense,
    Plan,
    Pool,
    Ramp,
    Reshape,
    parameters_of,
)
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

    Attributes:
        products: dtype in which linear layers compute on float32 samples, their results being float32 again: bfloat16
            costs about half the time where processors have it, and 8 bits of precision. For training alone.
    """

    def __init__(self, plan: Plan, classes: int, generator: torch.Generator | None = None,
                 weights: Weights = "uniform") -> None:  # fmt: skip
        super().__init__()
        self.plan, self.classes, self.products = plan, classes, torch.float32
        for index, name, shape in parameters_of(plan):
            value = torch.empty(classes, *shape)
            value = initialised(plan.operations[index], value, name, generator, weights)
            self.register_parameter(f"{index}_{name}", nn.Parameter(value))
        for index, operation in enumerate(plan.operations):
            if isinstance(operation, BatchNorm):
                self.register_buffer(f"{index}_running_mean", torch.zeros(classes, operation.channels))
                self.register_buffer(f"{index}_running_var", torch.ones(classes, operation.channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply all networks to the same samples (B, *input_shape) or each to its own (C, B, *input_shape).

        Returns:
            (C, B, *output_shape).
        """
        x = self.arranged(x)
        for index in range(len(self.plan.operations)):
            x = self.applied(index, x)
        return self.by_class(x)

    def arranged(self, x: Tensor) -> Tensor:
        """Samples as the first operation takes them.

        Those that all classes share stay (B, *input_shape) where that operation is linear, so that it is computed
        without copies of them. Other maps become (B, C·channels, H, W), other features (C, B, features).
        """
        sample = self.plan.input_shape
        own = x.ndim == len(sample) + 2
        if tuple(x.shape[2 if own else 1 :]) != sample or (own and x.shape[0] != self.classes):
            raise TwinlatentError(f"{self.plan.spec} takes samples of shape {sample}; got {tuple(x.shape)}")
        if not own and isinstance(self.plan.operations[0], Conv | Dense):
            return x
        x = x if own else x.expand(self.classes, *x.shape)
        return _to_map(x) if len(sample) == 3 else x

    def by_class(self, x: Tensor) -> Tensor:
        """What the last operation gave as (C, B, *output_shape)."""
        return x if len(self.plan.output_shape) == 1 else x.unflatten(1, (self.classes, -1)).transpose(0, 1)

    def single(self, index: int) -> PlainNetwork:
        """Copy the network of one class out, as an ordinary module."""
        with own_random_state(CPU, 0):  # its first weights are drawn and thrown away
            network = PlainNetwork(self.plan)
        state = {f"layers.{name.replace('_', '.', 1)}": value[index] for name, value in self.state_dict().items()}
        network.load_state_dict(state, strict=False)
        return network.train(self.training)

    def picked(self, classes: Tensor) -> "ClassNetworks":
        """The networks of those classes (n,), in that order, as they are now; a class may come more than once."""
        made = copy.copy(self)
        made.classes = len(classes)
        made._parameters = {name: value[classes] for name, value in self._parameters.items()}  # type: ignore
        made._buffers = {name: value[classes] for name, value in self._buffers.items()}  # type: ignore
        return made

    def __repr__(self) -> str:
        return str(self.plan.spec)

    def applied(self, index: int, x: Tensor) -> Tensor:
        """Operation `index` on arranged samples."""
        operation = self.plan.operations[index]
        match operation:
            case Conv() | Deconv() | Dense():
                return self.linear(index, x, *self.weights(index))
            case BatchNorm():
                return self._batch_norm(index, x)
            case Pool(size):
                return F.max_pool2d(x, size)
            case Ramp():
                return self.ramped(index, x)
            case Reshape(shape):
                return self.reshaped(x, shape)
            case Activation("relu") if index and isinstance(self.plan.operations[index - 1], Conv | BatchNorm | Pool):
                return F.relu(x, inplace=True)  # nobody needs what these put out; new memory costs more
            case Activation():
                return activate(x, operation)

    def _of(self, index: int, name: str) -> Tensor:
        value: Tensor = getattr(self, f"{index}_{name}")
        return value

    def weights(self, index: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of a linear operation, (C, *their shape in `parameters_of`).

        A batch normalisation that treats all images alike is part of the convolution before it.
        """
        weight, bias = self._of(index, "weight"), self._of(index, "bias")
        if self.normalises_alike(index + 1):
            scale, shift = self.scale_and_shift(index + 1)
            weight, bias = weight * scale[..., None, None, None], bias * scale + shift
        return weight, bias

    def linear(self, index: int, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The linear operation `index` on arranged samples, with any weight and bias of its shapes."""
        if x.dtype == torch.float32 and self.products != torch.float32:
            return self.linear(index, *(value.to(self.products) for value in (x, weight, bias))).float()
        operation = self.plan.operations[index]
        if isinstance(operation, Conv):
            weight, bias, groups = weight.flatten(0, 1), bias.flatten(), x.shape[1] // operation.inputs
            padding = operation.padding
            return convolve(channels_last(x), channels_last(weight), bias, operation.stride, padding, groups)
        if isinstance(operation, Deconv):
            return self._deconv(operation, x, weight, bias)
        if x.ndim == 2:  # the same features for all classes
            flat: Tensor = F.linear(x, weight.flatten(0, 1), bias.flatten())
            by_class: Tensor = flat.unflatten(1, (self.classes, -1)).transpose(0, 1)
            return by_class
        if self.classes == 1:
            return F.linear(x[0], weight[0], bias[0])[None]
        # W xᵀ rather than x Wᵀ: the gradient of a large W then arrives in W's own memory order
        return torch.baddbmm(bias[:, :, None], weight, x.transpose(1, 2)).transpose(1, 2)

    def _deconv(self, deconv: Deconv, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = [side * deconv.stride for side in x.shape[-2:]]
        x = x.contiguous(memory_format=torch.channels_last)
        x = transposed_conv(x, weight.flatten(0, 1), deconv.stride, deconv.crop, self.classes, size)
        return x + bias.flatten()[:, None, None]

    def normalises_alike(self, index: int) -> bool:
        """Whether operation `index` is a normalisation that treats all images alike, which a convolution before it can
        do by the way: in evaluation mode."""
        operations = self.plan.operations
        after_conv = 0 < index < len(operations) and isinstance(operations[index - 1], Conv)
        return after_conv and isinstance(operations[index], BatchNorm) and not self.training

    def scale_and_shift(self, index: int) -> tuple[Tensor, Tensor]:
        """What a batch normalisation in evaluation mode multiplies by and adds, each (C, channels)."""
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self._of(index, name) for name in names)
        scale = weight * torch.rsqrt(var + BATCH_NORM_EPS)
        return scale, bias - mean * scale

    def _batch_norm(self, index: int, x: Tensor) -> Tensor:
        """Normalise each class with its own statistics: the batch's in training mode, else the running ones."""
        if self.normalises_alike(index):
            return x
        flat = x.ndim == 3
        y = x.transpose(0, 1).flatten(1) if flat else x
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self._of(index, name).view(-1) for name in names)
        y = F.batch_norm(y, mean, var, weight, bias, training=self.training, eps=BATCH_NORM_EPS)
        return y.unflatten(1, (self.classes, -1)).transpose(0, 1) if flat else y

    def ramped(self, index: int, x: Tensor) -> Tensor:
        """Ramps of arranged maps."""
        return apply_ramps(x, self._of(index, "start"), self._of(index, "log_width"))

    def reshaped(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Features as maps of that shape, or maps as features."""
        if len(shape) == 3:  # (C, B, features) -> (B, C·channels, H, W)
            return _to_map(x.unflatten(2, shape))
        flat: Tensor = x.unflatten(1, (self.classes, -1)).transpose(0, 1).flatten(2)
        return flat


def _to_map(x: Tensor) -> Tensor:
    """(C, B, channels, H, W) → (B, C·channels, H, W)."""
    return x.transpose(0, 1).flatten(1, 2)


# --- the class VAEs -----------------------------------------------------------------------------------------------


class ClassEncoders(nn.Module):
    """E^c of every class c: images → `Latents`.

    Attributes:
        plan: of one class's encoder, with what it shares.
        trunk: the layers that all classes share; None where there are none.
        networks: those that each class has for itself.
        binary: tells attacked images from benign ones, see `method.binary`; None: there is none.
    """

    def __init__(self, plan: Plan, classes: int, generator: torch.Generator | None = None,
                 weights: Weights = "uniform") -> None:  # fmt: skip
        super().__init__()
        if plan.latent is None:
            raise TwinlatentError(f"the encoder {plan.spec} must end in z(a,b)")
        self.plan = plan
        self.trunk = ClassNetworks(plan.trunk, 1, generator, weights) if plan.shared else None
        self.networks = ClassNetworks(plan.head, classes, generator, weights)
        self.binary: PlainNetwork | None = None
        self.robust_size, self.vulnerable_size = plan.latent

    @property
    def classes(self) -> int:
        """C."""
        return self.networks.classes

    def forward(self, images: Tensor) -> Latents:
        """Encode the same images (B, channels, H, W) by all classes, or each class its own (C, B, channels, H, W)."""
        return self.latents(self.networks(self._shared(images)))

    def attacked(self, images: Tensor) -> Tensor:
        """How much images (B, channels, H, W) look attacked: 0 or more, (B,). It is added to every log P_v^c where
        suspicion is computed."""
        if self.binary is None:
            return images.new_zeros(len(images))
        said: Tensor = self.binary(images)
        return F.relu(said[:, 0])

    def latents(self, outputs: Tensor) -> Latents:
        """What the networks put out, (C, B, 2·(Z_r + Z_v)), as latents."""
        r, v = self.robust_size, self.vulnerable_size
        means, log_variances = outputs.split(r + v, dim=-1)
        log_variances = log_variances.clamp(*LOG_VARIANCE_RANGE)
        return Latents(DiagonalGaussian(means[..., :r], log_variances[..., :r]),
                       DiagonalGaussian(means[..., r:], log_variances[..., r:]))  # fmt: skip

    def _shared(self, images: Tensor) -> Tensor:
        """What the trunk makes of images of either shape."""
        if self.trunk is None:
            return images
        own = images.ndim == len(self.plan.input_shape) + 2
        features: Tensor = self.trunk(images.flatten(0, 1) if own else images)[0]
        return features.unflatten(0, images.shape[:2]) if own else features

    def __repr__(self) -> str:
        return str(self.plan.spec)


class ClassVAEs(nn.Module):
    """VAE^c of every class c: an encoder with two latent spaces and one decoder that serves both.

    Where encoders share layers, there is one decoder for all classes, which is told the class: its input is z with the
    class as C numbers, one of which is 1. None: nothing is reconstructed.
    """

    def __init__(self, encoder: Plan, decoder: Plan | None, classes: int, generator: torch.Generator | None = None,
                 weights: Weights = "uniform") -> None:  # fmt: skip
        super().__init__()
        self.encoders = ClassEncoders(encoder, classes, generator, weights)
        own = 1 if encoder.shared else classes
        self.decoders = None if decoder is None else ClassNetworks(decoder, own, generator)
        self.classes, self.image_shape = classes, encoder.input_shape
        self._check()

    def _check(self) -> None:
        if self.decoders is None:
            return
        latent = self.encoders.plan.latent
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
        """Reconstruct images from latents (C, B, Z) of either space: (C, B, channels, H, W) in [0, 1].

        Raises:
            TwinlatentError: there is no decoder.
        """
        if self.encoders.trunk is not None:
            labels = torch.arange(self.classes, device=z.device).repeat_interleave(z.shape[1])
            images: Tensor = self.decode_as(z.flatten(0, 1), labels).unflatten(0, z.shape[:2])
            return images
        return self._decoded(z)

    def decode_as(self, z: Tensor, labels: Tensor) -> Tensor:
        """Reconstruct images from latents (B, Z), each of the class (B,) that it is said to be: (B, channels, H, W).

        Raises:
            TwinlatentError: there is no decoder.
        """
        if self.encoders.trunk is not None:
            return self._decoded(torch.cat([z, F.one_hot(labels, self.classes).to(z)], -1))[0]
        images: Tensor = self._decoded(z.expand(self.classes, *z.shape))[labels, torch.arange(len(labels))]
        return images

    def _decoded(self, z: Tensor) -> Tensor:
        if self.decoders is None:
            raise TwinlatentError("there is no decoder; name one (networks.decoder) or reconstruct nothing")
        images: Tensor = self.decoders(z)
        return images.reshape(*images.shape[:2], *self.image_shape)
