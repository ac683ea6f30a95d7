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

import torch
from torch import Tensor, nn

from twinlatent.attacks.balls import IMAGE, l2_norm
from twinlatent.attacks.models import Attackable, as_model, frozen
from twinlatent.criteria import Aim, Criterion, HitsTarget, Misclassified
from twinlatent.data.validation import check_images
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Model

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
        dead_steps: int64 (n,), those among them whose gradient was zero everywhere or no number.
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
            dead = ~success & ~(gradient.abs().amax(IMAGE) > 0)  # true of what is no number, too
            made = replace(made, steps=torch.ones_like(made.steps), dead_steps=dead.long())
        return replace(made, success=success, rank=rank.detach())

    def counted(self, steps: int) -> Self:
        """The same after so many queries."""
        return replace(self, steps=torch.full_like(self.steps, steps))

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """What was found for some of the images."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def merged(self, other: "Found", rows: Tensor) -> "Found":
        """With `other`, found for the images `rows`, wherever that is better; steps add up."""
        mine = self[rows]
        better = (other.success & ~mine.success) | ((other.success == mine.success) & (other.rank > mine.rank))
        put = {}
        for field in fields(self):
            own, new = getattr(mine, field.name), getattr(other, field.name)
            if field.name in ("steps", "dead_steps"):
                chosen = own + new
            else:
                chosen = torch.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, own)
            put[field.name] = getattr(self, field.name).index_copy(0, rows, chosen)
        return Found(**put)


class Attack(ABC):
    """A search for adversarial images; final classes are frozen dataclasses that hold its settings."""

    @abstractmethod
    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        """Search from `images` (n, channels, H, W), n ≥ 1, gradients being enabled and the model's parameters frozen.

        The answer for an image must not depend on the other images.
        """


@dataclass(frozen=True)
class AttackResult:
    """What an attack did to n images, judged afterwards on the final images.

    Attributes:
        images: (n, channels, H, W) in [0, 1], the best that was found.
        labels: int64 (n,), what the model predicts for them.
        success: bool (n,), whether they meet the criterion.
        linf: (n,), largest change of a pixel.
        l2: (n,), root of the summed squares of the change.
        steps: int64 (n,), gradients that were computed for each image, or queries.
        dead_steps: int64 (n,), those among them whose gradient was zero everywhere or no number.
        gamma: (n,), the bypass weight γ that was found; NaN where none was searched.
        gamma_stuck: bool (n,), whether the search for γ failed and went one way only, to an end of its range.
    """

    images: Tensor
    labels: Tensor
    success: Tensor
    linf: Tensor
    l2: Tensor
    steps: Tensor
    dead_steps: Tensor
    gamma: Tensor
    gamma_stuck: Tensor

    @classmethod
    def joined(cls, parts: "list[AttackResult]") -> "AttackResult":
        """The results of several batches, in their order."""
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})


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
        images: float (n, channels, H, W) in [0, 1], on the model's device; they are made float32 unless the model
            is a module in float64.
        labels: int64 (n,), the true labels.
        targets: int64 (n,), the class each image shall be taken for; None: any wrong one.
        criterion: what counts as success; None: `HitsTarget` if there are targets, else `Misclassified`.
        seed: of every random draw.
        batch_size: images attacked at a time, at least 1.
        progress: called after each batch with the number of images that are done.

    Raises:
        TwinlatentError: images, labels or targets of another shape or range; a model without gradients.
    """
    images, labels, targets = _checked(images, labels, targets, batch_size, _precision(model))
    wanted = criterion or (Misclassified() if targets is None else HitsTarget())
    answer, parts = as_model(model), []
    with frozen(model), _own_random_state(images.device, seed), torch.inference_mode(False), torch.enable_grad():
        images = images.detach().clone()  # tensors of inference mode cannot take part in gradients
        aim = Aim(labels.clone(), None if targets is None else targets.clone(), seeds=seeds_of(images, seed))
        _check_classes(answer, images, aim)
        for start in range(0, len(images), batch_size):
            batch = slice(start, start + batch_size)
            found = attack(answer, images[batch], aim[batch], wanted)
            parts.append(_judged(found, answer, images[batch], aim[batch], wanted))
            if progress is not None:
                progress(min(start + batch_size, len(images)))
    return AttackResult.joined(parts)


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


@contextmanager
def _own_random_state(device: torch.device, seed: int) -> Iterator[None]:
    """Within the block a model that draws random numbers draws from `seed`; afterwards all is as it was."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def _checked(
    images: Tensor, labels: Tensor, targets: Tensor | None, batch_size: int, precision: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | None]:
    if batch_size < 1:
        raise TwinlatentError(f"batch_size is {batch_size}; give at least 1")
    checked, labels = check_images(images, labels, channels=None)
    images = torch.as_tensor(images).double() if precision == torch.float64 else checked
    if targets is None:
        return images, labels.to(images.device), None
    try:
        targets = check_images(images, targets, channels=None)[1]
    except TwinlatentError as error:
        raise TwinlatentError(str(error).replace("label", "target")) from error
    return images, labels.to(images.device), targets.to(images.device)


def _precision(model: object) -> torch.dtype:
    """Float64 for a module of float64, else float32."""
    held = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in held) else torch.float32


@torch.no_grad()
def _check_classes(model: Model, images: Tensor, aim: Aim) -> None:
    """One image through the model, so that a wrong shape is found before hours of work."""
    shape = tuple(model(images[:1]).logits.shape)
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
        raise TwinlatentError(f"the model answers 1 image with logits of shape {shape}; (1, C) with C ≥ 2 is expected")
    for name, classes in (("labels", aim.labels), ("targets", aim.targets)):
        if classes is not None and int(classes.max()) >= shape[1]:
            raise TwinlatentError(f"{name} go up to {int(classes.max())}, but the model has {shape[1]} classes, "
                                  f"0 to {shape[1] - 1}")  # fmt: skip
