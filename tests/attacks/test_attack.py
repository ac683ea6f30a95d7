"""What surrounds every attack: checks, seeds, batches, the verdict."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import Attack, AttackResult, carlini_wagner, mim, multi_targeted, pgd, run, square
from twinlatent.attacks.attack import Found, seed_list, seeds_of
from twinlatent.criteria import Aim, Criterion, HitsTarget, Misclassified
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model, Outputs
from twinlatent.testing import LinearClassifier, Quantised

MODEL = LinearClassifier.random(classes=3)
IMAGES, LABELS = MODEL.samples(4)


def flat_logits(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"images": IMAGES * 255}, r"images reach from .* outside \[0, 1\]"),
        ({"images": IMAGES - 1}, r"outside \[0, 1\]; rescale or clamp"),
        ({"images": IMAGES.where(IMAGES < 0.6, torch.nan)}, "NaN or infinity"),
        ({"images": (IMAGES * 255).byte()}, "images are uint8, not floating; divide by 255"),
        ({"images": IMAGES[:, 0]}, r"images have shape \(4, 8, 8\)"),
        ({"images": IMAGES[:0]}, "give at least one image"),
        ({"images": "digits"}, "images are a str"),
        ({"labels": LABELS[:3]}, "4 images but 3 labels"),
        ({"labels": LABELS[:, None]}, r"labels have shape \(4, 1\)"),
        ({"labels": LABELS.float()}, "labels are float32, not whole numbers"),
        ({"labels": LABELS - 1}, "labels go down to -1"),
        ({"labels": LABELS + 1}, "labels go up to 3, but the model has 3 classes, 0 to 2"),
        ({"targets": LABELS + 5}, "targets go up to 7, but the model has 3 classes"),
        ({"targets": LABELS[:2]}, "4 images but 2 targets"),
        ({"targets": LABELS.double()}, "targets are float64, not whole numbers"),
        ({"batch_size": 0}, "batch_size is 0; give a whole number of at least 1"),
        ({"batch_size": 2.0}, "batch_size is 2.0; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number from 0 to 2⁶³ − 1"),
        ({"seed": 2**63}, "seed is 9223372036854775808; give a whole number"),
        ({"seed": 1.5}, "seed is 1.5; give a whole number"),
        ({"seed": "0"}, "seed is 0; give a whole number"),
        ({"targets": (LABELS + torch.tensor([1, 0, 1, 1])) % 3}, "target 1 is 1, the true label; give a wrong class"),
        ({"model": flat_logits}, r"the model answers 1 image with logits of shape \(1,\); \(1, C\) with C ≥ 2"),
        ({"model": lambda x: MODEL(x)[0]}, r"logits of shape \(3,\)"),
        ({"model": lambda x: flat_logits(x)[:, None]}, r"logits of shape \(1, 1\)"),
        ({"model": lambda x: (MODEL(x), x)}, "the model answers with a tuple; wrap it in a function"),
        ({"model": lambda x: None}, "the model answers with a NoneType; wrap it"),
        ({"model": lambda x: Outputs(MODEL(x), flat_logits(x))}, r"\(1, 3\) and suspicion \(1,\); give a column"),
        ({"model": lambda x: Outputs(MODEL(x), MODEL(x), MODEL(x)[:, :2])}, r"logits \(1, 3\) and robust \(1, 2\)"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).half()}, r"computes in torch\.float16, too coarse"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).bfloat16()}, r"torch\.bfloat16.*with \.float\(\)"),
        ({"criterion": lambda outputs, aim: outputs.logits.sum(1)}, "the criterion answers 1 image with torch.float32"),
        ({"criterion": lambda outputs, aim: outputs.logits > 0}, r"a bool tensor of shape \(1,\) is expected"),
        ({"criterion": lambda outputs, aim: True}, "the criterion answers 1 image with bool"),
        ({"criterion": lambda outputs, aim: outputs.logits.expand(3, 1, 3)}, "the criterion answers 1 image with"),
        ({"model": lambda x: MODEL(x).detach()}, "the model's answers have no gradient with respect to the images"),
    ],
)  # fmt: skip
def test_bad_input_is_named_in_a_line(change, complaint: str) -> None:
    given = {"model": MODEL, "images": IMAGES, "labels": LABELS} | change
    with pytest.raises(TwinlatentError, match=complaint) as caught:
        pgd(**given, epsilon=0.1, steps=2)
    assert "\n" not in str(caught.value)


def test_models_without_a_gradient_can_be_attacked_without_one() -> None:
    assert square(lambda x: MODEL(x).detach(), IMAGES, LABELS, epsilon=0.3, queries=50).success.all()


def test_arrays_of_numpy_and_other_types_are_taken() -> None:
    expected = mim(MODEL, IMAGES, LABELS, epsilon=0.1, steps=3).images
    assert torch.equal(mim(MODEL, IMAGES.numpy(), LABELS.numpy(), epsilon=0.1, steps=3).images, expected)
    assert torch.equal(mim(MODEL, IMAGES.double().numpy(), LABELS.int(), epsilon=0.1, steps=3).images, expected)


def test_models_in_double_precision_are_attacked_in_it() -> None:
    model = LinearClassifier(MODEL.weight.detach().double(), MODEL.bias.detach().double())
    for attack in (pgd, square, carlini_wagner):
        sizes = {} if attack is carlini_wagner else {"epsilon": 0.1}
        found = attack(model, IMAGES.double(), LABELS, **sizes)
        assert found.images.dtype == torch.float64
        assert found.success.all()


def seen_by(model, images: Tensor) -> set[torch.dtype]:
    """The precision of all images that a function around `model` is given."""
    seen = set()

    def spy(x: Tensor) -> Tensor:
        seen.add(x.dtype)
        return model(x.float())

    assert mim(spy, images, LABELS, epsilon=0.1, steps=2).images.dtype == torch.float32
    return seen


def test_functions_are_given_single_precision_whatever_the_images_are() -> None:
    assert seen_by(MODEL, IMAGES) == seen_by(MODEL, IMAGES.double()) == seen_by(MODEL, IMAGES.half()) == {torch.float32}


def test_the_precision_of_a_module_is_that_of_its_parameters_not_of_its_buffers() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = LinearClassifier(MODEL.weight.detach().clone(), MODEL.bias.detach().clone())
            self.register_buffer("scale", torch.ones((), dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.scale.to(x)

    assert mim(Scaled(), IMAGES.double(), LABELS, epsilon=0.1, steps=2).images.dtype == torch.float32
    assert mim(Scaled().double(), IMAGES, LABELS, epsilon=0.1, steps=2).images.dtype == torch.float64


def test_logits_that_are_no_numbers_are_no_success() -> None:
    """Unseeing above a mean, where `argmax` would take the logits for class 0."""

    def breaking(x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean, torch.where(mean > 0.55, torch.nan, mean)], 1)

    grey, ones = torch.full((2, 1, 2, 2), 0.5), torch.ones(2, dtype=torch.int64)
    found = run(Liar(0.1), breaking, grey, ones)
    assert breaking(found.images).isnan().any(1).all()
    assert not found.success.any()
    assert not run(Liar(0.1), breaking, grey, 1 - ones, targets=ones).success.any()
    assert not square(breaking, grey, ones, epsilon=0.3, queries=20).success.any()


@dataclass(frozen=True)
class Liar(Attack):
    """Says of everything that it was a success, and leaves the box."""

    offset: float

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        found = Found.nothing(images + self.offset)
        return Found(**{**vars(found), "success": ~found.success, "gamma_stuck": ~found.gamma_stuck})


def test_an_attacks_own_word_is_not_trusted() -> None:
    result = run(Liar(7.0), MODEL, IMAGES, LABELS)
    assert (result.images == 1).all()
    assert torch.equal(result.labels, MODEL(torch.ones_like(IMAGES)).argmax(1))
    assert torch.equal(result.success, result.labels != LABELS)
    torch.testing.assert_close(result.linf, (1 - IMAGES).amax((1, 2, 3)))
    torch.testing.assert_close(result.l2, (1 - IMAGES).flatten(1).norm(dim=1))
    assert not run(Liar(0.0), MODEL, IMAGES, LABELS).success.any()


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_progress_is_told_after_each_batch(size: int) -> None:
    told: list[int] = []
    pgd(MODEL, IMAGES, LABELS, epsilon=0.1, steps=2, batch_size=size, progress=told.append)
    assert told == [*range(size, 4, size), 4]


def test_the_default_criterion_goes_with_the_targets() -> None:
    @dataclass(frozen=True)
    class Spy(Attack):
        seen: list

        def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
            self.seen.append((criterion, aim))
            return Found.nothing(images)

    seen: list = []
    run(Spy(seen), MODEL, IMAGES, LABELS)
    run(Spy(seen), MODEL, IMAGES, LABELS, targets=(LABELS + 1) % 3)
    run(Spy(seen), MODEL, IMAGES, LABELS, targets=(LABELS + 1) % 3, criterion=Misclassified())
    assert [criterion for criterion, _ in seen] == [Misclassified(), HitsTarget(), Misclassified()]
    assert [aim.targets is None for _, aim in seen] == [True, False, False]
    assert all(aim.gamma is None for _, aim in seen)


def test_an_attack_that_tries_every_target_takes_none() -> None:
    with pytest.raises(TwinlatentError, match="targets are given, but this attack tries every wrong class"):
        multi_targeted(MODEL, IMAGES, LABELS, epsilon=0.4, steps=2, targets=(LABELS + 1) % 3)
    assert multi_targeted(MODEL, IMAGES, LABELS, epsilon=0.4, step_size=0.05, steps=20).success.all()


def test_seeds_come_from_the_image_and_the_seed() -> None:
    seeds = seeds_of(IMAGES, 0)
    assert seeds.dtype == torch.int64
    assert (seeds >= 0).all()
    assert len(seeds.unique()) == 4
    order = torch.tensor([2, 0])
    assert torch.equal(seeds_of(IMAGES[order], 0), seeds[order])
    assert not (seeds_of(IMAGES, 1) == seeds).any()
    bright = IMAGES.clone()
    bright[0, 0, 0, 0] += 1e-6
    assert (seeds_of(bright, 0) == seeds).tolist() == [False, True, True, True]
    assert torch.equal(seeds_of(IMAGES.transpose(2, 3).contiguous().transpose(2, 3), 0), seeds)  # not from the layout


def test_seeds_of_an_aim_as_a_list() -> None:
    aim = Aim(LABELS, seeds=torch.tensor([3, 1, 2**62, 0]))
    assert seed_list(aim) == [3, 1, 2**62, 0]
    assert all(type(seed) is int for seed in seed_list(aim))
    assert seed_list(replace(aim, seeds=None)) == [0] * 4


@pytest.mark.parametrize("seed", [0, 2**40, 2**63 - 1])
def test_any_whole_number_of_63_bits_is_a_seed(seed: int) -> None:
    assert pgd(MODEL, IMAGES, LABELS, epsilon=0.1, steps=2, seed=seed).images.isfinite().all()


def test_random_states_of_other_devices_are_left_alone(monkeypatch) -> None:
    """`torch.manual_seed` seeds every accelerator too, and images on the CPU have no business there."""
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    pgd(MODEL, IMAGES, LABELS, epsilon=0.1, steps=2)
    assert seeded == []


def test_the_random_state_is_put_back_after_an_error() -> None:
    def fail(x: Tensor) -> Tensor:
        torch.rand(3)
        raise RuntimeError

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError):
        pgd(fail, IMAGES, LABELS, epsilon=0.1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()


def test_gradients_of_zero_and_no_number_are_counted() -> None:
    dead = mim(Quantised(MODEL, 4), IMAGES, LABELS, epsilon=0.1, steps=7)
    assert (dead.steps.tolist(), dead.dead_steps.tolist()) == ([7] * 4, [7] * 4)

    def half(x: Tensor) -> Tensor:
        """No gradient for the images of label 0, infinite ones for those of label 1."""
        logits, label = MODEL(x), MODEL(x).argmax(1, keepdim=True)
        return torch.where(label == 0, logits.detach(), logits)

    mixed = mim(half, IMAGES, LABELS, epsilon=0.001, step_size=0.001, steps=7)
    assert mixed.dead_steps.tolist() == [7, 0, 0, 7]


def test_infinite_gradients_that_make_no_step_are_dead_too() -> None:
    def steep(x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean * 0 + 9, (mean - mean.detach()).sqrt()], 1)

    result = mim(steep, torch.full((2, 1, 2, 2), 0.5), torch.zeros(2, dtype=torch.int64), epsilon=0.1, steps=3)
    assert torch.equal(result.images, torch.full((2, 1, 2, 2), 0.5))
    assert result.dead_steps.tolist() == [3, 3]


def test_results_of_batches_are_joined_in_order() -> None:
    parts = [pgd(MODEL, IMAGES[i : i + 2], LABELS[i : i + 2], epsilon=0.1, steps=3) for i in (0, 2)]
    joined = AttackResult.joined(parts)
    whole = pgd(MODEL, IMAGES, LABELS, epsilon=0.1, steps=3)
    torch.testing.assert_close(joined.images, whole.images)
    assert torch.equal(joined.success, whole.success)


def rude(x: Tensor) -> Outputs:
    """Blackens what it was given, where that is no variable."""
    answer = MODEL(x.clone())
    if not x.requires_grad:
        x.zero_()
    return Outputs(answer, torch.zeros_like(answer))


@pytest.mark.parametrize("attack", [pgd, square])
def test_a_model_that_changes_its_input_changes_neither_ours_nor_the_outcome(attack) -> None:
    images = IMAGES.clone()
    found, expected = (attack(model, images, LABELS, epsilon=0.1) for model in (rude, MODEL))
    assert torch.equal(images, IMAGES)
    assert torch.equal(found.images, expected.images)
    array = IMAGES.numpy().copy()
    assert torch.equal(attack(rude, array, LABELS.numpy(), epsilon=0.1).images, expected.images)
    assert torch.equal(torch.from_numpy(array), IMAGES)


def test_a_model_that_normalises_in_place_is_attacked_as_it_is_or_refused() -> None:
    """CW-L2 hands it an image that may be changed, being no leaf of the graph."""

    def normalising(x: Tensor) -> Tensor:
        return MODEL(x.sub_(0.5).mul_(2.0))

    def same(x: Tensor) -> Tensor:
        return MODEL((x - 0.5) * 2)

    read = same(IMAGES).argmax(1)
    expected = carlini_wagner(same, IMAGES, read, steps=30)
    assert expected.success.all()
    try:
        found = carlini_wagner(normalising, IMAGES.clone(), read, steps=30)
    except (TwinlatentError, RuntimeError):
        return
    torch.testing.assert_close(found.images, expected.images)


def test_a_flipped_view_is_attacked_in_double_precision() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    flipped = IMAGES.numpy()[..., ::-1]
    found, meant = (pgd(model, images, LABELS, epsilon=0.1, steps=1) for images in (flipped, IMAGES.flip(-1)))
    assert found.images.dtype == torch.float64
    assert torch.equal(found.images, meant.images)
