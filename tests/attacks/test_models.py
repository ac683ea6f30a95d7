"""What may be attacked, and that it is left as it was found."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from twinlatent.attacks import Iterative, LInf, SignStep, carlini_wagner, pgd, square, transfer
from twinlatent.attacks.models import as_model, frozen
from twinlatent.data import Split
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


# --- several threads, shared parts --------------------------------------------------------------------------------


def test_threads_that_attack_one_module_do_not_disturb_each_other(digits: Split) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 10))
    networks = [network.train(), nn.Sequential(network), nn.Sequential(nn.Identity(), network[:3], network[3:])]
    before, moved = state_of(network), network[1].running_mean.clone()
    images, labels = digits.test.images[:12], digits.test.labels[:12]
    alone = pgd(copy.deepcopy(network), images, labels, epsilon=0.1, steps=3)

    def work(number: int) -> bool:
        n = 12 if number % 2 else 5
        found = pgd(networks[number % 3], images[:n], labels[:n], epsilon=0.1, steps=3)
        with frozen(networks[(number + 1) % 3]):
            steady = not any(state_of(network)[1:])  # all but the whole, which the third does not hold
        return steady and torch.equal(found.images, alone.images[:n])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(24)))
    assert state_of(network) == before
    assert torch.equal(network[1].running_mean, moved)


def test_the_last_to_leave_puts_shared_parts_back() -> None:
    network = network_in_mixed_modes()
    before, other = state_of(network), nn.Sequential(network, nn.Dropout())
    first, second = frozen(network), frozen(other)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(state_of(network))
    second.__exit__(None, None, None)
    assert state_of(network) == before
    assert state_of(other)[:1] == [True]


class Merging(nn.Linear):
    """As adapters do: in evaluation mode they are part of the weights."""

    merged = False

    def train(self, mode: bool = True) -> "Merging":
        self.merged = not mode
        return super().train(mode)


def test_a_module_that_does_more_than_change_its_mode_does_it_both_ways() -> None:
    network = nn.Sequential(Merging(3, 2), nn.Dropout()).train()
    network[1].eval()
    with frozen(network):
        assert network[0].merged
    assert not network[0].merged
    assert [network[0].training, network[1].training] == [True, False]


# --- modules of other kinds ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, of compiling
@pytest.mark.parametrize("kind", ["script", "loaded", "trace", "freeze", "compile"])
def test_modules_of_other_kinds_are_attacked_and_left_as_they_were(kind: str, digits: Split, tmp_path) -> None:
    images, labels = digits.test.images[:4], digits.test.labels[:4]
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 10))
    made = made_into(kind, copy.deepcopy(network), images, tmp_path)
    before = other_state_of(made)
    for attack in (
        lambda model: pgd(model, images, labels, epsilon=0.1, steps=2),
        lambda model: carlini_wagner(model, images, labels, steps=2, searches=1),
        lambda model: square(model, images, labels, epsilon=0.1, queries=4),
    ):
        found, expected = attack(made), attack(network)
        torch.testing.assert_close(found.images, expected.images)
        assert torch.equal(found.success, expected.success)
        assert other_state_of(made) == before


def made_into(kind: str, network: nn.Module, images: Tensor, folder: Path) -> nn.Module:
    if kind == "compile":
        return torch.compile(network, backend="eager")
    if kind == "trace":
        return torch.jit.trace(network.eval(), images).train()
    if kind == "freeze":
        return torch.jit.freeze(torch.jit.script(network.eval()))
    scripted = torch.jit.script(network)
    if kind == "script":
        return scripted
    scripted.save(folder / "network.pt")
    return torch.jit.load(folder / "network.pt")


def other_state_of(network: nn.Module) -> list[bool | None]:
    modes = [getattr(module, "training", None) for module in network.modules()]
    return modes + [p.requires_grad for p in network.parameters()]


# --- probabilities ------------------------------------------------------------------------------------------------


def probabilities_of(sharpness: float) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(64, 3)
    layer.weight.data.mul_(sharpness)
    return nn.Sequential(nn.Flatten(), layer, nn.Softmax(1))


@pytest.mark.parametrize("sharpness", [1.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_model_that_answers_with_probabilities_is_told_so(sharpness: float, dtype, digits: Split) -> None:
    images, labels = digits.test.images[:4], digits.test.labels[:4] % 3
    model = probabilities_of(sharpness)
    for attacked in (lambda x: model(x).to(dtype), lambda x: Outputs(model(x), model(x))):
        with pytest.raises(TwinlatentError, match=r"answers with probabilities.*; return logits .*\.log\(\)$"):
            pgd(attacked, images, labels, epsilon=0.1, steps=2)
    with pytest.raises(TwinlatentError, match="answers with probabilities"):
        transfer(model[:2], images, labels, substitute=model, attack=Iterative(LInf(0.1), SignStep(0.1), 2))


def test_one_image_is_enough_to_tell_them_and_the_mends_are_taken(digits: Split) -> None:
    images, labels = digits.test.images[:1], digits.test.labels[:1] % 3
    model = probabilities_of(1.0)
    with pytest.raises(TwinlatentError, match="answers with probabilities"):
        pgd(model, images, labels, epsilon=0.1, steps=3)
    log = pgd(lambda x: model(x).clamp_min(1e-30).log(), images, labels, epsilon=0.1, steps=3)
    torch.testing.assert_close(pgd(model[:2], images, labels, epsilon=0.1, steps=3).images, log.images)


@pytest.mark.parametrize(
    "logits",
    [[[0.5, 0.5], [0.25, 0.75], [2.0, 0.0]], [[-1.0, 2.0]] * 3, [[1.0, 0.0]] * 3],  # one is none; negative; constant
)
def test_logits_that_look_like_probabilities_by_chance_are_taken(logits: list[list[float]], real_images) -> None:
    answers = torch.tensor(logits)
    true = torch.zeros(3, dtype=torch.int64)
    found = pgd(lambda x: answers[: len(x)] + 0 * x.mean(), real_images(3), true, epsilon=0.1)
    assert found.labels.tolist() == answers.argmax(1).tolist()
