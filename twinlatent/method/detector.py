"""The detector: classify by z_r, tell adversarial inputs by z_v (paper, sections 4.2 and 4.3).

Letters: n images, C classes, ŷ the predicted label, μ_r and μ_v the encoders' means, log P = log N(μ | 0, I).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from torch.nn import functional as F

from twinlatent.data import LabelledImages
from twinlatent.data.validation import Array, check_images
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibration import Calibration, calibrate
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.networks import plan as network_plan
from twinlatent.outputs import Bounds, Outputs, at_label

DETECTOR_FILE = "detector.safetensors"
"""Name of the detector file in a training folder."""
CHUNK = 32
"""`detect` encodes this many images at a time, always exactly, so that an image's verdict is the same bit for bit
whatever images come with it."""

LabelRule = Literal["nearest_mean", "density", "ratio"]
Score = Literal["vulnerable", "joint", "ratio"]


class DetectorSettings(BaseModel):
    """How latents become a label and a suspicion; see `Detector`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_rule: LabelRule = "ratio"
    """`nearest_mean`: argmin ‖μ_r^c − m_c‖² (the paper); `density`: argmax log P_r^c; `ratio`: argmax of
    log P_r^c − log P_v^c."""
    score: Score = "ratio"
    """`vulnerable`: log P_v^ŷ (the paper); `joint`: also high where log P_r^ŷ is unusually low for ŷ; `ratio`:
    log P_v^ŷ − log P_r^ŷ."""


@dataclass(frozen=True)
class Verdict:
    """What the detector says of n images.

    Attributes:
        label: int64 (n,), predicted class ŷ.
        adversarial: bool (n,), whether the suspicion passes the threshold of ŷ.
        suspicion: float32 (n,), higher is more suspicious; comparable within one predicted class.
        p_value: float32 (n,) in (0, 1], conformal: (1 + k) / (1 + m), k of the m benign calibration images of ŷ being
            at least as suspicious; see `Calibration` for when that is exact.
    """

    label: Tensor
    adversarial: Tensor
    suspicion: Tensor
    p_value: Tensor


@dataclass(frozen=True)
class BenignTable:
    """Calibration images under one label rule.

    Attributes:
        labels: int64 (n,), predicted.
        robust: float32 (n,), log P_r^ŷ.
        vulnerable: float32 (n,), log P_v^ŷ.
    """

    labels: Tensor
    robust: Tensor
    vulnerable: Tensor


