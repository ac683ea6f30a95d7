"""The page stands alone, shows what the run holds, escapes what it is given, and always has the same bytes."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinlatent.drawing.labels import CHECKS
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.checks.each import NAMES
from twinlatent.evaluation.metrics import auc, rate
from twinlatent.evaluation.results.parts import Check
from twinlatent.evaluation.results.records import MISCLASSIFIED_ONLY, Record
from twinlatent.evaluation.results.report import Report, write_run
from twinlatent.report.page import page, write_page
from twinlatent.report.plots import MAX_EXAMPLES
from twinlatent.report.rendering import Row
from twinlatent.report.tables import conditions

N = 200
NASTY = '<b>&"$x</b>'
HOSTILE = """'"><script>alert(1)</script>{{ 7 * 7 }}{% raw %} ${x} [red]--> a very long name of something or other"""
Make = Callable[..., Report]
Tables = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def html(make_run: Make) -> str:
    return page(make_run())


@pytest.fixture(scope="module")
def full(make_full_run: Make) -> str:
    return page(make_full_run())


@pytest.fixture(scope="module")
def tables(full: str, read_page: Any) -> Tables:
    """Of the full page, by caption."""
    found: Tables = read_page(full).tables
    return found


@pytest.mark.parametrize("which", ["html", "full"])
def test_nothing_is_loaded_from_elsewhere(read_page: Any, which: str, request: pytest.FixtureRequest) -> None:
    reader = read_page(request.getfixturevalue(which))
    for _, attributes in reader.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                assert value is not None
                assert value.startswith(("data:", "#")), value
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in reader.tags}
    targets = {f"#{tag['id']}" for tag in reader.all("h2")}
    assert {link["href"] for link in reader.all("a")} == targets
    for style in [*reader.texts, *(attributes.get("style") or "" for _, attributes in reader.tags)]:
        assert "@import" not in style
        assert "url(" not in style.replace("url(#", "")
    policies = [tag.get("content") for tag in reader.all("meta") if tag.get("http-equiv")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


@pytest.mark.parametrize(("which", "drawn"), [("html", 3), ("full", 8)])
def test_the_page_is_accessible_and_fits_a_phone(read_page: Any, which: str, drawn: int, request: Any) -> None:
    reader = read_page(request.getfixturevalue(which))
    assert reader.all("html")[0]["lang"] == "en"
    assert any(tag.get("name") == "viewport" for tag in reader.all("meta"))
    assert len(reader.all("h1")) == 1
    assert reader.all("img")
    assert all(image.get("alt") for image in reader.all("img"))
    drawings = [tag for tag in reader.all("div") if tag.get("role") == "img"]
    assert len(drawings) == len(reader.all("svg")) == drawn
    assert all(tag.get("aria-label") for tag in drawings)
    assert len([tag for tag in reader.all("div") if tag.get("class") == "scroll"]) == len(reader.all("table"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_numbers_are_there(make_run: Make, read_page: Any, html: str) -> None:
    text = read_page(html).text.replace("\u00a0", " ")
    run = make_run()
    areas = sorted(auc(run.benign_suspicion, scores) for scores in run.suspicion.values())
    assert f"AUC of {areas[0]:.3f}–{areas[1]:.3f} over 2 attacks, and flags 5.5 % of benign images." in text
    assert "On 200 digits test images the detector classifies 97.5 % correctly." in text
    assert "90.0 % [85.1, 93.4] n 200 of PGD images flagged at a false-positive rate of 5 %" in text
    settings = ("attack · step size 0.01", "attack · restart no", "note none", "seeds 1, 2")
    sources = ("twinlatent evaluate <run>", "0123456789ab", "2025-01-31")
    for expected in (
        *settings,
        *sources,
        "1,234,567",
        "13 min",
        "75.0 %",
        "p < 0.001",
        "black-box transfer attacks",
        "blackbox",
    ):
        assert expected in text, expected


def test_all_text_is_escaped(make_run: Make, read_page: Any) -> None:
    run = make_run(names=(NASTY, NASTY))
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
    reader = read_page(html)
    assert reader.text.count(NASTY) > 20
    assert any(NASTY in (tag.get("alt") or "") for tag in reader.all("img"))


def test_the_same_folder_gives_the_same_bytes(make_run: Make, tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        write_run(tmp_path / name, make_run())
        pages.append(write_page(tmp_path / name))
    assert pages[0] == tmp_path / "one" / "report.html"
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_examples_in_colour_are_shown_so(make_run: Make, read_page: Any) -> None:
    run = make_run()
    tints = np.array([1.0, 0.5, 0.0], dtype=np.float32)
    coloured = {name: getattr(run.examples, name)[..., None] * tints for name in ("benign", "adversarial")}
    html = page(replace(run, examples=replace(run.examples, **coloured)))
    sources = [image["src"] for image in read_page(html).all("img") if "png;base64" in image["src"]]
    with Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2]))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), np.rint(255 * coloured["benign"][0]).astype(np.uint8))


