"""Settings, tensors and other arguments that are not what they should be, given to the library."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import twinlatent as tl
from faulty.cases import Case, of_call, of_command
from twinlatent.data.prepared_files import check_name
from twinlatent.method.detector import Detector
from twinlatent.method.notation import parse
from twinlatent.method.plans import plan
from twinlatent.settings import override

GREY = torch.full((4, 1, 8, 8), 0.5)
LABELS = torch.tensor([0, 1, 0, 1])


def cases(detector: Detector, folder: Path) -> Iterator[Case]:
    """All of them; little is written below `folder`."""
    settings = tl.GameSettings(encoder="c(3,8) z(6,6)", decoder="d(64)")
    for change in CHANGES:
        yield Case("settings", f"change {change[:40]!r}", partial(of_call, partial(override, settings, [change])))
    for number, text in enumerate(NOTATIONS):
        yield Case("settings", f"layers {number}, {text[:40]!r}", partial(of_call, partial(_planned, text)))
    for name in NAMES:
        yield Case("settings", f"name {name[:40]!r}", partial(of_call, partial(check_name, name, ("mnist",))))
    words = ["train", "digits", "--no-progress", "--preset", "smoke", "--out", folder / "x"]
    for more in OPTIONS:
        yield Case("settings", f"options {' '.join(more)[:40]!r}", partial(of_command, *words, *more))
    for name, images in IMAGES.items():
        yield Case("tensors", f"images {name}", partial(of_call, partial(detector.detect, images)))
    for name, labels in LABELLED.items():
        attack = partial(tl.attacks.pgd, detector, GREY, labels, epsilon=0.1)
        yield Case("tensors", f"labels {name}", partial(of_call, attack))
    split = tl.data.load("digits", progress=False)
    for name, call in calls(detector, split).items():
        yield Case("tensors", name, partial(of_call, call))


def _planned(text: str) -> object:
    return plan(parse(text), (1, 8, 8), "encoder")


CHANGES = (
    "", "=", "=1", "rounds", "rounds=", "rounds=one", "rounds=1.5", "rounds=-1", "rounds=1e400",
    "rounds=nan",
    "rounds=0x10", f"rounds={'9' * 5000}", "rounds=١٢x", "round=1", "Rounds=1", "rounds.x=1", ".rounds=1", "rounds.=1",
    "..=1", "batch=none", "learning_rate=0", "learning_rate=inf", "learning_rate=-1e-3", "optimiser=adamw",
    "encoder=none", "adversary=1", "adversary.=1",
    "adversary.steps=0", "adversary.epsilon=1.1", "adversary.epsilon=-0.1", "adversary.epsilon=nan",
    "adversary.attack=square", "adversary.a.b.c=1", "loss.margin_weight=-1", "loss.nonsense=1", "negatives=none",
    "negatives.surrogate.share=2", "negatives.surrogate.share=nan", "augment.shift=-1", "augment.flip=perhaps",
    "deal=by_chance", "weights=wide", "checkpoint_every=0", "rounds=1\n2", "\0=1", "rounds=\ud800",
)  # fmt: skip
"""Of settings, as `--set` takes them."""

NOTATIONS = (
    "", " ", "-", "|", "()", ")", "(", "c", "c()", "c(,)", "c(3)", "c(3,)", "c(3,8,1,1)", "c(0,8)", "c(3,0)", "c(-3,8)",
    "c(3.0,8)", "c(٣,8)(", "c(3,8", "c 3,8", "C(3,8) z(1,1)", "z", "z(1)", "z(0,1)", "z(1,1) z(1,1)", "sm(10)", "d(9)",
    "c(3,8)", "0(c(3,8)) z(1,1)", "(c(3,8)) z(1,1)", "2() z(1,1)", "2(z(1,1))", "2(c(3,8) z(1,1)", "1001(bn) z(1,1)",
    "99999999999999999999(bn) z(1,1)", "2(" * 25 + "bn" + ")" * 25 + " z(1,1)", "(" * 5000, "2(" * 5000,
    "c(99999999,1) z(1,1)",
    "| z(1,1)", "z(1,1) |", "c(3,8) | | z(1,1)", "2(c(3,8) | bn) z(1,1)", "mp(99) z(1,1)", "cv(9,8) z(1,1)",
    "ct(3,8) q",
    "ramp(0) z(1,1)", "bn(3) z(1,1)", "c(3,8)\0z(1,1)", "ｃ(3,8) z(1,1)", "c(３,8)x z(1,1)", "🙂", "c(3,8);z(1,1)",
    "c(3,8) z(1,1)" + " bn" * 3000, "x" * 100_000,
)  # fmt: skip
"""Of layers of an encoder of grey images of 8×8 pixels."""

NAMES = (
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "../a",
    "a b",
    "-a",
    "_a",
    "ä",
    "a" * 65,
    "mnist",
    "MNIST",
    "a\0",
    "a\n",
    "a.npz",
)

OPTIONS: tuple[tuple[str, ...], ...] = (
    ("--recipe", "nosuch"), ("--recipe", "."), ("--recipe", "/dev/null"), ("--preset", ""), ("--method", "GONG"),
    ("--method", ""), ("--attack", "fgsm2"), ("--start", "nosuch"), ("--device", ""), ("--device", "cuda:99"),
    ("--device", "cpu:-1"), ("--channels", "3"), ("--background", "nocolour"), ("--size", "16"), ("--thresholds",
    "both"),
    ("--label-rule", ""), ("--method", "gong", "--score", "ratio"), ("--method", "gong", "--set", "adversary.steps=1"),
    ("--classifier", "nowhere.py:build"), ("--classifier", "math:pi"), ("--set", "seed=1"),
)  # fmt: skip
"""Of a training of digits."""


class _Items(Dataset[Any]):
    """A Dataset of whatever."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Any:
        return self._items[number]


