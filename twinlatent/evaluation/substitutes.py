"""The attacker's own classifiers in the black box: plain networks, trained on the training images.

What an attack on one network does to a detector depends on the network, so several are attacked, none of which knows
the detector. All are in the paper's notation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.models import frozen
from twinlatent.attacks.suite_runs import SuiteResult, run_suite
from twinlatent.criteria import Misclassified
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import checked_seed
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.kept import keep, kept
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.presets import SMALL_SIDE, is_large, plain_classifier
from twinlatent.progress import bar
from twinlatent.provenance import Provenance, provenance
from twinlatent.torch_state import CPU, fresh_torch, own_random_state

SubstituteName = Literal["f_p", "cnn5", "cleverhans"]
"""`f_p`: the plain classifier of the paper's Table 5. `cnn5`: two 5×5 convolutions, each pooled. `cleverhans`: the
basic CNN of the library CleverHans (Papernot et al. 2016): 8×8, 6×6 and 5×5 convolutions with strides, no pooling."""
SUBSTITUTES: tuple[SubstituteName, ...] = get_args(SubstituteName)
BATCH = 250
KIND = "substitute"
SUBSTITUTE_STEPS, SUBSTITUTE_BATCH, SUBSTITUTE_RATE = 2000, 64, 2e-3
SMALL_STEPS = 600
"""For images up to `SMALL_SIDE`, which are pooled once instead of twice."""


@dataclass(frozen=True)
class Substitute:
    """A classifier of the attacker's own.

    Attributes:
        name: what records call it.
        network: images (n, channels, H, W) → logits (n, C), on the CPU.
        origin: of the run that trained it.
    """

    name: str
    network: PlainNetwork
    origin: Provenance

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """What it takes images (n, channels, H, W) for, int64 (n,)."""
        with frozen(self.network):
            return torch.cat([self.network(batch).argmax(1) for batch in images.split(BATCH)])


def notation(split: Split, name: str = "f_p") -> str:
    """The layers of a substitute, in the paper's notation.

    Raises:
        TwinlatentError: an unknown name.
    """
    shape, classes = split.image_shape, split.classes
    match name:
        case "f_p":
            return plain_classifier(shape, classes, split.name)
        case "cnn5":
            return f"2(c(5,16) mp(2)) d(128) sm({classes})"
        case "cleverhans" if shape[-1] <= SMALL_SIDE:  # too small for convolutions that pad nothing
            return f"c(8,16,2) c(6,32,2) c(5,32) sm({classes})"
        case "cleverhans":
            n = 32 if is_large(shape) else 64
            return f"c(8,{n},2) cv(6,{2 * n},2) cv(5,{2 * n}) sm({classes})"
    raise TwinlatentError(f"substitute {name!r} is unknown; choose from {', '.join(SUBSTITUTES)}")


def substitute_network(split: Split, name: str = "f_p") -> PlainNetwork:
    """The untrained network, see `notation`."""
    return build_classifier(notation(split, name), split.image_shape)


@fresh_torch()
def train_substitute(
    split: Split, name: str = "f_p", *, seed: int = 0, folder: Path | None = None, progress: bool = True
) -> Substitute:
    """Train a plain classifier on the training images, with Adam on cross-entropy.

    Same seed, split and machine: same weights.

    Args:
        split: its `train` is learnt.
        name: one of `SUBSTITUTES`.
        seed: of weights and batches.
        folder: keeps the network, so that the same call need not train again; None keeps nothing.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: an unknown name; or the folder holds a network of other images, seed, settings or code.
    """
    seed, layers, origin = checked_seed(seed), notation(split, name), provenance()
    if folder is None:
        return Substitute(name, _trained(split, name, seed, progress), origin)
    identity = {"data": split.fingerprint, "seed": seed, "network": layers, "steps": _steps(split),
                "batch": SUBSTITUTE_BATCH, "learning rate": SUBSTITUTE_RATE}  # fmt: skip
    path = folder / f"substitute-{name}.safetensors"
    found = kept(path, KIND, identity)
    if found is None:
        network = _trained(split, name, seed, progress)
        keep(path, KIND, network.state_dict(), identity, origin)
        return Substitute(name, network, origin)
    with own_random_state(CPU, seed):
        network = substitute_network(split, name)
    network.load_state_dict(found[0])
    return Substitute(name, network.eval(), found[1])


def _steps(split: Split) -> int:
    return SMALL_STEPS if split.image_shape[-1] <= SMALL_SIDE else SUBSTITUTE_STEPS


def _trained(split: Split, name: str, seed: int, progress: bool) -> PlainNetwork:
    with own_random_state(CPU, seed):
        network = substitute_network(split, name)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), SUBSTITUTE_RATE)
    steps = _steps(split)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, SUBSTITUTE_RATE, total_steps=steps)
    with bar(f"substitute {name}", steps, show=progress) as shown:
        for _ in range(steps):
            picked = split.train.subset(torch.randint(len(split.train), (SUBSTITUTE_BATCH,), generator=generator))
            optimiser.zero_grad()
            F.cross_entropy(network(picked.images), picked.labels).backward()
            optimiser.step()
            schedule.step()
            shown.advance()
    return network.eval()


def attack_substitute(
    network: PlainNetwork,
    data: LabelledImages,
    budgets: Sequence[Budget],
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> SuiteResult:
    """Attack every image of `data`, untargeted.

    What is done is kept in `folder` after every batch; another call with the same arguments resumes from there.
    """
    return run_suite({budget.attack: budget.build() for budget in budgets}, network, data.images, data.labels,
                     criterion=Misclassified(), norm="linf", epsilon=1.0, seed=seed, batch_size=BATCH, folder=folder,
                     progress=progress)  # fmt: skip
