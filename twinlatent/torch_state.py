"""What a caller may have set in torch for a thread or for all of them, and how to compute as if nothing were set.

Every public function that computes is run inside `fresh_torch`, so that it answers the same whatever was set, and what
it returns can be used anywhere; afterwards all is as it was found. Attacks are run inside `differentiable`, since what
a user's own model does may hang on the defaults.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from twinlatent.errors import TwinlatentError

Device = str | int | torch.device
"""What says where to compute: "cpu", "cuda:1", 1, or torch's own object."""
CPU = torch.device("cpu")
AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Kinds of device whose layers may be told to compute in another precision."""


class _Float32:
    """While anybody is inside, float32 is what new tensors are; the last one out puts back what was found.

    torch has one default type for all threads, so another thread of the caller sees it, too, if it was changed.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._found = threading.Lock(), 0, torch.float32

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            found = torch.get_default_dtype()
            if found != torch.float32:
                self._found = found
                torch.set_default_dtype(torch.float32)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside and self._found != torch.float32:
                    torch.set_default_dtype(self._found)
                    self._found = torch.float32


_float32 = _Float32()
_drawing = threading.RLock()


@contextmanager
def full_precision() -> Iterator[None]:
    """Within the block new tensors are float32 and on the CPU unless they say otherwise, and no layer is autocast."""
    with ExitStack() as stack:
        stack.enter_context(_float32())
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
    """The device that is meant.

    Raises:
        TwinlatentError: there is none of that name, or PyTorch cannot compute on it.
    """
    if isinstance(device, bool) or not isinstance(device, Device):
        raise TwinlatentError(f"device is {device!r}; give a name such as 'cpu' or 'cuda', or a torch.device")
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0][:80]
        unusable = f"device {str(device)!r} cannot be used ({reason}); leave it out to use the CPU"
        raise TwinlatentError(unusable) from error
    return found