def _changed(value: float) -> torch.Tensor:
    images = GREY.clone()
    images[2, 0, 3, 4] = value
    return images


IMAGES: dict[str, Any] = {
    "None": None, "a text": "images", "a number": 0.5, "a list": GREY.tolist(), "a dictionary": {"images": GREY},
    "no dimension": torch.tensor(0.5), "one dimension": GREY.flatten(), "three": GREY[:, 0], "five": GREY[None],
    "other channels": GREY.expand(-1, 3, -1, -1), "other sizes": GREY[..., :7], "turned": torch.zeros(4, 8, 8, 1),
    "NaN": _changed(torch.nan), "infinite": _changed(torch.inf), "below": _changed(-0.01), "above": _changed(1.01),
    "bytes": (GREY * 255).byte(), "whole numbers": GREY.long(), "bool": GREY.bool(),
    "complex": GREY.to(torch.complex64),
    "sparse": GREY.to_sparse(), "meta": GREY.to("meta"),
    "objects": np.array([[None]]), "texts": np.array(["a"]),
    "dates": np.zeros((4, 1, 8, 8), "M8[s]"), "fields": np.zeros(4, [("a", "f4")]), "masked NaN": np.full((4, 1, 8, 8),
    np.nan),
    "a Dataset of texts": _Items("a", "b"), "a Dataset of None": _Items(None), "an empty Dataset": _Items(),
    "a Dataset of sizes": _Items(GREY[0], GREY[0, :, :5]),
    "a Dataset of triples": _Items((GREY[0], 1, 2)), "a shuffled DataLoader": DataLoader(_Items(*GREY), shuffle=True),
}  # fmt: skip
"""For `detect` of grey images of 8×8 pixels."""

LABELLED: dict[str, Any] = {
    "None": None, "a text": "labels", "a number": 1, "floats": LABELS.double(), "bool": LABELS.bool(),
    "too few": LABELS[:3],
    "too many": torch.zeros(5, dtype=torch.int64), "below": LABELS - 1, "beyond": LABELS + 10,
    "two dimensions": LABELS[None],
    "NaN": torch.full((4,), torch.nan), "texts": np.array(list("abcd")), "complex": LABELS.to(torch.complex64),
    "huge": LABELS + 2**62, "one hot": torch.eye(10)[LABELS],
}  # fmt: skip
"""For an attack on four images."""


