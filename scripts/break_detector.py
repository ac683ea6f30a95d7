"""Try to break a detector: many attacks on the selection images for which nothing is proved, and so can fall.

python scripts/break_detector.py runs/mnist-certified --epsilon .3 --images 150 [--attacks FILE.py:NAME]

The suite `thorough`, then attacks with more starts, steps and queries, then those of ATTACKS, a dict as `twinlatent
attack` takes, such as experiments/attacks/beyond_mnist.py has; each on what is left. OUT (runs/break) gets a file of
records: SR@FPR of each attack over the images that it was run on, that of `worst`, and the ceiling over all selection
images that were looked at. Finished batches are kept in OUT; the same command resumes. It takes up to an hour of one
core for a small network, and looks at no test image.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

import twinlatent as tl
from twinlatent.attacks import (
    Ascent,
    Attack,
    Bypass,
    EveryTarget,
    Iterative,
    LInf,
    Margin,
    Probing,
    Restarts,
    Selective,
    SignStep,
    Square,
    Suspicion,
)
from twinlatent.evaluation.metrics import rate
from twinlatent.evaluation.protocol import WhiteBoxSettings, checked_attacks, draw
from twinlatent.evaluation.results import ANY, CERTIFIED, Row, Rows, records_of, write_records
from twinlatent.evaluation.white_box import attack_detector
from twinlatent.loading import built, load_object
from twinlatent.method.certificate import certify
from twinlatent.provenance import provenance


def beyond(level: Tensor) -> dict[str, Callable[[float], Attack]]:
    """Attacks that no suite has, from a radius: each goes for every wrong class.

    Args:
        level: (C,), suspicion up to which an image passes.
    """
    quieter = -1.0 * Suspicion("target")
    shortfall = Margin(0.0) + Bypass(level, at="target")

    def steps(epsilon: float, guide: Ascent | Selective, count: int) -> Attack:
        step = SignStep(epsilon * max(0.1, 4 / count), 0.75)
        return EveryTarget(Iterative(LInf(epsilon), step, count, guide, True, shrink=True, early_stop=True))

    def probing(epsilon: float, guide: Ascent | Selective, count: int, probes: int) -> Attack:
        return EveryTarget(Probing(LInf(epsilon), SignStep(epsilon / 2, 0.75), count, probes, guide))

    return {
        "score-restarts": lambda epsilon: Restarts(steps(epsilon, Ascent(quieter), 100), 5),
        "probing-long": lambda epsilon: probing(epsilon, Selective(quieter), 50, 8),
        "probing-score": lambda epsilon: probing(epsilon, Ascent(quieter), 100, 4),
        "probing-restarts": lambda epsilon: Restarts(probing(epsilon, Ascent(shortfall), 25, 4), 10),
        "square-score": lambda epsilon: EveryTarget(Square(epsilon, 3000, quieter)),
        "square-restarts": lambda epsilon: Restarts(EveryTarget(Square(epsilon, 1000, shortfall), 3), 5),
    }


def main(
    model: str,
    data: Annotated[str | None, typer.Option(help="Default: the detector's own.")] = None,
    epsilon: Annotated[float, typer.Option(help="L∞ radius.")] = 0.3,
    images: Annotated[int, typer.Option(min=1, help="Drawn from those for which nothing is proved.")] = 150,
    of: Annotated[int, typer.Option(min=1, help="Selection images that are looked at.")] = 2000,
    fpr: float = 0.05,
    seed: int = 0,
    attacks: Annotated[str | None, typer.Option(help="FILE.py:NAME of a dict of more attacks.")] = None,
    out: Annotated[Path, typer.Option(help="Folder.")] = Path("runs/break"),
) -> None:
    """Attack, say what won what, and write the records."""
    detector, origin = tl.load(model), provenance()
    if not isinstance(detector, tl.Detector):
        raise tl.TwinlatentError(f"{model} is a baseline, of which nothing can be proved; give a detector of ours")
    split = tl.data.load(data or detector.card["data"]["name"], seed=detector.card.get("seed", 0))
    if detector.seen is not None and any(part.any() for part in detector.seen.among(split.selection.images)):
        raise tl.TwinlatentError(f"{model} was trained on selection images; train it again")
    pool = draw(split.selection, min(of, len(split.selection)), seed)
    proof = certify(detector, pool.images, pool.labels, epsilon, fpr)
    can_fall = pool.subset(~proof.holds)
    if not len(can_fall):
        print(f"for all {len(pool)} selection images it is proved that none can fall")
        return
    drawn = draw(can_fall, min(images, len(can_fall)), seed)
    asked = WhiteBoxSettings(
        suite="thorough", epsilon=epsilon, fpr=fpr, images=len(drawn), seed=seed, remaining_only=True
    )
    more: dict[str, Callable[[float], Attack]] = built(load_object(attacks), attacks) if attacks else {}
    own = checked_attacks(beyond(detector.bounds(fpr).thresholds[fpr]) | more)
    run = attack_detector(detector, split, asked, drawn=drawn, own=own, folder=out / f"attacks-{epsilon:g}")
    fell = torch.zeros(len(drawn), dtype=torch.bool)
    for name, tried in run.result.by_attack.items():
        won, left = run.wins[name], int(tried.tried.sum())
        if left:
            print(f"{name:20} won {int((won & ~fell).sum()):4} of {left:4} left, {tried.seconds:.0f} s")
        fell |= won
    ceiling, share = rate(len(can_fall), len(pool)), int(fell.sum()) / len(drawn)
    print(f"ceiling {ceiling.value:.3f} of n={ceiling.n}; of those, {share:.3f} fell: floor about "
          f"{ceiling.value * share:.3f}")  # fmt: skip
    proved = Row(CERTIFIED, ANY, epsilon, detector.score, ceiling)
    records = records_of([Rows((proved,), "selection images", asked=fpr)], detector, split, seed, 0.0, origin)
    budget = f"breaking, of {len(can_fall)} selection images that can fall"
    records += [record.model_copy(update={"budget": budget}) for record in run.records]
    write_records(out / f"records-{epsilon:g}.json", records)


if __name__ == "__main__":
    typer.run(main)
