"""The forms of what scripts/release_check and scripts/fresh_check leave in results/."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.provenance import Provenance

LARGEST_WHEEL = 25_000_000
"""Bytes."""
Count = Annotated[int, Field(ge=1)]
Extent = Literal["everything", "without torch"]


class BuiltFile(BaseModel):
    """A distribution.

    Attributes:
        name: of the file.
        bytes: its size.
        files: how many it holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    bytes: Count
    files: Count


class BuiltWheel(BuiltFile):
    """A wheel, which is at most `LARGEST_WHEEL` bytes large."""

    bytes: Annotated[int, Field(ge=1, le=LARGEST_WHEEL)]


class ReleaseCheck(BaseModel):
    """What scripts/release_check finds: the built files, and what a person has who installs the wheel.

    Attributes:
        version: of the release.
        wheel: what most people install.
        sdist: a wheel that is built of it is the same, byte for byte.
        tests: files of tests in the sdist.
        detectors: shipped, each loaded and asked in the empty environment; it answers as the sources do, bit for bit.
        installed: package → version, all that the wheel brings.
        pythons: version → `everything` that is checked, or only what runs `without torch`, where no build of torch for
            that Python was at hand.
        seconds: of each step.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, Field(min_length=1)]
    wheel: BuiltWheel
    sdist: BuiltFile
    tests: Count
    detectors: Annotated[list[str], Field(min_length=1)]
    installed: Annotated[dict[str, str], Field(min_length=1)]
    pythons: Annotated[dict[str, Extent], Field(min_length=1)]
    seconds: Annotated[dict[str, Annotated[FiniteFloat, Field(ge=0)]], Field(min_length=1)]
    provenance: Provenance


class FreshCheck(BaseModel):
    """What a newcomer's commands do in an empty clone, where nothing is installed and no data set is at hand.

    Attributes:
        fresh_seconds: of each command, with the installation that it makes.
        passed: tests.
        skipped: tests, most for want of data sets.
        pages: of the site.
        links: within it; each leads somewhere.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fresh_seconds: Annotated[dict[str, Annotated[FiniteFloat, Field(gt=0)]], Field(min_length=1)]
    passed: Count
    skipped: Annotated[int, Field(ge=0)]
    pages: Count
    links: Count
    provenance: Provenance
