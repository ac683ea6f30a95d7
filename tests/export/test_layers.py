"""Layers as nodes: ONNX Runtime against our own layers, each in a network of its own."""

import pytest
import torch
from torch import Tensor, nn

from twinlatent.export.graph import IMAGES, Graph
from twinlatent.export.layers import Layers, latent_means, plain
from twinlatent.method.class_vaes import ClassEncoders, ClassNetworks
from twinlatent.method.networks import PlainNetwork
from twinlatent.method.plans import Activation, BatchNorm, Conv, Deconv, Dense, Pool, Ramp, Reshape, plan

CLASSES = 3
NETWORKS = [  # notation, role, shape of a sample
    ("3(c(4,3)) z(2,2)", "encoder", (1, 8, 8)),  # strides, unlike padding
    ("3(c(4,3)) z(2,2)", "encoder", (1, 7, 7)),
    ("c(2,3,3) c(1,2,2) z(2,2)", "encoder", (1, 10, 10)),  # kernels smaller than the stride
    ("2(c(4,3)-bn-relu-mp(2)) c(3,4)-bn-relu-z(2,2)", "encoder", (1, 8, 8)),
    ("c(9,2,1) c(3,8,1) c(8,3,1) z(2,2)", "encoder", (1, 10, 10)),  # ours by thin convolutions and by spectra
    ("c(3,8,1) cv(9,2) z(1,1)", "encoder", (1, 10, 10)),
    ("c(3,4) mp(2) bn c(3,4) z(2,2)", "encoder", (1, 9, 9)),  # rows are left over; a normalisation by itself
    ("bn c(3,3) z(2,2)", "encoder", (1, 6, 6)),
    ("2(c(4,5)) c(3,8,1) z(2,2)", "encoder", (3, 6, 10)),  # of colours, wider than high
    ("ramp(3) c(3,3) z(2,2)", "encoder", (2, 6, 6)),
    ("c(3,2) ramp(2) z(2,2)", "encoder", (1, 6, 6)),
    ("mp(2) c(3,3)-relu d(5) z(2,2)", "encoder", (1, 9, 9)),
    ("d(6) d(5) z(2,2)", "encoder", (1, 6, 6)),
    ("d(6)-bn-relu z(2,2)", "encoder", (1, 6, 6)),
    ("d(16)-relu c(3,2) z(2,2)", "encoder", (1, 6, 6)),  # from features to maps
    ("c(3,2) ct(4,3) z(2,2)", "encoder", (1, 6, 6)),
    ("z(2,2)", "encoder", (1, 6, 6)),
    ("d(6) d(9) 2(ct(4,3)) d(64)", "decoder", (3,)),  # leaky ReLU, transposed convolutions, sigmoid
    ("d(4) ct(3,3) ct(5,2,3) d(36)", "decoder", (2,)),
    ("ct(4,3) d(16)", "decoder", (4,)),  # the sample itself is the first map
]


def networks_of(module: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics, scales and shifts that differ from class to class."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in [*module.buffers(), *module.parameters()]:
            if value.is_floating_point():
                value.add_(0.2 * torch.rand(value.shape, generator=generator) - 0.1)
    return module.eval()


@pytest.fixture
def samples(real_images):
    def make(shape: tuple[int, ...]) -> Tensor:
        if len(shape) == 3:
            return real_images(4, shape[1:], shape[0])
        return (real_images(4).flatten(1)[:, 9 : 9 + 6 * shape[0] : 6] * 4 - 2).contiguous()

    return make


@pytest.mark.parametrize("classes", [1, CLASSES])
@pytest.mark.parametrize(("text", "role", "shape"), NETWORKS, ids=[f"{text} {shape}" for text, _, shape in NETWORKS])
@torch.no_grad()
def test_layers_give_what_ours_give(text, role, shape, classes, samples, run) -> None:
    networks = networks_of(ClassNetworks(plan(text, shape, role), classes, torch.Generator().manual_seed(0)))
    graph, x = Graph(), samples(shape)
    found = run(graph, Layers(graph, networks).all(IMAGES), x)
    torch.testing.assert_close(found, networks(x), rtol=1e-4, atol=1e-5)
    assert found.std() > 1e-3


def test_the_rows_have_every_operation_of_a_plan() -> None:
    seen = {type(operation) for row in NETWORKS for operation in plan(row[0], row[2], row[1]).operations}
    assert seen == {Conv, Deconv, Dense, Pool, BatchNorm, Ramp, Activation, Reshape}
    names = {each.name for row in NETWORKS for each in plan(row[0], row[2], row[1]).operations
             if isinstance(each, Activation)}  # fmt: skip
    assert names == {"relu", "leaky", "sigmoid"}


@pytest.mark.parametrize("text", ["c(3,4) z(3,2)", "c(3,4) | c(3,2) z(3,2)", "c(3,4)-bn-relu-d(6) | d(5) z(3,2)",
                                  "d(16) | c(3,2) z(3,2)", "c(3,4) | z(3,2)", "ramp(2) | mp(2) z(3,2)"])  # fmt: skip
@torch.no_grad()
def test_means_are_those_of_the_encoders_with_and_without_a_trunk(text, real_images, run) -> None:
    encoders = networks_of(ClassEncoders(plan(text, (1, 8, 8), "encoder"), CLASSES, torch.Generator().manual_seed(0)))
    images, wanted = real_images(5), None
    for part in (0, 1):
        graph, latents = Graph(), encoders(images)
        wanted = (latents.robust, latents.vulnerable)[part].mean
        found = run(graph, latent_means(graph, encoders, IMAGES)[part], images)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [None, -1])
@torch.no_grad()
def test_one_network_alone_and_its_hidden_layer(layers, real_images, run) -> None:
    network = networks_of(PlainNetwork(plan("c(3,4)-bn-relu-mp(2) d(6) sm(3)", (1, 8, 8), "classifier")))
    images, graph = real_images(5), Graph()
    wanted = images
    for layer in network.layers[:layers]:
        wanted = layer(wanted)
    found = run(graph, plain(graph, network, IMAGES, layers), images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
