"""A round of the game with one batch for all classes.

Each image is benign for its own class and attacked towards all others, by a search, by a bound, or by both; so a round
costs about the same for any number of classes whose encoders share their layers. Its loss is, for an image x of class y
and s_c = log P_r^c − log P_v^c,

    κ (softplus(m − s_y(x)) + others(m + s_c(x))) + (1 − κ) (b others(m + u_c(x)) + (1 − b) others(m + s_c(x_a)))

with `others` over all c ≠ y as `LossSettings.others` has it, u_c a bound of s_c over the ball, x_a an attacked image, b
the bound's share, and κ falling from 1 as the radius grows (Gowal et al. 2018). To it come, where they have a weight,
the KL terms and the reconstruction of eq. 5, of z_r^y and of z_v^c for one c drawn at random.

Letters: C classes, B images.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.method.adversaries.bound import bounded_in_box, bounded_ratio
from twinlatent.method.adversaries.search import attack_batch
from twinlatent.method.class_vaes import Latents
from twinlatent.method.densities import kl_to_standard_normal
from twinlatent.method.game_state import GameSettings, GameState, grown
from twinlatent.method.losses import LossSettings, log_ratio
from twinlatent.method.training import TOTAL, share_of_rate


@dataclass(frozen=True)
class Terms:
    """Terms of the loss before weighting, each a mean over the batch; None for one that has no weight.

    Attributes:
        benign: margins on benign images.
        bound: margins on bounds.
        search: margins on attacked images.
        kl: both divergences of eq. 5.
        reconstruction: both squared errors of eq. 5.
        bounded: share of images that no class but their own can take, within the bound's radius.
        resisted: share of attacked images that no class but their own takes.
    """

    benign: Tensor
    bound: Tensor | None
    search: Tensor | None
    kl: Tensor | None
    reconstruction: Tensor | None
    bounded: float | None
    resisted: float | None

    def total(self, settings: GameSettings, benign: float) -> Tensor:
        """Weighted sum, `benign` being κ of this round."""
        share = settings.bound.share
        parts = [(benign, self.benign), ((1 - benign) * share, self.bound), ((1 - benign) * (1 - share), self.search),
                 (settings.loss.kl_weight, self.kl), (1.0, self.reconstruction)]  # fmt: skip
        return torch.stack([weight * term for weight, term in parts if term is not None]).sum()

    @property
    def record(self) -> dict[str, float | None]:
        """For the log."""
        terms = {name: getattr(self, name) for name in ("benign", "bound", "search", "kl", "reconstruction")}
        losses = {f"loss_{name}": None if value is None else value.item() for name, value in terms.items()}
        return losses | {"bounded": self.bounded, "resisted": self.resisted}


@dataclass(frozen=True)
class Batch:
    """One batch, and for each class whether an image is another's."""

    images: Tensor
    labels: Tensor
    classes: int

    @cached_property
    def wrong(self) -> Tensor:
        """bool (C, B)."""
        return ~F.one_hot(self.labels, self.classes).bool().T

    def own(self, values: Tensor) -> Tensor:
        """Of (C, B) those of each image's class, (B,)."""
        return values.gather(0, self.labels[None])[0]


def one_batch_turn(state: GameState, batch: Batch, settings: GameSettings) -> dict[str, Any]:
    """One step of the optimiser; the record of the round without its number and accuracy.

    Args:
        state: changed in place.
        batch: of the round.
        settings: of the game.
    """
    share = grown(state.round, settings.rounds, settings.ramp, settings.warm)
    kappa = 1 - (1 - settings.benign) * share
    terms = terms_of(state, batch, settings, share)
    loss = terms.total(settings, kappa)
    for group in state.optimiser.param_groups:
        group["lr"] = settings.learning_rate * share_of_rate(state.round, settings.rounds, settings.schedule)
    state.optimiser.zero_grad()
    loss.backward()
    if settings.clip:
        nn.utils.clip_grad_norm_(state.vaes.parameters(), settings.clip)
    state.optimiser.step()
    epsilon = share * (settings.bound.epsilon if settings.bound.share else settings.adversary.epsilon)
    return {"epsilon": epsilon, TOTAL: loss.item(), **terms.record}


