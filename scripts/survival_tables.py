"""Tables of what commands survive and what a newcomer's commands take, from results/; for docs/results.md."""

from collections.abc import Iterator

from tables import RESULTS, head, row

from twinlatent.evaluation.results.faults import FaultsCheck
from twinlatent.evaluation.results.release import FreshCheck, ReleaseCheck

FAULTS = FaultsCheck.model_validate_json((RESULTS / "faults.json").read_text(encoding="utf-8"))
FRESH_FILE = RESULTS / "fresh.json"
FRESH = FreshCheck.model_validate_json(FRESH_FILE.read_text(encoding="utf-8")) if FRESH_FILE.exists() else None
RELEASE = ReleaseCheck.model_validate_json((RESULTS / "release.json").read_text(encoding="utf-8"))


def ended_by_signals() -> Iterator[str]:
    """Commands that were killed or stopped, and given again."""
    yield from head(
        "command", "ended by", "times", "came to their end", "same numbers as undisturbed", "pieces begun again"
    )
    for how, commands in (("SIGKILL", FAULTS.killed), ("SIGTERM, Ctrl-C", FAULTS.stopped)):
        for name, found in sorted(commands.items()):
            again = "" if found.again is None else f"{found.again:,}"
            yield row(f"`{name}`" if " at " not in name and " by " not in name else name, how, f"{found.kills:,}",
                      f"{found.finished:,}", f"{found.identical:,}", again)  # fmt: skip


def surrounded() -> Iterator[str]:
    """What was against commands."""
    yield from head("what", "how", "commands", "refused in a line")
    for name, found in FAULTS.surroundings.items():
        yield row(name, found.how, found.commands, found.refused)


def given_badly() -> str:
    """How many bad inputs there were."""
    counts = {kind: count for kind, count in FAULTS.inputs.items() if kind != "headers"}
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} bad inputs ({kinds})"


def over_time() -> Iterator[str]:
    """Memory of what works for long."""
    yield from head("what", "minutes", "units of work", "MB in the first third, at most", "in the last third",
                    "growth along the line of least squares, MB", "open files", "threads")  # fmt: skip
    for name, found in FAULTS.memory.items():
        sizes = (f"{size:.1f}" for size in found.memory)
        open_ones = (" → ".join(map(str, pair)) for pair in (found.files, found.threads))
        yield row(
            f"`{name}`", f"{found.seconds / 60:.0f}", f"{found.units:,}", *sizes, f"{found.grown:+.2f}", *open_ones
        )


def failures() -> Iterator[str]:
    """What failed, a line each; one that says so where nothing did."""
    if not FAULTS.failed:
        yield "Nothing of this failed."
    for name, lines in FAULTS.failed.items():
        yield f"- **Failed: {name}.** {' '.join(lines)}"


def newcomer() -> Iterator[str]:
    """Commands in an empty clone, as far as they were measured, and the wheel."""
    yield from head("command", "seconds", "what comes of it")
    if FRESH is not None:
        said = {
            "make demo": "installed, a detector trained and attacked, its page",
            "make test": f"installed, {FRESH.passed:,} tests passed, {FRESH.skipped} skipped for want of data sets",
            "make docs": f"installed, {FRESH.pages} pages, {FRESH.links:,} links within them, each leads somewhere",
        }
        for name, seconds in FRESH.fresh_seconds.items():
            yield row(f"`{name}`", f"{seconds:.0f}", said[name])
    wheel = f"wheel {RELEASE.wheel.bytes / 1e6:.1f} MB, {len(RELEASE.detectors)} detectors answer as the sources do"
    yield row("`make release-check`", f"{sum(RELEASE.seconds.values()):.0f}", wheel)


def origins() -> Iterator[str]:
    """Where these numbers come from."""
    found = {step: of.provenance for step, of in FAULTS.steps.items()} | {"release": RELEASE.provenance}
    if FRESH is not None:
        found["newcomer"] = FRESH.provenance
    for name, origin in found.items():
        yield f"- {name}: `{origin.command}`, commit {origin.commit}, {origin.date}, {origin.machine}"
