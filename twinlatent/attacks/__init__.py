"""Attacks on anything that answers images with logits or `Outputs`."""

from twinlatent.attacks.iterative import AttackResult, fgsm, mim, pgd

__all__ = ["AttackResult", "fgsm", "mim", "pgd"]
