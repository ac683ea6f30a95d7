"""Draw docs/images/demo.svg, the picture of README.md, from the results folder of a demo.

twinlatent demo --out runs/digits-demo && python scripts/readme_picture.py runs/digits-demo
"""

import sys

import numpy as np
from tables import ROOT

from twinlatent.evaluation.results import Examples, read_run
from twinlatent.report.figures import GridRow, image_grid, save

ATTACKS = ("fgsm", "pgd", "mim")


def verdict(label: np.str_, flagged: np.bool_, p: np.floating) -> str:  # type: ignore[type-arg]
    return f"{label}, {'flagged' if flagged else 'passes'}, p = {p:.2g}"


def grid_row(examples: Examples, i: int) -> GridRow:
    """The i-th pair."""
    return GridRow(
        benign=examples.benign[i],
        adversarial=examples.adversarial[i],
        true_label=str(examples.true[i]),
        benign_verdict=verdict(examples.benign_label[i], examples.benign_flagged[i], examples.benign_p[i]),
        adversarial_verdict=verdict(
            examples.adversarial_label[i], examples.adversarial_flagged[i], examples.adversarial_p[i]
        ),
        attack=str(examples.attack[i]).upper(),
    )


def main() -> None:
    """The first pair of each attack, each of another image."""
    examples = read_run(sys.argv[1]).examples
    picked = [int(np.flatnonzero(examples.attack == attack)[place]) for place, attack in enumerate(ATTACKS)]
    save(image_grid([grid_row(examples, i) for i in picked]), ROOT / "docs" / "images" / "demo.svg")


if __name__ == "__main__":
    main()
