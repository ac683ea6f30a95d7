"""Running a suite: every attack on every image, resumable after each batch, and the worst of them for each image."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twinlatent.arguments import whole
from twinlatent.attacks.attack import BATCH, Attack, checked_inputs, run
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.attacks.models import Attackable, as_model, frozen
from twinlatent.attacks.results import MEASURED, AttackResult, Before
from twinlatent.claims import clear
from twinlatent.code_digest import code_identity
from twinlatent.criteria import Criterion
from twinlatent.data.split import checked_seed
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError, differing, listed
from twinlatent.files import replacing, write_json
from twinlatent.progress import bar
from twinlatent.provenance import Provenance, provenance
from twinlatent.running.portions import ALL, Portion
from twinlatent.torch_state import differentiable, own_random_state

SLACK = 1e-5
"""By so much, relatively, a perturbation may leave the ball through rounding; see `with_slack`."""
IDENTITY = "identity.json"
PROBES = 8
"""By its answers to so many images a model is known again."""


@dataclass(frozen=True)
class SuiteEntry:
    """One attack of a suite.

    Attributes:
        result: for all n images; those that were not tried are as they were and no success.
        tried: bool (n,), which images it was run on.
        wins: bool (n,), success inside the ball of the suite.
        seconds: it took.
    """

    result: AttackResult
    tried: Tensor
    wins: Tensor
    seconds: float


@dataclass(frozen=True)
class SuiteResult:
    """What every attack of a suite found on n images.

    Attributes:
        by_attack: name → what that attack did.
        origins: what ran the attacks, each once: more than one where a folder kept what another call had done.
    """

    by_attack: Mapping[str, SuiteEntry]
    origins: tuple[Provenance, ...] = ()

    @property
    def success(self) -> Tensor:
        """Whether any attack won, bool (n,): the verdict on each image."""
        return torch.stack([tried.wins for tried in self.by_attack.values()]).any(0)

    @property
    def winner(self) -> Tensor:
        """Number of the first attack that won, in the order of `by_attack`, int64 (n,); −1 where none did."""
        wins = torch.stack([tried.wins for tried in self.by_attack.values()])
        return torch.where(wins.any(0), wins.int().argmax(0), -1)

    @property
    def images(self) -> Tensor:
        """The winner's image of each, (n, channels, H, W); where none won, the first attack's."""
        stacked = torch.stack([tried.result.images for tried in self.by_attack.values()])
        picked = self.winner.clamp_min(0)
        return stacked[picked, torch.arange(len(picked), device=picked.device)]


@differentiable()
def run_suite(
    attacks: Mapping[str, Attack],
    model: Attackable,
    images: Tensor,
    labels: Tensor,
    *,
    criterion: Criterion,
    norm: Norm,
    epsilon: float,
    seed: int = 0,
    batch_size: int = BATCH,
    remaining_only: bool = False,
    among: Tensor | None = None,
    folder: str | Path | None = None,
    overwrite: bool = False,
    identity: Mapping[str, Any] | None = None,
    portion: Portion = ALL,
    progress: bool = True,
) -> SuiteResult:
    """Run each attack on the images, a batch of them at a time.

    The images are divided into batches in their order, once; what is attacked of a batch goes through all attacks by
    itself, so its answers do not depend on the other batches.

    Args:
        attacks: by name, see `Suite.attacks`.
        model: as in `run`.
        images: float (n, channels, H, W) in [0, 1].
        labels: int64 (n,), the true labels.
        criterion: what counts as success.
        norm: of the ball in which a success counts.
        epsilon: its radius.
        seed: of every random draw.
        batch_size: images attacked at a time.
        remaining_only: run an attack on those images alone that no earlier one won; faster, same verdict, but no
            success rate of every attack.
        among: bool (n,), which images are attacked; None: all.
        folder: keeps what is done after every batch, and what did it; a later call with the same arguments and code
            resumes from there. It is left to the caller to remove it.
        overwrite: begin anew where the folder holds other work; without, that is refused.
        identity: what, besides the arguments, makes the work in `folder` the same work. The model is known by its
            answers to the first images.
        portion: which batches are attacked here; what others kept in `folder` of the rest is not looked at.
        progress: whether to show a bar for each attack.

    Raises:
        TwinlatentError: the folder holds other work; and those of `run`.
    """
    if not attacks:
        raise TwinlatentError("0 attacks; give at least one")
    epsilon, batch_size, seed = ball_of(norm, epsilon).epsilon, whole("batch_size", batch_size), checked_seed(seed)
    images, labels, _ = checked_inputs(model, images, labels, None)
    place = None if folder is None else Path(folder)
    if place is not None:
        made = {"attacks": list(attacks.items()), "criterion": criterion, "images": images, "labels": labels,
                "model": _answers(model, images[:PROBES], seed)}  # fmt: skip
        plain = {"norm": norm, "epsilon": epsilon, "seed": seed, "batch_size": batch_size,
                 "remaining_only": remaining_only, **code_identity()}  # fmt: skip
        _claim(place, {name: digest(part) for name, part in made.items()} | plain | dict(identity or {}), overwrite)
    now, done, origins = provenance(), dict[str, SuiteEntry](), dict[str, Provenance]()
    open_ = torch.ones(len(images), dtype=torch.bool) if among is None else among.cpu().clone()
    for name, attack in attacks.items():
        batches = _batches(open_, batch_size, partial(portion.has, attack=name), images.device)
        work = partial(run, attack, model, criterion=criterion, seed=seed, batch_size=batch_size)
        parts = _parts(name, work, images, labels, batches, place, now, portion, progress)
        origins |= {part.origin.model_dump_json(): part.origin for part in parts}
        done[name] = _entry(parts, [*batches.values()], images, labels, norm, epsilon)
        if remaining_only:
            open_ &= ~done[name].wins.cpu()
    return SuiteResult(done, tuple(origins.values()))


@dataclass(frozen=True)
class _Part:
    """A batch that is done: its result, the seconds it took, and what ran it."""

    result: AttackResult
    seconds: float
    origin: Provenance


def batch_numbers(images: int, batch_size: int) -> range:
    """Into which batches `run_suite` divides so many images."""
    return range(-(-images // batch_size))


def file_of(attack: str, batch: int, batch_size: int) -> str:
    """The file in which `run_suite` keeps what an attack made of a batch; any attack's by the pattern `*`."""
    return f"{attack}-{batch * batch_size:06d}.npz"


