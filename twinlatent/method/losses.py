"""The loss l^c of eq. 5, term by term, for all classes at once.

Letters: C classes, B images of each kind, Z latent dimensions.
"""

from dataclasses import dataclass, fields

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from twinlatent.method.class_vaes import ClassVAEs, Latents
from twinlatent.method.densities import (
    Density,
    kl_to_standard_normal,
    log_one_minus_density,
    log_standard_normal,
)


class LossSettings(BaseModel):
    """Weights of the terms; the defaults up to `margin_weight` are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kl_weight: float = Field(1.0, ge=0)
    """α of eq. 5."""
    error_penalty_weight: float = Field(100.0, ge=0)
    """β of eq. 5."""
    density: Density = "per_dimension"
    """Density of the z-error penalty; `joint` is the literal reading."""
    margin_weight: float = Field(0.0, ge=0)
    """Weight of the margin term, which the paper does not have."""
    reconstructed: int | None = Field(None, ge=1)
    """Images of each kind, a class and round, whose reconstruction is computed; None for all.

    The decoder is most of the work of the defender's turn; its error is a mean, so fewer images estimate the same.
    """
    margin: float = Field(4.0, ge=0)
    """Nats by which log P_r − log P_v should exceed 0 on benign images of the class, and stay under 0 on others."""


@dataclass(frozen=True)
class LossTerms:
    """Terms of l^c before weighting, each (C,), a mean over samples; x_b benign of class c, x_a of others.

    Attributes:
        reconstruction_robust: ‖x_b − D(z_r(x_b))‖², summed over pixels.
        reconstruction_vulnerable: ‖x_a − D(z_v(x_a))‖².
        kl_robust: KL(z_r(x_b) ‖ N(0, I)).
        kl_vulnerable: KL(z_v(x_a) ‖ N(0, I)).
        penalty_robust: −log(1 − N(z_r(x_a) | 0, I)).
        penalty_vulnerable: −log(1 − N(z_v(x_b) | 0, I)).
        margin: softplus(m − ratio(x_b)) + softplus(m + ratio(x_a)), ratio = log P_r − log P_v.
    """

    reconstruction_robust: Tensor
    reconstruction_vulnerable: Tensor
    kl_robust: Tensor
    kl_vulnerable: Tensor
    penalty_robust: Tensor
    penalty_vulnerable: Tensor
    margin: Tensor

    def total(self, settings: LossSettings) -> Tensor:
        """l^c, weighted sum, (C,)."""
        return (
            self.reconstruction_robust
            + self.reconstruction_vulnerable
            + settings.kl_weight * (self.kl_robust + self.kl_vulnerable)
            + settings.error_penalty_weight * (self.penalty_robust + self.penalty_vulnerable)
            + settings.margin_weight * self.margin
        )

    def means(self) -> dict[str, float]:
        """Mean of every term over classes, for the log."""
        return {field.name: getattr(self, field.name).mean().item() for field in fields(self)}


def loss_terms(
    vaes: ClassVAEs,
    benign: Tensor,
    attacked: Tensor,
    settings: LossSettings,
    generator: torch.Generator | None = None,
) -> LossTerms:
    """Terms of eq. 5.

    Args:
        vaes: the class VAEs.
        benign: (C, B, channels, H, W), benign images of each class.
        attacked: (C, B, channels, H, W), images of other classes than c, most of them attacked towards c.
        settings: density and margin.
        generator: of the reparameterisation noise.
    """
    of_benign, of_attacked = _split(vaes.encode(torch.cat([benign, attacked], 1)), benign.shape[1])
    some = slice(settings.reconstructed)
    wanted = torch.cat([benign[:, some], attacked[:, some]], 1)
    z = torch.cat([of_benign.robust.sample(generator)[:, some], of_attacked.vulnerable.sample(generator)[:, some]], 1)
    errors = (wanted - vaes.decode(z)).square().flatten(2).sum(-1)
    error_robust, error_vulnerable = errors.tensor_split([benign[:, some].shape[1]], 1)
    margin = F.softplus(settings.margin - log_ratio(of_benign)) + F.softplus(settings.margin + log_ratio(of_attacked))
    return LossTerms(
        reconstruction_robust=error_robust.mean(1),
        reconstruction_vulnerable=error_vulnerable.mean(1),
        kl_robust=kl_to_standard_normal(of_benign.robust).mean(1),
        kl_vulnerable=kl_to_standard_normal(of_attacked.vulnerable).mean(1),
        penalty_robust=-log_one_minus_density(of_attacked.robust.mean, settings.density).mean(1),
        penalty_vulnerable=-log_one_minus_density(of_benign.vulnerable.mean, settings.density).mean(1),
        margin=margin.mean(1),
    )


def log_ratio(latents: Latents) -> Tensor:
    """log P_r − log P_v of the encoders' means, (C, B)."""
    return log_standard_normal(latents.robust.mean) - log_standard_normal(latents.vulnerable.mean)


def _split(latents: Latents, first: int) -> tuple[Latents, Latents]:
    """Cut the images of latents in two after `first`."""
    q_r, q_v = latents.robust, latents.vulnerable
    parts = [(slice(None), slice(None, first)), (slice(None), slice(first, None))]
    a, b = (
        Latents(type(q_r)(q_r.mean[p], q_r.log_variance[p]), type(q_v)(q_v.mean[p], q_v.log_variance[p])) for p in parts
    )
    return a, b
