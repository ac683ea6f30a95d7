"""A detector of somebody else's is calibrated as ours are, left as it was, and refused in a line if it does not fit."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.foreign import detector_of
from twinlatent.method.calibration import calibration_of
from twinlatent.method.detector import Detector

torch.manual_seed(0)
WEIGHTS = torch.randn(64, 10)


class Linear(nn.Module):
    """Logits, and how far a batch norm is from its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm1d(64), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> tl.Outputs:
        rows = self.norm(images.flatten(1))
        return tl.Outputs(self.layer(rows), rows.square().mean(1, keepdim=True).expand(-1, 10))


def linear(images: Tensor) -> tl.Outputs:
    logits = images.flatten(1) @ WEIGHTS
    return tl.Outputs(logits, images.mean((1, 2, 3))[:, None].expand_as(logits))


def test_its_thresholds_are_those_of_the_same_calibration(digits: Split) -> None:
    with detector_of(linear, digits) as detector:
        outputs = linear(digits.calibration.images)
        wanted = calibration_of(outputs.suspicion_of_label, outputs.labels, 10).thresholds(0.05)
        assert torch.allclose(detector.calibration.thresholds(0.05), wanted)
        verdict = detector.detect(digits.test.images)
        assert torch.equal(verdict.label, linear(digits.test.images).labels)
        assert (detector.method, detector.network, detector.parameters) == ("linear", "function", 0)
        assert detector.bounds(0.05).suspicion_mean.shape == (10,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_is_asked_in_evaluation_mode_and_left_as_it_was(dtype: torch.dtype, digits: Split) -> None:
    model = Linear().to(dtype).train()
    model.layer.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with detector_of(model, digits, "mine", say=[].append) as detector:
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
        images = digits.test.images[:4].requires_grad_()
        outputs = detector(images)
        assert outputs.logits.dtype == torch.float32
        assert torch.autograd.grad(outputs.suspicion.sum(), images)[0].abs().sum() > 0
        assert detector.parameters == 2 * 64 + 650
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [True, True, True, False]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_fingerprint_tells_weights_and_names_apart(digits: Split) -> None:
    def of(model: Callable[[Tensor], tl.Outputs], name: str = "a") -> str:
        with detector_of(model, digits, name) as detector:
            return detector.fingerprint

    model, other = Linear().eval(), Linear().eval()
    assert of(model) == of(model)
    assert len({of(model), of(other), of(model, "b"), of(linear)}) == 4


def answering(change: Callable[[tl.Outputs], object]) -> Callable[[Tensor], tl.Outputs]:
    def model(images: Tensor) -> tl.Outputs:
        return change(linear(images))  # type: ignore[return-value]

    return model


def only_eight(images: Tensor) -> tl.Outputs:
    return linear(images.reshape(8, 1, 8, 8))


REFUSED = [
    (answering(lambda o: tl.Outputs(o.logits, o.suspicion, o.logits[:, :1])), r"robust of shape \(8, 1\)"),
    (answering(lambda o: tl.Outputs(o.logits.log(), o.suspicion)), "logits are not finite for 8 of 8"),
    (answering(lambda o: tl.Outputs(o.logits.softmax(1), o.suspicion)), "probabilities, which hide gradients"),
    (only_eight, r"cannot answer images \(1, 1, 8, 8\): RuntimeError: shape"),
    (nn.Linear(3, 10), r"Linear cannot answer images \(8, 1, 8, 8\): RuntimeError"),
    ("mnist-mim", r"is a str, which answers no images; give twinlatent\.load\('mnist-mim'\)"),
]


@pytest.mark.parametrize(("model", "line"), REFUSED, ids=[line[:24] for _, line in REFUSED])
def test_what_cannot_be_judged_is_refused_in_one_line(model: object, line: str, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=line) as refused, detector_of(model, digits):  # type: ignore[arg-type]
        pass
    assert "\n" not in str(refused.value)


def test_an_answer_that_is_nan_for_a_later_image_is_refused_too(digits: Split) -> None:
    odd = digits.calibration.images[-1].mean()

    def model(images: Tensor) -> tl.Outputs:
        outputs = linear(images)
        hit = (images.mean((1, 2, 3)) == odd)[:, None]
        return tl.Outputs(outputs.logits, torch.where(hit, torch.nan, outputs.suspicion))

    with pytest.raises(TwinlatentError, match="model: its suspicion is not finite"), detector_of(model, digits):
        pass


@pytest.mark.parametrize("part", ["logits", "suspicion", "robust"])
def test_nan_for_other_than_benign_images_ends_it_in_a_line_and_counts_for_nobody(part: str, digits: Split) -> None:
    """Attacked images lie between the 17 grey levels of this set; there the model hides behind NaN."""

    def model(images: Tensor) -> tl.Outputs:
        outputs = linear(images)
        parts = {"logits": outputs.logits, "suspicion": outputs.suspicion, "robust": outputs.logits}
        hidden = ((16 * images) % 1 != 0).flatten(1).any(1)[:, None]
        return tl.Outputs(**parts | {part: torch.where(hidden, torch.nan, parts[part])})

    line = f"model: its {part} is NaN for 3 of 5 .*, and NaN is no defence; answer every image"
    images = digits.test.images[:5].clone()
    images[:3] *= 0.9
    with detector_of(model, digits) as detector:
        assert len(detector.detect(digits.test.images).label) == len(digits.test)
        for ask in (detector, detector.detect, detector.scored):
            with pytest.raises(TwinlatentError, match=line):
                ask(images)
        with pytest.raises(TwinlatentError, match="NaN is no defence"):
            tl.attacks.fgsm(detector, digits.test.images, digits.test.labels, epsilon=0.1)


def test_nan_for_the_black_images_that_fill_a_chunk_is_nobody_s_concern(digits: Split) -> None:
    def model(images: Tensor) -> tl.Outputs:
        outputs = linear(images)
        return tl.Outputs(outputs.logits, outputs.suspicion / images.amax((1, 2, 3))[:, None])

    with detector_of(model, digits) as detector:
        assert detector.detect(digits.test.images[:3]).suspicion.isfinite().all()


def test_without_attacks_no_gradients_are_needed(digits: Split) -> None:
    model = answering(lambda o: tl.Outputs(o.logits.detach(), o.suspicion))
    with pytest.raises(TwinlatentError, match=r"no gradient .* suite none \(without one: logits\)"):
        detector_of(model, digits).__enter__()
    with detector_of(model, digits, attacked=False) as detector:
        assert len(detector.detect(digits.test.images[:3]).label) == 3


def test_names_are_short_lines_and_ours_keep_theirs(digits: Split, trained_detector: Detector) -> None:
    with detector_of(lambda images: linear(images), digits) as detector:
        assert detector.method == "lambda"
    for name in ("", "two\nlines", "x" * 81):
        with pytest.raises(TwinlatentError, match=r"name .*1 to 80 printable"), detector_of(linear, digits, name):
            pass
    for name in ("twinlatent", "gong", "GAT ", "adversarial-training"):
        with pytest.raises(TwinlatentError, match="a detector of this package so"), detector_of(linear, digits, name):
            pass
    with pytest.raises(TwinlatentError, match="is called twinlatent"), detector_of(trained_detector, digits, "mine"):
        pass
    with detector_of(trained_detector, digits) as detector:
        assert detector is trained_detector


def test_it_has_one_score_one_device_and_no_file(digits: Split, tmp_path) -> None:
    with detector_of(linear, digits) as detector:
        assert detector.with_score("suspicion").to("cpu") is detector
        for refused, line in (
            (lambda: detector.with_score("ratio"), "score 'ratio' is unknown; this detector has suspicion"),
            (lambda: detector.save(tmp_path / "a"), "save the model itself"),
            (lambda: detector.detect(torch.zeros(2, 1, 9, 9)), re.escape("(1, 8, 8) is expected")),
        ):
            with pytest.raises(TwinlatentError, match=line):
                refused()
