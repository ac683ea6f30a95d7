"""Running a suite: the verdict is the worst of all attacks; what is finished is not lost, nor taken for other work."""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlatent.attacks import CarliniWagner, run
from twinlatent.attacks.attack import Attack, Found
from twinlatent.attacks.gradient_free import Transfer, Unchanged
from twinlatent.attacks.results import MEASURED
from twinlatent.attacks.suite_runs import IDENTITY, SuiteResult, digest, run_suite
from twinlatent.attacks.suites import Suite
from twinlatent.criteria import Aim, Criterion, Misclassified, Undetected
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model
from twinlatent.testing import FPR, GaussianDetector, LinearClassifier


@dataclass(frozen=True)
class Mirror(Attack):
    """Mirrors the images of some labels at grey, which `LinearClassifier.random` misclassifies then."""

    labels: tuple[int, ...]

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        rows = torch.isin(aim.labels, torch.tensor(self.labels))
        tried = torch.where(rows[:, None, None, None], 1 - images, images)
        return Found.iterate(tried, criterion(model(tried), aim), images.new_zeros(len(images)), None)


@dataclass
class Count:
    """Batches that were attacked; Ctrl-C comes instead of number `stop`, from 0."""

    stop: int | None = None
    sizes: list[int] = field(default_factory=list)


class Counted(Attack):
    """An attack that is counted, and described as if it were not."""

    def __init__(self, attack: Attack, count: Count) -> None:
        self.attack, self.count = attack, count

    def __repr__(self) -> str:
        return repr(self.attack)

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        if len(self.count.sizes) == self.count.stop:
            raise KeyboardInterrupt
        self.count.sizes.append(len(images))
        return self.attack(model, images, aim, criterion)


def counted(attacks: Mapping[str, Attack], stop: int | None = None) -> tuple[dict[str, Attack], Count]:
    count = Count(stop)
    return {name: Counted(attack, count) for name, attack in attacks.items()}, count


def identical(a: SuiteResult, b: SuiteResult) -> bool:
    """Whether all of two results is the same bit for bit, but for the time they took."""
    if list(a.by_attack) != list(b.by_attack):
        return False
    pairs = [(a.by_attack[name], b.by_attack[name]) for name in a.by_attack]
    return all(
        torch.equal(x.tried, y.tried)
        and torch.equal(x.wins, y.wins)
        and all(alike(getattr(x.result, name), getattr(y.result, name)) for name in MEASURED)
        for x, y in pairs
    )


