"""Mahalanobis distances in a network's features (Lee et al. 2018, without weights of layers and steps on the image).

twinlatent evaluate examples/07_mahalanobis.py:build digits --suite quick --images 50 --substitute f_p
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl


class Mahalanobis(nn.Module):
    """Features of each class as Gaussians with means of their own and one covariance, at two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
                                     nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU())])  # fmt: skip
        self.last = nn.Linear(32, 10)

    def features(self, images: Tensor) -> list[Tensor]:  # channels' means of the first layer, all of the second
        first = self.layers[0](images)
        return [first.mean((2, 3)), self.layers[1](first)]

    @torch.no_grad()
    def measure(self, images: Tensor, labels: Tensor) -> None:
        """Means and precision of each layer, on training images; as buffers they move and are saved with the rest."""
        for number, rows in enumerate(self.features(images)):
            means = torch.stack([rows[labels == c].mean(0) for c in range(10)])
            covariance = (rows - means[labels]).T.cov() + 1e-3 * torch.eye(rows.shape[1])
            self.register_buffer(f"means{number}", means)
            self.register_buffer(f"precision{number}", covariance.inverse())

    def forward(self, images: Tensor) -> tl.Outputs:
        rows, squares = self.features(images), []
        for number, layer in enumerate(rows):
            apart = layer[:, None] - self.get_buffer(f"means{number}")  # (n, 10, features): from each class
            squares.append(torch.einsum("ncf,fg,ncg->nc", apart, self.get_buffer(f"precision{number}"), apart))
        return tl.Outputs(self.last(rows[1]), squares[0] + squares[1])  # column c holds if c is the prediction


def build() -> nn.Module:
    """The detector on a small classifier, trained in a second."""
    torch.manual_seed(0)
    detector, train = Mahalanobis(), tl.data.load("digits", progress=False).train
    optimiser = torch.optim.Adam(detector.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(detector.last(detector.features(train.images)[1]), train.labels).backward()
        optimiser.step()
    detector.measure(train.images, train.labels)
    return detector.eval()


if __name__ == "__main__":
    few = {"images": 20, "subset": 20, "blackbox_images": 20, "substitutes": ["f_p"], "radii": (0.5, 1)}
    print(tl.evaluate(build(), tl.data.load("digits", progress=False), suite="quick", epsilon=0.2, steps=5,
                      condition_radii=(0.2,), judges={"steps": 50}, progress=False, **few))  # fmt: skip
