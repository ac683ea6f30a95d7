"""Toy models whose least perturbation is known in closed form, and toy defences: to test attacks of your own.

An attack that fails on `LinearClassifier` just outside of its optimal radius, or wins just inside, is wrong.

>>> import torch
>>> model = LinearClassifier(torch.eye(2), torch.zeros(2), shape=(1, 1, 2))
>>> model.optimal_radius(torch.tensor([[[[0.75, 0.25]]]]), torch.tensor([0]), "linf")
tensor([0.2500])
"""

from twinlatent.testing.closed_form import FPR, GaussianDetector, LinearClassifier
from twinlatent.testing.defences import Honeypot, Noisy, Quantised, TradeOffDetector

__all__ = ["FPR", "GaussianDetector", "Honeypot", "LinearClassifier", "Noisy", "Quantised", "TradeOffDetector"]
