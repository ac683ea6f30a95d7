"""Attack a classifier of your own: any `nn.Module`, or function, from images to logits.

python examples/02_own_classifier_attack.py
"""

import torch
from torch import nn
from torch.nn import functional as F

import twinlatent as tl


def train(data: tl.data.LabelledImages, steps: int = 300) -> nn.Module:
    """A small convolutional network, fitted to the images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                            nn.Flatten(), nn.Linear(16 * 4 * 4, 10))  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = data.subset(torch.randint(len(data), (64,)))
        optimiser.zero_grad()
        F.cross_entropy(network(batch.images), batch.labels).backward()
        optimiser.step()
    return network


def main() -> None:
    split = tl.data.load("digits")
    images, labels = split.test.images, split.test.labels
    network = train(split.train)
    with torch.no_grad():
        accuracy = (network(images).argmax(1) == labels).double().mean()
    print(f"{len(images)} test images: accuracy {accuracy:.0%}")

    # The network's parameters, their gradients and its mode are left as they were found.
    for epsilon in (0.05, 0.1, 0.2):
        found = tl.attacks.pgd(network, images, labels, epsilon=epsilon, step_size=epsilon / 4, steps=20)
        change = (found.images - images).abs().max()
        survived = 1 - found.success.double().mean()
        print(f"PGD, ε = {epsilon}: accuracy {survived:.0%}, largest change of a pixel {change:.2f}")


if __name__ == "__main__":
    main()
