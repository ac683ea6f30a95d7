"""What `evaluate mnist-mim --suite standard` costs as a command, now and by an earlier checkout; which verdicts differ.

Both run the whole command on fewer images, at the same time, each in a process of its own with one thread, so that
whatever else the machine does meets both; seconds are the processor's. What attacks cost is noted for each image of
each part of the evaluation, everything else as it is, and from that the same is reckoned for 1,000 images with a subset
of 100: the command's defaults. With --clock the commands are run one after the other instead, as anybody would call
them, with all cores, and the clock counts: the machine must be idle.

    git worktree add /tmp/before 4f9b95b
    python benchmarks/command.py --before /tmp/before [--images 50] [--subset 20] [--clock] [--out results/command.json]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

DETECTOR, SUITE = "mnist-mim", "standard"
MAIN, SUBSET, BLACK_BOX, REST = "main point", "subset", "black box", "rest"
DEFAULTS = {MAIN: 1000, SUBSET: 100, BLACK_BOX: 1000}
"""Images of each part of an evaluation of 1,000."""
FEW = "--shift-images", "100", "--certified-images", "100", "--recipe", str(Path(__file__).with_name("few-steps.toml"))
"""What has not become faster is made short: mild changes, proofs, and the training of substitutes and judges."""
NOTED = "noted.json"
HERE = Path(__file__).resolve().parents[1]

Side = dict[str, Any]
"""What a run of the command has noted: seconds of each part, verdicts."""


# --- one side: the command, with what it costs noted ----------------------------------------------------------------


def noting(words: list[str], out: Path) -> None:
    """Run the command in this process, and leave what it cost and found beside its results."""
    import twinlatent.attacks.suite_runs as suites
    from twinlatent import cli
    from twinlatent.evaluation.white_box import at_points, whole

    attacking, verdicts, first = defaultdict[str, float](float), dict[str, list[bool]](), list[Path]()
    parts, rows, of_conditions = suites._parts, at_points.OperatingPoints.rows, whole.rows_of

    def timed_parts(name: str, work: Any, images: Any, labels: Any, batches: Any, folder: Any, *more: Any) -> Any:
        began = time.process_time()
        found = parts(name, work, images, labels, batches, folder, *more)
        black = any(part.startswith("blackbox") for part in folder.parts)
        if not black and not first:
            first.append(folder)  # the main point comes before all others
        part = BLACK_BOX if black else MAIN if folder in first else SUBSET
        attacking[part] += time.process_time() - began
        return found

    def noted_rows(points: Any, score: str) -> Any:
        for point, won in points.wins.items():
            verdicts[f"score {score}, radius {point.epsilon:g}, rate {point.fpr:g}"] = won.tolist()
        return rows(points, score)

    def noted_conditions(outcome: Any, drawn: Any, score: str) -> Any:
        verdicts[f"C1 and C2, {outcome.attack}, radius {outcome.epsilon or 'any'}"] = outcome.wins.tolist()
        return of_conditions(outcome, drawn, score)

    suites._parts, at_points.OperatingPoints.rows, whole.rows_of = timed_parts, noted_rows, noted_conditions
    sys.argv = ["twinlatent", *words, "--out", str(out)]
    began = time.process_time()
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
    attacking[REST] = time.process_time() - began - sum(attacking.values())
    (out / NOTED).write_text(json.dumps({"seconds": attacking, "verdicts": verdicts}))


# --- both sides -----------------------------------------------------------------------------------------------------


def at_once(before: Path, words: list[str], folder: Path) -> dict[str, Side]:
    """What the command notes by both packages, in a thread of each at the same time."""
    running = {}
    for side, checkout in (("before", before), ("now", HERE)):
        asked = [sys.executable, str(Path(__file__).resolve()), "--side", str(folder / side), *words, "--threads", "1"]
        asked += ["--workers", "1"] if side == "now" else []
        running[side] = subprocess.Popen(asked, env=environment(checkout, OMP_NUM_THREADS="1"),
                                         stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    for side, process in running.items():
        if process.wait():
            raise SystemExit(f"{side}: the command ended with {process.returncode}")
    return {side: json.loads((folder / side / NOTED).read_text()) for side in running}


def by_the_clock(before: Path, words: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """Seconds of the command as it is, once by each package, of the clock and of all its processes."""
    found = {}
    for side, checkout in (("before", before), ("now", HERE)):
        asked = [sys.executable, "-m", "twinlatent", *words, "--out", str(folder / f"{side}-clock")]
        began = time.perf_counter()
        # in that folder, since `-m` looks for the package in the current one first
        process = subprocess.Popen(asked, env=environment(checkout), stdout=subprocess.DEVNULL, cwd=checkout)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{side}: the command ended with status {status}")
        spent = used.ru_utime + used.ru_stime
        found[side] = {"clock": round(time.perf_counter() - began, 1), "processor": round(spent, 1)}
    return found


def environment(checkout: Path, **more: str) -> dict[str, str]:
    """For the package of a checkout."""
    return os.environ | {"PYTHONPATH": str(checkout)} | more


def compared(sides: dict[str, Side], images: dict[str, int]) -> dict[str, Any]:
    """Seconds of each part, those of 1,000 images reckoned from them, and the images whose verdict differs."""
    seconds = {side: {part: round(spent, 1) for part, spent in noted["seconds"].items()}
               for side, noted in sides.items()}  # fmt: skip
    whole = {side: sum(spent * DEFAULTS.get(part, 1) / images.get(part, 1) for part, spent in noted.items())
             for side, noted in seconds.items()}  # fmt: skip
    old, new = sides["before"]["verdicts"], sides["now"]["verdicts"]
    pairs = {what: list(zip(old[what], new[what], strict=True)) for what in old.keys() & new.keys()}
    differing = {what: {"before alone": [n for n, (a, b) in enumerate(pair) if a and not b],
                        "now alone": [n for n, (a, b) in enumerate(pair) if b and not a]}
                 for what, pair in sorted(pairs.items()) if any(a != b for a, b in pair)}  # fmt: skip
    return {
        "seconds": seconds,
        "ratios": {part: round(spent / seconds["now"][part], 2) for part, spent in seconds["before"].items()},
        "whole_seconds": {side: round(spent) for side, spent in whole.items()},
        "ratio": round(whole["before"] / whole["now"], 2),
        "verdicts": sum(map(len, pairs.values())),
        "only_before": sorted(old.keys() - new.keys()),
        "only_now": sorted(new.keys() - old.keys()),
        "differing": differing,
    }


def main() -> None:
    """Measure, print, and write what was found if asked."""
    if sys.argv[1:2] == ["--side"]:
        noting(sys.argv[3:], Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the package to compare with")
    for name, default in (("images", 50), ("subset", 20), ("blackbox-images", 50)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--substitute", action="append", help="in the black box; may be repeated; default: all")
    parser.add_argument("--clock", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from twinlatent.files import write_json
    from twinlatent.provenance import provenance

    origin, before = provenance(), options.before.resolve()
    images = {MAIN: options.images, SUBSET: options.subset, BLACK_BOX: options.blackbox_images}
    words = ["evaluate", DETECTOR, "--suite", SUITE, "--images", str(options.images), "--subset", str(options.subset),
             "--blackbox-images", str(options.blackbox_images), *FEW, "--no-progress"]  # fmt: skip
    words += [word for name in options.substitute or () for word in ("--substitute", name)]
    with tempfile.TemporaryDirectory(prefix="twinlatent-command-") as folder:
        found: dict[str, Any] = (
            {"clock_seconds": by_the_clock(before, words, Path(folder))} if options.clock
            else compared(at_once(before, words, Path(folder)), images)
        )  # fmt: skip
    print(json.dumps(found, indent=2))
    if options.out:
        commit = subprocess.run(["git", "-C", str(before), "rev-parse", "--short=12", "HEAD"],
                                capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
        write_json(options.out, {"detector": DETECTOR, "suite": SUITE, "images": images, "before": commit, **found,
                                 "provenance": origin.model_dump()})  # fmt: skip


if __name__ == "__main__":
    main()
