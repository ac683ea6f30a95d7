"""A verdict shows what it says, of the images that were judged, however many and of whatever colour."""

import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

import twinlatent as tl
from twinlatent.data.split import as_pictures
from twinlatent.method.detector import Detector
from twinlatent.method.verdicts import PARTS, Judged, Verdict
from twinlatent.showing import SHOWN, p_text

HOSTILE = "<img src=x onerror=alert(1)>"


def a_verdict(n: int, channels: int = 1, side: int = 8, names: tuple[str, ...] = ("zero", "$one$")) -> Verdict:
    """Every third image is flagged."""
    images = torch.rand(min(n, SHOWN), channels, side, side, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(n)
    p = (rows % 3 + 0.01) / 3
    return Verdict(rows % 2, rows % 3 == 0, -p, p, Judged(images, names, 0.05))


def captions(figure: Figure) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes]


@pytest.mark.parametrize("channels", [1, 3, 2])
@pytest.mark.parametrize("n", [1, 7, SHOWN, 10_000])
def test_a_figure_has_an_axes_an_image_with_its_class_p_value_and_verdict(n: int, channels: int) -> None:
    verdict = a_verdict(n, channels)
    assert verdict.judged is not None
    figure = verdict.plot()
    shown = min(n, SHOWN)
    assert len(figure.axes) == shown
    for number, caption in enumerate(captions(figure)):
        name, said = ("zero", "$one$")[verdict.label[number]], "flagged" if verdict.adversarial[number] else "passes"
        assert caption == f"{name}\np {p_text(verdict.p_value[number])}\n{said}"
    for axes, picture in zip(figure.axes, as_pictures(verdict.judged.images), strict=True):
        np.testing.assert_array_equal(axes.get_images()[0].get_array(), picture)
    framed = [axes.spines["left"].get_linewidth() > 2 for axes in figure.axes]
    assert framed == verdict.adversarial.tolist()[:shown]
    title = figure.get_suptitle()
    assert title.startswith(f"{int(verdict.adversarial.sum()):,} of {n:,} image")
    assert ("9,980 more images are not shown" in title) == (n == 10_000)


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    before = {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
    figure = a_verdict(3).plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"} == before
    assert "matplotlib.pyplot" not in sys.modules


def test_no_images_are_one_clear_line_and_an_empty_table() -> None:
    none = a_verdict(0)
    with pytest.raises(tl.TwinlatentError, match=r"^there are no images to draw: give at least one$"):
        none.plot()
    assert "0 of 0 images flagged" in none._repr_html_()
    scores_alone = replace(a_verdict(3), judged=None)
    with pytest.raises(tl.TwinlatentError, match=r"holds no images; draw what detector\.detect"):
        scores_alone.plot()
    assert scores_alone._repr_html_().count("<tr>") == 4
    assert "<img" not in scores_alone._repr_html_()


def test_a_table_says_how_many_rows_it_leaves_out_and_stays_small() -> None:
    large = a_verdict(10_000, channels=3, side=200)._repr_html_()
    assert large.count("<tr>") == SHOWN + 1
    assert "9,980 more images are not shown" in large
    assert len(large) < 600_000, "of noise in colour, which no file makes small"
    assert "not shown" not in a_verdict(SHOWN)._repr_html_()
    assert len(a_verdict(10_000)._repr_html_()) < 20_000


def test_hostile_names_of_classes_are_escaped() -> None:
    text = a_verdict(4, names=(HOSTILE, HOSTILE))._repr_html_()
    assert HOSTILE not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_detect_keeps_copies_of_the_first_images_alone(trained_detector: Detector, digits: tl.data.Split) -> None:
    images = digits.test.images[:40].clone()
    verdict = trained_detector.detect(images, fpr=0.1)
    assert verdict.judged is not None
    assert verdict.judged.fpr == 0.1
    assert verdict.judged.class_names == trained_detector.class_names
    assert verdict.judged.images.untyped_storage().nbytes() == 4 * verdict.judged.images.numel(), "no more than shown"
    images.zero_()
    torch.testing.assert_close(verdict.judged.images, digits.test.images[:SHOWN], rtol=0, atol=0)
    figure = verdict.plot()
    assert [text.split("\n")[0] for text in captions(figure)] == [
        trained_detector.class_names[label] for label in verdict.label[:SHOWN].tolist()
    ]
    alone = trained_detector.detect(digits.test.images[:40][verdict.adversarial], fpr=0.1)
    assert alone.adversarial.all(), "others than the first can be asked for again"


def test_arrays_and_loaders_are_kept_alike(trained_detector: Detector, digits: tl.data.Split) -> None:
    images: Tensor = digits.test.images[:5]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size=2)
    for given in (images.numpy(), images.double(), loader):
        judged = trained_detector.detect(given).judged
        assert judged is not None
        torch.testing.assert_close(judged.images, images, rtol=0, atol=0)


def test_the_tensors_of_a_verdict_are_named() -> None:
    assert set(PARTS) == set(vars(a_verdict(1))) - {"judged"}
