"""Black-box evaluation (paper section 5.1, table 3): attacks on a substitute classifier, judged by a detector.

The adversary has the data but not the detector: it trains a plain classifier of its own and attacks that. The
detector's thresholds were fixed on calibration images before; test images are only judged.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent import attacks
from twinlatent.attacks.budgets import Budget
from twinlatent.attacks.models import frozen
from twinlatent.attacks.suite_runs import run_suite
from twinlatent.criteria import Misclassified
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.measured import RATES, Measured, check_fit, draw, records_of
from twinlatent.evaluation.metrics import Rate, auc, auc_interval, rate
from twinlatent.evaluation.run_folder import EvaluationRun, Examples, ModelCard
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.presets import SMALL_SIDE, plain_classifier
from twinlatent.progress import bar
from twinlatent.provenance import provenance

BATCH = 250
EXAMPLES_PER_ATTACK = 6
MISREAD_ONLY = ", misread only"
"""Ends the budget of records that are taken over the images alone that the substitute misreads."""
KIND, SUBSTITUTE_FILE = "substitute", "substitute.safetensors"
SUBSTITUTE_STEPS, SUBSTITUTE_BATCH, SUBSTITUTE_RATE = 2000, 64, 2e-3
SMALL_STEPS = 600
"""For images up to `SMALL_SIDE`, which are pooled once instead of twice."""


BLACK_BOX = tuple(attacks.preset(f"paper.blackbox.mnist.{name}") for name in ("fgsm", "pgd", "mim", "cw"))
"""The paper's budgets against a substitute (Table 8), those of MNIST and Fashion MNIST5 being the same."""


def at_epsilon(epsilon: float) -> tuple[Budget, ...]:
    """The paper's black-box attacks, all that have a ball with one L∞ radius."""
    return tuple(budget if budget.epsilon is None else budget.at(epsilon) for budget in BLACK_BOX)


def train_substitute(split: Split, *, seed: int = 0, folder: Path | None = None, progress: bool = True) -> PlainNetwork:
    """Train the plain classifier F_p of Table 5 on the training images, with Adam on cross-entropy.

    Same seed, split and machine: same weights.

    Args:
        split: its `train` is learnt.
        seed: of weights and batches.
        folder: keeps the network, so that the same call need not train again; None keeps nothing.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: the folder holds a network of other images or another seed, or a damaged one.
    """
    if folder is None:
        return _trained(split, seed, progress)
    path, identity = folder / SUBSTITUTE_FILE, {"data": split.fingerprint, "seed": seed}
    if not path.exists():
        save_tensors(path, KIND, _trained(split, seed, progress).state_dict(), identity)
    tensors, description = load_tensors(path, KIND)
    if description != identity:
        raise TwinlatentError(f"{path} was trained on other images or with another seed; give another folder")
    with torch.random.fork_rng(devices=[]):
        network = substitute_network(split)
    network.load_state_dict(tensors)
    return network.eval()


def _trained(split: Split, seed: int, progress: bool) -> PlainNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = substitute_network(split)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), SUBSTITUTE_RATE)
    steps = SMALL_STEPS if split.image_shape[-1] <= SMALL_SIDE else SUBSTITUTE_STEPS
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, SUBSTITUTE_RATE, total_steps=steps)
    with bar("substitute", steps, show=progress) as shown:
        for _ in range(steps):
            picked = split.train.subset(torch.randint(len(split.train), (SUBSTITUTE_BATCH,), generator=generator))
            optimiser.zero_grad()
            F.cross_entropy(network(picked.images), picked.labels).backward()
            optimiser.step()
            schedule.step()
            shown.advance()
    return network.eval()


def substitute_network(split: Split) -> PlainNetwork:
    """F_p, see `plain_classifier`."""
    return build_classifier(plain_classifier(split.image_shape, split.classes, split.name), split.image_shape)


