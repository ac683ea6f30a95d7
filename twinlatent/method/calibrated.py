"""What every detector here is, ours or a baseline: differentiable answers, and verdicts at thresholds fixed beforehand.

Letters: n images, C classes, ŷ the predicted label.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from twinlatent.arguments import real
from twinlatent.data.given import Given, read
from twinlatent.data.seen import Seen
from twinlatent.data.validation import check_images
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibration import Calibration, calibration_of
from twinlatent.method.file_header import trained_with
from twinlatent.method.verdicts import Judged, Verdict
from twinlatent.outputs import Bounds, Outputs
from twinlatent.showing import first_images
from twinlatent.torch_state import CPU, Device, batch_on, fresh_torch

DETECTOR_FILE = "detector.safetensors"
"""Name of the detector file in a training folder."""
CHUNK = 32
"""Verdicts are computed on this many images at a time, always exactly, so that an image's verdict is the same bit for
bit whatever images come with it; on a CUDA device on more, see `chunks`."""


@dataclass(frozen=True)
class Scored:
    """What a detector says of n images under one of its scores, before any threshold.

    Attributes:
        label: int64 (n,), predicted class ŷ, on the CPU.
        suspicion: float32 (n,), at ŷ, on the CPU.
    """

    label: Tensor
    suspicion: Tensor

    def __getitem__(self, rows: Tensor | slice) -> "Scored":
        """Of some of the images."""
        return Scored(self.label[rows], self.suspicion[rows])


@dataclass(frozen=True)
class BenignAnswers:
    """What a detector says of n benign images that were held out from its training.

    Attributes:
        labels: int64 (n,), predicted.
        suspicion: float32 (n,), at the predicted label.
        robust: float32 (n,), log P_r^ŷ; None for a detector without a robust log-density.
    """

    labels: Tensor
    suspicion: Tensor
    robust: Tensor | None = None


class CalibratedDetector(ABC):
    """A classifier that also says how suspicious an image is, calibrated on held-out benign images.

    Call it, or `outputs`, for differentiable answers; `detect` for verdicts. Subclasses are final.

    Attributes:
        class_names: one a class.
        image_shape: (channels, height, width).
        card: where it comes from: training settings, data, provenance (JSON-able).
        seen: which images it was made with; None where that was not kept.
    """

    def __init__(
        self,
        class_names: tuple[str, ...],
        image_shape: tuple[int, ...],
        benign: BenignAnswers,
        card: Mapping[str, Any],
        seen: Seen | None,
        together: bool = False,
    ) -> None:
        self.class_names = class_names
        self.image_shape = image_shape
        self.card = dict(card)
        self.seen = seen
        self._answers = benign
        self._calibration = calibration_of(benign.suspicion, benign.labels, len(class_names), together=together)

    @property
    @abstractmethod
    def method(self) -> str:
        """What records call it, such as `twinlatent` or `gong`."""

    @property
    def trained_with(self) -> str:
        """The training attack, `none` where there was none."""
        return trained_with(self.card)

    @property
    @abstractmethod
    def score(self) -> str:
        """Name of its suspicion score."""

    @property
    @abstractmethod
    def scores(self) -> tuple[str, ...]:
        """Names of all suspicion scores it can give, that of its paper first."""

    @property
    @abstractmethod
    def label_rule(self) -> str:
        """How it infers the label."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    @abstractmethod
    def network(self) -> str:
        """Its network, in the paper's notation."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many trained numbers it has."""

    @property
    @abstractmethod
    def _decisive(self) -> tuple[Any, ...]:
        """Settings, modules and tensors that decide its answers."""

    @abstractmethod
    def outputs(self, images: Tensor) -> Outputs:
        """Answers that can be differentiated with respect to the images.

        Args:
            images: float (n, channels, H, W) in [0, 1], on the detector's device. Not checked.
        """

    @abstractmethod
    def outputs_by_score(self, images: Tensor) -> Mapping[str, Outputs]:
        """`outputs` under each of its `scores`, the network being run once where the scores allow it."""

    @abstractmethod
    def with_score(self, score: str) -> Self:
        """The same with another of its `scores`.

        Raises:
            TwinlatentError: it has no such score.
        """

    @abstractmethod
    def to(self, device: Device) -> Self:
        """A copy of the detector on another device; its thresholds stay those that were measured on the CPU.

        Raises:
            TwinlatentError: PyTorch cannot compute there.
        """

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the detector file, whole or not at all."""

    def with_calibration(self, images: Tensor, card: Mapping[str, Any], seen: Seen | None) -> Self:  # noqa: ARG002
        """The same with thresholds of other benign images; `twinlatent.calibrate` checks them before.

        Args:
            images: float32 (n, channels, H, W) in [0, 1], n at least 1.
            card: of the new detector.
            seen: likewise.

        Raises:
            TwinlatentError: it has no thresholds that could be kept.
        """
        raise TwinlatentError(f"{self.method} keeps no thresholds; give its benign images as the calibration part of "
                              "a split")  # fmt: skip

    def __call__(self, images: Tensor) -> Outputs:
        """`outputs`."""
        return self.outputs(images)

    @property
    def fingerprint(self) -> str:
        """By what it is known again: SHA-256, in hex, of all that decides its answers."""
        return digest(list(self._decisive))

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def calibration(self) -> Calibration:
        """Benign suspicion by predicted class."""
        return self._calibration

    @property
    def calibration_images(self) -> int:
        """How many benign images it was calibrated on."""
        return len(self._answers.labels)

    @fresh_torch()
    @torch.no_grad()
    def detect(self, images: Given, fpr: float = 0.05) -> Verdict:
        """Classify images and say which are adversarial.

        Any image in [0, 1] gets a verdict, noise and constant images too; no images give an empty one. The answer
        for an image does not depend on the others.

        Args:
            images: floating (n, channels, H, W) in [0, 1], tensor or array, n ≥ 0; or a `torch.utils.data.Dataset` or
                `DataLoader` of images or of (image, label).
            fpr: share of benign images that may be flagged, in (0, 1).

        Raises:
            TwinlatentError: images of another shape or range or with NaN; fpr finer than the calibration can tell.
        """
        fpr = real("fpr", fpr)
        self.calibration.check(fpr)
        images = checked_images(images, self.image_shape)
        scored = self._scored(images, lambda chunk: {self.score: self.outputs(chunk)})[self.score]
        return replace(self.verdict(scored, fpr), judged=Judged(first_images(images), self.class_names, fpr))

    @fresh_torch()
    @torch.no_grad()
    def scored(self, images: Given) -> dict[str, Scored]:
        """Labels and suspicion under each of its `scores`; images, answers and errors as in `detect`."""
        return self._scored(checked_images(images, self.image_shape), self.outputs_by_score)

    @fresh_torch()
    def verdict(self, scored: Scored, fpr: float) -> Verdict:
        """What `detect` says, of images that were `scored` under its own score.

        Raises:
            TwinlatentError: fpr finer than the calibration can tell.
        """
        fpr = real("fpr", fpr)
        thresholds = self.calibration.thresholds(fpr)
        p_value = self.calibration.p_values(scored.suspicion, scored.label, fpr)
        flagged = ~(scored.suspicion <= thresholds[scored.label])  # so that NaN is flagged
        return Verdict(scored.label, flagged, scored.suspicion, p_value)

    @fresh_torch()
    def bounds(self, *fprs: float) -> Bounds:
        """Benign levels by predicted class, for criteria and objectives (C1, C2, undetected at a rate)."""
        benign, device = self._answers, self.device
        robust = None if benign.robust is None else mean_by_label(benign.robust, benign.labels, self.classes).to(device)
        return Bounds(
            suspicion_mean=mean_by_label(benign.suspicion, benign.labels, self.classes).to(device),
            robust_mean=robust,
            thresholds={fpr: self.calibration.thresholds(fpr).to(device) for fpr in (real("fpr", f) for f in fprs)},
        )

    def _said(self, answers: Outputs, n: int) -> Scored:
        """Of the first n images."""
        return Scored(answers.labels[:n].cpu(), answers.suspicion_of_label[:n].cpu())

    def _scored(self, images: Tensor, answer: Callable[[Tensor], Mapping[str, Outputs]]) -> dict[str, Scored]:
        """Of each score that `answer` gives."""
        found: dict[str, list[Scored]] = {}
        for n, chunk in chunks(images, self.device, self.classes):
            for score, answers in answer(chunk.to(self.device)).items():
                found.setdefault(score, []).append(self._said(answers, n))
        return {
            score: Scored(torch.cat([part.label for part in parts]), torch.cat([part.suspicion for part in parts]))
            for score, parts in found.items()
        }


def checked_images(images: Given, shape: tuple[int, ...]) -> Tensor:
    """Images of that shape (channels, H, W), as `detect` takes them, in [0, 1]: float32 (n, channels, H, W).

    Raises:
        TwinlatentError: images of another shape or range or with NaN.
    """
    if isinstance(images, Dataset | DataLoader):
        images = read(images)[0]
    if tuple(getattr(images, "shape", ())) == (0, *shape):
        return torch.empty(0, *shape)
    return check_images(images, shape=shape)[0]


def chunks(images: Tensor, device: torch.device = CPU, classes: int = 1) -> Iterator[tuple[int, Tensor]]:
    """`CHUNK` images at a time, the last ones with black ones added: how many are real, and the images.

    All chunks are computed in exactly the same way, so that the answer for an image does not depend on the others. On a
    CUDA device they are larger, and always the same for a device and a detector; see `batch_on`.

    Args:
        images: (n, channels, H, W).
        device: where they are computed.
        classes: whose networks see them.
    """
    size = batch_on(device, CHUNK, images.shape[1:], classes)
    for chunk in images.split(size):  # of no images: one chunk of none
        yield len(chunk), F.pad(chunk, (0, 0, 0, 0, 0, 0, 0, size - len(chunk)))


def mean_by_label(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of values (n,) for each label, (C,); the overall mean for a label that never occurs."""
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels, values.double())
    return torch.where(counts > 0, sums / counts.clamp_min(1), values.double().mean()).float()


def unknown_score(score: str, scores: tuple[str, ...]) -> TwinlatentError:
    """The error of `with_score`."""
    return TwinlatentError(f"score {score!r} is unknown; this detector has {', '.join(scores)}")
