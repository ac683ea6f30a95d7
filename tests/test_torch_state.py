"""What a caller has set in torch changes no answer, and is as it was afterwards."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.baselines import fit_baseline
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import CPU, check_device, fresh_torch, own_random_state


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        found = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        assert found == dtype


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        found = torch.get_default_device()
        torch.set_default_device(None)
        assert found.type == device


@contextmanager
def all_at_once() -> Iterator[None]:
    bfloat16 = torch.autocast("cpu", torch.bfloat16)
    with default_dtype(torch.float64), default_device("meta"), bfloat16, torch.inference_mode(), torch.no_grad():
        yield


STATES = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "no device": lambda: default_device("meta"),
    "in a device": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "all": all_at_once,
}


def tensors(thing: object) -> list[Tensor]:
    """All that is held, of whatever is answered."""
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, nn.Module):
        return list(thing.state_dict().values())
    parts = thing if isinstance(thing, list | tuple) else vars(thing).values()
    return [tensor for part in parts if not isinstance(part, str | int | float) for tensor in tensors(part)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) > 0 and all(
        x.dtype == y.dtype and torch.equal(x.nan_to_num(-1.0), y.nan_to_num(-1.0)) for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(params=STATES, scope="module")
def state(request):
    return STATES[request.param]


@pytest.fixture(scope="module")
def works(digits: Split, trained_detector: Detector, tmp_path_factory):
    """What is asked in each state, by name: one number of things a line."""
    few, images, labels = digits.test.images[:12], digits.test.images[:12].numpy(), digits.test.labels[:12].numpy()
    path = tmp_path_factory.mktemp("detector") / "detector.safetensors"
    trained_detector.save(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    settings = recipe_of(digits, "smoke").game_settings().model_copy(update={"rounds": 2})
    plain = recipe_of(digits, "smoke").baseline_settings("plain").model_copy(update={"rounds": 2})
    options = {"settings": settings, "progress": False}
    return {
        "detect": lambda: tensors(trained_detector.detect(images)),
        "load": lambda: tensors(tl.load(path).with_score("joint").to("cpu").detect(few)),
        "bounds": lambda: tensors(list(trained_detector.bounds(0.1).thresholds.values())),
        "data": lambda: tensors(tl.data.load("digits", progress=False).test.images),
        "fit": lambda: tensors(tl.fit(digits.train.images.numpy(), digits.train.labels.numpy(), **options).encoders),
        "baseline": lambda: tensors(fit_baseline("plain", digits, settings=plain, progress=False).module),
        "pgd": lambda: tensors(tl.attacks.pgd(net, images, labels, epsilon=0.1, steps=2)),
        "cw": lambda: tensors(tl.attacks.carlini_wagner(trained_detector, images, labels, steps=2, searches=1)),
        "square": lambda: tensors(tl.attacks.square(net, images, labels, epsilon=0.1, queries=5)),
    }


@pytest.fixture(scope="module")
def expected(works):
    return {name: work() for name, work in works.items()}


def test_the_answers_are_the_same_whatever_is_set(state, works, expected) -> None:
    drawn = torch.get_rng_state()
    with state():
        found = {name: work() for name, work in works.items()}
    assert [name for name in works if not same(found[name], expected[name])] == []
    assert [name for name in works if any(tensor.is_inference() for tensor in found[name])] == []
    assert torch.equal(torch.get_rng_state(), drawn)


def test_what_was_loaded_in_inference_mode_can_be_attacked(trained_detector: Detector, digits: Split, tmp_path) -> None:
    trained_detector.save(tmp_path / "d.safetensors")
    with torch.inference_mode():
        loaded = tl.load(tmp_path / "d.safetensors")
    images = digits.test.images[:3].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loaded.outputs(images).suspicion_of_label.sum(), images)
    assert gradient.abs().sum() > 0


def test_outputs_leave_it_to_the_caller_whether_there_are_gradients(trained_detector: Detector, digits: Split) -> None:
    images = digits.test.images[:3].clone().requires_grad_()
    with torch.no_grad():
        assert not trained_detector.outputs(images).logits.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        assert trained_detector(images).logits.dtype == torch.float32


def test_a_model_that_is_made_in_inference_mode_is_named(digits: Split) -> None:
    with torch.inference_mode():
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10))
    with pytest.raises(TwinlatentError, match=r"made in torch.inference_mode .*; attack copy.deepcopy\(model\)"):
        tl.attacks.fgsm(net, digits.test.images[:2], digits.test.labels[:2], epsilon=0.1)


def test_the_last_of_several_threads_puts_the_default_type_back() -> None:
    first_in, second_out, seen = threading.Event(), threading.Event(), []

    def long() -> None:
        with fresh_torch():
            first_in.set()
            second_out.wait(10)
            seen.append(torch.get_default_dtype())

    with default_dtype(torch.float64):
        thread = threading.Thread(target=long)
        thread.start()
        first_in.wait(10)
        with fresh_torch():
            seen.append(torch.get_default_dtype())
        second_out.set()
        thread.join()
    assert seen == [torch.float32, torch.float32]


def test_a_gpus_convolutions_are_not_coarser_than_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert torch.backends.cudnn.allow_tf32, "as PyTorch has it"
    with fresh_torch(), fresh_torch():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with fresh_torch():
            pass
        assert not torch.backends.cudnn.allow_tf32, "the caller's own"
    finally:
        torch.backends.cudnn.allow_tf32 = True


def test_threads_take_turns_at_the_random_state() -> None:
    def draws(seed: int) -> list[float]:
        with own_random_state(CPU, seed):
            return [torch.rand(()).item() for _ in range(200)]

    before, seeds = torch.get_rng_state(), [1, 2, 3, 4] * 5
    alone = [draws(seed) for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draws, seeds)) == alone
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), torch.device("cpu", 0)])
def test_a_device_may_be_a_name_or_an_object(device, trained_detector: Detector) -> None:
    assert check_device(device).type == "cpu"
    assert trained_detector.to(device).device.type == "cpu"


@pytest.mark.parametrize("device", ["nosuch", "meta", torch.device("meta"), None, 1.5, True, "cpu:x"])
def test_a_device_that_is_none_is_named_before_any_work(device, digits: Split, trained_detector: Detector) -> None:
    for work in (lambda: tl.fit_split(digits, device=device), lambda: trained_detector.to(device),
                 lambda: fit_baseline("plain", digits, device=device)):  # fmt: skip
        with pytest.raises(TwinlatentError, match="device") as caught:
            work()
        assert "\n" not in str(caught.value)
