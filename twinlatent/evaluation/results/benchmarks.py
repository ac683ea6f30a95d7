"""The forms of what benchmarks/ and scripts/gpu_check leave in results/."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from twinlatent.provenance import Provenance

Positive = Annotated[FiniteFloat, Field(gt=0)]


class Benchmark(BaseModel):
    """What benchmarks/encoder_step.py measures: an image gradient through all encoders, computed in several ways.

    Attributes:
        data: whose networks.
        threads: of the processor.
        milliseconds: of each contestant.
        speedup: of ours over the fastest other.
        share_of_peak: of the machine's speed in matrix products that ours reaches.
        relative_error: of each contestant's gradient.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    threads: Annotated[int, Field(ge=1)]
    milliseconds: Annotated[dict[str, Positive], Field(min_length=1)]
    speedup: Positive
    share_of_peak: Positive
    relative_error: dict[str, Annotated[FiniteFloat, Field(ge=0)]]
    provenance: Provenance


class CostOfClasses(BaseModel):
    """What encoders cost at one number of classes, shared first layers against none; medians.

    Attributes:
        classes: how many.
        step_milliseconds: of a plain pass and one of bounds, forth and back, by `shared` and `separate`.
        file_megabytes: of a detector, likewise.
        step_ratio: separate over shared.
        file_ratio: likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[int, Field(ge=1)]
    step_milliseconds: Annotated[dict[str, Positive], Field(min_length=1)]
    file_megabytes: Annotated[dict[str, Positive], Field(min_length=1)]
    step_ratio: Positive
    file_ratio: Positive


class ClassBenchmark(BaseModel):
    """What benchmarks/classes.py measures.

    Attributes:
        encoders: notation by `shared` and `separate`.
        batch: images of a step.
        threads: of the processor.
        by_classes: one a number of classes.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoders: dict[str, str]
    batch: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    by_classes: Annotated[list[CostOfClasses], Field(min_length=1)]
    provenance: Provenance


class Differences(BaseModel):
    """How verdicts of ONNX Runtime, or of another device, differ from the detector's on the CPU.

    Attributes:
        images: that both were asked.
        label, adversarial, p_value: images of which both say another one.
        suspicion: the most by which it differs, as a share of its size, or of 1 where that is smaller.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Annotated[int, Field(ge=1)]
    label: Annotated[int, Field(ge=0)]
    adversarial: Annotated[int, Field(ge=0)]
    p_value: Annotated[int, Field(ge=0)]
    suspicion: Annotated[FiniteFloat, Field(ge=0)]


class CostOfBatch(BaseModel):
    """What verdicts on so many images cost, medians, and how many times as fast ONNX Runtime is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: Annotated[int, Field(ge=1)]
    milliseconds: Annotated[dict[str, Positive], Field(min_length=1)]
    times_as_fast: Annotated[dict[str, Positive], Field(min_length=1)]


class ExportedDetector(BaseModel):
    """A detector and its ONNX file.

    Attributes:
        model: name in the zoo.
        bytes: of its file, `safetensors`, and of the other, `onnx`.
        size_ratio: onnx over safetensors.
        differences: of verdicts on all test images.
        by_batch: times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    bytes: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    size_ratio: Positive
    differences: Differences
    by_batch: Annotated[list[CostOfBatch], Field(min_length=1)]


class ExportBenchmark(BaseModel):
    """What benchmarks/export.py measures.

    Attributes:
        threads: of the processor.
        rounds: of which medians are.
        models: one a detector.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    models: Annotated[list[ExportedDetector], Field(min_length=1)]
    provenance: Provenance


class TrainedOnDevice(BaseModel):
    """A recipe that was trained on a device, with as many rounds as there was time for.

    Attributes:
        recipe: its name.
        rounds: that were played.
        of: rounds the recipe asks for.
        seconds: they took.
        accuracy: on selection images, or test images where there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    rounds: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]
    seconds: Positive
    accuracy: Annotated[FiniteFloat, Field(ge=0, le=1)]


class AttackedOnDevice(BaseModel):
    """A suite of attacks on a detector, at the main point.

    Attributes:
        detector: name in the zoo.
        suite: name.
        images: that were attacked.
        batch: images at a time.
        seconds: they took.
        rates: success rates by attack, `worst` being any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    suite: str
    images: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    seconds: Positive
    rates: dict[str, Annotated[FiniteFloat, Field(ge=0, le=1)]]


