"""Attacks that the page asks for: the library's own, within limits, step by step."""

import asyncio
import base64
import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from twinlatent.attacks.attack import run
from twinlatent.attacks.suites import Suite
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.data import Split
from twinlatent.method.detector import Detector
from twinlatent.serve.looking.attacking import OF_SUITE, Turns
from twinlatent.serve.refusals import Refusal

ATTACK = "v1/models/digits/attack"
FPR = 0.05


def pixels(step: dict) -> Tensor:
    """The image (1, 8, 8) of a step, as bytes."""
    return torch.tensor(np.frombuffer(base64.b64decode(step["pixels"]), np.uint8)).reshape(1, 8, 8)


@pytest.mark.parametrize("attack", OF_SUITE)
def test_an_attack_is_that_of_the_library(attack: str, looked, trained_detector: Detector, digits: Split) -> None:
    images, labels = digits.test.images[3:5], digits.test.labels[3:5]
    bounds = trained_detector.bounds(FPR)
    own = Suite("quick", 0.2, steps=12, level=bounds.thresholds[FPR]).attacks()[OF_SUITE[attack]]
    for image, label in zip(images, labels, strict=True):
        wanted = run(own, trained_detector, image[None], label[None], criterion=Misclassified() & Undetected(bounds))
        query = {"attack": attack, "epsilon": 0.2, "steps": 12, "fpr": FPR, "label": digits.class_names[label]}
        status, said, _ = looked.ask(ATTACK, image, **query)
        assert status == 200
        (found,) = said["results"]
        assert torch.equal(torch.tensor(found["image"]), wanted.images[0])
        verdict = trained_detector.detect(wanted.images, FPR)
        assert found["after"]["class_index"] == int(verdict.label)
        assert found["after"]["suspicion"] == decimal(verdict.suspicion)
        assert (found["misclassified"] and found["undetected"]) == bool(wanted.success)
        assert found["linf"] == decimal(wanted.linf)
        assert found["l2"] == decimal(wanted.l2)


def decimal(value: Tensor) -> float:
    """A float32 as JSON has it: with the fewest digits that tell it from its neighbours."""
    return float(str(value.numpy()[0]))


def test_every_step_is_in_the_ball_and_its_verdict_that_of_detect(looked, trained_detector, digits: Split) -> None:
    image = digits.test.images[:1]
    _, said, _ = looked.ask(ATTACK, image, attack="pgd", epsilon=0.1, steps=9)
    (found,) = said["results"]
    visited = torch.stack([pixels(step) for step in found["steps"]]).float() / 255
    assert len(visited) == 11  # the image, a random start, a point after each step
    assert torch.equal(visited[0], (255 * image[0]).round() / 255)
    assert (visited - image).abs().max() <= 0.1 + 0.5 / 255 + 1e-6
    assert found["steps"][0]["verdict"] == found["before"]
    assert found["before"]["suspicion"] == decimal(trained_detector.detect(image).suspicion)
    said_so = trained_detector.detect(visited).suspicion
    wanted = torch.tensor([step["verdict"]["suspicion"] for step in found["steps"]])
    assert torch.allclose(said_so, wanted, rtol=0.2, atol=3)  # of rounded images
    assert len(set(wanted.tolist())) > 5


def test_a_ball_of_no_size_changes_nothing(looked, digits: Split) -> None:
    _, said, _ = looked.ask(ATTACK, digits.test.images[:2], attack="detector-aware", epsilon=0, steps=3)
    assert len(said["results"]) == 2
    for found, image in zip(said["results"], digits.test.images, strict=False):
        assert torch.equal(torch.tensor(found["image"]), image)
        assert found["linf"] == 0
        assert found["after"] == found["before"]
        assert not found["misclassified"]


@pytest.mark.parametrize(
    ("query", "images", "status", "line"),
    [
        ({"steps": 101}, 1, 422, "steps is '101'"),
        ({"steps": 0}, 1, 422, "steps is '0'"),
        ({"epsilon": 2}, 1, 422, "epsilon is '2'"),
        ({"epsilon": "nan"}, 1, 422, "epsilon is 'nan'"),
        ({"attack": "hope"}, 1, 422, "attack is 'hope'"),
        (
            {"invert": 2},
            1,
            422,
            "'invert' is no parameter of this address; it takes attack, epsilon, steps, fpr, label",
        ),
        ({"label": "cat"}, 1, 422, "label 'cat' is no class of this detector; it has 0, 1"),
        ({"fpr": 1e-5}, 1, 422, "finer than the calibration images can tell"),
        ({}, 5, 413, "the body holds 5 images, and 4 may be attacked at a time"),
    ],
)
def test_what_goes_beyond_a_limit_is_refused(looked, digits: Split, query, images, status: int, line: str) -> None:
    found, said, _ = looked.ask(ATTACK, digits.test.images[:images], **query)
    assert found == status
    assert line in said["error"]


def test_a_model_that_is_not_there(looked, digits: Split) -> None:
    assert looked.ask("v1/models/other/attack", digits.test.images[:1])[0] == 404


def test_an_attack_ends_in_time_and_can_be_left_out(serve_looking, trained_detector, digits: Split) -> None:
    models, image = {"digits": trained_detector}, digits.test.images[:1]
    with serve_looking(models, None, attack_seconds=1e-9) as hasty:
        status, said, _ = hasty.ask(ATTACK, image)
        assert (status, said["error"]) == (422, "the attack took too long; ask for fewer steps or images")
    with serve_looking(models, None, attacks=False) as peaceful:
        assert peaceful.ask(ATTACK, image)[0] == 404
        assert peaceful.ask("v1/page")[1]["attacks"] is False


def test_others_are_answered_meanwhile_and_nothing_is_counted(looked, digits: Split) -> None:
    def counted() -> str:
        return next(
            line
            for line in looked.ask("metrics")[1].splitlines()
            if line.startswith('twinlatent_images_total{model="digits"}')
        )

    looked.ask("v1/models/digits/detect", digits.test.images[:1])
    before, ended = counted(), []

    def attack() -> None:
        assert looked.ask(ATTACK, digits.test.images[:2], attack="pgd", epsilon=0.05, steps=60)[0] == 200
        ended.append(time.monotonic())

    thread = threading.Thread(target=attack)
    thread.start()
    time.sleep(0.05)
    assert looked.ask("v1/models/digits/detect", digits.test.images[:1])[0] == 200
    answered = time.monotonic()
    thread.join()
    assert answered < ended[0]
    assert float(counted().split()[1]) == float(before.split()[1]) + 1  # the one of `detect`


def test_attacks_take_turns_and_too_many_are_refused() -> None:
    async def many() -> list[object]:
        turns, running = Turns(2), 0

        async def one() -> int:
            nonlocal running
            async with turns.one():
                running += 1
                await asyncio.sleep(0.01)
                together, running = running, running - 1
                return together

        first = await asyncio.gather(one(), one(), one(), return_exceptions=True)
        return [*first, await one()]

    said = asyncio.run(many())
    refusal = said[2]
    assert (said[0], said[1], said[3]) == (1, 1, 1)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": "5"})
