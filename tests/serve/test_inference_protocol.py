"""`/v2` of a real server speaks the Open Inference Protocol, and says what `detect` says."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from twinlatent.data import Split
from twinlatent.method.detector import Detector

INFER = "/v2/models/digits/infer"


@pytest.fixture
def images(digits: Split) -> Tensor:
    return digits.test.images[:3].mul(255).round() / 255


def asked(images: Tensor, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    values = images.mul(255).round().int() if datatype == "UINT8" else images
    tensor = {"name": "images", "shape": list(images.shape), "datatype": datatype, "data": values.flatten().tolist()}
    return {"inputs": [tensor], **more}


def infer(server, request: dict[str, Any]) -> Any:
    return server.post(INFER, json.dumps(request).encode(), Content_Type="application/json")


def test_health_and_metadata(server) -> None:
    assert server.get("/v2").json["name"] == "twinlatent"
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    assert server.get("/v2/models/digits/ready").json == {"name": "digits", "ready": True}
    about = server.get("/v2/models/digits").json
    assert about["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert [one["name"] for one in about["outputs"]] == ["label", "class_name", "p_value", "adversarial", "suspicion"]
    assert about["versions"] == ["1"]
    assert server.get("/v2/models/other").status == 404
    assert server.get("/v2/").json == server.get("/v2").json


def test_versions(server, images: Tensor) -> None:
    """Each model has one; clients that name it are answered as those that do not."""
    at = "/v2/models/digits/versions/1"
    assert server.get(at).json == server.get("/v2/models/digits").json
    assert server.get(f"{at}/ready").json == {"name": "digits", "ready": True}
    body = json.dumps(asked(images)).encode()
    answer = server.post(f"{at}/infer", body).json
    assert answer == server.post(INFER, body).json
    assert (answer["model_name"], answer["model_version"]) == ("digits", "1")
    for path in ("", "/ready", "/infer"):
        ask = "POST" if path == "/infer" else "GET"
        wrong = server.ask(ask, f"/v2/models/digits/versions/2{path}", body)
        assert (wrong.status, wrong.refusal) == (404, "digits has no version '2'; there is 1")
        assert server.ask(ask, f"/v2/models/other/versions/1{path}", body).refusal.startswith("there is no model")


def test_the_binary_extension_is_refused_and_outputs_are_json(server, images: Tensor) -> None:
    request = asked(images)
    del request["inputs"][0]["data"]
    request["inputs"][0]["parameters"] = {"binary_data_size": 768}
    body = json.dumps(request).encode()
    for headers in ({}, {"Inference_Header_Content_Length": str(len(body))}):
        answer = server.post(INFER, body + images.numpy().tobytes() * bool(headers), **headers)
        assert (answer.status, "binary tensor extension is not spoken here" in answer.refusal) == (400, True)
    wanted = asked(images, parameters={"binary_data_output": True})
    assert infer(server, wanted).json["outputs"] == infer(server, asked(images, outputs=[])).json["outputs"]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "UINT8"])
def test_it_says_what_the_detector_says(datatype: str, server, images: Tensor, trained_detector: Detector) -> None:
    answer = infer(server, asked(images, datatype, id="42", parameters={"fpr": 0.2, "other": "left alone"})).json
    verdict = trained_detector.detect(images, 0.2)
    assert (answer["model_name"], answer["id"], answer["parameters"]) == ("digits", "42", {"fpr": 0.2})
    found = {one["name"]: one for one in answer["outputs"]}
    assert {one["name"]: one["datatype"] for one in answer["outputs"]} == {
        one["name"]: one["datatype"] for one in server.get("/v2/models/digits").json["outputs"]
    }
    assert all(one["shape"] == [3] for one in found.values())
    for name in ("label", "adversarial", "p_value", "suspicion"):
        assert torch.equal(torch.tensor(found[name]["data"]), getattr(verdict, name))
    assert found["class_name"]["data"] == [trained_detector.class_names[label] for label in verdict.label]


def test_nested_data_and_chosen_outputs(server, images: Tensor) -> None:
    flat = infer(server, asked(images)).json["outputs"]
    nested = asked(images, outputs=[{"name": "adversarial"}, {"name": "label"}])
    nested["inputs"][0]["data"] = images.tolist()
    outputs = infer(server, nested).json["outputs"]
    assert outputs == [flat[3], flat[0]]


@pytest.mark.parametrize(
    ("change", "status", "line"),
    [
        ({"name": "pixels"}, 400, "inputs.0.name"),
        ({"datatype": "BYTES"}, 400, "inputs.0.datatype"),
        ({"shape": [3, 1, 8, 9]}, 422, "do not fill the shape"),
        ({"shape": [0, 1, 8, 8]}, 400, "inputs.0.shape"),
        ({"shape": [10**30, 10**30]}, 422, "do not fill the shape"),
        ({"shape": [192]}, 400, "inputs.0.shape"),
        ({"shape": [12, 16]}, 422, "the detector takes (n, 1, 8, 8)"),
        ({"data": ["a"] * 192}, 422, "do not fill the shape"),
        ({"data": [0.5] * 191 + [None]}, 422, "do not fill the shape"),
        ({"data": [2.0] * 192}, 422, "outside [0, 1]"),
        ({"data": [256] * 192, "datatype": "UINT8"}, 422, "whole numbers from 0 to 255"),
        ({"data": [0.5] * 192, "datatype": "UINT8"}, 422, "whole numbers from 0 to 255"),
    ],
)
def test_a_bad_request_is_refused(change: dict[str, Any], status: int, line: str, server, images: Tensor) -> None:
    request = asked(images)
    request["inputs"][0] |= change
    answer = infer(server, request)
    assert (answer.status, line in answer.refusal) == (status, True), answer.refusal


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"inputs": []}', b"[" * 2_500])
def test_what_is_no_request_is_refused(body: bytes, server) -> None:
    answer = server.post(INFER, body, Content_Type="application/json")
    assert (answer.status, answer.refusal.startswith("the body is no inference request")) == (400, True)


def test_too_many_images(server, digits: Split) -> None:
    assert infer(server, asked(digits.test.images[:41])).status == 413
    many = server.post(INFER, b"[" + b"[]," * 40_000 + b"[]]", Content_Type="application/json")
    assert (many.status, "far more values than the 40 images" in many.refusal) == (413, True)
