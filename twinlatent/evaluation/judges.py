"""Condition C3, measured: judges that never saw a detector say which class an attacked image shows.

There are two, made in different ways from training images alone: one that compares pixels (nearest neighbours, or
support vectors), and a convolutional network trained against attacks. An image shows a class if both see it; one on
which they differ shows none. Some benign images are among these, so a C3 rate can be at most about `benign_agreement`.
Letters: n images, C classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.attacks.balls import LInf
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.models import frozen
from twinlatent.attacks.steps import SignStep
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import checked_seed, seeded
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.kept import keep, kept
from twinlatent.evaluation.learners import Compared, JudgeSettings
from twinlatent.evaluation.measured import draw
from twinlatent.evaluation.metrics import Rate, rate
from twinlatent.evaluation.reports import JudgeCase, JudgedAttack
from twinlatent.progress import bar
from twinlatent.provenance import Provenance, provenance
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import CPU, fresh_torch, own_random_state

CNN, AGREEMENT = "cnn", "agreement"
KIND, FILE = "judge", "judge.safetensors"
CHUNK = 500
BENIGN_IMAGES = 1000
"""How many test images the judges' own accuracy is taken over, at most."""
NOISE, FAINT, OTHER_SHARE = 0.1, 0.7, 0.85
FLAT = 0.05
"""An image that is evened out keeps less than deviation 1 where its own is about this or less: a blank one stays blank.
"""


class Classifier(Protocol):
    """One of scikit-learn's, fitted."""

    def predict(self, rows: npt.NDArray[np.float32], /) -> npt.NDArray[np.int64]:
        """Rows (n, features) → labels (n,)."""


