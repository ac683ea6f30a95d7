"""Made-up runs with everything a page can show, and a reader of pages."""

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from twinlatent.evaluation.metrics import Rate, auc, auc_interval, rate
from twinlatent.evaluation.results.parts import Check, Examples, JudgeCase, JudgedAttack, JudgeReport, ModelCard
from twinlatent.evaluation.results.pictures import LatentPoints, PairGrid
from twinlatent.evaluation.results.records import BESIDE, MISCLASSIFIED_ONLY, Record
from twinlatent.evaluation.results.report import Report

VOID = {"meta", "img", "br", "link", "input", "hr"}
N = 200
COMMON: dict[str, Any] = {
    "data": "digits", "method": "twinlatent", "trained_with": "mim", "seed": 7, "command": "twinlatent evaluate <run>",
    "commit": "0123456789ab", "seconds": 3.0, "versions": {"numpy": "2.0"}, "machine": "a processor",
    "date": "2025-01-31", "budget": "blackbox",
}  # fmt: skip


def record(metric: str, found: Rate, attack: str = "none", **fields: Any) -> Record:
    named = {"metric": metric, "value": found.value, "n": found.n, "low": found.low, "high": found.high}
    return Record(**{**COMMON, "attack": attack, "epsilon": None, "score": None, **named, **fields})


def a_run(k: int = 3, names: tuple[str, str] = ("three", "eight")) -> Report:
    generator = np.random.default_rng(0)
    benign = generator.normal(size=N)
    suspicion = {"pgd": generator.normal(3, 1, N), "fgsm": generator.normal(2, 1, N)}
    records = [record("accuracy", rate(195, N)), record("fpr", rate(11, N), score="vulnerable", asked=0.05)]
    for attack, scores in suspicion.items():
        area = Rate(auc(benign, scores), N, *auc_interval(benign, scores))
        records.append(record("auc", area, attack, epsilon=0.3, score="vulnerable"))
        records.append(record("attack_success", rate(150, N), attack, epsilon=0.3))
        records.append(record("tpr@5", rate(180, N), attack, epsilon=0.3, score="vulnerable"))
    images = np.resize(load_digits().images / 16, (k, 8, 8)).astype(np.float32)
    text, yes = np.array([names[0]] * k, dtype="<U20"), np.ones(k, dtype=bool)
    attack, misclassified = np.array(["pgd"] * k, dtype="<U8"), np.array([names[1]] * k, dtype="<U20")
    examples = Examples(images, np.clip(images + 0.1, 0, 1).astype(np.float32), attack, text, text, misclassified,
    ~yes, yes,
                        np.full(k, 0.5), np.full(k, 1e-4))  # fmt: skip
    settings = {"attack": {"step_size": 0.01, "restart": False}, "note": None, "seeds": [1, 2]}
    model = ModelCard(title="A detector", data="digits", class_names=names, training_images=100, calibration_images=20,
                      test_images=N, method="twinlatent", trained_with="mim",
                      network="c(4,16) z(8,8)", decoder="d(64)", parameters=1234567, score="vulnerable",
                      label_rule="nearest class mean", fpr=0.05, seconds=800, settings=settings)  # fmt: skip
    log = tuple({"round": i, "loss_total": 1 / i, "success": 1 / i, "accuracy": None} for i in range(1, 9))
    return Report(tuple(records), model, benign, suspicion, examples, 1.6, log)


