"""What all routes share: detectors, limits, threads, counters, the log."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from twinlatent.errors import listed
from twinlatent.serve.answers import ImageVerdict, ModelInfo, image_verdicts, info_of
from twinlatent.serve.batching import Batcher
from twinlatent.serve.limits import READERS
from twinlatent.serve.metrics import Metrics
from twinlatent.serve.reading import images_of
from twinlatent.serve.receiving import Receiver
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.settings import ServeSettings
from twinlatent.serve.verdict_log import Origin, VerdictLog

if TYPE_CHECKING:
    from starlette.requests import Request
    from torch import Tensor

    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.method.verdicts import Verdict

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


class Service:
    """The detectors and whoever works for them; routes are thin calls of this.

    Attributes:
        models: by name.
        settings: limits and rate.
        metrics: that routes count in.
        log: of verdicts; None where none is kept.
    """

    def __init__(self, models: "Mapping[str, CalibratedDetector]", settings: ServeSettings) -> None:
        """Set up.

        Raises:
            TwinlatentError: a detector cannot tell the rate, or the log cannot be written.
        """
        for detector in models.values():
            detector.calibration.check(settings.fpr)
        self.models, self.settings, self.metrics = dict(models), settings, Metrics()
        self.log = None if settings.log is None else VerdictLog(settings.log)
        self._infos = {name: info_of(name, detector) for name, detector in models.items()}
        self._origins = {name: Origin.of(name, detector) for name, detector in models.items()}
        self._readers = ThreadPoolExecutor(READERS, "reading")
        self._thread = ThreadPoolExecutor(1, "detecting")
        self._batchers = {
            name: Batcher(detector, settings.wait_seconds, self._thread, self.metrics.batches.labels(name).observe)
            for name, detector in models.items()
        }
        self._receiver, self._under_way = Receiver(settings), 0

    @property
    def infos(self) -> list[ModelInfo]:
        """What is said of each detector."""
        return list(self._infos.values())

    def info(self, name: str) -> ModelInfo:
        """What is said of a detector.

        Raises:
            Refusal: there is none of that name.
        """
        self.model(name)
        return self._infos[name]

    def model(self, name: str) -> "CalibratedDetector":
        """The detector of that name.

        Raises:
            Refusal: there is none.
        """
        if name not in self.models:
            raise Refusal(404, f"there is no model {name[:64]!r}; there is {listed(list(self.models), most=8)}")
        return self.models[name]

    def rate(self, name: str, fpr: float | None) -> float:
        """The rate that is asked of a detector, the server's own where none is.

        Raises:
            TwinlatentError: its calibration cannot tell it.
        """
        fpr = self.settings.fpr if fpr is None else fpr
        self.model(name).calibration.check(fpr)
        return fpr

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Within the block the request counts as under way.

        Raises:
            Refusal: as many as are allowed are.
        """
        if self._under_way >= self.settings.most_under_way:
            raise Refusal(503, f"{self._under_way} requests are under way; ask again in a second", {"Retry-After": "1"})
        self._under_way += 1
        self.metrics.under_way.set(self._under_way)
        try:
            yield
        finally:
            self._under_way -= 1
            self.metrics.under_way.set(self._under_way)

    async def read(self, work: Callable[Taken, Given], *given: Taken.args, **named: Taken.kwargs) -> Given:
        """What `work` returns, done in a thread for reading, so that other requests go on."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, partial(work, *given, **named))

    @asynccontextmanager
    async def body(self, request: "Request") -> AsyncIterator[bytes]:
        """Within the block: the body of a request, which then, being whole, counts as under way.

        Raises:
            Refusal: it does not arrive as it should, or as many requests as are allowed are under way.
        """
        async with self._receiver.body(request) as body, self.slot():
            yield body

    async def images(self, name: str, body: bytes, content_type: str) -> "Tensor":
        """The images (n, channels, H, W) of a body, for a detector; call it within a `slot`.

        Raises:
            TwinlatentError: there is no such detector, or the body holds no images for it.
        """
        return await self.read(images_of, body, content_type, self.model(name).image_shape, self.settings)

    async def verdicts(self, name: str, images: "Tensor", fpr: float) -> list[ImageVerdict]:
        """What a detector says of images (n, channels, H, W), counted and logged; call it within a `slot`.

        Raises:
            TwinlatentError: the detector cannot answer; a guarded classifier may not.
        """
        detector = self.model(name)
        verdict = await self._batchers[name].verdict(images, fpr)
        said = image_verdicts(verdict, detector.class_names, fpr)
        self.metrics.count(name, said)
        if self.log is not None:
            await self.read(self._write, self.log, name, fpr, said, verdict)
        return said

    def _write(self, log: VerdictLog, name: str, fpr: float, said: list[ImageVerdict], verdict: "Verdict") -> None:
        equal = self.model(name).calibration.equal(verdict.suspicion, verdict.label)
        log.write(self._origins[name], fpr, said, equal.tolist())

    def close(self) -> None:
        """End the threads, and the log."""
        self._readers.shutdown()
        self._thread.shutdown()
        if self.log is not None:
            self.log.close()
