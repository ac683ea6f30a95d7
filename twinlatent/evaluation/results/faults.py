"""The form of what scripts/faults leaves in results/."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.provenance import Provenance

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]


class KilledCommand(BaseModel):
    """A command that was ended by SIGKILL at random moments and given again, until it came to its end.

    Attributes:
        kills: how often it was killed.
        finished: runs that came to an end; of a server, how often it was started again.
        identical: how many of them left what a run leaves that is never killed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kills: Count
    finished: Count
    identical: Count


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
    """Memory of a process in MB over some time of small work.

    Attributes:
        seconds: it worked.
        units: requests or evaluations.
        after_a_third: of the time, the most by then.
        at_the_end: of it.
        highest: of all.
        flat: whether it grew by at most a twentieth from then on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Positive
    units: Count
    after_a_third: Positive
    at_the_end: Positive
    highest: Positive
    flat: bool


class FaultsCheck(BaseModel):
    """What scripts/faults finds: what goes on, ends in one line, or stays the same when everything else goes wrong.

    Attributes:
        seed: of the moments of kills.
        seconds: it took, all of it.
        failed: what was lost, differs or ended otherwise, by the name of the step; empty where nothing did.
        killed: by command.
        surroundings: by name.
        bad_inputs: how many of each kind were given; each was refused in one line or with a 4xx, but for those in
            `failed`.
        memory: by command.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Count
    seconds: Positive
    failed: dict[str, list[str]]
    killed: dict[str, KilledCommand]
    surroundings: dict[str, Surrounding]
    bad_inputs: dict[str, Count]
    memory: dict[str, MemoryOverTime]
    provenance: Provenance
