"""What is asked of an evaluation, all of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from twinlatent.arguments import by_value
from twinlatent.attacks.budgets import Budget, preset
from twinlatent.attacks.suites import SuiteName
from twinlatent.data import Split
from twinlatent.data.split import SEED_LIMIT
from twinlatent.errors import TwinlatentError, listed
from twinlatent.evaluation.black_box import SUBSTITUTES
from twinlatent.evaluation.learners import JudgeSettings, SubstituteName, SubstituteSettings
from twinlatent.evaluation.protocol import WhiteBoxSettings
from twinlatent.evaluation.white_box import STANDARD_CW, WhiteBoxPlan
from twinlatent.recipes import kept_in, recipe_of
from twinlatent.settings import check_names, checked

Radius = Annotated[FiniteFloat, Field(gt=0, le=1)]
IMAGES, SUBSET = 1000, 100
"""Test images to attack at the main point, and at all others."""
SHIFTED = 1000
"""Test images to change mildly: some 20 seconds of one core for the detectors of MNIST that ship."""
CERTIFIED = 10_000
"""Test images to certify at the main radius: some 20 seconds of one core for the detectors of MNIST that ship."""
EPSILON = 0.3
"""L∞ radius of the main point where nothing is said."""


class EvaluationSettings(BaseModel):
    """What is asked of an evaluation.

    Attributes:
        suite: of white-box attacks; `none` leaves the white box out.
        substitutes: classifiers of the attacker's own, each of which is attacked in the black box; the first is also
            the one of the white box's attack `transfer`.
        networks: of substitutes, by name, with their training; those that are not named are the recipe's.
        blackbox_images: test images, drawn by `seed`, that are attacked through the substitutes; all if there are
            fewer.
        images: test images for the main point of the white box, drawn by `seed`; all if there are fewer.
        subset: so many of them for everything else: other radii and rates, C1 and C2, pictures.
        certified_images: so many test images are certified at the main radius, all if there are fewer; the attacked
            ones alone if nothing is proved of these.
        shift_images: so many test images are changed mildly, all if there are fewer; 0 leaves that out.
        epsilon: L∞ radius of all attacks; None: that of the recipe for these images, or if it has none the paper's own
            radii in the black box and 0.3 at the main point.
        fpr: false-positive rate of the main point.
        radii: of the curves of SR@FPR, as shares of `epsilon`.
        condition_radii: of the curves of C1 and C2.
        steps: of gradient attacks; None: the suite's own.
        judges: how judges are made; None: as the recipe for these images says.
        seed: of every random choice.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _by_value = field_validator("*", mode="before")(by_value)

    suite: Literal["none", SuiteName] = "standard"
    substitutes: Annotated[tuple[SubstituteName, ...], Field(min_length=1)] = SUBSTITUTES
    networks: dict[SubstituteName, SubstituteSettings] | None = None
    blackbox_images: Annotated[int, Field(ge=1)] = IMAGES
    images: Annotated[int, Field(ge=1)] = IMAGES
    subset: Annotated[int, Field(ge=1)] = SUBSET
    certified_images: Annotated[int, Field(ge=1)] = CERTIFIED
    shift_images: Annotated[int, Field(ge=0)] = SHIFTED
    epsilon: Radius | None = None
    fpr: float = 0.05
    radii: tuple[Radius, ...] = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1)
    condition_radii: tuple[Radius, ...] = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
    steps: Annotated[int, Field(ge=1)] | None = None
    judges: JudgeSettings | None = None
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)] = 0

    @field_validator("substitutes", "radii", "condition_radii")
    @classmethod
    def _are_named_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = next((value for number, value in enumerate(values) if value in values[:number]), None)
        if twice is not None:
            raise ValueError(f"{twice} is named twice; name each once")
        return values

    @model_validator(mode="after")
    def _main_point_exists(self) -> Self:
        if self.suite != "none":
            _ = self.main  # its own validation speaks
        return self

    @property
    def cw(self) -> Budget:
        """Of CW-L2_W: the paper's in its suite, else a shorter one, in proportion to `steps`."""
        if self.suite == "paper":
            return preset("paper.whitebox.mnist.cw")
        return STANDARD_CW if self.steps is None else replace(STANDARD_CW, steps=math.ceil(1.5 * self.steps))

    @property
    def main(self) -> WhiteBoxSettings:
        """Of the main point; `TwinlatentError` where the suite is `none`."""
        if self.suite == "none":
            raise TwinlatentError("suite none has no main point; choose quick, standard, thorough or paper")
        return WhiteBoxSettings(suite=self.suite, epsilon=self.epsilon or EPSILON, steps=self.steps, fpr=self.fpr,
                                images=self.images, seed=self.seed)  # fmt: skip

    @property
    def plan(self) -> WhiteBoxPlan:
        """Of the whole white box; `TwinlatentError` where the suite is `none`."""
        main = self.main
        return WhiteBoxPlan(main, tuple(round(share * main.epsilon, 6) for share in self.radii), self.condition_radii,
                            self.subset, self.certified_images, self.cw)  # fmt: skip

    def for_images(self, split: Split, card: Mapping[str, Any], recipe: str | Path | None = None) -> Self:
        """With what a recipe says where nothing was asked.

        Args:
            split: of the images; its own recipe decides where neither of the others does.
            card: of the detector; keeps what the recipe it was trained with says of evaluations.
            recipe: name of a recipe, or its file: instead of that.

        Raises:
            TwinlatentError: no such recipe, or one for other images.
        """
        kept = kept_in(card) if recipe is None else None
        chosen = kept or recipe_of(split, asked=recipe)
        networks = {name: chosen.substitute_settings(name) for name in self.substitutes} | (self.networks or {})
        epsilon = chosen.evaluation.epsilon if self.epsilon is None else self.epsilon
        return self.model_copy(update={"epsilon": epsilon, "judges": self.judges or chosen.judges,
                                       "networks": networks})  # fmt: skip


class Asked(TypedDict, total=False):
    """The fields of `EvaluationSettings`, as keywords."""

    suite: Literal["none", SuiteName]
    substitutes: Sequence[SubstituteName]
    networks: Mapping[SubstituteName, SubstituteSettings] | None
    blackbox_images: int
    images: int
    subset: int
    certified_images: int
    shift_images: int
    epsilon: float | None
    fpr: float
    radii: Sequence[float]
    condition_radii: Sequence[float]
    steps: int | None
    judges: JudgeSettings | Mapping[str, Any] | None
    seed: int


def settings_of(
    settings: EvaluationSettings | Mapping[str, Any] | None, asked: Mapping[str, Any]
) -> EvaluationSettings:
    """The settings, or those of which keywords or a mapping say what differs from the defaults.

    Raises:
        TwinlatentError: settings and keywords are both given, or one is no field or has a wrong value.
    """
    if settings is not None and asked:
        raise TwinlatentError(
            f"{listed(list(asked))} given beside settings; put it into the settings, or leave those out"
        )
    if isinstance(settings, EvaluationSettings):
        return settings
    given: object = asked if settings is None else settings
    if not isinstance(given, Mapping):
        raise TwinlatentError(f"settings is a {type(given).__name__}; give twinlatent.EvaluationSettings, or a dict of "
                              'its fields such as {"suite": "quick"}')  # fmt: skip
    values = dict(given)
    check_names(EvaluationSettings, values)
    return checked(lambda: EvaluationSettings(**values))
