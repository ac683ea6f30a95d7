"""Condition C3, measured: judges that never saw a detector say which class an attacked image shows.

There are two, made in different ways from training images alone: one that compares pixels (nearest neighbours, or
support vectors), and a convolutional network trained against attacks. An image shows a class if both see it; one on
which they differ shows none. Some benign images are among these, so a C3 rate can be at most about `benign_agreement`.
Letters: n images, C classes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.attacks.balls import LInf
from twinlatent.attacks.iterative import ascend
from twinlatent.attacks.models import frozen
from twinlatent.attacks.steps import SignStep
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import checked_seed, seeded
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.learners import Compared, JudgeSettings
from twinlatent.evaluation.protocol import draw
from twinlatent.evaluation.results import keep, kept
from twinlatent.progress import bar
from twinlatent.provenance import Provenance, provenance
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import CPU, fresh_torch, own_random_state

CNN = "cnn"
KIND, FILE = "judge", "judge.safetensors"
CHUNK = 500
FLAT = 0.05
"""An image that is evened out keeps less than deviation 1 where its own is about this or less: a blank one stays blank.
"""


class Classifier(Protocol):
    """One of scikit-learn's, fitted."""

    def predict(self, rows: npt.NDArray[np.float32], /) -> npt.NDArray[np.int64]:
        """Rows (n, features) → labels (n,)."""


class View(nn.Module):
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
        classifier: of images as `view` shows them, flattened.
        network: images (n, 1, H, W) → logits (n, C), on the CPU.
        view: what `classifier` sees.
        compared: how it compares.
        origin: of the run that trained the network.
    """

    classifier: Classifier
    network: nn.Module
    view: View = field(default_factory=lambda: View(None, evened=False))
    compared: Compared = "knn"
    origin: Provenance = field(default_factory=provenance)

    @torch.no_grad()
    def labels(self, images: Tensor) -> dict[str, Tensor]:
        """The class each judge sees in images (n, 1, H, W) in [0, 1] on the CPU: `compared` and `cnn` → int64 (n,)."""
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        nothing = torch.empty(0, dtype=torch.int64)
        with frozen(self.network):
            cnn = [self.network(chunk).argmax(1) for chunk in chunks]
        compared = [torch.as_tensor(self.classifier.predict(_rows(self.view, chunk))) for chunk in chunks]
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
    view = View(settings.side, settings.evened)
    classifier = _classifier(draw(split.train, min(settings.remembered, len(split.train)), seed), view, settings)
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
    return Judges(classifier, network, view, settings.compared, origin)


def _rows(view: View, images: Tensor) -> npt.NDArray[np.float32]:
    """Images (n, 1, H, W) as rows of what is seen of them."""
    rows: npt.NDArray[np.float32] = view(images).flatten(1).numpy()
    return rows


def _classifier(remembered: LabelledImages, view: View, settings: JudgeSettings) -> Classifier:
    from sklearn.neighbors import KNeighborsClassifier  # takes most of a second, for whoever wants no judges too
    from sklearn.svm import SVC

    if settings.compared == "svm" and len(remembered.labels.unique()) < 2:
        raise TwinlatentError(f"the {len(remembered)} training images that a judge remembers are of one class; "
                              "let it remember more")  # fmt: skip
    neighbours = KNeighborsClassifier(min(settings.neighbours, len(remembered)), algorithm="brute")
    classifier: SVC | KNeighborsClassifier = SVC() if settings.compared == "svm" else neighbours
    fitted: Classifier = classifier.fit(_rows(view, remembered.images), remembered.labels.numpy())
    return fitted


def _network(split: Split, settings: JudgeSettings) -> nn.Module:
    """Pooling stands before each ReLU, which is the same and faster; channels-last memory is a third faster."""
    side = settings.network_side
    channels, height, width = split.image_shape if side is None else (split.image_shape[0], side, side)
    first, second = settings.filters
    network = nn.Sequential(
        View(side, evened=False),
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
