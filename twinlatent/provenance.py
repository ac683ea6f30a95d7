"""Where a number or a file comes from: command, commit, machine, versions."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

LIBRARIES = ("twinlatent", "torch", "numpy", "scikit-learn")


class Provenance(BaseModel):
    """What produced a result. Strings that could not be found out are `"unknown"`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    commit: str
    date: str
    machine: str
    versions: dict[str, str]


def provenance() -> Provenance:
    """Describe the running process: its command line, the package's commit, the machine, the versions.

    Long work asks when it begins: a commit made while it runs is not the code it runs.
    """
    return Provenance(command=_command(), commit=_commit(), date=datetime.now(UTC).strftime("%Y-%m-%d"),
                      machine=_machine(), versions=_versions())  # fmt: skip


def _command() -> str:
    """The command line; of absolute paths only the last part, since the rest is one machine's own."""
    program = Path(sys.argv[0])
    name = {"-c": "python -c"}.get(program.name, program.name or "python")
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else name
    return " ".join([name, *(shlex.quote(_without_folders(word)) for word in sys.argv[1:])])


def _without_folders(word: str) -> str:
    option, equals, value = word.rpartition("=")
    prefix, colon, path = value.rpartition(":")
    return option + equals + prefix + colon + (Path(path).name if Path(path).is_absolute() else path)


def _commit() -> str:
    """The commit of the source tree the package runs from, with `+` if it has uncommitted changes."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "unknown"
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--", "twinlatent") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _machine() -> str:
    """Kind of processor and number of cores; no host name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (line.partition(":") for line in info.read_text().splitlines())
        model = next((value.strip() for name, _, value in lines if name.strip() == "model name"), model)
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
