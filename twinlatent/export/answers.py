"""What each kind of detector answers, as nodes: the label of an image, and how suspicious that label is.

Letters: n images, C classes, ŷ the predicted label, m reference images a class, H features of a hidden layer.
"""

from dataclasses import dataclass

import torch

from twinlatent.baselines.baseline import Baseline
from twinlatent.baselines.networks import BinaryDetector, ClassDetectors, Confidence, ReverseCrossEntropy
from twinlatent.errors import TwinlatentError
from twinlatent.export.classifier import classifier_logits
from twinlatent.export.graph import Graph
from twinlatent.export.layers import latent_means, plain
from twinlatent.guards.guarded import Guarded
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.method.densities import LOG_2PI
from twinlatent.method.detector import Detector

LEAST = torch.tensor(torch.finfo(torch.float32).min)
NO_ODDS = torch.tensor(-torch.inf)


@dataclass(frozen=True)
class Answers:
    """Names of what the graph says of the images.

    Attributes:
        label: int64 (n,), ŷ.
        suspicion: float32 (n,), of ŷ.
    """

    label: str
    suspicion: str


def answers(graph: Graph, detector: CalibratedDetector, images: str) -> Answers:
    """What the detector says of images, as nodes of the graph.

    Raises:
        TwinlatentError: a detector that cannot be exported, which the line names.
    """
    match detector:
        case Detector():
            return _ours(graph, detector, images)
        case Guarded():
            return _guarded(graph, detector, images)
        case Baseline():
            return _baseline(graph, detector, images)
        case _:
            raise TwinlatentError(f"{detector.method} is a {type(detector).__name__}, which cannot be exported; give a "
                                  "Detector, a Guarded or a baseline")  # fmt: skip


# --- ours -------------------------------------------------------------------------------------------------------------


def _ours(graph: Graph, detector: Detector, images: str) -> Answers:
    means, robust, vulnerable = _densities(graph, detector, images)
    match detector.settings.label_rule:
        case "nearest_mean":
            apart = graph.add("Sub", means, detector.class_means[:, None])
            logits = graph.add("Neg", _transposed(graph, _sum(graph, graph.add("Mul", apart, apart))))
        case "density":
            logits = robust
        case "ratio":
            logits = graph.add("Sub", robust, vulnerable)
    label = _label(graph, logits)
    return Answers(label, _at(graph, _suspicion(graph, detector, robust, vulnerable, images), label))


def _densities(graph: Graph, detector: Detector, images: str) -> tuple[str, str, str]:
    """μ_r (C, n, Z), and log P_r and log P_v (n, C)."""
    means, others = latent_means(graph, detector.encoders, images)
    robust = _log_density(graph, means, detector.encoders.robust_size)
    return means, robust, _log_density(graph, others, detector.encoders.vulnerable_size)


def _log_density(graph: Graph, means: str, size: int) -> str:
    """log N(μ | 0, I), (C, n, Z) → (n, C), as `log_standard_normal`."""
    summed = graph.add("Add", _sum(graph, graph.add("Mul", means, means)), torch.tensor(size * LOG_2PI))
    return _transposed(graph, graph.add("Mul", summed, torch.tensor(-0.5)))


def _suspicion(graph: Graph, detector: Detector, robust: str, vulnerable: str, images: str) -> str:
    """Of every label, (n, C), as `suspicion_of`, with what a binary detector adds to log P_v."""
    if detector.encoders.binary is not None:
        vulnerable = graph.add("Add", vulnerable, graph.add("Relu", plain(graph, detector.encoders.binary, images)))
    match detector.settings.score:
        case "vulnerable":
            return vulnerable
        case "ratio":
            return graph.add("Sub", vulnerable, robust)
        case "joint":
            mean_r, std_r, mean_v, std_v = detector.levels
            high = graph.add("Div", graph.add("Sub", vulnerable, mean_v), std_v)
            low = graph.add("Div", graph.add("Sub", mean_r, robust), std_r)
            return graph.add("Max", high, low)


# --- a user's classifier ----------------------------------------------------------------------------------------------


def _guarded(graph: Graph, guarded: Guarded, images: str) -> Answers:
    logits = classifier_logits(graph, guarded, images)
    label = _label(graph, logits)
    detector = guarded.detector
    if detector is None:
        return Answers(label, _log_odds_against(graph, logits, label, guarded.classes))
    _, robust, vulnerable = _densities(graph, detector, images)
    scored = detector.with_score(guarded.score)
    return Answers(label, _at(graph, _suspicion(graph, scored, robust, vulnerable, images), label))


# --- baselines --------------------------------------------------------------------------------------------------------