def test_the_first_examples_are_shown_and_the_page_stays_small(make_run: Make, read_page: Any) -> None:
    html = page(make_run(k=MAX_EXAMPLES + 6))
    reader = read_page(html)
    assert len(reader.all("img")) == 3 * MAX_EXAMPLES
    assert f"The first {MAX_EXAMPLES} of {MAX_EXAMPLES + 6} are shown." in reader.text
    assert len(html) < 1_000_000


def test_pictures_hold_the_images(make_run: Make, read_page: Any, html: str) -> None:
    pictures = [str(image["src"]) for image in read_page(html).all("img")]
    benign, _, difference = (Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))) for text in pictures[:3])
    expected = make_run().examples.benign[0]
    np.testing.assert_allclose(np.asarray(benign) / 255, expected, atol=0.5 / 255 + 1e-6)
    assert benign.mode == "L"
    assert difference.size == (8, 8)
    assert difference.mode == "RGB"


def test_outcomes_are_named(make_run: Make, read_page: Any) -> None:
    run = make_run(k=3)
    flagged, labels = np.array([True, False, False]), np.array(["eight", "eight", "three"])
    examples = replace(run.examples, adversarial_flagged=flagged, adversarial_label=labels)
    text = read_page(page(replace(run, examples=examples))).text
    assert all(f"PGD on three {outcome}" in text for outcome in ("caught", "missed", "harmless"))


def test_what_is_absent_leaves_its_section_out(make_run: Make, read_page: Any) -> None:
    html = page(replace(make_run(k=0), log=(), threshold=None, records=()))
    headings = {tag["id"] for tag in read_page(html).all("h2")}
    assert headings == {"trained", "separation", "meaning", "provenance"}
    assert "Each class has its own threshold." in html


def test_data_that_were_judged_are_told_from_those_it_was_trained_on(make_run: Make, html: str) -> None:
    run = make_run(k=0)
    assert "judged on" not in html
    model = run.model.model_copy(update={"judged_on": "folder:other"})
    text = page(replace(run, model=model))
    assert "Adversarial-example detector on folder:other" in text
    assert f"On {N} folder:other test images" in text
    assert "<dt>judged on</dt><dd>folder:other</dd>" in text.replace("\n", "")


def test_each_detector_and_score_has_its_place(
    make_run: Make, make_record: Callable[..., Record], read_page: Any
) -> None:
    run = make_run()
    ratio = tuple(r.model_copy(update={"score": "ratio"}) for r in run.records if r.score)
    gong = tuple(r.model_copy(update={"method": "gong"}) for r in run.records)
    white = make_record("sr@5", rate(60, N), "worst", epsilon=0.3, budget="standard")
    size = Record(**{**white.model_dump(), "metric": "l2_rms255", "value": 45.12, "low": None, "high": None})
    text = read_page(page(replace(run, records=gong + run.records + ratio + (white, size)))).text.replace("\u00a0", " ")
    assert "Gong et al. 2017, MIM, digits, seed 7" in text
    assert "twinlatent, MIM, digits, seed 7" in text
    assert "PGD 0.3 vulnerable" in text
    assert "PGD 0.3 ratio" in text
    assert "flagged (false positives), 5 % asked for (ratio score)" in text
    assert "0.3 30.0 % [24.1, 36.7] n 200" in text
    assert "no stronger ones" in text


def without_pictures(run: Report) -> Report:
    """Quicker to draw, for tests of tables."""
    return replace(run, grid=None, latents=None, log=())


def top_of(html: str) -> str:
    """The summary."""
    return html[html.index("<header>") : html.index("<nav")]


# --- a whole evaluation ---------------------------------------------------------------------------------------------


def test_the_summary_comes_first_then_tables_then_figures_then_provenance(full: str, read_page: Any) -> None:
    reader = read_page(full)
    assert [tag["id"] for tag in reader.all("h2")] == [
        *("benign", "blackbox", "whitebox", "conditions", "judges", "checks"),
        *("separation", "strength", "pictures", "examples", "training"),
        *("meaning", "trained", "provenance"),
    ]
    assert full.index('class="tiles"') < full.index('class="findings"') < full.index("<h2")
    top = read_page(top_of(full)).text.replace("\u00a0", " ")
    for said in ("97.5 % [94.3, 98.9] n 200", "5.5 % [3.1, 9.6] n 200", "0.926–0.985 lowest [0.894, 0.949] n 200",
                 "60.0 % [56.9, 63.0] n 1,000 SR@5 %: images on which the worst of 6 attacks",
                 "PGD 0.985, FGSM 0.926"):  # fmt: skip
        assert said in top, said


