"""The form of what scripts/faults leaves in results/."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.provenance import Provenance

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]


class KilledCommand(BaseModel):
    """A command that was ended by a signal and given again, until it came to its end.

    Attributes:
        kills: how often it was killed.
        finished: runs that came to an end; of a server, how often it was started again.
        identical: how many of them left what a run leaves that is never killed; of a server, after how many kills its
            log had every verdict that went out.
        pieces: rounds, batches, photographs or files of one run; None where that is not counted.
        again: how many pieces were begun again, in all runs; at most one for each kill.
        while_writing: kills that left half a file behind, which nobody reads and the next run removes.
        operations: on files of one run; it was killed just before one of these, at random moments where it is None.
        verdicts: of a server, how many went out; each is in the log.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kills: Count
    finished: Count
    identical: Count
    pieces: Count | None
    again: Count | None
    while_writing: Count
    operations: Count | None
    verdicts: Count | None


class Surrounding(BaseModel):
    """A place or environment that is against commands.

    Attributes:
        how: it was made.
        commands: that ran in it, and after it.
        refused: how many of them ended in one line, as they should.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Annotated[str, Field(min_length=1)]
    commands: Count
    refused: Count


class MemoryOverTime(BaseModel):
    """Memory of a process in MB, and what it holds open, over some time of small work.

    Attributes:
        seconds: it worked.
        units: requests or evaluations.
        memory: the most in the first third of what was seen, but for its first tenth, and in the last third.
        grown: by how much from the first look to the last, in MB along the line of least squares.
        files: open ones, the median of each.
        threads: likewise.
        flat: whether the most grew by at most a fiftieth, memory along the line by at most a hundredth, and the others
            by at most one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Positive
    units: Count
    memory: tuple[Positive, Positive]
    grown: FiniteFloat
    files: tuple[Count, Count]
    threads: tuple[Count, Count]
    flat: bool


class Step(BaseModel):
    """A step of the check.

    Attributes:
        seed: of what is drawn.
        seconds: it took.
        provenance: by what command it was made, and from what commit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Count
    seconds: Positive
    provenance: Provenance


class FaultsCheck(BaseModel):
    """What scripts/faults finds: what goes on, ends in one line, or stays the same when everything else goes wrong.

    Attributes:
        failed: what was lost, differs or ended otherwise, by the name of what was tried; empty where nothing did.
        steps: where each step comes from, by the field that it fills.
        killed: by command.
        stopped: by SIGTERM and Ctrl-C, by command; each ended in one line, with 130.
        surroundings: by name.
        inputs: how many bad ones of each kind were given; each was refused in one line or with a 4xx, but for those in
            `failed`. Of these the `headers` alone need not be refused: they are read or refused, nothing else.
        memory: by command.
        provenance: of the last step that was made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    failed: dict[str, list[str]]
    steps: dict[str, Step]
    killed: dict[str, KilledCommand]
    stopped: dict[str, KilledCommand]
    surroundings: dict[str, Surrounding]
    inputs: dict[str, Count]
    memory: dict[str, MemoryOverTime]
    provenance: Provenance
