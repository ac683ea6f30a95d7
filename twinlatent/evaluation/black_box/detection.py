"""Black-box evaluation (paper section 5.1, table 3): attacks on a substitute classifier, judged by a detector.

The adversary has the data but not the detector: it trains plain classifiers of its own and attacks those. The
detector's thresholds were fixed on calibration images before; test images are only judged.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinlatent import attacks
from twinlatent.attacks.budgets import Budget
from twinlatent.data import LabelledImages, Split
from twinlatent.data.split import as_pictures, checked_seed
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box.substitutes import SUBSTITUTES, Substitute, attack_substitute, train_substitute
from twinlatent.evaluation.metrics import Rate, auc, auc_interval, rate
from twinlatent.evaluation.protocol import RATES, drawn_rows, fitted
from twinlatent.evaluation.results import (
    MISCLASSIFIED_ONLY,
    Examples,
    ModelCard,
    Report,
    Row,
    Rows,
    mean_over_substitutes,
    records_of,
)
from twinlatent.method.calibrated import CalibratedDetector, Scored
from twinlatent.method.verdicts import Verdict
from twinlatent.provenance import Provenance, provenance
from twinlatent.torch_state import fresh_torch

EXAMPLES_PER_ATTACK = 6
BLACK_BOX = tuple(attacks.preset(f"paper.blackbox.mnist.{name}") for name in ("fgsm", "pgd", "mim", "cw"))
"""The paper's budgets against a substitute (Table 8), those of MNIST and Fashion MNIST5 being the same."""


def at_epsilon(epsilon: float) -> tuple[Budget, ...]:
    """The paper's black-box attacks, all that have a ball with one L∞ radius."""
    return tuple(budget if budget.epsilon is None else budget.at(epsilon) for budget in BLACK_BOX)


