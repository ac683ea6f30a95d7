"""`twinlatent demo`: its page, and that it deletes nothing."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import twinlatent as tl
from twinlatent.demo import IMAGES
from twinlatent.evaluation.black_box import detection
from twinlatent.evaluation.results.records import read_records


def test_the_demo_leaves_a_page_with_everything_it_needs_and_what_was_there(ok: Callable, with_figures: None) -> None:
    Path("shown/training").mkdir(parents=True)
    Path("shown/training/thesis.txt").write_text("years of work")
    done = ok("demo", "--out", "shown", "--preset", "smoke", "--seed", 3, "--no-progress")
    assert "Page with pictures: shown/report.html" in done.text
    assert all(re.search(rf"^ +{attack} +0\.3 ", done.out, re.MULTILINE) for attack in ("fgsm", "pgd", "mim"))
    records = read_records("shown/results.json")
    assert {record.seed for record in records} == {3}
    whole = [record for record in records if not record.budget.endswith(detection.MISCLASSIFIED_ONLY)]
    assert {record.n for record in whole if record.metric == "auc" and ", of class " not in record.budget} == {IMAGES}
    page = Path("shown/report.html").read_text(encoding="utf-8")
    assert 'id="training"' in page
    assert not re.search(r"(src|href)=[\"']?http", page), "the page loads something from elsewhere"
    assert tl.load("shown/training").class_names == tuple("0123456789")
    assert Path("shown/training/thesis.txt").read_text() == "years of work"


def test_a_demo_that_cannot_run_keeps_the_earlier_one(trained: Path, contents: Callable, program: Callable) -> None:
    shutil.copytree(trained, "demo/training")
    assert program("demo", "--preset", "huge").status == 1
    assert contents(Path("demo/training")) == contents(trained)
