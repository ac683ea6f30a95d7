"""A row a verdict, as JSON Lines: when, by which model, label, p-value, flag. No images."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from os import SEEK_END
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from twinlatent.errors import TwinlatentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinlatent.method.calibrated import CalibratedDetector
    from twinlatent.serve.answers import ImageVerdict

FINGERPRINT = 12
"""Letters of it in a row."""


@dataclass(frozen=True)
class Origin:
    """What rows say of the detector that spoke, so that p-values can be understood later.

    Attributes:
        model: its name at the server.
        detector: the beginning of its fingerprint, which changes with its calibration.
        among: by class, with how many calibration images a p-value compares.
        pooled: whether those are the images of all classes, and not of the predicted one alone.
    """

    model: str
    detector: str
    among: tuple[int, ...]
    pooled: bool

    @classmethod
    def of(cls, model: str, detector: "CalibratedDetector") -> "Origin":
        """Of a detector that has that name."""
        own = detector.calibration
        among = [len(own.pooled if own.together else scores) for scores in own.scores]
        return cls(model, detector.fingerprint[:FINGERPRINT], tuple(among), own.together)


class VerdictLog:
    """Appends rows to a file, those of a request in one piece; what was written before stays.

    Attributes:
        failed: why the last rows could not be written; empty if they were.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            TwinlatentError: it cannot be written.
        """
        self.failed, self._lock = "", Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._cut = _cut_short(path)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise TwinlatentError(f"--log {path} cannot be written ({error.strerror}); name another file") from None

    def write(self, origin: Origin, fpr: float, verdicts: "Sequence[ImageVerdict]", equal: "Sequence[int]") -> None:
        """Append a row for each image of a request; a failure is kept in `failed`, and verdicts go out all the same.

        Args:
            origin: who spoke.
            fpr: the rate that was asked.
            verdicts: of the images.
            equal: how many of the calibration images that the p-value compares with are exactly as suspicious.
        """
        when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows = [json.dumps({"time": when, "model": origin.model, "label": one.label, "p_value": one.p_value,
                            "adversarial": one.adversarial, "fpr": fpr, "among": origin.among[one.class_index],
                            "equal": same, "pooled": origin.pooled, "detector": origin.detector}) + "\n"
                for one, same in zip(verdicts, equal, strict=True)]  # fmt: skip
        left = memoryview("".join(rows).encode())
        with self._lock:
            try:
                if self._cut:  # so that the row that was cut short takes no other one with it
                    self._file.write(b"\n")
                    self._cut = False
                while left:
                    written = self._file.write(left) or 0
                    self._cut, left = bytes(left[:written])[-1:] != b"\n", left[written:]
                self.failed = ""
            except OSError as error:
                self.failed = error.strerror or str(error)

    def close(self) -> None:
        """No more rows."""
        self._file.close()


def _cut_short(path: Path) -> bool:
    """Whether a file ends within a row, as that of a server does that was killed or had no room left."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, SEEK_END)
        return file.read() != b"\n"
