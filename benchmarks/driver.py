"""What a whole evaluation leaves to its driver when all units are done: what no other core or machine helps with.

All units of `evaluate` are done first; then the same evaluation finds them in its folder, and its seconds are the
processor's. Mild changes, proofs and all else of the driver are those of the command's defaults; attacks are short.

    python benchmarks/driver.py [--images 200] [--subset 10] [--out results/driver.json]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import twinlatent as tl
from twinlatent.evaluation.evaluate import evaluate_shard
from twinlatent.files import write_json
from twinlatent.provenance import provenance
from twinlatent.report.page import write_page
from twinlatent.running.shards import Shard

DETECTOR = "mnist-mim"


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--subset", type=int, default=10)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    split, detector = tl.data.load("mnist", progress=False), tl.load(DETECTOR)
    settings: dict[str, Any] = {"images": asked.images, "subset": asked.subset, "blackbox_images": asked.images,
                                "steps": 2}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        evaluate_shard(detector, split, Shard(1, 1), settings=settings, folder=folder, progress=False)
        units, began = time.process_time() - began, time.process_time()
        tl.evaluate(detector, split, settings=settings, folder=folder, page=write_page, progress=False)
        driver = time.process_time() - began
    print(f"units {units:.0f} s, driver {driver:.0f} s")
    if asked.out is not None:
        write_json(asked.out, {"detector": DETECTOR, "images": asked.images, "subset": asked.subset,
                               "units_seconds": round(units, 1), "driver_seconds": round(driver, 1),
                               "provenance": provenance().model_dump()})  # fmt: skip


if __name__ == "__main__":
    main()