class Seen(nn.Module):
    """What a judge sees of images (n, 1, H, W): side × side means where a side is given, evened out where asked."""

    def __init__(self, side: int | None, evened: bool) -> None:
        super().__init__()
        self.side, self.evened = side, evened

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, H, W) → (n, 1, side, side) or (n, 1, H, W)."""
        seen = images if self.side is None else F.adaptive_avg_pool2d(images, self.side)
        if not self.evened:
            return seen
        variance, mean = torch.var_mean(seen, (1, 2, 3), correction=0, keepdim=True)
        return (seen - mean) / (variance + FLAT**2).sqrt()


@dataclass(frozen=True)
class Judges:
    """Two classifiers that never saw a detector.

    Attributes:
        classifier: of images as `seen` shows them, flattened.
        network: images (n, 1, H, W) → logits (n, C), on the CPU.
        seen: what `classifier` sees.
        compared: how it compares.
        origin: of the run that trained the network.
    """

    classifier: Classifier
    network: nn.Module
    seen: Seen = field(default_factory=lambda: Seen(None, evened=False))
    compared: Compared = "knn"
    origin: Provenance = field(default_factory=provenance)

    @torch.no_grad()
    def labels(self, images: Tensor) -> dict[str, Tensor]:
        """The class each judge sees in images (n, 1, H, W) in [0, 1] on the CPU: `compared` and `cnn` → int64 (n,)."""
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        nothing = torch.empty(0, dtype=torch.int64)
        with frozen(self.network):
            cnn = [self.network(chunk).argmax(1) for chunk in chunks]
        compared = [torch.as_tensor(self.classifier.predict(_rows(self.seen, chunk))) for chunk in chunks]
        return {self.compared: torch.cat([nothing, *compared]), CNN: torch.cat([nothing, *cnn])}


# --- making judges ------------------------------------------------------------------------------------------------


@fresh_torch()
def train_judges(
    split: Split,
    *,
    seed: int,
    folder: Path | None = None,
    settings: JudgeSettings | None = None,
    progress: bool = True,
) -> Judges:
    """Make judges from training images.

    Args:
        split: its `train` is all that judges see.
        seed: of the remembered images, weights, batches and attacks. Same seed, images, settings and machine: same
            judges.
        folder: keeps the trained network, so that the same call need not train again; None keeps nothing.
        settings: of both judges; None: those of the recipe for these images.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: the folder holds a network of other images, seed, settings or code, or a damaged one.
    """
    seed, settings = checked_seed(seed), settings or recipe_of(split).judges
    seen = Seen(settings.side, settings.evened)
    classifier = _classifier(draw(split.train, min(settings.remembered, len(split.train)), seed), seen, settings)
    identity = {"data": split.fingerprint, "seed": seed, "settings": settings.model_dump()}
    path, origin = folder and folder / FILE, provenance()
    found = kept(path, KIND, identity) if path is not None else None
    if found is None:
        network = _trained(split, settings, seed, progress)
        if path is not None:
            keep(path, KIND, network.state_dict(), identity, origin)
    else:
        with own_random_state(CPU, 0):
            network = _network(split, settings).eval()
        network.load_state_dict(found[0])
        origin = found[1]
    return Judges(classifier, network, seen, settings.compared, origin)


def _rows(seen: Seen, images: Tensor) -> npt.NDArray[np.float32]:
    """Images (n, 1, H, W) as rows of what is seen of them."""
    rows: npt.NDArray[np.float32] = seen(images).flatten(1).numpy()
    return rows


def _classifier(remembered: LabelledImages, seen: Seen, settings: JudgeSettings) -> Classifier:
    if settings.compared == "svm" and len(remembered.labels.unique()) < 2:
        raise TwinlatentError(f"the {len(remembered)} training images that a judge remembers are of one class; "
                              "let it remember more")  # fmt: skip
    neighbours = KNeighborsClassifier(min(settings.neighbours, len(remembered)), algorithm="brute")
    classifier: SVC | KNeighborsClassifier = SVC() if settings.compared == "svm" else neighbours
    fitted: Classifier = classifier.fit(_rows(seen, remembered.images), remembered.labels.numpy())
    return fitted


def _network(split: Split, settings: JudgeSettings) -> nn.Module:
    """Pooling stands before each ReLU, which is the same and faster; channels-last memory is a third faster."""
    side = settings.network_side
    channels, height, width = split.image_shape if side is None else (split.image_shape[0], side, side)
    first, second = settings.filters
    network = nn.Sequential(
        Seen(side, evened=False),
        nn.Conv2d(channels, first, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(first, second, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * (height // 4) * (width // 4), settings.hidden),
        nn.ReLU(),
        nn.Linear(settings.hidden, split.classes),
    )
    faster: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return faster


def _trained(split: Split, settings: JudgeSettings, seed: int, progress: bool) -> nn.Module:
    """Adam on cross-entropy of attacked training images, as A. Madry et al. 2018, with a growing radius."""
    generator, epsilon = seeded(seed), settings.epsilon
    with own_random_state(CPU, seed):
        network = _network(split, settings)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.steps)
    with bar("judge", settings.steps, show=progress) as shown:
        for step in range(settings.steps):
            picked = split.train.subset(torch.randint(len(split.train), (settings.batch,), generator=generator))
            share = min(1.0, (step + 1) / (settings.ramp * settings.steps))
            attacked = _attacked(network, picked, share * epsilon, settings, generator)
            optimiser.zero_grad()
            F.cross_entropy(network(attacked), picked.labels).backward()
            optimiser.step()
            schedule.step()
            shown.advance()
    return network.eval()


def _attacked(
    network: nn.Module, data: LabelledImages, epsilon: float, settings: JudgeSettings, generator: torch.Generator
) -> Tensor:
    """A short PGD from a random start."""
    step = SignStep(settings.stride * epsilon / settings.attack_steps)
    with frozen(network):
        return ascend(lambda x: F.cross_entropy(network(x), data.labels, reduction="none"), data.images, LInf(epsilon),
                      step, settings.attack_steps, random_start=True, generator=generator)  # fmt: skip


# --- what judges see ----------------------------------------------------------------------------------------------


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
