"""A first look at an attacker who knows the detector: how often is a test image misread *and* passed at 5 %?

For every wrong class, momentum steps raise minus the suspicion of that class, from which the label and the verdict
both come under the `ratio` rule and score. The first iterate that is misread and not flagged is kept, and what counts
is what `detect` says of the kept images afterwards. ε = 0 is the share of benign images that count without any attack.

    python experiments/adaptive_check.py mnist-mim --images 200 --out results/mnist-mim-adaptive.json
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
from twinlatent.evaluation.split_of import split_of
from twinlatent.outputs import at_label
from twinlatent.progress import bar
from twinlatent.provenance import provenance

FPR, DECAY, STRIDE = 0.05, 0.75, 4.0


def search(detector: tl.Detector, images: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    """Images in the ball that are misread and not flagged where some were found, else the images as they were."""
    thresholds, ball, step = (
        detector.calibration.thresholds(FPR),
        LInf(epsilon),
        SignStep(STRIDE * epsilon / steps, DECAY),
    )
    kept, found = images.clone(), torch.zeros(len(images), dtype=torch.bool)
    with bar(f"ε {epsilon:g}", detector.classes - 1) as shown:
        for shift in range(1, detector.classes):
            target, x, momentum = (labels + shift) % detector.classes, images, torch.zeros_like(images)
            for _ in range(steps + 1):
                x = x.detach().requires_grad_()
                outputs = detector.outputs(x)
                passed = (outputs.labels != labels) & (outputs.suspicion_of_label <= thresholds[outputs.labels])
                kept[passed & ~found] = x.detach()[passed & ~found]
                found |= passed
                (gradient,) = torch.autograd.grad(-at_label(outputs.suspicion, target).sum(), x)
                direction, momentum = step.direction(gradient, momentum)
                x = ball.project(x.detach() + direction, images)
            shown.advance()
    return kept


def main() -> None:
    """Measure over several ε and write the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    origin, records = provenance(), []
    detector = tl.load(options.model).using(label_rule="ratio", score="ratio")
    split = split_of(detector)
    test = split.test.subset(slice(options.images))
    for epsilon in options.epsilon:
        began = time.monotonic()
        verdict = detector.detect(search(detector, test.images, test.labels, epsilon, options.steps), FPR)
        wins = (verdict.label != test.labels) & ~verdict.adversarial
        share = rate(int(wins.sum()), len(wins))
        print(f"ε {epsilon:g}: {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] misread and passed, n = {share.n}")
        records.append(Record(data=split.short_name, method="twinlatent", attack="adaptive-mim-every-class",
                              trained_with=detector.card["training"]["adversary"]["attack"], epsilon=epsilon,
                              score="ratio", metric="sr@5", seed=0, budget=f"{options.steps} steps",
                              seconds=round(time.monotonic() - began, 1), **vars(share),
                              **origin.model_dump()))  # fmt: skip
    write_records(options.out, records)


if __name__ == "__main__":
    main()