class Detector:
    """Class encoders with their calibration. Call it, or `outputs`, for differentiable answers; `detect` for verdicts.

    Attributes:
        class_names: one a class.
        image_shape: (channels, height, width).
        settings: label rule and score.
        card: where it comes from: training settings, data, provenance (JSON-able).
    """

    def __init__(
        self,
        encoders: ClassEncoders,
        class_means: Tensor,
        benign: Mapping[LabelRule, BenignTable],
        class_names: tuple[str, ...],
        settings: DetectorSettings | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoders = encoders.requires_grad_(False).eval()
        self.class_means = class_means
        self.benign = dict(benign)
        self.class_names = class_names
        self.settings = settings or DetectorSettings()
        self.card = dict(card or {})
        self.image_shape = encoders.networks.plan.input_shape
        self._table = self.benign[self.settings.label_rule]
        self._levels = _levels(self._table, self.classes)
        self._calibration = calibrate(self._benign_suspicion(), self._table.labels, self.classes)

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        return self.class_means.device

    @property
    def calibration(self) -> Calibration:
        """Benign suspicion by predicted class, under the detector's settings."""
        return self._calibration

    def to(self, device: str | torch.device) -> "Detector":
        """A copy of the detector on another device; its thresholds stay those that were measured on the CPU."""
        encoders = copy.deepcopy(self.encoders).to(device)
        return Detector(encoders, self.class_means.to(device), self.benign, self.class_names, self.settings, self.card)

    def save(self, path: str | Path) -> None:
        """Write the detector file: encoders, class means and calibration images' log-densities, no decoder."""
        plan = self.encoders.networks.plan
        tensors = {"class_means": self.class_means, **_prefixed("encoders", self.encoders.state_dict())}
        for rule, table in self.benign.items():
            tensors |= _prefixed(f"benign.{rule}", vars(table) | {"labels": table.labels.int()})
        description = {"encoder": str(plan.spec), "image_shape": plan.input_shape, "class_names": self.class_names,
                       "settings": self.settings.model_dump(), "card": self.card}  # fmt: skip
        save_tensors(path, "detector", tensors, description)

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """Read a detector file onto the CPU.

        Raises:
            TwinlatentError: the file is missing, damaged, or no detector file; the line names it.
        """
        tensors, description = load_tensors(path, "detector")
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise TwinlatentError(f"{path} holds values in {name} that are no numbers; train the detector again")
        try:
            names = tuple(description["class_names"])
            plan = network_plan(description["encoder"], tuple(description["image_shape"]), "encoder")
            encoders = ClassEncoders(plan, len(names), torch.Generator())  # replaced at once
            encoders.load_state_dict(_under("encoders", tensors))
            benign = {rule: _table(_under(f"benign.{rule}", tensors)) for rule in get_args(LabelRule)}
            settings = DetectorSettings(**description["settings"])
            return cls(encoders, tensors["class_means"], benign, names, settings, description["card"])
        except (KeyError, TypeError, RuntimeError, ValidationError) as error:
            reason = " ".join(str(error).split())[:120]
            raise TwinlatentError(
                f"{path} does not hold a detector of this version; save it again ({reason})"
            ) from error

    def using(self, *, label_rule: LabelRule | None = None, score: Score | None = None) -> "Detector":
        """The same encoders and calibration images under another label rule or score."""
        rule, score = label_rule or self.settings.label_rule, score or self.settings.score
        if rule not in get_args(LabelRule) or score not in get_args(Score):
            raise TwinlatentError(f"label rule {rule!r} or score {score!r} is unknown; rules are "
                                  f"{', '.join(get_args(LabelRule))}, scores {', '.join(get_args(Score))}")  # fmt: skip
        settings = DetectorSettings(label_rule=rule, score=score)
        return Detector(self.encoders, self.class_means, self.benign, self.class_names, settings, self.card)

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, suspicion, robust log-density and latents (μ_r, then μ_v), differentiable with respect to the images.

        Args:
            images: float (n, channels, H, W) in [0, 1], on the detector's device. Not checked.
        """
        latents = self.encoders(images)
        robust = log_standard_normal(latents.robust.mean).T
        vulnerable = log_standard_normal(latents.vulnerable.mean).T
        logits = label_logits(self.settings.label_rule, robust, vulnerable, latents.robust.mean, self.class_means)
        levels = self._levels.to(robust.device)
        means = torch.cat([latents.robust.mean, latents.vulnerable.mean], -1).transpose(0, 1)
        return Outputs(logits, _suspicion(self.settings.score, robust, vulnerable, levels), robust, means)

    __call__ = outputs

    @torch.no_grad()
    def detect(self, images: Array, fpr: float = 0.05) -> Verdict:
        """Classify images and say which are adversarial.

        Any image in [0, 1] gets a verdict, noise and constant images too; no images give an empty one. The answer
        for an image does not depend on the others.

        Args:
            images: floating (n, channels, H, W) in [0, 1], tensor or array, n ≥ 0.
            fpr: share of benign images that may be flagged, in (0, 1).

        Raises:
            TwinlatentError: images of another shape or range or with NaN; fpr finer than the calibration can tell.
        """
        thresholds = self.calibration.thresholds(fpr)
        label, suspicion = self._labels_and_suspicion(self._checked(images))
        p_value = self.calibration.p_values(suspicion, label)
        flagged = ~(suspicion <= thresholds[label])  # so that what is no number is flagged
        return Verdict(label, flagged, suspicion, p_value)

    def bounds(self, *fprs: float) -> Bounds:
        """Benign levels by predicted class, for criteria and objectives (C1, C2, undetected at a rate)."""
        suspicion, table = self._benign_suspicion(), self._table
        return Bounds(
            suspicion_mean=_mean_by_label(suspicion, table.labels, self.classes).to(self.device),
            robust_mean=_mean_by_label(table.robust, table.labels, self.classes).to(self.device),
            thresholds={fpr: self.calibration.thresholds(fpr).to(self.device) for fpr in fprs},
        )

    def _checked(self, images: Array) -> Tensor:
        if tuple(getattr(images, "shape", ())) == (0, *self.image_shape):
            return torch.empty(0, *self.image_shape)
        return check_images(images, shape=self.image_shape)[0]

    def _labels_and_suspicion(self, images: Tensor) -> tuple[Tensor, Tensor]:
        labels, suspicions = [torch.empty(0, dtype=torch.int64)], [torch.empty(0)]
        for chunk in images.split(CHUNK) if len(images) else ():
            answers = self.outputs(filled(chunk).to(self.device))
            labels.append(answers.labels[: len(chunk)].cpu())
            suspicions.append(answers.suspicion_of_label[: len(chunk)].cpu())
        return torch.cat(labels), torch.cat(suspicions)

    def _benign_suspicion(self) -> Tensor:
        """Suspicion of the calibration images at their predicted label, (n,)."""
        table, levels = self._table, self._levels[:, self._table.labels]
        return _suspicion(self.settings.score, table.robust, table.vulnerable, levels)


def label_logits(rule: LabelRule, robust: Tensor, vulnerable: Tensor, means: Tensor, class_means: Tensor) -> Tensor:
    """Logits (n, C) of a label rule.

    Args:
        robust: log P_r^c, (n, C).
        vulnerable: log P_v^c, (n, C).
        means: μ_r^c, (C, n, Z).
        class_means: m_c, (C, Z).
    """
    match rule:
        case "nearest_mean":
            return -(means - class_means[:, None]).square().sum(-1).T
        case "density":
            return robust
        case "ratio":
            return robust - vulnerable


def _suspicion(score: Score, robust: Tensor, vulnerable: Tensor, levels: Tensor) -> Tensor:
    """Suspicion of any shape from log-densities of that shape and `_levels` that broadcast to it."""
    match score:
        case "vulnerable":
            return vulnerable
        case "ratio":
            return vulnerable - robust
        case "joint":
            mean_r, std_r, mean_v, std_v = levels
            return torch.maximum((vulnerable - mean_v) / std_v, (mean_r - robust) / std_r)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix` and a dot, without those."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _table(tensors: Mapping[str, Tensor]) -> BenignTable:
    return BenignTable(tensors["labels"].long(), tensors["robust"], tensors["vulnerable"])


def _levels(table: BenignTable, classes: int) -> Tensor:
    """Benign mean and standard deviation of log P_r^ŷ, then of log P_v^ŷ, by predicted class: (4, C)."""
    rows = []
    for values in (table.robust, table.vulnerable):
        mean = _mean_by_label(values, table.labels, classes)
        spread = _mean_by_label((values - mean[table.labels]).square(), table.labels, classes).sqrt()
        rows += [mean, spread.clamp_min(1e-3)]
    return torch.stack(rows)


def _mean_by_label(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of values (n,) for each label, (C,); the overall mean for a label that never occurs."""
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels, values.double())
    return torch.where(counts > 0, sums / counts.clamp_min(1), values.double().mean()).float()


