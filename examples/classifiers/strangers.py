"""Six classifiers that other people trained, each as a function that loads it: judge them with log-odds rejection.

TWINLATENT_DATA=/data twinlatent evaluate examples/classifiers/strangers.py:trades mnist --rejecting

Their files lie in the folder `strangers` of the data folder, under the names below; `SOURCES` says where each comes
from. The architectures are restated here; ONNX files bring theirs along. All take images in [0, 1], in the channels'
order of the data set.
"""

import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl

FOLDER = Path(os.environ.get("TWINLATENT_DATA", "")) / "strangers"
SOURCES = {  # file -> repository on GitHub, path in it, commit, SHA-256
    "fast-pgd_madry.pth": (
        "locuslab/fast_adversarial", "MNIST/models/pgd_madry.pth", "54f728755e71857b632882ba6d6cef22f56e2172",
        "877b74b1d2bf22a2ea958f7d8c892c02710e7c84627d14b44b1c67046fcd5a79",
    ),
    "trades-model_mnist_smallcnn.pt": (
        "yaodongyu/TRADES", "checkpoints/model_mnist_smallcnn.pt", "f94f41489ffe9e4486558bf01ff34e1fb8d55490",
        "5b99888064f692047d5592b38df2dde126aa1b991a26c6aad683ce709634bea0",
    ),
    "zoo-mnist-8.onnx": (
        "EMCLab-Sinica/Stateful-CNN", "models/mnist-8.onnx", "23c1a21c83d0c82cf992ebe4a261946f95f63e2c",
        "ddd007b8b9b1e79c323e0b090266409dc73ba8e137c192a163148c908222ed11",
    ),
    "edwin19-fashion_mnist.onnx": (
        "edwin-19/torch_fashion_mnist_onnx", "fashion_mnist.onnx", "3d6e6f3005faca2f6d55d8cccd54ce761e0be024",
        "1e1930b6fb1ea08184d9bcfee147da5cb3fb8c482571199d72ee55b822c53a92",
    ),
    "akamaster-resnet56-4bfd9763.th": (
        "akamaster/pytorch_resnet_cifar10", "pretrained_models/resnet56-4bfd9763.th",
        "d5489e8995e81e91ce6b1d69dcc98ad579b0b153", "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
    ),
    "vnncomp-cifar10-resnet_4b.onnx": (
        "stanleybak/vnncomp2021", "benchmarks/cifar10_resnet/onnx/resnet_4b.onnx",
        "90419aadcf06cf543ce5c1706cae1059dc9fa6cf", "04829063afaa10e7c8332202c87162e9a4ce905c54137da212fb07bb92bc1a25",
    ),
}  # fmt: skip


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
    return tl.from_onnx(there("zoo-mnist-8.onnx"))


def fashion() -> nn.Module:
    """Fashion-MNIST, natural (edwin19, torch_fashion_mnist_onnx), answers with log-probabilities: accuracy .9015."""
    return tl.from_onnx(there("edwin19-fashion_mnist.onnx"))


def resnet_56() -> nn.Module:
    """CIFAR-10, natural (Idelbayev, pytorch_resnet_cifar10): accuracy .9339."""
    network = with_weights(ResNet56(), "akamaster-resnet56-4bfd9763.th")
    return tl.Normalised(network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resnet_4b() -> nn.Module:
    """CIFAR-10, adversarially trained at ε 2/255 (VNN-COMP 2021), a graph of one image: accuracy .7720."""
    network = tl.from_onnx(there("vnncomp-cifar10-resnet_4b.onnx"))
    return tl.Normalised(network, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def there(file: str) -> Path:
    """Where the file lies; an error that says where it comes from if it is not there, or is another."""
    path, (repository, inside, commit, checksum) = FOLDER / file, SOURCES[file]
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    if found != checksum:
        fault = "is not there" if found is None else "is another file"
        raise tl.TwinlatentError(f"{path} {fault}; it is {inside} of {repository} on GitHub, commit {commit}")
    return path


def with_weights(network: nn.Module, file: str) -> nn.Module:
    """The network with a file's weights; the file may hold no code."""
    weights = torch.load(there(file), map_location="cpu", weights_only=True)
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
