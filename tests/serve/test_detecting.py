"""`POST /v1/models/NAME/detect` of a real server says what `detect` says, of every kind of body."""

import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from twinlatent.data import Split
from twinlatent.method.calibrated import CalibratedDetector, Verdict
from twinlatent.method.detector import Detector
from twinlatent.serve.answers import image_verdicts

DETECT = "/v1/models/digits/detect"
JSON = "application/json"


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def picture(image: Tensor, kind: str = "PNG", **options: Any) -> bytes:
    """A grey image (1, H, W) in [0, 1] as a file."""
    buffer = io.BytesIO()
    Image.fromarray(image[0].mul(255).round().byte().numpy()).save(buffer, kind, **options)
    return buffer.getvalue()


def form(*parts: bytes, boundary: str = "b0undary") -> tuple[bytes, str]:
    """A multipart body, and its type."""
    head = '--{}\r\nContent-Disposition: form-data; name="image"; filename="canary7f3a/../{}.png"\r\n\r\n'
    body = b"".join(head.format(boundary, i).encode() + part + b"\r\n" for i, part in enumerate(parts))
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def said_of(detector: CalibratedDetector, images: Tensor, fpr: float = 0.05) -> list[dict[str, Any]]:
    """What the server should say."""
    verdict, names = detector.detect(images, fpr), detector.class_names
    numbers = (np.asarray(part).astype(str).astype(float).tolist() for part in (verdict.p_value, verdict.suspicion))
    return [
        {"label": names[label], "class_index": label, "adversarial": flagged, "p_value": p, "suspicion": s}
        for label, flagged, p, s in zip(verdict.label.tolist(), verdict.adversarial.tolist(), *numbers, strict=True)
    ]


@pytest.fixture
def images(digits: Split) -> Tensor:
    """Six test images with values that a byte holds, (6, 1, 8, 8)."""
    return digits.test.images[:6].mul(255).round() / 255


def test_a_picture(server, images: Tensor, trained_detector: Detector) -> None:
    answer = server.post(DETECT, picture(images[2]))
    assert answer.status == 200
    assert answer.json == {"model": "digits", "fpr": 0.05, "results": said_of(trained_detector, images[2:3])}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda images: (npy(images.numpy()), "application/x-npy"), id="npy"),
        pytest.param(lambda images: (npy(images[:, 0].double().numpy()), ""), id="npy without channels, float64"),
        pytest.param(lambda images: (npy(images.mul(255).byte().numpy()), ""), id="npy of bytes"),
        pytest.param(lambda images: form(*map(picture, images)), id="multipart"),
        pytest.param(lambda images: form(picture(images[0]), npy(images[1:].numpy())), id="multipart of two kinds"),
        pytest.param(lambda images: (json.dumps(images.tolist()).encode(), JSON), id="JSON"),
        pytest.param(lambda images: (json.dumps({"images": images[:, 0].tolist()}).encode(), JSON), id="JSON object"),
    ],
)
def test_all_kinds_of_bodies_give_the_same_answer(body, server, images: Tensor, trained_detector: Detector) -> None:
    sent, kind = body(images)
    answer = server.post(DETECT, sent, **({"Content-Type": kind} if kind else {}))
    assert answer.json["results"] == said_of(trained_detector, images)


def test_a_jpeg_is_read_as_from_a_file(server, images: Tensor, trained_detector: Detector) -> None:
    sent = picture(images[0], "JPEG", quality=90)
    decoded = torch.from_numpy(np.asarray(Image.open(io.BytesIO(sent))) / np.float32(255))[None, None]
    assert server.post(DETECT, sent).json["results"] == said_of(trained_detector, decoded)


@pytest.mark.parametrize("fpr", [0.02, 0.3])
def test_the_rate_that_is_asked_decides(fpr: float, server, digits: Split, trained_detector: Detector) -> None:
    images = digits.test.images[:40]
    answer = server.post(f"{DETECT}?fpr={fpr}", npy(images.numpy()))
    assert answer.json == {"model": "digits", "fpr": fpr, "results": said_of(trained_detector, images, fpr)}


def test_inverted_images(server, images: Tensor, trained_detector: Detector) -> None:
    answer = server.post(f"{DETECT}?invert=true", npy((1 - images).numpy()))
    assert answer.json["results"] == said_of(trained_detector, 1 - (1 - images))


def test_a_guarded_classifier_answers(server, guarded, images: Tensor) -> None:
    answer = server.post("/v1/models/guard/detect", npy(images.numpy()))
    assert answer.json["results"] == said_of(guarded[2], images)


def test_models_say_what_they_take(server, trained_detector: Detector) -> None:
    listed = server.get("/v1/models").json["models"]
    assert [one["name"] for one in listed] == ["digits", "guard"]
    assert listed[0]["image_shape"] == [1, 8, 8]
    assert listed[0]["fingerprint"] == trained_detector.fingerprint
    assert server.get("/v1/models/digits").json == listed[0]


def test_many_at_once_get_their_own_answers(server, digits: Split, guarded, trained_detector: Detector) -> None:
    """Each of 120 requests has other images, a rate, and one of two models; ten of them are refused."""
    detectors = {"digits": trained_detector, "guard": guarded[2]}

    def one(number: int) -> None:
        name, fpr = ("digits", "guard")[number % 2], (0.05, 0.1, 0.2)[number % 3]
        images = digits.test.images[2 * number : 2 * number + 1 + number % 4]
        if number % 12 == 0:
            assert server.post(f"/v1/models/{name}/detect", b"no image").status == 415
            return
        answer = server.post(f"/v1/models/{name}/detect?fpr={fpr}", npy(images.numpy()))
        assert answer.json == {"model": name, "fpr": fpr, "results": said_of(detectors[name], images, fpr)}

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(one, range(120)))
    batches = dict(line.rsplit(" ", 1) for line in server.get("/metrics").body.decode().splitlines() if line[0] != "#")
    asked = float(batches['twinlatent_images_total{model="digits"}'])
    assert float(batches['twinlatent_batch_images_count{model="digits"}']) < asked


def test_every_verdict_is_logged(server, images: Tensor, trained_detector: Detector) -> None:
    before = len(server.log.read_text(encoding="utf-8").splitlines())
    answer = server.post(f"{DETECT}?fpr=0.1", npy(images.numpy())).json
    rows = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()][before:]
    assert [" ".join(row) for row in rows] == [
        "time model label p_value adversarial fpr among equal pooled detector"
    ] * 6
    for row, said in zip(rows, answer["results"], strict=True):
        assert row["time"].endswith("Z")
        assert row["model"] == "digits"
        assert row["fpr"] == 0.1
        assert (row["pooled"], trained_detector.fingerprint.startswith(row["detector"])) == (False, True)
        assert row["among"] == len(trained_detector.calibration.scores[said["class_index"]])
        assert {name: row[name] for name in ("label", "p_value", "adversarial")}.items() <= said.items()


def test_a_number_has_no_more_digits_than_it_holds(trained_detector: Detector) -> None:
    """In float32, 0.05 is 0.05000000074505806 in full, more than the rate at which it is flagged."""
    values = {"p_value": torch.tensor([0.05, 1 / 3, 1 / 3]), "suspicion": torch.tensor([-10.36, math.inf, 0.1])}
    verdict = Verdict(torch.tensor([7, 7, 7]), torch.tensor([True, True, False]), **values)
    found = image_verdicts(verdict, trained_detector.class_names, 1 / 3)
    assert [one.p_value for one in found] == [0.05, 1 / 3, 0.33333334]
    assert [one.suspicion for one in found] == [-10.36, None, 0.1]
