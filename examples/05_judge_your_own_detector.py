"""Judge a detector of your own in one call: feature squeezing (Xu et al. 2018) on a small classifier.

python examples/05_judge_your_own_detector.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl


class Squeezed(nn.Module):
    """Suspicious is an image whose answer changes when it is blurred."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))

    def forward(self, images: Tensor) -> tl.Outputs:
        logits, blurred = self.network(images), self.network(F.avg_pool2d(images, 3, 1, 1))
        change = (logits.softmax(1) - blurred.softmax(1)).abs().sum(1)
        return tl.Outputs(logits, change[:, None].expand_as(logits))  # the same whatever the prediction


def main() -> None:
    split = tl.data.load("digits", progress=False)
    torch.manual_seed(0)
    detector = Squeezed()
    optimiser = torch.optim.Adam(detector.parameters(), 0.01)
    for _ in range(100):
        optimiser.zero_grad()
        F.cross_entropy(detector(split.train.images).logits, split.train.labels).backward()
        optimiser.step()

    # A small budget, to show how things fit together; leave all but the first line out for numbers to quote.
    report = tl.evaluate(detector, split, name="feature squeezing", epsilon=0.2, progress=False,
                         suite="quick", steps=10, images=50, subset=20, blackbox_images=50, substitutes=["f_p"],
                         radii=(0.5, 1), condition_radii=(0.2,), judges={"steps": 50})  # fmt: skip
    print(report)
    print(f"the worst attack wins {report.sr(fpr=0.05).value:.0%} of {report.sr(fpr=0.05).n} images")


if __name__ == "__main__":
    main()
