"""Everything that takes a device computes there: shown by a device of pretence, since no GPU is at hand.

A tensor that is moved to `cuda` becomes one that says so, holds its numbers on the CPU, and refuses what a GPU refuses:
to be computed with tensors of the CPU, or to become an array. So the same numbers must come out as on the CPU, bit for
bit, and whatever would mix devices on a GPU raises here. Kernels of a GPU are not tested: scripts/gpu_check does that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

import twinlatent as tl
from twinlatent.baselines import METHODS, fit_baseline
from twinlatent.data import Split
from twinlatent.evaluation.white_box import operating_points
from twinlatent.memory import images_at_once
from twinlatent.method import game as game_module
from twinlatent.method.calibrated import CHUNK, chunks
from twinlatent.method.detector import Detector
from twinlatent.method.game_state import GameSettings
from twinlatent.method.networks import build_classifier
from twinlatent.method.verdicts import PARTS
from twinlatent.recipes import recipe_of
from twinlatent.torch_state import CPU, check_device

CUDA = torch.device("cuda", 0)
ANYWHERE = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
"""What moves tensors between devices."""
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default,
           torch.ops.aten._index_put_impl_.default}  # fmt: skip
"""Whose indices may be on the CPU."""


BY_ITSELF = {F.one_hot, torch.quantile, Tensor.quantile}
"""What makes tensors that it needs where its argument is, below of what can be seen here; without gradients."""
MEMORY = 2**27
"""Of the device of pretence, bytes: room for 32 digits at a time, as many as `detect` asks the CPU."""


class Elsewhere(Tensor):
    """A tensor on `CUDA`; its numbers are those of a tensor on the CPU."""

    inner: Tensor
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=inner.device, requires_grad=False)  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tree_flatten((args, kwargs))[0]
        if func not in ANYWHERE:
            asked = [args[0], *args[2:], kwargs] if func in INDEXED and isinstance(args[0], Elsewhere) else given
            for other in tree_flatten(asked)[0]:
                here = isinstance(other, Tensor) and not isinstance(other, Elsewhere) and other.ndim
                if here and not (
                    _Devices.going_back and not other.any()
                ):  # autograd's own zeros for what got no gradient
                    raise RuntimeError(f"{func}: tensors on cuda:0 and cpu, the latter of shape {tuple(other.shape)}")
        wrappers = {id(one.inner): one for one in given if isinstance(one, Elsewhere)}
        found = func(*tree_map(there, args), **tree_map(there, kwargs))
        if func is torch.ops.aten.copy_.default:
            return args[0]
        return tree_map(lambda one: wrappers.get(id(one), away(one)), found)


def there(thing: Any) -> Any:
    return thing.inner if isinstance(thing, Elsewhere) else thing


def away(thing: Any) -> Any:
    return Elsewhere(thing) if isinstance(thing, Tensor) and not isinstance(thing, Elsewhere) else thing


class _Move(torch.autograd.Function):
    """To the other device, gradients back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.gone = not isinstance(x, Elsewhere)
        return Elsewhere(x.detach().clone()) if ctx.gone else x.inner.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return there(grad) if ctx.gone else away(grad)


class _Devices(TorchFunctionMode):
    """Lets `cuda` be asked for wherever a device can be."""

    going_back = 0
    """Whether gradients are being computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, args, kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and isinstance(args[0], Elsewhere):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func in BY_ITSELF and isinstance(args[0], Elsewhere):
            return away(func(args[0].inner, *args[1:], **kwargs))
        if func in (Tensor.tolist, Tensor.item) and isinstance(args[0], Elsewhere):
            return func(args[0].inner)
        if func is Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return away(func(args[0].inner, *args[1:], **kwargs))
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            if kwargs.get("generator") is not None:
                raise RuntimeError("expected a 'cuda' device type for generator but found 'cpu'")
            return tree_map(away, func(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
        x, *left = args
        if func in (Tensor.cpu, Tensor.cuda):
            device: Any = "cpu" if func is Tensor.cpu else "cuda"
        else:
            asked = [*left, *kwargs.values()]
            device = next((one for one in asked if isinstance(one, str | torch.device)), None)
            device = next((one.device for one in left if isinstance(one, Tensor)), device)
            kinds = [one.dtype if isinstance(one, Tensor) else one for one in asked]
            for kind in (one for one in kinds if isinstance(one, torch.dtype)):
                x = x.to(kind)
        if device is None or (torch.device(device).type == "cuda") == isinstance(x, Elsewhere):
            return x
        moved: Tensor = _Move.apply(x)  # type: ignore[no-untyped-call]
        return moved


def going_back(run: Callable[..., Any]) -> Callable[..., Any]:
    """Compute gradients so that autograd's zeros are let pass and devices can be asked for in between."""

    def told(*args: Any, **kwargs: Any) -> Any:
        _Devices.going_back += 1
        try:
            with _Devices():
                return run(*args, **kwargs)
        finally:
            _Devices.going_back -= 1

    return told


