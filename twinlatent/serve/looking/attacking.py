"""`/v1/models/NAME/attack`: what an attack makes of an image, step by step."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from twinlatent.errors import TwinlatentError, listed
from twinlatent.serve.answers import ImageVerdict, image_verdicts, shortest
from twinlatent.serve.detecting import BODY, REFUSALS
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI
    from torch import Tensor

    from twinlatent.attacks.results import AttackResult
    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.outputs import Model, Outputs

AttackName = Literal["fgsm", "pgd", "detector-aware"]
OF_SUITE = {"fgsm": "fgsm", "pgd": "pgd", "detector-aware": "selective"}
"""What the attacks are called in the suite `quick`."""
MOST_WAITING = 4
"""Requests for attacks at a time, the one that runs included: attacks take turns."""


class Attacked(BaseModel):
    """What an attack made of one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(description="The class that the attack took for the true one.", examples=["7"])
    before: ImageVerdict = Field(description="Of the image.")
    after: ImageVerdict = Field(description="Of the best that was found.")
    misclassified: bool = Field(description="Whether its class is another than `label`.", examples=[True])
    undetected: bool = Field(description="Whether it is not flagged.", examples=[False])
    linf: float = Field(description="Largest change of a value.", examples=[0.3])
    l2: float = Field(description="Root of the summed squares of the change.", examples=[5.2])
    image: list[list[list[float]]] = Field(description="The best that was found: channels, rows, values from 0 to 1.")
    steps: list["Step"] = Field(description="The image, then each point that the attack visited.")


class Step(BaseModel):
    """A point that an attack visited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: ImageVerdict
    pixels: str = Field(description="To look at: a byte a value, channel after channel, in base64.")


class AttackedImages(BaseModel):
    """Of the images of a request, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(examples=["mnist-mim"])
    attack: AttackName
    epsilon: float
    fpr: float
    results: list[Attacked]


class Visited:
    """The points that a model was asked about, for a limited time.

    Attributes:
        points: (channels, H, W) each, in order.
    """

    def __init__(self, model: "Model", until: float) -> None:
        """Set up.

        Args:
            model: is asked about one image at a time.
            until: when, by `time.monotonic`, it stops to answer.
        """
        self._model, self._until = model, until
        self.points: list[Tensor] = []

    def __call__(self, images: "Tensor") -> "Outputs":
        """The model's answers.

        Raises:
            Refusal: the time is over.
        """
        if time.monotonic() > self._until:
            raise Refusal(422, "the attack took too long; ask for fewer steps or images")
        self.points += list(images.detach().clone().cpu())
        return self._model(images)


def attacked(
    detector: "CalibratedDetector",
    image: "Tensor",
    label: int | None,
    attack: AttackName,
    epsilon: float,
    steps: int,
    fpr: float,
    until: float,
) -> Attacked:
    """Attack an image until it is misclassified and not flagged, as the suite `quick` of `twinlatent attack` does.

    Args:
        detector: what is attacked.
        image: float32 (1, channels, H, W) in [0, 1].
        label: the true class; None: what the detector says.
        attack: its name.
        epsilon: L∞ radius, at least 0.
        steps: of the attack, at least 1; `fgsm` takes one.
        fpr: the rate at which it must not be flagged.
        until: when to give up, by `time.monotonic`.

    Raises:
        TwinlatentError: the detector has no gradients, or the time is over.
    """
    import torch

    from twinlatent.attacks.attack import Attack, Found, run
    from twinlatent.attacks.suites import Suite
    from twinlatent.criteria import Aim, Criterion, Misclassified, Undetected

    before, bounds = detector.detect(image, fpr), detector.bounds(fpr)
    truth = before.label if label is None else torch.tensor([label])
    chosen = Suite("quick", epsilon, steps=steps, level=bounds.thresholds[fpr]).attacks()[OF_SUITE[attack]]
    visited = [image[0]]

    class Followed(Attack):
        """The chosen attack, of which every point is kept."""

        def __call__(self, model: "Model", images: "Tensor", aim: Aim, criterion: Criterion) -> Found:
            followed = Visited(model, until)
            found = chosen(followed, images, aim, criterion)
            visited.extend(followed.points[torch.equal(followed.points[0], image[0]) :])
            return found

    found = run(Followed(), detector, image.to(detector.device), truth.to(detector.device),
                criterion=Misclassified() & Undetected(bounds, fpr))  # fmt: skip
    return _told(detector, visited, found, int(truth), fpr)


