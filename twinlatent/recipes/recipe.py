"""A recipe: every setting that depends on what the images are, for a detector, the baselines and their evaluation."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.baselines.methods import ATTACKS as BASELINE_ATTACKS
from twinlatent.baselines.settings import UNUSED, BaselineSettings
from twinlatent.data.augmentation import Augmentation
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.learners import JudgeSettings, SubstituteSettings
from twinlatent.method.adversaries.search import TrainingAttack
from twinlatent.method.detector import DetectorSettings
from twinlatent.method.game_state import GameSettings
from twinlatent.method.plans import plan
from twinlatent.motivation.settings import MotivationSettings
from twinlatent.settings import check_names, checked, unknown

Purpose = Literal["smoke", "standard", "paper", "certified"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
ELSEWHERE = {"encoder": "networks.encoder", "decoder": "networks.decoder", "augment": "[augment]"}
"""Settings of the game that stand elsewhere in a recipe, since baselines share them or their place."""
_NETWORK_OF = {"gat": "binary", "adversarial-training": "robust"}
"""Baseline → which of `Networks` it has; the others have `classifier`."""
_NOT_SHOWN = {"name", "data", "game", "against", "motivation"}


class Networks(BaseModel):
    """Networks in the paper's notation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    """E^c, of each class."""
    decoder: str
    """D^c, of each class."""
    binary: str
    """Of each class in `gat`: an encoder that ends in z(1,1)."""
    classifier: str
    """F_p, the plain classifier, of the baselines and of the first substitute."""
    robust: str
    """The classifier of adversarial training."""
    learner: str
    """F_v of section 3."""


class EvaluationDefaults(BaseModel):
    """What an evaluation does where nothing is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: Annotated[float, Field(gt=0, le=1)] | None = None
    """L∞ radius of all attacks; None: the paper's own in the black box, else 0.3."""


