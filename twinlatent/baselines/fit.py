"""From a split to a calibrated baseline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent import attacks
from twinlatent.arguments import file_path
from twinlatent.attacks.models import frozen
from twinlatent.attacks.suite_runs import run_suite
from twinlatent.baselines.baseline import Baseline, build_baseline, new_network
from twinlatent.baselines.methods import ATTACKS
from twinlatent.baselines.networks import NEAREST, BinaryDetector, ClassDetectors, Confidence, ReverseCrossEntropy
from twinlatent.baselines.settings import BaselineSettings, check_settings
from twinlatent.criteria import Misclassified
from twinlatent.data import LabelledImages, Split
from twinlatent.data.augmentation import augmented
from twinlatent.data.split import checked_seed, seeded
from twinlatent.errors import TwinlatentError
from twinlatent.files import write_json
from twinlatent.method.batches import BatchSampler
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.game_state import grown
from twinlatent.method.radii import ascend_within
from twinlatent.method.training import (
    SETTINGS_FILE,
    STATE_FILE,
    TOTAL,
    Keeping,
    TrainingState,
    share_of_rate,
    train_rounds,
    training_card,
    training_folder,
)
from twinlatent.provenance import provenance
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import CPU, Device, check_device, fresh_torch, own_random_state

CLASSIFIER, ATTACKED, BINARY = "classifier", "attacked", "binary"
"""Folders of the parts of Gong et al.'s binary detector."""
WATCH_EVERY = 20
"""Rounds between two measurements of the accuracy on the batch."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Images and labels to one number an image."""


@dataclass(frozen=True)
class _Work:
    """What every training needs."""

    split: Split
    settings: BaselineSettings
    seed: int
    keeping: Keeping
    device: torch.device

    def within(self, folder: str) -> "_Work":
        """Kept in a folder below; a part that was never begun is begun where a whole is resumed."""
        below = self.keeping.folder and self.keeping.folder / folder
        begun = below is not None and (below / STATE_FILE).exists()
        return replace(self, keeping=replace(self.keeping, folder=below, resume=self.keeping.resume and begun))


@fresh_torch()
def fit_baseline(
    method: str,
    split: Split,
    *,
    attack: str | None = None,
    preset: str | None = None,
    recipe: str | Path | None = None,
    settings: BaselineSettings | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: Device = "cpu",
    progress: bool = True,
    begin: Callable[[], None] = lambda: None,
) -> Baseline:
    """Train a baseline on the training part of a split and calibrate it on the calibration part.

    Args:
        method: `plain`; `gong` (Gong et al. 2017), `rce` (Pang et al. 2018), `adversarial-training` (Madry et al. 2018,
            rejecting by confidence) or `gat` (Yin et al. 2020, a binary detector a class).
        split: the data set.
        attack: the training attack; None: the method's default.
        preset: `smoke` or `standard` (the default): the purpose of the recipe for these images, which gives the
            settings.
        recipe: name of a recipe or its file, instead of that one.
        settings: instead of attack, preset and recipe.
        seed: of weights, batches and noise.
        folder: keeps the training state, the log and the detector file; None keeps nothing.
        resume: resume from the state in `folder`.
        overwrite: train anew where `folder` holds a training.
        device: such as "cpu" or "cuda", or a `torch.device`.
        progress: whether to show bars.
        begin: called before the first round, when all is checked.

    Raises:
        TwinlatentError: unknown method, attack, preset or device, a folder that holds a training, or one that diverges.
    """
    seed = checked_seed(seed)
    chosen = recipe_of(split, preset, recipe)
    if settings is None or method not in ATTACKS:  # which complains
        settings = chosen.baseline_settings(method, attack)
    check_settings(method, settings)
    fewest = int(split.train.labels.bincount(minlength=split.classes).min())
    if method == "rce" and fewest <= NEAREST:
        raise TwinlatentError(f"{fewest} training images of a class; rce needs at least {NEAREST + 1} of each")
    place = check_device(device)
    origin = provenance()
    folder = file_path("folder", folder) if folder is not None else None
    identity = {"method": method, "settings": settings.model_dump(), "seed": seed, "data": split.fingerprint}
    keeping = Keeping(folder, identity, resume, settings.checkpoint_every, progress, cache(begin))
    with own_random_state(CPU, seed):
        module = new_network(method, settings.network, split.image_shape, split.classes).to(place)
    with training_folder(folder, resume=resume, overwrite=overwrite, parts=(CLASSIFIER, ATTACKED, BINARY)):
        seconds = _TRAININGS[method](module, _Work(split, settings, seed, keeping, place))
        card = training_card(split, settings, seed, settings.rounds, seconds, origin, place,
                             {"name": chosen.name, **chosen.for_baseline(method, settings)})  # fmt: skip
        made = build_baseline(method, module.cpu(), split.train, split.calibration, split.class_names, card)
        if folder is not None:
            made.save(folder / DETECTOR_FILE)
            write_json(folder / SETTINGS_FILE, made.card)
    return made