def _told(
    detector: "CalibratedDetector", visited: "list[Tensor]", found: "AttackResult", truth: int, fpr: float
) -> Attacked:
    import torch

    final = found.images.cpu()
    said = image_verdicts(detector.detect(torch.cat([torch.stack(visited), final]), fpr), detector.class_names, fpr)
    after = said[-1]
    return Attacked(
        label=detector.class_names[truth],
        before=said[0],
        after=after,
        misclassified=after.class_index != truth,
        undetected=not after.adversarial,
        linf=shortest(float(found.linf)),
        l2=shortest(float(found.l2)),
        image=final[0].tolist(),
        steps=[Step(verdict=verdict, pixels=pixels_of(image)) for verdict, image in zip(said, visited, strict=False)],
    )


def pixels_of(image: "Tensor") -> str:
    """An image (channels, H, W) in [0, 1] as a byte a value, channel after channel, in base64."""
    return b64encode((255 * image).round().byte().numpy().tobytes()).decode()


class Turns:
    """One attack at a time, a few more that wait, and no more."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most, self._there, self._turn = most, 0, asyncio.Lock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Within the block it is the request's turn.

        Raises:
            Refusal: too many wait.
        """
        if self._there >= self._most:
            raise Refusal(503, f"{self._there} attacks are under way; ask again in some seconds", {"Retry-After": "5"})
        self._there += 1
        try:
            async with self._turn:
                yield
        finally:
            self._there -= 1


def add_attacking(app: "FastAPI", service: Service) -> None:
    """Add its route."""
    from fastapi import Path, Query, Request
    from fastapi.responses import JSONResponse

    settings, turns = service.settings, Turns()
    most_steps, most_images, seconds = settings.most_steps, settings.most_attacked, settings.attack_seconds

    @app.post("/v1/models/{name}/attack", tags=["look"], summary="Attack images", response_model=AttackedImages,
              responses=REFUSALS, openapi_extra=BODY)  # fmt: skip
    async def attack(
        request: Request,
        name: Annotated[str, Path(description="Name of a detector.", examples=list(service.models))],
        attack: Annotated[AttackName, Query(description="`detector-aware` knows the detector.")] = "pgd",
        epsilon: Annotated[float, Query(description="L∞ radius.", ge=0, le=1)] = 0.3,
        steps: Annotated[int, Query(description="Steps; `fgsm` takes one.", ge=1, le=most_steps)] = 40,
        fpr: Annotated[float | None, Query(description="Rate at which it must not be flagged.", gt=0, lt=1)] = None,
        label: Annotated[str | None, Query(description="True class; default: what the detector says.")] = None,
    ) -> JSONResponse:
        """Bodies as in `detect`; a few images a request, one after another, in a limited time.

        An attack looks for an image that is misclassified and not flagged. Its verdicts are counted and logged nowhere.
        """
        rate, detector = service.rate(name, fpr), service.model(name)
        truth = None if label is None else class_index(detector, label)
        async with service.body(request) as body:
            images = await service.images(name, body, request.headers.get("content-type", ""))
            if len(images) > most_images:
                raise Refusal(413, f"the body holds {len(images)} images, and {most_images} may be attacked at a time; "
                                   "send fewer")  # fmt: skip
            async with turns.one():
                until = time.monotonic() + seconds
                results = [
                    await asyncio.to_thread(attacked, detector, image[None], truth, attack, epsilon, steps, rate, until)
                    for image in images
                ]
        told: dict[str, Any] = {"model": name, "attack": attack, "epsilon": epsilon, "fpr": rate}
        return JSONResponse(told | {"results": [one.model_dump() for one in results]})


def class_index(detector: "CalibratedDetector", label: str) -> int:
    """The number of the class of that name.

    Raises:
        TwinlatentError: there is none.
    """
    if label not in detector.class_names:
        known = listed(list(detector.class_names), most=10)
        raise TwinlatentError(f"label {label[:64]!r} is no class of this detector; it has {known}")
    return detector.class_names.index(label)
