"""A user's classifier as it is asked: as it would be used, left as it was found; wrong answers end in a line."""

import pytest
import torch
from torch import Tensor, nn

from twinlatent.baselines.fit import fit_baseline
from twinlatent.baselines.settings import BaselineSettings
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.guards.classifier import asked
from twinlatent.guards.onnx_file import OnnxClassifier

SMALL = BaselineSettings(network="c(3,8) d(16) sm(10)", rounds=5)


def test_it_is_asked_in_evaluation_mode_and_left_as_it_was(network: nn.Sequential, digits: Split) -> None:
    images = digits.test.images[:5].clone().requires_grad_()
    classifier = asked(network)
    logits = classifier(images)
    logits.sum().backward()
    assert torch.equal(logits, classifier(images)), "dropout must not draw"
    assert network.training
    assert all(part.requires_grad and part.grad is None for part in network.parameters())
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    torch.testing.assert_close(logits, network.eval()(images))


def test_it_computes_in_its_own_precision(network: nn.Sequential, digits: Split) -> None:
    images = digits.test.images[:5]
    logits = asked(network.double())(images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, network.eval()(images.double()).float())


def test_it_cannot_change_the_images(digits: Split) -> None:
    images = digits.test.images[:5].clone()
    asked(lambda x: x.zero_().flatten(1)[:, :10])(images)
    assert torch.equal(images, digits.test.images[:5])


def test_its_name_is_its_own_or_the_one_given(network: nn.Sequential, exported) -> None:
    def digits_of(images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10]

    assert [asked(one).name for one in (network, digits_of, lambda x: x)] == ["Sequential", "digits_of", "lambda"]
    assert asked(network, "mine").name == "mine"
    read = asked(exported())
    assert read.name == "net"
    assert isinstance(read.given, OnnxClassifier)


def test_it_is_known_by_its_parameters_and_statistics(network: nn.Sequential) -> None:
    first = asked(network).identity
    assert asked(network, "another name").identity == first
    with torch.no_grad():
        network[4].bias[3] += 1e-3
    second = asked(network).identity
    network.append(nn.BatchNorm1d(10))
    third = asked(network).identity
    network[5].running_mean[0] += 1  # type: ignore[operator, union-attr]
    assert len({first, second, third, asked(network).identity}) == 4
    with pytest.raises(TwinlatentError, match=r"lambda is a function or has no parameters.* give a torch\.nn\.Module"):
        _ = asked(lambda x: x).identity


def test_a_copy_is_moved_and_a_function_cannot_be(network: nn.Sequential) -> None:
    meta, here = torch.device("meta"), torch.device("cpu")
    classifier = asked(network)
    assert classifier.to(here) is classifier
    assert (classifier.to(meta).device, classifier.device) == (meta, here)
    with pytest.raises(TwinlatentError, match="lambda computes on cpu; move what it uses to meta"):
        asked(lambda x: x).to(meta)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda x: (x, x), r"answers images with a tuple; .* take lambda x: net\(x\)\[0\]"),
        (lambda x: {"logits": x}, r"answers images with a dict; give a classifier that returns a tensor"),
        (lambda x: x, r"answers 3 images with a tensor of shape \(3, 1, 8, 8\); logits \(n, C\) are expected"),
        (lambda x: x[:2].flatten(1), r"answers 3 images with a tensor of shape \(2, 64\)"),
        (lambda x: x.flatten(1) / 0 * 0, "answers 3 of 3 images with NaN, and NaN is no defence"),
    ],
)
def test_wrong_answers_end_in_a_line(answer, line, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=f"mine {line}"):
        asked(answer, "mine")(digits.test.images[:3])


def test_a_baseline_that_is_a_classifier_is_one(digits: Split) -> None:
    plain = fit_baseline("plain", digits, settings=SMALL, progress=False)
    found = asked(plain)
    images = digits.test.images[:5]
    assert found.name == "digits-plain"
    assert torch.equal(found(images), plain.outputs(images).logits)
    gong = fit_baseline(
        "gong", digits, settings=SMALL.model_copy(update={"attack": "mim", "attacked_images": 16}), progress=False
    )
    with pytest.raises(TwinlatentError, match="gong is a detector and no classifier; give one that was trained"):
        asked(gong)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("net.pt", r"classifier 'net\.pt': give a module, a function, or the path of an \.onnx file"),
        ("missing.onnx", r"missing\.onnx is no file"),
        (3, "the classifier is a int, which answers no images"),
    ],
)
def test_what_is_none_is_refused(given, line) -> None:
    with pytest.raises(TwinlatentError, match=line):
        asked(given)
