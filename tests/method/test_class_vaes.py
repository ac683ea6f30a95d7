"""All classes at once against each class by itself: the separate `PlainNetwork`s are the oracle."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.errors import TwinlatentError
from twinlatent.method.class_vaes import (
    LOG_VARIANCE_RANGE,
    ClassEncoders,
    ClassNetworks,
    ClassVAEs,
)
from twinlatent.method.convolutions import THIN_CHANNELS, thin_conv, transposed_conv
from twinlatent.method.densities import kl_to_standard_normal
from twinlatent.method.networks import PlainNetwork
from twinlatent.method.plans import parameters_of, plan

CLASSES, BATCH = 3, 4

NETWORKS = [  # notation, role, shape of a sample
    ("3(c(4,3)) z(2,2)", "encoder", (1, 8, 8)),
    ("3(c(4,3)) z(2,2)", "encoder", (1, 7, 7)),
    ("c(3,4,2) c(4,3,3) z(2,3)", "encoder", (1, 9, 9)),
    ("c(5,4,3) c(2,3,1) z(3,1)", "encoder", (1, 8, 8)),
    ("c(2,3,3) c(1,2,2) z(2,2)", "encoder", (1, 10, 10)),  # kernels smaller than the stride
    ("c(4,3,1) c(5,2,1) z(2,2)", "encoder", (1, 6, 6)),
    ("c(3,4,2) z(1,1)", "encoder", (2, 5, 5)),
    (f"2(c(3,{THIN_CHANNELS + 1})) z(2,2)", "encoder", (1, 9, 9)),  # the second convolution is not a thin one
    ("2(c(4,3)-bn-relu-mp(2)) c(3,4)-bn-relu-z(2,2)", "encoder", (1, 8, 8)),
    ("c(12,9)-bn-relu-mp(2) c(12,9)-bn-relu-z(2,2)", "encoder", (1, 16, 16)),  # thin and wide, then wide
    ("c(9,2,1) c(3,8,1) c(8,3,1) z(2,2)", "encoder", (1, 10, 10)),  # thin and wide, in no whole number of phases
    ("c(3,8,1) cv(9,2) z(1,1)", "encoder", (1, 10, 10)),  # wide, without padding
    ("bn c(3,3) z(2,2)", "encoder", (1, 6, 6)),
    ("2(c(4,5)) c(3,8,1) z(2,2)", "encoder", (3, 6, 10)),  # of colours, wider than high
    ("c(9,2,1) c(3,8,1) c(8,3,1) z(2,2)", "encoder", (1, 10, 8)),  # thin and wide, then wide, higher than wide
    ("ramp(3) c(3,3) z(2,2)", "encoder", (2, 6, 6)),
    ("c(3,2) ramp(2) z(2,2)", "encoder", (1, 6, 6)),
    ("mp(2) c(3,3)-relu d(5) z(2,2)", "encoder", (1, 9, 9)),
    ("d(6) z(2,2)", "encoder", (1, 6, 6)),
    ("d(6)-bn-relu z(2,2)", "encoder", (1, 6, 6)),
    ("d(6) d(9) 2(ct(4,3)) d(64)", "decoder", (3,)),
    ("d(4) ct(3,3) ct(5,2,3) d(36)", "decoder", (2,)),
    ("d(9)-bn-relu ct(2,3,1) ct(3,1,2)-bn-relu d(25)", "decoder", (3,)),
    ("ct(4,3) d(16)", "decoder", (4,)),  # the sample itself is the first map
    ("d(9) ct(3,2) c(3,4,2) mp(2) d(16)", "decoder", (3,)),
    ("d(16)", "decoder", (3,)),
    ("c(2,3) mp(2) c(3,4) mp(2) d(5) sm(3)", "classifier", (1, 8, 8)),
]


@pytest.fixture
def samples(real_images):
    def make(shape: tuple[int, ...], own: bool) -> Tensor:
        count = CLASSES * BATCH if own else BATCH
        if len(shape) == 3:
            x = real_images(count, shape[1:], shape[0])
        else:
            x = real_images(count).flatten(1)[:, 9 : 9 + 6 * shape[0] : 6] * 4 - 2
        return (x.unflatten(0, (CLASSES, BATCH)) if own else x).clone().requires_grad_()

    return make


MODES = [(*row, training) for row in NETWORKS for training in (False, True)[: 1 + ("bn" in row[0])]]


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize(
    ("text", "role", "shape", "training"), MODES, ids=[f"{row[0]} {row[2]} {'train' * row[3]}" for row in MODES]
)
def test_together_is_the_same_as_one_by_one(text, role, shape, own, training, samples) -> None:
    resolved = plan(text, shape, role)
    together = ClassNetworks(resolved, CLASSES, torch.Generator().manual_seed(0)).train(training)
    with torch.no_grad():  # statistics, scales and shifts that differ from class to class
        for i, value in enumerate([*together.buffers(), *together.parameters()]):
            value.add_(0.2 * torch.rand(value.shape, generator=torch.Generator().manual_seed(i)))
    singles = [together.single(c).double() for c in range(CLASSES)]
    together.double()  # the rounding of float32 depends on the processor
    x = samples(shape, own).detach().double().requires_grad_()
    result = together(x)
    expected = torch.stack([single(x[c] if own else x) for c, single in enumerate(singles)])
    assert result.shape == (CLASSES, BATCH, *resolved.output_shape)
    torch.testing.assert_close(result, expected, atol=1e-9, rtol=1e-9)

    weighting = torch.rand(result.shape, generator=torch.Generator().manual_seed(9)) - 0.3
    ours = torch.autograd.grad((result * weighting).sum(), [x, *together.parameters()])
    each = [list(single.parameters()) for single in singles]
    theirs = torch.autograd.grad((expected * weighting).sum(), [x, *(p for single in each for p in single)])
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-9, rtol=1e-9)
    assert ours[0].abs().max() > 0
    count = len(each[0])
    for i in range(count):
        stacked = torch.stack([theirs[1 + c * count + i] for c in range(CLASSES)])
        torch.testing.assert_close(ours[1 + i], stacked, atol=1e-9, rtol=1e-9)

    for name, value in together.named_buffers():  # running statistics moved, or not, alike
        state = [single.state_dict()[f"layers.{name.replace('_', '.', 1)}"] for single in singles]
        torch.testing.assert_close(value, torch.stack(state), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("text", "role", "shape"), NETWORKS, ids=[f"{row[0]} {row[2]}" for row in NETWORKS])
def test_a_single_network_takes_over_every_parameter(text, role, shape) -> None:
    together = ClassNetworks(plan(text, shape, role), CLASSES, torch.Generator().manual_seed(0))
    state = together.single(1).state_dict()
    named = {f"layers.{name.replace('_', '.', 1)}": value[1] for name, value in together.state_dict().items()}
    assert set(state) - {name for name in state if name.endswith("num_batches_tracked")} == set(named)
    assert all(torch.equal(state[name], value) for name, value in named.items())
    assert repr(together) == text


@pytest.mark.parametrize(("text", "role", "shape"), NETWORKS[:3] + NETWORKS[8:10] + NETWORKS[16:18])
def test_an_answer_does_not_depend_on_the_batch(text, role, shape, samples) -> None:
    together = ClassNetworks(plan(text, shape, role), CLASSES, torch.Generator().manual_seed(0)).eval()
    x = samples(shape, False)
    whole = together(x)
    for i in range(BATCH):
        torch.testing.assert_close(together(x[i : i + 1])[:, 0], whole[:, i], atol=1e-6, rtol=1e-5)


def test_a_copy_is_independent(samples) -> None:
    together = ClassNetworks(plan("3(c(4,3)) z(2,2)", (1, 8, 8), "encoder"), CLASSES, torch.Generator().manual_seed(0))
    x = samples((1, 8, 8), False)
    before = together(x).detach()
    for parameter in together.single(0).parameters():
        parameter.data.zero_()
    assert torch.equal(together(x), before)


# --- initial weights ----------------------------------------------------------------------------------------------


def test_the_generator_decides_the_weights_alone() -> None:
    resolved = plan("3(c(4,3)) z(2,2)", (1, 8, 8), "encoder")
    before = torch.get_rng_state()
    a, b, c = (ClassNetworks(resolved, 2, torch.Generator().manual_seed(seed)).state_dict() for seed in (4, 4, 5))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)


def test_initial_weights_are_uniform_in_fan_in() -> None:
    resolved = plan("c(5,16,1)-bn-relu c(3,16,1) d(50) z(8,8)", (1, 8, 8), "encoder")
    networks = ClassNetworks(resolved, 4, torch.Generator().manual_seed(0))
    fans = {0: 25, 3: 16 * 9, 6: 16 * 64, 8: 50}
    for index, name, _ in parameters_of(resolved):
        value = getattr(networks, f"{index}_{name}").detach()
        if index in fans:
            bound = 1 / math.sqrt(fans[index])
            assert value.abs().max() <= bound
            assert value.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.25)
            assert not torch.equal(value[0], value[1])
        else:
            assert value.eq(1 if name == "weight" else 0).all()


# --- the fast convolutions ----------------------------------------------------------------------------------------

CONVOLUTIONS = [  # kernel, stride, side, inputs a group, filters a group, groups
    (4, 2, 8, 1, 2, 1),
    (4, 2, 7, 1, 2, 2),
    (3, 2, 6, 2, 1, 3),
    (5, 3, 7, 1, 1, 2),
    (2, 3, 7, 1, 2, 2),
    (1, 2, 5, 1, 1, 2),
    (3, 1, 4, 2, 1, 2),
    (9, 1, 8, 1, 2, 2),
    (8, 1, 6, 2, 1, 1),
]


@pytest.mark.parametrize(("kernel", "stride", "side", "inputs", "filters", "groups"), CONVOLUTIONS)
def test_thin_conv_passes_gradcheck(kernel, stride, side, inputs, filters, groups, generator) -> None:
    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    size = -(-side // stride)
    missing = max((size - 1) * stride + kernel - side, 0)
    padding = missing // 2, missing - missing // 2
    x, weight = random(2, groups * inputs, side, side), random(groups * filters, inputs, kernel, kernel)
    bias = random(groups * filters)

    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return thin_conv(x, weight, bias, stride, padding, groups)

    expected = F.conv2d(F.pad(x, (*padding, *padding)), weight, bias, stride, groups=groups)
    torch.testing.assert_close(convolve(x, weight, bias), expected)
    assert torch.autograd.gradcheck(convolve, (x, weight, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(convolve, (x, weight, bias), fast_mode=True)


@pytest.mark.parametrize("side", [3, 4])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2), (5, 3), (2, 3), (7, 4)])
def test_transposed_convolution_is_the_librarys(kernel: int, stride: int, side: int, generator) -> None:
    groups, filters, inputs = 2, 3, 2
    x = torch.randn(2, groups * filters, side, side, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(
        *(groups * filters, inputs, kernel, kernel), generator=generator, dtype=torch.float64, requires_grad=True
    )
    whole = F.conv_transpose2d(x, weight, stride=stride, groups=groups)
    size = whole.shape[-1]
    for crop in {0, 1, max(kernel - stride, 0) // 2}:
        wanted = (min(side * stride, size - crop), size - crop)
        ours = transposed_conv(x, weight, stride, crop, groups, wanted)
        torch.testing.assert_close(ours, whole[..., crop : crop + wanted[0], crop:])
    assert torch.autograd.gradcheck(
        lambda x, weight: transposed_conv(x, weight, stride, 0, groups, (side, side)), (x, weight), fast_mode=True
    )


# --- encoders and VAEs --------------------------------------------------------------------------------------------


def make_vaes(classes: int = CLASSES, size: int = 3) -> ClassVAEs:
    encoder = plan(f"c(3,4) c(3,4) z({size},{size})", (1, 8, 8), "encoder")
    return ClassVAEs(encoder, plan("d(9) ct(3,4) d(64)", (size,), "decoder"), classes, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_latents_are_cut_from_the_last_layer(own: bool, samples) -> None:
    encoders = ClassEncoders(plan("c(3,4) z(2,3)", (1, 8, 8), "encoder"), CLASSES, torch.Generator().manual_seed(0))
    x = samples((1, 8, 8), own)
    latents = encoders(x)
    for c in range(CLASSES):
        out = encoders.networks.single(c)(x[c] if own else x)
        mean_r, mean_v, log_var_r, log_var_v = out.split([2, 3, 2, 3], 1)
        torch.testing.assert_close(latents.robust.mean[c], mean_r)
        torch.testing.assert_close(latents.vulnerable.mean[c], mean_v)
        torch.testing.assert_close(latents.robust.log_variance[c], log_var_r)
        torch.testing.assert_close(latents.vulnerable.log_variance[c], log_var_v)


# --- a trunk ------------------------------------------------------------------------------------------------------

TRUNKS = [  # notation, shape of an image
    ("c(4,3) c(4,4) | z(2,3)", (1, 8, 8)),
    ("c(3,4)-bn-relu | c(3,5) d(6)-bn-relu z(2,2)", (1, 8, 8)),
    ("c(3,4) | bn-relu-mp(2) z(1,2)", (2, 8, 8)),
    ("d(9) | d(6) z(2,2)", (1, 6, 6)),
    ("c(3,8,1) c(8,3,1) | z(1,1)", (1, 7, 7)),
    ("mp(2) | c(3,4) z(2,2)", (1, 9, 9)),
]


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(("text", "shape"), TRUNKS, ids=[row[0] for row in TRUNKS])
def test_a_trunk_is_the_same_as_a_network_a_class(text: str, shape, training: bool, own: bool, samples) -> None:
    """The oracle has the trunk's layers again for each class; their gradients add up."""
    encoders = ClassEncoders(plan(text, shape, "encoder"), CLASSES, torch.Generator().manual_seed(0)).train(training)
    with torch.no_grad():
        for i, value in enumerate([*encoders.buffers(), *encoders.parameters()]):
            value.add_(0.2 * torch.rand(value.shape, generator=torch.Generator().manual_seed(i)))
    encoders.double()
    trunk = encoders.trunk.single(0).double()
    heads = [encoders.networks.single(c).double() for c in range(CLASSES)]
    x = samples(shape, own).detach().double().requires_grad_()
    latents = encoders(x)
    r, v = encoders.robust_size, encoders.vulnerable_size

    features = trunk(x.flatten(0, 1) if own else x)  # one batch of them all, as batch normalisation sees it
    of_class = features.unflatten(0, (CLASSES, BATCH)) if own else [features] * CLASSES
    parts = [head(of_class[c]).split([r, v, r, v], 1) for c, head in enumerate(heads)]
    wanted = [torch.stack([part[i] for part in parts]) for i in range(4)]
    wanted[2:] = [value.clamp(*LOG_VARIANCE_RANGE) for value in wanted[2:]]
    found = [latents.robust.mean, latents.vulnerable.mean, latents.robust.log_variance, latents.vulnerable.log_variance]
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)

    def total(values: list[Tensor]) -> Tensor:
        generator = torch.Generator().manual_seed(9)
        return sum(((torch.rand(value.shape, generator=generator) - 0.3) * value).sum() for value in values)

    parameters = [*encoders.trunk.parameters(), *encoders.networks.parameters()]
    ours = torch.autograd.grad(total(found), [x, *parameters])
    shared, each = list(trunk.parameters()), [list(head.parameters()) for head in heads]
    theirs = torch.autograd.grad(total(wanted), [x, *shared, *(p for head in each for p in head)])
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-9, rtol=1e-9)
    for i in range(len(shared)):
        torch.testing.assert_close(ours[1 + i][0], theirs[1 + i], atol=1e-9, rtol=1e-9)
    for i in range(len(each[0])):
        stacked = torch.stack([theirs[1 + len(shared) + c * len(each[0]) + i] for c in range(CLASSES)])
        torch.testing.assert_close(ours[1 + len(shared) + i], stacked, atol=1e-9, rtol=1e-9)


