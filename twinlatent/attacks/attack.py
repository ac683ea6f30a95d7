"""What an attack is, what it finds, and how one is run on any number of images.

An `Attack` is a frozen description whose call is a pure function of model, images and aim. `run` surrounds it with all
that no attack should have to care for: checks, batches, seeds, the model's mode, and a verdict on the final images.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Self, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from twinlatent.arguments import whole
from twinlatent.attacks.balls import IMAGE, l2_norm
from twinlatent.attacks.models import Attackable, as_model, frozen, no_probabilities
from twinlatent.attacks.results import AttackResult, Before
from twinlatent.criteria import Aim, Criterion, HitsTarget, Misclassified
from twinlatent.data.split import checked_seed
from twinlatent.data.validation import Array, check_images
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model
from twinlatent.torch_state import differentiable, own_random_state

BATCH = 100
"""Images attacked at a time, unless said otherwise: what bounds the memory an attack takes."""


@dataclass(frozen=True)
class Found:
    """What an attack found for n images, in its own words.

    Attributes:
        images: (n, channels, H, W), the best so far.
        success: bool (n,), whether they met the criterion.
        rank: (n,), which of two images is better where both or none is a success; comparable within one attack.
        steps: int64 (n,), gradients that were computed, or queries.
        dead_steps: int64 (n,), those among them whose gradient was zero everywhere or NaN.
        gamma: (n,), the bypass weight γ that was searched; NaN where none was.
        gamma_stuck: bool (n,), whether that search failed and went one way only, to its end.
    """

    images: Tensor
    success: Tensor
    rank: Tensor
    steps: Tensor
    dead_steps: Tensor
    gamma: Tensor
    gamma_stuck: Tensor

    @classmethod
    def nothing(cls, images: Tensor) -> Self:
        """The images as they are, worse than anything."""
        n = len(images)
        no = torch.zeros(n, dtype=torch.bool, device=images.device)
        none = torch.zeros(n, dtype=torch.int64, device=images.device)
        return cls(images, no, images.new_full((n,), -torch.inf), none, none, images.new_full((n,), torch.nan), no)

    @classmethod
    def iterate(cls, images: Tensor, success: Tensor, rank: Tensor, gradient: Tensor | None = None) -> Self:
        """One iterate, and the gradient that is followed from there, if any is.

        Where it is a success no step is counted as dead: an objective may well be flat there.
        """
        made = cls.nothing(images.detach())
        if gradient is not None:
            dead = ~success & ~(gradient.flatten(1).abs().amax(1) > 0)  # true of NaN, too
            made = replace(made, steps=torch.ones_like(made.steps), dead_steps=dead.long())
        return replace(made, success=success, rank=rank.detach().to(images.dtype))

    def counted(self, steps: int) -> Self:
        """The same after so many queries."""
        return replace(self, steps=torch.full_like(self.steps, steps))

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """What was found for some of the images."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def merged(self, other: "Found", rows: Tensor) -> "Found":
        """With `other`, found for the images `rows`, which ascend, wherever that is better; steps add up."""
        every = len(rows) == len(self.success)  # then `rows` is 0, 1, ... and nothing need be picked
        mine = self if every else self[rows]
        better = (other.success & ~mine.success) | ((other.success == mine.success) & (other.rank > mine.rank))
        put = {}
        for field in fields(self):
            own, new = getattr(mine, field.name), getattr(other, field.name)
            if field.name in ("steps", "dead_steps"):
                chosen = own + new
            else:
                chosen = torch.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, own)
            put[field.name] = chosen if every else getattr(self, field.name).index_copy(0, rows, chosen)
        return Found(**put)


class Attack(ABC):
    """A search for adversarial images; final classes are frozen dataclasses that hold its settings."""

    @abstractmethod
    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        """Search from `images` (n, channels, H, W), n ≥ 1, gradients being enabled and the model's parameters frozen.

        The answer for an image must not depend on the other images.
        """


