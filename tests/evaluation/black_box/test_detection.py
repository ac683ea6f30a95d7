"""Black-box evaluation: attacks keep their budget, numbers are those of the arrays, test images are only judged."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from twinlatent.attacks.budgets import Budget
from twinlatent.data import LabelledImages, Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.black_box import substitutes
from twinlatent.evaluation.black_box.detection import BLACK_BOX, evaluate_blackbox
from twinlatent.evaluation.black_box.substitutes import Substitute, attack_substitute, train_substitute
from twinlatent.evaluation.protocol.points import RATES
from twinlatent.evaluation.results.records import MEAN, Record
from twinlatent.evaluation.results.report import Report
from twinlatent.method.detector import Detector, build_detector
from twinlatent.method.fit import fit_split
from twinlatent.method.game_state import GameSettings

IMAGES, SEED = 40, 5
BUDGETS = (
    Budget("fgsm", 0.2),
    Budget("pgd", 0.3, steps=6, step_size=0.06),
    Budget("mim", 0.25, steps=5, step_size=0.05, decay=0.3),
)
by_attack = pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.attack)


@pytest.fixture(autouse=True)
def hardly_any_steps(monkeypatch, fewer_steps) -> None:
    """Most tests do not ask how good the substitute is."""
    fewer_steps(monkeypatch, 3)


@pytest.fixture(scope="module")
def trained(digits: Split, fewer_steps) -> list[Substitute]:
    """All three: weak, but they classify most images correctly."""
    with pytest.MonkeyPatch.context() as patch:
        fewer_steps(patch, 60)
        return [train_substitute(digits, name, seed=SEED, progress=False) for name in substitutes.SUBSTITUTES]


@pytest.fixture(scope="module", params=[0, 1, 2], ids=substitutes.SUBSTITUTES)
def substitute(request, trained: list[Substitute]) -> Substitute:
    return trained[request.param]


@pytest.fixture(scope="module")
def run(trained_detector: Detector, digits: Split, trained: list[Substitute]) -> Report:
    return evaluate(trained_detector, digits, substitutes=trained)


def evaluate(detector: Detector, split: Split, **options) -> Report:
    chosen = {"budgets": BUDGETS, "images": IMAGES, "seed": SEED, "progress": False, **options}
    return evaluate_blackbox(detector, split, **chosen)


def value(run: Report, metric: str, attack: str = "none", score: str | None = None, by: str = MEAN) -> float:
    return record(run, metric, attack, score, by=by).value


def record(
    run: Report, metric: str, attack: str, score: str | None = None, budget: str = "blackbox", by: str = MEAN
) -> Record:
    kept = (metric, attack, budget)
    (found,) = (r for r in run.records if (r.metric, r.attack, r.budget) == kept and score in (None, r.score)
                and r.substitute in (None, by))  # fmt: skip
    return found


def share(flags: Tensor) -> float:
    return flags.double().mean().item()


def settings_of(detector: Detector) -> GameSettings:
    return GameSettings.model_validate(detector.card["training"])


def drawn(split: Split, count: int, seed: int) -> LabelledImages:
    """The images that an evaluation with this seed attacks."""
    return split.test.subset(torch.randperm(len(split.test), generator=torch.Generator().manual_seed(seed))[:count])


@pytest.fixture(scope="module")
def attacked(substitute: Substitute, digits: Split) -> dict[str, LabelledImages]:
    """The images of `run` that were attacked on this substitute, made once more."""
    images = drawn(digits, IMAGES, SEED)
    result = attack_substitute(substitute.network, images, BUDGETS, seed=SEED, progress=False)
    return {name: LabelledImages(tried.result.images, images.labels) for name, tried in result.by_attack.items()}


def test_the_budgets_are_the_papers() -> None:
    rows = {b.attack: (b.epsilon, b.steps, b.step_size, b.decay) for b in BLACK_BOX if b.attack != "cw"}
    assert rows == {"fgsm": (0.3, 1, 0, 0), "pgd": (0.4, 90, 0.01, 0), "mim": (0.3, 160, 0.01, 0.3)}  # Table 8
    (cw,) = (b for b in BLACK_BOX if b.attack == "cw")
    assert (cw.steps, cw.learning_rate, cw.confidence, cw.initial_c, cw.searches) == (160, 0.1, 3, 10, 1)


# --- the numbers ----------------------------------------------------------------------------------------------------


def test_benign_numbers_are_those_of_all_test_images(run: Report, trained_detector, substitute, digits) -> None:
    verdict = trained_detector.detect(digits.test.images, 0.05)
    assert value(run, "accuracy") == pytest.approx(share(verdict.label == digits.test.labels))
    alarms = {r.asked: r.value for r in run.records if r.metric == "fpr"}
    assert list(alarms) == [fpr for fpr in RATES if fpr >= trained_detector.calibration.finest_fpr]
    for fpr, found in alarms.items():
        assert found == pytest.approx(share(trained_detector.detect(digits.test.images, fpr).adversarial))
    assert {r.asked for r in run.records if r.metric != "fpr"} == {None}
    right = share(substitute.labels(digits.test.images) == digits.test.labels)
    assert value(run, "substitute_accuracy", by=substitute.name) == pytest.approx(right)
    assert {r.n for r in run.records if r.attack == "none"} == {len(digits.test)}


@by_attack
def test_arrays_of_scores_are_the_detectors(budget, run, trained_detector, digits, attacked, substitute, trained):
    benign = trained_detector.detect(drawn(digits, IMAGES, SEED).images).suspicion
    adversarial = trained_detector.detect(attacked[budget.attack].images).suspicion
    np.testing.assert_array_equal(run.benign_suspicion, benign.numpy())
    mine = run.suspicion[budget.attack].reshape(len(trained), IMAGES)[trained.index(substitute)]
    np.testing.assert_array_equal(mine, adversarial.numpy())


@by_attack
@pytest.mark.parametrize("score", ["vulnerable", "joint", "ratio"])
def test_areas_are_those_that_sklearn_finds(budget, score, run, trained_detector, digits, attacked, substitute) -> None:
    detector = trained_detector.using(score=score)
    pair = [detector.detect(x.images).suspicion for x in (drawn(digits, IMAGES, SEED), attacked[budget.attack])]
    truth = np.repeat([0, 1], IMAGES)
    wanted = roc_auc_score(truth, torch.cat(pair).numpy())
    assert value(run, "auc", budget.attack, score, substitute.name) == pytest.approx(wanted)


@by_attack
def test_the_mean_over_substitutes_is_the_area_of_all_their_images(budget: Budget, run: Report, trained) -> None:
    benign, pooled = run.benign_suspicion, run.suspicion[budget.attack]
    truth = np.repeat([0, 1], [len(benign), len(pooled)])
    mean = record(run, "auc", budget.attack, "ratio")
    assert mean.value == pytest.approx(roc_auc_score(truth, np.concatenate([benign, pooled])))
    each = [record(run, "auc", budget.attack, "ratio", by=one.name) for one in trained]
    assert mean.n == IMAGES
    assert mean.high - mean.low == pytest.approx(np.mean([r.high - r.low for r in each])), "no narrower than one"


@by_attack
def test_detection_rates_are_those_of_detect(budget: Budget, run, trained_detector, attacked, substitute) -> None:
    told = [fpr for fpr in RATES if fpr >= trained_detector.calibration.finest_fpr]
    assert told, "the calibration images can tell no rate at all"
    for fpr in told:
        flagged = trained_detector.detect(attacked[budget.attack].images, fpr).adversarial
        found = value(run, f"tpr@{100 * fpr:.0f}", budget.attack, by=substitute.name)
        assert found == pytest.approx(share(flagged))
    finer = {f"tpr@{100 * fpr:.0f}" for fpr in RATES} - {f"tpr@{100 * fpr:.0f}" for fpr in told}
    assert not finer & {r.metric for r in run.records}, "a rate is reported that the calibration cannot tell"


@by_attack
def test_success_is_what_the_substitute_misclassifies(budget: Budget, run: Report, substitute, attacked) -> None:
    found = attacked[budget.attack]
    missed = share(substitute.labels(found.images) != found.labels)
    assert value(run, "attack_success", budget.attack, by=substitute.name) == pytest.approx(missed)


def test_records_say_what_was_attacked(run: Report, trained_detector: Detector) -> None:
    for r in run.records:
        assert (r.data, r.method, r.trained_with, r.seed) == ("digits", "twinlatent", "mim", SEED)
    assert {r.budget for r in run.records} == {"blackbox", "blackbox, misclassified only"}
    assert {r.attack: r.epsilon for r in run.records} == {"none": None} | {b.attack: b.epsilon for b in BUDGETS}
    assert {r.n for r in run.records if r.attack != "none" and r.budget == "blackbox"} == {IMAGES}
    assert {r.score for r in run.records if r.metric.startswith(("tpr", "fpr"))} == {trained_detector.settings.score}


@by_attack
def test_numbers_over_successes_leave_the_others_out(
    budget: Budget, run, trained_detector, substitute, digits, attacked
):
    name, found = budget.attack, attacked[budget.attack]
    misclassified = substitute.labels(found.images) != found.labels
    verdict = trained_detector.detect(found.images[misclassified], 0.05)
    benign = trained_detector.detect(drawn(digits, IMAGES, SEED).images).suspicion
    caught, area = (record(run, metric, name, "ratio", "blackbox, misclassified only", substitute.name)
                    for metric in ("tpr@5", "auc"))  # fmt: skip
    assert caught.n == area.n == int(misclassified.sum())
    assert caught.value == pytest.approx(share(verdict.adversarial))
    truth = np.repeat([0, 1], [len(benign), area.n])
    expected = roc_auc_score(truth, np.concatenate([benign.numpy(), verdict.suspicion.numpy()]))
    assert area.value == pytest.approx(expected)


def test_each_image_is_encoded_once(run: Report, trained_detector, digits, trained, monkeypatch) -> None:
    """All test images, and the attacked ones of each attack and substitute, whatever the scores and rates."""
    encoded, real = [], type(trained_detector.encoders).forward

    def counted(self, images):
        encoded.append(len(images))
        return real(self, images)

    monkeypatch.setattr(type(trained_detector.encoders), "forward", counted)
    evaluate(trained_detector, digits, substitutes=trained[:2], budgets=BUDGETS[:2])
    chunks = -(-len(digits.test) // 32) + 2 * 2 * -(-IMAGES // 32)
    assert len(encoded) == chunks


def test_no_substitute_is_refused(trained_detector: Detector, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="0 substitutes; give at least one of f_p, cnn5, cleverhans"):
        evaluate(trained_detector, digits, substitutes=[])


def test_all_images_are_attacked_unless_fewer_are_asked_for(trained_detector, digits: Split) -> None:
    few = replace(digits, test=digits.test.subset(slice(12)))
    budgets = BUDGETS[:1]
    whole = evaluate(trained_detector, few, budgets=budgets, images=None)
    assert len(whole.benign_suspicion) == len(whole.suspicion["fgsm"]) / 3 == 12
    assert {r.n for r in whole.records if r.budget == "blackbox"} == {12}
    part = evaluate(trained_detector, few, budgets=budgets, images=5)
    assert {r.n for r in part.records if r.attack == "fgsm" and r.budget == "blackbox"} == {5}
    assert {r.n for r in part.records if r.metric in ("accuracy", "fpr")} == {12}
    assert set(part.benign_suspicion) <= set(whole.benign_suspicion)
    assert len(set(part.benign_suspicion)) == 5


def test_the_same_seed_gives_the_same_numbers(trained_detector: Detector, digits: Split) -> None:
    first, again, other = (evaluate(trained_detector, digits, images=20, seed=seed) for seed in (1, 1, 2))
    timeless = {"seconds": 0.0, "date": "2000-01-01"}
    a, b = ([r.model_copy(update=timeless) for r in x.records] for x in (first, again))
    assert a == b
    for name, scores in first.suspicion.items():
        np.testing.assert_array_equal(again.suspicion[name], scores)
        assert not np.array_equal(other.suspicion[name], scores)


@pytest.mark.parametrize("substitute", [0], indirect=True, ids=["the first"])
def test_examples_show_what_the_detector_said(run: Report, trained_detector, digits: Split, attacked) -> None:
    shown, each = run.examples, len(run.examples) // len(BUDGETS)
    start = drawn(digits, IMAGES, SEED)
    names = np.array(digits.class_names)
    for place, budget in enumerate(BUDGETS):
        mine = slice(place * each, (place + 1) * each)
        verdict = trained_detector.detect(attacked[budget.attack].images[:each])
        assert set(shown.attack[mine]) == {budget.attack}
        np.testing.assert_array_equal(shown.benign[mine], start.images[:each, 0])
        np.testing.assert_array_equal(shown.adversarial[mine], attacked[budget.attack].images[:each, 0])
        np.testing.assert_array_equal(shown.true[mine], names[start.labels[:each]])
        np.testing.assert_array_equal(shown.adversarial_label[mine], names[verdict.label])
        np.testing.assert_array_equal(shown.adversarial_flagged[mine], verdict.adversarial)
        np.testing.assert_array_equal(shown.adversarial_p[mine], verdict.p_value)


def test_the_card_describes_the_detector(run: Report, trained_detector: Detector, digits: Split) -> None:
    card = run.model
    assert (card.data, card.class_names) == ("digits", digits.class_names)
    counted = (card.training_images, card.calibration_images, card.test_images)
    assert counted == (len(digits.train), len(digits.calibration), len(digits.test))
    assert card.network == settings_of(trained_detector).encoder
    assert card.settings == trained_detector.card["training"]
    assert (card.score, card.label_rule) == ("ratio", "ratio")


# --- test images are only judged ------------------------------------------------------------------------------------


def altered(split: Split) -> Split:
    """The same split with other test images: turned round, in another order, and fewer."""
    order = torch.randperm(len(split.test), generator=torch.Generator().manual_seed(1))[:100]
    test = split.test.subset(order)
    return replace(split, test=LabelledImages(1 - test.images.flip(-1), test.labels))


def test_test_images_do_not_influence_the_detector(trained_detector: Detector, digits: Split) -> None:
    other = fit_split(altered(digits), settings=settings_of(trained_detector), progress=False)
    for fpr in (0.05, 0.1):
        assert torch.equal(other.calibration.thresholds(fpr), trained_detector.calibration.thresholds(fpr))
    assert torch.equal(other.class_means, trained_detector.class_means)
    mine, others = (d.encoders.state_dict() for d in (trained_detector, other))
    assert all(torch.equal(mine[name], others[name]) for name in mine)


def test_an_evaluation_leaves_detector_and_images_as_they_were(trained_detector: Detector, digits: Split) -> None:
    split = altered(digits)
    fingerprint, thresholds = split.fingerprint, trained_detector.calibration.thresholds(0.05)
    evaluate(trained_detector, split, budgets=BUDGETS[:1])
    assert replace(split).fingerprint == fingerprint
    assert torch.equal(trained_detector.calibration.thresholds(0.05), thresholds)


def test_an_evaluation_leaves_the_global_generator_as_it_was(trained_detector: Detector, digits: Split) -> None:
    before = torch.get_rng_state()
    evaluate(trained_detector, digits, budgets=BUDGETS[:1])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_of_test_images_does_not_matter_to_benign_numbers(trained_detector, digits: Split) -> None:
    turned = replace(digits, test=digits.test.subset(torch.arange(len(digits.test)).flip(0)))
    a, b = (evaluate(trained_detector, split, budgets=BUDGETS[:1]) for split in (digits, turned))
    benign = [[r for r in run.records if r.attack == "none"] for run in (a, b)]
    told = [[(r.metric, r.asked, r.substitute, r.value) for r in records] for records in benign]
    assert told[0] == told[1]
    assert {metric for metric, *_ in told[0]} == {"accuracy", "fpr", "substitute_accuracy"}


# --- what is refused ------------------------------------------------------------------------------------------------


def small(split: Split, count: int) -> Split:
    return replace(split, test=split.test.subset(slice(count)))


@pytest.mark.parametrize("images", [0, -1, 13])
def test_a_number_of_images_that_are_not_there_is_refused(images: int, trained_detector, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=rf"{images} test images are asked for; there are 12"):
        evaluate(trained_detector, small(digits, 12), images=images)


def test_images_of_another_size_are_refused(trained_detector: Detector, digits: Split) -> None:
    data = LabelledImages(torch.zeros(10, 1, 9, 9), torch.arange(10))
    with pytest.raises(TwinlatentError, match=r"takes \(1, 8, 8\) images of 10 classes; nines has \(1, 9, 9\) of 10"):
        evaluate(trained_detector, Split("nines", data, data, data, digits.class_names))


def test_other_classes_are_refused(trained_detector: Detector, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match=r"of 10 classes; digits has \(1, 8, 8\) of 2"):
        evaluate(trained_detector, replace(digits, class_names=("even", "odd")))


def test_two_budgets_of_one_attack_are_refused(trained_detector: Detector, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="fgsm"):
        evaluate(trained_detector, small(digits, 5), budgets=(Budget("fgsm", 0.1), Budget("fgsm", 0.3)), images=None)


def test_no_budget_is_refused(trained_detector: Detector, digits: Split) -> None:
    with pytest.raises(TwinlatentError, match="at least one attack"):
        evaluate(trained_detector, small(digits, 5), budgets=(), images=None)


def test_the_card_says_which_rate_the_detector_was_set_to(trained_detector: Detector, digits: Split) -> None:
    few = replace(digits, calibration=digits.calibration.subset(slice(12)))
    detector = build_detector(trained_detector.encoders, few.train, few.calibration, few.class_names)
    run = evaluate(detector, few, budgets=BUDGETS[:1], images=5)
    asked = [r for r in run.records if r.metric == "fpr"]
    assert [r.asked for r in asked] == [1 / 13, 0.1]
    assert run.model.fpr == 1 / 13
    for r in asked:
        assert r.value == pytest.approx(share(detector.detect(digits.test.images, r.asked).adversarial))
