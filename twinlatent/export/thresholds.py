"""The calibration as nodes: p-values and verdicts as `Calibration` has them.

Letters: n images, C classes, R rates, N calibration images, ŷ the predicted label.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from twinlatent.export.answers import Answers
from twinlatent.export.graph import Graph
from twinlatent.method.calibration import Calibration


def within(graph: Graph, images: str) -> str:
    """Whether all values of an image are in [0, 1], bool (n,); not where one is NaN."""
    above = graph.add("GreaterOrEqual", images, torch.tensor(0.0))
    both = graph.add("And", above, graph.add("LessOrEqual", images, torch.tensor(1.0)))
    least = graph.add("ReduceMin", graph.add("Cast", both, to=_FLOAT), torch.tensor([1, 2, 3]), keepdims=0)
    return graph.add("Cast", least, to=_BOOL)


def verdict(
    graph: Graph, calibration: Calibration, said: Answers, images: str, fprs: Sequence[float]
) -> tuple[str, str]:
    """p-values, float32 (n,), and flags, bool (n, R): of what `detect` would refuse as no image, 0 and True."""
    valid = within(graph, images)
    p_value = graph.add("Where", valid, p_values(graph, calibration, said, min(fprs)), torch.tensor(0.0))
    invalid = graph.add("Unsqueeze", graph.add("Not", valid), torch.tensor([1]))
    return p_value, graph.add("Or", flags(graph, calibration, said, fprs), invalid)


def flags(graph: Graph, calibration: Calibration, said: Answers, fprs: Sequence[float]) -> str:
    """Whether images are flagged at each rate, bool (n, R): more suspicious than the threshold of ŷ, or NaN."""
    thresholds = torch.stack([calibration.thresholds(fpr) for fpr in fprs], 1)  # (C, R)
    column = graph.add("Unsqueeze", said.suspicion, torch.tensor([1]))
    passes = graph.add("LessOrEqual", column, graph.add("Gather", thresholds, said.label, axis=0))
    return graph.add("Not", passes)


def p_values(graph: Graph, calibration: Calibration, said: Answers, fpr: float) -> str:
    """Conformal p-values, float32 (n,), as they are where the rate `fpr` is asked for.

    At a coarser rate they are the same or larger, and an image is flagged there just where this one is at most the
    rate: so those of the finest rate serve all.
    """
    if calibration.together:
        return _p(graph, _at_least(graph, calibration.pooled[None], said), len(calibration.pooled))
    sizes = torch.tensor([len(scores) for scores in calibration.scores])
    rows = pad_sequence(list(calibration.scores), batch_first=True, padding_value=torch.nan)  # no number is below NaN
    beside = graph.add("Gather", rows, said.label, axis=0)
    count = _at_least(graph, beside, said)
    own = _p(graph, count, graph.add("Gather", sizes.float(), said.label, axis=0))
    few = ~calibration.telling(fpr)
    if not few.any():
        return own
    everywhere = _p(graph, _at_least(graph, calibration.pooled[None], said), len(calibration.pooled))
    beyond = graph.add("Equal", count, torch.tensor(0.0))
    also = graph.add("And", beyond, graph.add("Gather", few, said.label, axis=0))
    return graph.add("Where", also, graph.add("Min", own, everywhere), own)


def _at_least(graph: Graph, scores: str | Tensor, said: Answers) -> str:
    """How many scores of each row, or of the only one, are at least as suspicious: float32 (n,), exact up to 2²⁴."""
    column = graph.add("Unsqueeze", said.suspicion, torch.tensor([1]))
    reached = graph.add("Cast", graph.add("GreaterOrEqual", scores, column), to=_FLOAT)
    return graph.add("ReduceSum", reached, torch.tensor([1]), keepdims=0)


def _p(graph: Graph, count: str, size: int | str) -> str:
    """(1 + count) / (size + 1)."""
    one = torch.tensor(1.0)
    whole = graph.add("Add", size, one) if isinstance(size, str) else torch.tensor(size + 1.0)
    return graph.add("Div", graph.add("Add", count, one), whole)


_FLOAT, _BOOL = 1, 9
"""ONNX's numbers of element types."""
