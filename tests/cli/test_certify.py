"""`twinlatent certify`: its table, its records and `tl.certify` agree."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import twinlatent as tl
from twinlatent.attacks.suite_runs import with_slack
from twinlatent.baselines import fit_baseline
from twinlatent.data import Split
from twinlatent.evaluation.results.records import read_records
from twinlatent.evaluation.white_box import proofs
from twinlatent.method.detector import Detector
from twinlatent.recipes import recipe_of
from twinlatent.report import select


@pytest.fixture
def model(hardened: Callable[[str], Detector], digits: Split, tmp_path: Path) -> Path:
    """The file of a detector of which much can be proved."""
    detector = hardened("c(3,8) z(4,4)")
    card = {"data": {"name": "digits", "fingerprint": digits.fingerprint}, "seed": 0}
    path = tmp_path / "detector.safetensors"
    Detector(detector.encoders, detector.class_means, detector.benign, detector.class_names, card=card).save(path)
    return path


def shown(out: str) -> dict[float, list[float]]:
    """The table's numbers, by radius."""
    lines = (line.split() for line in re.sub(r"[\[\],]", " ", out).splitlines())
    return {float(words[1]): [float(word) for word in words[2:]] for words in lines if words[:1] == ["ratio"]}


def test_what_is_proved_is_printed_and_recorded(model: Path, digits: Split, ok: Callable) -> None:
    done = ok("certify", model, "--epsilon", 0.02, "--epsilon", 0.05, "--fpr", 0.05, "--fpr", 0.1, "--images", 100,
              "--seed", 3, "--records", "new/a.json", "--no-progress")  # fmt: skip
    drawn = torch.randperm(len(digits.test), generator=torch.Generator().manual_seed(3))[:100]
    images, labels, detector = digits.test.images[drawn], digits.test.labels[drawn], tl.load(model)
    verdict = detector.detect(images)
    right, flagged = ((verdict.label == labels).double().mean(), verdict.adversarial.double().mean())
    assert f"Benign test images: accuracy {right:.4f}, flagged {flagged:.4f} where 0.05 was asked for, " in done.out
    assert done.out.splitlines()[0].endswith(", n = 100")
    records = read_records("new/a.json")
    proved = {(r.epsilon, r.asked): r for r in records if r.metric == "sr_certified"}
    assert [(r.metric, r.attack, r.asked) for r in records if r.metric != "sr_certified"] == [
        ("accuracy", "none", None), ("fpr", "none", 0.05), ("fpr", "none", 0.1)
    ]  # fmt: skip
    assert len(proved) == 4
    for (epsilon, fpr), record in proved.items():
        found = tl.certify(detector, images, labels, with_slack(epsilon), fpr)
        assert record.value == pytest.approx(found.rate)
        assert 0 < record.low < record.value < record.high < 1
        assert (record.n, record.seed, record.attack, record.budget) == (100, 3, "any", "interval and linear bounds")
        assert record.command.startswith("twinlatent certify ")
    table = shown(done.out)
    for epsilon in (0.02, 0.05):
        numbers = [part for fpr in (0.05, 0.1) for part in select.interval(proved[epsilon, fpr])]
        assert table[epsilon] == pytest.approx([*numbers, 100], abs=1e-4)
    assert ok("results", "check", "new").out == "new/a.json: 7 records\n"


def test_all_test_images_are_certified_by_default(model: Path, digits: Split, ok: Callable) -> None:
    done = ok("certify", model, "--records", "a.json", "--no-progress")
    (record,) = [r for r in read_records("a.json") if r.metric == "sr_certified"]
    assert (record.epsilon, record.asked, record.n) == (0.3, 0.05, len(digits.test))
    assert record.value == 1
    assert "Nothing is proved: the detector was not trained with bounds, or the radius is too large" in done.out


