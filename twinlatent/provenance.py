"""Where a number or a file comes from: command, commit, machine, versions."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PureWindowsPath

from pydantic import BaseModel, ConfigDict

INTERACTIVE = "interactive Python"
KERNELS = ("ipykernel", "ipykernel_launcher", "colab_kernel_launcher", "xpython_launcher")
LIBRARIES = ("twinlatent", "torch", "numpy", "scikit-learn")


class Provenance(BaseModel):
    """What produced a result. Strings that could not be found out are `"unknown"`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    commit: str
    date: str
    machine: str
    versions: dict[str, str]


_adopted: list[Provenance] = []


@contextmanager
def working_for(origin: Provenance) -> Iterator[None]:
    """Within the block this process does a part of another run, and its provenance is that of the whole, `origin`."""
    _adopted.append(origin)
    try:
        yield
    finally:
        _adopted.remove(origin)


def without_option(origin: Provenance, option: str) -> Provenance:
    """The same run, its command without that option and its value.

    Example:
        >>> run = provenance().model_copy(update={"command": "twinlatent evaluate a --shard 3/8 --seed 1"})
        >>> without_option(run, "--shard").command
        'twinlatent evaluate a --seed 1'
    """
    plain = re.sub(rf" {re.escape(option)}[ =]\S+", "", origin.command)
    return origin.model_copy(update={"command": plain})


def provenance() -> Provenance:
    """Describe the running process: its command line, the package's commit, the machine, the versions.

    Long work asks when it begins: a commit made while it runs is not the code it runs. A worker process answers as the
    one that started it.
    """
    if _adopted:
        return _adopted[-1]
    return Provenance(command=_command(), commit=_commit(), date=datetime.now(UTC).strftime("%Y-%m-%d"),
                      machine=_machine(), versions=_versions())  # fmt: skip


def _command() -> str:
    """The command line; of absolute paths only the last part, since the rest is one machine's own.

    At a prompt or in a notebook no command made the result, and the kernel's own says nothing.
    """
    program, *words = [str(word) for word in getattr(sys, "argv", ())] or [""]
    if _interactive() or Path(program).stem in KERNELS or KERNELS[0] in Path(program).parts:
        return INTERACTIVE
    line = " ".join([_called(program), *(shlex.quote(_without_folders(word)) for word in words)])
    return line.encode("utf-8", "backslashreplace").decode()  # names of files may be no text


def _interactive() -> bool:
    """Whether somebody types: at Python's prompt, or at IPython's, which is that of notebooks too."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(sys, "ps1") or shell() is not None


def _called(program: str) -> str:
    """How the program is started that sys.argv[0] names."""
    if program in ("", "-", "-c"):
        return f"python {program}".rstrip()
    path, module = Path(program), getattr(sys.modules["__main__"], "__spec__", None)
    if path.name == "__main__.py":
        return f"python -m {path.parent.name}"
    return f"python -m {module.name}" if module is not None and module.origin == program else path.name


def _without_folders(word: str) -> str:
    option, equals, value = word.rpartition("=")
    if re.match(r"[A-Za-z]:[\\/]", value):
        return option + equals + PureWindowsPath(value).name
    prefix, colon, path = value.rpartition(":")
    letter = path[:2] if re.match(r"-\w/", path) else ""
    path = path.removeprefix(letter)
    return option + equals + prefix + colon + letter + (Path(path).name if Path(path).is_absolute() else path)


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
    return {name: version_of(name) for name in LIBRARIES}


@cache
def version_of(name: str) -> str:
    """The version of an installed package, `"unknown"` if it is none; looked up once, as that takes milliseconds."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
