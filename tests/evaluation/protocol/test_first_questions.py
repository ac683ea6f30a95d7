"""What a stranger's model gets wrong is said in a line that names the mend, before any work; what is right is not."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import twinlatent as tl
from twinlatent import attacks
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.foreign import detector_of

torch.manual_seed(0)
WEIGHTS = torch.randn(64, 10)


def outputs(rows: Tensor, suspicion: Tensor | None = None) -> tl.Outputs:
    return tl.Outputs(rows @ WEIGHTS, rows.mean(1) if suspicion is None else suspicion)


def plain(images: Tensor) -> tl.Outputs:
    return outputs(images.flatten(1))


def said_of(model: object, split: Split, **options: object) -> list[str]:
    said: list[str] = []
    with detector_of(model, split, "mine", say=said.append, **options):  # type: ignore[arg-type]
        pass
    assert not any("\n" in line for line in said)
    return said


def test_of_a_model_that_is_right_nothing_is_said(digits: Split) -> None:
    assert said_of(plain, digits) == []
    assert said_of((lambda x: x.flatten(1) @ WEIGHTS, lambda x: x.sum((1, 2, 3))), digits) == []


def test_a_suspicion_that_is_the_same_for_all_is_said(digits: Split) -> None:
    (line,) = said_of((lambda x: x.flatten(1) @ WEIGHTS, lambda x: 0 * x.sum((1, 2, 3))), digits)
    assert line.startswith("mine: its suspicion is the same for all of 8 calibration images; nothing can be told by it")


def test_parts_of_two_precisions_have_a_mend(digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=r"^mine cannot answer images .* dtype.*; call float\(\) on all of it$"):
        said_of(lambda x: outputs(x.flatten(1).double()), digits)


# --- shapes, numbers, gradients ---------------------------------------------------------------------------------------


def shaped(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Tensor], tl.Outputs]:
    def model(images: Tensor) -> tl.Outputs:
        answer = plain(images)
        return tl.Outputs(*change(answer.logits, answer.suspicion))

    return model


def rounded(images: Tensor) -> tl.Outputs:
    return outputs((4 * images).round().flatten(1))


def norm_of(images: Tensor) -> tl.Outputs:
    """The root of 0 has no gradient."""
    return tl.Outputs(images.flatten(1) @ WEIGHTS, images[:, 0, :, 0].square().sum(1).sqrt() + images.sum((1, 2, 3)))


def in_numpy(images: Tensor) -> tl.Outputs:
    rows = images.numpy().reshape(len(images), -1)
    return tl.Outputs(torch.from_numpy(rows @ WEIGHTS.numpy()), torch.from_numpy(np.abs(rows).mean(1)))


REFUSED = [
    (shaped(lambda z, s: (z[:, :7], s)), r"logits of shape \(8, 7\); \(8, 10\) .* order of split\.class_names"),
    (shaped(lambda z, s: (z, s.mean())), r"suspicion of shape \(\); .*a number an image, \(n,\), or a column a class"),
    (shaped(lambda z, s: (z, z[:, :3])), r"suspicion of shape \(8, 3\)"),
    (shaped(lambda z, s: (z[0], s)), r"logits of shape \(10,\)"),
    (shaped(lambda z, s: (z, s / 0)), "suspicion is not finite for 8 of 8"),
    (shaped(lambda z, s: (s, z)), r"logits of shape \(8,\); \(8, 10\) is expected; logits come first, then the suspic"),
    (shaped(lambda z, s: (torch.cat([z, s[:, None]], 1), s)), r"shape \(8, 11\).* cut it off and give it as the sus"),
    (shaped(lambda z, s: (z.softmax(1), s)), r"probabilities, which hide gradients; return logits"),
    (shaped(lambda z, s: (z, s.detach())), r"attacks\.bpda; or leave .* suite none \(without one: suspicion\)"),
    (shaped(lambda z, s: (z, (s > 0.31).float() + 0 * s)), "suspicion is true or false"),
    (in_numpy, r"computes in NumPy, .* attacks\.bpda, or leave the white box out with suite none"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "line"), REFUSED, ids=[line[:24] for _, line in REFUSED])
def test_what_cannot_be_judged_is_refused_in_one_line(model, line: str, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=f"^mine: .*{line}") as refused:
        said_of(model, digits)
    assert "\n" not in str(refused.value)


def test_log_odds_of_two_classes_have_a_mend(digits: Split) -> None:
    parts = {part: LabelledImages(getattr(digits, part).images, getattr(digits, part).labels % 2)
             for part in ("train", "calibration", "test")}  # fmt: skip
    split = replace(digits, class_names=("even", "odd"), **parts)
    with pytest.raises(TwinlatentError, match=r"of one log-odds z make torch\.stack\(\[-z / 2, z / 2\], 1\)"):
        said_of(shaped(lambda z, s: (z[:, :1], s)), split)
    assert said_of(shaped(lambda z, s: (torch.stack([-z[:, 0] / 2, z[:, 0] / 2], 1), s)), split) == []


def test_numpy_alone_can_be_judged_without_the_white_box(digits: Split) -> None:
    assert said_of(in_numpy, digits, attacked=False) == []


@pytest.mark.parametrize(("model", "part"), [(rounded, "logits"), (norm_of, "suspicion")], ids=["rounded", "root of 0"])
def test_gradients_that_are_zero_or_nan_are_said_and_a_stand_in_silences_it(model, part: str, digits: Split) -> None:
    lines = said_of(model, digits)
    assert re.fullmatch(rf"mine: the gradient of its {part} is zero or NaN for 8 of 8 .* attacks\.bpda", lines[0])
    assert said_of(model, digits, attacked=False) == []
    if model is rounded:
        assert said_of(attacks.bpda(plain, lambda x: (4 * x).round()), digits) == []


# --- chance, modes, the batch -----------------------------------------------------------------------------------------


class Layers(nn.Module):
    """Answers like those of a linear layer behind another one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> tl.Outputs:
        return outputs(self.inner(images).flatten(1))


