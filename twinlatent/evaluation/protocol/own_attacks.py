"""Attacks of the user's that join a suite: made for a radius, named in every error, tried before any work."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from twinlatent.attacks.attack import Attack, Found, checked_found, run
from twinlatent.attacks.suites import KINDS
from twinlatent.criteria import Aim, Criterion, Misclassified, Undetected
from twinlatent.data import LabelledImages
from twinlatent.errors import TwinlatentError, brief
from twinlatent.evaluation.results import BESIDE, WORST
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.outputs import Model

OwnAttack = Attack | Callable[[float], Attack]
"""An attack of the user's, or what makes one for a radius, such as its class."""
TRIED = 2
"""So many calibration images an attack is tried on before any work."""


@dataclass(frozen=True)
class NamedAttack(Attack):
    """A user's attack; whatever goes wrong in it is said in one line with its name.

    Attributes:
        name: in records.
        attack: as the user wrote it.
    """

    name: str
    attack: Attack

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        """What the attack finds; `TwinlatentError` if it fails or answers with something else."""
        with _named(self.name):
            return checked_found(self.attack(model, images, aim, criterion), images)


def checked_attacks(attacks: Mapping[str, OwnAttack]) -> dict[str, OwnAttack]:
    """A user's attacks by name.

    Raises:
        TwinlatentError: a name that a suite has already, or that can be no part of a file's name; or what is no attack.
    """
    given: object = attacks
    if not isinstance(given, Mapping):
        raise TwinlatentError(f'attacks is a {type(given).__name__}; give a dict from names to attacks, such as '
                              '{"mine": MyAttack}')  # fmt: skip
    for name, attack in attacks.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]{1,40}", name):
            raise TwinlatentError(f"attack {name!r}: give a name of up to 40 letters, digits, '.', '+', '-' and '_'")
        if name in KINDS or name == WORST:
            raise TwinlatentError(f"attack {name!r}: suites have one of that name; call yours otherwise")
        if not isinstance(attack, Attack) and not callable(attack):
            raise TwinlatentError(f"attack {name!r} is a {type(attack).__name__}; give an Attack, or a function from a "
                                  "radius to one")  # fmt: skip
    return dict(attacks)


def at_radius(attacks: Mapping[str, OwnAttack], epsilon: float) -> dict[str, Attack]:
    """A user's attacks at a radius; one that is given as it is keeps its own and wins nothing outside of the ball.

    Raises:
        TwinlatentError: a function that fails, or makes no attack.
    """
    return {name: NamedAttack(name, _made(name, attack, epsilon)) for name, attack in attacks.items()}


def try_attacks(
    attacks: Mapping[str, OwnAttack],
    epsilons: Sequence[float],
    detector: CalibratedDetector,
    known: LabelledImages,
    fpr: float,
    seed: int,
) -> None:
    """Make each attack for each radius and run it on two images, so that what does not work is found before any work.

    Args:
        attacks: of the user's.
        epsilons: all radii they will be made for, that of the main point first.
        detector: that will be attacked.
        known: calibration images.
        fpr: false-positive rate of the main point.
        seed: of random draws.

    Raises:
        TwinlatentError: the line names the attack that fails.
    """
    made = [at_radius(attacks, epsilon) for epsilon in epsilons]
    few, criterion = known.subset(slice(TRIED)), Misclassified() & Undetected(detector.bounds(fpr), fpr)
    for attack in made[0].values():
        run(attack, detector, few.images.to(detector.device), few.labels.to(detector.device), criterion=criterion,
            seed=seed)  # fmt: skip


def with_attacks(budget: str, attacks: Collection[str]) -> str:
    """What records call the budget of a suite that a user's attacks joined."""
    return BESIDE.join([budget, *([f"with {', '.join(attacks)}"] if attacks else [])])


def _made(name: str, attack: OwnAttack, epsilon: float) -> Attack:
    if isinstance(attack, Attack):
        return attack
    with _named(
        name, f"cannot be made for radius {epsilon:g}: ", "; give an Attack, or a function from a radius to one"
    ):
        made: object = attack(epsilon)
    if not isinstance(made, Attack):
        raise TwinlatentError(f"attack {name!r} makes a {type(made).__name__} of a radius; it must make an Attack")
    return made


@contextmanager
def _named(name: str, before: str = "", after: str = "") -> Iterator[None]:
    """Say what goes wrong within the block in one line that begins with the attack's name."""
    try:
        yield
    except TwinlatentError as error:
        raise TwinlatentError(f"attack {name!r}: {error}") from error
    except Exception as error:
        said = brief(f"{type(error).__name__}: {error}", most=160)
        raise TwinlatentError(f"attack {name!r}: {before}{said}{after or '; mend the attack'}") from error
