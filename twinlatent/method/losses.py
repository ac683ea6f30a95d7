"""The loss l^c of eq. 5, term by term, for all classes at once.

Letters: C classes, B images of each kind, Z latent dimensions.
"""

from dataclasses import dataclass, fields
from typing import Literal

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
    """Weights of the terms. α and β are the paper's; the density and the margin term are ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kl_weight: float = Field(1.0, ge=0)
    """α of eq. 5."""
    error_penalty_weight: float = Field(100.0, ge=0)
    """β of eq. 5."""
    density: Density = "per_dimension"
    """Density of the z-error penalty; `joint` is the literal reading."""
    error_penalty_at: Literal["mean", "sample"] = "mean"
    """Where the z-error penalty is taken: at the encoder's mean, as the scores are, or at a sample (eq. 3)."""
    margin_weight: float = Field(0.0, ge=0)
    """Weight of the margin term, which the paper does not have."""
    reconstruct_every: int = Field(1, ge=1)
    """Rounds between two that reconstruct. The decoders are most of the work of the defender's turn; with k above 1 the
    reconstruction terms count k-fold in every k-th round: the same gradient on average, though Adam takes that
    many fewer steps with the decoders."""
    margin: float = Field(4.0, ge=0)
    """Nats by which log P_r − log P_v should exceed 0 on benign images of the class, and stay under 0 on others."""
    others: Literal["each", "together"] = "each"
    """In a game of `one_batch`, how the margins of an image's C − 1 wrong classes are one term: the sum of softplus of
    each, or softplus of the log of the sum of their exponentials, which the nearest class dominates."""


@dataclass(frozen=True)
class LossTerms:
    """Terms of l^c before weighting, each (C,), a mean over samples; x_b benign of class c, x_a of others.

    Attributes:
        reconstruction_robust: ‖x_b − D(z_r(x_b))‖², summed over pixels; None where nothing was reconstructed.
        reconstruction_vulnerable: ‖x_a − D(z_v(x_a))‖².
        kl_robust: KL(z_r(x_b) ‖ N(0, I)).
        kl_vulnerable: KL(z_v(x_a) ‖ N(0, I)).
        penalty_robust: −log(1 − N(z_r(x_a) | 0, I)), at the mean of z_r or at a sample.
        penalty_vulnerable: −log(1 − N(z_v(x_b) | 0, I)), likewise.
        margin: softplus(m − ratio(x_b)) + softplus(m + ratio(x_a)), ratio = log P_r − log P_v.
    """

    reconstruction_robust: Tensor | None
    reconstruction_vulnerable: Tensor | None
    kl_robust: Tensor
    kl_vulnerable: Tensor
    penalty_robust: Tensor
    penalty_vulnerable: Tensor
    margin: Tensor

    def total(self, settings: LossSettings) -> Tensor:
        """l^c, weighted sum, (C,)."""
        latent = (
            settings.kl_weight * (self.kl_robust + self.kl_vulnerable)
            + settings.error_penalty_weight * (self.penalty_robust + self.penalty_vulnerable)
            + settings.margin_weight * self.margin
        )
        if self.reconstruction_robust is None or self.reconstruction_vulnerable is None:
            return latent
        return latent + settings.reconstruct_every * (self.reconstruction_robust + self.reconstruction_vulnerable)

    def means(self) -> dict[str, float | None]:
        """Mean of every term over classes, for the log; None for a term that was left out."""
        terms = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: None if value is None else value.mean().item() for name, value in terms.items()}


def loss_terms(
    vaes: ClassVAEs,
    benign: Tensor,
    attacked: Tensor,
    settings: LossSettings,
    generator: torch.Generator | None = None,
    *,
    reconstruct: bool = True,
) -> LossTerms:
    """Terms of eq. 5.

    Args:
        vaes: the class VAEs.
        benign: (C, B, channels, H, W), benign images of each class.
        attacked: (C, any number, channels, H, W), images of other classes than c, most of them attacked towards c, and
            vulnerable ones of c (`partway` and `surrogate` of `NegativesSettings`).
        settings: density and margin.
        generator: of the reparameterisation noise.
        reconstruct: whether to decode at all.
    """
    of_benign, of_attacked = _split(vaes.encode(torch.cat([benign, attacked], 1)), benign.shape[1])
    errors = _errors(vaes, benign, attacked, of_benign, of_attacked, generator) if reconstruct else (None, None)
    strays = (of_attacked.robust, of_benign.vulnerable)
    penalised = [q.mean if settings.error_penalty_at == "mean" else q.sample(generator) for q in strays]
    over, under = settings.margin - log_ratio(of_benign), settings.margin + log_ratio(of_attacked)
    return LossTerms(
        reconstruction_robust=errors[0],
        reconstruction_vulnerable=errors[1],
        kl_robust=kl_to_standard_normal(of_benign.robust).mean(1),
        kl_vulnerable=kl_to_standard_normal(of_attacked.vulnerable).mean(1),
        penalty_robust=-log_one_minus_density(penalised[0], settings.density).mean(1),
        penalty_vulnerable=-log_one_minus_density(penalised[1], settings.density).mean(1),
        margin=F.softplus(over).mean(1) + F.softplus(under).mean(1),
    )


def _errors(
    vaes: ClassVAEs,
    benign: Tensor,
    attacked: Tensor,
    of_benign: Latents,
    of_attacked: Latents,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Squared errors of x_b from z_r and of x_a from z_v, decoded together; each (C,)."""
    z = torch.cat([of_benign.robust.sample(generator), of_attacked.vulnerable.sample(generator)], 1)
    errors = (torch.cat([benign, attacked], 1) - vaes.decode(z)).square().flatten(2).sum(-1)
    return errors[:, : benign.shape[1]].mean(1), errors[:, benign.shape[1] :].mean(1)


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
