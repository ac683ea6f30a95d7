"""What results show of themselves in a notebook: small pictures, and tables in which every text is escaped.

A table sets no colour, so that it can be read on dark and on light paper, runs no script and loads nothing.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jinja2 import Template
    from torch import Tensor

SHOWN = 20
"""So many images a result keeps to be looked at, and so many rows its table has, at most: the first ones."""
SIDE = 64
"""Pixels of the longer side of a thumbnail, at most."""
NBSP = "\u00a0"
TABLE = """<div><p><strong>{{ title }}</strong></p>
<table><thead><tr>
{%- for heading in headings %}<th style="text-align: left">{{ heading }}</th>{% endfor -%}
</tr></thead><tbody>
{%- for row in rows %}
<tr>
{%- for cell in row %}<td style="text-align: left">
{%- if cell is string %}{{ cell }}
{%- else %}<img src="{{ cell.source }}" alt="{{ cell.description }}" width="{{ cell.width }}" height="{{ cell.height }}"
 style="image-rendering: pixelated; max-width: none">
{%- endif %}</td>{% endfor -%}
</tr>
{%- endfor %}
</tbody></table>
{%- if note %}<p>{{ note }}</p>{% endif %}</div>"""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture in a table.

    Attributes:
        source: the picture as a data: address.
        width, height: in pixels of the page.
        description: for those who cannot see it.
    """

    source: str
    width: int
    height: int
    description: str


def first_images(images: "Tensor") -> "Tensor":
    """A copy of the first images, or labels, on the CPU: what becomes of `images` later does not change it."""
    return images.detach()[:SHOWN].cpu().clone()


def as_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image with values in [0, 1] as bytes."""
    return np.asarray(np.rint(255 * image), dtype=np.uint8)


def png_source(pixels: NDArray[np.uint8]) -> str:
    """Bytes (H, W) or (H, W, 3) as the data: address of a PNG file."""
    from PIL import Image

    return _source(Image.fromarray(np.ascontiguousarray(pixels)))


def thumbnail(image: NDArray[Any], description: str) -> Thumbnail:
    """An image (H, W) or (H, W, 3) in [0, 1], made smaller where it is large; small ones are shown larger."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(as_bytes(image)))
    picture.thumbnail((SIDE, SIDE))
    width, height = picture.size
    larger = max(1, SIDE // max(width, height))
    return Thumbnail(_source(picture), larger * width, larger * height, description)


def html_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str | Thumbnail]], note: str = "") -> str:
    """A piece of HTML that needs nothing else, every text escaped.

    Example:
        >>> print(html_table("2 < 3", ["class"], [["<b>"]]))
        <div><p><strong>2 &lt; 3</strong></p>
        <table><thead><tr><th style="text-align: left">class</th></tr></thead><tbody>
        <tr><td style="text-align: left">&lt;b&gt;</td></tr>
        </tbody></table></div>
    """
    return _template().render(title=title, headings=headings, rows=rows, note=note)


def left_out(n: int, shown: int) -> str:
    """How many of n images are not shown; empty where all are.

    Example:
        >>> left_out(10_000, 20), left_out(7, 20)
        ('9,980 more images are not shown', '')
    """
    more = max(0, n - shown)
    return f"{more:,} more {'image is' if more == 1 else 'images are'} not shown" if more else ""


def p_text(p: float) -> str:
    """A p-value as a reader wants it.

    Example:
        >>> p_text(0.4321), p_text(0.0123)
        ('0.43', '0.012')
    """
    return f"<{NBSP}0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _source(picture: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined).from_string(TABLE)
