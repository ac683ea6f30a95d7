"""What an attack may spend: the paper's budgets (Tables 6 to 8) by name, and how a budget becomes an attack."""

from dataclasses import dataclass, replace

from twinlatent.arguments import real, understood, whole
from twinlatent.attacks.attack import Attack
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.attacks.carlini_wagner import CarliniWagner
from twinlatent.attacks.guides import Ascent
from twinlatent.attacks.iterative import Iterative
from twinlatent.attacks.objectives import LogOdds, Margin, Objective
from twinlatent.attacks.search import GammaSearch
from twinlatent.attacks.steps import step_in
from twinlatent.errors import TwinlatentError

ATTACKS = ("fgsm", "pgd", "mim", "cw")


@dataclass(frozen=True)
class Budget:
    """Settings of FGSM, PGD, MIM or CW-L2, under the names of the paper's tables.

    Attributes:
        attack: which of `ATTACKS`.
        epsilon: radius (e); FGSM's step is its radius. None where it is to be chosen, and for CW-L2.
        steps: iterations (i), for each c and γ that is searched.
        step_size: of PGD and MIM (ss).
        decay: of MIM's momentum (df).
        learning_rate: of CW-L2 (lr).
        confidence: κ of CW-L2 (cf).
        initial_c: of CW-L2 (ic).
        searches: how often c of CW-L2 is tried, and γ of an objective with a bypass term (bs); CW-L2 tries each c
            for each γ.
        norm: of the ball.

    Raises:
        TwinlatentError: the attack is unknown, or a number is out of its range.
    """

    attack: str
    epsilon: float | None = None
    steps: int = 1
    step_size: float = 0.0
    decay: float = 0.0
    learning_rate: float = 0.01
    confidence: float = 0.0
    initial_c: float = 10.0
    searches: int = 1
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise TwinlatentError(f"attack {self.attack!r} is unknown; choose from {', '.join(ATTACKS)}")
        understood(self, epsilon=None if self.epsilon is None else ball_of(self.norm, self.epsilon).epsilon)
        understood(self, **{name: whole(name, getattr(self, name)) for name in ("steps", "searches")})
        rest = ("step_size", "decay", "learning_rate", "confidence", "initial_c")
        understood(self, **{name: real(name, getattr(self, name), least=0) for name in rest})

    def at(self, epsilon: float) -> "Budget":
        """The same with another radius."""
        return replace(self, epsilon=epsilon)

    def build(
        self, objective: Objective | None = None, *, search_gamma: bool = False, early_stop: bool = False
    ) -> Attack:
        """The attack that spends this budget.

        Args:
            objective: what to raise; None: to be misclassified (`LogOdds`, for CW-L2 `Margin(confidence)`).
            search_gamma: try `searches` weights γ of the objective's `Bypass` term.
            early_stop: leave an image alone after its first success (not CW-L2, which looks for smaller ones).

        Raises:
            TwinlatentError: no radius was chosen, or a setting is out of its range.
        """
        attack = self._cw(objective) if self.attack == "cw" else self._iterative(objective or LogOdds(), early_stop)
        return GammaSearch(attack, self.searches) if search_gamma else attack

    def _cw(self, objective: Objective | None) -> Attack:
        return CarliniWagner(objective or Margin(self.confidence), self.confidence, self.steps, self.learning_rate,
                             self.initial_c, self.searches)  # fmt: skip

    def _iterative(self, objective: Objective, early_stop: bool) -> Attack:
        if self.epsilon is None:
            raise TwinlatentError(f"this budget of {self.attack} has no radius; choose one with budget.at(0.3)")
        ball = ball_of(self.norm, self.epsilon)
        step = step_in(ball, self.epsilon if self.attack == "fgsm" else self.step_size, self.decay)
        return Iterative(ball, step, self.steps, Ascent(objective), self.attack == "pgd", early_stop=early_stop)


def _cw(steps: int, learning_rate: float, confidence: float, searches: int, initial_c: float = 10.0) -> Budget:
    return Budget("cw", steps=steps, learning_rate=learning_rate, confidence=confidence, initial_c=initial_c,
                  searches=searches)  # fmt: skip


def _training(epsilon: float, mim_steps: int, cw_steps: int, learning_rate: float) -> dict[str, Budget]:
    return {"mim": Budget("mim", epsilon, steps=mim_steps, step_size=0.001, decay=0.9),
            "cw": _cw(cw_steps, learning_rate, 0, 1, initial_c=1.0)}  # fmt: skip


_SECTION3 = {"fgsm": Budget("fgsm", 0.3), "cw": _cw(160, 0.1, 3, 1)}
_BLACK_BOX = {
    "fgsm": Budget("fgsm", 0.3),
    "pgd": Budget("pgd", 0.4, steps=90, step_size=0.01),
    "mim": Budget("mim", 0.3, steps=160, step_size=0.01, decay=0.3),
    "cw": _cw(160, 0.1, 3, 1),
}
_WHITE_BOX = {
    "fgsm": Budget("fgsm", searches=3),
    "pgd": Budget("pgd", steps=240, step_size=0.01, searches=3),
    "mim": Budget("mim", steps=1200, step_size=0.001, decay=0.9, searches=3),
    "cw": _cw(12_000, 0.01, 200, 3),
}
_BY_TABLE = {
    ("section3", "mnist"): _SECTION3
    | {"pgd": Budget("pgd", 0.3, steps=90, step_size=0.01),
       "mim": Budget("mim", 0.3, steps=640, step_size=0.01, decay=0.3)},
    ("section3", "fashion-mnist5"): _SECTION3
    | {"pgd": Budget("pgd", 0.4, steps=90, step_size=0.01),
       "mim": Budget("mim", 0.3, steps=320, step_size=0.001, decay=0.3)},
    ("training", "mnist"): _training(0.5, 3000, 1000, 0.001),
    ("training", "fashion-mnist5"): _training(0.5, 3000, 2000, 0.001),
    ("training", "cats-dogs"): _training(0.2, 1200, 3000, 0.003),
    **{("blackbox", data): _BLACK_BOX for data in ("mnist", "fashion-mnist5")},
    **{("whitebox", data): _WHITE_BOX for data in ("mnist", "fashion-mnist5")},
}  # fmt: skip
BUDGETS = {
    f"paper.{table}.{data}.{name}": budget
    for (table, data), budgets in _BY_TABLE.items()
    for name, budget in sorted(budgets.items())
}
"""Every budget of the paper by its name, such as `paper.blackbox.mnist.pgd`."""


def preset(name: str) -> Budget:
    """The budget of a name in `BUDGETS`.

    >>> preset("paper.blackbox.mnist.pgd").build()
    Iterative(ball=LInf(epsilon=0.4), step=SignStep(size=0.01, decay=0.0), steps=90, ...

    Raises:
        TwinlatentError: there is no such name.
    """
    if name not in BUDGETS:
        raise TwinlatentError(f"budget {name!r} is unknown; there are {', '.join(BUDGETS)}")
    return BUDGETS[name]