def _batches(open_: Tensor, batch_size: int, mine: Callable[[int], bool], device: torch.device) -> dict[str, Tensor]:
    """The rows of each batch of ours that are open, by what its file is called, without the attack."""
    rows = {number: open_[number * batch_size : (number + 1) * batch_size].nonzero()[:, 0] + number * batch_size
            for number in filter(mine, batch_numbers(len(open_), batch_size))}  # fmt: skip
    return {file_of("{}", number, batch_size): left.to(device) for number, left in rows.items() if len(left)}


def _parts(
    name: str,
    work: Callable[[Tensor, Tensor], AttackResult],
    images: Tensor,
    labels: Tensor,
    batches: Mapping[str, Tensor],
    folder: Path | None,
    now: Provenance,
    portion: Portion,
    progress: bool,
) -> list[_Part]:
    """An attack on its images, batch by batch."""
    parts = []
    with bar(name, sum(map(len, batches.values())), show=progress) as shown:
        for called, batch in batches.items():
            path = folder / called.format(name) if folder is not None else None
            parts.append(_kept_or_done(path, images[batch], partial(work, images[batch], labels[batch]), now))
            if path is not None:
                portion.heard(path)
            shown.advance(len(batch))
    return parts


def _kept_or_done(path: Path | None, images: Tensor, work: Callable[[], AttackResult], now: Provenance) -> _Part:
    """What is kept of these images, or what the work makes of them now, which is kept then."""
    kept = _stored(path, images) if path is not None else None
    if kept is not None:
        return kept
    began = time.monotonic()
    result = work()
    part = _Part(result, time.monotonic() - began, now)
    if path is not None:
        _store(path, part, images)
    return part