def test_a_trunk_is_there_once() -> None:
    shared, separate = (ClassEncoders(plan(text, (1, 8, 8), "encoder"), 7, torch.Generator().manual_seed(0))
                        for text in ("c(3,4) | z(1,1)", "c(3,4) z(1,1)"))  # fmt: skip
    sizes = [sum(value.numel() for value in encoders.parameters()) for encoders in (shared, separate)]
    trunk, head = 9 * 4 + 4, 64 * 4 + 4
    assert sizes == [trunk + 7 * head, 7 * (trunk + head)]
    assert separate.trunk is None
    assert repr(shared) == "c(3,4) | z(1,1)"


def test_a_conditioned_decoder_is_told_the_class(generator) -> None:
    """One network for all: each class's answer is that of z beside the class as C numbers."""
    vaes = ClassVAEs(plan("c(3,4) | z(3,3)", (1, 8, 8), "encoder"),
                     plan("d(9) ct(3,4) d(64)", (3 + CLASSES,), "decoder"), CLASSES, generator)  # fmt: skip
    assert vaes.decoders.classes == 1
    single = vaes.decoders.single(0)
    z = torch.randn(CLASSES, BATCH, 3, generator=generator)
    images = vaes.decode(z)
    assert images.shape == (CLASSES, BATCH, 1, 8, 8)
    for c in range(CLASSES):
        of_class = torch.zeros(BATCH, CLASSES)
        of_class[:, c] = 1
        torch.testing.assert_close(images[c].flatten(1), single(torch.cat([z[c], of_class], 1)))
    same = vaes.decode(z[:1].expand(CLASSES, -1, -1))
    assert not torch.allclose(same[0], same[1])


