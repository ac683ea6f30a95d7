"""What a class must call vulnerable: a small strategy for each kind of images, chosen by settings."""

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from twinlatent.method.negatives.others import AttackedSettings, BenignSettings
from twinlatent.method.negatives.partway import PartwaySettings
from twinlatent.method.negatives.strategy import Negatives, Round, Setup
from twinlatent.method.negatives.surrogate import SurrogateSettings

__all__ = [
    "AttackedSettings",
    "BenignSettings",
    "Negatives",
    "NegativesSettings",
    "PartwaySettings",
    "Round",
    "Setup",
    "SurrogateSettings",
]


class NegativesSettings(BaseModel):
    """The kinds, in the order in which a class gets them; one whose share is 0 is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    benign: BenignSettings = BenignSettings()
    """Benign images of other classes."""
    attacked: AttackedSettings = AttackedSettings()
    """Images of other classes, attacked towards the class: the paper's."""
    partway: PartwaySettings = PartwaySettings()
    """The class's own images, part of the way to what an attack towards another class makes of them."""
    surrogate: SurrogateSettings = SurrogateSettings()
    """The class's own images, moved along the gradients of a plain classifier that learns along."""

    @model_validator(mode="after")
    def _any(self) -> Self:
        if not any(getattr(self, name).share for name in type(self).model_fields):
            raise ValueError("every share is 0; a class must learn what to call vulnerable from something")
        return self

    def made(self, setup: Setup) -> dict[str, Negatives]:
        """The kinds that have a share, by name.

        Raises:
            TwinlatentError: a kind that does not fit the images.
        """
        kinds = {name: getattr(self, name).made(setup) for name in type(self).model_fields}
        return {name: kind for name, kind in kinds.items() if kind is not None}
