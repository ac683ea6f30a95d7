"""A first look at an attacker who knows the detector: how often is a test image misread *and* passed at 5 %?

For every wrong class, MIM raises minus the suspicion of that class, which is what the detector's label and verdict
both come from under the `ratio` rule and score; an image counts when any iterate towards any class is misread and not
flagged. Thresholds are the detector's own, from calibration images.

    python experiments/adaptive_check.py mnist-mim --images 200 --out results/mnist-adaptive.json
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.attacks.balls import LInf
from twinlatent.attacks.steps import SignStep
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.records import Record, write_records
from twinlatent.outputs import at_label
from twinlatent.progress import bar
from twinlatent.provenance import provenance

FPR, DECAY, STRIDE = 0.05, 0.75, 4.0


def passed(detector: tl.Detector, images: Tensor, labels: Tensor, epsilon: float, steps: int, name: str) -> Tensor:
    """Which images (n,) are misread and not flagged at some iterate."""
    thresholds, ball = detector.calibration.thresholds(FPR), LInf(epsilon)
    step, found = SignStep(STRIDE * epsilon / steps, DECAY), torch.zeros(len(images), dtype=torch.bool)
    with bar(name, detector.classes - 1) as shown:
        for shift in range(1, detector.classes):
            target, x, momentum = (labels + shift) % detector.classes, images, torch.zeros_like(images)
            for _ in range(steps + 1):
                x = x.detach().requires_grad_()
                outputs = detector.outputs(x)
                found |= (outputs.labels != labels) & (outputs.suspicion_of_label <= thresholds[outputs.labels])
                (gradient,) = torch.autograd.grad(-at_label(outputs.suspicion, target).sum(), x)
                direction, momentum = step.direction(gradient, momentum)
                x = ball.project(x.detach() + direction, images)
            shown.advance()
    return found


def main() -> None:
    """Measure over several ε and write the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    detector = tl.load(options.model)
    split = tl.data.load(detector.card["data"]["name"])
    test = split.test.subset(slice(options.images))
    origin, records = provenance(), []
    for epsilon in options.epsilon:
        began = time.monotonic()
        found = passed(detector, test.images, test.labels, epsilon, options.steps, f"ε {epsilon:g}")
        share = rate(int(found.sum()), len(found))
        print(f"ε {epsilon:g}: {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] misread and passed, n = {share.n}")
        records.append(Record(data=split.name, method="twinlatent", attack="mim", epsilon=epsilon, metric="sr@5",
                              trained_with=detector.card["training"]["adversary"]["attack"], seed=0,
                              score=detector.settings.score, budget=f"adaptive-{options.steps}-steps-every-class",
                              seconds=round(time.monotonic() - began, 1), **vars(share),
                              **origin.model_dump()))  # fmt: skip
    write_records(options.out, records)


if __name__ == "__main__":
    main()
