"""Which form a JSON object of results must have, by a field that only it has."""

from collections.abc import Mapping

from pydantic import BaseModel

from twinlatent.evaluation.results.benchmarks import (
    AttacksBenchmark,
    Benchmark,
    ClassBenchmark,
    DeviceCheck,
    ExportBenchmark,
    LoadTest,
    WorkersBenchmark,
)
from twinlatent.evaluation.results.commands import ClockBenchmark, ClusterCheck, CommandBenchmark
from twinlatent.evaluation.results.faults import FaultsCheck
from twinlatent.evaluation.results.parts import JudgeReport, ModelCard
from twinlatent.evaluation.results.release import FreshCheck, ReleaseCheck
from twinlatent.evaluation.results.speeds import PeersBenchmark, PrecisionBenchmark

FORMS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "gpu": ("a check of a GPU", DeviceCheck),
    "killed": ("a check of faults", FaultsCheck),
    "milliseconds": ("a benchmark", Benchmark),
    "by_classes": ("a benchmark", ClassBenchmark),
    "models": ("a benchmark", ExportBenchmark),
    "requests_per_second": ("a benchmark", LoadTest),
    "workers": ("a benchmark", WorkersBenchmark),
    "evaluation_seconds": ("a benchmark", AttacksBenchmark),
    "whole_seconds": ("a benchmark", CommandBenchmark),
    "to success": ("a benchmark", PeersBenchmark),
    "compiling": ("a benchmark", PrecisionBenchmark),
    "clock_seconds": ("a benchmark", ClockBenchmark),
    "kept_at": ("a check of a cluster", ClusterCheck),
    "wheel": ("a check of a release", ReleaseCheck),
    "fresh_seconds": ("a check of an empty clone", FreshCheck),
    "label_rule": ("a model card", ModelCard),
    "cases": ("what judges say", JudgeReport),
}
"""Field by which a JSON object is known -> what it is, and the form that it must have."""
