"""The detector: classify by z_r, tell adversarial inputs by z_v (paper, sections 4.2 and 4.3).

Letters: n images, C classes, ŷ the predicted label, μ_r and μ_v the encoders' means, log P = log N(μ | 0, I).
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from twinlatent.arguments import texts
from twinlatent.data import LabelledImages
from twinlatent.data.seen import Seen
from twinlatent.errors import TwinlatentError, brief
from twinlatent.method.benign import BenignTable, benign_tables, class_means_of
from twinlatent.method.calibrated import (
    BenignAnswers,
    CalibratedDetector,
    unknown_score,
)
from twinlatent.method.checkpoints import UNFIT, load_tensors, prefixed, save_tensors, under
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.densities import log_standard_normal
from twinlatent.method.few_classes import encode
from twinlatent.method.networks import PlainNetwork
from twinlatent.method.plans import Plan, parameters_of
from twinlatent.method.plans import plan as network_plan
from twinlatent.method.scores import LabelRule, Score, Thresholds, label_logits, levels_of, suspicion_of
from twinlatent.outputs import Outputs
from twinlatent.settings import checked
from twinlatent.torch_state import Device, check_device, fresh_torch, full_precision


class DetectorSettings(BaseModel):
    """How latents become a label and a suspicion; see `Detector`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_rule: LabelRule = "ratio"
    """`nearest_mean`: argmin ‖μ_r^c − m_c‖² (the paper); `density`: argmax log P_r^c; `ratio`: argmax of
    log P_r^c − log P_v^c."""
    score: Score = "ratio"
    """`vulnerable`: log P_v^ŷ (the paper); `joint`: also high where log P_r^ŷ is unusually low for ŷ; `ratio`:
    log P_v^ŷ − log P_r^ŷ."""
    thresholds: Thresholds = Field("each_class", repr=False)
    """`each_class`: suspicion is compared with that of benign images that are predicted as the same class (the paper);
    `together`: with that of all, which leaves an attacker no class that is easier to pass than it need be."""


