"""Pictures of what attacks on a detector made: images with verdicts, and latents of one class."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.data.split import as_pictures
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import draw
from twinlatent.evaluation.results import LatentPoints, Names, PairGrid
from twinlatent.evaluation.white_box.conditions import CW, OVER_RADII
from twinlatent.evaluation.white_box.whole import WhiteBox
from twinlatent.method.calibrated import CalibratedDetector, chunks
from twinlatent.method.detector import Detector
from twinlatent.method.verdicts import Verdict

SHOWN = 6
"""Images of a figure of pairs."""
LATENT_IMAGES = 200
"""Images of each kind of the figure of latents, at most."""


def grid_of(box: WhiteBox, fpr: float) -> PairGrid:
    """What attacks for C1 and C2 made of the first few images."""
    columns = {w.attack if w.epsilon is None else f"{w.attack} {w.epsilon:g}": w.images[:SHOWN]
               for w in box.conditions if w.attack in (CW, *OVER_RADII[1:])}  # fmt: skip
    return pair_grid(box.as_published, box.subset.subset(slice(SHOWN)), columns, fpr)


def latents_of(detector: CalibratedDetector, box: WhiteBox, test: LabelledImages, seed: int) -> LatentPoints | None:
    """Latents as the class sees them that most attacked images were taken for, by an attack that knows no detector.

    Args:
        detector: that was attacked.
        box: what was done to it.
        test: benign images, of which those of the class are shown, drawn by seed.
        seed: of the draw.
    """
    tried = box.points.main.result.by_attack
    attacked = next(tried[name] for name in ("mim", "pgd", "mim_w") if name in tried).result
    misclassified = attacked.labels.cpu() != box.drawn.labels
    if not misclassified.any():
        return None
    label = int(attacked.labels.cpu()[misclassified].mode().values)
    mine = test.subset(test.labels == label)
    benign = draw(mine, min(LATENT_IMAGES, len(mine)), seed).images
    chosen = attacked.images.cpu()[misclassified & (attacked.labels.cpu() == label)][:LATENT_IMAGES]
    return latent_points(detector, benign, chosen, label)


def pair_grid(
    detector: CalibratedDetector, benign: LabelledImages, columns: Mapping[str, Tensor], fpr: float
) -> PairGrid:
    """Ask the detector about benign images and about attacked versions of them.

    Args:
        detector: calibrated.
        benign: k images with their true labels.
        columns: name → (k, channels, H, W), the attacked versions, see `PairGrid`.
        fpr: share of benign images that may be flagged.

    Raises:
        TwinlatentError: no columns or images, images of another shape, or a rate that the calibration cannot tell.
    """
    for name, images in columns.items():
        if images.shape != benign.images.shape:
            raise TwinlatentError(f"column {name!r} has images {tuple(images.shape)}; the benign ones are "
                                  f"{tuple(benign.images.shape)}")  # fmt: skip
    if not columns or not len(benign):
        raise TwinlatentError(f"{len(columns)} columns of {len(benign)} images; give at least one of each")
    names = np.array(detector.class_names)
    before = detector.detect(benign.images, fpr)
    after = [detector.detect(images, fpr) for images in columns.values()]
    return PairGrid(
        fpr=fpr,
        benign=as_pictures(benign.images),
        true=names[benign.labels.cpu().numpy()],
        benign_label=_read_as(names, before),
        benign_flagged=before.adversarial.numpy(),
        columns=np.array(list(columns)),
        images=np.stack([as_pictures(images) for images in columns.values()]),
        predicted=np.stack([_read_as(names, verdict) for verdict in after]),
        flagged=np.stack([verdict.adversarial.numpy() for verdict in after]),
    )


@torch.no_grad()
def latent_points(detector: CalibratedDetector, benign: Tensor, attacked: Tensor, label: int) -> LatentPoints | None:
    """Latents of class `label`; None for a detector that has no robust and vulnerable ones, or of no images at all.

    Args:
        detector: any.
        benign: (n, channels, H, W), images of the class.
        attacked: (m, channels, H, W), images attacked until they were predicted as the class.
        label: number of the class.
    """
    images = torch.cat([benign.cpu(), attacked.cpu()])
    if not isinstance(detector, Detector) or not len(images):
        return None
    seen = []
    for n, chunk in chunks(images):
        latents = detector.outputs(chunk.to(detector.device)).latents
        assert latents is not None
        seen.append(latents[:n, label].cpu())
    means, split = torch.cat(seen).numpy(), detector.encoders.robust_size
    return LatentPoints(
        robust=means[:, :split],
        vulnerable=means[:, split:],
        attacked=np.arange(len(images)) >= len(benign),
        class_name=detector.class_names[label],
    )


def _read_as(names: Names, verdict: Verdict) -> Names:
    found: Names = names[verdict.label.numpy()]
    return found
