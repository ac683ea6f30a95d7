"""The networks of the baselines, each answering with logits and its own suspicion scores.

Letters: n images, C classes, H features of the last hidden layer, m reference images a class.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.plans import plan
from twinlatent.method.scores import log_odds_against, of_others
from twinlatent.outputs import Outputs

NEAREST = 10
"""Neighbours within a class whose mean squared distance is the bandwidth of the K-density."""


class BaselineNetwork(nn.Module, ABC):
    """What a baseline trains.

    Attributes:
        scores: names of its suspicion scores, that of its paper first.
        spec: its network in the paper's notation.
        version: of what its scores mean; files of another one were calibrated otherwise.
    """

    scores: tuple[str, ...]
    version: int = 1
    spec: str

    @abstractmethod
    def outputs(self, images: Tensor, score: str) -> Outputs:
        """Answers that can be differentiated with respect to images (n, channels, H, W), under one score."""


class Confidence(BaselineNetwork):
    """A classifier that rejects what it is not sure of (Hendrycks and Gimpel 2017).

    The suspicion is log((1 − p_ŷ) / p_ŷ), which orders images as their p_ŷ does; −log p_ŷ itself has hardly a gradient
    where p_ŷ is near 1, and an attack that follows it would make the detector look stronger than it is.
    """

    scores = ("confidence",)
    version = 2  # 1 was −log p

    def __init__(self, spec: str, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.spec, self.classifier = spec, build_classifier(spec, image_shape)

    def outputs(self, images: Tensor, score: str) -> Outputs:  # noqa: ARG002
        """Answers; the only score is `confidence`."""
        logits = self.classifier(images)
        return Outputs(logits, log_odds_against(logits))


class BinaryDetector(BaselineNetwork):
    """A plain classifier beside a network that tells attacked images from benign ones (Gong et al. 2017)."""

    scores = ("binary",)

    def __init__(self, spec: str, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.spec, self.classifier = spec, build_classifier(spec, image_shape)
        self.binary = build_classifier(f"{spec.rpartition('sm(')[0]}sm(2)", image_shape)

    def outputs(self, images: Tensor, score: str) -> Outputs:  # noqa: ARG002
        """Answers; the only score is `binary`, the log-odds of being attacked."""
        logits, kinds = self.classifier(images), self.binary(images)
        return Outputs(logits, (kinds[:, 1:] - kinds[:, :1]).expand_as(logits))


class ReverseCrossEntropy(BaselineNetwork):
    """A classifier trained towards the uniform distribution over the wrong classes (Pang et al. 2018).

    Its logits are those of the trained network with the sign changed. Scores: `k-density`, minus the log of the mean
    Gaussian kernel between the last hidden layer and that of m training images of the predicted class; `non-me`, minus
    the entropy of the normalised probabilities of the other classes, of which there must be at least two.
    """

    scores: tuple[str, ...] = ("k-density", "non-me")
    references: Tensor
    bandwidth: Tensor

    def __init__(self, spec: str, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.spec, self.classifier = spec, build_classifier(spec, image_shape)
        if spec.endswith("sm(2)"):
            self.scores = ("k-density",)
        self.register_buffer("references", torch.empty(0))
        self.register_buffer("bandwidth", torch.ones(()))

    def outputs(self, images: Tensor, score: str) -> Outputs:
        """Answers under `k-density` or `non-me`; the latents are the last hidden layer, the same for every class."""
        hidden = hidden_layer(self.classifier, images)
        logits = -self.classifier.layers[-1](hidden)
        suspicion = self._k_density(hidden) if score == "k-density" else non_maximal_entropy(logits)
        return Outputs(logits, suspicion, latents=hidden[:, None].expand(-1, logits.shape[1], -1))

    @torch.no_grad()
    def remember(self, references: Tensor) -> None:
        """Keep images (C, m, channels, H, W) of each class, and their spread as the kernel's bandwidth."""
        hidden = torch.stack([hidden_layer(self.classifier, images) for images in references])
        nearest = _squared_distances(hidden, hidden).topk(NEAREST + 1, largest=False).values[..., 1:]  # not itself
        self.references, self.bandwidth = hidden, nearest.mean(-1).median().clamp_min(1e-6)

    def _k_density(self, hidden: Tensor) -> Tensor:
        distances = _squared_distances(hidden.expand(len(self.references), -1, -1), self.references)  # (C, n, m)
        return -torch.logsumexp(-distances / self.bandwidth, -1).T


class ClassDetectors(BaselineNetwork):
    """One binary detector a class, trained against attacks on it (Yin et al. 2020, their generative detection).

    The predicted class is that of the detector that is surest; its suspicion is minus that detector's log-odds.
    """

    scores = ("class-detector",)

    def __init__(self, spec: str, image_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.spec, self.encoders = spec, ClassEncoders(plan(spec, image_shape, "encoder"), classes)

    def log_odds(self, images: Tensor) -> Tensor:
        """Of being a benign image of the class, (C, B): of the same images, or of each class's own (C, B, ...)."""
        odds: Tensor = self.encoders(images).robust.mean[..., 0]
        return odds

    def outputs(self, images: Tensor, score: str) -> Outputs:  # noqa: ARG002
        """Answers; the only score is `class-detector`."""
        logits = self.log_odds(images).T
        return Outputs(logits, -logits)


def hidden_layer(classifier: PlainNetwork, images: Tensor) -> Tensor:
    """What the last dense layer of a classifier is given, (n, H)."""
    x = images
    for layer in classifier.layers[:-1]:
        x = layer(x)
    return x.flatten(1)


def non_maximal_entropy(logits: Tensor) -> Tensor:
    """Minus the entropy of the classes other than c, normalised among themselves: (n, C) → (n, C)."""
    log_p = F.log_softmax(of_others(logits), -1)
    return (log_p.exp() * log_p).sum(-1)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(C, n, H), (C, m, H) → (C, n, m); never below zero, and with a gradient where two are the same."""
    product = a @ b.transpose(1, 2)
    return (a.square().sum(-1)[..., None] + b.square().sum(-1)[:, None] - 2 * product).clamp_min(0)