class DeviceCheck(BaseModel):
    """What scripts/gpu_check finds on a machine with a GPU; None is what there was no time for, or what failed.

    Attributes:
        gpu: its name.
        device: as commands call it.
        seconds: it took, all of it.
        failed: what went wrong, by the name of the step; empty where nothing did.
        left_out: steps that there was no time for.
        commands: seconds of each command that ran with that device.
        resumed: most by which a weight differs from those of an uninterrupted training, by `from → to`.
        verdicts: against those of the CPU, by detector.
        training: of a certified recipe.
        attack: of a whole suite.
        milliseconds: of the same small work on both, by its name, `cpu` and `device`.
        times_as_fast: cpu over device.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: Annotated[str, Field(min_length=1)]
    device: str
    seconds: Positive
    failed: dict[str, str]
    left_out: list[str]
    commands: dict[str, Positive]
    resumed: dict[str, Annotated[FiniteFloat, Field(ge=0)]]
    verdicts: dict[str, Differences]
    training: TrainedOnDevice | None
    attack: AttackedOnDevice | None
    milliseconds: dict[str, dict[str, Positive]]
    times_as_fast: dict[str, Positive]
    provenance: Provenance


class LoadTest(BaseModel):
    """What benchmarks/serve.py measures: clients that ask a server at once, each answer compared with the detector's.

    Attributes:
        model: name in the zoo.
        data: whose images are sent.
        seconds: it took.
        clients: that ask, each one request after the other.
        threads: of the server's torch.
        requests: how many were `right`, and `refused` as they should be.
        requests_per_second: of all.
        images_per_second: in right answers.
        bare_images_per_second: of the detector without a server, in large batches.
        share_of_bare: images over bare images.
        p50_ms, p99_ms: time of an answer, in milliseconds.
        wrong: answers that differ from the detector's, or requests that were not refused.
        lost: requests without an answer.
        memory_mb: of the server, `after_a_third` of the time, at the `end`, and `highest`.
        memory_flat: whether it grew by at most a twentieth from then on.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: str
    seconds: Positive
    clients: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    requests: dict[str, Annotated[int, Field(ge=0)]]
    requests_per_second: Positive
    images_per_second: Positive
    bare_images_per_second: Positive
    share_of_bare: Positive
    p50_ms: Positive
    p99_ms: Positive
    wrong: Annotated[int, Field(ge=0)]
    lost: Annotated[int, Field(ge=0)]
    memory_mb: dict[str, Positive]
    memory_flat: bool
    provenance: Provenance


class WorkersBenchmark(BaseModel):
    """What benchmarks/workers.py measures: the same work in one process and by several.

    Attributes:
        what: `attack` or `evaluate`.
        detector: name in the zoo.
        images: that are attacked.
        steps: of gradient attacks.
        workers: how many.
        seconds: by the number of processes.
        ratio: one process over workers.
        same: whether the results are the same bit for bit.
        origin: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    detector: str
    images: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=2)]
    seconds: dict[str, Positive]
    ratio: Positive
    same: bool
    origin: Provenance


class ComparedAttack(BaseModel):
    """An attack of this code and of an earlier commit's, on the same images.

    Attributes:
        seconds: of the processor, `before` and `now`.
        ratio: before over now.
        steps: that the images took together.
        won: how many images.
        before_alone, now_alone: numbers of the images that only one of both won.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: dict[str, Annotated[FiniteFloat, Field(ge=0)]]
    ratio: Annotated[FiniteFloat, Field(ge=0)]
    steps: dict[str, Annotated[int, Field(ge=0)]]
    won: dict[str, Annotated[int, Field(ge=0)]]
    before_alone: list[int] = Field(alias="before alone")
    now_alone: list[int] = Field(alias="now alone")


class AttacksBenchmark(BaseModel):
    """What benchmarks/evaluation.py measures: an evaluation's attacks now and at an earlier commit.

    Attributes:
        detector: name in the zoo.
        images: of each attack.
        threads: of the processor.
        before: the earlier commit.
        groups: ratio of each group of attacks.
        evaluation: ratio of the attacks of an evaluation of 1,000 images, reckoned from those.
        evaluation_seconds: likewise, `before` and `now`.
        attacks: by group and name.
        provenance: where the numbers come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: str
    images: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    before: str
    groups: dict[str, Positive]
    evaluation: Positive
    evaluation_seconds: dict[str, Positive]
    attacks: dict[str, dict[str, ComparedAttack]]
    provenance: Provenance
