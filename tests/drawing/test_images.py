"""Images beside each other: as they are, each with its words, those that stand out with a frame."""

import numpy as np
import pytest

from twinlatent.drawing.images import ACROSS, ImageCell, image_cells
from twinlatent.errors import TwinlatentError

IMAGE = np.random.default_rng(0).random((4, 6))


@pytest.mark.parametrize("count", [1, ACROSS, ACROSS + 1, 13])
def test_an_axes_an_image_five_in_a_row(count: int) -> None:
    cells = [ImageCell(IMAGE * number / 20, f"$number {number}$", number % 2 == 0) for number in range(count)]
    figure = image_cells(cells, "title")
    assert [axes.get_xlabel() for axes in figure.axes] == [cell.caption for cell in cells]
    for axes, cell in zip(figure.axes, cells, strict=True):
        (drawn,) = axes.get_images()
        np.testing.assert_array_equal(drawn.get_array(), cell.image)
        assert drawn.get_clim() == (0, 1), "grey values are not stretched"
        assert (axes.spines["top"].get_linewidth() > 2) == cell.framed
    figure.draw_without_rendering()
    tops = [round(axes.get_position().y0, 2) for axes in figure.axes]
    assert len(set(tops)) == -(-count // ACROSS)


def test_a_notebook_gets_a_png_without_pyplot() -> None:
    figure = image_cells([ImageCell(IMAGE, "", False)], "title")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure._repr_png_() == figure._repr_png_()


def test_no_image_is_one_clear_line() -> None:
    with pytest.raises(TwinlatentError, match="there are no images to draw: give at least one"):
        image_cells([], "title")
