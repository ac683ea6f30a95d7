"""What may be attacked, and that it is left as it was found."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from twinlatent.attacks.models import as_model, frozen
from twinlatent.errors import TwinlatentError
from twinlatent.outputs import Outputs


def test_logits_become_outputs_without_suspicion(real_images) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    outputs = as_model(network)(real_images(5))
    assert torch.equal(outputs.logits, network(real_images(5)))
    assert outputs.suspicion.shape == (5, 3)
    assert not outputs.suspicion.any()
    assert outputs.robust is None


def test_outputs_stay_as_they_are(real_images) -> None:
    given = Outputs(torch.rand(5, 3), torch.rand(5, 3), torch.rand(5, 3))
    assert as_model(lambda images: given)(real_images(5)) is given


@pytest.mark.parametrize("answer", [(torch.zeros(5, 3),), {"logits": torch.zeros(5, 3)}, None], ids=type)
def test_other_answers_are_named(answer, real_images) -> None:
    with pytest.raises(TwinlatentError, match=f"answers with a {type(answer).__name__}; wrap it in a function"):
        as_model(lambda images: answer)(real_images(5))


def test_a_model_changes_a_copy(real_images) -> None:
    images = real_images(5)
    as_model(lambda x: x.zero_().flatten(1))(images)
    assert torch.equal(images, real_images(5))


def network_in_mixed_modes() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(72, 3))
    network.train()
    network[3].eval()
    network[0].weight.requires_grad_(False)
    return network


def state_of(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()] + [p.requires_grad for p in network.parameters()]


def test_modes_and_gradients_are_put_back() -> None:
    network = network_in_mixed_modes()
    before = state_of(network)
    assert len(set(before)) == 2
    with frozen(network):
        assert not any(state_of(network))
    assert state_of(network) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_they_are_put_back_after_an_error_too(error: type[BaseException]) -> None:
    network = network_in_mixed_modes()
    before = state_of(network)

    def fail() -> None:
        with frozen(network):
            raise error

    with pytest.raises(error):
        fail()
    assert state_of(network) == before


def test_freezing_nests() -> None:
    network = network_in_mixed_modes()
    before = state_of(network)
    with frozen(network), frozen(network[0]):
        assert not any(state_of(network))
    assert state_of(network) == before


def test_what_is_no_module_is_left_alone() -> None:
    thing = SimpleNamespace(training=True)
    with frozen(thing):
        assert thing.training
    with frozen(lambda images: images):
        pass
