"""What a caller may have set in torch for a thread or for all of them, and how to compute as if nothing were set.

Every public function that computes is run inside `fresh_torch`, so that it answers the same whatever was set, and what
it returns can be used anywhere; afterwards all is as it was found. Attacks are run inside `differentiable`, since what
a user's own model does may hang on the defaults.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Generic, TypeVar

import torch

from twinlatent.errors import TwinlatentError
from twinlatent.memory import images_at_once

T = TypeVar("T")
Device = str | int | torch.device
"""What says where to compute: "cpu", "cuda:1", 1, or torch's own object."""
CPU = torch.device("cpu")
AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Kinds of device whose layers may be told to compute in another precision."""


class _ForAllThreads(Generic[T]):
    """While anybody is inside, something of torch's has the value that is wanted; the last one out puts back the other.

    torch has one of it for all threads, so another thread of the caller sees it, too, if it was changed.
    """

    def __init__(self, wanted: T, read: Callable[[], T], write: Callable[[T], None]) -> None:
        self._wanted, self._read, self._write = wanted, read, write
        self._lock, self._inside, self._found = threading.Lock(), 0, wanted

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            found = self._read()
            if found != self._wanted:
                self._found = found
                self._write(self._wanted)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside and self._found != self._wanted:
                    self._write(self._found)
                    self._found = self._wanted


def _rounds_coarsely() -> bool:
    """Whether a CUDA device's convolutions round what they are given to 10 bits (TF32), as PyTorch has it."""
    try:
        return bool(torch._C._get_cudnn_allow_tf32())
    except RuntimeError:  # the caller has said it of each kind of layer, and shall have it so
        return False


_float32 = _ForAllThreads(torch.float32, torch.get_default_dtype, torch.set_default_dtype)
_exact = _ForAllThreads(False, _rounds_coarsely, torch._C._set_cudnn_allow_tf32)
_drawing = threading.RLock()


@contextmanager
def full_precision() -> Iterator[None]:
    """Within the block new tensors are float32 and on the CPU unless they say otherwise, and no layer is autocast.

    A CUDA device's convolutions compute in float32, too, not in TF32.
    """
    with ExitStack() as stack:
        stack.enter_context(_float32())
        if torch.cuda.is_initialized():
            stack.enter_context(_exact())
        if not _makes_on_cpu():
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_no_autocast())
        yield


@contextmanager
def differentiable() -> Iterator[None]:
    """Within the block gradients are computed, in the precision of the tensors: no inference mode, no autocast."""
    with _no_autocast(), torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def fresh_torch() -> Iterator[None]:
    """Both: default dtype and device, autocast, inference and gradient mode are as when torch was imported.

    The random state, the number of threads and torch's flags (determinism, matmul precision, cuDNN) stay the caller's.
    """
    with full_precision(), differentiable():
        yield


@contextmanager
def own_random_state(device: torch.device, seed: int) -> Iterator[None]:
    """Within the block a model that draws random numbers draws from `seed`; afterwards all is as it was.

    torch has one such state for all threads, so they take turns.
    """
    on_gpu = device.type == "cuda"
    with _drawing, torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def batch_on(device: torch.device, usual: int, shape: Sequence[int], classes: int) -> int:
    """Images to compute at a time: `usual` ones, but on a CUDA device as many as its memory has room for.

    Args:
        device: where to compute.
        usual: elsewhere.
        shape: of an image.
        classes: whose networks see it.
    """
    if device.type != "cuda":
        return usual
    return images_at_once(torch.cuda.get_device_properties(device).total_memory, math.prod(shape), classes)


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Within the block torch uses so many threads; answers can differ in bits between numbers of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _makes_on_cpu() -> bool:
    """Whether new tensors are on the CPU."""
    try:
        return torch.get_default_device().type == "cpu"
    except (RuntimeError, AssertionError):  # a device that is not there
        return False


@contextmanager
def _no_autocast() -> Iterator[None]:
    with ExitStack() as stack:
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def check_device(device: Device) -> torch.device:
    """The device that is meant, with its number: "cuda" is `cuda:0`, or what the caller made the current one.

    Raises:
        TwinlatentError: there is none of that name, or PyTorch cannot compute on it.
    """
    if isinstance(device, bool) or not isinstance(device, Device):
        raise TwinlatentError(f"device is {device!r}; give a name such as 'cpu' or 'cuda', or a torch.device")
    try:
        made = torch.zeros(1, device=device)
        made.item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0][:80]
        unusable = f"device {str(device)!r} cannot be used ({reason}); leave it out to use the CPU"
        raise TwinlatentError(unusable) from error
    return made.device
