"""What every attacked model answers."""

import dataclasses

import pytest
import torch

from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Bounds, Outputs, at_label


def test_labels_and_their_suspicion() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, -1.0, 4.0], [-3.0, -2.0, -1.0]])
    suspicion = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    outputs = Outputs(logits, suspicion)
    assert outputs.labels.tolist() == [1, 0, 2]
    assert outputs.labels.dtype == torch.int64
    torch.testing.assert_close(outputs.suspicion_of_label, torch.tensor([0.2, 0.4, 0.9]))
    assert outputs.robust is None


@pytest.mark.parametrize("n", [0, 1, 7])
def test_the_column_of_the_label_is_picked(n: int, generator) -> None:
    values, labels = torch.randn(n, 4, generator=generator), torch.randint(4, (n,), generator=generator)
    picked = at_label(values, labels)
    assert picked.shape == (n,)
    assert picked.tolist() == [values[i, label].item() for i, label in enumerate(labels.tolist())]


def test_gradients_reach_the_picked_column_alone() -> None:
    suspicion = torch.rand(3, 4, requires_grad=True)
    Outputs(torch.eye(3, 4), suspicion).suspicion_of_label.sum().backward()
    assert suspicion.grad.tolist() == torch.eye(3, 4).tolist()


def test_outputs_cannot_be_changed() -> None:
    outputs = Outputs(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        outputs.logits = torch.ones(1, 2)


@pytest.mark.parametrize(
    ("suspicion", "robust", "thresholds", "named"),
    [
        ([0.1, 0.2, 0.3], None, {}, "suspicion_mean"),
        (torch.zeros(2, 3), None, {}, "suspicion_mean"),
        (torch.zeros(3), torch.zeros(2), {}, "robust_mean"),
        (torch.zeros(3), 0.5, {}, "robust_mean"),
        (torch.zeros(3), None, {0.05: torch.zeros(3), 0.1: 0.7}, r"threshold at 0\.1"),
        (torch.zeros(3), None, {0.05: torch.zeros(3, 1)}, r"threshold at 0\.05"),
    ],
)
def test_bounds_are_a_number_a_class(suspicion, robust, thresholds, named: str) -> None:
    with pytest.raises(TwinlatentError, match=f"{named} is .*; give a tensor with a number a class") as caught:
        Bounds(suspicion, robust, thresholds)
    assert "\n" not in str(caught.value)
