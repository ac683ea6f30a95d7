"""Suites: named sets of attacks to run on the same images.

A suite holds attacks that know the detector and ones that do not, with gradients and without, so that it also tells
whether gradients can be trusted: none may be beaten by one that knows less.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor

from twinlatent.arguments import understood, whole
from twinlatent.attacks.attack import Attack
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.attacks.budgets import preset
from twinlatent.attacks.gradient_free import Noise, Square, Transfer, Unchanged
from twinlatent.attacks.guides import Ascent, Guide, Orthogonal, Selective
from twinlatent.attacks.iterative import Iterative
from twinlatent.attacks.models import Attackable
from twinlatent.attacks.objectives import (
    Bypass,
    LatentMatching,
    LogOdds,
    Margin,
    Objective,
    RobustDensity,
    Suspicion,
)
from twinlatent.attacks.probing import Probing
from twinlatent.attacks.search import EveryTarget, GammaSearch, Restarts
from twinlatent.attacks.steps import step_in
from twinlatent.errors import TwinlatentError

SuiteName = Literal["quick", "standard", "thorough", "paper"]
PLAIN, ADAPTIVE, QUERIES, BLIND = "plain", "adaptive", "queries", "blind"
"""What attacks use: gradients of the classifier alone; of classifier and detector; answers of both; neither."""
KINDS = {
    **dict.fromkeys(("fgsm", "pgd", "mim", "targets", "cw"), PLAIN),
    **dict.fromkeys(("fgsm_w", "pgd_w", "mim_w", "cw_w"), ADAPTIVE),
    **dict.fromkeys(("selective", "orthogonal", "selective-targets", "bypass-targets"), ADAPTIVE),
    **dict.fromkeys(("robust-targets", "latent-targets", "probing", "probing-targets"), ADAPTIVE),
    "selective-restarts": ADAPTIVE,
    **dict.fromkeys(("square", "square-targets"), QUERIES),
    **dict.fromkeys(("none", "noise", "transfer"), BLIND),
}
"""The kind of each attack of a suite, by its name. `_w` is the paper's: a bypass term whose weight γ is searched."""
STEPS = {"quick": 30, "standard": 100, "thorough": 100, "paper": 100}
"""Steps of gradient attacks where nothing is said; `paper` has its own, these are for what accompanies it."""
LIKELIEST = 3
"""Classes a targeted attack goes for with all its steps; the attacks on the detector's answers first try every wrong
class with a quarter of them."""
SUBSTITUTED = ("standard", "thorough")
"""Suites that have attacks with a substitute, and with latents to match."""
RESTARTS = 5
"""Starts of what only the suite `thorough` has; of queries it has three times as many as `standard`."""
PROBES = 4
"""Gradients of a step of the attacks that probe."""