# --- one training a method ------------------------------------------------------------------------------------------


def _plain(module: Confidence, work: _Work) -> float:
    return _train_classifier(module.classifier, work, _cross_entropy(module.classifier))


def _adversarial(module: Confidence, work: _Work) -> float:
    """Madry et al.: only attacked images are learnt."""
    network, loss = module.classifier, _cross_entropy(module.classifier)

    def attacked(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
        with frozen(network):
            return _raise(lambda x: loss(x, labels), images, share, work.settings, generator)

    return _train_classifier(network, work, loss, attacked)


def _gong(module: BinaryDetector, work: _Work) -> float:
    """First the classifier, then images attacked once, then the network that tells them."""
    earlier = work.within(CLASSIFIER)
    seconds = _train_classifier(module.classifier, earlier, _cross_entropy(module.classifier))
    benign = work.split.train
    order = torch.randperm(len(benign), generator=seeded(work.seed))[: work.settings.attacked_images]
    chosen = benign.subset(order)
    found = run_suite(
        {work.settings.attack: attacks.preset(f"paper.blackbox.mnist.{work.settings.attack}").build()},
        module.classifier, chosen.images.to(work.device), chosen.labels.to(work.device), criterion=Misclassified(),
        norm="linf", epsilon=1.0, seed=work.seed, batch_size=250,
        folder=work.keeping.folder and work.keeping.folder / ATTACKED, progress=work.keeping.progress,
    )  # fmt: skip
    tried = found.by_attack[work.settings.attack]
    both = torch.cat([chosen.images, tried.result.images.cpu()])
    kinds = LabelledImages(both, torch.arange(2).repeat_interleave(len(chosen)))
    later = work.within(BINARY)
    module.binary.train()
    return (
        seconds
        + tried.seconds
        + _train_classifier(
            module.binary, replace(later, split=replace(later.split, train=kinds)), _cross_entropy(module.binary)
        )
    )


def _rce(module: ReverseCrossEntropy, work: _Work) -> float:
    """Cross-entropy of the wrong classes, all the same; then the features that the K-density compares with."""
    network = module.classifier

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(network(images), 1)
        own = log_p.gather(1, labels[:, None])[:, 0]
        return -(log_p.sum(1) - own) / (log_p.shape[1] - 1)

    seconds = _train_classifier(network, work, loss, sign=-1)
    train, generator = work.split.train, seeded(work.seed)
    members = [(train.labels == label).nonzero()[:, 0] for label in range(work.split.classes)]
    count = min(work.settings.references, *map(len, members))
    drawn = [own[torch.randperm(len(own), generator=generator)[:count]] for own in members]  # they may be sorted
    with frozen(network):
        module.remember(torch.stack([train.images[rows] for rows in drawn]).to(work.device))
    return seconds


def _gat(module: ClassDetectors, work: _Work) -> float:
    """Each class's detector: its own images against attacked images of the others."""
    settings, split = work.settings, work.split
    deal = BatchSampler(split.train, split.classes, settings.batch, work.device, settings.augment)
    spared = int(settings.unattacked * settings.batch)

    def turn(state: TrainingState) -> dict[str, Any]:
        benign, others = deal(state.generator)
        share = grown(state.round, settings.rounds, settings.ramp)
        with frozen(module):
            attacked = _raise(module.log_odds, others[:, spared:], share, settings, state.generator)
            passed = (module.log_odds(attacked) > 0).float().mean().item()
        odds = module.log_odds(torch.cat([benign, others[:, :spared], attacked], 1))
        own, rest = odds.split([settings.batch, settings.batch], 1)
        loss = (F.softplus(-own).mean() + F.softplus(rest).mean()) / 2
        _step(state, loss, settings)
        return {"round": state.round + 1, TOTAL: loss.item(), "passed": passed, "accuracy": None}

    return _train(module, work, turn)


_TRAININGS: Mapping[str, Callable[[Any, _Work], float]] = {
    "plain": _plain, "adversarial-training": _adversarial, "gong": _gong, "rce": _rce, "gat": _gat,
}  # fmt: skip


# --- the loop -------------------------------------------------------------------------------------------------------


def _train_classifier(
    network: nn.Module,
    work: _Work,
    loss: Loss,
    change: Callable[[Tensor, Tensor, float, torch.Generator], Tensor] | None = None,
    *,
    sign: int = 1,
) -> float:
    """Lower the mean loss of drawn images, changed before by `change`, with the share of ε that has grown by then.

    Args:
        network: gives logits; the accuracy that is logged is that of its largest, or with sign −1 its smallest.
    """
    settings, data = work.settings, work.split.train
    coarse = settings.products == "bfloat16"
    layout = torch.channels_last if coarse else torch.contiguous_format  # the former is what bfloat16 is fast in

    def turn(state: TrainingState) -> dict[str, Any]:
        picked = data.subset(torch.randint(len(data), (settings.batch,), generator=state.generator))
        images = augmented(picked.images, settings.augment, state.generator)
        images, labels = images.to(work.device, memory_format=layout), picked.labels.to(work.device)
        with torch.autocast(work.device.type, torch.bfloat16, enabled=coarse):
            if change is not None:
                share = grown(state.round, settings.rounds, settings.ramp)
                images = change(images, labels, share, state.generator)
            mean = loss(images, labels).mean()
        _step(state, mean, settings)
        accuracy = None
        if (state.round + 1) % WATCH_EVERY == 0:
            with torch.no_grad():
                accuracy = ((sign * network(images)).argmax(1) == labels).float().mean().item()
        return {"round": state.round + 1, TOTAL: mean.item(), "accuracy": accuracy}

    return _train(network, work, turn)


def _train(module: nn.Module, work: _Work, turn: Callable[[TrainingState], dict[str, Any]]) -> float:
    """Seconds it took."""
    optimiser = torch.optim.Adam(module.parameters(), lr=work.settings.learning_rate, fused=True)
    state = TrainingState(module, optimiser, seeded(work.seed))
    train_rounds(state, lambda: turn(state), work.settings.rounds, work.keeping, title="training")
    return state.seconds


def _step(state: TrainingState, loss: Tensor, settings: BaselineSettings) -> None:
    for group in state.optimiser.param_groups:
        group["lr"] = settings.learning_rate * share_of_rate(state.round, settings.rounds, "cosine")
    state.optimiser.zero_grad()
    loss.backward()
    state.optimiser.step()


def _raise(
    gain: Callable[[Tensor], Tensor],
    images: Tensor,
    share: float,
    settings: BaselineSettings,
    generator: torch.Generator,
) -> Tensor:
    """PGD, which starts at a random point, or MIM, which starts at the image, within a share of ε."""
    epsilon, pgd = share * settings.epsilon, settings.attack == "pgd"
    return ascend_within(gain, images, epsilon, smallest=settings.smallest, steps=settings.attack_steps,
                         stride=settings.stride, step_size=None, decay=0.0 if pgd else settings.decay,
                         random_start=pgd, generator=generator)  # fmt: skip


def _cross_entropy(network: nn.Module) -> Loss:
    return lambda images, labels: F.cross_entropy(network(images), labels, reduction="none")
