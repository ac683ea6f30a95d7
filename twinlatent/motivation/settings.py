"""Settings of Algorithm 2 (the paper's section 3); recipes hold those of its Tables 1, 5 and 6."""

from dataclasses import replace
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.attacks.attack import Attack
from twinlatent.attacks.budgets import ATTACKS, Budget
from twinlatent.attacks.budgets import preset as budget_of
from twinlatent.attacks.objectives import CrossEntropy, LogOdds, Margin, Suspicion
from twinlatent.data.split import SEED_LIMIT
from twinlatent.errors import TwinlatentError

Preset = Literal["smoke", "standard", "paper"]
Precision = Literal["float32", "bfloat16"]
Count = Annotated[int, Field(ge=1)]


class MotivationSettings(BaseModel):
    """Everything that decides a run of Algorithm 2 but the data.

    Attributes:
        budget: name of the attack's budget, see `attacks.BUDGETS`.
        steps: of the attack; None: the budget's.
        discriminator_weight: of D's output in the attack's loss, at least 0 (Table 1's last row, without its sign).
        gradient_loss: what FGSM, PGD and MIM raise: the cross-entropy, to which the paper's weights belong, or its
            log-odds, whose gradient does not vanish on images that F_p is sure of.
        targets: the label an image shall be given: a `random` wrong one, drawn anew in each iteration, or `any` wrong
            one. The paper's text has a target label, the f it prints for CW-L2 has one, and its Figure 2 has 0 for 1
            and 1 for 0, which CW-L2 hardly makes where it may choose. With `any` the attacks of later iterations repeat
            the labels of the first.
        iterations: of Algorithm 2 (its `limit`).
        images: training images that are attacked in each iteration; None: all.
        test_images: test images that are attacked for (X'_v, Y'_v); all if there are fewer.
        batch: images attacked at a time.
        precision: of the layers of F_p and D while they are attacked, and of D and F_v while they learn, weights being
            float32; everything is judged in float32. With bfloat16 all is twice as fast on processors that have it.
        discriminator: D, a network in the paper's notation with one output.
        untaught: D before the first iteration, see `new_discriminator`.
        discriminator_steps: of Adam in each iteration.
        classifier: F_v, in the paper's notation (Table 5).
        classifier_steps: of Adam.
        learning_batch: images of each kind in a step of Adam.
        learning_rate: of Adam, at most.
        seed: of every random choice.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    budget: str
    steps: Count | None = None
    discriminator_weight: Annotated[float, Field(ge=0)]
    gradient_loss: Literal["cross_entropy", "log_odds"] = "cross_entropy"
    targets: Literal["random", "any"] = "random"
    iterations: Count
    images: Count | None = None
    test_images: Count = 1000
    batch: Count = 250
    precision: Precision = "bfloat16"
    discriminator: str
    untaught: Literal["random", "neutral"] = "random"
    discriminator_steps: Count = 200
    classifier: str
    classifier_steps: Count = 2000
    learning_batch: Count = 64
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)] = 0

    @property
    def spent(self) -> Budget:
        """What an attack may spend on an image."""
        budget = budget_of(self.budget)
        return budget if self.steps is None or budget.attack == "fgsm" else replace(budget, steps=self.steps)

    def attack(self) -> Attack:
        """A_d, the attack that also lowers D's output (appendix A.1).

        FGSM, PGD and MIM raise L − w·D, CW-L2 lowers ‖δ‖² + c·f + w·D; its objective is weighted by c as a whole, so
        that D's weight is divided by it there.
        """
        budget, weight = self.spent, self.discriminator_weight
        if budget.attack == "cw":
            return budget.build(Margin(budget.confidence) - weight / budget.initial_c * Suspicion())
        loss = CrossEntropy() if self.gradient_loss == "cross_entropy" else LogOdds()
        return budget.build(loss - weight * Suspicion())


def check_names(attack: str, preset: str) -> None:
    """Raise `TwinlatentError` for an unknown attack or preset: before any data is fetched."""
    if attack not in ATTACKS:
        raise TwinlatentError(f"attack {attack!r} is unknown; choose from {', '.join(ATTACKS)}")
    if preset not in get_args(Preset):
        raise TwinlatentError(f"preset {preset!r} is unknown; choose from {', '.join(get_args(Preset))}")
