"""Algorithm 2's loop: what is kept, what D learns from it, and that it can be interrupted."""

import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twinlatent.attacks import run
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import auc
from twinlatent.method.networks import PlainNetwork
from twinlatent.motivation import attacking
from twinlatent.motivation.accumulation import VulnerableImages, accumulate, new_discriminator
from twinlatent.motivation.attacking import Watched
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.outputs import Outputs


def gathered(
    target: PlainNetwork, benign: LabelledImages, settings: MotivationSettings, folder: Path | None = None
) -> tuple[VulnerableImages, PlainNetwork]:
    discriminator = new_discriminator(settings, (1, 8, 8))
    found = accumulate(target, discriminator, benign, settings, iterations=settings.iterations, folder=folder,
                       identity={"settings": settings.model_dump()}, progress=False)  # fmt: skip
    return found, discriminator


def same(one: VulnerableImages, other: VulnerableImages) -> bool:
    return one.added == other.added and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("images", "labels", "sources")
    )


@pytest.mark.parametrize("targets", ["any", "random"])
@pytest.mark.parametrize(
    "attack", [pytest.param("fgsm", marks=pytest.mark.slow), "pgd", "mim", pytest.param("cw", marks=pytest.mark.slow)]
)
def test_what_is_kept_fools_and_bears_the_label_it_is_mistaken_for(
    attack: str, targets: str, target, benign, smoke, answers
) -> None:
    found, _ = gathered(target, benign, smoke(attack, targets=targets, steps=20))
    assert 0 < len(found) <= 2 * len(benign)
    assert torch.equal(answers(found.images), found.labels)
    assert (found.labels != benign.labels[found.sources]).all()
    assert sum(found.added) == len(found)
    if attack != "cw":
        change = (found.images / 255 - benign.images[found.sources]).abs().amax()
        assert change <= 0.3 + 0.5 / 255 + 1e-6


def test_an_image_that_is_read_rightly_is_left_out(target, benign, smoke, answers) -> None:
    """One iteration by hand: the plain attack, since D is still ½ everywhere."""
    settings = smoke(
        "pgd", iterations=1, untaught="neutral", targets="any", precision="float32", discriminator_weight=0, steps=2
    )
    found, _ = gathered(target, benign, settings)
    alone = run(settings.attack(), target, benign.images, benign.labels, seed=settings.seed)
    rounded = alone.images.mul(255).round().byte()
    fooled = (answers(rounded) != benign.labels).nonzero()[:, 0]
    assert 0 < len(fooled) < len(benign)
    assert torch.equal(found.sources, fooled)
    assert torch.equal(found.images, rounded[fooled])
    assert found.added == (len(fooled),)


def test_random_targets_are_wrong_alike_and_drawn_anew(target, benign, smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    aimed: list[Tensor] = []

    def noted(*args: object, **kwargs: Tensor) -> object:
        aimed.append(kwargs["targets"])
        return run(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(attacking, "run", noted)
    many = LabelledImages(benign.images.repeat(20, 1, 1, 1), benign.labels.repeat(20))
    gathered(target, many, smoke("fgsm", targets="random", batch=1400))
    first, second = aimed
    shifts = ((first - many.labels) % 10).bincount(minlength=10)
    assert shifts[0] == 0
    mean, deviation = 1400 / 9, (1400 / 9 * 8 / 9) ** 0.5  # of how often one of nine labels is drawn
    assert ((shifts[1:] - mean).abs() < 5 * deviation).all()
    assert abs((first == second).sum() - mean) < 5 * deviation


def test_d_learns_to_tell_and_is_left_alone_where_it_is_not_taught(target, benign, digits: Split, smoke) -> None:
    settings = smoke("fgsm", discriminator_steps=60, learning_rate=0.01)
    found, discriminator = gathered(target, benign, settings)
    watched = Watched(target, discriminator)
    benign_output, attacked_output = (
        watched(images).suspicion[:, 0].detach().numpy() for images in (digits.test.images, found.images / 255)
    )
    assert auc(benign_output, attacked_output) > 0.9
    before = [parameter.clone() for parameter in discriminator.parameters()]
    accumulate(
        target, discriminator, digits.test.subset(slice(40)), settings, iterations=1, teach=False, progress=False
    )
    assert all(torch.equal(a, b) for a, b in zip(before, discriminator.parameters(), strict=True))


def test_the_attack_lowers_what_d_says(target, benign, smoke) -> None:
    settings = smoke("pgd", discriminator_steps=60, learning_rate=0.01, steps=30)
    _, discriminator = gathered(target, benign, settings)
    watched = Watched(target, discriminator)
    said = [
        watched(run(smoke("pgd", discriminator_weight=weight, steps=30).attack(), watched, benign.images,
                    benign.labels).images).suspicion[:, 0].mean().item()
        for weight in (0.0, 10.0)
    ]  # fmt: skip
    assert said[1] < said[0] - 0.1


def test_a_neutral_d_gives_one_half_and_no_gradient(benign, smoke) -> None:
    images = benign.images.clone().requires_grad_()
    for untaught, flat in (("neutral", True), ("random", False)):
        network = new_discriminator(smoke(untaught=untaught), (1, 8, 8))
        output = torch.sigmoid(network(images))
        (gradient,) = torch.autograd.grad(output.sum(), images)
        assert bool((output == 0.5).all()) is flat
        assert bool((gradient == 0).all()) is flat


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_d_stands_beside_every_class(precision, target, benign, smoke) -> None:
    watched = Watched(target, new_discriminator(smoke(untaught="random"), (1, 8, 8)), precision)
    outputs: Outputs = watched(benign.images)
    assert outputs.logits.dtype == outputs.suspicion.dtype == torch.float32
    exact = target(benign.images)
    assert torch.equal(outputs.logits, exact) is (precision == "float32")
    assert (outputs.logits - exact).abs().max() < 0.05 * exact.abs().max()
    assert (outputs.suspicion == outputs.suspicion[:, :1]).all()
    assert ((outputs.suspicion > 0) & (outputs.suspicion < 1)).all()


@pytest.mark.parametrize("attack", ["pgd", pytest.param("cw", marks=pytest.mark.slow)])
def test_interrupted_it_goes_on_to_the_same_images(
    attack: str, target, benign, smoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes in the fourth of six batches, after D was taught once."""
    settings, batches = smoke(attack, targets="random"), 0
    whole, taught = gathered(target, benign, settings)

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal batches
        batches += 1
        if batches == 4:
            signal.raise_signal(signal.SIGINT)
        return run(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(attacking, "run", counted)
        with pytest.raises(KeyboardInterrupt, match="stopped after round 4 of 6"):
            gathered(target, benign, settings, tmp_path)
    again, resumed = gathered(target, benign, settings, tmp_path)
    assert same(whole, again)
    assert all(torch.equal(a, b) for a, b in zip(taught.parameters(), resumed.parameters(), strict=True))
    with pytest.raises(TwinlatentError, match="other settings"):
        gathered(target, benign, smoke(attack, targets="any"), tmp_path)


def test_same_seed_same_images_and_another_seed_others(target, benign, smoke) -> None:
    one, two, other = (gathered(target, benign, smoke("pgd", seed=seed))[0] for seed in (0, 0, 1))
    assert same(one, two)
    assert not same(one, other)