@contextmanager
def pretended() -> Iterator[None]:
    with _Devices(), pytest.MonkeyPatch.context() as patch:
        for name in ("get_rng_state", "set_rng_state", "manual_seed"):
            patch.setattr(torch.cuda, name, lambda *_: torch.empty(0))
        patch.setattr(torch.autograd, "_engine_run_backward", going_back(torch.autograd._engine_run_backward))
        patch.setattr(torch, "_has_compatible_shallow_copy_type", lambda *_: False)  # a module takes new parameters
        patch.setattr(torch.cuda, "device", lambda *_: nullcontext())
        patch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=MEMORY))
        patch.setattr(torch.cuda, "get_device_name", lambda *_: "a device of pretence")
        yield


@pytest.fixture
def cuda() -> Iterator[None]:
    """`cuda` is a device of pretence."""
    with pretended():
        yield


def game(split: Split, **change: Any) -> GameSettings:
    return recipe_of(split, "smoke").game_settings().model_copy(update={"rounds": 2, **change})


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether the weights are, wherever they are."""
    mine, its = one.state_dict(), other.state_dict()
    return mine.keys() == its.keys() and all(torch.equal(there(mine[name]), there(its[name])) for name in mine)


def test_the_device_of_pretence_refuses_what_a_gpu_refuses(cuda: None) -> None:
    gone, here = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
    assert gone.device == check_device("cuda") == CUDA
    assert torch.equal((gone + gone).cpu(), here + here)
    for mixed in (lambda: gone + here, lambda: here @ gone.T, lambda: here[torch.tensor([0], device="cuda")],
                  lambda: torch.cat([gone, here]), lambda: torch.where(gone > 0, gone, here)):  # fmt: skip
        with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        gone.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, generator=torch.Generator(), device="cuda")
    x = torch.ones(2, requires_grad=True)
    (gradient,) = torch.autograd.grad((x.to("cuda") * gone[0, :2]).sum(), x)
    assert torch.equal(gradient, torch.ones(2))
    assert gone[torch.tensor([1])].shape == (1, 3)


GAMES = {
    "by class": {},
    "batch normalisation": {"encoder": "c(3,4) bn relu z(4,4)"},
    "a shared trunk": {"encoder": "d(16) | z(4,4)", "decoder": "d(64)"},
}


@pytest.mark.parametrize("name", GAMES)
def test_a_training_there_is_that_of_the_cpu(cuda: None, digits: Split, name: str) -> None:
    settings = game(digits, **GAMES[name])
    here, gone = (tl.fit_split(digits, settings=settings, device=device, progress=False) for device in ("cpu", "cuda"))
    assert same(here.encoders, gone.encoders)
    assert gone.device == CPU, "calibrated where thresholds are those of a CPU"
    assert all(torch.equal(vars(here.benign[rule])[name], value)
               for rule, table in gone.benign.items() for name, value in vars(table).items())  # fmt: skip


def test_a_certified_training_there_is_that_of_the_cpu(cuda: None, digits: Split) -> None:
    settings = recipe_of(digits, "certified").game_settings().model_copy(update={"rounds": 2})
    here, gone = (tl.fit_split(digits, settings=settings, device=device, progress=False) for device in ("cpu", "cuda"))
    assert same(here.encoders, gone.encoders)
    few = digits.test.subset(slice(4))
    proofs = [tl.certify(one, few.images, few.labels, 0.01) for one in (here, gone)]
    assert torch.equal(proofs[0].margin, proofs[1].margin)


@pytest.mark.parametrize("method", [pytest.param(m, marks=pytest.mark.slow) if m == "gong" else m for m in METHODS])
def test_a_baseline_there_is_that_of_the_cpu(cuda: None, digits: Split, method: str) -> None:
    few = {"rounds": 2} | ({"attacked_images": 10} if method == "gong" else {})
    settings = recipe_of(digits, "smoke").baseline_settings(method).model_copy(update=few)
    here, gone = (fit_baseline(method, digits, settings=settings, device=device, progress=False)
                  for device in ("cpu", "cuda"))  # fmt: skip
    assert same(here.module, gone.module)
    mine, its = here.detect(digits.test.images[:20]), gone.to("cuda").detect(digits.test.images[:20])
    assert torch.equal(mine.suspicion, its.suspicion)


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_training_is_resumed_on_another_device(
    cuda: None, digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    """What a state holds has no device; every draw is the CPU's. So it is the same training, but for rounding."""
    settings = game(digits, average=0.9).model_copy(update={"rounds": 4, "checkpoint_every": 2})
    whole = tl.fit_split(digits, settings=settings, progress=False)
    kept, rounds = game_module.keep_average, []

    def stops(*given: Any) -> None:
        kept(*given)
        rounds.append(None)
        if len(rounds) == 3:
            raise InterruptedError

    monkeypatch.setattr(game_module, "keep_average", stops)
    with pytest.raises(InterruptedError):
        tl.fit_split(digits, settings=settings, folder=tmp_path, device=first, progress=False)
    made = tl.fit_split(digits, settings=settings, folder=tmp_path, device=then, resume=True, progress=False)
    assert len(rounds) == 5
    assert same(made.encoders, whole.encoders)


