"""A user's classifier on the command line: judged with log-odds rejection, guarded, given beside the guard's file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from twinlatent.data import Split
from twinlatent.evaluation.results.report import read_run

PROGRAM = """
from pathlib import Path
import torch
from torch import nn

HERE = Path(__file__).parent


def mine():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    network.load_state_dict(torch.load(HERE / "weights.pt", weights_only=True))
    return network


def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def softmax(images):
    return mine()(images).softmax(1)
"""


@pytest.fixture
def user(digits: Split) -> str:
    """A user's file with a classifier, the nearest class mean, in the current folder; the file's name."""
    means = torch.stack([digits.train.images[digits.train.labels == c].mean(0).flatten() for c in range(10)])
    torch.save({"1.weight": 20 * means, "1.bias": -10 * means.square().sum(1)}, "weights.pt")
    Path("user.py").write_text(PROGRAM, encoding="utf-8")
    return "user.py"


@pytest.fixture
def guarded(user: str, training: list[str], ok: Callable) -> Path:
    """The folder of a training beside the user's classifier."""
    done = ok(*training, "--classifier", f"{user}:mine", "--out", "run", "--set", "rounds=3")
    assert "run/detector.safetensors: 3 rounds" in done.out
    return Path("run")


@pytest.mark.parametrize("suite", ["none", pytest.param("quick", marks=pytest.mark.slow)])
def test_a_classifier_is_judged_with_log_odds_rejection(
    suite: str, user: str, white_box: list[str], ok: Callable
) -> None:
    words = ["--suite", suite, "--substitute", "f_p", *white_box, "--out", "judged"]
    done = ok("evaluate", f"{user}:mine", "digits", "--rejecting", *words)
    run = read_run("judged")
    assert (run.model.method, run.model.score, run.model.label_rule) == ("mine", "log-odds", "classifier")
    assert suite == "none" or run.sr(fpr=0.05).n == 6
    assert "Page with pictures: judged/report.html" in done.text


def test_a_guard_is_used_beside_its_classifier(guarded: Path, user: str, digits: Split, ok: Callable) -> None:
    np.save("images.npy", digits.test.images[:20].numpy())
    said = [json.loads(line) for line in
            ok("detect", guarded, "images.npy", "--classifier", f"{user}:mine", "--json").out.splitlines()]  # fmt: skip
    network = torch.load("weights.pt", weights_only=True)
    logits = digits.test.images[:20].flatten(1) @ network["1.weight"].T + network["1.bias"]
    assert [row["label"] for row in said] == [str(int(label)) for label in logits.argmax(1)]
    few = ["--classifier", f"{user}:mine", "--no-progress", "--images", 6]
    done = ok("attack", guarded, "--suite", "quick", "--steps", 2, *few, "--save", "adv.npz")
    assert "Images: adv.npz" in done.out
    words = ["--suite", "none", "--blackbox-images", 6, "--substitute", "f_p", "--shift-images", 0, *few]
    ok("evaluate", guarded, *words, "--out", "judged")
    run = read_run("judged")
    assert (run.model.method, run.model.score, run.model.label_rule) == ("mine", "ratio", "classifier")
    assert len(run.log) == 3, "the training's log belongs to it"


def test_a_guard_is_calibrated_beside_its_classifier(guarded: Path, user: str, digits: Split, ok: Callable) -> None:
    done = ok("calibrate", guarded, "digits", "--out", "anew.safetensors", "--classifier", f"{user}:mine")
    assert done.out.startswith("anew.safetensors: calibrated on 360 images of digits, before on 360")
    np.save("images.npy", digits.test.images[:5].numpy())
    ok("detect", "anew.safetensors", "images.npy", "--classifier", f"{user}:mine")


def test_an_onnx_file_is_a_classifier(user: str, digits: Split, ok: Callable) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    weights = {name: tensor.numpy() for name, tensor in torch.load("weights.pt", weights_only=True).items()}
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]),
             helper.make_node("Gemm", ["flat", "1.weight", "1.bias"], ["y"], transB=1)]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", kind, ["n", 10])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), "net.onnx")
    words = ["--rejecting", "--suite", "none", "--blackbox-images", 6, "--substitute", "f_p", "--shift-images", 0,
             "--no-progress"]  # fmt: skip
    for model in ("net.onnx", f"{user}:mine"):
        ok("evaluate", model, "digits", *words, "--out", Path(model).stem)
    accuracies = {read_run(folder).accuracy.value for folder in ("net", "user")}
    assert len(accuracies) == 1
    done = ok(
        "attack", "net.onnx", "digits", "--rejecting", "--suite", "quick", "--steps", 2, "--images", 6, "--no-progress"
    )
    assert "worst" in done.out
    assert read_run("net").model.method == "net"


def test_the_folder_of_a_plain_classifier_is_one(
    user: str, ok: Callable, program: Callable, fewer_rounds, monkeypatch
) -> None:
    fewer_rounds(monkeypatch, 5)
    ok("train", "digits", "--method", "plain", "--preset", "smoke", "--out", "plain", "--no-progress")
    ok("train", "digits", "--preset", "smoke", "--classifier", "plain", "--out", "guard", "--no-progress")
    np.save("images.npy", np.zeros((1, 1, 8, 8), np.float32))
    ok("detect", "guard", "images.npy", "--classifier", "plain")
    refused = program("detect", "guard", "images.npy", "--classifier", "guard").refusal
    assert "guards the classifier" in refused


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["evaluate", "user.py:mine", "--rejecting"], "user.py:mine does not say which images it is for; name"),
        (["evaluate", "mnist-mim", "digits", "--rejecting"], "'mnist-mim' names no classifier; give FILE.py:NAME"),
        (["evaluate", "user.py:none", "digits", "--rejecting"], "user.py has no none"),
        (["evaluate", "user.py:softmax", "digits", "--rejecting"], "softmax: the model answers with probabilities"),
        (["evaluate", "user.py:mine", "digits", "--rejecting", "--score", "joint"], "leave --score out"),
        (["evaluate", "missing.onnx", "digits", "--rejecting"], "missing.onnx is no file"),
        (["train", "digits", "--out", "new", "--classifier", "user.py:softmax"], "answers with probabilities"),
        (["train", "digits", "--out", "new", "--classifier", "user.py"], "'user.py' names no classifier"),
        (["train", "digits", "--out", "new", "--classifier", "user.py:mine", "--method", "rce"], "rce has a class"),
        (["train", "digits", "--out", "new", "--classifier", "user.py:mine", "--label-rule", "ratio"], "leave --l"),
        (["detect", "mnist-mim", "images.npy", "--classifier", "user.py:mine"], "mnist-mim guards no classifier"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(words: list[str], line: str, user: str, program: Callable) -> None:
    assert line in program(*words).refusal
    assert not Path("new").exists()


def test_the_file_of_a_guard_asks_for_its_own_classifier(guarded: Path, user: str, program: Callable) -> None:
    np.save("images.npy", np.zeros((1, 1, 8, 8), np.float32))
    line = "guards the classifier 'mine', which is not in it; give the classifier (--classifier FILE.py:NAME"
    for words in (["detect", guarded, "images.npy"], ["evaluate", guarded], ["attack", guarded], ["certify", guarded]):
        assert line in program(*words).refusal
    assert "no bound is known for mine; give" in program("certify", guarded, "--classifier", f"{user}:mine").refusal
    refused = program("detect", guarded, "images.npy", "--classifier", f"{user}:other").refusal
    assert "guards a classifier 'mine' with other parameters" in refused