def with_slack(epsilon: float) -> float:
    """How large a change may be that counts as one within ε: a little more, for rounding."""
    return epsilon * (1 + SLACK) + SLACK / 10


def _entry(
    parts: list[_Part], batches: Sequence[Tensor], images: Tensor, labels: Tensor, norm: Norm, epsilon: float
) -> SuiteEntry:
    tried = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    result = _untouched(images)
    if parts:
        rows = torch.cat([*batches])
        tried[rows] = True
        joined = AttackResult.joined([part.result for part in parts])
        result = AttackResult(**{
            name: getattr(result, name).index_copy(0, rows, getattr(joined, name)) for name in MEASURED
        })  # fmt: skip
    result = replace(result, before=Before.of(images, labels))
    size = result.linf if norm == "linf" else result.l2
    return SuiteEntry(result, tried, result.success & (size <= with_slack(epsilon)),
                      sum(part.seconds for part in parts))  # fmt: skip


def _untouched(images: Tensor) -> AttackResult:
    """No attack at all."""
    n = len(images)
    zero, number = images.new_zeros(n), torch.zeros(n, dtype=torch.int64, device=images.device)
    no = number.bool()
    return AttackResult(images, number - 1, no, zero, zero, number, number, torch.full_like(zero, torch.nan), no)


@differentiable()
@torch.no_grad()
def _answers(model: Attackable, images: Tensor, seed: int) -> list[Tensor | None]:
    with frozen(model), own_random_state(images.device, seed):
        outputs = as_model(model)(images)
    return [outputs.logits, outputs.suspicion, outputs.robust]


def check_folder(folder: Path, identity: Mapping[str, Any], overwrite: bool, *, whole: bool = False) -> None:
    """Refuse a folder of other work, or clear it if `overwrite`.

    Args:
        folder: may be missing.
        identity: of the work that is to be done, or what of it is known yet: before long work that comes first.
        overwrite: see `run_suite`.
        whole: whether that is all of it.

    Raises:
        TwinlatentError: the folder holds other work, or what says which work it holds is damaged.
    """
    path = folder / IDENTITY
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        before = None
    if not isinstance(before, dict) and not overwrite:
        raise TwinlatentError(f"{path} is damaged; remove the folder and begin again")
    now = json.loads(json.dumps(identity))
    known = before if isinstance(before, dict) else {}
    differs = differing(known if whole else {name: known.get(name) for name in now}, now)
    if differs and not overwrite:
        raise TwinlatentError(f"{folder} holds unfinished work with other {listed(differs)}; remove it to begin again "
                              "(attack --force, overwrite=True), or save elsewhere")  # fmt: skip
    if differs:
        clear(folder)


def _claim(folder: Path, identity: Mapping[str, Any], overwrite: bool) -> None:
    """Make the folder, or check that it is of the same work; other work is removed if `overwrite`."""
    check_folder(folder, identity, overwrite, whole=True)
    if not (folder / IDENTITY).exists():
        write_json(folder / IDENTITY, identity)


def _store(path: Path, part: _Part, images: Tensor) -> None:
    arrays = {name: getattr(part.result, name).cpu().numpy() for name in MEASURED}
    origin = np.array(part.origin.model_dump_json())
    with replacing(path) as temporary:
        np.savez_compressed(temporary, seconds=np.array(part.seconds), origin=origin, attacked=digest(images), **arrays)


def _stored(path: Path, images: Tensor) -> _Part | None:
    """What was kept of these images; None where there is nothing, or nothing whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {name: torch.from_numpy(archive[name]) for name in MEASURED}
            seconds, origin = float(archive["seconds"]), Provenance.model_validate_json(str(archive["origin"]))
            attacked = str(archive["attacked"])
    except Exception:  # NumPy's and zip's readers raise nearly every type on damaged files
        return None
    if attacked != digest(images) or any(len(array) != len(images) for array in arrays.values()):
        return None
    return _Part(AttackResult(**{name: array.to(images.device) for name, array in arrays.items()}), seconds, origin)