def test_checks_that_did_not_pass_are_in_the_summary_in_full(full: str, read_page: Any) -> None:
    top = read_page(top_of(full))
    assert "1 pass , 1 warn , 1 fail" in top.text
    listed = [tag["class"] for tag in top.all("li") if tag.get("class")]
    assert listed == ["fail", "warn"]
    assert "fail blind : Noise <wins> 30 images alone." in top.text
    assert "0 of 10 vanish" not in top.text
    rows = read_page(full).tables["Checks of this evaluation"]
    assert [row[:2] for row in rows[1:]] == [["blind", "fail"], ["gamma", "warn"], ["gradients", "pass"]]


def test_a_run_whose_checks_all_passed_says_so(make_run: Make, make_full_run: Make, read_page: Any) -> None:
    html = page(replace(make_run(k=0), checks=make_full_run().checks[:1]))
    assert "1 pass , 0 warn , 0 fail" in read_page(html).text
    assert 'class="findings"' not in html


def test_every_check_is_explained() -> None:
    assert tuple(CHECKS) == NAMES


def test_tables_stand_beside_the_papers_numbers(tables: Tables) -> None:
    assert tables["Benign test images"][1] == ["classified correctly", "97.5 % [94.3, 98.9]", "97 %", "200"]
    areas = tables["AUC, blackbox"]
    assert areas[0][4] == "paper"
    assert [row[:5:4] for row in areas[1:]] == [["PGD", "0.99"], ["FGSM", "0.99"]]
    change = tables["Smallest change, standard; CW-L2_W: 150 steps, vulnerable score"]
    assert change[0] == ["attack", "C1, C2", "paper", "C1, C2, C3", "size of change", "images"]
    assert change[3] == ["CW-L2_W", "27.0 % [19.3, 36.4]", "32 %", "13.0 % [7.8, 21.0]",
                         "41.2 [39.5, 43.0] n 27 paper 45.08", "100"]  # fmt: skip


def test_data_the_paper_has_not_leave_its_column_out(html: str, read_page: Any) -> None:
    assert not [row for rows in read_page(html).tables.values() for row in rows[:1] if "paper" in row]


def test_misclassified_images_are_never_mixed_with_all(full: str, read_page: Any) -> None:
    tables = read_page(full).tables
    misclassified = tables["Share caught of those the substitute misclassifies, blackbox"]
    assert [row[-1] for row in tables["Share caught, blackbox"][1:]] == ["200", "200"]
    assert [row[-1] for row in misclassified[1:]] == ["150", "150"]
    assert misclassified[1] == ["PGD", "0.3", "45.0 % [0.0, 93.4]", "150"]
    assert [cell[-5:] for cell in tables["AUC, blackbox"][1][3::2]] == ["n 200", "n 150"]
    assert MISCLASSIFIED_ONLY not in full


def test_every_attack_is_there_at_the_main_point_the_strongest_first(tables: Tables) -> None:
    rows = tables["Each attack at L∞ 0.3, standard, vulnerable score"]
    assert rows[0] == ["attack", "uses", "success at 5 %", "images"]
    assert [row[0] for row in rows[1:]] == ["worst of all", "selective", "PGD_W", "MIM", "PGD", "transfer", "FGSM",
                                            "no attack"]  # fmt: skip
    assert rows[2] == ["selective", "classifier's and detector's gradients", "53.2 % [50.1, 56.3]", "1,000"]


def test_the_worst_is_there_at_every_radius_and_rate(tables: Tables) -> None:
    rows = tables["Worst of all attacks over radii and false-positive rates, standard, vulnerable score"]
    assert rows[0] == ["ε", "success at 1 %", "success at 5 %", "success at 10 %"]
    assert [row[0] for row in rows[1:]] == ["0.1", "0.2", "0.3"]
    assert rows[3][1:3] == ["30.0 % [21.9, 39.6] n 100", "60.0 % [56.9, 63.0] n 1,000"]