class RunOptions(TypedDict, total=False):
    """What every attack function takes besides its own settings; see `run`."""

    targets: Tensor | None
    criterion: Criterion | None
    seed: int
    batch_size: int
    progress: Callable[[int], None] | None


def run(
    attack: Attack,
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    criterion: Criterion | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> AttackResult:
    """Run an attack and judge what it found.

    The random draws for an image come from the seed and the image itself, so its answer does not depend on the batch
    or the place it comes in, and the global random state is left alone.

    Args:
        attack: what to do.
        model: an `nn.Module` or function, images → logits or `Outputs`. Its parameters, their gradients and its
            mode are left as found; a module is attacked in evaluation mode.
        images: float (n, channels, H, W) in [0, 1], on the model's device; they are made float32, or float64 for a
            module whose parameters are.
        labels: int64 (n,), the true labels.
        targets: int64 (n,), the class each image shall be taken for; None: any wrong one.
        criterion: what counts as success; None: `HitsTarget` if there are targets, else `Misclassified`.
        seed: of every random draw.
        batch_size: images attacked at a time, at least 1.
        progress: called after each batch with the number of images that are done.

    Raises:
        TwinlatentError: images, labels or targets of another shape or range; a model without gradients.
    """
    batch_size, seed = whole("batch_size", batch_size), checked_seed(seed)
    images, labels, targets = checked_inputs(model, images, labels, targets)
    wanted = criterion or (Misclassified() if targets is None else HitsTarget())
    answer, parts = no_probabilities(as_model(model)), []
    with frozen(model), own_random_state(images.device, seed), differentiable():
        images = images.detach().clone()  # tensors of inference mode cannot take part in gradients
        aim = Aim(labels.clone(), None if targets is None else targets.clone(), seeds=seeds_of(images, seed))
        _check_answers(answer, images, aim, wanted)
        for start in range(0, len(images), batch_size):
            batch = slice(start, start + batch_size)
            with _one_line():
                found = checked_found(attack(answer, images[batch], aim[batch], wanted), images[batch])
            parts.append(_judged(found, answer, images[batch], aim[batch], wanted))
            if progress is not None:
                progress(min(start + batch_size, len(images)))
        return replace(AttackResult.joined(parts), before=Before.of(images, aim.labels))


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "Inference tensors cannot be saved for backward" not in str(error):
            raise
        raise TwinlatentError("the model was made in torch.inference_mode and has no gradients; attack "
                              "copy.deepcopy(model), made outside of it") from error  # fmt: skip


def checked_found(found: object, images: Tensor) -> Found:
    """What an attack answers for images (n, channels, H, W); `TwinlatentError` if that is no `Found` for them."""
    if not isinstance(found, Found):
        raise TwinlatentError(f"it answers with a {type(found).__name__}; return twinlatent.attacks.Found, such as "
                              "Found.iterate(images, criterion(model(images), aim), rank)")  # fmt: skip
    for field in fields(found):
        part: object = getattr(found, field.name)
        shape = tuple(images.shape) if field.name == "images" else (len(images),)
        if not isinstance(part, Tensor) or tuple(part.shape) != shape:
            given = f"shape {tuple(part.shape)}" if isinstance(part, Tensor) else f"type {type(part).__name__}"
            raise TwinlatentError(f"it answers with {field.name} of {given}; give a tensor of shape {shape}")
    if bool(found.images.isnan().any()):
        raise TwinlatentError("it answers with images that hold NaN; give numbers in [0, 1]")
    return found


@torch.no_grad()
def _judged(found: Found, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> AttackResult:
    final = found.images.detach().clamp(0, 1)
    outputs, change = model(final), final - images
    return AttackResult(
        images=final,
        labels=outputs.labels,
        success=criterion(outputs, aim),
        linf=change.abs().amax(IMAGE),
        l2=l2_norm(change).flatten(),
        steps=found.steps,
        dead_steps=found.dead_steps,
        gamma=found.gamma,
        gamma_stuck=found.gamma_stuck & ~found.success,
    )


def seeds_of(images: Tensor, seed: int) -> Tensor:
    """int64 (n,): a seed for each image, made from its bytes, so that it is the same in any batch."""
    rows = images.detach().float().cpu().contiguous().numpy()
    return torch.tensor(
        [_number(row.tobytes(), str(seed).encode()) for row in rows], dtype=torch.int64, device=images.device
    )


def again(aim: Aim, count: int) -> Aim:
    """The same aim with other random draws, for attempt number `count`; attempts within attempts differ too."""
    if aim.seeds is None:
        return aim
    mixed = [_number(f"{seed} {count}".encode()) for seed in aim.seeds.tolist()]
    return replace(aim, seeds=torch.tensor(mixed, dtype=torch.int64, device=aim.seeds.device))


def _number(content: bytes, key: bytes = b"") -> int:
    """A hash in [0, 2⁶³)."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest(), "little") >> 1


def checked_inputs(
    model: object, images: Tensor, labels: Tensor, targets: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images, labels and targets as `run` takes them, on one device and in the model's precision.

    Raises:
        TwinlatentError: one of the arguments is out of its range.
    """
    if labels is None:
        raise TwinlatentError("labels are None; give the true class of each image")
    checked, labels = check_images(images, labels, channels=None)
    precise = _precision(model) == torch.float64
    images, labels = _precise(images) if precise else checked, labels.to(checked.device)
    if targets is None:
        return images, labels, None
    try:
        targets = check_images(images, targets, channels=None)[1].to(images.device)
    except TwinlatentError as error:
        raise TwinlatentError(str(error).replace("label", "target")) from error
    same = (targets == labels).nonzero()
    if len(same):
        place = int(same[0])
        raise TwinlatentError(f"target {place} is {int(targets[place])}, the true label; give a wrong class")
    return images, labels, targets


def _precise(images: Array) -> Tensor:
    if isinstance(images, Tensor):
        return images.double()
    return torch.from_numpy(np.require(images, np.float64, ["C", "W"]))


def _precision(model: object) -> torch.dtype:
    """What a module computes in; float32 for a function."""
    held = [p.dtype for p in model.parameters() if p.is_floating_point()] if isinstance(model, nn.Module) else []
    precision = held[0] if held else torch.float32
    if precision not in (torch.float32, torch.float64):
        raise TwinlatentError(f"the model computes in {precision}, too coarse for attacks; convert it with .float()")
    return precision


@torch.no_grad()
def _check_answers(model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> None:
    """One image through model and criterion, so that a wrong shape is found before hours of work."""
    outputs = model(images[:1])
    shape = tuple(outputs.logits.shape)
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
        raise TwinlatentError(f"the model answers 1 image with logits of shape {shape}; (1, C) with C ≥ 2 is expected")
    for name, values in (("suspicion", outputs.suspicion), ("robust", outputs.robust)):
        if values is not None and tuple(values.shape) != shape:
            found = tuple(values.shape)
            raise TwinlatentError(f"the model answers 1 image with logits {shape} and {name} {found}; give a column a "
                                  "class, for one number an image value[:, None].expand_as(logits)")  # fmt: skip
    for name, classes in (("labels", aim.labels), ("targets", aim.targets)):
        if classes is not None and int(classes.max()) >= shape[1]:
            one_up = int(classes.min()) == 1 and int(classes.max()) == shape[1]
            raise TwinlatentError(f"{name} go up to {int(classes.max())}, but the model has {shape[1]} classes, "
                                  f"0 to {shape[1] - 1}{f'; give {name} - 1' if one_up else ''}")  # fmt: skip
    verdict: object = criterion(outputs, aim[:1])
    if not isinstance(verdict, Tensor) or verdict.dtype != torch.bool or tuple(verdict.shape) != (1,):
        given = f"{verdict.dtype} {tuple(verdict.shape)}" if isinstance(verdict, Tensor) else type(verdict).__name__
        raise TwinlatentError(f"the criterion answers 1 image with {given}; a bool tensor of shape (1,) is expected")


def seed_list(aim: Aim) -> list[int]:
    """The seed of each image."""
    return [0] * len(aim) if aim.seeds is None else aim.seeds.tolist()