def calls(detector: Detector, split: tl.data.Split) -> dict[str, Callable[[], object]]:
    """Calls of other functions, by name."""
    pgd = partial(tl.attacks.pgd, detector, GREY, LABELS)
    suite = partial(tl.attacks.run_suite, {"a": tl.attacks.Suite("quick", epsilon=0.1).attacks()["fgsm"]}, detector,
    GREY,
                    LABELS, criterion=tl.criteria.Misclassified(), norm="linf")  # fmt: skip
    fpr = {f"fpr {value!r}"[:40]: partial(detector.detect, GREY, value)
           for value in (0, 1, -0.1, 1.1, torch.nan, None, "0.05", True, 1e-9, [0.05], torch.tensor([0.05,
           0.1]))}  # fmt: skip
    radii = {
        f"epsilon {value!r}"[:40]: partial(pgd, epsilon=value) for value in (-0.1, 2, torch.nan, torch.inf, None, "a")
    }
    models = {
        f"model {name}": partial(tl.attacks.pgd, model, GREY, LABELS, epsilon=0.1)
        for name, model in {
            "None": None, "a text": "mnist-mim",
            "of one logit": lambda x: x.flatten(1)[:, :1], "of other rows": lambda x: x.flatten(1)[:2, :10],
            "without gradient": lambda x: x.detach().flatten(1)[:, :10], "of texts": str,
            "of probabilities": lambda x: x.flatten(1)[:, :10].softmax(1),
            "of whole numbers": lambda x: x.flatten(1).long(),
        }.items()
    }  # fmt: skip
    return {
        **fpr, **radii, **models,
        "steps of 0": partial(pgd, epsilon=0.1, steps=0), "seed below 0": partial(pgd, epsilon=0.1, seed=-1),
        "seed of 2⁶⁴": partial(pgd, epsilon=0.1, seed=2**64), "seed of a text": partial(pgd, epsilon=0.1, seed="a"),
        "suite of a norm": partial(suite, norm="l1", epsilon=0.1), "batches of 0": partial(suite, epsilon=0.1,
        batch_size=0),
        "suite of no attack": partial(tl.attacks.run_suite, {}, detector, GREY, LABELS,
                                      criterion=tl.criteria.Misclassified(), norm="linf", epsilon=0.1),
        "suite of a name": partial(tl.attacks.Suite, "huge", epsilon=0.1), "score": partial(detector.with_score,
        "guess"),
        "device": partial(detector.to, "nowhere"), "bounds of 0": partial(detector.bounds, 0),
        "evaluate digits": partial(tl.evaluate, detector, "digits"), "evaluate None": partial(tl.evaluate, None, split),
        "evaluate by nothing": partial(tl.evaluate, detector, split, suite="nosuch"),
        "evaluate no images": partial(tl.evaluate, detector, split, images=0),
        "evaluate unknown": partial(tl.evaluate, detector, split, nonsense=1),
        "evaluate in bytes": partial(tl.evaluate, detector, split, suite="none", folder=b"x"),
        "load None": partial(tl.load, None), "load bytes": partial(tl.load, b"x"), "load a number": partial(tl.load, 3),
        "data None": partial(tl.data.load, None), "data of a seed": partial(tl.data.load, "digits", seed=1.5),
        "calibrate on one": partial(tl.calibrate, detector, GREY[:0]), "fit on one class": partial(tl.fit, GREY,
        LABELS * 0),
        "fit on labels beyond": partial(tl.fit, GREY, LABELS * 5), "save into bytes": partial(detector.save, b"x"),
        "normalised by 0": partial(tl.Normalised, torch.nn.Identity(), [0.5], [0.0]),
    }  # fmt: skip
