"""Stand-ins for gradients that are missing or random."""

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import bpda, expectation, mim
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs
from twinlatent.testing import GaussianDetector, LinearClassifier, Noisy, Quantised


def test_bpda_goes_forward_as_the_transform_and_backward_as_the_stand_in(real_images) -> None:
    images = real_images(4).clone().requires_grad_()
    model = LinearClassifier.random(classes=3)
    rounded, doubled = Quantised(model, 8).rounded, nn.Upsample(scale_factor=1)
    for stand_in, slope in [(None, 1.0), (lambda x: 3 * x, 3.0), (doubled, 1.0)]:
        outputs = bpda(model, rounded, stand_in)(images)
        torch.testing.assert_close(outputs.logits, model(rounded(images)))
        (found,) = torch.autograd.grad(outputs.logits[:, 1].sum(), images)
        expected = slope * model.weight[1].reshape(1, 1, 8, 8).expand(4, -1, -1, -1)
        torch.testing.assert_close(found, expected)


def test_bpda_shows_the_model_exactly_what_the_transform_makes(generator) -> None:
    images, seen = torch.rand(20, 1, 8, 8, generator=generator), []

    def spy(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)

    rounded = Quantised(spy, 8).rounded
    for stand_in in (None, lambda x: 50 + x):
        bpda(spy, rounded, stand_in)(images)
        assert torch.equal(seen[-1], rounded(images))


def test_bpda_asks_the_transform_for_no_gradient() -> None:
    def transform(x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert not x.requires_grad
        return x.round()

    x = torch.rand(2, 1, 8, 8, requires_grad=True)
    assert bpda(LinearClassifier.random(), transform)(x).logits.requires_grad


def test_a_stand_in_of_another_shape_is_refused() -> None:
    with pytest.raises(TwinlatentError, match=r"makes \(2, 1, 4, 4\) of \(2, 1, 8, 8\), its stand-in \(2, 1, 8, 8\)"):
        bpda(LinearClassifier.random(), lambda x: x[..., ::2, ::2])(torch.rand(2, 1, 8, 8))


def test_the_expectation_is_the_mean_of_answers_and_of_gradients() -> None:
    model, draws = GaussianDetector.random(), []

    def spy(x: Tensor) -> Outputs:
        draws.append(model(x + 0.1 * len(draws)))
        return draws[-1]

    x = torch.rand(3, 1, 8, 8, requires_grad=True)
    mean = expectation(spy, 4)(x)
    assert len(draws) == 4
    for name in ("logits", "suspicion", "robust", "latents"):
        torch.testing.assert_close(getattr(mean, name), sum(getattr(draw, name) for draw in draws) / 4)
    (slope,) = torch.autograd.grad(mean.logits.sum(), x, retain_graph=True)
    slopes = [torch.autograd.grad(draw.logits.sum(), x, retain_graph=True)[0] for draw in draws]
    torch.testing.assert_close(slope, sum(slopes) / 4)


def test_the_expectation_of_logits_has_no_robust_part() -> None:
    outputs = expectation(LinearClassifier.random(), 2)(torch.rand(3, 1, 8, 8))
    assert outputs.robust is None
    assert outputs.latents is None


def test_a_random_model_draws_from_the_seed_of_the_run(batch) -> None:
    noisy = expectation(Noisy(LinearClassifier.random(classes=10), 0.3), 3)
    before = torch.get_rng_state()
    one, same, other = (mim(noisy, *batch, epsilon=0.1, steps=5, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("wrap", [lambda m: bpda(m, torch.round), expectation])
def test_modules_inside_are_left_as_found(wrap, batch) -> None:
    inner = nn.Sequential(nn.Dropout(0.5), LinearClassifier.random(classes=10)).train()
    asked = []
    inner[0].register_forward_hook(lambda module, *_: asked.append(module.training))
    mim(wrap(inner), *batch, epsilon=0.1, steps=2)
    assert not any(asked)
    assert inner.training
    assert inner[0].training
    assert all(p.requires_grad and p.grad is None for p in inner.parameters())


def test_no_draws_are_refused() -> None:
    with pytest.raises(TwinlatentError, match="draws is 0; give a whole number of at least 1"):
        expectation(LinearClassifier.random(), 0)