def test_images_for_selection_have_a_budget_of_their_own(model: Path, digits: Split, ok: Callable) -> None:
    done = ok("certify", model, "--part", "selection", "--epsilon", 0.02, "--records", "a.json", "--no-progress")
    assert done.out.startswith("Benign selection images: ")
    records = read_records("a.json")
    assert {record.budget for record in records} == {"interval and linear bounds; selection images"}
    assert {record.n for record in records} == {len(digits.selection)}
    found = tl.certify(tl.load(model), digits.selection.images, digits.selection.labels, with_slack(0.02))
    assert records[-1].value == pytest.approx(found.rate)


def test_records_that_are_there_are_kept(model: Path, program: Callable) -> None:
    words = ["certify", model, "--epsilon", 0.02, "--images", 3, "--records", "a.json", "--no-progress"]
    assert program(*words).status == 0
    before = Path("a.json").read_bytes()
    assert program(*words).refusal == "a.json is there already; remove it or write the records elsewhere"
    assert Path("a.json").read_bytes() == before
    assert program(*words, "--force").status == 0


def test_a_baseline_has_no_bound(digits: Split, tmp_path: Path, program: Callable) -> None:
    settings = recipe_of(digits, "smoke").baseline_settings("plain").model_copy(update={"rounds": 2})
    fit_baseline("plain", digits, settings=settings, progress=False).save(tmp_path / "plain.safetensors")
    refusal = program("certify", "plain.safetensors", "--records", "a.json", "--no-progress").refusal
    assert refusal == "no bound is known for plain; give a detector that twinlatent trained"
    assert not Path("a.json").exists()


def test_images_are_not_left_out_where_nothing_can_be_proved(
    digits: Split, model: Path, tmp_path: Path, program: Callable, ok: Callable
) -> None:
    settings = recipe_of(digits, "smoke").baseline_settings("plain").model_copy(update={"rounds": 2})
    fit_baseline("plain", digits, settings=settings, progress=False).save(tmp_path / "plain.safetensors")
    asked = ["--suite", "quick", "--steps", 1, "--images", 5, "--unproved-only", "--no-progress"]
    refusal = program("attack", "plain.safetensors", *asked).refusal
    assert refusal == "no bound is known for plain; give a detector that twinlatent trained"
    ok("attack", model, *asked)


def test_progress_goes_to_standard_error(model: Path, program: Callable) -> None:
    done = program("certify", model, "--images", 5)
    assert done.status == 0
    assert re.match(r"certificate: \d/5", done.err)


def test_radii_in_l2_are_said_with_the_budget(model: Path, digits: Split, ok: Callable) -> None:
    done = ok(
        "certify", model, "--norm", "l2", "--epsilon", 0.05, "--images", 40, "--records", "a.json", "--no-progress"
    )
    (record,) = [r for r in read_records("a.json") if r.metric == "sr_certified"]
    assert (record.epsilon, record.budget) == (None, "interval bounds, L2 radius 0.05")
    drawn = torch.randperm(len(digits.test), generator=torch.Generator().manual_seed(0))[:40]
    found = tl.certify(
        tl.load(model), digits.test.images[drawn], digits.test.labels[drawn], with_slack(0.05), norm="l2"
    )
    assert record.value == pytest.approx(found.rate)
    assert "L2 0.05" in done.out


def test_an_interrupted_certificate_resumes(model: Path, ok: Callable, program: Callable, monkeypatch) -> None:
    words = ("certify", model, "--epsilon", 0.02, "--images", 60, "--no-progress", "--records")
    ok(*words, "whole.json")
    real, left = proofs.certify_rates, [2]

    def stopping(*asked, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(*asked, **options)

    monkeypatch.setattr(proofs, "CERTIFIED_AT_ONCE", 20)
    monkeypatch.setattr(proofs, "certify_rates", stopping)
    stopped = program(*words, "a.json")
    assert stopped.status == 130
    assert "stopped; finished images are kept; the same command resumes" in stopped.err
    assert len(list(Path("a.json.unfinished").glob("proof-*.safetensors"))) == 2
    assert not Path("a.json").exists()
    left[0] = 1  # what is kept is not proved again
    ok(*words, "a.json")
    assert not Path("a.json.unfinished").exists()
    assert [(r.metric, r.value) for r in read_records("a.json")] == [
        (r.metric, r.value) for r in read_records("whole.json")
    ]
