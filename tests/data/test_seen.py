"""Images are known again by what they show."""

import numpy as np
import pytest
import torch
from PIL import Image

from twinlatent.data import Split
from twinlatent.data.folder import read_image
from twinlatent.data.seen import Seen, image_hashes


@pytest.fixture
def images() -> torch.Tensor:
    """Nine thousand images of which no two are alike: each begins with its own number."""
    numbers = torch.arange(9000)
    pixels = torch.randint(0, 256, (9000, 1, 5, 6), generator=torch.Generator().manual_seed(0))
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = numbers % 256, numbers // 256
    return pixels / 255


def test_what_was_trained_and_calibrated_on_is_told_from_the_rest(images: torch.Tensor) -> None:
    seen = Seen.of(images[:5000], images[5000:6000])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    trained, calibrated = seen.among(images[order])
    assert torch.equal(trained, order < 5000)
    assert torch.equal(calibrated, (order >= 5000) & (order < 6000))


def test_it_takes_eight_bytes_an_image_and_forgets_their_order(images: torch.Tensor) -> None:
    seen, shuffled = (Seen.of(some, images[:1]) for some in (images[:400], images[:400].flip(0)))
    assert (seen.train.dtype, len(seen.train), len(seen.calibration)) == (torch.int64, 400, 1)
    assert torch.equal(seen.train, shuffled.train)
    assert torch.equal(seen.train, seen.train.sort().values)


def test_images_of_equal_bytes_are_the_same_and_one_grey_level_is_another(images: torch.Tensor) -> None:
    some = images[:50]
    generator = torch.Generator().manual_seed(2)
    nearly = (some + (torch.rand(some.shape, generator=generator) - 0.5) * 0.9 / 255).clamp(0, 1)
    assert torch.equal(image_hashes(nearly), image_hashes(some))
    changed = some.clone()
    changed[:, 0, 4, 5] = (changed[:, 0, 4, 5] + 1 / 255) % (256 / 255)
    assert not (image_hashes(changed) == image_hashes(some)).any()


def test_an_image_is_the_same_in_a_file_of_another_kind(tmp_path, digits: Split) -> None:
    image = digits.test.images[0, 0]
    hashes = []
    for name in ("a.png", "b.bmp"):
        Image.fromarray(image.mul(255).round().byte().numpy()).save(tmp_path / name)
        hashes.append(image_hashes(torch.from_numpy(np.array(read_image(tmp_path / name, 8)))[None, None]))
    assert torch.equal(hashes[0], hashes[1])
    assert torch.equal(hashes[0], image_hashes(image[None, None]))


def test_no_images_are_no_hashes() -> None:
    none = torch.empty(0, 1, 4, 4)
    seen = Seen.of(none, none)
    assert (len(seen.train), len(seen.calibration)) == (0, 0)
    assert [len(found) for found in seen.among(none)] == [0, 0]
    assert not seen.among(torch.zeros(2, 1, 4, 4))[0].any()


def test_it_survives_a_file_and_old_files_have_none(images: torch.Tensor) -> None:
    seen = Seen.of(images[:7], images[7:9])
    again = Seen.kept_in(seen.tensors() | {"class_means": torch.zeros(1)})
    assert again is not None
    assert torch.equal(again.train, seen.train)
    assert torch.equal(again.calibration, seen.calibration)
    assert Seen.kept_in({"class_means": torch.zeros(1)}) is None
    assert Seen.kept_in({name: kept.int() for name, kept in seen.tensors().items()}) is None  # of four bytes
