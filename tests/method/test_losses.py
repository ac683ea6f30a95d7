"""Equation 5 against a literal loop over classes, on separate networks and real images."""

import math

import pytest
import torch
from torch import Tensor

from twinlatent.method.class_vaes import ClassVAEs
from twinlatent.method.losses import LossSettings, LossTerms, log_ratio, loss_terms
from twinlatent.method.plans import plan

CLASSES, BATCH, SIZE = 3, 4, 5
TERMS = (
    *("reconstruction_robust", "reconstruction_vulnerable", "kl_robust", "kl_vulnerable"),
    *("penalty_robust", "penalty_vulnerable", "margin"),
)


@pytest.fixture(scope="module")
def vaes() -> ClassVAEs:
    encoder = plan(f"c(3,4) c(3,4) z({SIZE},{SIZE})", (1, 8, 8), "encoder")
    decoder = plan("d(6) d(16) ct(3,4) d(64)", (SIZE,), "decoder")
    made = ClassVAEs(encoder, decoder, CLASSES, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for name, value in made.encoders.networks.named_parameters():
            value.mul_(2 if name.endswith("weight") else 4)  # so that latents are not all close to 0
    return made


@pytest.fixture(scope="module")
def batches(real_images) -> tuple[Tensor, Tensor]:
    """Benign and attacked images, each (C, B, 1, 8, 8)."""
    images = real_images(2 * CLASSES * BATCH).unflatten(0, (2, CLASSES, BATCH))
    return images[0], images[1].flip(-1)


def log_normal(z: Tensor) -> Tensor:
    return sum(-0.5 * z[i] ** 2 - 0.5 * math.log(2 * math.pi) for i in range(len(z)))


def literal_terms(
    vaes: ClassVAEs, benign: Tensor, attacked: Tensor, density: str, margin: float, noises: tuple[Tensor, Tensor]
) -> dict[str, list[list[float]]]:
    """Every term for every class and image, one image at a time."""
    terms: dict[str, list[list[float]]] = {name: [[] for _ in range(CLASSES)] for name in TERMS}
    for c in range(CLASSES):
        encoder, decoder = vaes.encoders.networks.single(c), vaes.decoders.single(c)
        for i in range(BATCH):
            for kind, images, noise in (("b", benign, noises[0]), ("a", attacked, noises[1])):
                x = images[c, i]
                mean_r, mean_v, log_var_r, log_var_v = encoder(x[None])[0].split(SIZE)
                own, other = ((mean_r, log_var_r), mean_v) if kind == "b" else ((mean_v, log_var_v), mean_r)
                z = own[0] + noise[c, i] * (0.5 * own[1]).exp()
                error = ((x.flatten() - decoder(z[None])[0]) ** 2).sum()
                kl = -0.5 * (1 + own[1] - own[0] ** 2 - own[1].exp()).sum()
                if density == "joint":
                    penalty = -torch.log(1 - log_normal(other).exp())
                else:
                    penalty = -sum(torch.log(1 - log_normal(value[None]).exp()) for value in other)
                ratio = log_normal(mean_r) - log_normal(mean_v)
                own_name, other_name = ("robust", "vulnerable") if kind == "b" else ("vulnerable", "robust")
                terms[f"reconstruction_{own_name}"][c].append(error.item())
                terms[f"kl_{own_name}"][c].append(kl.item())
                terms[f"penalty_{other_name}"][c].append(penalty.item())
                gap = margin - ratio if kind == "b" else margin + ratio
                terms["margin"][c].append(math.log1p(math.exp(gap.item())))
    return terms


def noises_of(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    robust, vulnerable = (torch.randn(CLASSES, BATCH, SIZE, generator=generator) for _ in range(2))
    return robust, vulnerable


@pytest.mark.parametrize("density", ["per_dimension", "joint"])
@pytest.mark.parametrize("margin", [4.0, 0.5])
def test_every_term_is_that_of_equation_5(vaes, batches, density: str, margin: float) -> None:
    settings = LossSettings(density=density, margin=margin)
    terms = loss_terms(vaes, *batches, settings, torch.Generator().manual_seed(7))
    literal = literal_terms(vaes, *batches, density, margin, noises_of(7))
    for name in TERMS:
        expected = torch.tensor(literal[name]).sum(1) / BATCH
        if name == "margin":  # of both kinds of images
            expected = torch.tensor(literal[name]).unflatten(1, (BATCH, 2)).sum((1, 2)) / BATCH
        value = getattr(terms, name)
        assert value.shape == (CLASSES,)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_the_total_is_the_weighted_sum() -> None:
    values = {name: torch.tensor([2.0**i, 3.0**i]) for i, name in enumerate(TERMS)}
    settings = LossSettings(kl_weight=0.5, error_penalty_weight=7, margin_weight=11)
    a, b = LossTerms(**values).total(settings).tolist()
    assert a == 1 + 2 + 0.5 * (4 + 8) + 7 * (16 + 32) + 11 * 64
    assert b == 1 + 3 + 0.5 * (9 + 27) + 7 * (81 + 243) + 11 * 729
    assert LossTerms(**values).means() == {name: (2.0**i + 3.0**i) / 2 for i, name in enumerate(TERMS)}


def test_the_weights_of_the_paper() -> None:
    paper = LossSettings()
    assert (paper.kl_weight, paper.error_penalty_weight) == (1, 100)


def test_reconstruction_can_be_left_out(vaes, batches, monkeypatch) -> None:
    everything = loss_terms(vaes, *batches, LossSettings(), torch.Generator().manual_seed(7))
    monkeypatch.setattr(vaes, "decode", None)
    some = loss_terms(vaes, *batches, LossSettings(), torch.Generator().manual_seed(7), reconstruct=False)
    for name in TERMS:
        if name.startswith("reconstruction"):
            assert getattr(some, name) is None
            assert some.means()[name] is None
        else:
            torch.testing.assert_close(getattr(some, name), getattr(everything, name))
    rest = some.total(LossSettings())
    both = everything.reconstruction_robust + everything.reconstruction_vulnerable
    torch.testing.assert_close(rest + both, everything.total(LossSettings()))
    torch.testing.assert_close(rest + 5 * both, everything.total(LossSettings(reconstruct_every=5)))


def test_a_class_does_not_feel_the_images_of_another(vaes, batches) -> None:
    benign, attacked = (images.clone().requires_grad_() for images in batches)
    total = loss_terms(vaes, benign, attacked, LossSettings(margin_weight=1), torch.Generator()).total(LossSettings())
    for gradient in torch.autograd.grad(total[1], [benign, attacked]):
        felt = gradient.abs().sum((2, 3, 4)) > 0
        assert felt.tolist() == [[False] * BATCH, [True] * BATCH, [False] * BATCH]


def test_descending_each_term_does_what_it_is_for(vaes, batches) -> None:
    """Along −∇ the penalties drive the means out of the wrong prior, the margin parts benign from attacked."""
    encoder = ClassVAEs(vaes.encoders.plan, vaes.decoders.plan, CLASSES, torch.Generator().manual_seed(5))
    optimiser = torch.optim.Adam(encoder.parameters(), 0.01)

    def measures() -> dict[str, float]:
        of_benign, of_attacked = encoder.encode(batches[0]), encoder.encode(batches[1])
        return {
            "penalty_robust": of_attacked.robust.mean.square().mean().item(),
            "penalty_vulnerable": of_benign.vulnerable.mean.square().mean().item(),
            "margin": (log_ratio(of_benign).mean() - log_ratio(of_attacked).mean()).item(),
        }

    before = measures()
    for _ in range(5):
        terms = loss_terms(encoder, *batches, LossSettings(), torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        sum(getattr(terms, name).sum() for name in before).backward()
        optimiser.step()
    after = measures()
    assert all(after[name] > before[name] for name in before)


def test_settings_refuse_what_they_do_not_know() -> None:
    for wrong in ({"kl_weight": -1}, {"beta": 100}, {"density": "both"}, {"reconstruct_every": 0}):
        with pytest.raises(ValueError, match="validation error"):
            LossSettings(**wrong)


def test_the_penalty_can_be_taken_at_samples(generator) -> None:
    """At a mean of 0 with next to no variance a sample is the mean; with a large variance it strays and costs less."""
    vaes = ClassVAEs(plan("d(4) z(3,3)", (1, 4, 4), "encoder"), plan("d(4) d(16)", (3,), "decoder"), 2, generator)
    images = torch.zeros(2, 2000, 1, 4, 4)
    with torch.no_grad():
        for name, parameter in vaes.encoders.named_parameters():
            parameter.zero_()
            if name.endswith("bias") and parameter.shape[-1] == 12:
                parameter[:, 6:] = 4.0  # log-variances: standard deviation e²
    at = {
        where: loss_terms(vaes, images, images, LossSettings(error_penalty_at=where), generator).penalty_robust
        for where in ("mean", "sample")
    }
    deviation, z = math.exp(2), torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    weight = torch.exp(-0.5 * (z / deviation) ** 2)
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    expected = 3 * (weight * -torch.log1p(-density)).sum() / weight.sum()
    torch.testing.assert_close(at["sample"], expected.float().expand(2), rtol=0.1, atol=0)
    torch.testing.assert_close(at["mean"], torch.full((2,), -3 * math.log(1 - 1 / math.sqrt(2 * math.pi))))