def test_ceilings_stand_beside_floors(make_full_run: Make, make_proved: Make, read_page: Any) -> None:
    run = make_proved(without_pictures(make_full_run()))
    html = page(run)
    reader, top = read_page(html), read_page(top_of(html)).text.replace("\u00a0", " ")
    rows = reader.tables["Worst of all attacks over radii and false-positive rates, standard, vulnerable score"]
    assert rows[0] == ["ε", *(f"success at {k} %" for k in (1, 5, 10)),
                       *(f"proved at most, at {k} %" for k in (1, 5, 10))]  # fmt: skip
    assert rows[2][2] == "40.0 % [30.9, 49.8] n 100"
    assert rows[2][5] == "60.0 % [55.0, 65.0]"
    assert rows[3][2::3] == ["60.0 % [56.9, 63.0] n 1,000", "80.0 % [75.0, 85.0]"]
    more = reader.tables["Proved of any attack at L∞ 0.3, standard, vulnerable score"]
    assert more[1:] == [[f"{k} %", "75.0 % [70.0, 100.0]", "10,000"] for k in (1, 5, 10)]
    assert "no attack within L∞ 0.3, known or not, gets more than 75.0 % of 10,000 images misclassified" in top
    assert "≤ 75.0 % [70.0, 100.0] n 10,000 certified SR@5 %" in top
    assert "Thin dashed: what no attack can exceed" in reader.text
    assert "Nothing is proved" not in reader.text
    assert "interval and linear bounds" not in " ".join(reader.text.partition("Where the numbers come from")[2:])


def test_of_what_nothing_is_proved_no_ceiling_is_drawn_or_praised(
    make_full_run: Make, make_proved: Make, read_page: Any
) -> None:
    html = page(make_proved(without_pictures(make_full_run()), (1.0, 1.0, 1.0), beyond=1.0))
    reader = read_page(html)
    rows = reader.tables["Worst of all attacks over radii and false-positive rates, standard, vulnerable score"]
    assert rows[1][4:] == ["100.0 % [95.0, 100.0]"] * 3
    assert "Thin dashed" not in reader.text
    assert "≤" not in read_page(top_of(html)).text


def test_a_detector_without_bounds_says_so(make_full_run: Make, read_page: Any) -> None:
    skipped = Check(name="certificate", status="skip", finding="No bound is known for gong; give another.")
    run = without_pictures(make_full_run())
    with_reason, old = (read_page(page(replace(run, checks=checks))) for checks in ((*run.checks, skipped), run.checks))
    assert "Nothing is proved: no bound is known for gong; give another. The success rates are" in with_reason.text
    assert "1 pass , 1 warn , 1 fail" in with_reason.text
    assert "Nothing is proved" not in old.text
    assert with_reason.tables["Checks of this evaluation"][-1][:2] == ["certificate", "skip"]


def test_benign_images_that_pass_stand_beside_the_conditions(tables: Tables) -> None:
    over = tables["Success over radii, standard, vulnerable score"]
    assert over[1] == ["benign images", "–", "29.0 % [28.1, 29.9]", "–", "10,000"]
    assert over[2] == ["benign images, C3 alone", "–", "–", "87.5 % [83.9, 90.4]", "400"]
    assert [row[:2] for row in over[3:]] == [
        [a, e] for a in ("FGSM_W", "PGD_W", "MIM_W", "worst of all") for e in ("0.1", "0.2", "0.3")
    ]
    assert over[-1][2:4] == ["30.0 % [21.9, 39.6]", "15.0 % [9.3, 23.3]"]
    alone = tables["Smallest change, standard; CW-L2_W: 150 steps, vulnerable score"]
    assert [row[0] for row in alone[1:]] == ["benign images", "benign images, C3 alone", "CW-L2_W"]
    assert alone[1][1] == "29.0 % [28.1, 29.9]"


def test_c3_of_older_results_says_that_its_ceiling_was_not_measured(make_full_run: Make) -> None:
    def over_radii(*without: str) -> list[Row]:
        records = tuple(r for r in make_full_run().records if r.metric not in without)
        found = {table.caption: table.rows for group in conditions(records) for table in group.tables}
        return list(found["Success over radii, standard, vulnerable score"])

    assert over_radii("benign_c3")[1] == ("benign images, C3 alone", "–", "–", "not measured", "–")
    assert not [row for row in over_radii("benign_c3", "sr_c1c2c3") if row[0] == "benign images, C3 alone"]


