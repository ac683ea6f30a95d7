"""The calibration as nodes: ONNX Runtime counts as `Calibration` does, at ties, below, above and for NaN."""

import pytest
import torch
from torch import Tensor

from twinlatent.export.answers import Answers
from twinlatent.export.graph import Graph
from twinlatent.export.thresholds import flags, p_values
from twinlatent.method.calibration import Calibration

SCORES = (
    torch.linspace(-1, 1, 60),
    torch.tensor([0.1, 0.2, 0.2, 0.5]),
    torch.tensor([]),
    torch.linspace(0, 3, 30),
)
"""Of the classes: many, few with a tie, none, and some."""
FPRS = (0.3, 0.02, 0.05)


@pytest.fixture
def asked(run):
    """A function: what a graph of the calibration says of suspicion (n,) at labels (n,)."""

    def answer(make, suspicion: Tensor, labels: Tensor, kind: str) -> Tensor:
        graph = Graph()
        both = torch.stack([suspicion, labels.float()], 1)
        given, named = (graph.add("Gather", "images", torch.tensor(column), axis=1) for column in (0, 1))
        said = Answers(graph.add("Cast", named, to=7), given)
        return run(graph, make(graph, said), both, kind)

    return answer


@pytest.mark.parametrize("together", [False, True])
def test_p_values_and_flags_are_those_of_the_calibration(together: bool, asked) -> None:
    calibration = Calibration(SCORES, together)
    values = torch.cat([*SCORES, torch.tensor([-9.0, 9, 2.9999, 0.20001, torch.inf, -torch.inf, torch.nan])])
    suspicion, labels = values.repeat(4), torch.arange(4).repeat_interleave(len(values))
    for fpr in FPRS:
        found = asked(lambda graph, said, fpr=fpr: p_values(graph, calibration, said, fpr), suspicion, labels, "FLOAT")
        assert torch.equal(found, calibration.p_values(suspicion, labels, fpr))
    flagged = asked(lambda graph, said: flags(graph, calibration, said, FPRS), suspicion, labels, "BOOL")
    for column, fpr in enumerate(FPRS):
        assert torch.equal(flagged[:, column], ~(suspicion <= calibration.thresholds(fpr)[labels]))


@pytest.mark.parametrize("together", [False, True])
def test_p_values_of_the_finest_rate_tell_flags_at_all(together: bool, asked) -> None:
    calibration = Calibration(SCORES, together)
    suspicion, labels = torch.linspace(-2, 4, 997).repeat(4), torch.arange(4).repeat_interleave(997)
    p = asked(lambda graph, said: p_values(graph, calibration, said, min(FPRS)), suspicion, labels, "FLOAT")
    flagged = asked(lambda graph, said: flags(graph, calibration, said, FPRS), suspicion, labels, "BOOL")
    for column, fpr in enumerate(FPRS):
        assert torch.equal(flagged[:, column], p.double() <= fpr + 1e-6)
