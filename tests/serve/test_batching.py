"""Requests are computed together, and each gets the rows of its own images."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.detector import Detector
from twinlatent.method.verdicts import PARTS, Verdict
from twinlatent.outputs import Outputs
from twinlatent.serve.batching import Batcher


class Picky(Detector):
    """Fails on images with a white corner, and notes in which threads it computes."""

    threads: set[str]

    def outputs_by_score(self, images: Tensor) -> dict[str, Outputs]:
        self.threads.add(threading.current_thread().name)
        if bool((images[:, 0, 0, 0] == 1).any()):
            raise TwinlatentError("a white corner")
        return super().outputs_by_score(images)


@pytest.fixture
def picky(trained_detector: Detector) -> Picky:
    d = trained_detector
    made = Picky(d.encoders, d.class_means, d.benign, d.class_names, d.settings)
    made.threads = set()
    return made


def asked(
    detector: CalibratedDetector, requests: list[tuple[Tensor, float]], wait: float = 0.02
) -> tuple[list[Verdict | BaseException], list[int]]:
    """The answers to requests that come at once, and how many images each computation had."""
    sizes: list[int] = []

    async def all_at_once() -> list[Verdict | BaseException]:
        with ThreadPoolExecutor(1, "one") as thread:
            batcher = Batcher(detector, wait, thread, sizes.append)
            return await asyncio.gather(*(batcher.verdict(*one) for one in requests), return_exceptions=True)

    return asyncio.run(all_at_once()), sizes


def same(found: Verdict | BaseException, wanted: Verdict) -> bool:
    assert isinstance(found, Verdict), found
    return all(torch.equal(getattr(found, name), getattr(wanted, name)) for name in PARTS)


def test_answers_are_those_of_each_alone(picky: Picky, trained_detector: Detector, digits: Split) -> None:
    counts = [1, 3, 40, 1, 7, 64, 2, 5]
    parts = list(digits.test.images[: sum(counts)].split(counts))
    requests = [(part, (0.05, 0.2)[number % 2]) for number, part in enumerate(parts)]
    answers, sizes = asked(picky, requests)
    assert all(same(answer, trained_detector.detect(*one)) for answer, one in zip(answers, requests, strict=True))
    assert sizes == [44, 72, 7]  # a computation takes whole requests, until it has 32 images
    assert picky.threads == {"one_0"}


def test_few_images_wait_for_others_but_not_for_long(picky: Picky, digits: Split) -> None:
    async def one_after_the_other() -> list[int]:
        sizes: list[int] = []
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(picky, 0.05, thread, sizes.append)
            first = asyncio.ensure_future(batcher.verdict(digits.test.images[:2], 0.05))
            await asyncio.sleep(0)
            second = asyncio.ensure_future(batcher.verdict(digits.test.images[2:3], 0.05))
            await asyncio.gather(first, second)
            await batcher.verdict(digits.test.images[:1], 0.05)
        return sizes

    assert asyncio.run(one_after_the_other()) == [3, 1]


def test_a_request_that_fails_fails_alone(picky: Picky, trained_detector: Detector, digits: Split) -> None:
    images = digits.test.images[:9].clone()
    images[4, 0, 0, 0] = 1
    requests = [(image[None], 0.05) for image in images]
    answers, sizes = asked(picky, requests)
    assert sizes == [9]
    for number, answer in enumerate(answers):
        if number == 4:
            assert isinstance(answer, TwinlatentError)
        else:
            assert same(answer, trained_detector.detect(images[number : number + 1]))


def test_who_is_gone_is_left_out(picky: Picky, digits: Split) -> None:
    sizes: list[int] = []

    async def one_goes() -> Verdict:
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(picky, 0.02, thread, sizes.append)
            gone = asyncio.ensure_future(batcher.verdict(digits.test.images[:5], 0.05))
            stays = asyncio.ensure_future(batcher.verdict(digits.test.images[5:7], 0.05))
            await asyncio.sleep(0)
            gone.cancel()
            return await stays

    assert same(asyncio.run(one_goes()), picky.detect(digits.test.images[5:7]))
    assert sizes == [2]


def test_a_server_goes_on_after_all_have_gone(picky: Picky, digits: Split) -> None:
    async def all_go_and_another_comes() -> Verdict:
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(picky, 0.01, thread, lambda _: None)
            gone = asyncio.ensure_future(batcher.verdict(digits.test.images[:5], 0.05))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.sleep(0.03)
            return await batcher.verdict(digits.test.images[5:6], 0.05)

    assert same(asyncio.run(all_go_and_another_comes()), picky.detect(digits.test.images[5:6]))
