"""Deals the benign images of a round.

Letters: C classes, B images a class.
"""

import torch
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation, augmented
from twinlatent.data.split import SEED_LIMIT, seeded
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


class Epochs:
    """Deals batches of all images in an order of its own an epoch, which the seed and the round decide.

    Raises:
        TwinlatentError: a class without images, or fewer than 2 classes.
    """

    def __init__(self, data: LabelledImages, classes: int, batch: int, augment: Augmentation, seed: int,
                 device: torch.device) -> None:  # fmt: skip
        counts = data.labels.bincount(minlength=classes)
        if classes < 2 or not counts.all():
            missing = int(counts.argmin()) if classes > 1 else 1
            raise TwinlatentError(f"class {missing} has no training images; give images of at least 2 classes")
        self._data, self._device, self._seed = data, device, seed
        self._batch, self._augment = min(batch, len(data)), augment
        self._order = (-1, torch.empty(0, dtype=torch.int64))

    def __call__(self, round_: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images (B, channels, H, W), augmented, and labels (B,) of a round."""
        epoch, place = divmod(round_, len(self._data) // self._batch)
        if self._order[0] != epoch:
            own = seeded((self._seed + 7919 * (epoch + 1)) % SEED_LIMIT)
            self._order = epoch, torch.randperm(len(self._data), generator=own)
        picked = self._order[1][place * self._batch : (place + 1) * self._batch]
        images = self._data.images[picked]
        if self._augment != Augmentation():
            images = augmented(images, self._augment, generator)
        return images.to(self._device), self._data.labels[picked].to(self._device)
