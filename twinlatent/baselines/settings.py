"""Settings of the baselines' training, and what each of them is trained with."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.baselines.methods import ATTACKS, BaselineAttack, BaselineMethod
from twinlatent.data.augmentation import Augmentation
from twinlatent.errors import TwinlatentError

_ATTACKING = frozenset({"epsilon", "smallest", "attack_steps", "stride", "decay", "ramp"})
_GONG, _GAT, _RCE = frozenset({"attacked_images"}), frozenset({"unattacked"}), frozenset({"references"})
_CLASSIFYING = frozenset({"products"})


class BaselineSettings(BaseModel):
    """Everything that decides a baseline's training but the images and the seed.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: str
    """In the paper's notation: a classifier, for `gat` an encoder that ends in z(1,1)."""
    attack: BaselineAttack = "none"
    """A. `adversarial-training` and `gat` run it in every round; `gong` once, at the paper's black-box budget."""
    epsilon: float = Field(0.3, ge=0, le=1)
    """L∞ radius after the ramp."""
    smallest: float = Field(1.0, gt=0, le=1)
    """Share of ε that the smallest radius has, as in `AdversarySettings`."""
    attack_steps: int = Field(12, ge=1)
    stride: float = Field(2.5, gt=0)
    """A step is this × ε / steps."""
    decay: float = Field(0.9, ge=0)
    """Momentum of MIM."""
    ramp: float = Field(0.3, ge=0, le=1)
    """Share of the rounds over which ε grows to its full size."""
    attacked_images: int = Field(4000, ge=1)
    """Of `gong`: training images that are attacked once for the binary detector."""
    unattacked: float = Field(0.25, ge=0, lt=1)
    """Of `gat`: share of the other classes' images that are left as they are."""
    references: int = Field(200, ge=11)
    """Of `rce`: training images a class whose features the K-density compares with."""
    rounds: int = Field(2000, ge=1)
    batch: int = Field(64, ge=1)
    """Images a round; for `gat` a class and round."""
    learning_rate: float = Field(2e-3, gt=0)
    products: Literal["float32", "bfloat16"] = "float32"
    """What classifiers multiply in while they are trained, as in `GameSettings`; trained, they compute in float32."""
    augment: Augmentation = Augmentation()
    checkpoint_every: int = Field(200, ge=1)


UNUSED: dict[BaselineMethod, frozenset[str]] = {
    "plain": _ATTACKING | _GONG | _GAT | _RCE,
    "adversarial-training": _GONG | _GAT | _RCE,
    "gong": _ATTACKING | _GAT | _RCE,
    "rce": _ATTACKING | _GONG | _GAT,
    "gat": _GONG | _RCE | _CLASSIFYING,
}
"""Settings that a method does not read."""


def check_settings(method: str, settings: BaselineSettings) -> None:
    """Refuse settings that would stand on the card and do nothing.

    Args:
        method: one of `ATTACKS`.
        settings: asked for.

    Raises:
        TwinlatentError: an attack that the method is not trained with, or another value than the default of a setting
            that it does not read.
    """
    known = ATTACKS[method]  # type: ignore[index]
    if settings.attack not in known:
        raise TwinlatentError(f"{method} is not trained with {settings.attack!r}; choose from {', '.join(known)}")
    for name in sorted(UNUSED[method]):  # type: ignore[index]
        value = getattr(settings, name)
        if value != BaselineSettings.model_fields[name].default:
            raise TwinlatentError(f"setting {name} = {value!r}: {method} does not read it; leave it out")
