"""What an evaluation leaves behind: rows, records, what checks and judges report, and the folder of all that."""

from typing import TYPE_CHECKING

from twinlatent.lazy import lazily

if TYPE_CHECKING:
    from twinlatent.evaluation.results.folder import (
        MODEL,
        PAGE,
        RESULTS,
        UNFINISHED,
        WHOSE,
        evaluation_folder,
        log_of,
        read_log,
    )
    from twinlatent.evaluation.results.keeping import keep, kept, reused
    from twinlatent.evaluation.results.parts import (
        Check,
        Examples,
        JudgeCase,
        JudgedAttack,
        JudgeReport,
        ModelCard,
        Status,
    )
    from twinlatent.evaluation.results.pictures import Flags, Floats, LatentPoints, Names, PairGrid
    from twinlatent.evaluation.results.records import (
        ACCURACY_SHIFT,
        ANY,
        BESIDE,
        BOUNDS,
        CERTIFIED,
        FLAGGED_SHIFT,
        MEAN,
        MILD,
        MISCLASSIFIED_ONLY,
        OF_ATTACKED,
        OF_CLASS,
        OF_INTERVALS,
        UNCHANGED,
        WORST,
        Label,
        Metric,
        Record,
        checked_label,
        complaint,
        false_alarms,
        read_json,
        read_records,
        write_records,
    )
    from twinlatent.evaluation.results.report import Report, read_run, write_run
    from twinlatent.evaluation.results.rows import Row, Rows, mean_over_substitutes, records_of
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "twinlatent.evaluation.results.folder": (
                "MODEL", "PAGE", "RESULTS", "UNFINISHED", "WHOSE", "evaluation_folder", "log_of", "read_log",
            ),
            "twinlatent.evaluation.results.keeping": ("keep", "kept", "reused"),
            "twinlatent.evaluation.results.parts": (
                "Check", "Examples", "JudgeCase", "JudgedAttack", "JudgeReport", "ModelCard", "Status",
            ),
            "twinlatent.evaluation.results.pictures": ("Flags", "Floats", "LatentPoints", "Names", "PairGrid"),
            "twinlatent.evaluation.results.records": (
                "ACCURACY_SHIFT", "ANY", "BESIDE", "BOUNDS", "CERTIFIED", "FLAGGED_SHIFT", "MEAN", "MILD",
                "MISCLASSIFIED_ONLY", "OF_ATTACKED", "OF_CLASS", "OF_INTERVALS", "UNCHANGED", "WORST", "Label",
                "Metric", "Record", "checked_label", "complaint", "false_alarms", "read_json", "read_records",
                "write_records",
            ),
            "twinlatent.evaluation.results.report": ("Report", "read_run", "write_run"),
            "twinlatent.evaluation.results.rows": ("Row", "Rows", "mean_over_substitutes", "records_of"),
        },
    )  # fmt: skip

__all__ = [
    "ACCURACY_SHIFT",
    "ANY",
    "BESIDE",
    "BOUNDS",
    "CERTIFIED",
    "Check",
    "Examples",
    "FLAGGED_SHIFT",
    "Flags",
    "Floats",
    "JudgeCase",
    "JudgeReport",
    "JudgedAttack",
    "Label",
    "LatentPoints",
    "MEAN",
    "MILD",
    "MISCLASSIFIED_ONLY",
    "MODEL",
    "Metric",
    "ModelCard",
    "Names",
    "OF_ATTACKED",
    "OF_CLASS",
    "OF_INTERVALS",
    "PAGE",
    "PairGrid",
    "RESULTS",
    "Record",
    "Report",
    "Row",
    "Rows",
    "Status",
    "UNCHANGED",
    "UNFINISHED",
    "WHOSE",
    "WORST",
    "checked_label",
    "complaint",
    "evaluation_folder",
    "false_alarms",
    "keep",
    "kept",
    "log_of",
    "mean_over_substitutes",
    "read_json",
    "read_log",
    "read_records",
    "read_run",
    "records_of",
    "reused",
    "write_records",
    "write_run",
]