def test_without_a_decoder_nothing_is_decoded() -> None:
    vaes = ClassVAEs(plan("c(3,4) | z(3,3)", (1, 8, 8), "encoder"), None, CLASSES)
    assert vaes.encode(torch.zeros(2, 1, 8, 8)).robust.mean.shape == (CLASSES, 2, 3)
    with pytest.raises(TwinlatentError, match="there is no decoder"):
        vaes.decode(torch.zeros(CLASSES, 2, 3))


# --- decoders -----------------------------------------------------------------------------------------------------


def test_decoding_gives_each_class_its_images() -> None:
    vaes = make_vaes()
    z = torch.randn(CLASSES, BATCH, 3, generator=torch.Generator().manual_seed(1))
    images = vaes.decode(z)
    assert images.shape == (CLASSES, BATCH, 1, 8, 8)
    assert images.min() >= 0
    assert images.max() <= 1
    for c in range(CLASSES):
        single: PlainNetwork = vaes.decoders.single(c)
        torch.testing.assert_close(images[c].flatten(1), single(z[c]))


def test_latents_are_finite_for_any_image(generator) -> None:
    encoders = make_vaes().encoders
    images = torch.cat(
        [
            *(torch.full((1, 1, 8, 8), value) for value in (0.0, 1.0, 0.5, 1e-40)),
            torch.rand(5, 1, 8, 8, generator=generator),
            torch.rand(5, 1, 8, 8, generator=generator).round(),
            torch.eye(8)[None, None],
        ]
    )
    for scale in (1.0, 50.0):  # 50: log-variances far beyond the clamp
        with torch.no_grad():
            for parameter in encoders.parameters():
                parameter.mul_(scale)
        x = images.clone().requires_grad_()
        latents = encoders(x)
        for q in (latents.robust, latents.vulnerable):
            assert q.mean.isfinite().all()
            assert q.log_variance.min() >= LOG_VARIANCE_RANGE[0]
            assert q.log_variance.max() <= LOG_VARIANCE_RANGE[1]
            kl = kl_to_standard_normal(q)
            assert kl.isfinite().all()
            (gradient,) = torch.autograd.grad(kl.sum(), x, retain_graph=True)
            assert gradient.isfinite().all()


