"""Whether a model expects images of another form or range than (n, channels, H, W) in [0, 1]."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError, listed
from twinlatent.evaluation.protocol.answering import Answering, adapted
from twinlatent.outputs import Outputs

ASKED, AT_ONCE = 256, 32
"""So many calibration images tell one range from another; asked so many at a time."""
FEWEST = 9
"""Images that must be read correctly in another range alone before anything is said."""
SIGMAS = 3.0
"""Standard deviations of a coin's throws by which these must outweigh those of [0, 1] alone."""
APART = 0.1
"""Share of images; nobody's model loses more by taking images in [0, 1] if it was made for them."""


@dataclass(frozen=True)
class Form:
    """Images as a model may expect them.

    Attributes:
        words: what such images are.
        code: what makes them of `images`, or the wrapper that does.
        change: the same as a function.
    """

    words: str
    code: str
    change: Callable[[Tensor], Tensor]


def _shapes(channels: int) -> Iterator[Form]:
    yield Form("as (n, height, width, channels)", "images.permute(0, 2, 3, 1)", lambda x: x.permute(0, 2, 3, 1))
    yield Form("as rows (n, pixels)", "images.flatten(1)", lambda x: x.flatten(1))
    if channels == 1:
        yield Form("as (n, height, width)", "images[:, 0]", lambda x: x[:, 0])
        yield Form("of three channels", "images.expand(-1, 3, -1, -1)", lambda x: x.expand(-1, 3, -1, -1))
    else:
        yield Form("of one channel", "images.mean(1, keepdim=True)", lambda x: x.mean(1, keepdim=True))


def _ranges(images: Tensor) -> Iterator[Form]:
    """Ranges in which networks are trained, the images' own mean and deviation first."""
    every = (0, 2, 3)
    own = ([round(float(m), 4) for m in images.mean(every)], [max(round(float(s), 4), 1e-4) for s in images.std(every)])
    known = [own, ([0.5], [0.5]), ([0.0], [1 / 255])]
    if images.shape[1] == 3:
        known.append(([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))  # of ImageNet, as most libraries use them
    for mean, std in known:
        m, s = (torch.tensor(values)[None, :, None, None].to(images) for values in (mean, std))
        said = ("0", "1 / 255") if mean == [0.0] else (_said(mean), _said(std))
        words = "scaled to 255" if mean == [0.0] else f"less {said[0]}, divided by {said[1]}"
        yield Form(words, f"tl.Normalised(model, {said[0]}, {said[1]})", lambda x, m=m, s=s: (x - m) / s)  # type: ignore[misc]
    if images.shape[1] > 1:
        yield Form("as (n, height, width, channels)", "lambda images: model(images.permute(0, 2, 3, 1))",
                   lambda x: x.permute(0, 2, 3, 1))  # fmt: skip


def other_form(answering: Answering, images: Tensor, classes: int, *, detached: bool = False) -> Form | None:
    """The form in which a model can answer images that it cannot answer as they are; None: none that is known.

    Args:
        answering: the model.
        images: that it cannot answer; their gradients are not needed.
        classes: of the answers.
        detached: try the images themselves alone, and take any answer.
    """
    if detached:
        try:
            answering.raw(images)
        except Exception:
            return None
        return Form("without gradients", "images.detach()", Tensor.detach)
    return next((form for form in _shapes(images.shape[1]) if _answers(answering, form, images, classes)), None)


def of_range(answering: Answering, split: Split) -> list[str]:
    """What is to be said of a model that classifies images better in another range, for certain and not badly.

    Raises:
        TwinlatentError: better by more than `APART`.
    """
    few = split.calibration.subset(slice(ASKED))
    images, chance = few.images.to(answering.device), 1 / split.classes
    labels = _labels(answering, None, images)
    if labels is None or int((labels != few.labels).sum()) < FEWEST:
        return []
    right = labels == few.labels
    return _better_range(answering, images, few.labels, right, chance) or _of_classes(split, labels, few.labels)


def _better_range(answering: Answering, images: Tensor, labels: Tensor, right: Tensor, chance: float) -> list[str]:
    tried = [(form, found) for form in _ranges(images) if (found := _labels(answering, form, images)) is not None]
    tried = [(form, found == labels) for form, found in tried]
    known = [(int(found.sum()), form, found) for form, found in tried]
    if not known:
        return []
    _, form, better = max(known, key=lambda one: one[0])
    alone, lost = int((better & ~right).sum()), int((right & ~better).sum())
    share, here = float(better.double().mean()), float(right.double().mean())
    if alone < FEWEST or alone - lost < SIGMAS * (alone + lost) ** 0.5 or share < (1 + chance) / 2:
        return []
    line = (f"it classifies {int(right.sum())} of {len(right)} calibration images correctly as they are, in [0, 1], "
            f"and {int(better.sum())} {form.words}; if it was trained so, or nearly so, judge {form.code}")  # fmt: skip
    if share - here > APART:
        raise TwinlatentError(line)
    return [line]


def _answers(answering: Answering, form: Form, images: Tensor, classes: int) -> bool:
    try:
        answer = adapted(answering.raw(form.change(images)))
    except Exception:
        return False
    return tuple(answer.logits.shape) == (len(images), classes)


def _of_classes(split: Split, found: Tensor, labels: Tensor) -> list[str]:
    """What is to be said of labels (n,) that are right in another order of the columns."""
    n, chance = len(labels), 1 / split.classes
    counts = torch.zeros(split.classes, split.classes)
    counts.index_put_((labels, found), torch.ones(n), accumulate=True)
    order = torch.as_tensor(linear_sum_assignment(counts, maximize=True)[1])  # the column that says each class best
    right, better = found == labels, order[labels] == found
    alone, lost = int((better & ~right).sum()), int((right & ~better).sum())
    surely = alone >= FEWEST and alone - lost >= SIGMAS * (alone + lost) ** 0.5
    if not surely or float(better.double().mean()) < (1 + chance) / 2:
        return []
    return [f"it classifies {int(right.sum())} of {n} calibration images correctly, and {int(better.sum())} with its "
            f"columns in another order; are they in that of split.class_names, {listed(split.class_names)}? If not, "
            f"give logits[:, {order.tolist()}], and suspicion likewise"]  # fmt: skip


def _labels(answering: Answering, form: Form | None, images: Tensor) -> Tensor | None:
    """What the model says of images in a form, (n,); None where it cannot answer."""
    found = []
    try:
        for part in images.split(AT_ONCE):
            answer: Outputs = adapted(answering.raw(part if form is None else form.change(part)))
            found.append(answer.labels.cpu())
    except Exception:
        return None
    return torch.cat(found)


def _said(values: list[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"[{', '.join(f'{value:g}' for value in values)}]"
