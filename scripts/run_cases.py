"""Run the cases in a folder, *.sh and *.py, and say which still fail.

python scripts/run_cases.py FOLDER [NAME...]

A case only prints. What is right is said in cases.toml beside this file, by the start of the case's name: `has` and
`lacks` are regular expressions that must and must not be found in what it prints, on standard output and error;
`status`, if given, is what it must end with. Whatever it is called, a case fails that takes too long or prints a
traceback that does not end in an error of ours, an exception of Python or of a library by its name, or a line of ours
that nobody reads to its end. NAME: only cases that start so.
"""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

PATIENCE = 900.0
LONGEST_LINE = 400
RULES = Path(__file__).with_name("cases.toml")
RUNNERS = {".sh": "sh", ".py": "python"}
TRACEBACK = "Traceback (most recent call last)"
OURS = re.compile(r"^twinlatent\.errors\.TwinlatentError: ", re.MULTILINE)
"""How a traceback ends that is right: the case called from Python, and was refused."""
RAW = re.compile(r"\b(?!TwinlatentError\b)[A-Z]\w*(Error|Exception)(?=:|\()")
"""An exception by its name, as Python or a library says it."""


def main() -> int:
    """Run them; status 1 if a case fails, 2 if there is none."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, *names = sys.argv[1:]
    cases = [path for path in sorted(Path(folder).resolve().iterdir()) if _is_case(path, names)]
    if not cases:
        print(f"{folder}: no cases", file=sys.stderr)
        return 2
    rules = tomllib.loads(RULES.read_text(encoding="utf-8"))
    failed = []
    for path in cases:
        faults = faults_of(*run(path), rule_for(path.name, rules))
        print(f"{path.name}: {'right' if not faults else 'FAILS'}", flush=True)
        for fault in faults:
            print(f"    {fault}", flush=True)
        if faults:
            failed.append(path.name)
    print(f"{len(cases) - len(failed)} of {len(cases)} right" + "".join(f"\nstill fails: {name}" for name in failed))
    return int(bool(failed))


def _is_case(path: Path, names: list[str]) -> bool:
    wanted = not names or any(path.name.startswith(name) for name in names)
    return path.suffix in RUNNERS and not path.name.startswith("_") and wanted


def rule_for(name: str, rules: dict[str, Any]) -> dict[str, Any]:
    """The rule whose key is the longest start of the case's name; none fits all."""
    fitting = [key for key in rules if re.match(rf"{re.escape(key)}(?![0-9])", name)]
    return dict(rules[max(fitting, key=len)]) if fitting else {}


def run(path: Path, patience: float = PATIENCE) -> tuple[str, int | None]:
    """What a case printed, and its status; None if it took too long, and was ended with all that it started."""
    process = subprocess.Popen([RUNNERS[path.suffix], str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    try:
        said, _ = process.communicate(timeout=patience)
        return said.decode("utf-8", "backslashreplace"), process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return said.decode("utf-8", "backslashreplace"), None


def faults_of(said: str, status: int | None, rule: dict[str, Any]) -> list[str]:
    """What is wrong with what a case printed."""
    faults = ["takes too long"] if status is None else []
    if TRACEBACK in said and not OURS.search(said):
        faults.append("prints a traceback")
    for line in said.splitlines():
        if RAW.search(line) and not line.startswith("twinlatent: "):
            faults.append(f"an exception that is not ours: {line.strip()[:120]}")
        if "twinlatent: " in line and len(line) > LONGEST_LINE:
            faults.append(f"a line of {len(line)} letters: {line[:80]} …")
    faults += [f"lacks {pattern!r}" for pattern in rule.get("has", ()) if not re.search(pattern, said, re.MULTILINE)]
    faults += [f"has {pattern!r}" for pattern in rule.get("lacks", ()) if re.search(pattern, said, re.MULTILINE)]
    if "status" in rule and status not in (None, rule["status"]):
        faults.append(f"ends with status {status}, not {rule['status']}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