class Detector(CalibratedDetector):
    """Class encoders with their calibration: ours.

    Attributes:
        class_names: one a class.
        image_shape: (channels, height, width).
        settings: label rule and score.
        levels: (4, C), see `scores.levels_of`.
        scales: levels by label rule, where they are not those of the calibration images but of earlier ones.
        card: where it comes from: training settings, data, provenance (JSON-able).
        seen: which images it was made with; None where that was not kept.
    """

    @fresh_torch()
    def __init__(
        self,
        encoders: ClassEncoders,
        class_means: Tensor,
        benign: Mapping[LabelRule, BenignTable],
        class_names: tuple[str, ...],
        settings: DetectorSettings | None = None,
        card: Mapping[str, Any] | None = None,
        seen: Seen | None = None,
        scales: Mapping[LabelRule, Tensor] | None = None,
    ) -> None:
        self.encoders = encoders.requires_grad_(False).eval()
        self.class_means = class_means
        self.benign = dict(benign)
        self.settings = settings or DetectorSettings()
        table = self.benign[self.settings.label_rule]
        self.scales = dict(scales or {})
        measured = levels_of(table.robust, table.vulnerable, table.labels, len(class_names))
        self.levels = self.scales.get(self.settings.label_rule, measured)
        of_label = self.levels[:, table.labels]
        suspicion = suspicion_of(self.settings.score, table.robust, table.vulnerable, of_label)
        answers = BenignAnswers(table.labels, suspicion, table.robust)
        together = self.settings.thresholds == "together"
        super().__init__(class_names, encoders.plan.input_shape, answers, card or {}, seen, together)

    @property
    def method(self) -> str:
        return "twinlatent"

    @property
    def score(self) -> Score:
        return self.settings.score

    @property
    def scores(self) -> tuple[str, ...]:
        return get_args(Score)

    @property
    def label_rule(self) -> LabelRule:
        return self.settings.label_rule

    @property
    def device(self) -> torch.device:
        return self.class_means.device

    @property
    def network(self) -> str:
        binary = self.encoders.binary
        return str(self.encoders.plan.spec) + ("" if binary is None else f", binary {binary.plan.spec}")

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.encoders.parameters())

    @property
    def _decisive(self) -> tuple[Any, ...]:
        parts = self.settings, self.encoders, self.class_means, self.benign
        more = ("together",) * self.calibration.together + (self.scales,) * bool(self.scales)
        return *parts, *more  # without more as before there was a choice

    @fresh_torch()
    def to(self, device: Device) -> "Detector":
        place = check_device(device)
        encoders = copy.deepcopy(self.encoders).to(place)
        means = self.class_means.to(place)
        return Detector(
            encoders, means, self.benign, self.class_names, self.settings, self.card, self.seen, self.scales
        )

    def save(self, path: str | Path) -> None:
        """Write encoders, class means and calibration images' log-densities, no decoder.

        Beside them stand hashes of the images it was made with, eight bytes each. Weights that are float16 numbers, see
        `rounded`, take half the room.
        """
        save_tensors(path, "detector", *self.contents())

    def contents(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What its file holds: tensors, and a JSON-able description."""
        plan = self.encoders.plan
        weights = {name: _narrow(tensor) for name, tensor in self.encoders.state_dict().items()}
        tensors = {"class_means": self.class_means, **prefixed("encoders", weights)}
        for rule, table in self.benign.items():
            tensors |= prefixed(f"benign.{rule}", vars(table) | {"labels": table.labels.int()})
        tensors |= {f"levels.{rule}": levels for rule, levels in self.scales.items()}
        tensors |= self.seen.tensors() if self.seen else {}
        description = {"encoder": str(plan.spec), "image_shape": plan.input_shape, "class_names": self.class_names,
                       "settings": self.settings.model_dump(), "card": self.card}  # fmt: skip
        if self.encoders.binary is not None:
            description["binary"] = str(self.encoders.binary.plan.spec)
        return tensors, description

    @classmethod
    @fresh_torch()
    def load(cls, path: str | Path) -> "Detector":
        """Read a detector file onto the CPU.

        Raises:
            TwinlatentError: the file is missing, damaged, or no detector file; the line names it.
        """
        return cls.of_contents(*load_tensors(path, "detector"), path)

    @classmethod
    def of_contents(cls, tensors: Mapping[str, Tensor], description: Mapping[str, Any], path: str | Path) -> "Detector":
        """The detector of which `contents` were kept in a file.

        Raises:
            TwinlatentError: they are those of no detector of this version; the line names the file.
        """
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise TwinlatentError(f"{path} holds values in {name} that are not finite; train the detector again")
        try:
            names = texts("class_names", description["class_names"])
            shape = tuple(description["image_shape"])
            plan = network_plan(description["encoder"], shape, "encoder")
            beside = [network_plan(text, shape, "classifier") for text in (description.get("binary"),) if text]
            _check_shapes(plan, beside, len(names), tensors)
            encoders = ClassEncoders(plan, len(names), torch.Generator())  # replaced at once
            encoders.binary = PlainNetwork(*beside) if beside else None
            encoders.load_state_dict(under("encoders", tensors))
            benign = {rule: _table(under(f"benign.{rule}", tensors)) for rule in get_args(LabelRule)}
            settings = DetectorSettings(**description["settings"])
            seen = Seen.kept_in(tensors)
            scales = {rule: tensors[f"levels.{rule}"] for rule in get_args(LabelRule) if f"levels.{rule}" in tensors}
            return cls(encoders, tensors["class_means"], benign, names, settings, description["card"], seen, scales)
        except TwinlatentError:
            raise
        except UNFIT as error:
            reason = brief(error)
            raise TwinlatentError(
                f"{path} does not hold a detector of this version; save it again ({reason})"
            ) from error

    def using(
        self,
        *,
        label_rule: LabelRule | None = None,
        score: Score | None = None,
        thresholds: Thresholds | None = None,
    ) -> "Detector":
        """The same encoders and calibration images under another label rule, score, or kind of thresholds."""
        asked = {"label_rule": label_rule, "score": score, "thresholds": thresholds}
        settings = checked(
            lambda: DetectorSettings(**self.settings.model_dump() | {k: v for k, v in asked.items() if v is not None})
        )
        return Detector(self.encoders, self.class_means, self.benign, self.class_names, settings, self.card, self.seen,
                        self.scales)  # fmt: skip

    def with_score(self, score: str) -> "Detector":
        if score not in get_args(Score):
            raise unknown_score(score, self.scores)
        return self.using(score=score)  # type: ignore[arg-type]

    def with_calibration(self, images: Tensor, card: Mapping[str, Any], seen: Seen | None) -> "Detector":
        tables = benign_tables(self.encoders, self.class_means, images)
        made = Detector(self.encoders, self.class_means, tables, self.class_names, self.settings, card, seen)
        rules: tuple[LabelRule, ...] = get_args(LabelRule)
        scales, new = ({rule: each.using(label_rule=rule).levels for rule in rules} for each in (self, made))
        if not all(torch.equal(scales[rule], new[rule]) for rule in rules):  # the score stays what it is
            made = Detector(
                self.encoders, self.class_means, tables, self.class_names, self.settings, card, seen, scales
            )
        return made

    @full_precision()
    def outputs(self, images: Tensor) -> Outputs:
        """Logits, suspicion, robust log-density and latents (μ_r, then μ_v), differentiable with respect to the images.

        Gradients pass ramps of the network as if these had no ends: so they lead attacks on where the network is flat.

        Args:
            images: float (n, channels, H, W) in [0, 1], on the detector's device. Not checked.
        """
        return self._outputs(images, (self.settings.score,))[self.settings.score]

    @full_precision()
    def outputs_by_score(self, images: Tensor) -> dict[str, Outputs]:
        return self._outputs(images, get_args(Score))

    def _outputs(self, images: Tensor, scores: Sequence[Score]) -> dict[str, Outputs]:
        """One pass of the encoders, and the suspicion under each score."""
        latents = encode(self.encoders, images)
        robust = log_standard_normal(latents.robust.mean).T
        vulnerable = log_standard_normal(latents.vulnerable.mean).T
        logits = label_logits(self.settings.label_rule, robust, vulnerable, latents.robust.mean, self.class_means)
        levels = self.levels.to(robust.device)
        means = torch.cat([latents.robust.mean, latents.vulnerable.mean], -1).transpose(0, 1)
        if self.encoders.binary is not None:
            vulnerable = vulnerable + self.encoders.attacked(images)[:, None]
        return {
            score: Outputs(logits, suspicion_of(score, robust, vulnerable, levels), robust, means) for score in scores
        }


def _check_shapes(plan: Plan, beside: Sequence[Plan], classes: int, tensors: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` before networks are made that are far larger than the file, or where means are none."""
    if any(one.output_shape != (1,) for one in beside):
        raise ValueError("its binary detector does not end in sm(1)")
    held = sum(tensor.numel() for tensor in under("encoders", tensors).values())
    asked = sum(math.prod(shape) for one in (plan, *beside) for _, _, shape in parameters_of(one))
    if asked > held:
        raise ValueError(f"its network has {asked:,} weights and more, and there are {held:,}")
    means, latent = tuple(tensors["class_means"].shape), plan.latent or ()
    if means != (classes, *latent[:1]):
        raise ValueError(f"class means have shape {means}")


def _table(tensors: Mapping[str, Tensor]) -> BenignTable:
    return BenignTable(tensors["labels"].long(), tensors["robust"], tensors["vulnerable"])


@fresh_torch()
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
    class_means = class_means_of(encoders, train)
    tables = benign_tables(encoders, class_means, calibration.images)
    seen = Seen.of(train.images, calibration.images)
    return Detector(encoders, class_means, tables, class_names, settings, card, seen)


@fresh_torch()
def rounded(detector: Detector, train: LabelledImages, calibration: LabelledImages) -> Detector:
    """The detector with weights rounded to float16 numbers, which it still computes with in float32, calibrated again.

    Its file is half as large.

    Args:
        detector: stays as it is.
        train: the training images it was made with.
        calibration: the calibration images it was made with.
    """
    encoders = copy.deepcopy(detector.encoders)
    for tensor in encoders.state_dict().values():
        tensor.copy_(tensor.half())
    card = {**detector.card, "weights": "float16"}
    return build_detector(encoders, train, calibration, detector.class_names, detector.settings, card)


def _narrow(tensor: Tensor) -> Tensor:
    """In float16 where that changes no value."""
    half = tensor.half()
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor
