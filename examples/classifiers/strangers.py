"""Six classifiers that other people trained, each as a function that loads it: judge them with log-odds rejection.

TWINLATENT_DATA=/data twinlatent evaluate examples/classifiers/strangers.py:trades mnist --rejecting

Their files lie in the folder `strangers` of the data folder, under the names below; its README says where each comes
from, and under which licence. The architectures are restated here; ONNX files bring theirs along. All take images in
[0, 1], in the channels' order of the data set.
"""

import os
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl

FOLDER = Path(os.environ.get("TWINLATENT_DATA", "")) / "strangers"


def pgd_madry() -> nn.Module:
    """MNIST, adversarially trained by PGD at ε .3 (Wong et al. 2020, fast_adversarial): accuracy .9899."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    return with_weights(network, "fast-pgd_madry.pth")


def trades() -> nn.Module:
    """MNIST, adversarially trained by TRADES at ε .3 (Zhang et al. 2019): accuracy .9948."""
    return with_weights(SmallCNN(), "trades-model_mnist_smallcnn.pt")


def mnist_8() -> nn.Module:
    """MNIST, natural, of the ONNX model zoo, a graph of one image: accuracy .9890."""
    return tl.from_onnx(FOLDER / "zoo-mnist-8.onnx")


def fashion() -> nn.Module:
    """Fashion-MNIST, natural (edwin19, torch_fashion_mnist_onnx), answers with log-probabilities: accuracy .9015."""
    return tl.from_onnx(FOLDER / "edwin19-fashion_mnist.onnx")


def resnet_56() -> nn.Module:
    """CIFAR-10, natural (Idelbayev, pytorch_resnet_cifar10): accuracy .9339."""
    network = with_weights(ResNet56(), "akamaster-resnet56-4bfd9763.th")
    return tl.Normalised(network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resnet_4b() -> nn.Module:
    """CIFAR-10, adversarially trained at ε 2/255 (VNN-COMP 2021), a graph of one image: accuracy .7720."""
    network = tl.from_onnx(FOLDER / "vnncomp-cifar10-resnet_4b.onnx")
    return tl.Normalised(network, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def with_weights(network: nn.Module, file: str) -> nn.Module:
    """The network with a file's weights; the file may hold no code."""
    weights = torch.load(FOLDER / file, map_location="cpu", weights_only=True)
    weights = weights.get("state_dict", weights)
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in weights.items()})
    return network.eval()


class SmallCNN(nn.Module):
    """Four convolutions and three dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(OrderedDict(
            conv1=nn.Conv2d(1, 32, 3), relu1=nn.ReLU(), conv2=nn.Conv2d(32, 32, 3), relu2=nn.ReLU(),
            maxpool1=nn.MaxPool2d(2), conv3=nn.Conv2d(32, 64, 3), relu3=nn.ReLU(), conv4=nn.Conv2d(64, 64, 3),
            relu4=nn.ReLU(), maxpool2=nn.MaxPool2d(2),
        ))  # fmt: skip
        self.classifier = nn.Sequential(OrderedDict(
            fc1=nn.Linear(1024, 200), relu1=nn.ReLU(), drop=nn.Dropout(), fc2=nn.Linear(200, 200), relu2=nn.ReLU(),
            fc3=nn.Linear(200, 10),
        ))  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.feature_extractor(images).flatten(1))


class Block(nn.Module):
    """Two convolutions and a shortcut, which drops every other pixel and adds empty channels where sizes change."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.stride, self.empty = stride, (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.empty, self.empty))
        return F.relu(y + shortcut)


class ResNet56(nn.Module):
    """Three stages of nine blocks (He et al. 2016, section 4.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def stage(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after, stride), *(Block(after, after, 1) for _ in range(8)))
