"""Draw figure 12 of the paper, success by C1 and C2 over L∞ radii, and SR@5 %, from records of a detector.

python scripts/figure12.py results/cats-dogs-mim.json docs/images/cats-dogs-figure12.svg
"""

import sys

from twinlatent.evaluation.results import WORST, false_alarms, read_records
from twinlatent.report import select
from twinlatent.report.figures import save, success_curves

NAMES = {"fgsm_w": "FGSM_W: C1, C2", "pgd_w": "PGD_W: C1, C2", "mim_w": "MIM_W: C1, C2", WORST: "worst: C1, C2"}


def main() -> None:
    """Read records, write a picture."""
    source, target = sys.argv[1:]
    records = read_records(source)
    own = false_alarms(records)
    assert own is not None, f"{source} has no false-positive rate: it is not of a detector"
    found = {name: [r for r in records if (r.metric, r.attack) == ("sr_c1c2", key)] for key, name in NAMES.items()}
    found["worst: not flagged at 5 %"] = [
        r for r in records if (r.metric, r.attack, r.score) == (select.HEADLINE, WORST, own.score)
    ]
    passed = select.find(records, metric=select.BENIGN_PASS)
    curves = {name: select.curve(rs) for name, rs in found.items()}
    benign = passed.value if passed else None
    figure = success_curves(curves, benign_pass=benign, ylabel="share of images misclassified and ...")
    save(figure, target)


if __name__ == "__main__":
    main()