class EvaluationRecipe(BaseModel):
    """What of a recipe decides an evaluation, which a detector's card keeps.

    Attributes:
        substitutes: name → the attacker's classifier and its training.
        judges: of condition C3.
        evaluation: where nothing else is asked.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    substitutes: dict[str, SubstituteSettings]
    judges: JudgeSettings = JudgeSettings()
    evaluation: EvaluationDefaults = EvaluationDefaults()

    def substitute_settings(self, name: str) -> SubstituteSettings:
        """An attacker's classifier.

        Raises:
            TwinlatentError: the recipe has none of that name.
        """
        if name not in self.substitutes:
            raise TwinlatentError(f"substitute {name!r} is unknown; choose from {', '.join(self.substitutes)}")
        return self.substitutes[name]


class Recipe(EvaluationRecipe):
    """What a recipe's file says, over the rules for images of its shape.

    Attributes:
        name: of the file, or `generic`.
        about: what it is for, in a line.
        data: name of the data set that gets it unasked; None: it must be asked for.
        purpose: `smoke` (seconds), `standard`, `paper` (the literal budgets: very long on a CPU), or `certified`
            (against a bound).
        image_shape: (channels, H, W).
        classes: C.
        networks: of everything.
        augment: of training images, of detectors and baselines.
        detector: label rule and score.
        game: settings of the game by name, without networks and augmentation.
        against: training attack → what of `game` is otherwise when the game is played against it.
        baselines: baseline → its settings by name, without network and augmentation.
        motivation: settings of Algorithm 2 by name; `with` has those of each attack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str = ""
    data: str | None = None
    purpose: Purpose = "standard"
    image_shape: tuple[int, int, int]
    classes: Annotated[int, Field(ge=2)]
    networks: Networks
    augment: Augmentation = Augmentation()
    detector: DetectorSettings = DetectorSettings()
    game: dict[str, Any] = {}
    against: dict[TrainingAttack, dict[str, Any]] = {}
    baselines: dict[str, dict[str, Any]] = {}
    motivation: dict[str, Any] = {}

    def game_settings(self, attack: str | None = None) -> GameSettings:
        """The game's settings against a training attack; None: against the recipe's own, mim if it names none.

        Raises:
            TwinlatentError: an unknown attack, or a setting that is none.
        """
        for name, instead in ELSEWHERE.items():
            if name in self.game:
                raise TwinlatentError(f"setting game.{name}: write {instead} in its place")
        check_names(GameSettings, self.game, "game.")
        own = self.game.get("adversary", {}).get("attack", "mim")
        attack = own if attack is None else attack
        if attack not in get_args(TrainingAttack):
            known = ", ".join(get_args(TrainingAttack))
            raise TwinlatentError(f"training attack {attack!r} is unknown; choose from {known}")
        values = merged(self.game, self.against.get(attack, {}))  # type: ignore[arg-type]
        values = merged(values, {"adversary": {"attack": attack}, "augment": self.augment.model_dump(),
                                 "encoder": self.networks.encoder, "decoder": self.networks.decoder})  # fmt: skip
        check_names(GameSettings, values, "game.")
        return checked(lambda: GameSettings(**values), "game.")

    def baseline_settings(self, method: str, attack: str | None = None) -> BaselineSettings:
        """A baseline's settings; None: with the method's own training attack.

        Raises:
            TwinlatentError: an unknown method, or an attack that it is not trained with; a recipe for the paper's
                budgets, which has none for baselines.
        """
        if method not in BASELINE_ATTACKS:
            raise TwinlatentError(f"baseline {method!r} is unknown; choose from {', '.join(BASELINE_ATTACKS)}")
        if self.purpose == "paper":
            raise TwinlatentError("preset 'paper' is none of a baseline's; choose smoke or standard")
        known = BASELINE_ATTACKS[method]
        chosen = known[0] if attack is None else attack
        if chosen not in known:
            raise TwinlatentError(f"{method} is not trained with {chosen!r}; choose from {', '.join(known)}")
        values = {"network": getattr(self.networks, _NETWORK_OF.get(method, "classifier")), "attack": chosen,
                  "augment": self.augment.model_dump(), **self.baselines.get(method, {})}  # fmt: skip
        check_names(BaselineSettings, values, f"baselines.{method}.")
        idle = sorted(UNUSED[method] & values.keys())
        if idle:
            raise TwinlatentError(f"setting baselines.{method}.{idle[0]}: {method} does not read it; leave it out")
        return checked(lambda: BaselineSettings(**values), f"baselines.{method}.")

    def motivation_settings(self, attack: str, **changes: Any) -> MotivationSettings:
        """Settings of a cell of Table 1.

        Args:
            attack: `fgsm`, `pgd`, `mim` or `cw`.
            changes: settings by name; None leaves the recipe's.

        Raises:
            TwinlatentError: an unknown attack, or a setting that is none.
        """
        with_attack: Mapping[str, dict[str, Any]] = self.motivation.get("with", {})
        tables = with_attack.values() if isinstance(with_attack, Mapping) else [with_attack]
        if not all(isinstance(table, Mapping) for table in tables):
            raise TwinlatentError("setting motivation.with: write a table for each attack, as [motivation.with.cw]")
        if attack not in with_attack:
            raise TwinlatentError(f"attack {attack!r} is unknown; choose from {', '.join(with_attack)}")
        common = {name: value for name, value in self.motivation.items() if name != "with"}
        values = {"classifier": self.networks.learner, **with_attack[attack], **common}
        values |= {name: value for name, value in changes.items() if value is not None}
        check_names(MotivationSettings, values, "motivation.")
        return checked(lambda: MotivationSettings(**values), "motivation.")

    def for_game(self, settings: GameSettings, detector: DetectorSettings | None = None) -> dict[str, Any]:
        """All that a training of ours and its evaluation are made with, JSON-able, as a recipe's file has it.

        Args:
            settings: of the game, as they are in the end.
            detector: label rule and score; None: the recipe's.
        """
        own = self.model_dump(mode="json", exclude=_NOT_SHOWN | {"baselines"})
        own["networks"] |= {"encoder": settings.encoder, "decoder": settings.decoder}
        own["augment"] = settings.augment.model_dump(mode="json")
        own["detector"] = (detector or self.detector).model_dump(mode="json")
        return own | {"game": settings.model_dump(mode="json", exclude=set(ELSEWHERE))}

    def for_baseline(self, method: str, settings: BaselineSettings) -> dict[str, Any]:
        """The same of a training of a baseline."""
        own = self.model_dump(mode="json", exclude=_NOT_SHOWN | {"detector"})
        own["networks"][_NETWORK_OF.get(method, "classifier")] = settings.network
        own["augment"] = settings.augment.model_dump(mode="json")
        hidden = {"network", "augment", "attack", *UNUSED[method]}  # type: ignore[index]
        return own | {"baselines": {method: settings.model_dump(mode="json", exclude=hidden)}}

    def resolved(self, attack: str | None = None) -> dict[str, Any]:
        """All settings, JSON-able, as a recipe's file has them: defaults too, so that nothing is left to look up.

        Args:
            attack: whose game is shown; what is otherwise against others stands beside it.

        Raises:
            TwinlatentError: an unknown attack.
        """
        found = self.for_game(self.game_settings(attack)) | {"against": self.against, "motivation": self.motivation}
        if self.purpose != "paper":
            hidden = {"network", "augment", "attack"}
            found["baselines"] = {
                method: self.baseline_settings(method).model_dump(mode="json", exclude=hidden | set(unused))
                for method, unused in UNUSED.items()
            }
        return found

    def _classifiers(self) -> dict[str, str]:
        """Networks that must fit the images, by the name of their setting."""
        own = {f"networks.{name}": getattr(self.networks, name) for name in ("classifier", "robust", "learner")}
        return own | {f"substitutes.{name}.layers": found.layers for name, found in self.substitutes.items()}

    def check(self) -> None:
        """Raise `TwinlatentError` if any of its settings is none: a wrong one is found before anything is trained."""
        for name in self.baselines:
            if name not in BASELINE_ATTACKS:
                raise unknown(f"baselines.{name}", [f"baselines.{known}" for known in BASELINE_ATTACKS])
        for attack in (None, *get_args(TrainingAttack)):
            self.game_settings(attack)
        for method in BASELINE_ATTACKS if self.purpose != "paper" else ():
            self.baseline_settings(method)
        for name, layers in self._classifiers().items():
            try:
                plan(layers, self.image_shape, "classifier")
            except TwinlatentError as error:
                raise TwinlatentError(f"setting {name}: {error}") from error
        self.motivation_settings("cw")
        for attack in self.motivation["with"]:
            self.motivation_settings(attack)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `below`, table by table, with those of `above` over them."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        both[name] = merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return both
