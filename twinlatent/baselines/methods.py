"""Which baselines there are, and what each is trained with."""

from typing import Literal

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
METHODS = tuple(ATTACKS)
"""Names of the baselines."""
