"""White-box evaluation: `detect` has the last word, the records are its numbers, and an interruption loses nothing."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from twinlatent.attacks.gradient_free import Noise
from twinlatent.attacks.results import MEASURED
from twinlatent.attacks.suites import KINDS
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol.points import Point, draw
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.results.records import WORST, read_records, write_records
from twinlatent.evaluation.white_box import suite as module
from twinlatent.evaluation.white_box.proofs import holds_at
from twinlatent.evaluation.white_box.suite import WhiteBoxRun, attack_detector
from twinlatent.evaluation.white_box.to_file import attack_to_file, save_run
from twinlatent.method.detector import Detector, build_detector
from twinlatent.outputs import Outputs

IMAGES, EPSILON, SEED = 30, 0.08, 4
ASKED = WhiteBoxSettings(suite="quick", epsilon=EPSILON, steps=4, images=IMAGES, seed=SEED, batch_size=12)
GOALS = {
    "5 %": (ASKED, "sr@5"),
    "10 %": (ASKED.model_copy(update={"fpr": 0.1}), "sr@10"),
    "c1c2": (ASKED.model_copy(update={"goal": "c1c2", "epsilon": 0.3}), "sr_c1c2"),
    "misclassified": (ASKED.model_copy(update={"goal": "misclassified"}), "attack_success"),
    "l2": (ASKED.model_copy(update={"norm": "l2", "epsilon": 0.5}), "sr@5"),
    "what remains": (ASKED.model_copy(update={"remaining_only": True}), "sr@5"),
    "all images": (ASKED.model_copy(update={"images": None, "steps": 1, "batch_size": 500}), "sr@5"),
}
Case = tuple[WhiteBoxSettings, str, WhiteBoxRun]
FEW = ASKED.model_copy(update={"images": 6, "steps": 2, "batch_size": 3})


@pytest.fixture(autouse=True)
def weak_substitute(monkeypatch, fewer_steps) -> None:
    fewer_steps(monkeypatch, 3)


@pytest.fixture(scope="module")
def few(digits: Split) -> Split:
    """The digits with 60 test images."""
    return replace(digits, test=digits.test.subset(slice(60)))


@pytest.fixture(scope="module", params=GOALS)
def case(request, trained_detector: Detector, few: Split) -> Case:
    settings, metric = GOALS[request.param]
    return settings, metric, attack_detector(trained_detector, few, settings, progress=False)


def passes(detector: Detector, settings: WhiteBoxSettings, images: Tensor, labels: Tensor) -> Tensor:
    """Whether each image meets the goal, from `detect` and, for C1 and C2, the calibration images."""
    verdict = detector.detect(images, settings.fpr)
    won = verdict.label != labels
    if settings.goal == "undetected":
        won &= ~verdict.adversarial
    if settings.goal == "c1c2":
        table, outputs = detector.benign[detector.settings.label_rule], detector.outputs(images)
        for c in verdict.label.unique().tolist():
            mine, benign = verdict.label == c, table.labels == c
            assert detector.settings.score == "ratio"
            quiet = verdict.suspicion < (table.vulnerable - table.robust)[benign].mean()
            robust = outputs.robust[:, c] > table.robust[benign].mean()
            won &= ~mine | (quiet & robust)
    return won


def sizes(settings: WhiteBoxSettings, images: Tensor, benign: Tensor) -> Tensor:
    change = (images - benign).flatten(1)
    return change.abs().amax(1) if settings.norm == "linf" else change.norm(dim=1)


# --- the verdict ----------------------------------------------------------------------------------------------------


def test_a_win_is_what_detect_says_of_the_final_images(case: Case, trained_detector: Detector) -> None:
    settings, _, run = case
    assert "none" in run.wins
    for name, tried in run.result.by_attack.items():
        passed = passes(trained_detector, settings, tried.result.images, run.benign.labels)
        passed &= sizes(settings, tried.result.images, run.benign.images) <= settings.epsilon + 2e-5
        assert torch.equal(run.wins[name], passed & tried.tried), name


def test_the_worst_is_the_union_of_all(case: Case) -> None:
    _, _, run = case
    union = torch.zeros(len(run.benign), dtype=torch.bool)
    for name in run.result.by_attack:
        union |= run.wins[name]
    assert torch.equal(run.wins[WORST], union)
    assert list(run.wins)[-1] == WORST
    assert 0 < int(union.sum()) < len(union), "the test would not tell wins from losses"
    assert int(union.sum()) > int(run.wins["none"].sum()), "attacks must do more than no attack"


def test_final_images_lie_in_the_ball_and_the_box(case: Case) -> None:
    settings, _, run = case
    for name, tried in run.result.by_attack.items():
        assert tried.result.images.min() >= 0
        assert tried.result.images.max() <= 1
        assert (sizes(settings, tried.result.images, run.benign.images) <= settings.epsilon + 2e-5).all(), name
    assert torch.equal(run.result.by_attack["none"].result.images, run.benign.images)


def test_the_attacked_images_are_those_of_the_draw(case: Case, few: Split) -> None:
    settings, _, run = case
    drawn = draw(few.test, settings.images, settings.seed)
    assert torch.equal(run.benign.images, drawn.images)
    assert torch.equal(run.benign.labels, drawn.labels)


def test_records_are_the_shares_of_wins(case: Case, trained_detector: Detector) -> None:
    settings, metric, run = case
    assert [record.attack for record in run.records] == list(run.wins)
    for record in run.records:
        tried = torch.ones(len(run.benign), dtype=torch.bool)
        if record.attack != WORST:
            tried = run.result.by_attack[record.attack].tried
        assert record.n == int(tried.sum())
        assert record.value == pytest.approx(run.wins[record.attack][tried].double().mean().item())
        assert (record.metric, record.score, record.seed) == (metric, trained_detector.settings.score, SEED)
        assert record.epsilon == (settings.epsilon if settings.norm == "linf" else None)
        assert record.low is not None
        assert record.low <= record.value <= record.high
    assert {record.budget for record in run.records} == {
        f"quick, {settings.steps} steps" + (", L2 radius 0.5" if settings.norm == "l2" else "")
    }


def test_records_are_written_and_read(case: Case, tmp_path: Path) -> None:
    write_records(tmp_path / "records.json", case[2].records)
    assert read_records(tmp_path / "records.json") == case[2].records


def test_an_attack_is_as_good_as_its_settings(trained_detector: Detector, few: Split) -> None:
    """A larger ball and an easier goal win at least as much, beyond chance."""
    runs = [
        attack_detector(
            trained_detector, few, FEW.model_copy(update={"images": 20, "batch_size": 20, **change}), progress=False
        )
        for change in ({"epsilon": 0.0}, {"epsilon": 0.1}, {"epsilon": 0.4}, {"epsilon": 0.4, "goal": "misclassified"})
    ]
    nothing, near, far, easier = (int(run.wins[WORST].sum()) for run in runs)
    assert torch.equal(runs[0].wins[WORST], runs[0].wins["none"]), "a radius of 0 is no attack"
    assert nothing <= near < far <= easier
    assert easier == 20


def test_the_standard_suite_brings_all_its_attacks(trained_detector: Detector, few: Split) -> None:
    asked = FEW.model_copy(update={"suite": "standard", "steps": 1, "images": 3})
    run = attack_detector(trained_detector, few, asked, progress=False)
    assert {"transfer", "square", "robust-targets", "latent-targets", "bypass-targets"} <= set(run.wins)
    assert not set(run.wins) - set(KINDS) - {WORST}
    asked = asked.model_copy(update={"goal": "misclassified", "norm": "l2"})
    run = attack_detector(trained_detector, few, asked, progress=False)
    assert {"transfer", "targets"} <= set(run.wins)
    assert not {"square", "pgd_w", "latent-targets"} & set(run.wins), "there is no detector to pass"


def test_the_same_seed_gives_the_same_run(trained_detector: Detector, few: Split) -> None:
    a, b, c = (attack_detector(trained_detector, few, FEW.model_copy(update={"seed": s}), progress=False)
               for s in (1, 1, 2))  # fmt: skip
    assert identical(a, b)
    assert not torch.equal(a.benign.images, c.benign.images)


def test_an_attack_leaves_detector_generator_and_data_as_they_were(trained_detector: Detector, few: Split) -> None:
    random, fingerprint = torch.get_rng_state(), replace(few).fingerprint
    before = {name: value.clone() for name, value in trained_detector.encoders.state_dict().items()}
    attack_detector(trained_detector, few, FEW, progress=False)
    assert torch.equal(torch.get_rng_state(), random)
    assert replace(few).fingerprint == fingerprint
    after = trained_detector.encoders.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in trained_detector.encoders.parameters())


def test_other_test_images_do_not_matter(trained_detector: Detector, few: Split) -> None:
    """The adversary has the calibration images; the answer for an image hangs on no other test image."""
    asked = FEW.model_copy(update={"images": None, "batch_size": 6})
    whole = attack_detector(trained_detector, few, asked, drawn=small(few, 6).test, progress=False)
    alone = asked.model_copy(update={"batch_size": 1})
    part = attack_detector(trained_detector, small(few, 2), alone, drawn=small(few, 2).test, progress=False)
    for name, tried in part.result.by_attack.items():
        torch.testing.assert_close(tried.result.l2, whole.result.by_attack[name].result.l2[:2], rtol=0.01, atol=1e-3)


def small(split: Split, count: int) -> Split:
    return replace(split, test=split.test.subset(slice(count)))


def identical(a: WhiteBoxRun, b: WhiteBoxRun) -> bool:
    results = [(a.result.by_attack[name].result, b.result.by_attack[name].result) for name in a.result.by_attack]
    return (
        a.wins.keys() == b.wins.keys()
        and all(torch.equal(a.wins[name], b.wins[name]) for name in a.wins)
        and all(np.array_equal(getattr(x, name), getattr(y, name), equal_nan=name == "gamma")
                for x, y in results for name in MEASURED)
    )  # fmt: skip


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        *({"suite": "huge"}, {"norm": "l1"}, {"goal": "win"}, {"fpr": 0.2}, {"fpr": float("nan")}),
        *({"epsilon": -0.1}, {"epsilon": float("nan")}, {"epsilon": float("inf")}, {"epsilon": "far"}),
        *({"epsilon": 3}, {"epsilon": 1.001, "norm": "linf"}, {"steps": 5, "suite": "paper"}),
        {"norm": "l2", "suite": "paper"},
        *({"steps": 0}, {"steps": 1.5}, {"images": 0}, {"images": -1}, {"batch_size": 0}, {"seed": "one"}, {"step": 3}),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        WhiteBoxSettings(**wrong)


def test_a_rate_that_is_not_reported_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValidationError, match=r"choose from 0\.01, 0\.05, 0\.1"):
        WhiteBoxSettings(fpr=0.2)


def test_a_radius_beyond_the_box_is_one_in_l2_alone(trained_detector: Detector, few: Split) -> None:
    asked = FEW.model_copy(update={"steps": 1, "images": 2}).model_dump() | {"epsilon": 1.5}
    with pytest.raises(ValidationError, match=r"epsilon\n.*give at most 1, the whole box"):
        WhiteBoxSettings(**asked | {"norm": "linf"})
    run = attack_detector(trained_detector, few, WhiteBoxSettings(**asked | {"norm": "l2"}), progress=False)
    assert len(run.records) == len(run.wins)


def test_the_paper_s_suite_is_asked_for_without_steps_and_in_linf() -> None:
    assert WhiteBoxSettings(suite="paper", norm="linf", steps=None).suite == "paper"
    assert WhiteBoxSettings(suite="quick", norm="l2", steps=5).steps == 5


def test_what_does_not_fit_is_refused_before_any_attack(trained_detector: Detector, few: Split, tmp_path: Path) -> None:
    nines = LabelledImages(torch.zeros(10, 1, 9, 9), torch.arange(10))
    barely = few.calibration.subset(slice(98))
    coarse = build_detector(trained_detector.encoders, few.train, barely, few.class_names)
    for detector, split, settings, line in (
        (trained_detector, Split("nines", nines, nines, nines, few.class_names), FEW, "the detector takes"),
        (trained_detector, few, FEW.model_copy(update={"images": 61}), "61 test images are asked for; there are 60"),
        (coarse, few, FEW.model_copy(update={"fpr": 0.01}), "finer"),
    ):
        with pytest.raises(TwinlatentError, match=line):
            attack_to_file(detector, split, settings, tmp_path / "new.npz", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_detector_that_misclassifies_a_whole_class_is_attacked_too(trained_detector: Detector, few: Split) -> None:
    """Latents to match are wanted for one attack of one suite, and a class may have none."""
    sevens = few.calibration.labels == 7
    poor = replace(few, calibration=few.calibration.subset((~sevens).nonzero()[:, 0]))
    detector = build_detector(trained_detector.encoders, poor.train, poor.calibration, poor.class_names)
    for suite in ("quick", "standard", "thorough"):
        asked = FEW.model_copy(update={"suite": suite, "steps": 1, "images": 2})
        run = attack_detector(detector, poor, asked, progress=False)
        assert "latent-targets" not in run.wins
        assert WORST in run.wins


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_file_says_what_the_run_says(case: Case, few: Split, tmp_path: Path) -> None:
    settings, _, run = case
    path = tmp_path / "new" / "a.npz"
    save_run(path, run, few, settings)
    with np.load(path, allow_pickle=False) as archive:
        saved = {name: archive[name] for name in archive.files}
    np.testing.assert_array_equal(saved["benign"], run.benign.images.numpy())
    np.testing.assert_array_equal(saved["labels"], run.benign.labels.numpy())
    about = json.loads(str(saved["about"]))
    assert WhiteBoxSettings(**about["asked"]) == settings
    assert about["data"] == "digits"
    assert about["origin"] == run.origin.model_dump()
    for name, tried in run.result.by_attack.items():
        for part in MEASURED:
            wanted = run.wins[name] if part == "success" else getattr(tried.result, part)
            np.testing.assert_array_equal(saved[f"{name}.{part}"], wanted.numpy())
        np.testing.assert_array_equal(saved[f"{name}.tried"], tried.tried.numpy())


def test_the_worst_images_in_the_file_are_the_winners(case: Case, trained_detector, few: Split, tmp_path: Path) -> None:
    settings, _, run = case
    save_run(tmp_path / "a.npz", run, few, settings)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as saved:
        names = saved["worst_attack"].tolist()
        for i, name in enumerate(names):
            first = next((attack for attack in run.result.by_attack if run.wins[attack][i]), "")
            assert name == first
            wanted = saved[f"{name}.images"][i] if name else saved["benign"][i]
            np.testing.assert_array_equal(saved["worst"][i], wanted)
        worst = torch.from_numpy(saved["worst"])
    assert worst.min() >= 0
    assert worst.max() <= 1
    assert (sizes(settings, worst, run.benign.images) <= settings.epsilon + 2e-5).all()
    won = torch.tensor([bool(name) for name in names])
    assert torch.equal(won, run.wins[WORST])
    assert passes(trained_detector, settings, worst[won], run.benign.labels[won]).all()


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "about"}


def same_file(a: Path, b: Path) -> bool:
    first, second = arrays(a), arrays(b)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f") for name in first
    )


class Stopping(Detector):
    """A detector that is interrupted by Ctrl-C when it is asked for the `left`-th time."""

    left: int

    def __call__(self, images: Tensor) -> Outputs:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.outputs(images)


def stopping(detector: Detector, left: int) -> Stopping:
    made = copy.copy(detector)
    made.__class__ = Stopping
    assert isinstance(made, Stopping)
    made.left = left
    return made


def asked_for(attack: Callable[[Detector], object], detector: Detector) -> int:
    """How often a detector is asked in all."""
    counting = stopping(detector, 10**9)
    attack(counting)
    return 10**9 - counting.left


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_interrupted_attack_goes_on_to_the_same_file(share: float, trained_detector, few: Split, tmp_path: Path):
    whole, path = tmp_path / "whole.npz", tmp_path / "new" / "part.npz"
    total = asked_for(lambda d: attack_to_file(d, few, FEW, whole, progress=False), trained_detector)
    with pytest.raises(KeyboardInterrupt):
        attack_to_file(stopping(trained_detector, int(share * total)), few, FEW, path, progress=False)
    assert not path.exists()
    kept = {file.name: file.read_bytes() for file in (tmp_path / "new" / "part.npz.unfinished").iterdir()}
    assert len(kept) > 1, "the first batch must have been finished"
    rest = asked_for(lambda d: attack_to_file(d, few, FEW, path, progress=False), trained_detector)
    assert rest < total, "finished batches must not be attacked again"
    assert same_file(whole, path)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["part.npz"]


def test_unfinished_work_of_another_kind_is_refused(trained_detector: Detector, few: Split, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(KeyboardInterrupt):
        attack_to_file(stopping(trained_detector, 6), few, FEW, path, progress=False)
    before = {file.name: file.read_bytes() for file in Path(f"{path}.unfinished").iterdir()}
    for detector, settings, named in (
        (trained_detector, FEW.model_copy(update={"epsilon": 0.3}), "epsilon"),
        (trained_detector, FEW.model_copy(update={"fpr": 0.1}), "fpr"),
        (trained_detector, FEW.model_copy(update={"goal": "misclassified"}), "goal"),
        (trained_detector, FEW.model_copy(update={"seed": 5}), "seed; .*--force"),
        (trained_detector.using(score="joint"), FEW, "detector"),
        (trained_detector.using(label_rule="density"), FEW, "detector"),
    ):
        with pytest.raises(TwinlatentError, match=rf"a\.npz\.unfinished holds unfinished work with other .*{named}"):
            attack_to_file(detector, few, settings, path, progress=False)
    assert {file.name: file.read_bytes() for file in Path(f"{path}.unfinished").iterdir()} == before
    (Path(f"{path}.unfinished") / "notes.json").write_text("mine")
    other = FEW.model_copy(update={"epsilon": 0.2})
    attack_to_file(trained_detector, few, other, path, overwrite=True, progress=False)
    attack_to_file(trained_detector, few, other, tmp_path / "fresh.npz", progress=False)
    assert same_file(path, tmp_path / "fresh.npz")
    assert [file.name for file in Path(f"{path}.unfinished").iterdir()] == ["notes.json"]


def test_a_file_that_is_there_is_not_overwritten(trained_detector: Detector, few: Split, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"years of work")
    with pytest.raises(TwinlatentError, match=r"a\.npz is there already; remove it or save elsewhere"):
        attack_to_file(trained_detector, few, FEW, path, progress=False)
    assert path.read_bytes() == b"years of work"
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", ["a", "a.npy", "a.npz.gz"])
def test_a_file_of_another_kind_is_refused_with_a_better_name(name: str, trained_detector, few: Split, tmp_path: Path):
    with pytest.raises(TwinlatentError, match=r"is written as \.npz; name it a[.\w]*\.npz$"):
        attack_to_file(trained_detector, few, FEW, tmp_path / name, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_leaving_proved_images_out_changes_no_verdict(hardened: Callable[[str], Detector], few: Split) -> None:
    """Of some images nothing is proved, and some of those fall."""
    detector, asked = hardened("ramp(2) c(3,4) | d(6) z(2,2)"), FEW.model_copy(update={"images": 20, "epsilon": 0.12})
    every, some = (attack_detector(detector, few, asked.model_copy(update={"unproved_only": only}), progress=False)
                   for only in (False, True))  # fmt: skip
    point = Point(asked.epsilon, asked.fpr)
    proved = holds_at(detector, every.benign, [point], progress=False)[point]
    assert 0 < proved.sum() < 20
    assert every.wins[WORST].any()
    for name, won in every.wins.items():
        assert torch.equal(some.wins[name], won), name
        assert name == WORST or torch.equal(some.result.by_attack[name].tried.cpu(), ~proved)
    assert [(r.attack, r.value, r.n) for r in some.records] == [(r.attack, r.value, r.n) for r in every.records]


def test_a_folder_of_other_work_is_refused_before_anything_is_proved(
    trained_detector: Detector, few: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = FEW.model_copy(update={"unproved_only": True})
    attack_detector(trained_detector, few, asked, folder=tmp_path, progress=False)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(module, "holds_at", lambda *_, **__: pytest.fail("proved at once"))
    other = asked.model_copy(update={"seed": 1})
    with pytest.raises(TwinlatentError, match="holds unfinished work with other seed; remove it"):
        attack_detector(trained_detector, few, other, folder=tmp_path, progress=False)
    with pytest.raises(TwinlatentError, match="holds unfinished work with other own; remove it"):
        attack_detector(trained_detector, few, asked, own={"noise-too": Noise}, folder=tmp_path, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
    monkeypatch.undo()
    attack_detector(trained_detector, few, other, folder=tmp_path, overwrite=True, progress=False)
    assert any(path.read_bytes() != before for path, before in kept.items() if path.exists())
    assert list(tmp_path.glob("proof-*")), "made for the other work, and not cleared with what was there before"


def test_what_is_not_proved_is_only_known_of_the_goal_undetected() -> None:
    with pytest.raises(ValidationError, match="ask for goal undetected"):
        WhiteBoxSettings(goal="misclassified", unproved_only=True)
