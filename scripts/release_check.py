"""Build wheel and sdist, and check them as a person has them who installs the wheel into an empty environment.

    python scripts/release_check.py [--out results/release.json]

In order: the version is the same everywhere; wheel and sdist are built; the wheel holds every file of the package,
nothing else, and is small; the sdist holds every file of the project, and a wheel that is built of it is the same; the
wheel is installed with its core dependencies alone, at the versions of constraints.txt, for the Python that runs this;
there, in a folder outside of the project, the command, all public names, every shipped detector and the demo work. For
each other Python from 3.11 to 3.13 that is at hand the same is done but for the demo, if pip has a build of torch for
it without asking an index; else what needs no torch: the sources compile, and the command lists the detectors.

Each fault is a line. Where there is none, both files go to dist/, and the figures to results/.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twinlatent.evaluation.results.records import validated
from twinlatent.evaluation.results.release import LARGEST_WHEEL, Extent, ReleaseCheck
from twinlatent.files import write_json
from twinlatent.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
PROBE = ROOT / "scripts" / "release_probe.py"
DIST = "dist"
PYTHONS = ("3.11", "3.12", "3.13")
FOREIGN = ("torchvision",)
"""Never to be brought, by whatever requires it."""
OURS = ("PYTHON", "TWINLATENT_", "VIRTUAL_ENV")
"""What variables of this environment begin with that the empty one must not see."""


class Fault(Exception):
    """What is wrong with the release; each argument is a line."""


# --- what can be read -------------------------------------------------------------------------------------------------


def versions(root: Path) -> dict[str, str]:
    """The version as each file says it; CITATION.cff and CHANGELOG.md, whose newest counts, with the day."""
    found = {
        "pyproject.toml": r'^version = "(.+)"$',
        "twinlatent/__init__.py": r'^__version__ = "(.+)"$',
        "CITATION.cff": r"^version: (.+)\ndate-released: (.+)$",
        "CHANGELOG.md": r"^## \[(\d.*)\] - (.+)$",
    }
    said = {}
    for name, pattern in found.items():
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        said[name] = " of ".join(match.groups()) if match else "none"
    return said


def faults_of_versions(said: Mapping[str, str]) -> list[str]:
    """Where a file says another version than CHANGELOG.md, or another day if it says one."""
    wanted = said["CHANGELOG.md"]
    return [f"{name} says version {version}, CHANGELOG.md {wanted}" for name, version in said.items()
            if version != (wanted if " of " in version else wanted.partition(" of ")[0])]  # fmt: skip


def faults_of_changelog(text: str) -> list[str]:
    """Changes that have no version yet: they would ship unnoticed."""
    unreleased = re.search(r"^## \[Unreleased\]$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if unreleased is None or not unreleased[1].strip():
        return []
    return ["CHANGELOG.md has unreleased changes; give them a version"]


def faults_of_wheel(held: Mapping[str, int], wanted: set[str], size: int) -> list[str]:
    """What is wrong with a wheel.

    Args:
        held: its files and their checksums.
        wanted: files of the package that git tracks.
        size: of the wheel, in bytes.
    """
    inside = {name for name in held if ".dist-info/" not in name}
    wrong = [f"the wheel has {size:,} bytes; at most {LARGEST_WHEEL:,} are allowed"] if size > LARGEST_WHEEL else []
    return wrong + differences("the wheel", inside, wanted)


def differences(what: str, held: set[str], wanted: set[str]) -> list[str]:
    """A line for what is missing, and one for what is too much."""
    return [f"{what} {verb} {len(names)} files: {', '.join(sorted(names)[:5])}"
            for verb, names in (("lacks", wanted - held), ("has besides", held - wanted)) if names]  # fmt: skip


def faults_of_installed(installed: Mapping[str, str]) -> list[str]:
    """Packages that the wheel must not bring."""
    return [f"the wheel brings {name} {version}" for name, version in installed.items() if name in FOREIGN]


def faults_of_answers(said: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """Where what is installed says something else than the sources, and what it lacks in both."""
    wrong = [f"{name} is installed as {said[name]}, the sources say {source[name]}"
             for name in ("version", "names") if said[name] != source[name]]  # fmt: skip
    for name in sorted({*said["detectors"], *source["detectors"]}):
        ours, theirs = (one["detectors"].get(name) for one in (said, source))
        if not ours or not theirs:
            wrong.append(f"{name} is {'installed' if ours else 'in the sources'} alone")
        elif ours != theirs:
            wrong.append(f"{name} answers otherwise than in the sources")
        elif not ours["card"]:
            wrong.append(f"{name} has no card")
    return wrong + ["torchvision is there"] * said["torchvision"]


def held_by(wheel: Path) -> dict[str, int]:
    """The files of a wheel and their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist() if not info.is_dir()}