def attack_substitute(
    network: PlainNetwork,
    data: LabelledImages,
    budgets: Sequence[Budget],
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> dict[str, LabelledImages]:
    """Attack every image of `data`, untargeted: name of each attack → the attacked images with their true labels.

    What is done is kept in `folder` after every batch; another call with the same arguments goes on from there.
    """
    result = run_suite({budget.attack: budget.build() for budget in budgets}, network, data.images, data.labels,
                       criterion=Misclassified(), norm="linf", epsilon=1.0, seed=seed, batch_size=BATCH, folder=folder,
                       progress=progress)  # fmt: skip
    return {name: LabelledImages(tried.result.images, data.labels) for name, tried in result.by_attack.items()}


def evaluate_blackbox(
    detector: CalibratedDetector,
    split: Split,
    *,
    budgets: Sequence[Budget] = BLACK_BOX,
    budget: str = "blackbox",
    images: int | None = None,
    seed: int = 0,
    title: str = "",
    substitute: PlainNetwork | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> EvaluationRun:
    """Benign accuracy and false positives on test images, and AUC and detection rates of each attack.

    Args:
        detector: calibrated on held-out images.
        split: its data set; `test` is judged, `train` trains the substitute.
        budgets: the attacks.
        budget: what the records call them; `blackbox` is `BLACK_BOX`, the paper's.
        images: how many test images to attack, drawn by `seed`; None for all. Accuracy and false positives are
            always taken over all test images.
        seed: of the substitute, the draw and the random starts.
        title: heading of the report.
        substitute: the attacker's classifier; None: one is trained.
        folder: keeps attacked images, see `attack_substitute`; they do not depend on the detector.
        progress: whether to show bars.

    Raises:
        TwinlatentError: the detector was made for images or classes of another kind.
    """
    check_fit(detector, split)
    _check_budgets(budgets)
    began, origin = time.monotonic(), provenance()
    drawn = draw(split.test, images, seed)
    substitute = substitute or train_substitute(split, seed=seed, progress=progress)
    attacked = attack_substitute(substitute, drawn, budgets, seed=seed, folder=folder, progress=progress)
    seen = _Seen(detector, split.test, drawn, attacked)
    measured = [*_benign(seen), ("substitute_accuracy", "none", None, None, _accuracy(substitute, split.test))]
    successes: list[Measured] = []
    for spent in budgets:
        misread = _labels(substitute, attacked[spent.attack].images) != drawn.labels
        success = ("attack_success", spent.attack, spent.epsilon, None, rate(int(misread.sum()), len(misread)))
        measured += [success, *_detection(seen, spent)]
        successes += _detection(seen, spent, misread)
    seconds = time.monotonic() - began
    records = records_of(measured, detector, split, seed, seconds, origin, budget)
    records += records_of(successes, detector, split, seed, seconds, origin, budget + MISREAD_ONLY)
    return EvaluationRun(
        records=tuple(records),
        model=model_card(detector, title or f"Detector for {split.short_name}", len(split.test), seen.fpr),
        benign_suspicion=seen.benign.suspicion.numpy(),
        suspicion={name: verdict.suspicion.numpy() for name, verdict in seen.verdicts.items()},
        examples=_examples(seen),
    )


class _Seen:
    """The detector's verdicts: on all test images, on the drawn ones, and on their attacked versions."""

    def __init__(
        self,
        detector: CalibratedDetector,
        test: LabelledImages,
        drawn: LabelledImages,
        attacked: dict[str, LabelledImages],
    ) -> None:
        self.detector, self.test, self.drawn, self.attacked = detector, test, drawn, attacked
        self.rates = [rate_ for rate_ in RATES if rate_ >= detector.calibration.finest_fpr]
        self.fpr = max(0.05, detector.calibration.finest_fpr)
        self.everything = detector.detect(test.images, self.fpr)
        self.benign = detector.detect(drawn.images, self.fpr)
        self.verdicts = {name: detector.detect(data.images, self.fpr) for name, data in attacked.items()}


def _benign(seen: _Seen) -> list[Measured]:
    right = int((seen.everything.label == seen.test.labels).sum())
    flagged = int(seen.everything.adversarial.sum())
    score = seen.detector.score
    return [
        ("accuracy", "none", None, None, rate(right, len(seen.test))),
        ("fpr", "none", None, score, rate(flagged, len(seen.test))),
    ]


def _detection(seen: _Seen, budget: Budget, among: Tensor | None = None) -> Iterator[Measured]:
    """AUC under each score and detection rates under the detector's own, over the attacked images `among` (n,)."""
    name, detector = budget.attack, seen.detector
    rows = slice(None) if among is None else among
    images = seen.attacked[name].images[rows]
    if not len(images):
        return
    for score in detector.scores:
        other = detector.with_score(score)
        benign, adversarial = (other.detect(x, seen.fpr).suspicion.numpy() for x in (seen.drawn.images, images))
        low, high = auc_interval(benign, adversarial)
        yield "auc", name, budget.epsilon, score, Rate(auc(benign, adversarial), len(images), low, high)
    verdict = seen.verdicts[name]
    for fpr in seen.rates:
        over = ~(verdict.suspicion <= detector.calibration.thresholds(fpr)[verdict.label])[rows]  # as `detect` has it
        yield f"tpr@{round(100 * fpr)}", name, budget.epsilon, detector.score, rate(int(over.sum()), len(over))


@torch.no_grad()
def _labels(network: PlainNetwork, images: Tensor) -> Tensor:
    with frozen(network):
        return torch.cat([network(batch).argmax(1) for batch in images.split(BATCH)])


def _accuracy(network: PlainNetwork, data: LabelledImages) -> Rate:
    return rate(int((_labels(network, data.images) == data.labels).sum()), len(data))


def _check_budgets(budgets: Sequence[Budget]) -> None:
    names = [budget.attack for budget in budgets]
    if not names:
        raise TwinlatentError("0 budgets; give at least one attack")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise TwinlatentError(f"attack {twice!r} is given twice; evaluate each budget of an attack by itself")


def model_card(detector: CalibratedDetector, title: str, test_images: int, fpr: float) -> ModelCard:
    """What the report says of the detector, from its card."""
    card = detector.card
    training, counts = card.get("training", {}), card.get("data", {}).get("images", {})
    return ModelCard(
        title=title,
        method=detector.method,
        trained_with=detector.trained_with,
        data=card.get("data", {}).get("name", "unknown"),
        class_names=detector.class_names,
        training_images=counts.get("train", 0),
        calibration_images=detector.calibration_images,
        test_images=test_images,
        network=detector.network,
        decoder=training.get("decoder"),
        parameters=detector.parameters,
        score=detector.score,
        label_rule=detector.label_rule,
        fpr=fpr,
        seconds=card.get("seconds", 0.0),
        settings=training,
    )


def _examples(seen: _Seen) -> Examples:
    """The first few images of each attack, whatever the detector said of them."""
    names = np.array(seen.detector.class_names)
    count = min(EXAMPLES_PER_ATTACK, len(seen.drawn))
    attacks_ = list(seen.attacked)
    picked = slice(0, count)

    def benign(values: Tensor) -> Any:
        return np.concatenate([values[picked].numpy()] * len(attacks_))

    def adversarial(field: str) -> Any:
        return np.concatenate([getattr(seen.verdicts[name], field)[picked].numpy() for name in attacks_])

    return Examples(
        benign=benign(seen.drawn.images[:, 0]),
        adversarial=np.concatenate([seen.attacked[name].images[picked, 0].numpy() for name in attacks_]),
        attack=np.repeat(np.array(attacks_), count),
        true=names[benign(seen.drawn.labels)],
        benign_label=names[benign(seen.benign.label)],
        adversarial_label=names[adversarial("label")],
        benign_flagged=benign(seen.benign.adversarial),
        adversarial_flagged=adversarial("adversarial"),
        benign_p=benign(seen.benign.p_value),
        adversarial_p=adversarial("p_value"),
    )