@fresh_torch()
def evaluate_blackbox(
    detector: CalibratedDetector,
    split: Split,
    *,
    budgets: Sequence[Budget] = BLACK_BOX,
    budget: str = "blackbox",
    images: int | None = None,
    seed: int = 0,
    title: str = "",
    substitutes: Sequence[Substitute] | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> Report:
    """Benign accuracy and false positives on test images, and AUC and detection rates of each attack.

    Each attack is run on each substitute by itself. Records have a number for each of them, and their mean, whose
    interval has the means of their limits as limits: it is as wide as that of one, since all attack the same images.

    Args:
        detector: calibrated on held-out images.
        split: its data set; `test` is judged, `train` trains the substitutes.
        budgets: the attacks.
        budget: what the records call them; `blackbox` is `BLACK_BOX`, the paper's.
        images: how many test images to attack, drawn by `seed`; None for all. Accuracy and false positives are
            always taken over all test images.
        seed: of the substitutes, the draw and the random starts.
        title: heading of the report.
        substitutes: the attacker's classifiers; None: all of `SUBSTITUTES` are trained.
        folder: keeps attacked images, a folder a substitute; they do not depend on the detector.
        progress: whether to show bars.

    Raises:
        TwinlatentError: the detector was made for images or classes of another kind, or `folder` holds other work.
    """
    seed = checked_seed(seed)
    split = fitted(detector, split)
    _check_budgets(budgets)
    began, origin = time.monotonic(), provenance()
    rows = drawn_rows(len(split.test), images, seed)
    if substitutes is None:
        substitutes = [train_substitute(split, name, seed=seed, progress=progress) for name in SUBSTITUTES]
    if not substitutes:
        raise TwinlatentError(f"0 substitutes; give at least one of {', '.join(SUBSTITUTES)}")
    seen = _Answers.of(detector, split.test, rows)
    attacked = [_attacked(seen, substitute, budgets, seed, folder, progress) for substitute in substitutes]
    made = [part for one in attacked for part in _detected(one, seen, budgets, budget, split.test)]
    parts = (*_benign(seen, budget), *made, *mean_over_substitutes(made))
    return Report(
        records=tuple(records_of(parts, detector, split, seed, time.monotonic() - began, origin)),
        model=model_card(detector, title or f"{detector.method} on {split.short_name}", split, seen.fpr),
        benign_suspicion=seen.benign.suspicion.numpy(),
        suspicion={name: torch.cat([one.verdicts[name].suspicion for one in attacked]).numpy()
                   for name in attacked[0].verdicts},
        examples=_examples(seen, attacked[0]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Answers:
    """The detector's answers for all test images, computed once, and which of them are attacked.

    Attributes:
        detector: asked.
        drawn: the images to attack.
        everything: by score, all test images.
        chosen: by score, the drawn ones.
        right: how many of all test images are classified correctly.
    """

    detector: CalibratedDetector
    drawn: LabelledImages
    everything: Mapping[str, Scored]
    chosen: Mapping[str, Scored]
    right: int

    @classmethod
    def of(cls, detector: CalibratedDetector, test: LabelledImages, rows: Tensor) -> "_Answers":
        everything = detector.scored(test.images)
        chosen = {score: scored[rows] for score, scored in everything.items()}
        right = int((everything[detector.score].label == test.labels).sum())
        return cls(detector, test.subset(rows), everything, chosen, right)

    @property
    def rates(self) -> list[float]:
        """The rates at which detection is reported, those that the calibration can tell."""
        return [rate_ for rate_ in RATES if rate_ >= self.detector.calibration.finest_fpr]

    @property
    def fpr(self) -> float:
        """The rate of the verdicts that are shown."""
        return max(0.05, self.detector.calibration.finest_fpr)

    @property
    def benign(self) -> Verdict:
        """Of the drawn images."""
        return self.detector.verdict(self.chosen[self.detector.score], self.fpr)


@dataclass(frozen=True)
class _Attacked:
    """What attacks on one substitute made of the drawn images, and the detector's answers, computed once.

    Attributes:
        substitute: attacked.
        images: by attack, (n, channels, H, W).
        scored: by attack and score.
        verdicts: by attack, at `_Answers.fpr`.
        origins: of the runs that trained and attacked it.
    """

    substitute: Substitute
    images: Mapping[str, Tensor]
    scored: Mapping[str, Mapping[str, Scored]]
    verdicts: Mapping[str, Verdict]
    origins: tuple[Provenance, ...]


def _attacked(
    seen: _Answers, substitute: Substitute, budgets: Sequence[Budget], seed: int, folder: Path | None, progress: bool
) -> _Attacked:
    kept = folder and folder / substitute.name
    result = attack_substitute(substitute.network, seen.drawn, budgets, seed=seed, folder=kept, progress=progress)
    images = {name: tried.result.images for name, tried in result.by_attack.items()}
    scored = {name: seen.detector.scored(found) for name, found in images.items()}
    own = seen.detector.score
    verdicts = {name: seen.detector.verdict(found[own], seen.fpr) for name, found in scored.items()}
    return _Attacked(substitute, images, scored, verdicts, (substitute.origin, *result.origins))


def _benign(seen: _Answers, budget: str) -> Iterator[Rows]:
    """Accuracy, and false positives at each rate that is asked for."""
    score, everything = seen.detector.score, seen.everything[seen.detector.score]
    n = len(everything.label)
    yield Rows((Row("accuracy", "none", None, None, rate(seen.right, n)),), budget)
    for fpr in sorted({*seen.rates, seen.fpr}):
        flagged = int(seen.detector.verdict(everything, fpr).adversarial.sum())
        yield Rows((Row("fpr", "none", None, score, rate(flagged, n)),), budget, asked=fpr)


def _detected(
    one: _Attacked, seen: _Answers, budgets: Sequence[Budget], budget: str, test: LabelledImages
) -> tuple[Rows, Rows]:
    """Over all attacked images, and over those alone that the substitute misclassifies."""
    right = int((one.substitute.labels(test.images) == test.labels).sum())
    whole = [Row("substitute_accuracy", "none", None, None, rate(right, len(test)))]
    successes: list[Row] = []
    for spent in budgets:
        wrong = one.substitute.labels(one.images[spent.attack]) != seen.drawn.labels
        whole.append(Row("attack_success", spent.attack, spent.epsilon, None, rate(int(wrong.sum()), len(wrong))))
        whole += _detection(seen, one, spent, torch.ones_like(wrong))
        successes += _detection(seen, one, spent, wrong)
    name = one.substitute.name
    return (Rows(tuple(whole), budget, name, one.origins),
            Rows(tuple(successes), budget + MISCLASSIFIED_ONLY, name, one.origins))  # fmt: skip


def _detection(seen: _Answers, one: _Attacked, budget: Budget, among: Tensor) -> Iterator[Row]:
    """AUC under each score and detection rates under the detector's own, over the attacked images `among` (n,)."""
    name, n, detector = budget.attack, int(among.sum()), seen.detector
    if not n:
        return
    for score, scored in one.scored[name].items():
        yield Row("auc", name, budget.epsilon, score, area(seen.chosen[score], scored[among]))
    own = one.scored[name][detector.score][among]
    for fpr in seen.rates:
        flagged = int(detector.verdict(own, fpr).adversarial.sum())
        yield Row(f"tpr@{round(100 * fpr)}", name, budget.epsilon, detector.score, rate(flagged, n))


def area(benign: Scored, adversarial: Scored) -> Rate:
    """AUC between the suspicion of benign and of attacked images; its n is that of the attacked ones."""
    pair = benign.suspicion.numpy(), adversarial.suspicion.numpy()
    low, high = auc_interval(*pair)
    return Rate(auc(*pair), len(adversarial.label), low, high)


def _check_budgets(budgets: Sequence[Budget]) -> None:
    names = [budget.attack for budget in budgets]
    if not names:
        raise TwinlatentError("0 budgets; give at least one attack")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise TwinlatentError(f"attack {twice!r} is given twice; evaluate each budget of an attack by itself")


def model_card(detector: CalibratedDetector, title: str, split: Split, fpr: float) -> ModelCard:
    """What the report says of the detector, from its card, and of the split it was judged on."""
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
        test_images=len(split.test),
        network=detector.network,
        decoder=training.get("decoder"),
        parameters=detector.parameters,
        score=detector.score,
        label_rule=detector.label_rule,
        fpr=fpr,
        seconds=card.get("seconds", 0.0),
        settings=training,
        judged_on=split.short_name,
    )


def _examples(seen: _Answers, one: _Attacked) -> Examples:
    """The first few images of each attack on a substitute, whatever the detector said of them."""
    names = np.array(seen.detector.class_names)
    count = min(EXAMPLES_PER_ATTACK, len(seen.drawn))
    attacks_ = list(one.images)
    picked = slice(0, count)

    def benign(values: Tensor) -> Any:
        return np.concatenate([values[picked].numpy()] * len(attacks_))

    def adversarial(field: str) -> Any:
        return np.concatenate([getattr(one.verdicts[name], field)[picked].numpy() for name in attacks_])

    return Examples(
        benign=np.concatenate([as_pictures(seen.drawn.images[picked])] * len(attacks_)),
        adversarial=np.concatenate([as_pictures(one.images[name][picked]) for name in attacks_]),
        attack=np.repeat(np.array(attacks_), count),
        true=names[benign(seen.drawn.labels)],
        benign_label=names[benign(seen.benign.label)],
        adversarial_label=names[adversarial("label")],
        benign_flagged=benign(seen.benign.adversarial),
        adversarial_flagged=adversarial("adversarial"),
        benign_p=benign(seen.benign.p_value),
        adversarial_p=adversarial("p_value"),
    )
