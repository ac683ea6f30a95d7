"""Measure the ceiling of C3, the share of benign test images on which an evaluation's judges agree with the label.

python scripts/judges_ceiling.py mnist fashion-mnist5

Judges know no detector, so the number holds for every evaluation of a data set with the same judges. It goes to
results/judges.json, a record a data set; others stay. Evaluations of version 0.1.0 did not measure it themselves.
"""

import sys
import time
from pathlib import Path

import twinlatent as tl
from twinlatent.evaluation.judges import benign_agreement, train_judges
from twinlatent.evaluation.results import Record, read_records, write_records
from twinlatent.provenance import provenance

PATH = Path(__file__).resolve().parent.parent / "results" / "judges.json"
SEED = 0


def main() -> None:
    """Write the records."""
    records = {record.data: record for record in (read_records(PATH) if PATH.exists() else ())}
    for name in sys.argv[1:]:
        began, origin, split = time.monotonic(), provenance(), tl.data.load(name)
        met = benign_agreement(train_judges(split, seed=SEED), split, SEED)
        records[name] = Record(
            data=name, method="plain", trained_with="none", attack="none", epsilon=None, score=None, metric="benign_c3",
            value=met.value, n=met.n, low=met.low, high=met.high, seed=SEED, budget="judges alone",
            seconds=round(time.monotonic() - began, 1), **origin.model_dump(),
        )  # fmt: skip
        write_records(PATH, [records[key] for key in sorted(records)])


if __name__ == "__main__":
    main()
