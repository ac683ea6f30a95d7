"""What an attack did to images, as tensors, as a figure and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from twinlatent.data.split import as_pictures
from twinlatent.errors import TwinlatentError
from twinlatent.showing import SHOWN, Thumbnail, first_images, html_table, left_out, p_text, thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = 6
"""Rows of a figure, at most."""


class Said(Protocol):
    """The part of a verdict on n images that is shown: see `twinlatent.Verdict`."""

    @property
    def label(self) -> Tensor:
        """int64 (n,), the predicted class."""

    @property
    def adversarial(self) -> Tensor:
        """bool (n,), whether it is flagged."""

    @property
    def p_value(self) -> Tensor:
        """float32 (n,), in (0, 1]."""


class Detects(Protocol):
    """What gives verdicts: a detector of this package, from a file or from ONNX."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One a class."""

    def detect(self, images: Tensor, fpr: float = ...) -> Said:
        """Verdicts on images (n, channels, H, W)."""


@dataclass(frozen=True)
class Before:
    """The first images as they were before the attack, at most `SHOWN`, copied to the CPU.

    Attributes:
        images: (k, channels, H, W) in [0, 1].
        labels: int64 (k,), the true ones.
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: Tensor, labels: Tensor) -> "Before":
        """The first of n images."""
        return cls(first_images(images), first_images(labels))


@dataclass(frozen=True)
class AttackResult:
    """What an attack did to n images, judged afterwards on the final images; a notebook shows it as a table.

    Attributes:
        images: (n, channels, H, W) in [0, 1], the best that was found.
        labels: int64 (n,), what the model predicts for them.
        success: bool (n,), whether they meet the criterion.
        linf: (n,), largest change of a pixel.
        l2: (n,), root of the summed squares of the change.
        steps: int64 (n,), gradients that were computed for each image, or queries.
        dead_steps: int64 (n,), those among them whose gradient was zero everywhere or NaN.
        gamma: (n,), the bypass weight γ that was found; NaN where none was searched.
        gamma_stuck: bool (n,), whether the search for γ failed and went one way only, to an end of its range.
        before: the first images as they were; None where they were not kept.
    """

    images: Tensor
    labels: Tensor
    success: Tensor
    linf: Tensor
    l2: Tensor
    steps: Tensor
    dead_steps: Tensor
    gamma: Tensor
    gamma_stuck: Tensor
    before: Before | None = field(default=None, repr=False, compare=False)

    @classmethod
    def joined(cls, parts: "list[AttackResult]") -> "AttackResult":
        """The results of several batches, in their order, without `before`."""
        whole: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in MEASURED}
        return cls(**whole)

    def plot(self, detector: Detects | None = None, *, fpr: float = 0.05, class_names: Sequence[str] = ()) -> "Figure":
        """Draw the first images, at most 6: original, attacked and their difference, and what is said of each.

        The figure is a matplotlib one and needs no display: a notebook shows it, `figure.savefig("attack.png")` writes
        it. The difference is grey where nothing changed, blue where the attack darkened, light where it brightened.

        Args:
            detector: whose verdicts stand below both images; None: what the model predicts for the attacked one.
            fpr: share of benign images that it may flag, in (0, 1).
            class_names: one a class; none: those of the detector, or numbers.

        Raises:
            TwinlatentError: the originals were not kept; no detector, or one for other images; too few class names.

        Example:
            >>> import torch, twinlatent as tl
            >>> detector = tl.load("mnist-mim")
            >>> images, labels = torch.zeros(2, *detector.image_shape), torch.tensor([1, 7])
            >>> figure = tl.attacks.fgsm(detector, images, labels, epsilon=0.1).plot(detector)
            >>> [axes.get_title() for axes in figure.axes[:2]]
            ['benign', 'attacked']
        """
        if self.before is None:
            raise TwinlatentError("this result does not hold the images that were attacked; draw what an attack "
                                  "function or twinlatent.attacks.run returns")  # fmt: skip
        if not (detector is None or hasattr(detector, "detect")):
            raise TwinlatentError(f"detector is a {type(detector).__name__}, which gives no verdicts; give what "
                                  "twinlatent.load or twinlatent.fit returns, or nothing")  # fmt: skip
        from twinlatent.drawing.images import GridRow, image_grid
        from twinlatent.drawing.labels import shortened

        benign, attacked = self.before.images[:PAIRS], self.images[:PAIRS].cpu()
        names = class_names or (() if detector is None else detector.class_names)
        if detector is None:
            predicted = [f"predicted: {shortened(name)}" for name in _names(names, self.labels[:PAIRS])]
            said = [[""] * len(predicted), predicted]
        else:
            said = [_verdicts(names, detector.detect(images.float(), fpr)) for images in (benign, attacked)]
        true = map(shortened, _names(names, self.before.labels[:PAIRS]))
        won = ["success" if won else "no success" for won in self.success[:PAIRS].tolist()]
        parts = (as_pictures(benign), as_pictures(attacked), true, *said, won)
        rows = [GridRow(*row) for row in zip(*parts, strict=True)]
        return image_grid(rows, "\n".join(filter(None, (self._title(), left_out(len(self.images), len(rows))))))

    def _repr_html_(self) -> str:
        columns: dict[str, Sequence[str | Thumbnail]] = {"": [str(row) for row in range(len(self.images[:SHOWN]))]}
        if self.before is not None:
            columns |= {
                "benign": _thumbnails(self.before.images, "benign image"),
                "true class": _names([], self.before.labels),
            }
        columns |= {
            "attacked": _thumbnails(self.images[:SHOWN], "attacked image"),
            "predicted": _names([], self.labels[:SHOWN]),
            "success": ["yes" if won else "no" for won in self.success[:SHOWN].tolist()],
            "largest change": [f"{size:.3g}" for size in self.linf[:SHOWN].tolist()],
        }
        rows = list(zip(*columns.values(), strict=True))
        return html_table(self._title(), list(columns), rows, left_out(len(self.images), len(rows)))

    def _title(self) -> str:
        n = len(self.images)
        return f"the attack succeeds on {int(self.success.sum()):,} of {n:,} {'image' if n == 1 else 'images'}"


def _names(names: Sequence[str], labels: Tensor) -> list[str]:
    """Of each label (k,): its number where there are no names, and a dash for −1, where an attack was not tried.

    Raises:
        TwinlatentError: a label has none.
    """
    found = labels.tolist()
    if names and max(found, default=0) >= len(names):
        raise TwinlatentError(f"class_names has {len(names)} names, but there is a class {max(found)}; give all")
    return ["–" if label < 0 else names[label] if names else str(label) for label in found]


def _verdicts(names: Sequence[str], said: Said) -> list[str]:
    """`seven, flagged, p 0.012` of each image."""
    from twinlatent.drawing.labels import shortened

    words = zip(_names(names, said.label), said.adversarial.tolist(), said.p_value.tolist(), strict=True)
    return [f"{shortened(name)}, {'flagged' if flagged else 'passes'}, p {p_text(p)}" for name, flagged, p in words]


def _thumbnails(images: Tensor, kind: str) -> list[Thumbnail]:
    return [thumbnail(picture, f"{kind} {row}") for row, picture in enumerate(as_pictures(images))]


MEASURED = tuple(field.name for field in fields(AttackResult) if field.name != "before")
"""Those fields of `AttackResult` that have a row an image: what is kept in files."""
