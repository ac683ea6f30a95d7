"""Settings of the baselines' training, and what each of them is trained with by default."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.data.augmentation import Augmentation
from twinlatent.errors import TwinlatentError
from twinlatent.method.presets import SMALL_SIDE, augmentation_of, encoder_of, is_large, plain_classifier

BaselineMethod = Literal["plain", "adversarial-training", "gong", "rce", "gat"]
BaselineAttack = Literal["none", "mim", "pgd", "cw"]
ATTACKS: dict[BaselineMethod, tuple[BaselineAttack, ...]] = {
    "plain": ("none",),
    "adversarial-training": ("pgd", "mim"),
    "gong": ("mim", "cw"),
    "rce": ("none",),
    "gat": ("pgd", "mim"),
}
"""What each can be trained with, the default first."""


_ATTACKING = frozenset({"epsilon", "smallest", "attack_steps", "stride", "decay", "ramp"})
_GONG, _GAT, _RCE = frozenset({"attacked_images"}), frozenset({"unattacked"}), frozenset({"references"})


class BaselineSettings(BaseModel):
    """Everything that decides a baseline's training but the images and the seed.

    Errors: pydantic's `ValidationError` on any other field or value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    augment: Augmentation = Augmentation()
    checkpoint_every: int = Field(200, ge=1)


UNUSED: dict[BaselineMethod, frozenset[str]] = {
    "plain": _ATTACKING | _GONG | _GAT | _RCE,
    "adversarial-training": _GONG | _GAT | _RCE,
    "gong": _ATTACKING | _GAT | _RCE,
    "rce": _ATTACKING | _GONG | _GAT,
    "gat": _GONG | _RCE,
}
"""Settings that a method does not read."""

_STANDARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "rce": {"rounds": 3000, "learning_rate": 1e-3},
    "gong": {},
    "adversarial-training": {"rounds": 4000, "attack_steps": 10, "learning_rate": 3e-3},
    "gat": {"rounds": 2000, "attack_steps": 16, "batch": 32, "learning_rate": 5e-3},
}
_SMALL: dict[str, dict[str, Any]] = {
    "plain": {"rounds": 600},
    "rce": {"rounds": 1000, "references": 50},
    "gong": {"rounds": 600, "attacked_images": 600},
    "adversarial-training": {"rounds": 800, "attack_steps": 5},
    "gat": {"rounds": 500, "attack_steps": 5, "batch": 16, "learning_rate": 8e-3},
}
_LARGE_ATTACK: dict[str, Any] = {"epsilon": 0.2, "smallest": 0.1, "attack_steps": 8}
_LARGE: dict[str, dict[str, Any]] = {
    "plain": {},
    "rce": {"rounds": 1500},
    "gong": {"rounds": 800, "attacked_images": 800},
    "adversarial-training": {"rounds": 800, "batch": 32, "learning_rate": 1e-3} | _LARGE_ATTACK | {"epsilon": 0.05},
    "gat": {"rounds": 1000, "batch": 16, "learning_rate": 4e-4} | _LARGE_ATTACK,
}
"""For images as large as the 64×64 faces of cats and dogs: the radii and, for `gat`, whose networks are ours, batches
and learning rate of our game; otherwise the first values tried, at most half an hour of one core each, but for the ε of
`adversarial-training`, whose loss stayed at chance with 0.2."""
_SMOKE: dict[str, Any] = {"rounds": 60, "attack_steps": 3, "attacked_images": 60, "references": 20, "batch": 16,
                          "checkpoint_every": 25}  # fmt: skip


def baseline_settings(
    method: str, preset: str, image_shape: tuple[int, ...], classes: int, data: str = "", attack: str | None = None
) -> BaselineSettings:
    """The settings of a baseline under a preset.

    Args:
        method: one of `ATTACKS`.
        preset: `smoke` (seconds) or `standard`.
        image_shape: (channels, H, W), decides the network.
        classes: C.
        data: name of the data set; Fashion MNIST's networks are larger, as in the paper, and `cats-dogs` is augmented.
        attack: the training attack; None: the method's default.

    Raises:
        TwinlatentError: unknown method or preset, or an attack that the method is not trained with.
    """
    if method not in get_args(BaselineMethod):
        raise TwinlatentError(f"baseline {method!r} is unknown; choose from {', '.join(ATTACKS)}")
    if preset not in ("smoke", "standard"):
        raise TwinlatentError(f"preset {preset!r} is none of a baseline's; choose smoke or standard")
    known = ATTACKS[method]  # type: ignore[index]
    chosen = known[0] if attack is None else attack
    if chosen not in known:
        raise TwinlatentError(f"{method} is not trained with {chosen!r}; choose from {', '.join(known)}")
    values = {"network": _network(method, image_shape, classes, data), "attack": chosen, **_STANDARD[method]}
    if image_shape[-1] <= SMALL_SIDE:
        values |= _SMALL[method]
    if is_large(image_shape):
        values |= _LARGE[method]
    values |= augmentation_of(data)
    values |= _SMOKE if preset == "smoke" else {}
    unused = UNUSED[method]  # type: ignore[index]
    return BaselineSettings(**{name: value for name, value in values.items() if name not in unused})


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


def _network(method: str, image_shape: tuple[int, ...], classes: int, data: str) -> str:
    """That of the paper's plain classifier; one layer more where training is adversarial; our encoder a class."""
    if method == "gat":
        return f"{encoder_of(image_shape, data).rpartition('z(')[0]}z(1,1)"
    if method == "adversarial-training" and image_shape[-1] > SMALL_SIDE and not is_large(image_shape):
        return f"2(c(3,16)) mp(2) c(3,32) mp(2) d(256) sm({classes})"
    return plain_classifier(image_shape, classes, data)
