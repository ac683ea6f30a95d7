"""The log of verdicts: whole rows, nothing lost, and a full disk is said where probes look."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.method.detector import Detector
from twinlatent.serve.answers import ImageVerdict
from twinlatent.serve.health import unready
from twinlatent.serve.service import Service
from twinlatent.serve.settings import ServeSettings
from twinlatent.serve.verdict_log import Origin, VerdictLog

VERDICT = ImageVerdict(label='a "label"\n', class_index=1, adversarial=True, p_value=1 / 3, suspicion=None)


def origin(model: str) -> Origin:
    return Origin(model, "0" * 12, (5, 7), False)


def test_rows_of_many_threads_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    log = VerdictLog(path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: log.write(origin(f"m{number}"), 0.05, [VERDICT] * 3, [0, 1, 2]), range(50)))
    log.close()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 150
    assert {row["model"] for row in rows[::3]} == {f"m{number}" for number in range(50)}
    assert all(rows[i]["model"] == rows[i + 1]["model"] == rows[i + 2]["model"] for i in range(0, 150, 3))
    assert (rows[0]["label"], rows[0]["p_value"], rows[0]["adversarial"]) == ('a "label"\n', 1 / 3, True)
    assert [row["equal"] for row in rows[:3]] == [0, 1, 2]
    assert (rows[0]["among"], rows[0]["pooled"], rows[0]["detector"]) == (7, False, "0" * 12)


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for model in ("a", "b"):
        log = VerdictLog(path)
        log.write(origin(model), 0.05, [VERDICT], [2])
        log.close()
    assert [json.loads(line)["model"] for line in path.read_text(encoding="utf-8").splitlines()] == ["a", "b"]


def test_a_row_that_was_cut_short_takes_no_other_with_it(tmp_path: Path) -> None:
    """The server was killed within a row; the next one begins a row of its own, once."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"model": "a"}\n{"mod')
    log = VerdictLog(path)
    for model in ("b", "c"):
        log.write(origin(model), 0.05, [VERDICT], [2])
    log.close()
    first, cut, *rest = path.read_text(encoding="utf-8").splitlines()
    assert (first, cut) == ('{"model": "a"}', '{"mod')
    assert [json.loads(line)["model"] for line in rest] == ["b", "c"]


class FullAfter:
    """A file that takes so many bytes, then refuses until there is room again."""

    def __init__(self, room: int) -> None:
        self.room, self.held = room, b""

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        piece = bytes(data[: self.room])
        self.held, self.room = self.held + piece, self.room - len(piece)
        return len(piece)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kept", ["half a row", "whole rows"])
def test_rows_after_a_full_disk_are_whole(kept: str, tmp_path: Path) -> None:
    log, whole = VerdictLog(tmp_path / "log.jsonl"), VerdictLog(tmp_path / "whole.jsonl")
    whole.write(origin("a"), 0.05, [VERDICT], [2])
    length = (tmp_path / "whole.jsonl").stat().st_size
    log._file.close()
    file = log._file = FullAfter(length + length // 2 if kept == "half a row" else 2 * length)  # type: ignore[assignment]
    log.write(origin("a"), 0.05, [VERDICT] * 3, [0, 1, 2])
    assert log.failed == "No space left on device"
    file.room = 10 * length
    log.write(origin("b"), 0.05, [VERDICT], [2])
    whole.close()
    assert log.failed == ""
    rows = file.held.splitlines()
    assert len(rows) == 3
    assert json.loads(rows[0])["model"] == "a"
    assert json.loads(rows[2])["model"] == "b"


def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TwinlatentError, match=r"cannot be written \(Is a directory\)"):
        VerdictLog(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_verdicts_go_out_when_the_disk_is_full_and_probes_say_so(trained_detector: Detector, digits: Split) -> None:
    async def asked() -> tuple[int, str]:
        service = Service({"digits": trained_detector}, ServeSettings(log=Path("/dev/full")))
        try:
            verdicts = await service.verdicts("digits", digits.test.images[:2], 0.05)
            return len(verdicts), unready(service)
        finally:
            service.close()

    count, said = asyncio.run(asked())
    assert count == 2
    assert said == "verdicts cannot be logged (No space left on device); make room for the log"