def test_verdicts_there_are_those_of_the_cpu(cuda: None, digits: Split, trained_detector: Detector) -> None:
    gone, images = trained_detector.to("cuda"), digits.test.images[:40]
    assert gone.device == CUDA
    for given in (images, images.to("cuda")):
        mine, its = trained_detector.detect(images), gone.detect(given)
        assert all(torch.equal(getattr(mine, part), getattr(its, part)) for part in PARTS)


@pytest.mark.slow
def test_attacks_there_are_those_of_the_cpu(
    cuda: None, digits: Split, trained_detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the suite, at several rates: with its memory, its files, and what is kept of a run that is resumed."""
    monkeypatch.setattr("twinlatent.method.few_classes._suits", lambda _: False)  # which computes otherwise, on a CPU
    plain = build_classifier("d(16) sm(10)", digits.image_shape)
    settings, few = tl.WhiteBoxSettings(steps=1, images=2, batch_size=2), digits.test.subset(slice(2))

    def wins(place: str) -> dict[Any, Tensor]:
        found = operating_points(trained_detector.to(place), digits, settings, (0.1,), drawn=few, fprs=(0.05, 0.1),
                                 substitute=plain.to(place), folder=tmp_path / place, progress=False)  # fmt: skip
        return dict(found.wins)

    here, gone, again = wins("cpu"), wins("cuda"), wins("cuda")
    assert here.keys() == gone.keys()
    assert all(torch.equal(here[point], gone[point]) and torch.equal(gone[point], again[point]) for point in here)
    assert not any(isinstance(won, Elsewhere) for won in gone.values())


@pytest.mark.slow  # half a minute; attacks there are asked in the fast tests
def test_an_evaluation_there_ends(
    cuda: None,
    digits: Split,
    trained_detector: Detector,
    tmp_path: Path,
    fewer_steps: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fewer_steps(monkeypatch, 5)
    report = tl.evaluate(trained_detector.to("cuda"), digits, suite="quick", images=4, subset=2, steps=1, seed=0,
                         blackbox_images=4, shift_images=8, substitutes=("f_p",), epsilon=0.1, folder=tmp_path / "run",
                         progress=False)  # fmt: skip
    assert {"accuracy", "sr@5"} <= {record.metric for record in report.records}


def test_batches_follow_the_memory_of_the_device(cuda: None, trained_detector: Detector) -> None:
    gone = trained_detector.to("cuda")
    assert tl.WhiteBoxSettings().batch_for(trained_detector) == 50
    assert tl.WhiteBoxSettings().batch_for(gone) == images_at_once(MEMORY, 64, 10) == 32
    assert tl.WhiteBoxSettings(batch_size=7).batch_for(gone) == 7
    assert [len(chunk) for _, chunk in chunks(torch.zeros(33, 1, 8, 8), gone.device, 10)] == [32, 32]
    assert [len(chunk) for _, chunk in chunks(torch.zeros(33, 1, 8, 8))] == [CHUNK, CHUNK]
