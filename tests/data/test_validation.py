import numpy as np
import pytest
import torch

from twinlatent.data.validation import check_images, check_numbering
from twinlatent.errors import TwinlatentError

IMAGES = torch.rand(4, 1, 5, 6, generator=torch.Generator().manual_seed(0))
COLOUR = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 1, 7])


def changed(value: float) -> torch.Tensor:
    images = IMAGES.clone()
    images[1, 0, 2, 3] = value
    return images


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        COLOUR,
        IMAGES.double(),
        IMAGES.bfloat16(),
        IMAGES.numpy(),
        IMAGES.double().numpy().astype(">f8"),
        np.broadcast_to(np.float32(0.5), (4, 1, 5, 6)),
        IMAGES.numpy()[:, :, ::-1],
        torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 5, 6),
    ],
)
def test_good_images_become_float32_tensors(images) -> None:
    checked, nothing = check_images(images)
    assert nothing is None
    assert checked.dtype == torch.float32
    expected = images.double().numpy() if isinstance(images, torch.Tensor) else images
    np.testing.assert_array_equal(checked.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("labels", [LABELS, LABELS.int(), LABELS.byte(), LABELS.numpy(), LABELS.numpy().astype(">u2")])
def test_good_labels_become_int64_tensors(labels) -> None:
    checked = check_images(IMAGES, labels)[1]
    assert checked.dtype == torch.int64
    assert checked.tolist() == [0, 1, 1, 7]


def test_good_tensors_come_back_as_they_are() -> None:
    images = IMAGES.clone().requires_grad_()
    checked, labels = check_images(images, LABELS, shape=(1, 5, 6))
    assert checked is images
    assert labels is LABELS


def test_a_read_only_array_is_copied() -> None:
    array = IMAGES.numpy().copy()
    array.flags.writeable = False
    check_images(array)[0].zero_()
    assert array.any()


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (IMAGES.tolist(), "are a list; give a torch tensor or a numpy array"),
        (np.array([["a"]]), "array of <U1; give numbers"),
        (np.zeros((2, 1, 2, 2), object), "array of object; give numbers"),
        (IMAGES.mul(255).byte(), "are uint8, not floating; divide by 255"),
        (IMAGES.mul(255).byte().numpy(), "are uint8, not floating; divide by 255"),
        (IMAGES.long(), "are int64, not floating; convert to float32"),
        (IMAGES > 0.5, "are bool, not floating; convert to float32"),
        (IMAGES.to(torch.complex64), "are complex64, not floating"),
        (IMAGES[:, 0], r"shape \(4, 5, 6\), not \(n, 1, H, W\); add the channel axis: images\[:, None\]"),
        (IMAGES.permute(0, 2, 3, 1), "move the channel axis forward"),
        (IMAGES.expand(4, 3, 5, 6), "one grey channel"),
        (IMAGES[0], r"shape \(1, 5, 6\).*; add the batch axis: images\[None\]"),
        (IMAGES[0, 0], r"give images\[None, None\], or for rows images\.reshape"),
        (IMAGES[0, 0, 0], "reshape them"),
        (IMAGES[:0], "at least one image"),
        (IMAGES[:, :, :0], "at least one image of at least one pixel"),
        (changed(float("nan")), "NaN or infinity"),
        (changed(float("inf")), "NaN or infinity"),
        (changed(-float("inf")), "NaN or infinity"),
        (changed(0).double().add(1e300).numpy(), "NaN or infinity"),
        (changed(0).mul(255), "from 0 to 2.*, outside .0, 1.; divide by 255"),
        (changed(-1e-7), "from -1.*e-07 to 0.9.*rescale or clamp"),
        (changed(1.0000001), r"to 1\.00000012, outside"),
        (changed(256), "to 256, outside .*; rescale or clamp"),
    ],
)
def test_bad_images_are_refused(images, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint) as error:
        check_images(images, channels=1)
    assert str(error.value).startswith("images ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([0, 1, 1, 7], "are a list"),
        (LABELS.float(), "are float32, not whole numbers"),
        (LABELS.numpy().astype(float), "are float64, not whole numbers"),
        (LABELS > 0, "are bool, not whole numbers"),
        (torch.eye(4, dtype=torch.int64), r"shape \(4, 4\), not \(n,\); for one-hot labels, give labels\.argmax\(1\)"),
        (torch.tensor(3), r"shape \(\), not \(n,\); reshape"),
        (LABELS - 1, "down to -1"),
    ],
)
def test_bad_labels_are_refused(labels, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=f"^labels .*{complaint}"):
        check_images(IMAGES, labels)