def noisy(images: Tensor) -> tl.Outputs:
    return plain(images + 0.1 * torch.randn_like(images))


def test_chance_is_said_and_an_expectation_is_its_mend(digits: Split) -> None:
    (line,) = said_of(noisy, digits)
    assert re.fullmatch(r"mine: it answers the same images differently each time, up to \S+ apart; if chance is part "
                        r"of the defence, judge attacks\.expectation\(model\), .*", line)  # fmt: skip
    assert said_of(attacks.expectation(noisy), digits) == []


def test_a_module_in_training_mode_is_said_with_what_evaluation_mode_changes(digits: Split) -> None:
    model = Layers(nn.BatchNorm2d(1)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (line,) = said_of(model, digits)
    pattern = (r"mine: it was in training mode, in which it classifies \d+ of 64 calibration images correctly; it is "
               r"judged in evaluation mode, with \d+(; its running .*)?; call eval\(\) on it beforehand")  # fmt: skip
    assert re.fullmatch(pattern, line)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert said_of(model.eval(), digits) == []
    assert said_of(Layers(nn.ReLU()).train(), digits) == [], "there the mode changes nothing"


def test_what_a_function_uses_in_training_mode_is_named(digits: Split) -> None:
    dropped, normed = Layers(nn.Dropout(0.5)).train(), Layers(nn.BatchNorm2d(1)).train()
    (line,) = said_of(lambda images: dropped(images), digits)
    assert "dropped within it is in training mode: call eval() on it, or if chance is" in line

    class Holder:
        def __init__(self) -> None:
            self.network = normed

        def __call__(self, images: Tensor) -> tl.Outputs:
            return self.network(images)

    models = (lambda images: normed(images), "normed"), (Holder(), "network"), (Holder().__call__, "network")
    for model, name in models:
        with pytest.raises(TwinlatentError, match=rf"depends on the other .*; {name} within it is.*call eval\(\)"):
            said_of(model, digits)
    normed.eval()
    assert [said_of(model, digits) for model, _ in models] == [[], [], []]


def test_a_batch_norm_that_refuses_one_image_has_a_mend(digits: Split) -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64)).train()
    with pytest.raises(TwinlatentError, match=r"\(1, 1, 8, 8\): ValueError: .* call eval\(\) on the module within"):
        said_of(lambda images: outputs(network(images)), digits)


def test_a_mean_over_the_batch_is_refused(digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=r"depends on the other images of the batch.*never over the batch"):
        said_of(lambda images: outputs(images.flatten(1), (images - images.mean(0)).square().sum((1, 2, 3))), digits)