def _baseline(graph: Graph, baseline: Baseline, images: str) -> Answers:
    match baseline.module:
        case Confidence() as network:
            logits = plain(graph, network.classifier, images)
            label = _label(graph, logits)
            return Answers(label, _log_odds_against(graph, logits, label, baseline.classes))
        case BinaryDetector() as network:
            label = _label(graph, plain(graph, network.classifier, images))
            kinds = plain(graph, network.binary, images)
            benign, attacked = (graph.add("Gather", kinds, torch.tensor(kind), axis=1) for kind in (0, 1))
            return Answers(label, graph.add("Sub", attacked, benign))
        case ClassDetectors() as network:
            odds = _transposed(graph, graph.add("Squeeze", latent_means(graph, network.encoders, images)[0],
                                                torch.tensor([2])))  # fmt: skip
            label = _label(graph, odds)
            return Answers(label, graph.add("Neg", _at(graph, odds, label)))
        case ReverseCrossEntropy() as network:
            return _reverse(graph, network, baseline.score, images, baseline.classes)
    raise TwinlatentError(f"{baseline.method} is a baseline that cannot be exported")


def _reverse(graph: Graph, network: ReverseCrossEntropy, score: str, images: str, classes: int) -> Answers:
    hidden = plain(graph, network.classifier, images, -1)
    weight, bias = network.classifier.layers[-1].parameters()
    logits = graph.add("Neg", graph.add("Gemm", hidden, weight.T, bias))
    label = _label(graph, logits)
    if score == "k-density":
        return Answers(label, _at(graph, _k_density(graph, network, hidden), label))
    others = graph.add("Where", _is_label(graph, label, classes), NO_ODDS, logits)
    log_p = graph.add("Sub", others, _log_sum_exp(graph, others))
    terms = graph.add("Mul", graph.add("Exp", log_p), graph.add("Max", log_p, LEAST))  # 0 of the label itself
    return Answers(label, _sum(graph, terms))


def _k_density(graph: Graph, network: ReverseCrossEntropy, hidden: str) -> str:
    """(n, C), as there."""
    references = network.references  # (C, m, H)
    product = graph.add("MatMul", hidden, references.transpose(1, 2))  # (C, n, m)
    own = graph.add("Unsqueeze", _sum(graph, graph.add("Mul", hidden, hidden)), torch.tensor([1]))
    squares = graph.add("Add", own, references.square().sum(-1)[:, None])
    apart = graph.add("Sub", squares, graph.add("Mul", product, torch.tensor(2.0)))
    scaled = graph.add("Div", graph.add("Max", apart, torch.tensor(0.0)), -network.bandwidth)
    density = graph.add("Squeeze", _log_sum_exp(graph, scaled), torch.tensor([2]))
    return graph.add("Neg", _transposed(graph, density))


# --- pieces -----------------------------------------------------------------------------------------------------------


def _label(graph: Graph, logits: str) -> str:
    return graph.add("ArgMax", logits, axis=1, keepdims=0)


def _at(graph: Graph, values: str, label: str) -> str:
    """Column `label[i]` of row i: (n, C), (n,) → (n,)."""
    column = graph.add("Unsqueeze", label, torch.tensor([1]))
    picked = graph.add("GatherElements", values, column, axis=1)
    return graph.add("Squeeze", picked, torch.tensor([1]))


def _is_label(graph: Graph, label: str, classes: int) -> str:
    """bool (n, C)."""
    return graph.add("Equal", graph.add("Unsqueeze", label, torch.tensor([1])), torch.arange(classes))


def _log_odds_against(graph: Graph, logits: str, label: str, classes: int) -> str:
    """log((1 − p_ŷ) / p_ŷ), (n,), as `log_odds_against`."""
    others = graph.add("Where", _is_label(graph, label, classes), NO_ODDS, logits)
    summed = graph.add("Squeeze", _log_sum_exp(graph, others), torch.tensor([1]))
    return graph.add("Sub", summed, _at(graph, logits, label))


def _log_sum_exp(graph: Graph, values: str) -> str:
    """Over the last axis, which stays with one entry; by hand, since not every runtime guards against an overflow."""
    highest = graph.add("Max", graph.add("ReduceMax", values, torch.tensor([-1]), keepdims=1), LEAST)
    summed = graph.add("ReduceSum", graph.add("Exp", graph.add("Sub", values, highest)), torch.tensor([-1]), keepdims=1)
    return graph.add("Add", graph.add("Log", summed), highest)


def _sum(graph: Graph, values: str) -> str:
    """Over the last axis, which is gone."""
    return graph.add("ReduceSum", values, torch.tensor([-1]), keepdims=0)


def _transposed(graph: Graph, values: str) -> str:
    return graph.add("Transpose", values, perm=[1, 0])