class Reader(HTMLParser):
    """Collects tags, text and tables by caption, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open[-1:] == ["caption"]:
            self.tables.setdefault(data, self._rows)
        elif {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data.replace("\u00a0", " ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


RADII, MAIN_RADIUS, ALL, FEW = (0.1, 0.2, 0.3), 0.3, 1000, 100
SUITE = {"none": 3, "fgsm": 20, "pgd": 60, "mim": 70, "transfer": 50, "pgd_w": 410, "selective": 532}
CHECKS = (Check(name="gradients", status="pass", finding="0 of 10 vanish."),
          Check(name="blind", status="fail", finding="Noise <wins> 30 images alone."),
          Check(name="gamma", status="warn", finding="7 % of searches end at an end."))  # fmt: skip


def white_box(successes: dict[str, int], score: str, **fields: Any) -> list[Record]:
    """What a suite, the worst of it over radii and rates, and C1 and C2 leave behind."""
    about = {"score": score, "budget": "standard", **fields}
    found = [record("sr@5", rate(wins, ALL), name, epsilon=MAIN_RADIUS, **about) for name, wins in successes.items()]
    for number, epsilon in enumerate(RADII):
        for k, wins in (("1", 10), ("5", 20), ("10", 5)):
            main = (epsilon, k) == (MAIN_RADIUS, "5")
            share = rate(600, ALL) if main else rate(wins * (number + 1), FEW)
            found.append(record(f"sr@{k}", share, "worst", epsilon=epsilon, **about))
    about["score"] = "vulnerable"
    for number, epsilon in enumerate(RADII):
        for name, wins in (("fgsm_w", 2), ("pgd_w", 11), ("mim_w", 15), ("worst", 15)):
            found.append(record("sr_c1c2", rate(wins * number, FEW), name, epsilon=epsilon, **about))
            found.append(record("sr_c1c2c3", rate(wins * number // 2, FEW), name, epsilon=epsilon, **about))
    by_cw = about | {"budget": f"{about['budget']}{BESIDE}CW-L2_W: 150 steps"}
    found += [record("sr_c1c2", rate(27, FEW), "cw_w", **by_cw), record("sr_c1c2c3", rate(13, FEW), "cw_w", **by_cw)]
    found.append(record("l2_rms255", Rate(41.25, 27, 39.5, 43.0), "cw_w", **by_cw))
    found.append(record("benign_c3", rate(350, 400), **about | {"score": None}))
    return [*found, record("benign_pass_c1c2", rate(2900, 10_000), **about)]


def proved(run: Report, shares: tuple[float, float, float] = (0.4, 0.6, 0.8), beyond: float = 0.75) -> Report:
    """The same with what no attack can exceed at each point, and at the main radius of 10,000 images."""
    worst = [r for r in run.records if r.attack == "worst" and r.metric.startswith("sr@")]
    about: dict[str, Any] = {"metric": "sr_certified", "attack": "any"}
    found = [r.model_copy(update=about | {
        "asked": float(r.metric[3:]) / 100, "budget": f"interval and linear bounds{BESIDE}the attacked images",
        "value": (value := shares[RADII.index(r.epsilon)]), "low": value - 0.05, "high": min(1.0, value + 0.05),
    }) for r in worst]  # fmt: skip
    on_all = {"budget": "interval and linear bounds", "n": 10_000, "value": beyond, "low": 0.7, "high": 1.0}
    more = [r.model_copy(update=on_all)
            for r in found if r.epsilon == MAIN_RADIUS]  # fmt: skip
    return replace(run, records=(*run.records, *found, *more))


def grid_of(run: Report, seed: int = 0) -> PairGrid:
    """Two attacks on three digits."""
    benign = run.examples.benign[:3]
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, (2, *benign.shape))
    names = np.array(["three", "eight", "three"])
    return PairGrid(0.05, benign, names, names, np.zeros(3, dtype=bool), np.array(["mim_w 0.3", "cw_w"]),
                    np.clip(benign + noise, 0, 1), np.array([["eight"] * 3] * 2),
                    np.array([[True, False, False]] * 2))  # fmt: skip


def full_run(**fields: Any) -> Report:
    """With the white box, misclassified images, judges, checks and pictures, of MNIST; `fields` of records and card."""
    about = {"data": "mnist", **fields}
    run = a_run()
    black = [r.model_copy(update=about) for r in run.records]
    score = next(r.score for r in black if r.metric == "fpr")
    some = [r.model_copy(update={"budget": f"blackbox{MISCLASSIFIED_ONLY}", "n": 150, "value": r.value / 2, "low": 0.0})
            for r in black if r.metric in ("auc", "tpr@5")]  # fmt: skip
    cases = tuple(JudgeCase(judge=name, cases=kind, value=0.9, n=40, low=0.8, high=0.95)
                  for kind in ("benign", "fainter") for name in ("knn", "cnn", "agreement"))  # fmt: skip
    none = dict.fromkeys(("shows_true", "shows_predicted", "neither", "disagree"), 0)
    won = none | {"shows_true": 9, "shows_predicted": 4, "disagree": 2}
    seen = (JudgedAttack(attack="mim_w", epsilon=0.3, goal="c1c2", **won),
            JudgedAttack(attack="cw_w", epsilon=None, goal="undetected at 5 %", **none))  # fmt: skip
    generator = np.random.default_rng(0)
    points = LatentPoints(generator.normal(size=(24, 3)), generator.normal(size=(24, 3)), np.arange(24) > 11, "three")
    return replace(
        run,
        records=(*black, *some, *white_box(SUITE, str(score), **about)),
        model=run.model.model_copy(update={key: about[key] for key in about if key in ModelCard.model_fields}),
        checks=CHECKS,
        judges=JudgeReport(cases=cases, attacks=seen),
        grid=grid_of(run),
        latents=points,
    )


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Report]:
    return a_run


@pytest.fixture(scope="session")
def make_full_run() -> Callable[..., Report]:
    return full_run


@pytest.fixture(scope="session")
def make_proved() -> Callable[..., Report]:
    return proved


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    return record


@pytest.fixture(scope="session")
def read_page() -> type[Reader]:
    return Reader
