"""What a newcomer does, in an empty clone of the last commit: the two commands of the README, and the site of the docs.

Each makes what it needs by itself, `.venv` included; there are no data sets, and no variables of ours. An idle machine
is needed, since seconds are written down.

    python scripts/fresh_check.py [--out results/fresh.json]
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from twinlatent.evaluation.results.records import validated
from twinlatent.evaluation.results.release import FreshCheck
from twinlatent.files import write_json
from twinlatent.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("make demo", "make test", "make docs")
OURS = ("PYTHON", "TWINLATENT_", "VIRTUAL_ENV", "VENV", "OMP_", "OPENBLAS_", "MAKE", "MFLAGS")
"""What variables begin with that a newcomer does not have."""
TESTS = re.compile(r"=+ (\d+) passed(?:, (\d+) skipped)?.* in ")
SITE = re.compile(r"^site: (\d+) pages, (\d+) links", re.MULTILINE)


def newcomer(cache: Path) -> dict[str, str]:
    """The variables of somebody who has nothing of ours, not in a cache either."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | {
        "XDG_CACHE_HOME": str(cache)
    }


def done(command: str, place: Path, variables: dict[str, str]) -> tuple[float, str]:
    """Seconds that a command takes, and what it says.

    Raises:
        SystemExit: it fails; the end of what it says is shown.
    """
    began = time.monotonic()
    ran = subprocess.run(command.split(), cwd=place, env=variables, check=False, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace")  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"{command} ends with {ran.returncode}: ...{ran.stdout[-3000:]}")
    seconds = round(time.monotonic() - began, 1)
    print(f"{command}: {seconds:.0f} s", flush=True)
    return seconds, ran.stdout


def found(said: str, pattern: re.Pattern[str], what: str) -> list[int]:
    """The numbers of a line that a command must say."""
    match = pattern.search(said)
    if match is None:
        raise SystemExit(f"nothing is said of {what}: ...{said[-3000:]}")
    return [int(number or 0) for number in match.groups()]


def main(words: list[str] | None = None) -> int:
    """Do all of it; the exit status."""
    parser = argparse.ArgumentParser(description="What a newcomer does, in an empty clone, and how long it takes.")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "fresh.json")
    out = parser.parse_args(words).out
    with TemporaryDirectory(prefix="twinlatent-fresh-") as folder:
        place = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place)], check=True)
        seconds, said = {}, {}
        for command in COMMANDS:
            seconds[command], said[command] = done(command, place, newcomer(Path(folder) / "cache"))
    passed, skipped = found(said["make test"], TESTS, "tests")
    pages, links = found(said["make docs"], SITE, "the site")
    made = {"fresh_seconds": seconds, "passed": passed, "skipped": skipped, "pages": pages, "links": links,
            "provenance": provenance().model_dump()}  # fmt: skip
    write_json(out, validated(out, FreshCheck, made).model_dump(mode="json"))
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
