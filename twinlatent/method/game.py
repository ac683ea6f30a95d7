"""Algorithm 1: the mini-max game between an adversary who knows the detector and the class VAEs.

A round is an adversary's turn and a defender's turn. Dealt by class, as in the paper, images of other classes are
attacked towards class c, for every c at once, and the defender makes one step on l^c with benign images of c and the
negatives: attacked ones, and other kinds that settings ask for. `twinlatent.method.one_batch` has the other deal.
Letters: C classes, B images a class.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.attacks.models import frozen
from twinlatent.data import LabelledImages
from twinlatent.data.split import checked_seed
from twinlatent.digest import digest
from twinlatent.errors import TwinlatentError
from twinlatent.method.adversaries.search import log_densities
from twinlatent.method.batches import BatchSampler, Epochs
from twinlatent.method.class_vaes import ClassEncoders, ClassVAEs
from twinlatent.method.game_state import GameSettings, GameState, grown, new_state
from twinlatent.method.losses import LossTerms, loss_terms
from twinlatent.method.negatives import Round
from twinlatent.method.one_batch import Batch, keep_average, one_batch_turn
from twinlatent.method.training import TOTAL, Keeping, share_of_rate, train_rounds
from twinlatent.torch_state import Device, check_device, fresh_torch

WATCHED_IMAGES = 500
"""How many benign training images the logged accuracy is taken over."""


@fresh_torch()
def play(
    data: LabelledImages,
    classes: int,
    settings: GameSettings,
    *,
    seed: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    fingerprint: str = "",
    device: Device = "cpu",
    progress: bool = True,
    begin: Callable[[], None] = lambda: None,
    start: ClassEncoders | None = None,
) -> GameState:
    """Play the game to its end and return the last state; its `vaes` are trained.

    Args:
        data: training images; every class must occur.
        classes: C.
        settings: of the game.
        seed: of weights, batches and noise. Same seed, data, settings and machine: same weights.
        folder: where `state.safetensors` and `log.jsonl` (one line a round) go; None keeps nothing.
        resume: resume from the state in `folder`, to an uninterrupted game's weights; on another device up to rounding.
        fingerprint: of the data; a state of other data or settings is refused.
        device: where to compute.
        progress: whether to show a bar.
        begin: called before the first round, when all is checked.
        start: trained encoders whose weights are the first; None: fresh ones.

    Raises:
        TwinlatentError: a class without images, a state that does not fit, or a loss that is not finite any more.
        KeyboardInterrupt: after Ctrl-C; with a folder the state was saved first.
    """
    seed, place = checked_seed(seed), check_device(device)
    watched = _watched(data)
    state = new_state(tuple(data.images.shape[1:]), classes, settings, seed, place)
    identity = {"settings": settings.model_dump(exclude={"binary"}), "seed": seed, "data": fingerprint,
                "start": None if start is None else digest(start.state_dict())}  # fmt: skip
    if start is not None:
        begin_from(state, start)
    trunk = state.vaes.encoders.trunk
    if trunk is not None:
        trunk.products = getattr(torch, settings.products)
    make = _one_batch if settings.deal == "one_batch" else _by_class
    turn, note = make(state, data, settings, seed, place)

    def watched_turn() -> dict[str, Any]:
        number = state.round + 1
        record = turn()
        keep_average(state, settings.average)
        accuracy = _accuracy(state.vaes, watched) if number % settings.watch_every == 0 else None
        return {"round": number, **record, "accuracy": accuracy}

    train_rounds(state, watched_turn, settings.rounds,
                 Keeping(folder, identity, resume, settings.checkpoint_every, progress, begin), title="game",
                 stopped=lambda: _stopped(state, settings), note=note)  # fmt: skip
    if trunk is not None:
        trunk.products = torch.float32
    state.vaes.load_state_dict(state.average, strict=False)
    return state


Turn = Callable[[], dict[str, Any]]
Note = Callable[[Mapping[str, Any]], str]


def _by_class(
    state: GameState, data: LabelledImages, settings: GameSettings, _seed: int, place: torch.device
) -> tuple[Turn, Note]:
    """Rounds of Algorithm 1, and what the bar shows of one."""
    sample = BatchSampler(data, state.vaes.classes, settings.batch, place, settings.augment)

    def turn() -> dict[str, Any]:
        of_round = Round(*sample(state.generator))
        for kind in state.negatives.values():
            of_round = kind.arrange(of_round, state.generator)
        epsilon = settings.adversary.epsilon * grown(state.round, settings.rounds, settings.ramp)
        attack = settings.adversary.turn(state.vaes, state.levels, of_round.benign, of_round.targets, epsilon,
                                         state.generator)  # fmt: skip
        state.levels = attack.levels
        negatives = [kind.images(of_round, attack.images, state.generator) for kind in state.negatives.values()]
        losses = [kind.loss(state.vaes, of_round, epsilon) for kind in state.negatives.values()]
        terms = defender_turn(state, of_round.benign, torch.cat(negatives, 1), settings, losses)
        at_full = epsilon == settings.adversary.epsilon
        state.calm = state.calm + 1 if at_full and attack.success <= settings.stop_success else 0
        said = {name: value for kind in state.negatives.values() for name, value in kind.said().items()}
        of_terms = {f"loss_{name}": value for name, value in terms.means().items()}
        return {"epsilon": epsilon, TOTAL: terms.total(settings.loss).mean().item(), **of_terms, **said,
                "success": attack.success, "passed": attack.passed}  # fmt: skip

    return turn, lambda record: f"loss {record[TOTAL]:.1f}, adversary {record['passed']:.2f}"


def _one_batch(
    state: GameState, data: LabelledImages, settings: GameSettings, seed: int, place: torch.device
) -> tuple[Turn, Note]:
    """Rounds with one batch for all classes, and what the bar shows of one."""
    if settings.adversary.attack == "cw" and (settings.bound.share < 1 or settings.bound.box < 1):
        raise TwinlatentError("the deal one_batch has no attack cw; choose mim or pgd")
    deal = Epochs(data, state.vaes.classes, settings.batch, settings.augment, seed, place)

    def turn() -> dict[str, Any]:
        return one_batch_turn(state, Batch(*deal(state.round, state.generator), state.vaes.classes), settings)

    def note(record: Mapping[str, Any]) -> str:
        shares = [f"{name} {record[name]:.2f}" for name in ("bounded", "resisted") if record[name] is not None]
        return ", ".join([f"loss {record[TOTAL]:.2f}", f"ε {record['epsilon']:.3f}", *shares])

    return turn, note


def begin_from(state: GameState, start: ClassEncoders) -> None:
    """Take over the weights of trained encoders.

    Raises:
        TwinlatentError: they are other networks.
    """
    encoders = state.vaes.encoders
    if (start.plan, start.classes) != (encoders.plan, encoders.classes):
        raise TwinlatentError(f"the start has {start.classes} encoders {start.plan.spec} for {start.plan.input_shape}; "
                              f"the game is for {encoders.classes} of {encoders.plan.spec}; give the start's networks "
                              "(--set encoder=...) or another start")  # fmt: skip
    encoders.load_state_dict({name: start.state_dict()[name] for name in encoders.state_dict()})
    state.average = {name: value.detach().clone() for name, value in state.vaes.named_parameters() if state.average}


# --- the defender, by class --------------------------------------------------------------------------------------


def defender_turn(
    state: GameState,
    benign: Tensor,
    negatives: Tensor,
    settings: GameSettings,
    losses: Sequence[Tensor | None] = (),
) -> LossTerms:
    """One step of the optimiser on the sum of l^c over classes.

    Args:
        state: changed in place.
        benign: (C, B, channels, H, W).
        negatives: (C, b, channels, H, W), what each class must call vulnerable.
        settings: of the game.
        losses: more of the loss, each (C,), from kinds of negatives that are no images.
    """
    for group in state.optimiser.param_groups:
        group["lr"] = settings.learning_rate * share_of_rate(state.round, settings.rounds, settings.schedule)
    reconstruct = state.round % settings.loss.reconstruct_every == 0
    terms = loss_terms(state.vaes, benign, negatives, settings.loss, state.generator, reconstruct=reconstruct)
    state.optimiser.zero_grad()
    more = [loss for loss in losses if loss is not None]
    sum(more, terms.total(settings.loss)).sum().backward()
    if settings.clip:
        nn.utils.clip_grad_norm_(state.vaes.parameters(), settings.clip)
    state.optimiser.step()
    return terms


def _stopped(state: GameState, settings: GameSettings) -> bool:
    return 0 < settings.stop_rounds <= state.calm


# --- records ------------------------------------------------------------------------------------------------------


def _watched(data: LabelledImages) -> LabelledImages:
    """Images whose accuracy is logged, from all over the data, which may be sorted by class."""
    return data.subset(torch.linspace(0, len(data) - 1, min(WATCHED_IMAGES, len(data))).long())


@torch.no_grad()
def _accuracy(vaes: ClassVAEs, watched: LabelledImages) -> float:
    """Share of benign training images that argmax of log P_r − log P_v classifies rightly."""
    device = next(vaes.parameters()).device
    with frozen(vaes):
        robust, vulnerable = log_densities(vaes, watched.images.to(device))
    return ((robust - vulnerable).argmax(0).cpu() == watched.labels).float().mean().item()
