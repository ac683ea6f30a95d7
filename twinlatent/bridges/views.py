"""A model as other libraries know one: an `nn.Module` from images to logits, which they may attack as a classifier.

Letters: n images, C classes, z logits, s suspicion, t the level up to which an image passes, y the true label, ŷ the
predicted one.
"""

from typing import Any

import torch
from torch import Tensor, nn

from twinlatent.criteria import C1, All, Criterion, Undetected
from twinlatent.outputs import Model, Outputs, at_label


def level_of(criterion: Criterion) -> Tensor | None:
    """Suspicion up to which an image of each predicted class meets the criterion, (C,); None if it does not ask.

    That of `Undetected` and of `C1`; of several the lowest.

    Example:
        >>> from twinlatent.criteria import Misclassified
        >>> from twinlatent.outputs import Bounds
        >>> bounds = Bounds(torch.zeros(2), None, {0.05: torch.tensor([1.0, 2.0])})
        >>> level_of(Misclassified() & Undetected(bounds, 0.05)), level_of(Misclassified())
        (tensor([1., 2.]), None)
    """
    match criterion:
        case All(criteria):
            asked = [level for level in map(level_of, criteria) if level is not None]
            return torch.stack(asked).amin(0) if asked else None
        case Undetected(bounds, fpr):
            return bounds.thresholds[fpr]
        case C1(bounds):
            return bounds.suspicion_mean
    return None


class View(nn.Module):
    """A model as a classifier of C or more classes.

    It holds the model without owning it: to move the view or to change its mode changes the view alone.
    """

    def __init__(self, model: Model, like: Tensor) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple a module is no part of this one
        self.place = nn.Parameter(like.new_zeros(()), requires_grad=False)  # by a parameter others ask for the device
        self.eval()

    def outputs(self, images: Any) -> Outputs:
        """What the model answers."""
        answer = self._model[0](images.to(self.place))
        return answer if isinstance(answer, Outputs) else Outputs(answer, torch.zeros_like(answer))


class Rejecting(View):
    """The model's logits and, after them, those of one more class, "adversarial", if there is a level: (n, C + 1).

    The logit of that class is z_ŷ + (s_ŷ − t_ŷ): it is the prediction exactly where the image is flagged. (Carlini &
    Wagner 2017, "Adversarial examples are not easily detected", multiply instead, which needs positive logits.)
    """

    def __init__(self, model: Model, like: Tensor, level: Tensor | None = None) -> None:
        super().__init__(model, like)
        self.level = level

    def forward(self, images: Any) -> Tensor:
        """(n, C), or (n, C + 1) with a level."""
        outputs = self.outputs(images)
        if self.level is None:
            return outputs.logits
        beyond = outputs.suspicion_of_label - self.level.to(outputs.logits)[outputs.labels]
        return torch.cat([outputs.logits, (outputs.logits.amax(1) + beyond)[:, None]], 1)


class Passing(View):
    """A classifier that errs on images of one label exactly where they are misclassified and not flagged.

    To add a class "adversarial", as `Rejecting` does, would let an attack that wants any other class win by being
    flagged. So that class is folded into the true one. The C logits g are the model's, but for

        g_y = max(z_y, z_w + s_w − t_w), w being the best wrong class, or the target.

    Then w leads y exactly if z_w > z_y and s_w < t_w, and what it lacks is the larger of both shortfalls: an attack
    raises the wrong class until it leads, and lowers its suspicion until it passes. This holds for one true label, so
    images of one label are attacked at a time.

    With `smooth` they are given as sign(d) · log(1 + |d|), d = g − g_y: the same order and the same signs, but no lead
    is so large that the gradient of a cross-entropy vanishes, as it does where logits are log-densities.

    It counts what it is asked: `queries` and `gradients`, and `dead` gradients, which are zero or NaN although there is
    no success yet.
    """

    def __init__(
        self,
        model: Model,
        like: Tensor,
        label: int,
        target: int | None = None,
        level: Tensor | None = None,
        smooth: bool = True,
    ) -> None:
        super().__init__(model, like)
        self.label, self.target, self.level, self.smooth = label, target, level, smooth
        self.queries = self.gradients = self.dead = 0

    def forward(self, images: Any) -> Tensor:
        """(n, C)."""
        asked = images.clone()
        logits = self.logits_of(self.outputs(asked))
        self.queries += len(asked)
        if asked.requires_grad:
            failed = self.lead(logits.detach()) <= 0
            asked.register_hook(lambda gradient: self._count(gradient, failed))
        return logits

    def logits_of(self, outputs: Outputs) -> Tensor:
        """The same, (n, C), from what the model answered."""
        logits, label = outputs.logits, self.label
        if self.level is not None:
            wrong = self._wrong(logits)
            lacking = at_label(outputs.suspicion, wrong) - self.level.to(logits)[wrong]
            kept = torch.maximum(logits[:, label], at_label(logits, wrong) + lacking)
            others = torch.arange(logits.shape[1], device=logits.device) != label
            logits = torch.where(others, logits, kept[:, None])
        if not self.smooth:
            return logits
        difference = logits - logits[:, label, None]
        return difference.sign() * difference.abs().log1p()

    def lead(self, logits: Tensor) -> Tensor:
        """By how much the best wrong class, or the target, leads all others, (n,): positive is a success."""
        if self.target is None:
            return at_label(logits, self._wrong(logits)) - logits[:, self.label]
        return logits[:, self.target] - logits.index_fill(1, self._index(self.target, logits), -torch.inf).amax(1)

    def _wrong(self, logits: Tensor) -> Tensor:
        if self.target is not None:
            return self._index(self.target, logits).expand(len(logits))
        return logits.detach().index_fill(1, self._index(self.label, logits), -torch.inf).argmax(1)

    @staticmethod
    def _index(label: int, logits: Tensor) -> Tensor:
        return torch.tensor([label], device=logits.device)

    def _count(self, gradient: Tensor, failed: Tensor) -> None:
        self.gradients += len(gradient)
        self.dead += int((failed & ~(gradient.flatten(1).abs().amax(1) > 0)).sum())
