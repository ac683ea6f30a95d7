"""F_v, trained from scratch on vulnerable features alone, and its controls, which must learn nothing.

Letters: n benign images, m vulnerable images, B images of a batch, C classes.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.attacks.models import frozen
from twinlatent.data import LabelledImages
from twinlatent.data.split import seeded
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.training import STATE_FILE, TOTAL, Keeping, TrainingState, share_of_rate, train_rounds
from twinlatent.motivation.accumulation import VulnerableImages, placed
from twinlatent.motivation.attacking import lower_precision
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.torch_state import CPU, own_random_state

Sample = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Rows (B,) of X_v and a generator → images float (B, 1, H, W) in [0, 1] and labels int64 (B,)."""
CHUNK = 500
LEARNER = "vulnerable"
CHECKPOINT_EVERY = 500


def lessons(
    vulnerable: VulnerableImages, benign: LabelledImages, classes: int, epsilon: float | None, seed: int
) -> dict[str, Sample]:
    """What F_v and its controls learn from, by name; each has a row for each of X_v.

    - `vulnerable`: (X_v, Y_v) itself.
    - `relabelled`: the benign images that X_v was made from, each with a label at random, the same whenever it comes,
      and all equally often in each class. Otherwise one label would win in a class by chance, and be learnt for it.
    - `noise`: the same with random ±ε on every pixel; where the attack has no ε (CW-L2), as much as it changed that
      image's pixels, in root mean square.
    - `unattacked`: those benign images with the labels Y_v. These are all wrong, so accuracy is below chance.

    The noise is drawn anew whenever an image is shown.

    Args:
        vulnerable: (X_v, Y_v).
        benign: (X_b, Y_b), what `vulnerable.sources` counts in.
        classes: C.
        epsilon: the attack's L∞ radius; None where it has none.
        seed: of the random labels.
    """
    drawn = _even_labels(benign.labels, classes, seeded(seed))[vulnerable.sources]

    def own(rows: Tensor) -> Tensor:
        return vulnerable.images[rows] / 255

    def before(rows: Tensor) -> Tensor:
        return benign.images[vulnerable.sources[rows]]

    def noisy(rows: Tensor, generator: torch.Generator) -> Tensor:
        images = before(rows)
        change = (own(rows) - images).square().mean((1, 2, 3), keepdim=True).sqrt() if epsilon is None else epsilon
        signs = 2.0 * torch.randint(2, images.shape, generator=generator) - 1
        return (images + change * signs).clamp(0, 1)

    return {
        LEARNER: lambda rows, _: (own(rows), vulnerable.labels[rows]),
        "relabelled": lambda rows, _: (before(rows), drawn[rows]),
        "noise": lambda rows, generator: (noisy(rows, generator), drawn[rows]),
        "unattacked": lambda rows, _: (before(rows), vulnerable.labels[rows]),
    }


def _even_labels(true: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Random labels (n,) for images of the classes `true` (n,), in each class as often as any other but for one."""
    drawn = torch.empty_like(true)
    for label in true.unique().tolist():
        rows = (true == label).nonzero()[:, 0]
        first = torch.randint(classes, (), generator=generator)  # whose turn it is where they do not come out even
        drawn[rows] = (torch.randperm(len(rows), generator=generator) + first) % classes
    return drawn


def learn(
    sample: Sample,
    count: int,
    settings: MotivationSettings,
    image_shape: tuple[int, ...],
    *,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    device: torch.device = CPU,
    title: str = "",
    progress: bool = True,
) -> tuple[PlainNetwork, float]:
    """Train F_v from scratch: Adam on cross-entropy, the learning rate rising and falling, for a fixed number of steps.

    No image is held out and nothing is chosen by accuracy, so that test images stay unseen.

    Args:
        sample: what is learnt.
        count: rows to draw from.
        settings: network, steps, learning rate and seed.
        image_shape: (channels, H, W).
        folder: keeps the state; the same call resumes from there.
        identity: JSON-able; what must be the same when it is resumed.
        device: where to compute.
        title: of the bar.
        progress: whether to show it.

    Returns:
        the network, and the seconds it took over all resumptions.

    Raises:
        TwinlatentError: the folder holds other work.
        KeyboardInterrupt: after Ctrl-C.
    """
    with own_random_state(CPU, settings.seed):
        network = placed(build_classifier(settings.classifier, image_shape), device)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    state = TrainingState(network, optimiser, seeded(settings.seed))

    def turn() -> dict[str, Any]:
        rows = torch.randint(count, (settings.learning_batch,), generator=state.generator)
        images, labels = (part.to(device) for part in sample(rows, state.generator))
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * share_of_rate(state.round, settings.classifier_steps, "cosine")
        optimiser.zero_grad()
        with lower_precision(settings.precision, images):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimiser.step()
        return {"round": state.round + 1, TOTAL: loss.item()}

    resume = folder is not None and (folder / STATE_FILE).exists()
    keeping = Keeping(folder, identity or {}, resume, CHECKPOINT_EVERY, progress)
    train_rounds(state, turn, settings.classifier_steps, keeping, title=title)
    return network.eval(), state.seconds


@torch.no_grad()
def labels_of(network: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """What a network takes images (n, 1, H, W) for, floats in [0, 1] or bytes in 255ths: int64 (n,), on the CPU."""
    with frozen(network):
        found = [network(chunk.to(device)).argmax(1).cpu() for chunk in _floats(images)]
    return torch.cat([torch.empty(0, dtype=torch.int64), *found])


def _floats(images: Tensor) -> Iterator[Tensor]:
    """Chunks of images as floats in [0, 1]."""
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        yield chunk if chunk.is_floating_point() else chunk / 255
