"""What an evaluation refuses, and what it asks of its parts."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import twinlatent as tl
from twinlatent.attacks.attack import Attack, Found
from twinlatent.attacks.suite_runs import with_slack
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation import whole
from twinlatent.evaluation.black_box import substitutes
from twinlatent.evaluation.checks import run as checks
from twinlatent.evaluation.learners import JudgeSettings
from twinlatent.evaluation.protocol.points import draw
from twinlatent.evaluation.results.report import read_run
from twinlatent.evaluation.settings import EvaluationSettings
from twinlatent.evaluation.white_box import conditions, pictures, suite
from twinlatent.evaluation.whole import evaluate_all
from twinlatent.method.detector import Detector, build_detector
from twinlatent.report.page import write_page


def test_too_few_calibration_images_are_said_before_anything_is_attacked(
    trained_detector: Detector, digits: Split, tmp_path: Path
) -> None:
    few = build_detector(
        trained_detector.encoders, digits.train, digits.calibration.subset(slice(15)), digits.class_names
    )
    with pytest.raises(TwinlatentError, match=r"tell no rate below 0\.0625, and the white box needs 0\.05"):
        evaluate_all(few, digits, EvaluationSettings(), folder=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_set_sorted_by_class_is_drawn_from_all_over(
    trained_detector: Detector, digits: Split, tmp_path, monkeypatch, fewer_steps
):
    """Whatever is attacked, checked or shown holds several classes, though all test images are asked for."""
    rows = digits.test.labels.argsort(stable=True)[::9]
    sorted_set = replace(digits, test=digits.test.subset(rows))
    assert len(sorted_set.test.labels[:8].unique()) <= 2, "the first few images would be of one class or two"
    seen: dict[str, list[Tensor]] = {}

    def note(module: object, name: str, labels_of: Callable[..., Tensor]) -> None:
        real = getattr(module, name)

        def noted(*arguments, **options):
            seen.setdefault(name, []).append(labels_of(*arguments))
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, noted)

    note(suite, "run_suite_by", lambda runner, given: given.labels)
    for module in (conditions, substitutes):
        note(module, "run_suite", lambda attacks, model, images, labels: labels)
    note(checks, "checks_of", lambda probe, labels, result: probe.labels)
    note(pictures, "pair_grid", lambda detector, benign, columns, fpr: benign.labels)
    fewer_steps(monkeypatch, 3)
    monkeypatch.setattr(whole, "BLACK_BOX", whole.BLACK_BOX[:1])
    settings = EvaluationSettings(suite="quick", steps=1, subset=8, shift_images=20, certified_images=20, radii=(1.0,),
                                  condition_radii=(0.3,), substitutes=("f_p",),
                                  judges=JudgeSettings(steps=3))  # fmt: skip
    evaluate_all(trained_detector, sorted_set, settings, progress=False)
    assert seen.keys() == {"run_suite_by", "run_suite", "checks_of", "pair_grid"}
    for name, drawn in seen.items():
        for labels in drawn:
            assert len(labels.unique()) > 3 or len(labels) < 6, (name, labels)


# --- a model of the user's, and attacks of theirs -------------------------------------------------------------------

TINY: dict[str, Any] = {"suite": "quick", "steps": 1, "images": 8, "subset": 4, "blackbox_images": 4, "shift_images": 4,
                        "epsilon": 0.4, "radii": (0.5, 1), "condition_radii": (0.3,), "substitutes": ("f_p",),
                        "judges": {"steps": 3, "remembered": 50}}  # fmt: skip
torch.manual_seed(0)
WEIGHTS = torch.randn(64, 10)


def noisy(images: Tensor) -> tl.Outputs:
    """Logits, and a suspicion that is another one each time."""
    logits = images.flatten(1) @ WEIGHTS
    return tl.Outputs(logits, images.mean((1, 2, 3))[:, None] + torch.rand(len(images), 1).expand_as(logits))


@dataclass(frozen=True)
class Inverted(Attack):
    """As much of the negative as the ball allows."""

    epsilon: float

    def __call__(self, model, images, aim, criterion):
        made = images + (1 - 2 * images).clamp(-self.epsilon, self.epsilon)
        return Found.nothing(images).merged(
            Found.iterate(made, criterion(model(made), aim), torch.zeros(len(images))), torch.arange(len(images))
        )


@dataclass(frozen=True)
class Answering(Attack):
    """What a function makes of the images."""

    answer: Callable[[Tensor], Any]

    def __call__(self, model, images, aim, criterion):
        return self.answer(images)


@pytest.fixture(scope="module")
def folder(digits: Split, tmp_path_factory, fewer_steps, without_figures) -> Path:
    """An evaluation of a user's function with attacks of theirs."""
    folder = tmp_path_factory.mktemp("foreign") / "evaluation"
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        fewer_steps(patch, 3)
        without_figures(patch)
        tl.evaluate(noisy, digits, name="my détector <1>", attacks={"inverted": Inverted, "fixed": Inverted(0.3)},
                    folder=folder, page=write_page, say=said.append, progress=False, **TINY)  # fmt: skip
    assert [line[:58] for line in said] == ["my détector <1>: it answers the same images differently ea"]
    return folder


