"""benchmarks/command.py: what is reckoned from the parts of a command, and that its file has a form."""

import json
from pathlib import Path
from runpy import run_path

from twinlatent.evaluation.results.check import check_file
from twinlatent.provenance import provenance

COMMAND = run_path(str(Path(__file__).parent.parent / "benchmarks" / "command.py"))
IMAGES = {"main point": 50, "subset": 20, "black box": 100}


def side(factor: float, wins: list[bool], **more: list[bool]) -> dict[str, object]:
    seconds = {"main point": 10 * factor, "subset": 40 * factor, "black box": 2.0, "rest": 8.0}
    return {"seconds": seconds, "verdicts": {"here": wins, **more}}


def test_the_whole_is_reckoned_from_each_image_of_each_part_and_verdicts_are_compared(tmp_path: Path) -> None:
    before, now = side(2, [True, False, True], gone=[True]), side(1, [True, True, False])
    found = COMMAND["compared"]({"before": before, "now": now}, IMAGES)
    assert found["whole_seconds"] == {"before": 20 * 20 + 80 * 5 + 20 + 8, "now": 10 * 20 + 40 * 5 + 20 + 8}
    assert found["ratio"] == round(828 / 428, 2)
    assert found["ratios"] == {"main point": 2, "subset": 2, "black box": 1, "rest": 1}
    assert found["differing"] == {"here": {"before alone": [2], "now alone": [1]}}
    assert (found["verdicts"], found["only_before"], found["only_now"]) == (3, ["gone"], [])
    written = {"detector": "mnist-mim", "suite": "standard", "images": IMAGES, "before": "4f9b95b8093c", **found,
               "provenance": provenance().model_dump()}  # fmt: skip
    (tmp_path / "command.json").write_text(json.dumps(written))
    assert check_file(tmp_path / "command.json") == "a benchmark"