def alike(a: Tensor, b: Tensor) -> bool:
    """Equal, NaN being equal to nothing."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def refusal(call: Callable[[], SuiteResult]) -> tuple[str, SuiteResult | None]:
    """The line with which a call is refused, or what it returned."""
    try:
        return "", call()
    except TwinlatentError as error:
        return str(error), None


Go = Callable[..., SuiteResult]
ATTACKS = {"none": Unchanged(), "some": Mirror((0,)), "more": Mirror((0, 1))}
TOTAL, SIZE = 8, 3  # images, images a batch


@pytest.fixture
def go(linear: LinearClassifier) -> Go:
    """Run attacks on the linear classifier."""

    def call(attacks: Mapping[str, Attack] = ATTACKS, **options: Any) -> SuiteResult:
        images, labels = linear.samples(TOTAL)
        chosen = {"model": linear, "images": images, "labels": labels, "criterion": Misclassified(), "norm": "linf",
                  "epsilon": 1.0, "batch_size": SIZE, "progress": False, **options}  # fmt: skip
        return run_suite(attacks, **chosen)

    return call


@pytest.fixture
def real(gaussian: GaussianDetector) -> Go:
    """Run a quick suite, which has random starts, on the toy detector, at a radius at which some attacks win."""
    bounds = gaussian.bounds()
    images, labels = gaussian.samples(TOTAL)
    radii = gaussian.optimal_radius(images, labels, "linf")
    epsilon = radii.median().item() * 1.1
    made = Suite("quick", epsilon, steps=4, level=bounds.thresholds[FPR]).attacks()

    def call(attacks: Mapping[str, Attack] = made, **options: Any) -> SuiteResult:
        chosen = {"criterion": Misclassified() & Undetected(bounds, FPR), "norm": "linf", "epsilon": epsilon,
                  "batch_size": SIZE, "progress": False, **options}  # fmt: skip
        return run_suite(attacks, gaussian, images, labels, **chosen)

    call.attacks = made  # type: ignore[attr-defined]
    return call


# --- the verdict ----------------------------------------------------------------------------------------------------


def test_the_verdict_is_the_worst_of_all_attacks(go: Go, linear: LinearClassifier) -> None:
    images, labels = linear.samples(TOTAL)
    found = go()
    assert torch.equal(found.success, labels < 2)
    assert torch.equal(found.winner, torch.tensor([1, 2, -1])[labels]), "the first attack that won"
    assert torch.equal(found.images, torch.where((labels < 2)[:, None, None, None], 1 - images, images))
    assert [tried.tried.all().item() for tried in found.by_attack.values()] == [True] * 3
    assert torch.equal(found.by_attack["some"].wins, labels == 0)


def test_what_was_misclassified_from_the_start_is_a_success_of_no_attack(go: Go, linear: LinearClassifier) -> None:
    wrong = (linear.samples(TOTAL)[1] + 1) % 3
    found = go(labels=wrong)
    assert found.success.all()
    assert (found.winner == 0).all()
    assert torch.equal(found.images, linear.samples(TOTAL)[0])


@pytest.mark.parametrize(("norm", "share"), [("linf", 0.99), ("l2", 0.99)])
def test_a_success_outside_of_the_ball_does_not_count(norm: str, share: float, go: Go, linear: LinearClassifier):
    images = linear.samples(TOTAL)[0]
    change = (1 - 2 * images).flatten(1)
    sizes = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    everything = {"all": Mirror((0, 1, 2))}
    epsilon = sizes.median().item()
    found = go(everything, norm=norm, epsilon=epsilon * 1.0001)
    assert found.by_attack["all"].result.success.all()
    assert torch.equal(found.success, sizes <= epsilon * 1.0001)
    assert 0 < found.success.sum() < TOTAL
    assert not go(everything, norm=norm, epsilon=sizes.min().item() * share).success.any()
    assert go(everything, norm=norm, epsilon=sizes.max().item()).success.all(), "the ball has its surface"


def test_cw_counts_where_it_ends_inside_the_ball(go: Go, linear: LinearClassifier) -> None:
    images, labels = linear.samples(TOTAL)
    radius = linear.optimal_radius(images, labels, "l2").sort().values
    epsilon = ((radius[TOTAL // 2 - 1] + radius[TOTAL // 2]) / 2).item()
    cw = {"cw": CarliniWagner(steps=100, learning_rate=0.03, searches=4)}
    tried = go(cw, norm="l2", epsilon=epsilon).by_attack["cw"]
    size = (tried.result.images - images).flatten(1).norm(dim=1)
    assert tried.result.success.all()
    assert torch.equal(tried.wins, size <= epsilon)
    assert 0 < tried.wins.sum() < TOTAL


def test_every_attack_does_what_it_does_alone(real: Go, gaussian: GaussianDetector) -> None:
    images, labels = gaussian.samples(TOTAL)
    criterion = Misclassified() & Undetected(gaussian.bounds(), FPR)
    for name, tried in real(seed=3).by_attack.items():
        alone = run(real.attacks[name], gaussian, images, labels, criterion=criterion, seed=3, batch_size=SIZE)
        assert all(alike(getattr(tried.result, part), getattr(alone, part)) for part in MEASURED), name


def test_to_attack_what_remains_gives_the_same_verdict(real: Go) -> None:
    whole, remaining = real(), real(remaining_only=True)
    assert torch.equal(remaining.success, whole.success)
    assert torch.equal(remaining.winner, whole.winner)
    assert torch.equal(remaining.images, whole.images)
    assert 0 < whole.success.sum() < TOTAL


def test_to_attack_what_remains_attacks_nothing_else(real: Go, gaussian: GaussianDetector) -> None:
    images = gaussian.samples(TOTAL)[0]
    attacks, count = counted(real.attacks)
    found = real(attacks, remaining_only=True)
    won = torch.zeros(TOTAL, dtype=torch.bool)
    for tried in found.by_attack.values():
        assert torch.equal(tried.tried, ~won)
        assert torch.equal(tried.result.images[won], images[won])
        assert not tried.wins[won].any()
        assert not tried.result.success[won].any()
        won |= tried.wins
    assert sum(count.sizes) == sum(int(tried.tried.sum()) for tried in found.by_attack.values())
    assert sum(count.sizes) < TOTAL * len(attacks)


@pytest.mark.parametrize("kept", [True, False])
def test_nothing_is_left_to_do_where_all_images_were_won(kept: bool, go: Go, tmp_path: Path) -> None:
    attacks, count = counted({"all": Mirror((0, 1, 2)), "more": Mirror((0,)), "none": Unchanged()})
    found = go(attacks, remaining_only=True, folder=tmp_path / "kept" if kept else None)
    assert found.success.all()
    assert (found.winner == 0).all()
    assert sum(count.sizes) == TOTAL
    assert not found.by_attack["more"].tried.any()


def test_no_attack_at_all_is_refused(go: Go) -> None:
    with pytest.raises(TwinlatentError, match="0 attacks; give at least one"):
        go({})


def test_bars_are_shown_where_they_are_asked_for(go: Go, capsys) -> None:
    go()
    assert capsys.readouterr() == ("", "")
    go(progress=True)
    out, err = capsys.readouterr()
    assert (out, [line.split(":")[0] for line in err.splitlines()]) == ("", list(ATTACKS))


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remaining_only", [False, True])
def test_a_folder_changes_nothing_of_the_outcome(remaining_only: bool, real: Go, tmp_path: Path) -> None:
    bare = real(remaining_only=remaining_only)
    assert identical(real(remaining_only=remaining_only, folder=tmp_path / "deep" / "kept"), bare)


def test_images_of_twice_the_precision_are_kept_as_they_are(go: Go, linear: LinearClassifier, tmp_path: Path) -> None:
    model = LinearClassifier(linear.weight.detach().double(), linear.bias.detach().double())
    images = linear.samples(TOTAL)[0].double() + 1e-12
    bare, kept, read = (go(model=model, images=images, folder=f) for f in (None, tmp_path / "a", tmp_path / "a"))
    assert bare.images.dtype == torch.float64
    assert identical(kept, bare)
    assert identical(read, bare)


def test_the_precision_of_the_model_decides_not_that_of_the_images(go: Go, linear: LinearClassifier) -> None:
    precise = LinearClassifier(linear.weight.detach().double(), linear.bias.detach().double())
    images = linear.samples(TOTAL)[0]
    mixed = go(model=precise, images=images)
    assert mixed.images.dtype == torch.float64
    assert torch.equal(mixed.success, go().success)
    assert identical(go(images=images.double()), go())


def test_arrays_and_a_folder_that_is_a_string_are_taken(go: Go, linear: LinearClassifier, tmp_path: Path) -> None:
    images, labels = (part.numpy() for part in linear.samples(TOTAL))
    kept = images.copy()
    assert identical(go(images=images, labels=labels, folder=str(tmp_path / "kept")), go())
    assert (tmp_path / "kept" / IDENTITY).is_file()
    assert identical(go(images=images, labels=labels, folder=tmp_path / "kept"), go())
    np.testing.assert_array_equal(images, kept)


def test_a_model_that_changes_its_input_changes_neither_ours_nor_the_outcome(go: Go, linear, tmp_path: Path) -> None:
    images = linear.samples(TOTAL)[0]

    def rude(x: Tensor) -> Tensor:
        answer = linear(x.clone())
        if not x.requires_grad:
            x.zero_()
        return answer

    assert identical(go(model=rude, images=images, folder=tmp_path / "kept"), go())
    assert torch.equal(images, linear.samples(TOTAL)[0])


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"norm": "l1"}, "norm 'l1' is unknown; choose linf or l2"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": 3.0}, "epsilon is 3.0; in L∞ give at most 1"),
        ({"epsilon": "0.3"}, "epsilon is 0.3; give a number"),
        ({"images": torch.full((TOTAL, 1, 8, 8), 2.0)}, r"outside \[0, 1\]"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "8 images but 3 labels"),
        ({"labels": torch.full((TOTAL,), 3)}, "labels go up to 3, but the model has 3 classes"),
        ({"batch_size": 0}, "batch_size is 0; give a whole number"),
        ({"batch_size": 2.5}, "batch_size is 2.5; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number"),
        ({"model": lambda x: (x,)}, "the model answers with a tuple"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_makes_no_sense_is_refused_in_a_line(wrong: dict, line: str, go: Go) -> None:
    with pytest.raises(TwinlatentError, match=line) as caught:
        go(**wrong)
    assert "\n" not in str(caught.value)


def test_finished_work_is_read_and_not_done_again(real: Go, tmp_path: Path) -> None:
    first = real(folder=tmp_path / "kept")
    attacks, count = counted(real.attacks)
    for folder in (tmp_path / "mine", tmp_path / "mine"):
        again = real(attacks, folder=folder)
        assert identical(again, first)
    assert len(count.sizes) == len(attacks) * 3, "three batches each, once"
    read = real(folder=tmp_path / "kept")
    assert {n: t.seconds for n, t in read.by_attack.items()} == {n: t.seconds for n, t in first.by_attack.items()}


@pytest.mark.parametrize("remaining_only", [False, True])
@pytest.mark.parametrize(
    "stop", [0, pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(9, marks=pytest.mark.slow), 14]
)
def test_an_interrupted_run_goes_on_to_the_same_outcome(stop: int, remaining_only: bool, real: Go, tmp_path: Path):
    whole, all_of_it = counted(real.attacks)
    uninterrupted = real(whole, remaining_only=remaining_only)
    folder = tmp_path / "kept"
    attacks, _ = counted(real.attacks, stop)
    with pytest.raises(KeyboardInterrupt):
        real(attacks, remaining_only=remaining_only, folder=folder)
    assert len(list(folder.iterdir())) == 1 + stop, "one file for each finished batch, and no scraps"
    attacks, rest = counted(real.attacks)
    assert identical(real(attacks, remaining_only=remaining_only, folder=folder), uninterrupted)
    assert rest.sizes == all_of_it.sizes[stop:]


def test_interrupted_over_and_over_it_still_gets_there(real: Go, tmp_path: Path) -> None:
    for _ in range(100):
        attacks, _ = counted(real.attacks, 1)
        try:
            found = real(attacks, folder=tmp_path / "kept")
        except KeyboardInterrupt:
            continue
        assert identical(found, real())
        return
    pytest.fail("one batch at a time never came to an end")


# --- other work -----------------------------------------------------------------------------------------------------

OTHER = {  # what is changed, and its name in the message
    "seed": ({"seed": 1}, "seed"),
    "batch_size": ({"batch_size": 4}, "batch_size"),
    "remaining_only": ({"remaining_only": True}, "remaining_only"),
    "identity": ({"identity": {"detector": "b", "data": "x"}}, "detector"),
    "less identity": ({"identity": {"detector": "a"}}, "data"),
    "no identity": ({"identity": None}, "data, detector"),
    "attack": ({"attacks": ATTACKS | {"more": Mirror((2,))}}, "attacks"),
    "fewer attacks": ({"attacks": {"none": Unchanged()}}, "attacks"),
    "several": ({"seed": 1, "batch_size": 4}, "batch_size, seed"),
}


@pytest.mark.parametrize(("changed", "named"), OTHER.values(), ids=OTHER)
def test_other_work_is_refused_and_what_differs_is_named(changed: dict, named: str, go: Go, tmp_path: Path) -> None:
    folder, identity = tmp_path / "kept", {"detector": "a", "data": "x"}
    go(folder=folder, identity=identity)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    line = re.escape(f"{folder} holds unfinished work with other {named}; remove it to begin again "
                     "(attack --force, overwrite=True), or save elsewhere")  # fmt: skip
    with pytest.raises(TwinlatentError, match=f"^{line}$"):
        go(**{"folder": folder, "identity": identity, **changed})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert identical(go(folder=folder, identity=identity), go()), "the work must still be of use"


@pytest.mark.parametrize("part", ["images", "labels"])
def test_other_images_or_labels_are_refused(part: str, go: Go, linear: LinearClassifier, tmp_path: Path) -> None:
    images, labels = linear.samples(TOTAL)
    go(folder=tmp_path / "kept")
    other = {"images": {"images": images.flip(0)}, "labels": {"labels": labels.flip(0)}}[part]
    named = {"images": "images, model", "labels": "labels"}[part]  # the model is known by its answers to the images
    with pytest.raises(TwinlatentError, match=f"with other {named}; remove it"):
        go(folder=tmp_path / "kept", **other)


def test_another_model_is_refused_even_if_it_is_a_function(go: Go, linear: LinearClassifier, tmp_path: Path) -> None:
    first = go(model=lambda x: linear(x), folder=tmp_path / "kept")
    with pytest.raises(TwinlatentError, match="with other model; remove it"):
        go(model=lambda x: linear(x) * 1.01, folder=tmp_path / "kept")
    assert identical(go(model=lambda x: linear(x), folder=tmp_path / "kept"), first)


def test_a_model_that_draws_at_random_is_known_again(go: Go, linear: LinearClassifier, tmp_path: Path) -> None:
    def drawing(x: Tensor) -> Tensor:
        return linear(x) + 0.01 * torch.rand(len(x), 3)

    before = torch.get_rng_state()
    first = go(model=drawing, folder=tmp_path / "kept")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert identical(go(model=drawing, folder=tmp_path / "kept"), first)


@pytest.mark.parametrize("remaining_only", [False, True])
@pytest.mark.parametrize("changed", ["criterion", "epsilon", "norm", "order of attacks"])
def test_what_is_not_refused_is_right(changed: str, remaining_only: bool, real: Go, tmp_path: Path) -> None:
    """Anything that changes the outcome must be told apart, or make no difference to what is kept."""
    other: dict[str, Any] = {
        "criterion": {"criterion": Misclassified()},
        "epsilon": {"epsilon": 0.01},
        "norm": {"norm": "l2"},
        "order of attacks": {"attacks": dict(reversed(real.attacks.items()))},
    }[changed]
    fresh = real(remaining_only=remaining_only, **other)
    assert not identical(fresh, real(remaining_only=remaining_only)), "the change must make a difference"
    real(remaining_only=remaining_only, folder=tmp_path / "kept")
    refused, found = refusal(lambda: real(remaining_only=remaining_only, folder=tmp_path / "kept", **other))
    assert "holds unfinished work with other" in refused or (found is not None and identical(found, fresh))


def test_the_same_work_is_known_again_in_another_process(go: Go, linear: LinearClassifier, tmp_path: Path) -> None:
    """A substitute may be a function; that of a later process lies elsewhere in memory."""
    kept = []  # so that no two functions lie in the same place

    def attacks() -> dict[str, Attack]:
        kept.append(lambda images: linear(images))
        return {"transfer": Transfer(kept[-1], Mirror((1,)))}

    first = go(attacks(), folder=tmp_path / "kept")
    assert identical(go(attacks(), folder=tmp_path / "kept"), first)


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b'{"seed": 1', b"\xff\xfe\x00", b"[]", b"3", b"null"])
def test_a_damaged_identity_is_named(content: bytes, go: Go, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    go(folder=folder)
    (folder / IDENTITY).write_bytes(content)
    with pytest.raises(TwinlatentError, match=rf"{re.escape(str(folder / IDENTITY))} is damaged; remove the folder"):
        go(folder=folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_text(path: Path) -> None:
    path.write_bytes(b"hello")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"images.npy") + 60] ^= 0xFF
    path.write_bytes(content)


def drop_an_array(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "l2"}
    np.savez_compressed(path, **arrays)


def drop_an_image(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name][1:] if archive[name].ndim else archive[name] for name in archive.files}
    np.savez_compressed(path, **arrays)


@pytest.mark.parametrize(
    "damage", [cut, halve, empty, replace_by_text, flip_a_byte, drop_an_array, drop_an_image], ids=lambda d: d.__name__
)
def test_a_damaged_batch_is_named_or_done_again(damage: Callable[[Path], None], go: Go, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    whole = go(folder=folder)
    damaged = folder / "some-000003.npz"
    damage(damaged)
    refused, found = refusal(lambda: go(folder=folder))
    assert damaged.name in refused or (found is not None and identical(found, whole))
    assert "\n" not in refused


def test_scraps_in_the_folder_are_overlooked(go: Go, tmp_path: Path) -> None:
    """A write that was cut short by a loss of power leaves a temporary file."""
    folder = tmp_path / "kept"
    whole = go(folder=folder)
    (folder / ".some-000003.npz.abc.npz").write_bytes(b"half")
    assert identical(go(folder=folder), whole)


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 23], [12, 3]), ([(1, 2), (3,)], [(1,), (2, 3)]), ([1], ["1"]), ({"a": [1]}, {"a": (1,)}), ([[]], [])],
)
def test_different_settings_have_different_digests(one: object, other: object) -> None:
    assert digest(one) != digest(other)
    assert digest(one) == digest(copy.deepcopy(one))