def test_counts_must_agree() -> None:
    with pytest.raises(TwinlatentError, match="4 images but 3 labels"):
        check_images(IMAGES, LABELS[:3])


def test_the_expected_shape_is_named() -> None:
    with pytest.raises(TwinlatentError, match=r"\(1, 5, 6\) each, \(1, 28, 28\) is expected"):
        check_images(IMAGES, shape=(1, 28, 28))


@pytest.mark.parametrize(
    ("images", "labels", "options", "mend"),
    [
        (IMAGES[:, 0], LABELS, {"channels": None}, r"add the channel axis: images\[:, None\]"),
        (IMAGES[:3, 0], torch.tensor([1]), {"channels": None}, r"add the batch axis: images\[None\]"),
        (IMAGES[:3, 0], None, {"channels": None}, r"for 3 grey images .*\[:, None\]; for one image of 3 .*\[None\]"),
        (IMAGES[:3, 0], None, {"channels": 3}, r"add the batch axis"),
        (IMAGES[0], None, {"shape": (1, 5, 6)}, r"add the batch axis"),
        (IMAGES[:, 0], None, {"shape": (1, 5, 6)}, r"add the channel axis"),
        (IMAGES.flatten(1), LABELS, {"shape": (1, 5, 6)}, r"for rows of pixels give images\.reshape\(-1, 1, 5, 6\)"),
        (COLOUR.movedim(1, 3), LABELS, {}, r"not \(n, channels, H, W\); .*images\.permute\(0, 3, 1, 2\)"),
        (COLOUR.movedim(1, 3).numpy(), LABELS, {"shape": (3, 5, 6)}, r"not \(n, 3, .*images\.transpose\(0, 3, 1, 2\)"),
        (COLOUR[0].movedim(0, 2), None, {"shape": (3, 5, 6)}, r"images\.permute\(2, 0, 1\)\[None\]"),
        (IMAGES, LABELS, {"shape": (3, 5, 6)}, r"repeat the grey channel: images\.expand\(-1, 3, -1, -1\)"),
        (IMAGES.numpy(), LABELS, {"shape": (3, 5, 6)}, r"repeat the grey channel: images\.repeat\(3, 1\)"),
        (COLOUR, LABELS, {"shape": (1, 5, 6)}, r"not \(n, 1, H, W\); convert them to one grey channel"),
        (IMAGES[:, 0][None], LABELS, {"channels": None}, r"1 image of 4 channels but 4 .*images\.transpose\(0, 1\)"),
    ],
)
def test_the_mend_fits_what_is_given(images: torch.Tensor, labels, options: dict, mend: str) -> None:
    with pytest.raises(TwinlatentError, match=mend):
        check_images(images, labels, **options)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ([1, 2, 3], "labels go from 1 to 3; number the classes from 0: labels - 1"),
        ([0, 3, 1], "class 2 has no images, though labels go up to 3"),
        ([2, 3], "class 0 has no images"),
    ],
)
def test_classes_are_numbered_from_0_without_a_gap(labels: list[int], line: str) -> None:
    check_numbering(torch.tensor([2, 0, 1, 1]))
    with pytest.raises(TwinlatentError, match=line):
        check_numbering(torch.tensor(labels))


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (torch.zeros(2, 1, 4, 4).to_sparse(), r"images are not a dense tensor; give one, for a sparse .* to_dense\(\)"),
        (torch.zeros(2, 1, 4, 4, device="meta"), "images are a meta tensor, which holds no values"),
    ],
)
def test_tensors_without_plain_values_are_refused(images: torch.Tensor, complaint: str) -> None:
    with pytest.raises(TwinlatentError, match=complaint):
        check_images(images)
