"""A user's classifier as it is asked: in evaluation mode, in its own precision and place; it stays as it was."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from twinlatent.attacks.models import frozen
from twinlatent.baselines.baseline import Baseline
from twinlatent.baselines.networks import Confidence
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.guards.onnx_file import ONNX, OnnxClassifier, from_onnx
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.outputs import Outputs
from twinlatent.torch_state import CPU

Classifier = Callable[[Tensor], Tensor] | Baseline | str | Path
"""A module or function: images (n, channels, H, W) in [0, 1] → logits (n, C); the path of an `.onnx` file; or a
baseline that is a classifier, `plain` or `adversarial-training`."""


@dataclass(frozen=True, eq=False)
class AskedClassifier:
    """A classifier with the name that records have for it.

    Attributes:
        given: the user's own, which stays as it is.
        name: in records and files.
    """

    given: Callable[[Tensor], Tensor]
    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, channels, H, W) → logits (n, C), of their type and on their device.

        Raises:
            TwinlatentError: it answers with something else, or with NaN, which passes no criterion and is no defence.
        """
        first = next((part for part in self.held if part.is_floating_point()), images)
        with frozen(self.given):
            answer: object = self.given(images.to(first.device, first.dtype, copy=True))
        if not isinstance(answer, Tensor):
            mend = "give a classifier that returns a tensor of logits (n, C)"
            if isinstance(answer, tuple | list):
                mend += "; take lambda x: net(x)[0] if logits come first"
            if isinstance(answer, Outputs):
                mend = "that is a detector and no classifier: judge it as it is, without rejecting"
            raise TwinlatentError(f"{self.name} answers images with a {type(answer).__name__}; {mend}")
        if answer.ndim != 2 or len(answer) != len(images):
            raise TwinlatentError(f"{self.name} answers {len(images)} images with a tensor of shape "
                                  f"{tuple(answer.shape)}; logits (n, C) are expected")  # fmt: skip
        bad = answer.isnan().any(1)
        if bool(bad.any()):
            raise TwinlatentError(f"{self.name} answers {int(bad.sum())} of {len(bad)} images with NaN, and NaN "
                                  "is no defence; answer every image in [0, 1] with numbers")  # fmt: skip
        return answer.to(images)

    @property
    def held(self) -> list[Tensor]:
        """Parameters and buffers of a module; of a function none."""
        return [*self.given.parameters(), *self.given.buffers()] if isinstance(self.given, nn.Module) else []

    @property
    def device(self) -> torch.device:
        """Where the module's tensors are; the CPU for a function."""
        return self.held[0].device if self.held else CPU

    @property
    def parameters(self) -> int:
        """How many trained numbers it has, those of an ONNX file included; 0 for a function."""
        return sum(part.numel() for part in self.given.parameters()) if isinstance(self.given, nn.Module) else 0

    @property
    def identity(self) -> str:
        """SHA-256, in hex, of its parameters and buffers.

        Raises:
            TwinlatentError: it has none, so that one such classifier could not be told from another.
        """
        if not self.held:
            raise TwinlatentError(f"{self.name} is a function or has no parameters, so a file cannot say which "
                                  "classifier it belongs to; give a torch.nn.Module")  # fmt: skip
        return digest(dict(self.given.state_dict()))  # type: ignore[attr-defined]

    def to(self, device: torch.device) -> "AskedClassifier":
        """A copy on that device; itself if it is there.

        Raises:
            TwinlatentError: it is a function, which only its user can move.
        """
        if device == self.device:
            return self
        if not self.held:
            raise TwinlatentError(f"{self.name} computes on {self.device}; move what it uses to {device}")
        moved = copy.deepcopy(self.given)
        return replace(self, given=moved.to(device))  # type: ignore[attr-defined]


def asked(classifier: Classifier, name: str | None = None) -> AskedClassifier:
    """The classifier that is meant, an `.onnx` file being read, with a name: its own where none is given.

    Raises:
        TwinlatentError: it is none of these; or a file that cannot be read.
    """
    given: object = classifier
    if isinstance(given, CalibratedDetector):
        if not isinstance(given, Baseline) or not isinstance(given.module, Confidence):
            raise TwinlatentError(f"{given.method} is a detector and no classifier; give one that was trained with "
                                  "method plain or adversarial-training")  # fmt: skip
        name = name or f"{given.card['data']['name']}-{given.method}"
        given = given.module.classifier
    if isinstance(given, str | Path):
        if Path(given).suffix.lower() != ONNX:
            raise TwinlatentError(
                f"classifier {str(given)!r}: give a module, a function, or the path of an {ONNX} file"
            )
        given = from_onnx(given)
    if not callable(given):
        raise TwinlatentError(f"the classifier is a {type(given).__name__}, which answers no images; give a module, a "
                              f"function, or the path of an {ONNX} file")  # fmt: skip
    own = given.name if isinstance(given, OnnxClassifier) else getattr(given, "__name__", type(given).__name__)
    return AskedClassifier(given, name or own.strip("<>"))
