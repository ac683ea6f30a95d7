"""The example of other people's classifiers: each has the accuracy that its docstring states, on all test images."""

import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import twinlatent as tl
from twinlatent.data import LabelledImages

PATH = Path(__file__).resolve().parent.parent / "examples" / "classifiers" / "strangers.py"
DATA = Path(os.environ.get("TWINLATENT_DATA") or "nowhere")
here = pytest.mark.skipif(not (DATA / "strangers").is_dir(), reason="needs the strangers' files in TWINLATENT_DATA")
TRAINED_ON = {"pgd_madry": "mnist", "trades": "mnist", "mnist_8": "mnist", "fashion": "fashion-mnist",
              "resnet_56": "cifar10", "resnet_4b": "cifar10"}  # fmt: skip


@pytest.fixture(scope="module")
def strangers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("strangers", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stated(loader: Callable[[], nn.Module]) -> float:
    found = re.search(r"accuracy (\.\d{4})\.", loader.__doc__ or "")
    assert found is not None
    return float(found[1])


def test_each_loader_states_an_accuracy(strangers: ModuleType) -> None:
    for name in TRAINED_ON:
        assert 0.7 < stated(getattr(strangers, name)) < 1


def test_architectures_take_the_images_of_their_data(strangers: ModuleType) -> None:
    for network, channels, side in ((strangers.SmallCNN(), 1, 28), (strangers.ResNet56(), 3, 32)):
        assert network.eval()(torch.zeros(2, channels, side, side)).shape == (2, 10)


def test_a_file_that_is_missing_or_another_is_named_with_its_source(
    strangers: ModuleType, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(strangers, "FOLDER", tmp_path)
    source = r"it is MNIST/models/pgd_madry\.pth of locuslab/fast_adversarial on GitHub, commit 54f72875"
    with pytest.raises(tl.TwinlatentError, match=rf"fast-pgd_madry\.pth is not there; {source}"):
        strangers.pgd_madry()
    (tmp_path / "fast-pgd_madry.pth").write_bytes(b"other")
    with pytest.raises(tl.TwinlatentError, match=rf"fast-pgd_madry\.pth is another file; {source}"):
        strangers.pgd_madry()


def images_of(name: str) -> LabelledImages:
    if name != "cifar10":
        return tl.data.load(name, fetch=False, progress=False).test
    with np.load(DATA / "cifar10" / "test.npz") as file:
        pixels = torch.from_numpy(file["images"]).permute(0, 3, 1, 2).float() / 255
        return LabelledImages(pixels, torch.from_numpy(file["labels"]).long())


@here
@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED_ON)
def test_a_classifier_has_its_stated_accuracy(name: str, strangers: ModuleType) -> None:
    if name in ("mnist_8", "fashion", "resnet_4b"):
        pytest.importorskip("onnx", reason="needs the extra onnx")
    loader = getattr(strangers, name)
    network, test = loader(), images_of(TRAINED_ON[name])
    with torch.no_grad():
        labels = torch.cat([network(batch).argmax(1) for batch in test.images.split(250)])
    assert len(test) == 10_000
    assert (labels == test.labels).double().mean().item() == pytest.approx(stated(loader), abs=2e-4)
