"""What judges see in attacked images, and what that is worth."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import seeded
from twinlatent.evaluation.judges.training import Judges
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.protocol import draw
from twinlatent.evaluation.results import JudgeCase, JudgedAttack

AGREEMENT = "agreement"
BENIGN_IMAGES = 1000
"""How many test images the judges' own accuracy is taken over, at most."""
NOISE, FAINT, OTHER_SHARE = 0.1, 0.7, 0.85


def shows_true(judges: Judges, images: Tensor, labels: Tensor) -> Tensor:
    """Condition C3: bool (n,), whether all judges see the true class of images (n, 1, H, W), `labels` (n,)."""
    return _seen(judges, images) == labels.cpu()


def benign_agreement(judges: Judges, split: Split, seed: int) -> Rate:
    """Share of up to 1,000 test images, drawn by seed, that meet C3 as they are: what C3 can reach when attacked."""
    benign = _benign(split, seed)
    met = shows_true(judges, benign.images, benign.labels)
    return rate(int(met.sum()), len(met))


def judge(
    judges: Judges,
    attack: str,
    epsilon: float | None,
    goal: str,
    images: Tensor,
    labels: Tensor,
    predicted: Tensor,
) -> JudgedAttack:
    """Count what the judges see in the images with which an attack won; the counts add up to n.

    Args:
        judges: as `train_judges` makes them.
        attack: its name.
        epsilon: its L∞ radius; None where it has none.
        goal: what counted as winning.
        images: (n, 1, H, W) in [0, 1]; n may be 0.
        labels: int64 (n,), true classes. An image whose predicted class is the true one counts as showing the true.
        predicted: int64 (n,), what the detector took them for.
    """
    seen, labels = _seen(judges, images), labels.cpu()
    true, differ = seen == labels, seen < 0
    as_predicted = (seen == predicted.cpu()) & ~true
    neither = ~(true | as_predicted | differ)
    counts = {"shows_true": true, "shows_predicted": as_predicted, "neither": neither, "disagree": differ}
    return JudgedAttack(attack=attack, epsilon=epsilon, goal=goal, **{k: int(v.sum()) for k, v in counts.items()})


def _seen(judges: Judges, images: Tensor) -> Tensor:
    """The class (n,) that all judges see, −1 where they differ."""
    return _agreed(judges.labels(images.cpu()))


def _agreed(seen: Mapping[str, Tensor]) -> Tensor:
    first, *others = seen.values()
    same = torch.stack([first == other for other in others]).all(0)
    return torch.where(same, first, -1)


# --- what judges are worth ----------------------------------------------------------------------------------------


def own_accuracy(judges: Judges, split: Split, seed: int) -> tuple[JudgeCase, ...]:
    """How often each judge, and their agreement, is right on up to 1,000 test images and on changed ones.

    The changes are made without any model and leave no doubt about the class (but a pixel is much of an 8×8 image):

        benign              as they are
        noise ±0.1          each pixel 0.1 up or down at random
        shifted one pixel   up, down, left or right at random; black comes in
        fainter             0.7 × image
        replaced            0.15 × image + 0.85 × a calibration image of another class, which is what a judge must see
    """
    cases = []
    for name, data in _cases(split, seed):
        seen = judges.labels(data.images)
        for who, labels in {**seen, AGREEMENT: _agreed(seen)}.items():
            found = rate(int((labels == data.labels).sum()), len(data))
            cases.append(JudgeCase(judge=who, cases=name, value=found.value, n=found.n, low=found.low, high=found.high))
    return tuple(cases)


def _benign(split: Split, seed: int) -> LabelledImages:
    return draw(split.test, min(BENIGN_IMAGES, len(split.test)), seed)


def _cases(split: Split, seed: int) -> Iterator[tuple[str, LabelledImages]]:
    generator = seeded(seed)
    benign = _benign(split, seed)
    images, labels = benign.images, benign.labels
    signs = 2.0 * torch.randint(2, images.shape, generator=generator) - 1
    yield "benign", benign
    yield f"noise ±{NOISE:g}", LabelledImages((images + NOISE * signs).clamp(0, 1), labels)
    yield "shifted one pixel", LabelledImages(_shifted(images, generator), labels)
    yield "fainter", LabelledImages(FAINT * images, labels)
    others = _others(split.calibration, labels, generator)
    yield "replaced", LabelledImages((1 - OTHER_SHARE) * images + OTHER_SHARE * others.images, others.labels)


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image by one pixel up, down, left or right."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (1, 1, 1, 1))
    corners = ((0, 1), (2, 1), (1, 0), (1, 2))
    shifted = torch.stack([padded[..., top : top + height, left : left + width] for top, left in corners])
    return shifted[torch.randint(len(corners), (len(images),), generator=generator), torch.arange(len(images))]


def _others(data: LabelledImages, labels: Tensor, generator: torch.Generator) -> LabelledImages:
    """For each of `labels` (n,) an image of another class, drawn from `data`."""
    picked = torch.empty_like(labels)
    for label in labels.unique():
        mine, pool = labels == label, (data.labels != label).nonzero()[:, 0]
        picked[mine] = pool[torch.randint(len(pool), (int(mine.sum()),), generator=generator)]
    return data.subset(picked)