@pytest.mark.parametrize("shape", [(4, 1, 8, 9), (4, 2, 8, 8), (8, 8), (CLASSES + 1, 4, 1, 8, 8), (1, 1, 1, 1, 8, 8)])
def test_samples_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(TwinlatentError, match=r"takes samples of shape \(1, 8, 8\)"):
        make_vaes().encode(torch.zeros(shape))


@pytest.mark.parametrize("classes", [1, 2])
def test_one_class_or_one_image_is_no_special_case(classes: int, samples) -> None:
    vaes = make_vaes(classes)
    x = samples((1, 8, 8), False)[:1]
    assert vaes.encode(x).robust.mean.shape == (classes, 1, 3)
    expected = vaes.encoders.networks.single(0)(x)[:, :3]
    torch.testing.assert_close(vaes.encode(x).robust.mean[0], expected)
    torch.testing.assert_close(vaes.encode(x.expand(classes, 1, 1, 8, 8)).robust.mean[0], expected)


def test_no_images_have_no_latents() -> None:
    assert make_vaes().encode(torch.zeros(0, 1, 8, 8)).robust.mean.shape == (CLASSES, 0, 3)


@pytest.mark.parametrize(
    ("encoder", "decoder", "complaint"),
    [
        ("c(3,4) z(3,4)", "d(9) ct(3,4) d(64)", "z(a,b) needs a = b"),
        ("c(3,4) z(3,3)", "d(9) ct(3,4) d(81)", "gives 81 pixels; images have 64"),
    ],
)
def test_parts_that_do_not_fit_are_refused(encoder: str, decoder: str, complaint: str) -> None:
    with pytest.raises(TwinlatentError) as caught:
        ClassVAEs(plan(encoder, (1, 8, 8), "encoder"), plan(decoder, (3,), "decoder"), 2)
    assert complaint in str(caught.value)


def test_an_encoder_needs_latents() -> None:
    with pytest.raises(TwinlatentError, match="must end in"):
        ClassEncoders(plan("c(3,4) sm(3)", (1, 8, 8), "classifier"), 2)
