"""Two attacks that won selection images of `mnist-robust` at ε .4 which the suite `thorough` had left.

twinlatent attack mnist-robust --suite thorough --epsilon .4 --images 1000 --remaining-only --unproved-only \\
    --attacks experiments/attacks/restarts_mnist.py:attacks

Ascent on the score of every wrong class, and Square with 1,000 queries for each of three, past the thresholds for 5 %;
both from five starts; two of those of scripts/break_detector.py.
"""

from pathlib import Path

import twinlatent as tl
from twinlatent.loading import load_object

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "break_detector.py"
NAMES = "score-restarts", "square-restarts"

detector = tl.load("mnist-robust")
assert isinstance(detector, tl.Detector)
beyond = load_object(f"{SCRIPT}:beyond")(detector.bounds(0.05).thresholds[0.05])
attacks = {name: beyond[name] for name in NAMES}
