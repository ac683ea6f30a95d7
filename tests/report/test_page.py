"""The page stands alone, escapes what it is given, and always has the same bytes."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.metrics import Rate, auc, auc_interval, rate
from twinlatent.evaluation.records import Record
from twinlatent.evaluation.run_folder import EvaluationRun, Examples, ModelCard, write_run
from twinlatent.report.page import MAX_EXAMPLES, page, write_page

VOID = {"meta", "img", "br", "link", "input", "hr"}
N = 200
NASTY = '<b>&"$x</b>'
COMMON: dict[str, Any] = {
    "data": "digits", "method": "twinlatent", "trained_with": "mim", "seed": 7, "command": "twinlatent evaluate <run>",
    "commit": "0123456789ab", "seconds": 3.0, "versions": {"numpy": "2.0"}, "machine": "a processor",
    "date": "2025-01-31", "budget": "blackbox",
}  # fmt: skip


def record(metric: str, found: Rate, attack: str = "none", **fields: Any) -> Record:
    named = {"metric": metric, "value": found.value, "n": found.n, "low": found.low, "high": found.high}
    return Record(**{**COMMON, "attack": attack, "epsilon": None, "score": None, **named, **fields})


def a_run(k: int = 3, names: tuple[str, str] = ("three", "eight")) -> EvaluationRun:
    generator = np.random.default_rng(0)
    benign = generator.normal(size=N)
    suspicion = {"pgd": generator.normal(3, 1, N), "fgsm": generator.normal(2, 1, N)}
    records = [record("accuracy", rate(195, N)), record("fpr", rate(11, N), score="vulnerable")]
    for attack, scores in suspicion.items():
        area = Rate(auc(benign, scores), N, *auc_interval(benign, scores))
        records.append(record("auc", area, attack, epsilon=0.3, score="vulnerable"))
        records.append(record("attack_success", rate(150, N), attack, epsilon=0.3))
        records.append(record("tpr@5", rate(180, N), attack, epsilon=0.3, score="vulnerable"))
    images = np.resize(load_digits().images / 16, (k, 8, 8)).astype(np.float32)
    text, yes = np.array([names[0]] * k, dtype="<U20"), np.ones(k, dtype=bool)
    attack, misread = np.array(["pgd"] * k, dtype="<U8"), np.array([names[1]] * k, dtype="<U20")
    examples = Examples(images, np.clip(images + 0.1, 0, 1).astype(np.float32), attack, text, text, misread, ~yes, yes,
                        np.full(k, 0.5), np.full(k, 1e-4))  # fmt: skip
    settings = {"attack": {"step_size": 0.01, "restart": False}, "note": None, "seeds": [1, 2]}
    model = ModelCard(title="A detector", data="digits", class_names=names, training_images=100, calibration_images=20,
                      test_images=N, method="twinlatent", trained_with="mim",
                      network="c(4,16) z(8,8)", decoder="d(64)", parameters=1234567, score="vulnerable",
                      label_rule="nearest class mean", fpr=0.05, seconds=800, settings=settings)  # fmt: skip
    log = tuple({"round": i, "loss_total": 1 / i, "success": 1 / i, "accuracy": None} for i in range(1, 9))
    return EvaluationRun(tuple(records), model, benign, suspicion, examples, 1.6, log)


class Reader(HTMLParser):
    """Collects tags and text, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def html() -> str:
    return page(a_run())


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    reader = Reader(html)
    for _, attributes in reader.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                assert value is not None
                assert value.startswith(("data:", "#")), value
    assert not {"script", "link", "iframe", "object", "form", "a"} & {tag for tag, _ in reader.tags}
    for style in [*reader.texts, *(attributes.get("style") or "" for _, attributes in reader.tags)]:
        assert "@import" not in style
        assert "url(" not in style.replace("url(#", "")
    policies = [tag.get("content") for tag in reader.all("meta") if tag.get("http-equiv")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_page_is_accessible_and_fits_a_phone(html: str) -> None:
    reader = Reader(html)
    assert reader.all("html")[0]["lang"] == "en"
    assert any(tag.get("name") == "viewport" for tag in reader.all("meta"))
    assert len(reader.all("h1")) == 1
    assert reader.all("img")
    assert all(image.get("alt") for image in reader.all("img"))
    drawings = [tag for tag in reader.all("div") if tag.get("role") == "img"]
    assert len(drawings) == len(reader.all("svg")) == 3
    assert all(tag.get("aria-label") for tag in drawings)
    assert len([tag for tag in reader.all("div") if tag.get("class") == "scroll"]) == len(reader.all("table"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_numbers_are_there(html: str) -> None:
    text = Reader(html).text.replace("\u00a0", " ")
    run = a_run()
    areas = sorted(auc(run.benign_suspicion, scores) for scores in run.suspicion.values())
    assert f"AUC of {areas[0]:.3f}–{areas[1]:.3f} over 2 attacks, and flags 5.5 % of benign images." in text
    assert "On 200 digits test images the detector reads 97.5 % correctly." in text
    assert "90.0 % of PGD images flagged at 5 % false alarms" in text
    settings = ("attack · step size 0.01", "attack · restart no", "note none", "seeds 1, 2")
    sources = ("twinlatent evaluate <run>", "0123456789ab", "2025-01-31")
    for expected in (*settings, *sources, "1,234,567", "13 min", "75.0 %", "p < 0.001", "black-box transfer attacks"):
        assert expected in text, expected


def test_all_text_is_escaped() -> None:
    run = a_run(names=(NASTY, NASTY))
    nasty = run.model.model_copy(
        update=dict.fromkeys(
            ("title", "data", "network", "method", "trained_with", "decoder", "score", "label_rule"), NASTY
        )
        | {"settings": {NASTY: NASTY}}
    )
    free = dict.fromkeys(("data", "command", "commit", "machine", "budget"), NASTY)
    records = tuple(r.model_copy(update=free) for r in run.records)
    records += tuple(r.model_copy(update={"attack": NASTY, "seed": 8}) for r in records if r.attack == "pgd")
    examples = replace(run.examples, attack=np.array([NASTY] * len(run.examples)))
    html = page(replace(run, model=nasty, records=records, examples=examples, suspicion={NASTY: run.suspicion["pgd"]}))
    assert NASTY not in html
    assert "<b>&amp;" not in html
    reader = Reader(html)
    assert reader.text.count(NASTY) > 20
    assert any(NASTY in (tag.get("alt") or "") for tag in reader.all("img"))


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        write_run(tmp_path / name, a_run())
        pages.append(write_page(tmp_path / name))
    assert pages[0] == tmp_path / "one" / "report.html"
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert write_page(tmp_path / "one").read_bytes() == pages[1].read_bytes()


def test_the_first_examples_are_shown_and_the_page_stays_small() -> None:
    html = page(a_run(k=MAX_EXAMPLES + 6))
    reader = Reader(html)
    assert len(reader.all("img")) == 3 * MAX_EXAMPLES
    assert f"The first {MAX_EXAMPLES} of {MAX_EXAMPLES + 6} are shown." in reader.text
    assert len(html) < 1_000_000


def test_pictures_hold_the_images(html: str) -> None:
    pictures = [str(image["src"]) for image in Reader(html).all("img")]
    benign, _, difference = (Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))) for text in pictures[:3])
    expected = a_run().examples.benign[0]
    np.testing.assert_allclose(np.asarray(benign) / 255, expected, atol=0.5 / 255 + 1e-6)
    assert benign.mode == "L"
    assert difference.size == (8, 8)
    assert difference.mode == "RGB"


