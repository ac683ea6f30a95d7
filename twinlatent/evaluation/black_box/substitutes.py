"""The attacker's own classifiers in the black box: plain networks, trained on the training images.

What an attack on one network does to a detector depends on the network, so several are attacked, none of which knows
the detector. All are in the paper's notation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.models import frozen
from twinlatent.attacks.suite_runs import SuiteResult, run_suite
from twinlatent.criteria import Misclassified
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import checked_seed
from twinlatent.evaluation.learners import SubstituteName, SubstituteSettings
from twinlatent.evaluation.results import keep, kept
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.progress import bar
from twinlatent.provenance import Provenance, provenance
from twinlatent.recipes import recipe_of
from twinlatent.running.portions import ALL, Portion
from twinlatent.torch_state import CPU, fresh_torch, own_random_state

SUBSTITUTES: tuple[SubstituteName, ...] = get_args(SubstituteName)
BATCH = 250
KIND = "substitute"


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


def substitute_network(split: Split, settings: SubstituteSettings) -> PlainNetwork:
    """The untrained network."""
    return build_classifier(settings.layers, split.image_shape)


@fresh_torch()
def train_substitute(
    split: Split,
    name: str = "f_p",
    *,
    seed: int = 0,
    settings: SubstituteSettings | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> Substitute:
    """Train a plain classifier on the training images, with Adam on cross-entropy.

    Same seed, split and machine: same weights.

    Args:
        split: its `train` is learnt.
        name: one of `SUBSTITUTES`.
        seed: of weights and batches.
        settings: of the network and its training; None: those of the recipe for these images.
        folder: keeps the network, so that the same call need not train again; None keeps nothing.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: an unknown name; or the folder holds a network of other images, seed, settings or code.
    """
    seed, origin = checked_seed(seed), provenance()
    settings = settings or recipe_of(split).substitute_settings(name)
    if folder is None:
        return Substitute(name, _trained(split, name, settings, seed, progress), origin)
    identity = {"data": split.fingerprint, "seed": seed, "network": settings.layers, "steps": settings.steps,
                "batch": settings.batch, "learning rate": settings.learning_rate}  # fmt: skip
    path = folder / f"substitute-{name}.safetensors"
    found = kept(path, KIND, identity)
    if found is None:
        network = _trained(split, name, settings, seed, progress)
        keep(path, KIND, network.state_dict(), identity, origin)
        return Substitute(name, network, origin)
    with own_random_state(CPU, seed):
        network = substitute_network(split, settings)
    network.load_state_dict(found[0])
    return Substitute(name, network.eval(), found[1])


def _trained(split: Split, name: str, settings: SubstituteSettings, seed: int, progress: bool) -> PlainNetwork:
    with own_random_state(CPU, seed):
        network = substitute_network(split, settings)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.steps)
    with bar(f"substitute {name}", settings.steps, show=progress) as shown:
        for _ in range(settings.steps):
            picked = split.train.subset(torch.randint(len(split.train), (settings.batch,), generator=generator))
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
    portion: Portion = ALL,
    progress: bool = True,
) -> SuiteResult:
    """Attack every image of `data`, untargeted, or those of the batches of a portion.

    What is done is kept in `folder` after every batch; another call with the same arguments resumes from there.
    """
    return run_suite({budget.attack: budget.build() for budget in budgets}, network, data.images, data.labels,
                     criterion=Misclassified(), norm="linf", epsilon=1.0, seed=seed, batch_size=BATCH, folder=folder,
                     portion=portion, progress=progress)  # fmt: skip
