"""Deals the benign images of a round.

Letters: C classes, B images a class.
"""

import torch
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation, augmented
from twinlatent.errors import TwinlatentError


class BatchSampler:
    """Deals fresh images: for each class B of its own and B of the others, drawn with replacement and augmented.

    Raises:
        TwinlatentError: a class without images, or fewer than 2 classes.
    """

    def __init__(
        self, data: LabelledImages, classes: int, batch: int, device: torch.device, augment: Augmentation
    ) -> None:
        self._images, self._batch, self._device, self._augment = data.images, batch, device, augment
        self._own = [(data.labels == label).nonzero()[:, 0] for label in range(classes)]
        self._others = [(data.labels != label).nonzero()[:, 0] for label in range(classes)]
        empty = [label for label, own in enumerate(self._own) if not len(own)]
        if empty or classes < 2:
            raise TwinlatentError(
                f"class {empty[0] if empty else 1} has no training images; give images of at least 2 classes"
            )

    def __call__(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images of each class and of the others, each (C, B, channels, H, W)."""
        return self._draw(self._own, generator), self._draw(self._others, generator)

    def _draw(self, pools: list[Tensor], generator: torch.Generator) -> Tensor:
        picked = [pool[torch.randint(len(pool), (self._batch,), generator=generator)] for pool in pools]
        return augmented(self._images[torch.stack(picked)], self._augment, generator).to(self._device)
