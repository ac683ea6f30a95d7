"""A baseline as a detector like ours: calibrated, attacked and judged in the same way."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twinlatent.baselines.networks import (
    BaselineNetwork,
    BinaryDetector,
    ClassDetectors,
    Confidence,
    ReverseCrossEntropy,
)
from twinlatent.data import LabelledImages
from twinlatent.data.seen import Seen
from twinlatent.errors import TwinlatentError, brief
from twinlatent.method.calibrated import BenignAnswers, CalibratedDetector, chunks, unknown_score
from twinlatent.method.checkpoints import UNFIT, load_tensors, save_tensors
from twinlatent.outputs import Outputs
from twinlatent.torch_state import Device, check_device, fresh_torch, full_precision

KIND = "baseline"
"""What its file is, see `load_tensors`."""
NETWORKS: dict[str, type[BaselineNetwork]] = {
    "plain": Confidence,
    "adversarial-training": Confidence,
    "gong": BinaryDetector,
    "rce": ReverseCrossEntropy,
    "gat": ClassDetectors,
}


class Baseline(CalibratedDetector):
    """A trained baseline with its calibration.

    Attributes:
        module: the network.
        benign: by score, what it says of the calibration images.
    """

    @fresh_torch()
    def __init__(
        self,
        name: str,
        module: BaselineNetwork,
        benign: Mapping[str, BenignAnswers],
        class_names: tuple[str, ...],
        image_shape: tuple[int, ...],
        card: Mapping[str, Any] | None = None,
        score: str | None = None,
        seen: Seen | None = None,
    ) -> None:
        self.module, self.benign = module.requires_grad_(False).eval(), dict(benign)
        self._name, self._score = name, score or module.scores[0]
        super().__init__(class_names, image_shape, self.benign[self._score], card or {}, seen)

    @property
    def method(self) -> str:
        return self._name

    @property
    def score(self) -> str:
        return self._score

    @property
    def scores(self) -> tuple[str, ...]:
        return self.module.scores

    @property
    def label_rule(self) -> str:
        return "argmax"

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def network(self) -> str:
        return self.module.spec

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def _decisive(self) -> tuple[Any, ...]:
        return self._name, self._score, self.module, {score: vars(table) for score, table in self.benign.items()}

    def with_calibration(self, images: Tensor, card: Mapping[str, Any], seen: Seen | None) -> "Baseline":
        benign = _benign_answers(self.module, images)
        return Baseline(self._name, self.module, benign, self.class_names, self.image_shape, card, self._score, seen)

    @full_precision()
    def outputs(self, images: Tensor) -> Outputs:
        return self.module.outputs(images, self._score)

    @full_precision()
    def outputs_by_score(self, images: Tensor) -> dict[str, Outputs]:
        return {score: self.module.outputs(images, score) for score in self.scores}

    def with_score(self, score: str) -> "Baseline":
        if score not in self.scores:
            raise unknown_score(score, self.scores)
        return self._with(self.module, score)

    @fresh_torch()
    def to(self, device: Device) -> "Baseline":
        return self._with(copy.deepcopy(self.module).to(check_device(device)), self._score)

    def save(self, path: str | Path) -> None:
        """Write network, calibration images' suspicion under each score, and hashes of the images it was made with."""
        tensors = {f"network.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for score, table in self.benign.items():
            tensors |= {f"labels.{score}": table.labels.int(), f"suspicion.{score}": table.suspicion}
        tensors |= self.seen.tensors() if self.seen else {}
        description = {"method": self._name, "network": self.network, "image_shape": self.image_shape,
                       "class_names": self.class_names, "score": self._score, "version": self.module.version,
                       "card": self.card}  # fmt: skip
        save_tensors(path, KIND, tensors, description)

    @classmethod
    @fresh_torch()
    def load(cls, path: str | Path) -> "Baseline":
        """Read a baseline's file onto the CPU.

        Raises:
            TwinlatentError: the file is missing, damaged, or no baseline's file; the line names it.
        """
        tensors, description = load_tensors(path, KIND)
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise TwinlatentError(f"{path} holds values in {name} that are not finite; train the baseline again")
        try:
            names, shape = tuple(description["class_names"]), tuple(description["image_shape"])
            with torch.device("meta"):  # no first weights are drawn, which would move the caller's random state
                module = new_network(description["method"], description["network"], shape, len(names))
            state = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
            for name, _ in module.named_buffers():
                setattr(module, name, torch.empty_like(state[name]))  # takes its size from the data
            module.load_state_dict(state, assign=True)
            if description.get("version", 1) != module.version:
                raise TwinlatentError(f"{path} was calibrated under another version of its score; `train --resume` on "
                                      "its folder calibrates it again")  # fmt: skip
            benign = {score: BenignAnswers(tensors[f"labels.{score}"].long(), tensors[f"suspicion.{score}"])
                      for score in module.scores}  # fmt: skip
            card, score = description["card"], description["score"]
            return cls(description["method"], module, benign, names, shape, card, score, Seen.kept_in(tensors))
        except TwinlatentError:
            raise
        except UNFIT as error:
            reason = brief(error)
            raise TwinlatentError(
                f"{path} does not hold a baseline of this version; train it again ({reason})"
            ) from error

    def _with(self, module: BaselineNetwork, score: str) -> "Baseline":
        return Baseline(
            self._name, module, self.benign, self.class_names, self.image_shape, self.card, score, self.seen
        )


def new_network(method: str, spec: str, image_shape: tuple[int, ...], classes: int) -> BaselineNetwork:
    """The untrained network of a baseline.

    Raises:
        TwinlatentError: there is no such baseline.
    """
    if method not in NETWORKS:
        raise TwinlatentError(f"baseline {method!r} is unknown; choose from {', '.join(NETWORKS)}")
    kind = NETWORKS[method]
    return ClassDetectors(spec, image_shape, classes) if kind is ClassDetectors else kind(spec, image_shape)


@fresh_torch()
@torch.no_grad()
def build_baseline(
    method: str,
    module: BaselineNetwork,
    train: LabelledImages,
    calibration: LabelledImages,
    class_names: tuple[str, ...],
    card: Mapping[str, Any] | None = None,
) -> Baseline:
    """Calibrate a trained network under each of its scores.

    Args:
        method: name of the baseline.
        module: trained; frozen by this call.
        train: benign images it was trained on, by whose hashes it will know them.
        calibration: benign images that were held out from training.
        class_names: one a class.
        card: kept in the baseline.
    """
    benign = _benign_answers(module.requires_grad_(False).eval(), calibration.images)
    seen = Seen.of(train.images, calibration.images)
    return Baseline(method, module, benign, class_names, tuple(calibration.images.shape[1:]), card, seen=seen)


@torch.no_grad()
def _benign_answers(module: BaselineNetwork, images: Tensor) -> dict[str, BenignAnswers]:
    """What a frozen network says of benign images under each of its scores, asked as `detect` asks it."""
    device, benign = next(module.parameters()).device, {}
    for score in module.scores:
        labels, suspicion = [], []
        for n, chunk in chunks(images):
            answers = module.outputs(chunk.to(device), score)
            labels.append(answers.labels[:n].cpu())
            suspicion.append(answers.suspicion_of_label[:n].cpu())
        benign[score] = BenignAnswers(torch.cat(labels), torch.cat(suspicion))
    return benign
