"""An adversary who is bounded, not searched for: what no image of a ball can exceed (Gowal et al. 2018).

Where a search finds a lower bound of the largest log P_r^c − log P_v^c over a ball, intervals give an upper one. A
defender who lowers that has a proof; nothing is attacked, and no gradient can hide.

Letters: C classes, B images.
"""

from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from twinlatent.attacks.balls import Norm
from twinlatent.method.bounds import Interval, ball, ball_in, bound_latents, bound_log_ratio
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.linear_bounds import linear_bounds, log_ratio_above
from twinlatent.method.radii import within_the_box


class BoundSettings(BaseModel):
    """How much of the adversary's turn is bounded, and over which balls."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(0.0, ge=0, le=1)
    """Share of the adversary's weight that the bound has, the search having the rest; 0 (the paper): no bound."""
    norm: Norm = "linf"
    """Of the ball: L∞, or L2 (l2), of which the first layer makes use if it is linear; no ramp."""
    epsilon: float = Field(0.4, ge=0)
    """Its radius after the ramp."""
    box: float = Field(1.0, gt=0, le=1)
    """Side of the interval as a share of the ball's; below 1 it lies about an attacked image, inside the ball: a
    smaller box that the worst image is likely to lie in (Müller et al. 2022). No proof comes from such a box."""
    linear: float = Field(0.0, ge=0, le=1)
    """Share of a tighter, linear bound in the bound, intervals having the rest (Zhang et al. 2020, CROWN-IBP); a round
    takes about ten times as long."""

    _fits = field_validator("epsilon")(within_the_box)

    @model_validator(mode="after")
    def _fit_the_norm(self) -> Self:
        if self.norm == "l2" and self.box < 1:
            raise ValueError(f"box is {self.box}; boxes are for norm linf, leave it at 1")
        if self.norm == "l2" and self.linear:
            raise ValueError(f"linear is {self.linear}; linear bounds are for norm linf, leave it at 0")
        return self


def bounded_ratio(
    encoders: ClassEncoders, images: Tensor, epsilon: float, norm: Norm = "linf", linear: float = 0.0
) -> Tensor:
    """Upper bounds of log P_r^c − log P_v^c over balls, (C, B), differentiable in the weights.

    Args:
        encoders: without batch normalisation in training mode.
        images: (B, channels, H, W).
        epsilon: radius; the ball is cut with [0, 1].
        norm: of the ball.
        linear: see `BoundSettings`.
    """
    return _upper(encoders, ball_in(norm, images, epsilon), linear)


def bounded_in_box(
    encoders: ClassEncoders, images: Tensor, attacked: Tensor, epsilon: float, settings: BoundSettings
) -> Tensor:
    """The same over a box of side 2·box·ε about attacked images, as far as it lies in the ball about the images.

    Args:
        encoders: as for `bounded_ratio`.
        images: (B, channels, H, W).
        attacked: the same, within (1 − box)·ε of them.
        epsilon: radius of the ball.
        settings: size of the box, and how it is bounded.
    """
    whole, box = ball(images, epsilon), ball(attacked, settings.box * epsilon)
    inside = Interval(torch.maximum(whole.lower, box.lower), torch.minimum(whole.upper, box.upper))
    return _upper(encoders, inside, settings.linear)


def _upper(encoders: ClassEncoders, around: Interval, linear: float) -> Tensor:
    if not linear:
        return bound_log_ratio(bound_latents(encoders, around)).upper
    bounds = linear_bounds(encoders, around, 0.0)
    return linear * log_ratio_above(bounds) + (1 - linear) * bound_log_ratio(bounds.means).upper