@pytest.mark.slow
def test_a_suspicion_that_is_upside_down_is_said(digits: Split, fewer_steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks brighten a black background: how bright dark pixels are tells them, and its negative upside down."""

    def model(sign: float) -> Callable[[Tensor], tl.Outputs]:
        return lambda x: tl.Outputs(x.flatten(1) @ WEIGHTS, sign * x.clamp_max(0.3).mean((1, 2, 3)))

    fewer_steps(monkeypatch, 20)
    said: dict[float, list[str]] = {1.0: [], -1.0: []}
    for sign, lines in said.items():
        tl.evaluate(model(sign), digits, name="mine", suite="none", blackbox_images=12, epsilon=0.3, shift_images=0,
                    substitutes=["f_p"], say=lines.append, progress=False)  # fmt: skip
    assert said[1.0] == []
    (line,) = said[-1.0]
    assert line.startswith("mine: images attacked in the black box get a lower suspicion than benign ones")


def test_a_user_s_model_and_attacks_are_recorded_under_their_names(folder: Path, digits: Split) -> None:
    report = read_run(folder)
    assert {record.method for record in report.records} == {"my détector <1>"} == {report.model.method}
    assert report.settings is not None
    assert {name: report.settings[name] for name in ("suite", "images", "epsilon")} == {
        name: TINY[name] for name in ("suite", "images", "epsilon")
    }
    assert re.fullmatch("[0-9a-f]{64}", report.detector or "")
    right = (noisy(digits.test.images).labels == digits.test.labels).double().mean().item()
    assert report.accuracy.value == pytest.approx(right)
    mild = {r.attack: r.value for r in report.records if (r.metric, r.asked, r.n) == ("flagged_shift", 0.05, 4)}
    most = max((name for name in mild if name.endswith(" 1")), key=lambda name: mild[name])
    assert f"  mild changes, most after {most}: flagged {mild[most]:.3f} [" in str(report)
    worst = report.sr()
    assert max(report.sr(attack=name).value for name in ("inverted", "fixed")) <= worst.value
    assert (worst.n, report.sr(epsilon=0.2).n) == (8, 4)
    assert {r.budget.partition("; ")[2] for r in report.records if r.metric == "sr@5"} == {"with inverted, fixed"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "inverted" in page
    assert "my détector &lt;1&gt;" in page
    assert not (folder / "unfinished").exists()


def test_checks_say_that_a_model_is_not_deterministic_and_know_the_user_s_attacks(folder: Path) -> None:
    checks = {check.name: check for check in read_run(folder).checks}
    assert checks["determinism"].status == "fail"
    assert "n=4 to n=359" in checks["counts"].finding
    assert len(checks) == 14


def test_a_report_says_what_was_not_measured_and_what_was(folder: Path, tmp_path: Path) -> None:
    report = read_run(folder)
    for asked, line in (
        (lambda: report.sr(epsilon=0.25), r"SR@5 % of worst at ε 0\.25 was not measured; there is epsilon 0\.4, 0\.2"),
        (lambda: report.sr(attack="cw"), "there is attack .*inverted"),
        (lambda: report.auc("square"), "AUC of square on mean was not measured; there is attack fgsm, pgd"),
    ):
        with pytest.raises(TwinlatentError, match=line):
            asked()
    assert report.auc("pgd").n == report.auc("pgd", "f_p").n == 4
    report.save(tmp_path)
    assert read_run(tmp_path).records == report.records
    assert str(report).splitlines()[0] == "my détector <1> on digits, 359 test images"
    assert "determinism: fail" in str(report)


def test_nothing_is_proved_of_a_user_s_model_and_the_page_says_so(folder: Path) -> None:
    report, page = read_run(folder), " ".join((folder / "report.html").read_text(encoding="utf-8").split())
    assert not [record for record in report.records if record.metric == "sr_certified"]
    (check,) = (check for check in report.checks if check.name == "certificate")
    assert (check.status, check.finding) == (
        "skip", "No bound is known for my détector <1>; give a detector that twinlatent trained."
    )  # fmt: skip
    assert "Nothing is proved: no bound is known for my détector &lt;1&gt;; " in page
    assert "certificate" not in str(report)
    with pytest.raises(TwinlatentError, match=r"certified SR@5 % at ε 0\.4 was not measured"):
        report.certified()


@pytest.mark.slow
def test_floors_have_ceilings_and_the_page_shows_both(
    hardened: Callable[[str], Detector], digits: Split, tmp_path: Path, fewer_steps, without_figures, monkeypatch
) -> None:
    fewer_steps(monkeypatch, 3)
    without_figures(monkeypatch)
    detector = hardened("c(3,8) z(4,4)")
    asked = TINY | {"images": 12, "subset": 6, "certified_images": 30, "epsilon": 0.04, "steps": 2}
    report = tl.evaluate(detector, digits, folder=tmp_path / "a", page=write_page, progress=False, **asked)
    assert report.records == read_run(tmp_path / "a").records
    records = [record for record in report.records if record.metric == "sr_certified"]
    attacked, beyond = "interval and linear bounds; the attacked images", "interval and linear bounds"
    for score in ("ratio", "vulnerable"):
        mine = [r for r in records if r.score == score]
        floors = {(r.epsilon, r.metric): r for r in report.records if r.attack == "worst" and r.score == score
                  and r.metric.startswith("sr@")}  # fmt: skip
        ceilings = {(r.epsilon, f"sr@{100 * r.asked:g}"): r for r in mine if r.budget == attacked}
        assert ceilings.keys() == floors.keys()
        for point, floor in floors.items():
            assert ceilings[point].n == floor.n
            assert ceilings[point].value >= floor.value
        more = {(r.epsilon, r.asked): r.n for r in mine if r.budget == beyond}
        assert more == (dict.fromkeys(((0.04, fpr) for fpr in (0.01, 0.05, 0.1)), 30) if score == "ratio" else {})
    drawn = draw(digits.test, 30, 0)
    proved = tl.certify(detector, drawn.images, drawn.labels, with_slack(0.04))
    assert 0 < proved.rate < 1
    assert (report.certified().value, report.certified().n) == (pytest.approx(proved.rate), 30)
    assert report.certified(epsilon=0.02).n == 6
    assert next(check for check in report.checks if check.name == "certificate").status == "pass"
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert f"≤ {100 * proved.rate:.1f}" in page
    assert "proved at most" in page
    assert "Nothing is proved" not in page
    assert f"proved, any attack at ε 0.04: SR@5 % at most {proved.rate:.3f}" in str(report)


@pytest.mark.parametrize(
    ("attacks", "more", "line"),
    [
        ({"pgd": Inverted}, {}, "suites have one of that name"),
        ({"worst": Inverted}, {}, "suites have one of that name"),
        ({"a/b": Inverted}, {}, "letters, digits"),
        ({"mine": 3}, {}, "attack 'mine' is a int; give an Attack"),
        ({"mine": float}, {}, "attack 'mine' makes a float of a radius"),
        ({"mine": Inverted}, {"suite": "none"}, "attacks mine join a suite"),
        ({}, {"imges": 3}, r"setting 'imges' is unknown; did you mean images\?"),
        ({}, {"folder": 3}, "folder is 3; give a path"),
        ({}, {"shared": 3}, "shared is 3; give a path"),
        ({}, {"log": 3}, "log is 3; give a path"),
        ([Inverted], {}, "attacks is a list; give a dict"),
        ({3: Inverted}, {}, "attack 3: give a name"),
        ({"mine": tl.attacks.pgd}, {}, r"attack 'mine': cannot be made for radius 0\.4: TypeError: pgd\(\) missing 2"),
        ({"mine": Answering(lambda x: x)}, {}, "attack 'mine': it answers with a Tensor; return twinlatent.attacks.Fo"),
        ({"mine": Answering(lambda x: Found.nothing(x[:, :, 1:]))}, {}, r"'mine': .* images of shape \(2, 1, 7, 8\)"),
        ({"mine": Answering(lambda x: Found.nothing(x[:1]))}, {}, r"'mine': .* images of shape \(1, 1, 8, 8\); give"),
        ({"mine": Answering(lambda x: Found.nothing(x.log() * 0))}, {}, "'mine': it answers with images that hold NaN"),
        ({"mine": Answering(lambda x: x @ WEIGHTS)}, {}, "attack 'mine': RuntimeError: .*; mend the attack"),
        ({"mine": lambda epsilon: Inverted(1 // (epsilon > 0.3))}, {}, r"made for radius 0\.2: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    attacks, more, line, digits: Split, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(whole, "train_substitute", None)
    asked = {"folder": tmp_path / "new"} | TINY | more
    with pytest.raises(TwinlatentError, match=line):
        tl.evaluate(noisy, digits, attacks=attacks, say=[].append, progress=False, **asked)
    assert not (tmp_path / "new").exists()


def test_ctrl_c_in_an_attack_is_no_failure_of_it(digits: Split, tmp_path: Path) -> None:
    def stop(_: Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tl.evaluate(noisy, digits, attacks={"mine": Answering(stop)}, folder=tmp_path / "new", say=[].append,
                    progress=False, **TINY)  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_a_name_is_no_split() -> None:
    with pytest.raises(TwinlatentError, match=r"^split is a str; give twinlatent\.data\.load\('digits'\)$"):
        tl.evaluate(noisy, "digits")  # type: ignore[arg-type]
