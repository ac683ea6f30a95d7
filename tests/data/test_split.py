import dataclasses

import pytest
import torch

from twinlatent.data.split import PARTS, LabelledImages, Split, check_distinct, split_calibration, split_three_ways
from twinlatent.errors import TwinlatentError


def numbered(*sizes: int) -> LabelledImages:
    """Shuffled labels, `sizes[c]` images of class c; the one pixel of an image tells its position."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    return LabelledImages(torch.arange(len(labels)).reshape(-1, 1, 1, 1) / 1e4, labels)


def positions(data: LabelledImages) -> list[int]:
    return (data.images.flatten() * 1e4).round().long().tolist()


def small_split() -> Split:
    parts = split_three_ways(numbered(10, 10), test_share=0.2, calibration_share=0.2, seed=0)
    return Split("small", *parts, ("a", "b"))


def test_lengths_must_agree() -> None:
    with pytest.raises(TwinlatentError, match="3 images but 2 labels"):
        LabelledImages(torch.zeros(3, 1, 2, 2), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("index", [torch.tensor([4, 0, 4]), slice(1, 3), slice(0, 0)])
def test_subset_picks_images_with_their_labels(index) -> None:
    data = numbered(3, 4)
    expected = torch.arange(7)[index]
    subset = data.subset(index)
    assert positions(subset) == expected.tolist()
    assert subset.labels.tolist() == data.labels[expected].tolist()
    assert len(subset) == len(expected)


@pytest.mark.parametrize("share", [0.01, 1 / 12, 0.2, 0.5, 0.83, 0.99])
@pytest.mark.parametrize("sizes", [(100, 200, 301), (1000,), (7, 0, 13), (2, 2), (59, 67, 60, 61, 58, 54)])
def test_the_division_is_complete_and_stratified(sizes: tuple[int, ...], share: float) -> None:
    data = numbered(*sizes)
    train, calibration = split_calibration(data, share=share, seed=1)
    assert sorted(positions(train) + positions(calibration)) == list(range(len(data)))
    for part in (train, calibration):
        assert positions(part) == sorted(positions(part)), "order is kept"
        assert torch.equal(part.labels, data.labels[torch.tensor(positions(part))])
    counts = calibration.labels.bincount(minlength=len(sizes)).tolist()
    for count, size in zip(counts, sizes, strict=True):
        assert min(size, 1) <= count <= max(size - 1, 0)
        assert abs(count - size * share) <= 1


@pytest.mark.parametrize("share", [1 / 12, 0.2, 0.37])
def test_the_total_is_the_nearest_whole_number(share: float) -> None:
    data = numbered(5923, 6742, 5958, 6131, 5842)
    assert len(split_calibration(data, share=share, seed=0)[1]) == round(len(data) * share)


def test_the_seed_decides_and_the_global_state_is_left_alone() -> None:
    data = numbered(50, 50)
    before = torch.random.get_rng_state()
    first, again, other = (positions(split_calibration(data, share=0.3, seed=seed)[1]) for seed in (5, 5, 6))
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_image_can_be_held_out() -> None:
    data = numbered(10)
    seen = {place for seed in range(60) for place in positions(split_calibration(data, share=0.2, seed=seed)[1])}
    assert seen == set(range(10))


def test_three_parts_share_nothing() -> None:
    data = numbered(50, 30, 20)
    parts = split_three_ways(data, test_share=0.2, calibration_share=0.3, seed=0)
    assert sorted(place for part in parts for place in positions(part)) == list(range(100))
    assert [part.labels.bincount().tolist() for part in parts] == [[25, 15, 10], [15, 9, 6], [10, 6, 4]]


@pytest.mark.parametrize(
    ("sizes", "share", "seed", "complaint"),
    [
        ((5, 5), 0.0, 0, "share is 0.0"),
        ((5, 5), 1.0, 0, "share is 1.0"),
        ((5, 5), float("nan"), 0, "share is nan"),
        ((5, 5), 0.5, -1, "seed is -1"),
        ((5, 5), 0.5, 2**63, "seed is 9223372036854775808"),
        ((5, 1, 5), 0.5, 0, "class 1 has too few images"),
        ((), 0.5, 0, "0 images to divide"),
    ],
)
def test_what_cannot_be_divided(sizes: tuple[int, ...], share: float, seed: int, complaint: str) -> None:
    data = numbered(*sizes) if sizes else LabelledImages(torch.zeros(0, 1, 1, 1), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(TwinlatentError, match=complaint):
        split_calibration(data, share=share, seed=seed)


def test_shape_and_classes() -> None:
    split = small_split()
    assert split.image_shape == (1, 1, 1)
    assert split.classes == 2


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(TwinlatentError, match="class name 'a' is given twice"):
        dataclasses.replace(small_split(), class_names=("a", "b", "a"))


@pytest.mark.parametrize(
    ("names", "wanted", "moved"),
    [
        (("b", "a", "c"), ("a", "b", "c"), [1, 0, 2]),
        (("c", "a", "b"), ("a", "b", "c"), [2, 0, 1]),
        (("A", "C", "b"), ("a", "b", "c"), [0, 2, 1]),
        (("a", "A", "b"), ("A", "b", "a"), [2, 0, 1]),  # exactly the same names come before any likeness
        (("10", "2", "1"), ("1", "2", "10"), [2, 1, 0]),
        (("cafe\u0301", "tea", "stra\u00dfe"), ("STRASSE", "caf\u00e9", "tea"), [1, 2, 0]),
    ],
)
def test_classes_are_told_by_name(names: tuple[str, ...], wanted: tuple[str, ...], moved: list[int]) -> None:
    parts = (numbered(4, 3, 2), numbered(2, 2, 2), numbered(1, 2, 3))
    split = Split("some", *parts, names).with_classes(wanted)
    assert (split.name, split.class_names) == ("some", wanted)
    for before, after in zip(parts, (split.train, split.calibration, split.test), strict=True):
        assert torch.equal(after.images, before.images)
        assert after.labels.tolist() == [moved[label] for label in before.labels.tolist()]
    assert split.with_classes(wanted) is split


@pytest.mark.parametrize(
    ("names", "wanted", "line"),
    [
        (
            ("a", "b", "d"),
            ("a", "b", "c"),
            "has the classes a, b, d, not a, b, c: 'd' is unknown and 'c' missing; name",
        ),
        (("a", "A", "b"), ("A", "b", "B"), "'a' is unknown and 'B' missing"),
        (("a", "A", "b"), ("\u00c1", "a", "b"), "'A' is unknown and '\u00c1' missing"),
        (("0", "1", "2"), ("zero", "one", "two"), "'0' is unknown and 'zero' missing"),
        (("a", "b"), ("a", "b", "c"), "none is unknown and 'c' missing"),
        (tuple("abcdefghijkl"), tuple("abcdefghijkx"), "h, i, j, ..., not a, .* 'l' is unknown and 'x' missing"),
    ],
)
def test_other_classes_are_named(names: tuple[str, ...], wanted: tuple[str, ...], line: str) -> None:
    data = numbered(*[1] * len(names))
    with pytest.raises(TwinlatentError, match=line):
        Split("some", data, data, data, names).with_classes(wanted)


def test_results_of_two_sets_have_two_names() -> None:
    check_distinct(["mnist", "folder:a/mnist", "folder:a/pets"])
    for names in (["folder:a/pets", "mnist", "folder:/b/pets"], ["mnist", "mnist"]):
        with pytest.raises(TwinlatentError, match=f"two data sets are called {names[-1].replace('/b/', '')} here"):
            check_distinct(names)


def bumped(data: LabelledImages, field: str, amount: float) -> LabelledImages:
    """The same with the first image or label changed by `amount`."""
    changed = getattr(data, field).clone()
    changed[0] += amount
    return dataclasses.replace(data, **{field: changed})


def test_the_fingerprint_is_of_the_contents() -> None:
    split = small_split()
    assert split.fingerprint == small_split().fingerprint
    assert split.fingerprint == dataclasses.replace(split, name="other").fingerprint
    assert len(bytes.fromhex(split.fingerprint)) == 32


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("field", "amount"), [("images", 1e-6), ("images", 1 / 255), ("labels", 1)])
def test_the_fingerprint_sees_every_change(part: str, field: str, amount: float) -> None:
    split = dataclasses.replace(small_split(), selection=numbered(1, 2))
    changed = dataclasses.replace(split, **{part: bumped(getattr(split, part), field, amount)})
    assert changed.fingerprint != split.fingerprint


def test_the_fingerprint_sees_names_and_order() -> None:
    split = small_split()
    assert dataclasses.replace(split, class_names=("a", "c")).fingerprint != split.fingerprint
    assert dataclasses.replace(split, train=split.test, test=split.train).fingerprint != split.fingerprint
    backwards = split.train.subset(torch.arange(len(split.train)).flip(0))
    assert dataclasses.replace(split, train=backwards).fingerprint != split.fingerprint


def test_a_hair_off_a_255th_is_another_fingerprint() -> None:
    exact = dataclasses.replace(small_split(), train=LabelledImages(torch.full((4, 1, 2, 2), 7 / 255), torch.arange(4)))
    assert dataclasses.replace(exact, train=bumped(exact.train, "images", 1e-8)).fingerprint != exact.fingerprint


def test_the_fingerprint_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    split = small_split()
    first = split.fingerprint
    monkeypatch.setattr("hashlib.sha256", None)
    assert split.fingerprint == first