def normal(name: str) -> str:
    """The name of a package as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- the steps --------------------------------------------------------------------------------------------------------


@dataclass
class Release:
    """A run of this script: where it works, and what is found.

    Attributes:
        scratch: a folder outside of the project.
        seconds: of each step.
    """

    scratch: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def away(self) -> Path:
        """The folder that commands run in, and a home that is empty."""
        folder = self.scratch / "away"
        folder.mkdir(exist_ok=True)
        return folder

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say what is done, and how long it took."""
        print(f"{name} ...", flush=True)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)

    def run(self, *words: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """What a command prints; one that fails is a fault. It runs outside of the project and sees none of it.

        Args:
            words: program and arguments.
            cwd: another folder to run it in.
            variables: of its environment, beside those that are no `OURS`.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        done = subprocess.run([str(word) for word in words], cwd=cwd or self.away, env={**environment, **variables},
                              capture_output=True, text=True, encoding="utf-8")  # fmt: skip
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise Fault(f"{Path(words[0]).name} {' '.join(map(str, words[1:]))[:200]} failed: {last}")
        return done.stdout

    def ask(self, *words: str | Path) -> str:
        """What a command prints that finds an empty home."""
        return self.run(*words, HOME=str(self.away))

    def environment(self, name: str, python: str | Path) -> Path:
        """Make an empty environment and return its folder of programs."""
        self.run(python, "-m", "venv", self.scratch / name)
        return self.scratch / name / "bin"

    def install(self, bin: Path, *words: str | Path) -> None:
        """Ask an environment's pip; packages are compiled when they are imported."""
        self.run(bin / "python", "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *words)


def tracked(folder: str = "") -> set[str]:
    """Files of the project below a folder that git tracks."""
    words = ["git", "ls-files", "--", folder or "."]
    return set(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")) - {""}


def build(release: Release, project: Mapping[str, Any]) -> tuple[Path, Path]:
    """Build both, the wheel from the sources, and compare it with one that is built from the sdist."""
    bin = release.environment("builder", sys.executable)
    release.install(bin, "-c", ROOT / "constraints.txt", *project["build-system"]["requires"])
    out, hatch = release.scratch / DIST, (bin / "python", "-m", "hatchling", "build", "-d")
    release.run(*hatch, out, "-t", "sdist", "-t", "wheel", cwd=ROOT)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(release.scratch / "unpacked", filter="data")
    (unpacked,) = (release.scratch / "unpacked").iterdir()
    release.run(*hatch, release.scratch / "again", "-t", "wheel", cwd=unpacked)
    again = release.scratch / "again" / wheel.name
    inside = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    held, other = held_by(wheel), held_by(again)
    wrong = faults_of_wheel(held, tracked("twinlatent"), wheel.stat().st_size)
    wrong += differences("the sdist", inside - {"PKG-INFO"}, tracked())
    wrong += differences("a wheel of the sdist", set(other), set(held))
    if not wrong and wheel.read_bytes() != again.read_bytes():
        differing = [name for name in held if held[name] != other[name]]
        wrong.append(f"a wheel of the sdist differs from that of the sources in {', '.join(differing[:5]) or 'form'}")
    if wrong:
        raise Fault(*wrong)
    return wheel, sdist


def installed_by(release: Release, bin: Path) -> dict[str, str]:
    """Package → version of an environment, but for what made it."""
    rows = json.loads(release.run(bin / "python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
    return {normal(row["name"]): row["version"] for row in rows if row["name"] not in ("pip", "setuptools")}


def probe(release: Release, bin: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    """Ask what is installed, by API and by the command."""
    said: dict[str, Any] = json.loads(release.ask(bin / "python", PROBE))
    if not Path(said["place"]).is_relative_to(release.scratch):
        raise Fault(f"{said['place']} was imported, not what is installed")
    wrong = faults_of_answers(said, source)
    if wrong:
        raise Fault(*wrong)
    listed(release, bin, list(said["detectors"]))
    return said


def listed(release: Release, bin: Path, names: list[str]) -> None:
    """The command shows its help, and lists all detectors."""
    release.ask(bin / "twinlatent", "--help")
    missing = set(names) - set(re.findall(r"[\w-]+", release.ask(bin / "twinlatent", "zoo", "list")))
    if missing:
        raise Fault(f"twinlatent zoo list does not show {', '.join(sorted(missing))}")


def demo(release: Release, bin: Path) -> None:
    """What a person runs first: it trains, attacks, and writes a page."""
    release.ask(bin / "twinlatent", "demo", "--out", "demo", "--no-progress")
    if not (release.away / "demo" / "report.html").stat().st_size:
        raise Fault("twinlatent demo left an empty report.html")


def others(main: str) -> Iterator[tuple[str, Path]]:
    """Version and program of the other Pythons that are at hand and start."""
    for short in PYTHONS:
        found = shutil.which(f"python{short}")
        if found is None or main.startswith(f"{short}."):
            continue
        asked = [found, "-c", "import platform, sys; print(platform.python_version(), sys.executable)"]
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode == 0:
            version, path = done.stdout.split(maxsplit=1)
            yield version, Path(path.strip())


def on(release: Release, version: str, python: Path, wheel: Path, pins: Mapping[str, str],
       source: Mapping[str, Any]) -> Extent:  # fmt: skip
    """Install the same versions for another Python, torch too if no index must be asked for it, and try what runs."""
    bin = release.environment(version, python)
    lines = [f"{name}=={pin}" for name, pin in pins.items() if name not in ("torch", "twinlatent")]
    release.install(bin, "--no-deps", wheel, *lines)
    try:
        release.install(bin, "--no-deps", "--no-index", f"torch=={pins['torch']}")
    except Fault:
        release.run(bin / "python", "-W", "error", "-m", "compileall", "-q", *release.scratch.glob(
            f"{version}/lib/python*/site-packages/twinlatent"))  # fmt: skip
        listed(release, bin, list(source["detectors"]))
        return "without torch"
    probe(release, bin, source)
    return "everything"


def check(release: Release) -> dict[str, Any]:
    """All steps, and what is found, as `ReleaseCheck` has it."""
    project, origin = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")), provenance()
    wrong = faults_of_versions(versions(ROOT))
    wrong += faults_of_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if wrong:
        raise Fault(*wrong)
    with release.step("build"):
        wheel, sdist = build(release, project)
    with release.step("install"):
        bin = release.environment("empty", sys.executable)
        release.install(bin, "-c", ROOT / "constraints.txt", wheel)
        release.run(bin / "python", "-m", "pip", "check")
        installed = installed_by(release, bin)
        wrong = faults_of_installed(installed)
        if wrong:
            raise Fault(*wrong)
    with release.step("command, names, detectors"):
        source = json.loads(release.run(sys.executable, PROBE, PYTHONPATH=str(ROOT)))
        said = probe(release, bin, source)
    with release.step("demo"):
        demo(release, bin)
    main = ".".join(map(str, sys.version_info[:3]))
    pythons: dict[str, Extent] = {main: "everything"}
    for version, python in others(main):
        with release.step(f"Python {version}"):
            pythons[version] = on(release, version, python, wheel, installed, source)
    files = tracked()
    return {
        "version": said["version"],
        "wheel": {"name": wheel.name, "bytes": wheel.stat().st_size, "files": len(held_by(wheel))},
        "sdist": {"name": sdist.name, "bytes": sdist.stat().st_size, "files": len(files) + 1},
        "tests": sum(bool(re.fullmatch(r"tests/.*test_\w+\.py", name)) for name in files),
        "detectors": sorted(said["detectors"]),
        "installed": installed,
        "pythons": pythons,
        "seconds": release.seconds,
        "provenance": origin.model_dump(),
    }


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "release.json")
    asked = parser.parse_args(words)
    with TemporaryDirectory(prefix="twinlatent-release-") as folder:
        try:
            found = check(Release(Path(folder).resolve()))
        except Fault as fault:
            print("\n".join(f"release_check: {line}" for line in fault.args), file=sys.stderr)
            return 1
        shutil.copytree(Path(folder, DIST), ROOT / DIST, dirs_exist_ok=True)
    validated(asked.out, ReleaseCheck, found)
    write_json(asked.out, found)
    print(f"{asked.out.name}: {found['wheel']['name']}, {found['wheel']['bytes']:,} bytes; {found['pythons']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