@dataclass(frozen=True, eq=False)
class Suite:
    """What a suite is made for.

    Attributes:
        name: of the suite.
        epsilon: radius of the ball; CW-L2, which has none, counts where it stays inside.
        norm: of the ball.
        steps: of gradient attacks; `square` has ten queries a step, `square-targets` thirty. None: the suite's own.
        level: (C,), suspicion up to which an image of each predicted class passes: a detector's threshold
            (`Bounds.thresholds`) or, as in the paper, its benign mean; None for a classifier without detector.
        robust: whether the model has a robust log-density.
        references: latents to match, see `latent_matching`; None: no such attack.
        substitute: classifier of the attacker's own, for `transfer`; None: no such attack.

    Raises:
        TwinlatentError: the name, the norm or the radius is none; or `paper`, whose budgets are given, is asked for
            with other steps or norm.
    """

    name: SuiteName = "standard"
    epsilon: float = 0.3
    norm: Norm = "linf"
    steps: int | None = None
    level: Tensor | None = None
    robust: bool = False
    references: LatentMatching | None = None
    substitute: Attackable | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(SuiteName):
            raise TwinlatentError(f"suite {self.name!r} is unknown; choose from {', '.join(get_args(SuiteName))}")
        steps = None if self.steps is None else whole("steps", self.steps)
        understood(self, steps=steps, epsilon=ball_of(self.norm, self.epsilon).epsilon)
        if self.name == "paper" and (self.steps is not None or self.norm != "linf"):
            raise TwinlatentError(f"suite paper has the paper's steps and its linf steps; steps {self.steps} and norm "
                                  f"{self.norm} are for the other suites")  # fmt: skip

    def attacks(self) -> dict[str, Attack]:
        """The attacks by name, the quickest first; `none` is no attack at all."""
        builders = {"quick": self._quick, "standard": self._standard, "thorough": self._thorough, "paper": self._paper}
        return {"none": Unchanged(), **builders[self.name]()}

    def _quick(self) -> dict[str, Attack]:
        steps = self.steps or STEPS["quick"]
        found = self._one_step() | {"pgd": self._iterative(Ascent(), steps, random_start=True)}
        if self.level is not None:
            found["mim_w"] = self._iterative(Ascent(Margin(0.0) + Bypass(self.level)), steps, decay=0.9)
            found["selective"] = self._iterative(Selective(-1.0 * Suspicion()), steps, decay=0.75)
            found["probing"] = self._probing(Selective(-1.0 * Suspicion()), steps)
        return found

    def _standard(self) -> dict[str, Attack]:
        steps = self.steps or STEPS["standard"]
        found = self._one_step()
        found["pgd"] = Restarts(self._iterative(Ascent(), steps, random_start=True), 2)
        found["mim"] = self._iterative(Ascent(), steps, decay=0.9)
        if self.substitute is not None:
            found["transfer"] = Transfer(self.substitute, self._iterative(Ascent(), steps, decay=0.9, early_stop=False))
        found |= (
            self._knowing(steps, self.level) if self.level is not None else {"targets": self._targets(Ascent(), steps)}
        )
        if self.norm == "linf":
            found["square"] = self._square(10 * steps)
        return found

    def _thorough(self) -> dict[str, Attack]:
        """The standard suite, and towards every wrong class what won images of ours that nothing else had won."""
        steps, found = self.steps or STEPS["thorough"], self._standard()
        shortfall: Objective = Margin(0.0)
        if self.level is not None:
            shortfall = shortfall + Bypass(self.level, at="target")
            quieter = Selective(-1.0 * Suspicion("target"))
            towards = EveryTarget(self._iterative(quieter, steps, decay=0.75, random_start=True))
            found["selective-restarts"] = Restarts(towards, RESTARTS)
        if self.norm == "linf":
            found["square-targets"] = EveryTarget(Square(self.epsilon, 30 * steps, shortfall))
        return found

    def _square(self, queries: int) -> Attack:
        """An eighth of the queries for every wrong class, then all of them for the nearest, where there is a level."""
        if self.level is None:
            return Square(self.epsilon, queries)
        towards = Square(self.epsilon, queries, Margin(0.0) + Bypass(self.level, at="target"))
        return EveryTarget(towards, 1, replace(towards, queries=max(2, queries // 8)))

    def _knowing(self, steps: int, level: Tensor) -> dict[str, Attack]:
        """Attacks that know the detector."""
        quieter, towards = -1.0 * Suspicion(), -1.0 * Suspicion("target")
        bypass, bypass_there = Bypass(level), Bypass(level, at="target")
        found: dict[str, Attack] = {
            "pgd_w": GammaSearch(self._iterative(Ascent(Margin(0.0) + bypass), steps, random_start=True)),
            "mim_w": GammaSearch(self._iterative(Ascent(Margin(0.0) + bypass), steps, decay=0.9)),
            "selective": self._iterative(Selective(quieter), steps, decay=0.75),  # noise would have to be undone first
            "orthogonal": self._iterative(Orthogonal(quieter), steps, decay=0.75),
            "bypass-targets": self._targets(Ascent(Margin(0.0) + bypass_there), steps),
            "selective-targets": self._targets(Selective(towards), steps),
            "probing": self._probing(Selective(quieter), steps),
            "probing-targets": EveryTarget(
                self._probing(Selective(towards), steps), LIKELIEST, self._probing(Selective(towards), steps // 4)
            ),
        }
        if self.robust:
            found["robust-targets"] = self._targets(Ascent(RobustDensity() + bypass_there), steps, screened=False)
        if self.references is not None:
            found["latent-targets"] = self._targets(Ascent(self.references), steps, screened=False)
        return found

    def _paper(self) -> dict[str, Attack]:
        """White-box attacks at the paper's budgets (Table 8), `_W` where there is a detector."""
        found = {}
        for name in ("fgsm", "pgd", "mim", "cw"):
            budget = preset(f"paper.whitebox.mnist.{name}")
            if name != "cw":
                budget = budget.at(self.epsilon)
            if self.level is None:
                found[name] = budget.build(early_stop=True)
            else:
                raised = (Margin(budget.confidence) if name == "cw" else LogOdds()) + Bypass(self.level)
                found[f"{name}_w"] = budget.build(raised, search_gamma=True, early_stop=True)
        return found

    def _one_step(self) -> dict[str, Attack]:
        ball = ball_of(self.norm, self.epsilon)
        found: dict[str, Attack] = {"noise": Noise(ball), "fgsm": Iterative(ball, step_in(ball, self.epsilon), 1)}
        if self.level is not None:
            found["fgsm_w"] = GammaSearch(
                Iterative(ball, step_in(ball, self.epsilon), 1, Ascent(LogOdds() + Bypass(self.level)))
            )
        return found

    def _targets(self, guide: Guide, steps: int, *, screened: bool = True) -> Attack:
        """A quarter of the steps towards every wrong class, then all of them towards the nearest, or the likeliest."""
        screen = self._iterative(guide, max(1, steps // 4), decay=0.75) if screened else None
        return EveryTarget(self._iterative(guide, steps, decay=0.75), LIKELIEST, screen)

    def _probing(self, guide: Guide, gradients: int) -> Probing:
        """Long steps, a few gradients each, for where one gradient says little."""
        ball = ball_of(self.norm, self.epsilon)
        return Probing(ball, step_in(ball, self.epsilon / 2, decay=0.75), max(1, gradients // PROBES), PROBES, guide)

    def _iterative(
        self, guide: Guide, steps: int, *, decay: float = 0.0, random_start: bool = False, early_stop: bool = True
    ) -> Iterative:
        """Steps that begin at a tenth of the radius, or what takes them across in a quarter of them, and shrink."""
        ball = ball_of(self.norm, self.epsilon)
        step = step_in(ball, self.epsilon * max(0.1, 4 / steps), decay)
        return Iterative(ball, step, steps, guide, random_start, shrink=True, early_stop=early_stop)
