"""A user's classifier with a suspicion beside its label: the log-odds against the label, or that of our encoders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from twinlatent.data.seen import Seen
from twinlatent.errors import TwinlatentError, brief
from twinlatent.guards.classifier import AskedClassifier, Classifier, asked
from twinlatent.method.calibrated import BenignAnswers, CalibratedDetector, chunks, unknown_score
from twinlatent.method.checkpoints import UNFIT, load_tensors, prefixed, save_tensors, under
from twinlatent.method.detector import Detector
from twinlatent.method.scores import log_odds_against
from twinlatent.outputs import Outputs, at_label
from twinlatent.torch_state import Device, check_device, fresh_torch, full_precision

KIND = "guard"
"""What its file is, see `load_tensors`."""
LOG_ODDS = "log-odds"
"""The score of a classifier that nothing guards but its own confidence."""


@final
class Guarded(CalibratedDetector):
    """A user's classifier made a detector: its label, and how suspicious that label is.

    Made by `rejecting` and `guard`. The classifier is asked in evaluation mode and stays as it is.

    Attributes:
        classifier: the user's.
        detector: whose suspicion of the classifier's label counts; None: the log-odds against the label.
        benign: by score, what is said of the calibration images.
    """

    @fresh_torch()
    def __init__(
        self,
        classifier: AskedClassifier,
        detector: Detector | None,
        benign: Mapping[str, BenignAnswers],
        class_names: tuple[str, ...],
        image_shape: tuple[int, ...],
        card: Mapping[str, Any],
        score: str,
        seen: Seen | None,
    ) -> None:
        self.classifier, self.detector, self.benign, self._score = classifier, detector, dict(benign), score
        together = detector is not None and detector.settings.thresholds == "together"
        super().__init__(class_names, image_shape, self.benign[score], card, seen, together)

    @property
    def method(self) -> str:
        return self.classifier.name

    @property
    def score(self) -> str:
        return self._score

    @property
    def scores(self) -> tuple[str, ...]:
        return (LOG_ODDS,) if self.detector is None else self.detector.scores

    @property
    def label_rule(self) -> str:
        return "classifier"

    @property
    def device(self) -> torch.device:
        return self.classifier.device if self.detector is None else self.detector.device

    @property
    def network(self) -> str:
        own = type(self.classifier.given).__name__
        return own if self.detector is None else f"{own} beside {self.detector.network}"

    @property
    def parameters(self) -> int:
        return self.classifier.parameters + (0 if self.detector is None else self.detector.parameters)

    @property
    def _decisive(self) -> tuple[Any, ...]:
        own = self.classifier.identity if self.classifier.held else self.classifier.name
        guard = None if self.detector is None else self.detector.fingerprint
        return own, guard, self._score, {score: vars(answers) for score, answers in self.benign.items()}

    def outputs(self, images: Tensor) -> Outputs:
        return self.outputs_by_score(images)[self._score]

    @full_precision()
    def outputs_by_score(self, images: Tensor) -> dict[str, Outputs]:
        return answers_of(self.classifier, self.detector, images)

    def with_score(self, score: str) -> "Guarded":
        if score not in self.scores:
            raise unknown_score(score, self.scores)
        return self._with(self.classifier, self.detector, score)

    @fresh_torch()
    def with_calibration(self, images: Tensor, card: Mapping[str, Any], seen: Seen | None) -> "Guarded":
        benign = benign_answers(self.classifier, self.detector, images, self.device)
        return Guarded(
            self.classifier, self.detector, benign, self.class_names, self.image_shape, card, self.score, seen
        )

    def to(self, device: Device) -> "Guarded":
        place = check_device(device)
        detector = None if self.detector is None else self.detector.to(place)
        return self._with(self.classifier.to(place), detector, self._score)

    def save(self, path: str | Path) -> None:
        """Write what guards the classifier, and the digest of its parameters, not the classifier itself.

        Raises:
            TwinlatentError: the classifier has no parameters.
        """
        tensors: dict[str, Tensor] = {}
        for score, answers in self.benign.items():
            tensors |= {f"labels.{score}": answers.labels.int(), f"suspicion.{score}": answers.suspicion}
            tensors |= {} if answers.robust is None else {f"robust.{score}": answers.robust}
        tensors |= self.seen.tensors() if self.seen else {}
        description = {"classifier": {"name": self.classifier.name, "digest": self.classifier.identity},
                       "image_shape": self.image_shape, "class_names": self.class_names, "score": self._score,
                       "card": self.card, "detector": None}  # fmt: skip
        if self.detector is not None:
            own, description["detector"] = self.detector.contents()
            tensors |= prefixed("detector", own)
        save_tensors(path, KIND, tensors, description)

    @classmethod
    @fresh_torch()
    def load(cls, path: str | Path, classifier: Classifier | None = None) -> "Guarded":
        """Read the file beside the classifier that it belongs to.

        Args:
            path: of the file.
            classifier: the one that was guarded when the file was written.

        Raises:
            TwinlatentError: the file is missing, damaged, or no guard's file; there is no classifier, or another one.
        """
        tensors, description = load_tensors(path, KIND)
        try:
            name, digest = description["classifier"]["name"], description["classifier"]["digest"]
            guarded = _known(path, name, digest, classifier)
            own = description["detector"]
            detector = None if own is None else Detector.of_contents(under("detector", tensors), own, path)
            names, shape = tuple(description["class_names"]), tuple(description["image_shape"])
            scores = (LOG_ODDS,) if detector is None else detector.scores
            benign = {score: BenignAnswers(tensors[f"labels.{score}"].long(), tensors[f"suspicion.{score}"],
                                           tensors.get(f"robust.{score}")) for score in scores}  # fmt: skip
            return cls(guarded, detector, benign, names, shape, description["card"], description["score"],
                       Seen.kept_in(tensors))  # fmt: skip
        except TwinlatentError:
            raise
        except UNFIT as error:
            reason = brief(error)
            raise TwinlatentError(f"{path} does not hold a guard of this version; make it again ({reason})") from error

    def _with(self, classifier: AskedClassifier, detector: Detector | None, score: str) -> "Guarded":
        return Guarded(
            classifier, detector, self.benign, self.class_names, self.image_shape, self.card, score, self.seen
        )


def answers_of(classifier: AskedClassifier, detector: Detector | None, images: Tensor) -> dict[str, Outputs]:
    """By score, the classifier's logits with the suspicion of each label."""
    logits = classifier(images)
    if detector is None:
        return {LOG_ODDS: Outputs(logits, log_odds_against(logits))}
    said = detector.outputs_by_score(images)
    return {score: Outputs(logits, one.suspicion, one.robust, one.latents) for score, one in said.items()}


