"""What a detector says of images, as numbers, as a figure and as a table."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from twinlatent.data.split import as_pictures
from twinlatent.errors import TwinlatentError
from twinlatent.showing import SHOWN, Thumbnail, html_table, left_out, p_text, thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FLAGGED = "flagged"
PARTS = ("label", "adversarial", "suspicion", "p_value")
"""The tensors of a `Verdict`, a row an image."""


@dataclass(frozen=True)
class Judged:
    """What a verdict is shown with.

    Attributes:
        images: float32 (k, channels, H, W) in [0, 1], the first of those that were judged, at most `SHOWN`; a copy.
        class_names: one a class.
        fpr: share of benign images that may be flagged, in (0, 1).
    """

    images: Tensor
    class_names: tuple[str, ...]
    fpr: float


@dataclass(frozen=True)
class Verdict:
    """What a detector says of n images; a notebook shows it as a table.

    Attributes:
        label: int64 (n,), predicted class ŷ.
        adversarial: bool (n,), whether the suspicion passes the threshold of ŷ.
        suspicion: float32 (n,), higher is more suspicious; comparable within one predicted class, and between classes
            where they are calibrated together.
        p_value: float32 (n,) in (0, 1], at most the asked rate where `adversarial`. Conformal: (1 + k) / (1 + m), k
            of the m benign calibration images of ŷ being at least as suspicious, or of all classes together. Where m is
            too small for the asked rate and k is 0, the images of all classes are compared with; see `Calibration` for
            what either promises.
        judged: the first images and what they are shown with; None where only scores were judged.
    """

    label: Tensor
    adversarial: Tensor
    suspicion: Tensor
    p_value: Tensor
    judged: Judged | None = field(default=None, repr=False, compare=False)

    def plot(self) -> "Figure":
        """Draw the first images, at most 20, each with its class and p-value; those that are flagged have a frame.

        The figure is a matplotlib one and needs no display: a notebook shows it, `figure.savefig("verdict.png")` writes
        it. For others than the first, ask again: `detector.detect(images[verdict.adversarial]).plot()`; the verdict on
        an image does not depend on the others.

        Raises:
            TwinlatentError: no image was judged, or only scores were.

        Example:
            >>> import torch, twinlatent as tl
            >>> detector = tl.load("mnist-mim")
            >>> figure = detector.detect(torch.zeros(3, *detector.image_shape)).plot()
            >>> len(figure.axes)
            3
        """
        if self.judged is None:
            raise TwinlatentError("this verdict holds no images; draw what detector.detect(images) returns")
        from twinlatent.drawing.images import ImageCell, image_cells
        from twinlatent.drawing.labels import shortened

        pictures = as_pictures(self.judged.images)
        cells = [ImageCell(picture, f"{shortened(name)}\np {p}\n{said}", said == FLAGGED)
                 for picture, (name, p, said) in zip(pictures, self._rows(), strict=True)]  # fmt: skip
        return image_cells(cells, "\n".join(filter(None, (self._title(), left_out(len(self.label), len(cells))))))

    def _repr_html_(self) -> str:
        pictures = [] if self.judged is None else [
            thumbnail(picture, f"image {number}")
            for number, picture in enumerate(as_pictures(self.judged.images))
        ]  # fmt: skip
        headings = ["", *(["image"] if pictures else []), "class", "p-value", "verdict"]
        rows: list[list[str | Thumbnail]] = [
            [str(number), *pictures[number : number + 1], *texts] for number, texts in enumerate(self._rows())
        ]
        return html_table(self._title(), headings, rows, left_out(len(self.label), len(rows)))

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Class, p-value and verdict of the first images."""
        names = () if self.judged is None else self.judged.class_names
        parts = (self.label, self.p_value, self.adversarial)
        for label, p, flagged in zip(*(part[:SHOWN].tolist() for part in parts), strict=True):
            yield names[label] if names else str(label), p_text(p), FLAGGED if flagged else "passes"

    def _title(self) -> str:
        n = len(self.label)
        rate = "" if self.judged is None else f" at a false-positive rate of {100 * self.judged.fpr:g} %"
        return f"{int(self.adversarial.sum()):,} of {n:,} {'image' if n == 1 else 'images'} flagged{rate}"
