"""Feature squeezing (Xu, Evans and Qi 2018), restated: an image is suspicious if squeezing it changes the answer.

twinlatent evaluate examples/06_feature_squeezing.py:build digits --suite quick --images 50 --substitute f_p
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl


def one_bit(images: Tensor) -> Tensor:
    """Each pixel black or white: the squeezer of the paper for grey digits; no gradient."""
    return images.round()


def median(images: Tensor) -> Tensor:
    """The median of 2×2 pixels, the lower of the middle two, as in torch."""
    rows = F.pad(images, (0, 1, 0, 1), mode="replicate").unfold(2, 2, 1).unfold(3, 2, 1)
    return rows.flatten(4).median(4).values


class FeatureSqueezing(nn.Module):
    """The largest change of the probabilities in L1, over the squeezers."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
        self.coarse = tl.attacks.bpda(self.network, one_bit)  # rounds forwards; backwards as if it did not

    def forward(self, images: Tensor) -> tl.Outputs:
        logits = self.network(images)
        squeezed = (self.coarse(images).logits, self.network(median(images)))
        changes = [(logits.softmax(1) - other.softmax(1)).abs().sum(1) for other in squeezed]
        return tl.Outputs(logits, torch.stack(changes).amax(0))


def build() -> nn.Module:
    """The detector on a small classifier, trained in a second."""
    torch.manual_seed(0)
    detector, train = FeatureSqueezing(), tl.data.load("digits", progress=False).train
    optimiser = torch.optim.Adam(detector.network.parameters(), 0.01)
    for _ in range(100):
        optimiser.zero_grad()
        F.cross_entropy(detector.network(train.images), train.labels).backward()
        optimiser.step()
    return detector.eval()


if __name__ == "__main__":
    few = {"images": 20, "subset": 20, "blackbox_images": 20, "substitutes": ["f_p"], "radii": (0.5, 1)}
    print(tl.evaluate(build(), tl.data.load("digits", progress=False), suite="quick", epsilon=0.2, steps=5,
                      condition_radii=(0.2,), judges={"steps": 50}, progress=False, **few))  # fmt: skip
