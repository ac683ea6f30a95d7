"""Pairs of images on a page: benign, attacked, and their difference."""

import base64
import io
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from twinlatent.evaluation.run_folder import Examples
from twinlatent.report import figures
from twinlatent.report.page_parts import NBSP, attack, note, section

MAX_EXAMPLES = 24


def example_cards(examples: Examples) -> str:
    """The section of pairs; nothing if there are none."""
    shown = min(len(examples), MAX_EXAMPLES)
    if not shown:
        return ""
    reach = figures.difference_reach(list(zip(examples.benign[:shown], examples.adversarial[:shown], strict=True)))
    more = f" The first {shown} of {len(examples)} are shown." if shown < len(examples) else ""
    about = (
        "Below each image stands what the detector made of it: the class it reads, whether it flags the image, and p, "
        "which is small when few benign images look as suspicious. An attacked image is caught when it is flagged, "
        "missed when it passes and is misclassified, harmless when it passes and is read correctly. In the "
        "difference, grey "
        "is no change, dark blue is darker and light is brighter, on one scale for all "
        f"(±{reach:.2f}).{more}"
    )
    cards = "".join(_pair(examples, number, reach) for number in range(shown))
    return section("examples", "Examples", f"{note(about)}<ul class=cards>{cards}</ul>")


def _pair(examples: Examples, i: int, reach: float) -> str:
    true, by = escape(str(examples.true[i])), attack(str(examples.attack[i]))
    change = examples.adversarial[i] - examples.benign[i]
    outcome = _outcome(examples, i)
    pictures = (
        _picture(_grey(examples.benign[i]), f"benign image of {true}", "benign")
        + _verdict(examples.benign_label[i], examples.benign_flagged[i], examples.benign_p[i]),
        _picture(_grey(examples.adversarial[i]), f"the same image after {by}", "attacked")
        + _verdict(examples.adversarial_label[i], examples.adversarial_flagged[i], examples.adversarial_p[i]),
        _picture(_coloured(change, reach), "difference of the two", "difference")
        + f"<p>at most<br>{np.abs(change).max():.2f}</p>",
    )
    trio = "".join(f"<div>{picture}</div>" for picture in pictures)
    heading = f"<h3>{by} on {true}<span class={outcome.split()[0]}>{outcome}</span></h3>"
    return f"<li>{heading}<div class=trio>{trio}</div></li>"


def _outcome(examples: Examples, i: int) -> str:
    if examples.adversarial_flagged[i]:
        return "caught"
    return "harmless" if examples.adversarial_label[i] == examples.true[i] else "missed"


def _verdict(label: Any, flagged: Any, p: Any) -> str:
    return f"<p><b>{escape(str(label))}</b><br>{'flagged' if flagged else 'passes'}<br>p{NBSP}{_p_value(p)}</p>"


def _p_value(p: float) -> str:
    return "&lt;&nbsp;0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * image), dtype=np.uint8)


def _coloured(change: NDArray[Any], reach: float) -> NDArray[np.uint8]:
    colours = np.asarray(figures.DIFFERENCE_MAP((change / reach + 1) / 2, bytes=True), dtype=np.uint8)
    return np.delete(colours, 3, axis=2)  # without the opacity


def _picture(pixels: NDArray[np.uint8], description: str, title: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    height, width = pixels.shape[:2]
    return f'<span>{title}</span><img src="{source}" width={width} height={height} alt="{description}">'
