"""Floors and ceilings: what is proved at each point, and that an attack never wins where it is proved that none can."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from twinlatent.attacks.suite_runs import with_slack
from twinlatent.baselines import fit_baseline
from twinlatent.claims import clear
from twinlatent.data import Split
from twinlatent.evaluation.checks import check_certificate
from twinlatent.evaluation.protocol.points import RATES, Point, draw
from twinlatent.evaluation.protocol.settings import WhiteBoxSettings
from twinlatent.evaluation.white_box import proofs as module
from twinlatent.evaluation.white_box.at_points import OperatingPoints, operating_points
from twinlatent.evaluation.white_box.kept_proofs import KeptProofs
from twinlatent.evaluation.white_box.proofs import BOUNDS, OF_ATTACKED, Proofs, holds_at, prove
from twinlatent.method import certificate
from twinlatent.method.bounds import ball
from twinlatent.method.certificate import Undecided, certify
from twinlatent.method.detector import Detector
from twinlatent.recipes import recipe_of

MAIN = WhiteBoxSettings(suite="quick", epsilon=0.15, steps=15, images=60, seed=3)
EPSILONS, FPRS, SUBSET = (0.02, 0.05, 0.15), (0.05, 0.1), 40


@pytest.fixture(scope="module")
def detector(hardened: Callable[[str], Detector]) -> Detector:
    return hardened("c(3,8) z(4,4)")


@pytest.fixture(scope="module")
def points(detector: Detector, digits: Split, fewer_steps) -> OperatingPoints:
    with pytest.MonkeyPatch.context() as patch:
        fewer_steps(patch, 3)
        return operating_points(detector, digits, MAIN, EPSILONS, fprs=FPRS, subset=SUBSET, progress=False)


def settled(proofs: Proofs, points: OperatingPoints) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(points.wins[point], held) for point, held in proofs.holds.items()]


def test_at_each_point_it_is_what_the_certificate_says(detector: Detector, digits: Split, monkeypatch) -> None:
    images, asked = draw(digits.test, 30, 0), [Point(epsilon, fpr) for epsilon in EPSILONS for fpr in RATES]
    counted: list[int] = []
    real = module.certify_rates

    def counting(detector, images, *asked, **options):
        counted.append(len(images))
        return real(detector, images, *asked, **options)

    monkeypatch.setattr(module, "certify_rates", counting)
    found = holds_at(detector, images, asked, progress=False)
    assert list(found) == sorted(asked)
    for point, held in found.items():
        alone = certify(detector, images.images, images.labels, with_slack(point.epsilon), point.fpr)
        assert torch.equal(held, alone.holds)
    shares = [held.double().mean().item() for held in found.values()]
    assert 0 < min(shares[:6]) < max(shares) < 1
    assert counted[0] == 30 > sum(counted[1:]) / 2, "what failed in a small ball is asked again in larger ones"


def test_an_interrupted_proof_resumes_to_the_same(
    detector: Detector, digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, asked = draw(digits.test, 30, 0), [Point(0.05, 0.05), Point(0.15, 0.05)]
    whole, real, counted = holds_at(detector, images, asked, progress=False), module.certify_rates, [0]
    monkeypatch.setattr(module, "CERTIFIED_AT_ONCE", 10)

    def counting(*asked, **options):
        counted[0] += 1
        if counted[0] == 3:
            raise KeyboardInterrupt
        return real(*asked, **options)

    def again(kept: KeptProofs, images=images, asked=asked) -> tuple[bool, int]:
        """Whether it is the same as without a folder, and how often something had to be proved."""
        counted[0] = 100
        found = holds_at(detector, images, asked, kept=kept, progress=False)
        return all(torch.equal(found[point], whole[point][: len(images)]) for point in asked), counted[0] - 100

    monkeypatch.setattr(module, "certify_rates", counting)
    with pytest.raises(KeyboardInterrupt):
        holds_at(detector, images, asked, kept=KeptProofs(tmp_path), progress=False)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    files[0].write_bytes(b"half a file")
    rest = 2 + math.ceil(int(whole[asked[0]].sum()) / 10)
    resumed = KeptProofs(tmp_path)
    assert again(resumed) == (True, rest)
    assert resumed.seconds > 0
    assert again(KeptProofs(tmp_path)) == (True, 0)
    few, point = images.subset(slice(10)), Point(0.05, 0.1)
    other, fresh = (
        holds_at(detector, few, [point], kept=kept, progress=False) for kept in (KeptProofs(tmp_path), None)
    )
    assert torch.equal(other[point], fresh[point])
    assert len(list(tmp_path.iterdir())) == 2 + rest, "another rate is another question"
    clear(tmp_path)
    assert not tmp_path.exists()


def test_the_whole_box_may_be_asked(detector: Detector, digits: Split) -> None:
    found = holds_at(detector, draw(digits.test, 5, 0), [Point(1.0, 0.05), Point(0.0, 0.05)], progress=False)
    assert found[Point(0.0, 0.05)].any()
    assert not found[Point(1.0, 0.05)].any()


@pytest.mark.slow
def test_the_same_images_are_certified_as_attacked_and_more_at_the_main_radius(
    detector: Detector, digits: Split, points: OperatingPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacked, more = points.main.benign, draw(digits.test, 100, MAIN.seed)
    proofs = prove(detector, attacked, points.wins, more, 0.05, progress=False)
    assert {point: len(held) for point, held in proofs.holds.items()} == {p: len(w) for p, w in points.wins.items()}
    assert {point: len(held) for point, held in proofs.beyond.items()} == {Point(0.05, fpr): 100 for fpr in FPRS}
    assert torch.equal(proofs.beyond[Point(0.05, 0.05)][:SUBSET], proofs.holds[Point(0.05, 0.05)])
    rows = proofs.rows("ratio")
    assert {(part.budget, part.asked, len(part.rows)) for part in rows} == {
        *((OF_ATTACKED, fpr, 3) for fpr in FPRS), *((BOUNDS, fpr, 1) for fpr in FPRS)
    }  # fmt: skip
    for part in rows:
        for row in part.rows:
            holds = proofs.holds if part.budget == OF_ATTACKED else proofs.beyond
            held = holds[Point(row.epsilon, part.asked)]
            assert (row.metric, row.attack, row.score, row.rate.n) == ("sr_certified", "any", "ratio", len(held))
            assert row.rate.value == pytest.approx(1 - held.double().mean().item())
            assert row.rate.low <= row.rate.value <= row.rate.high
    assert not prove(detector, attacked, points.wins, attacked, 0.05, progress=False).beyond
    monkeypatch.setattr(certificate, "STEPS", ())
    hopeless = prove(detector, attacked, points.wins, more, 0.15, progress=False)
    assert not hopeless.holds[Point(0.15, 0.1)].any()
    assert not hopeless.beyond, "of the attacked images nothing is proved there"


def test_the_floor_is_below_the_ceiling_image_by_image(
    detector: Detector, points: OperatingPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = check_certificate(settled(prove(detector, points.main.benign, points.wins, progress=False), points))
    assert sound.status == "pass"
    assert " 0 are both" in sound.finding
    with monkeypatch.context() as patch:  # bounds with an error: as if the ball were a third as large
        patch.setattr(certificate, "ball_in", lambda _, images, epsilon: ball(images, epsilon / 3))
        small = check_certificate(settled(prove(detector, points.main.benign, points.wins, progress=False), points))
    assert small.status == "fail"
    real = module.certify_rates
    monkeypatch.setattr(module, "certify_rates", lambda *asked, **options: [
        replace(found, holds=~found.holds) for found in real(*asked, **options)
    ])  # fmt: skip
    tampered = check_certificate(settled(prove(detector, points.main.benign, points.wins, progress=False), points))
    assert tampered.status == "fail"


def test_a_detector_of_another_kind_is_left_undecided(digits: Split) -> None:
    settings = recipe_of(digits, "smoke").baseline_settings("plain").model_copy(update={"rounds": 2})
    plain = fit_baseline("plain", digits, settings=settings, progress=False)
    images, won = draw(digits.test, 4, 0), {Point(0.1, 0.05): torch.ones(4, dtype=torch.bool)}
    found = prove(plain, images, won, digits.test, 0.1, progress=False)
    assert found == Proofs(undecided="no bound is known for plain; give a detector that twinlatent trained")
    assert found.rows("confidence") == []
    with pytest.raises(Undecided):
        holds_at(plain, images, won, progress=False)