@torch.no_grad()
def build_detector(
    encoders: ClassEncoders,
    train: LabelledImages,
    calibration: LabelledImages,
    class_names: tuple[str, ...],
    settings: DetectorSettings | None = None,
    card: Mapping[str, Any] | None = None,
) -> Detector:
    """Measure class means on training images, and benign levels on calibration images, of trained encoders.

    Args:
        encoders: trained; frozen by this call.
        train: benign images; m_c is the mean of μ_r^c over those of class c.
        calibration: benign images that were held out from training.
        class_names: one a class.
        settings: label rule and score.
        card: kept in the detector.
    """
    encoders.requires_grad_(False).eval()
    class_means = _class_means(encoders, train)
    robust, vulnerable, means = _encode(encoders, calibration.images, class_means.device)
    tables: dict[LabelRule, BenignTable] = {}
    for rule in get_args(LabelRule):
        labels = label_logits(rule, robust, vulnerable, means, class_means.cpu()).argmax(1)
        tables[rule] = BenignTable(labels, at_label(robust, labels), at_label(vulnerable, labels))
    return Detector(encoders, class_means, tables, class_names, settings, card)


def _encode(encoders: ClassEncoders, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """log P_r (n, C), log P_v (n, C) and μ_r (C, n, Z) of images, on the CPU, computed exactly as `detect` does."""
    robust, vulnerable, means = [], [], []
    for chunk in images.split(CHUNK):
        n, latents = len(chunk), encoders(filled(chunk).to(device))
        robust.append(log_standard_normal(latents.robust.mean).T[:n].cpu())
        vulnerable.append(log_standard_normal(latents.vulnerable.mean).T[:n].cpu())
        means.append(latents.robust.mean[:, :n].cpu())
    return torch.cat(robust), torch.cat(vulnerable), torch.cat(means, 1)


def filled(chunk: Tensor) -> Tensor:
    """A chunk of images with black ones added, so that all chunks are computed in exactly the same way."""
    return F.pad(chunk, (0, 0, 0, 0, 0, 0, 0, CHUNK - len(chunk)))


def _class_means(encoders: ClassEncoders, train: LabelledImages) -> Tensor:
    """m_c, (C, Z): mean of μ_r^c over the training images of class c."""
    classes = encoders.networks.classes
    device = next(encoders.parameters()).device
    sums, counts = torch.zeros(classes, encoders.robust_size, device=device), torch.zeros(classes, device=device)
    for images, labels in zip(train.images.split(8 * CHUNK), train.labels.split(8 * CHUNK), strict=True):
        own, mine = labels.to(device), encoders(images.to(device)).robust.mean
        sums.index_add_(0, own, mine[own, torch.arange(len(own), device=device)])
        counts.index_add_(0, own, torch.ones_like(own, dtype=counts.dtype))
    return sums / counts.clamp_min(1)[:, None]