@pytest.mark.parametrize(("flagged", "label", "outcome"), [(True, "eight", "caught"), (False, "eight", "missed"),
                                                           (False, "three", "harmless")])  # fmt: skip
def test_outcomes_are_named(flagged: bool, label: str, outcome: str) -> None:
    run = a_run(k=1)
    examples = replace(run.examples, adversarial_flagged=np.array([flagged]), adversarial_label=np.array([label]))
    assert f"PGD on three {outcome}" in Reader(page(replace(run, examples=examples))).text


def test_what_is_absent_leaves_its_section_out() -> None:
    html = page(replace(a_run(k=0), log=(), threshold=None, records=()))
    headings = {tag["id"] for tag in Reader(html).all("h2")}
    assert headings == {"trained", "separation", "meaning", "provenance"}
    assert "Each class has its own threshold." in html


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (800, "13 min"), (7500, "2 h 05 min")])
def test_the_training_time_is_readable(seconds: float, text: str) -> None:
    run = a_run(k=0)
    assert f"<dd>{text}</dd>" in page(replace(run, model=run.model.model_copy(update={"seconds": seconds})))


def test_each_detector_and_score_has_its_place() -> None:
    run = a_run()
    ratio = tuple(r.model_copy(update={"score": "ratio"}) for r in run.records if r.score)
    gong = tuple(r.model_copy(update={"method": "gong"}) for r in run.records)
    white = record("sr@5", rate(60, N), "worst", epsilon=0.3, budget="standard")
    size = Record(**{**white.model_dump(), "metric": "l2_rms255", "value": 45.12, "low": None, "high": None})
    text = Reader(page(replace(run, records=gong + run.records + ratio + (white, size)))).text.replace("\u00a0", " ")
    assert "Gong et al. 2017, trained with MIM, digits, blackbox attacks, seed 7" in text
    assert "PGD vulnerable 0.3" in text
    assert "PGD ratio 0.3" in text
    assert "flagged (false alarms) (ratio score)" in text
    assert "worst of all 0.3 30.0 % 45.1 200" in text
    assert "no stronger ones" in text


def test_a_missing_array_is_a_clear_error_and_leaves_no_page(tmp_path: Path) -> None:
    write_run(tmp_path, a_run())
    with np.load(tmp_path / "evaluation.npz") as archive:
        kept = {name: archive[name] for name in archive.files if name != "suspicion_fgsm"}
    np.savez(tmp_path / "evaluation.npz", **kept)
    with pytest.raises(TwinlatentError, match=r"evaluation\.npz: the array 'suspicion_fgsm' is missing"):
        write_page(tmp_path)
    assert not (tmp_path / "report.html").exists()