@torch.no_grad()
def benign_answers(
    classifier: AskedClassifier, detector: Detector | None, images: Tensor, device: torch.device
) -> dict[str, BenignAnswers]:
    """By score, what is said of benign images, computed exactly as `detect` does."""
    found: dict[str, list[Outputs]] = {}
    for n, chunk in chunks(images):
        for score, answers in answers_of(classifier, detector, chunk.to(device)).items():
            robust = None if answers.robust is None else answers.robust[:n].cpu()
            found.setdefault(score, []).append(Outputs(answers.logits[:n].cpu(), answers.suspicion[:n].cpu(), robust))
    made = {}
    for score, parts in found.items():
        fit = [at_label(part.robust, part.labels) for part in parts if part.robust is not None]
        made[score] = BenignAnswers(torch.cat([part.labels for part in parts]),
                                    torch.cat([part.suspicion_of_label for part in parts]),
                                    torch.cat(fit) if fit else None)  # fmt: skip
    return made


def _known(path: str | Path, name: str, digest: str, classifier: Classifier | None) -> AskedClassifier:
    """The classifier that a file belongs to."""
    if classifier is None:
        raise TwinlatentError(f"{path} guards the classifier {name!r}, which is not in it; give the classifier "
                              "(--classifier FILE.py:NAME or FILE.onnx, classifier=)")  # fmt: skip
    given = asked(classifier, name)
    if given.identity != digest:
        raise TwinlatentError(f"{path} guards a classifier {name!r} with other parameters (digest {digest[:12]}) than "
                              f"the one given ({given.identity[:12]}); give it, or guard this one anew")  # fmt: skip
    return given
