"""Rounds of training that can be stopped and resumed: the loop, its state file and its log."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from twinlatent.claims import claimed, clear, refuse_present
from twinlatent.code_digest import LEARNING, code_identity
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError, brief, listed
from twinlatent.files import naming, write_text
from twinlatent.interrupts import deferred_interrupt
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.checkpoints import UNFIT, load_tensors, save_tensors
from twinlatent.progress import bar
from twinlatent.provenance import Provenance

Schedule = Literal["constant", "cosine", "fall", "steps"]
STATE_FILE, LOG_FILE, SETTINGS_FILE = "state.safetensors", "log.jsonl", "training.json"
TRAINING_FILES = (STATE_FILE, LOG_FILE, DETECTOR_FILE, SETTINGS_FILE)
"""All that a training leaves in its folder."""
ANEW = "give another folder, or write over it (train --force, overwrite=True)"
CODE = "code"
"""What a state says of the code that wrote it."""
TOTAL = "loss_total"
"""What every round's record holds: the loss, as a number."""
FIRST = '{"round": 1,'
"""How a log begins."""


@dataclass
class TrainingState:
    """Everything a round reads and changes; a checkpoint is this and no more.

    Attributes:
        module: what is trained.
        optimiser: over all its parameters.
        generator: of every random number, on the CPU.
        round: rounds done.
        seconds: spent so far, over all resumptions.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    round: int = 0
    seconds: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that a checkpoint holds, by name."""
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for index, entry in self.optimiser.state_dict()["state"].items():
            moments = {name: value for name, value in entry.items() if isinstance(value, Tensor)}
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        return tensors | {"generator": self.generator.get_state()}

    def counts(self) -> dict[str, Any]:
        """All numbers that a checkpoint holds, by the attribute's name."""
        return {"round": self.round, "seconds": self.seconds}

    def restore(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """Take over what `tensors` and `counts` of another state gave."""
        prefix = "module."
        module = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        self.module.load_state_dict(module)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.generator.set_state(tensors["generator"])
        for name in self.counts():
            parts = counts[name] if isinstance(counts[name], list) else [counts[name]]
            if not all(isinstance(part, int | float) and part >= 0 for part in parts):
                raise ValueError(f"{name} is {counts[name]!r:.60}")
            setattr(self, name, counts[name])


@dataclass(frozen=True)
class Keeping:
    """Where and how a training is kept.

    Attributes:
        folder: gets `state.safetensors` and `log.jsonl` (one line a round); None keeps nothing.
        identity: JSON-able; what must be the same when a training is resumed.
        resume: resume from the state in `folder`, to the weights an uninterrupted training would have reached.
        every: rounds between two checkpoints.
        progress: whether to show a bar.
        begin: called before the first round, when all is checked.
    """

    folder: Path | None
    identity: Mapping[str, Any]
    resume: bool = False
    every: int = 50
    progress: bool = True
    begin: Callable[[], None] = lambda: None

    @property
    def state(self) -> Path:
        """The state file."""
        if self.folder is None:
            raise TwinlatentError("resuming needs the folder of the interrupted training")
        return self.folder / STATE_FILE


def train_rounds(
    state: TrainingState,
    turn: Callable[[], dict[str, Any]],
    rounds: int,
    keeping: Keeping,
    *,
    title: str,
    stopped: Callable[[], bool] = lambda: False,
    note: Callable[[Mapping[str, Any]], str] = lambda record: f"loss {record[TOTAL]:.3f}",
) -> None:
    """Call `turn` until so many rounds are done; each gives a record with `loss_total`, which is logged.

    Args:
        state: changed in place by `turn`, but for `round` and `seconds`.
        turn: one round.
        rounds: how many.
        keeping: where and how it is kept.
        title: of the bar.
        stopped: whether to end early.
        note: what the bar shows of a record.

    Raises:
        TwinlatentError: a state that does not fit, was begun by other code or cannot be written; or a loss or weight
            that is NaN or infinite.
        KeyboardInterrupt: after Ctrl-C; with a folder the state was saved first.
    """
    if keeping.resume:
        begun_by = _restore(state, keeping)
        if state.round < rounds and not stopped():
            _check_code(keeping.state, begun_by)
    keeping.begin()
    if not rounds:  # else there is nothing to resume when what comes after is interrupted
        _keep(state, keeping)
    with _log(keeping.folder, state.round) as write, deferred_interrupt() as interrupted, \
            bar(title, rounds, show=keeping.progress and rounds > 0, done=state.round) as shown:  # fmt: skip
        started = time.monotonic() - state.seconds
        while state.round < rounds and not stopped():
            record = turn()
            if not math.isfinite(record[TOTAL]):
                raise TwinlatentError(_diverged("the loss", state.round + 1, keeping))
            state.round += 1
            state.seconds = time.monotonic() - started
            write(record | {"seconds": round(state.seconds, 3)})
            shown.note = note(record)
            shown.advance()
            asked_to_stop = interrupted()
            if state.round == rounds or stopped() or asked_to_stop or state.round % keeping.every == 0:
                _check_finite(state, keeping)
                _keep(state, keeping)
            if asked_to_stop:
                raise KeyboardInterrupt(f"stopped after round {state.round} of {rounds}")
        state.seconds = time.monotonic() - started


def share_of_rate(round_: int, rounds: int, schedule: Schedule) -> float:
    """Share of the full learning rate in a round.

    `cosine`: up over a tenth of them, then down to 0 along a cosine; `fall`: the same without the first tenth; `steps`:
    1, a fifth after .6 of them, a 25th after .85.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "steps":
        return 1.0 if round_ < 0.6 * rounds else 0.2 if round_ < 0.85 * rounds else 0.04
    warm = rounds / 10 if schedule == "cosine" else 0
    if round_ < warm:
        return (round_ + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (round_ - warm) / (rounds - warm)))


@contextmanager
def training_folder(
    folder: Path | None, *, resume: bool, overwrite: bool = False, parts: Sequence[str] = ()
) -> Iterator[None]:
    """Own the folder of a training while the block runs, and begin in it, or resume what is there.

    Args:
        folder: None: nothing is kept.
        resume: whether to resume.
        overwrite: begin anew where it holds a training; without, that is refused.
        parts: folders below for trainings that come before.

    Raises:
        TwinlatentError: a training is there, or none to resume, or another process trains there.
    """
    if folder is None:
        yield
        return
    places = [folder, *(folder / part for part in parts)]
    if resume and not any((place / STATE_FILE).exists() for place in places):
        raise TwinlatentError(_nothing_to_resume(folder))
    with claimed(folder):
        if not resume:
            _begin(folder, places, overwrite)
        yield


def _nothing_to_resume(folder: Path) -> str:
    if (folder / DETECTOR_FILE).exists():
        return f"{folder} holds a finished training without {STATE_FILE}: use it, or give another folder"
    return f"{folder} holds no training to resume; leave --resume out"


def _begin(folder: Path, places: Sequence[Path], overwrite: bool) -> None:
    """Make room for a new training, or raise `TwinlatentError` rather than write over an earlier one."""
    if overwrite:
        for name in TRAINING_FILES:
            (folder / name).unlink(missing_ok=True)
        for part in places[1:]:
            clear(part)
        return
    if any((place / STATE_FILE).exists() for place in places):
        raise TwinlatentError(f"{folder} holds a training already; resume it (--resume), or {ANEW}")
    begun = _is_log(folder / LOG_FILE)  # of a training that was killed before its first state: nothing is lost
    refuse_present(folder, [n for n in TRAINING_FILES if n != LOG_FILE or not begun], "a detector", ANEW)


def _is_log(path: Path) -> bool:
    """Whether a file is a training log, by its first line."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
            cut = not first.endswith("\n") and FIRST.startswith(first[: len(FIRST)])  # by a full disk
            return cut or TOTAL in json.loads(first)
    except (OSError, ValueError, TypeError):
        return False


def training_card(
    split: Split, settings: BaseModel, seed: int, rounds: int, seconds: float, origin: Provenance,
    device: torch.device, recipe: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """What a detector file says of its origin, JSON-able."""
    images = {part: len(images) for part, images in split.parts.items()}
    data = {"name": split.short_name, "fingerprint": split.fingerprint, "images": images}
    data |= {"origin": split.origin} if split.origin else {}
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return {"data": data, "training": settings.model_dump(), "seed": seed, "rounds": rounds,
            "seconds": round(seconds, 1), "recipe": dict(recipe),
            "provenance": origin.model_dump() | {"device": machine}}  # fmt: skip


def _restore(state: TrainingState, keeping: Keeping) -> Mapping[str, str]:
    """Take over the kept state, and say what code wrote it; empty for states of version 0.1.0, which did not say."""
    path = keeping.state
    tensors, description = load_tensors(path, "training state")
    for name, value in json.loads(json.dumps(keeping.identity)).items():
        if description.get(name) != value:
            its = _others(description.get(name), value)
            gone = sorted(_flat(description.get(name)).keys() - _flat(value).keys())
            new = sorted(_flat(value).keys() - _flat(description.get(name)).keys())
            if gone or new:
                differs = f"had the setting {gone[0]}" if gone else f"did not have the setting {new[0]}"
                raise TwinlatentError(f"{path} was written by another version, which {differs}; train anew, in another "
                                      "folder or with --force")  # fmt: skip
            raise TwinlatentError(f"{path} was trained with other {name}{its}; resume with the same, or start anew")
    try:
        state.restore(tensors, description)
    except UNFIT as error:
        raise TwinlatentError(f"{path} holds no state of this training ({brief(error)}); train anew, in another folder "
                              "or with --force") from error  # fmt: skip
    code = description.get(CODE)
    return code if isinstance(code, dict) else {}


def _check_code(path: Path, before: Mapping[str, str]) -> None:
    """Refuse to resume what other code began: half a training each is the result of neither."""
    now = code_identity(LEARNING)
    differs = [name for name in now if before.get(name) != now[name]]
    if differs:
        raise TwinlatentError(f"{path} was begun with other {listed(differs)}; resume with the version that began "
                              "it, or train anew")  # fmt: skip


def _others(kept: Any, asked: Any) -> str:
    """The kept settings that were asked to be otherwise, in brackets as `--set` takes them; empty if there are none."""
    asked = _flat(asked)
    its = [f"{name}={value}" for name, value in _flat(kept).items() if name in asked and asked[name] != value]
    return f" ({listed(its)})" if its else ""


def _flat(values: Any, above: str = "") -> dict[str, Any]:
    """Settings by their whole name, as `adversary.epsilon`; of what is no table, nothing."""
    found: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return found


def _keep(state: TrainingState, keeping: Keeping) -> None:
    """Write the state, where there is a folder. What stood there before is whole if that fails."""
    if keeping.folder is None:
        return
    try:
        about = {**state.counts(), **keeping.identity, CODE: code_identity(LEARNING)}
        save_tensors(keeping.state, "training state", state.tensors(), about)
    except OSError as error:
        before = "the state before it is kept: make room, then resume" if keeping.state.exists() else "make room"
        raise TwinlatentError(f"{keeping.state} could not be written in round {state.round} "
                              f"({error.strerror or error}); {before}") from error  # fmt: skip


def _check_finite(state: TrainingState, keeping: Keeping) -> None:
    """Raise `TwinlatentError` if a weight, a running statistic or a moment of the optimiser is not finite."""
    for name, tensor in state.tensors().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise TwinlatentError(_diverged(name, state.round, keeping))


def _diverged(what: str, number: int, keeping: Keeping) -> str:
    saved = keeping.state if keeping.folder else None
    last = f"the last good state is {saved}" if saved and saved.exists() else "no state was saved yet"
    return f"{what} is not finite any more in round {number}; {last}; lower a learning rate or the penalty weight"


@contextmanager
def _log(folder: Path | None, rounds: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What adds a line to the log, without the lines after `rounds`: those rounds will be done again."""
    if folder is None:
        yield lambda _: None
        return
    path = folder / LOG_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    write_text(path, "".join(f"{line}\n" for line in lines[:rounds]))
    with path.open("a", encoding="utf-8", buffering=1) as file:
        yield lambda record: _add_line(file, record)


def _add_line(file: TextIO, record: Mapping[str, Any]) -> None:
    with naming(Path(file.name)):
        file.write(json.dumps(record) + "\n")