def test_judges_say_what_they_see_and_what_they_are_worth(tables: Tables) -> None:
    seen = tables["What judges see in successful attacks"]
    assert seen[1] == ["MIM_W", "0.3", "C1, C2", "60.0 % [35.7, 80.2]", "26.7 % [10.9, 52.0]", "0.0 % [0.0, 20.4]",
                       "13.3 % [3.7, 37.9]", "15"]  # fmt: skip
    assert len(seen) == 2  # CW-L2_W won nothing
    worth = tables["Accuracy of the judges on images whose class is beyond doubt"]
    assert worth[1][:2] == ["benign", "90.0 % [80.0, 95.0]"]
    assert worth[0][3] == "all of them together"


def test_a_white_box_without_pictures_and_findings_keeps_its_tables(make_full_run: Make, read_page: Any) -> None:
    run = replace(make_full_run(), checks=(), judges=None, grid=None, latents=None, log=())
    headings = {tag["id"] for tag in read_page(page(run)).all("h2")}
    assert headings >= {"whitebox", "conditions", "strength"}
    assert not headings & {"checks", "judges", "pictures", "training"}


def test_the_detectors_own_score_makes_the_headline(make_full_run: Make, read_page: Any) -> None:
    run = without_pictures(make_full_run())
    other = tuple(r.model_copy(update={"score": "ratio", "value": 0.99, "low": 0.9, "high": 1.0}) for r in run.records
                  if r.metric.startswith("sr@"))  # fmt: skip
    html = page(replace(run, records=(*other, *run.records)))
    top = read_page(top_of(html)).text.replace("\u00a0", " ")
    assert "60.0 % [56.9, 63.0] n 1,000 SR@5 %" in top
    assert "99.0 %" not in top
    assert "Each attack at L∞ 0.3, standard, ratio score" in read_page(html).tables


def test_findings_are_escaped(make_full_run: Make, read_page: Any) -> None:
    run = make_full_run()
    assert run.judges
    assert run.grid
    assert run.latents
    checks = tuple(check.model_copy(update={"name": NASTY, "finding": NASTY}) for check in run.checks)
    cases = tuple(case.model_copy(update={"judge": NASTY, "cases": NASTY}) for case in run.judges.cases)
    seen = tuple(attack.model_copy(update={"attack": NASTY, "goal": NASTY}) for attack in run.judges.attacks)
    records = tuple(r.model_copy(update={"budget": NASTY, "attack": NASTY}) for r in run.records if r.attack == "pgd_w")
    grid = replace(run.grid, columns=np.array([NASTY, f"{NASTY} 2"]), true=np.array([NASTY] * 3))
    html = page(replace(run, checks=checks, judges=run.judges.model_copy(update={"cases": cases, "attacks": seen}),
                        records=records, grid=grid, latents=replace(run.latents, class_name=NASTY)))  # fmt: skip
    assert NASTY not in html
    assert "<b>&amp;" not in html
    assert read_page(html).text.count(NASTY) > 15


def test_a_missing_array_is_a_clear_error_and_leaves_no_page(make_run: Make, tmp_path: Path) -> None:
    write_run(tmp_path, make_run())
    with np.load(tmp_path / "evaluation.npz") as archive:
        kept = {name: archive[name] for name in archive.files if name != "suspicion_fgsm"}
    np.savez(tmp_path / "evaluation.npz", **kept)
    with pytest.raises(TwinlatentError, match=r"evaluation\.npz: the array 'suspicion_fgsm' is missing"):
        write_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_any_name_can_be_shown_and_is_escaped(make_full_run: Make, read_page: Any) -> None:
    """Of a class, an attack and a data set nobody has heard of, and of two attacks that would be called the same."""
    run = make_full_run()
    assert run.grid
    scores = run.suspicion["pgd"]
    suspicion = {HOSTILE: scores, "PGD": scores, "pgd": scores}
    records = tuple(Record.model_construct(**r.model_dump() | {"attack": HOSTILE, "data": HOSTILE, "score": HOSTILE})
                    if r.attack in ("pgd", "mim", "pgd_w") else r for r in run.records)  # fmt: skip
    model = run.model.model_copy(update={"data": HOSTILE, "method": HOSTILE, "class_names": (HOSTILE, "eight")})
    grid = replace(run.grid, columns=np.array([HOSTILE, f"{HOSTILE} 0.3"]), true=np.array([HOSTILE] * 3))
    html = page(replace(run, records=records, model=model, suspicion=suspicion, grid=grid, latents=None))
    assert "<script" not in html
    reader = read_page(html)
    for shown in (f"Each attack at L∞ 0.3, standard, {HOSTILE} score", f"ROC curves of {HOSTILE}, PGD, pgd"):
        assert shown in reader.tables or shown in {tag.get("aria-label") for tag in reader.all("div")}
    assert f"Adversarial-example detector on {HOSTILE}" in reader.text