def terms_of(state: GameState, batch: Batch, settings: GameSettings, radii: float) -> Terms:
    """The terms of a round, `radii` being the share of the full ones."""
    loss, encoders, share = settings.loss, state.vaes.encoders, settings.bound.share
    searched = bool(radii) and share < 1
    attacked = attack_batch(encoders, batch.images, batch.labels, radii * settings.adversary.epsilon,
                            settings.adversary, state.generator) if searched else None  # fmt: skip
    upper = _upper(state, batch, settings, radii) if radii and share else None
    latents = state.vaes.encode(batch.images)
    ratio = log_ratio(latents)
    of_attacked = None if attacked is None else log_ratio(state.vaes.encode(attacked))
    benign = F.softplus(loss.margin - batch.own(ratio)) + others(loss.margin + ratio, batch.wrong, loss)
    kl, errors = _of_vaes(state, batch, latents, settings) if loss.kl_weight or settings.decoder else (None, None)
    return Terms(
        benign=benign.mean(),
        bound=None if upper is None else others(loss.margin + upper, batch.wrong, loss).mean(),
        search=None if of_attacked is None else others(loss.margin + of_attacked, batch.wrong, loss).mean(),
        kl=kl,
        reconstruction=errors,
        bounded=_resisted(upper, batch),
        resisted=_resisted(of_attacked, batch),
    )


def _upper(state: GameState, batch: Batch, settings: GameSettings, radii: float) -> Tensor:
    """Upper bounds of the log-ratio, (C, B), over the ball or over a box about attacked images in it."""
    encoders, epsilon, bound = state.vaes.encoders, radii * settings.bound.epsilon, settings.bound
    if bound.box == 1:
        return bounded_ratio(encoders, batch.images, epsilon, bound.norm, bound.linear)
    near = (1 - bound.box) * epsilon
    attacked = attack_batch(encoders, batch.images, batch.labels, near, settings.adversary, state.generator)
    return bounded_in_box(encoders, batch.images, attacked, epsilon, bound)


def others(values: Tensor, wrong: Tensor, settings: LossSettings) -> Tensor:
    """Softplus of (C, B) over each image's wrong classes, as one term: (B,)."""
    if settings.others == "together":
        return F.softplus(values.where(wrong, -torch.inf).logsumexp(0))
    return (F.softplus(values) * wrong).sum(0)


def _resisted(ratio: Tensor | None, batch: Batch) -> float | None:
    """Share of images whose wrong classes all have a log-ratio below 0."""
    if ratio is None:
        return None
    return (~((ratio > 0) & batch.wrong).any(0)).float().mean().item()


def _of_vaes(state: GameState, batch: Batch, latents: Latents, settings: GameSettings) -> tuple[Tensor, Tensor | None]:
    """The KL terms and, with a decoder, the squared errors of eq. 5, means over the batch."""
    robust, vulnerable = latents.robust, latents.vulnerable
    shift = torch.randint(1, batch.classes, batch.labels.shape, generator=state.generator).to(batch.labels.device)
    other, rows = (batch.labels + shift) % batch.classes, torch.arange(len(batch.labels), device=batch.labels.device)
    kl = kl_to_standard_normal(robust)[batch.labels, rows] + kl_to_standard_normal(vulnerable)[other, rows]
    if not settings.decoder:
        return kl.mean(), None
    errors = torch.zeros_like(kl)
    for q, label in ((robust, batch.labels), (vulnerable, other)):
        decoded = state.vaes.decode_as(q.sample(state.generator)[label, rows], label)
        errors = errors + (batch.images - decoded).square().flatten(1).sum(1)
    return kl.mean(), errors.mean()


def keep_average(state: GameState, share: float) -> None:
    """Move the running mean of the weights, which keeps less in its first rounds, when it knows little."""
    if not state.average:
        return
    kept = min(share, (1 + state.round) / (10 + state.round))
    for name, value in state.vaes.named_parameters():
        state.average[name].lerp_(value.detach(), 1 - kept)
