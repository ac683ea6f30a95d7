"""Every kind of detector as a graph: ONNX Runtime's verdicts are the detector's."""

from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

import twinlatent as tl
from twinlatent.baselines.baseline import NETWORKS, Baseline, build_baseline, new_network
from twinlatent.baselines.networks import ReverseCrossEntropy
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.export.answers import answers
from twinlatent.export.graph import IMAGES, Graph
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.class_vaes import ClassEncoders
from twinlatent.method.detector import Detector, build_detector
from twinlatent.method.plans import plan
from twinlatent.method.scores import LabelRule, Score

RATES = (0.05, 0.2)


def same_verdicts(detector: CalibratedDetector, images: torch.Tensor, path: Path) -> None:
    tl.to_onnx(detector, path, RATES)
    exported = tl.OnnxDetector(path)
    finest = detector.detect(images, min(RATES))
    for fpr in RATES:
        wanted, found = detector.detect(images, fpr), exported.detect(images, fpr)
        assert torch.equal(found.label, wanted.label)
        assert torch.equal(found.adversarial, wanted.adversarial)
        torch.testing.assert_close(found.suspicion, wanted.suspicion, rtol=1e-4, atol=1e-4)
        assert (found.p_value - finest.p_value).abs().max() < 0.01  # rounding can pass one calibration image
        assert (found.p_value == finest.p_value).double().mean() > 0.97
    assert finest.label.unique().numel() > 1


@pytest.mark.parametrize(("rule", "score"), list(product(get_args(LabelRule), get_args(Score))))
def test_ours_under_every_label_rule_and_score(rule, score, trained_detector, digits: Split, tmp_path: Path) -> None:
    detector = trained_detector.using(label_rule=rule, score=score)
    same_verdicts(detector, digits.test.images[:200], tmp_path / "a.onnx")


@pytest.mark.parametrize("layers", ["ramp(2) c(3,4) | c(3,4)-bn-relu z(3,2)", "c(3,4)-mp(2) d(8) z(2,3)"])
def test_ours_of_other_layers_with_one_threshold_for_all(layers, digits: Split, tmp_path: Path) -> None:
    encoders = ClassEncoders(plan(layers, digits.image_shape, "encoder"), 10, torch.Generator().manual_seed(0))
    detector = build_detector(encoders, digits.train, digits.calibration, digits.class_names)
    made = detector.using(label_rule="nearest_mean", thresholds="together", score="joint")
    same_verdicts(made, digits.test.images[:200], tmp_path / "a.onnx")


def baseline(method: str, digits: Split) -> Baseline:
    """Of first weights: what it says is of no use, but the same everywhere."""
    spec = "c(3,4) d(4) z(1,1)" if method == "gat" else "c(3,4) mp(2) d(16) sm(10)"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = new_network(method, spec, digits.image_shape, 10)
    if isinstance(module, ReverseCrossEntropy):
        train = digits.train
        module.remember(torch.stack([train.images[train.labels == label][:30] for label in range(10)]))
    with torch.no_grad():  # not all images get the same label
        images = digits.train.images[:100]
        if hasattr(module, "classifier"):
            last = module.classifier.layers[-1]
            last.bias.sub_(module.classifier.eval()(images).mean(0))
        else:
            last = module.encoders.networks
            bias = last.get_parameter(f"{len(last.plan.operations) - 1}_bias")
            bias[:, 0].sub_(module.log_odds(images).mean(1))
    return build_baseline(method, module, digits.train, digits.calibration, digits.class_names)


@pytest.mark.parametrize("method", NETWORKS)
def test_baselines_under_each_of_their_scores(method: str, digits: Split, tmp_path: Path) -> None:
    made = baseline(method, digits)
    for score in made.scores:
        same_verdicts(made.with_score(score), digits.test.images[:100], tmp_path / "a.onnx")


def test_log_odds_of_sure_classifiers_do_not_overflow(digits: Split, tmp_path: Path) -> None:
    """Logits of several hundreds, whose exponentials float32 does not have."""
    made = baseline("plain", digits)
    last = made.module.classifier.layers[-1]
    with torch.no_grad():
        last.weight.mul_(1e4)
        last.bias.mul_(1e4)
    made = build_baseline("plain", made.module, digits.train, digits.calibration, digits.class_names)
    assert made.outputs(digits.test.images[:50]).logits.abs().max() > 200
    same_verdicts(made, digits.test.images[:50], tmp_path / "a.onnx")


def test_what_is_none_of_ours_is_refused(trained_detector: Detector) -> None:
    class Another(nn.Module):
        method = "another"

    with pytest.raises(TwinlatentError, match="another is a Another, which cannot be exported; give a Detector"):
        answers(Graph(), Another(), IMAGES)  # type: ignore[arg-type]
