"""What a round gives each class."""

import torch

from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation
from twinlatent.method.batches import BatchSampler

CLASSES = 3


def test_each_class_is_dealt_its_own_images_and_others(three_digits: LabelledImages, generator) -> None:
    known = {image.numpy().tobytes(): int(label)
             for image, label in zip(three_digits.images, three_digits.labels, strict=True)}  # fmt: skip
    deal = BatchSampler(three_digits, CLASSES, 40, torch.device("cpu"), Augmentation())
    benign, others = deal(generator)
    assert benign.shape == others.shape == (CLASSES, 40, 1, 8, 8)
    for c in range(CLASSES):
        assert {known[image.numpy().tobytes()] for image in benign[c]} == {c}
        assert {known[image.numpy().tobytes()] for image in others[c]} == set(range(CLASSES)) - {c}
    again = deal(generator)
    assert not torch.equal(again[0], benign)
