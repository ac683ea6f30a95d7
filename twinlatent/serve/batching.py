"""Images of several requests computed together: 32 cost what one costs, since verdicts are computed 32 at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinlatent.method.calibrated import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

    from twinlatent.method.calibrated import CalibratedDetector, Scored
    from twinlatent.method.verdicts import Verdict


@dataclass(frozen=True)
class _Asked:
    """Images (n, channels, H, W) of one request, the rate, and where its verdict goes."""

    images: "Tensor"
    fpr: float
    answer: "asyncio.Future[Verdict]"


class Batcher:
    """Asks one detector, for many requests at a time, in a thread of its own.

    A verdict does not depend on what it is computed with (`CHUNK`), and each request gets the rows of its own images.
    All methods are called in the thread of the event loop.

    Attributes:
        detector: that is asked.
    """

    def __init__(
        self, detector: "CalibratedDetector", wait: float, thread: Executor, heard: Callable[[int], None]
    ) -> None:
        """Set up.

        Args:
            detector: that is asked.
            wait: seconds that images wait for others, while fewer than `CHUNK` do.
            thread: where it computes.
            heard: is told how many images each computation had.
        """
        self.detector, self._wait, self._thread, self._heard = detector, wait, thread, heard
        self._waiting: list[_Asked] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None

    async def verdict(self, images: "Tensor", fpr: float) -> "Verdict":
        """What `detect` says of images (n, channels, H, W) in [0, 1], n at least 1, at a rate it can tell."""
        loop = asyncio.get_running_loop()
        asked = _Asked(images, fpr, loop.create_future())
        self._waiting.append(asked)
        if self._work is None:
            if sum(len(one.images) for one in self._waiting) >= CHUNK:
                self._begin()
            elif self._alarm is None:
                self._alarm = loop.call_later(self._wait, self._begin)
        return await asked.answer

    def _begin(self) -> None:
        """Compute what waits, in whole requests, until a chunk is full."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        group: list[_Asked] = []
        while self._waiting and sum(len(one.images) for one in group) < CHUNK:
            one = self._waiting.pop(0)
            if not one.answer.done():  # whoever asked may be gone
                group.append(one)
        self._work = asyncio.get_running_loop().create_task(self._compute(group)) if group else None

    async def _compute(self, group: list[_Asked]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answers, group)
        except Exception as error:
            answers = [error] * len(group)
        for one, answer in zip(group, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        self._heard(sum(len(one.images) for one in group))
        self._begin()

    def _answers(self, group: list[_Asked]) -> "list[Verdict | Exception]":
        """In the thread: a verdict a request; where the detector fails on all of them, each is tried alone."""
        import torch

        try:
            scored = self._scored(torch.cat([one.images for one in group]))
        except Exception as error:
            if len(group) == 1:
                return [error]
            return [answer for one in group for answer in self._answers([one])]
        answers: list[Verdict | Exception] = []
        first = 0
        for one in group:
            rows = slice(first, first + len(one.images))
            answers.append(self.detector.verdict(scored[rows], one.fpr))
            first = rows.stop
        return answers

    def _scored(self, images: "Tensor") -> "Scored":
        return self.detector.scored(images)[self.detector.score]
