"""Gradients through few classes against those through all of them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.attacks.objectives import Bypass, LogOdds, Margin, Objective, Suspicion
from twinlatent.criteria import Aim
from twinlatent.method import few_classes
from twinlatent.method.class_vaes import ClassEncoders, Latents
from twinlatent.method.few_classes import GROUP, encode
from twinlatent.method.networks import straight_through
from twinlatent.method.plans import plan

CLASSES, BATCH = 6, 11
ENCODERS = [  # notation, shape of an image
    ("3(c(4,16)) z(2,2)", (1, 12, 12)),
    ("c(3,4,2) c(4,9,1) z(2,3)", (3, 9, 9)),  # even kernels pad more after than before
    ("c(4,9,2) c(4,10,2) z(2,2)", (9, 12, 12)),  # no convolution is thin
    ("2(c(4,3)-bn-relu-mp(2)) c(3,4)-bn-relu-z(2,2)", (1, 16, 16)),
    ("ramp(3) c(3,3) z(2,2)", (2, 6, 6)),
    ("c(3,4,2) d(7) d(5) z(1,1)", (1, 6, 8)),
    ("d(7) z(1,1)", (1, 4, 4)),
]


def frozen(notation: str, shape: tuple[int, ...]) -> ClassEncoders:
    encoders = ClassEncoders(plan(notation, shape, "encoder"), CLASSES, torch.Generator().manual_seed(0))
    return encoders.requires_grad_(False).eval()


def weighted(weights: Tensor) -> Callable[[Latents], Tensor]:
    """A sum of all means and variances of each class and image (C, B), by its weight."""
    return lambda latents: sum(
        ((part.mean.square() + part.log_variance).sum(-1) * weights).sum()
        for part in (latents.robust, latents.vulnerable)
    )  # type: ignore[return-value]


def gradient(asked: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    return torch.autograd.grad(asked(x), x)[0]


@pytest.mark.parametrize(("notation", "shape"), ENCODERS)
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_gradient_is_that_through_all(notation: str, shape: tuple[int, ...], share: float) -> None:
    generator = torch.Generator().manual_seed(1)
    encoders, images = frozen(notation, shape), torch.rand(BATCH, *shape, generator=generator)
    weights = torch.randn(CLASSES, BATCH, generator=generator)
    weights *= torch.rand(CLASSES, BATCH, generator=generator) < share
    value = weighted(weights)
    with straight_through():
        wanted = gradient(lambda x: value(encoders(x)), images)
    found = gradient(lambda x: value(encode(encoders, x)), images)
    torch.testing.assert_close(found, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=1e-4)
    assert bool(found.any()) == (share > 0)


@pytest.mark.parametrize("notation", ["ramp(3) c(3,3) | d(4)-relu z(2,2)", "ramp(3) c(3,3) z(2,2)"])
def test_where_ramps_are_flat_a_detector_has_a_gradient(notation: str) -> None:
    """All pixels are 0 or 1, where no ramp rises."""
    images, weights = torch.randint(2, (BATCH, 1, 6, 6)).float(), torch.ones(CLASSES, BATCH)
    encoders, value = frozen(notation, (1, 6, 6)), weighted(weights)
    assert not gradient(lambda x: value(encoders(x)), images).any()
    found = gradient(lambda x: value(encode(encoders, x)), images)
    assert found.flatten(1).any(1).all()


@pytest.mark.parametrize(("notation", "shape"), ENCODERS)
def test_the_answers_are_the_same_bit_for_bit(notation: str, shape: tuple[int, ...]) -> None:
    encoders, images = frozen(notation, shape), torch.rand(BATCH, *shape).requires_grad_()
    for one, other in zip(vars(encoders(images)).values(), vars(encode(encoders, images)).values(), strict=True):
        assert torch.equal(one.mean, other.mean)
        assert torch.equal(one.log_variance, other.log_variance)


def test_few_pairs_go_back_and_none_where_all_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders, images = frozen(*ENCODERS[0]), torch.rand(BATCH, *ENCODERS[0][1])
    went: list[tuple[int, ...]] = []
    back = few_classes._back

    def seen(networks: object, index: int, g: Tensor, *rest: object) -> Tensor:
        went.append(tuple(g.shape)) if g.ndim == 3 else None
        return back(networks, index, g, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(few_classes, "_back", seen)
    weights = torch.zeros(CLASSES, BATCH)
    assert not gradient(lambda x: weighted(weights)(encode(encoders, x)), images).any()
    assert went == []
    weights[2, :9] = 1.0  # more than fill a group
    weights[5, 0] = 1.0
    gradient(lambda x: weighted(weights)(encode(encoders, x)), images)
    assert went[0][:2] == (3, GROUP)


def test_what_trains_and_what_is_its_own_go_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_classes._FewClasses, "apply", lambda *_: pytest.fail("it was taken"))
    shape = ENCODERS[0][1]
    images = torch.rand(BATCH, *shape)
    learning = ClassEncoders(plan(ENCODERS[0][0], shape, "encoder"), CLASSES)
    two = ClassEncoders(plan(ENCODERS[0][0], shape, "encoder"), 2).requires_grad_(False).eval()
    shared = frozen("c(4,8) d(9) | z(2,2)", shape)
    wide = frozen("c(9,8,1) c(9,8,1) z(1,1)", shape)
    for encoders in (learning, two, shared, wide):
        encode(encoders, images.clone().requires_grad_())
    encode(frozen(*ENCODERS[0]), images)
    with torch.no_grad():
        encode(frozen(*ENCODERS[0]), images.clone().requires_grad_())


def test_nan_stays_with_its_image() -> None:
    encoders, images = frozen(*ENCODERS[0]), torch.rand(BATCH, *ENCODERS[0][1])
    clean = gradient(lambda x: weighted(torch.ones(CLASSES, BATCH))(encode(encoders, x)), images)
    images[3, 0, 0, 0] = torch.nan
    found = gradient(lambda x: weighted(torch.ones(CLASSES, BATCH))(encode(encoders, x)), images)
    others = torch.arange(BATCH) != 3
    assert bool(found[3].isnan().any())
    torch.testing.assert_close(found[others], clean[others])


OBJECTIVES = (LogOdds(), Margin(0.0) + Bypass(0.0), Margin() - 0.1 * Suspicion())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["odds", "bypass", "suspicion"])
def test_of_a_detector_that_ships(
    objective: Objective, real_images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real images of a shipped detector: the same gradients, in any batch the same."""
    detector, images = tl.load("mnist-mim"), real_images(20, 28)
    aim = Aim(torch.arange(20) % 10)

    def asked(images: Tensor, aim: Aim) -> Tensor:
        return gradient(lambda x: objective(detector(x), aim).sum(), images)

    found, alone = asked(images, aim), torch.cat([asked(images[i : i + 1], aim[i : i + 1]) for i in range(20)])
    monkeypatch.setattr(few_classes, "MANY", 99)
    wanted = asked(images, aim)
    scale = wanted.flatten(1).abs().amax(1)[:, None, None, None]
    torch.testing.assert_close(found / scale, wanted / scale, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone / scale, wanted / scale, atol=1e-5, rtol=0)
