"""The server's pages in a real browser: what a visitor sees and does, and the functions that its pictures go through.

With TWINLATENT_SCREENSHOTS=FOLDER the pictures of docs/look.md are written there (MNIST must be there).
"""

import os
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import twinlatent as tl
from twinlatent.claims import claimed
from twinlatent.data import Split
from twinlatent.data.pictures import Look, read_image
from twinlatent.errors import TwinlatentError
from twinlatent.files import write_text
from twinlatent.method.detector import Detector
from twinlatent.serve.looking.benign import scores_of

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60_000
"""Milliseconds: a busy machine is slow, and a page that does not answer at all fails all the same."""
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
SEVEN = [[(80, 70), (200, 70)], [(200, 70), (130, 220)]]
"""Strokes on a canvas of 280 by 280."""


def browser_path() -> str | None:
    """The system's browser."""
    return next(filter(None, map(shutil.which, (os.environ.get("TWINLATENT_BROWSER", ""), *BROWSERS))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = browser_path()
    if path is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}, or TWINLATENT_BROWSER")
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        # Without a sandbox of its own, since it may run as root; it sees nothing but this server.
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function: open an address at a width; afterwards the page must have complained of nothing, and left this host.

    Messages of the console that begin with a text in `expected` are what the test provokes.
    """
    contexts, faults, expected = [], [], []

    def opened(address: str, size: str = "desktop", expect: str | None = None, **options: Any) -> Any:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        expected.extend([expect] if expect else [])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        home = address.split("/")[2]
        page.on("request", lambda asked: faults.append(f"asks {asked.url}") if asked.url.split("/")[2:3] != [home]
                and not asked.url.startswith(("data:", "blob:")) else None)  # fmt: skip
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not any(text in fault for text in expected)] == []


def draw(page: Any, strokes: list[list[tuple[int, int]]]) -> None:
    """With the mouse."""
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    share = box["width"] / 280
    for first, *others in strokes:
        page.mouse.move(box["x"] + share * first[0], box["y"] + share * first[1])
        page.mouse.down()
        for x, y in others:
            page.mouse.move(box["x"] + share * x, box["y"] + share * y, steps=6)
        page.mouse.up()


def ready(page: Any, model: str) -> Any:
    """The page, when it asks that model."""
    page.wait_for_selector("#main:not([hidden])")
    page.select_option("#model", model)
    return page


def judged(page: Any) -> str:
    """The label, when there is a verdict."""
    page.wait_for_selector("#verdict:not([hidden])[aria-busy=false]")
    return page.inner_text("#label")


def until(page: Any, selector: str, text: str) -> None:
    """Wait until it says that."""
    page.locator(selector).filter(has_text=text).wait_for()


def attacked(page: Any, attack: str, epsilon: float) -> str:
    """What became of an attack."""
    page.check(f"input[value={attack}]")
    page.fill("#epsilon", str(epsilon))
    page.click("#go")
    page.wait_for_selector("#attacked:not([hidden])")
    page.wait_for_selector("#go:not([disabled])")
    return page.inner_text("#outcome")


# --- what a visitor does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scheme"), [pytest.param("phone", "dark", marks=pytest.mark.slow), ("desktop", "light")]
)
def test_a_drawn_digit_is_read_and_an_attack_changes_the_verdict(visit, looked, size: str, scheme: str) -> None:
    page = ready(visit(looked.address, size, color_scheme=scheme, has_touch=size == "phone"), "mnist-mim")
    assert page.is_hidden("#verdict")
    draw(page, SEVEN)
    assert judged(page) == "7"
    assert page.inner_text("#flag").startswith("Passes as benign, at 5 %")
    assert "benign calibration images that the detector takes for “7” are at least as" in page.inner_text("#origin")
    assert page.locator("#histogram rect").count() == 40
    outcome = attacked(page, "pgd", 0.3)
    assert "instead of “7”, and caught: flagged at 5 % false alarms" in outcome
    after = page.inner_text("#step-verdict")
    assert "flagged" in after
    assert "“7”" not in after
    page.fill("#step", "0")
    assert page.inner_text("#step-verdict").startswith("“7”, passes")
    page.click("#play")
    until(page, "#step-said", "what is kept")
    until(page, "#play", "Play")
    assert page.inner_text("#step-verdict") == after
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert unnamed(page) == []
    assert low_contrast(page) == []
    outcome = attacked(page, "detector-aware", 0.8)
    assert "and not flagged: the attack passes the detector" in outcome
    page.click("#clear")
    assert page.is_hidden("#verdict")
    assert page.is_hidden("#attacked")


UNNAMED = """() => [...document.querySelectorAll("input, select, button, canvas, svg, iframe")]
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.getAttribute("aria-label") || one.title || one.labels?.[0]?.textContent.trim()
                       || one.textContent.trim())).map((one) => one.outerHTML.slice(0, 80))"""
LOW_CONTRAST = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (one) => {
        const colour = numbers(getComputedStyle(one).backgroundColor);
        return (colour[3] ?? 1) === 0 && one.parentElement ? behind(one.parentElement) : colour;
    };
    const says = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const texts = [...document.querySelectorAll("body *:not(script):not(option)")];
    return texts.filter((one) => one.checkVisibility() && !one.disabled && says(one)).filter((one) => {
        const style = getComputedStyle(one);
        const [a, b] = [light(numbers(one.closest("svg") ? style.fill : style.color)), light(behind(one))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((one) => one.outerHTML.slice(0, 80));
}"""


def unnamed(page: Any) -> list[str]:
    """Controls and pictures that say nothing to who cannot see them."""
    found: list[str] = page.evaluate(UNNAMED)
    return found


def low_contrast(page: Any) -> list[str]:
    """Texts whose contrast with what is behind them is below 4.5, as WCAG 2 counts it."""
    found: list[str] = page.evaluate(LOW_CONTRAST)
    return found


def test_all_of_it_goes_by_keys(visit, looked) -> None:
    page = ready(visit(looked.address), "mnist-mim")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "pad":
            break
    page.keyboard.down("Shift")
    for _ in range(14):
        page.keyboard.press("ArrowDown")
    page.keyboard.up("Shift")
    assert judged(page) == "1"
    page.keyboard.press("Backspace")
    page.wait_for_selector("#verdict", state="hidden")
    page.keyboard.down("Shift")
    for _ in range(14):
        page.keyboard.press("ArrowDown")
    page.keyboard.up("Shift")
    assert judged(page) == "1"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "steps":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#attacked:not([hidden])")
    assert "instead of “1”" in page.inner_text("#outcome")


def test_a_picture_from_a_file_is_seen_as_detect_sees_it(visit, looked, trained_detector, digits, tmp_path) -> None:
    page = ready(visit(looked.address), "digits")
    values = (255 * digits.test.images[4, 0]).byte().numpy()
    for name, picture, tolerance in [
        ("same.png", Image.fromarray(values), 0),
        ("larger.png", Image.fromarray(values).resize((93, 61), Image.Resampling.BICUBIC).convert("RGB"), 0.02),
    ]:
        picture.save(tmp_path / name)
        seen = torch.tensor(read_image(tmp_path / name, 8))[None, None]
        wanted = trained_detector.detect(seen)
        with page.expect_response("**/detect?*") as answer:
            page.set_input_files("#file", tmp_path / name)
        (said,) = answer.value.json()["results"]
        assert said["label"] == digits.class_names[int(wanted.label)]
        assert said["suspicion"] == pytest.approx(float(str(wanted.suspicion.numpy()[0])), rel=tolerance, abs=tolerance)
        assert judged(page) == said["label"]
    (tmp_path / "none.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "none.png")
    page.wait_for_selector("#fault:not([hidden])")
    assert page.inner_text("#fault") == "none.png is no picture that this browser reads; give PNG or JPEG"


def test_an_example_beside_the_benign_images_it_is_compared_with(visit, looked) -> None:
    page = ready(visit(looked.address), "digits")
    page.click("#sample")
    judged(page)
    page.wait_for_selector("#neighbours:not([hidden])")
    assert page.inner_text("#neighbours-note").startswith("Of these benign images, read as")
    assert page.locator("#neighbour-list canvas").count() == 8
    page.select_option("#model", "mnist-mim")
    assert page.is_hidden("#sample")


def test_a_token_is_asked_for(visit, serve_looking, trained_detector: Detector) -> None:
    token = "a token of the test"
    with serve_looking({"digits": trained_detector}, None, token=token) as server:
        page = visit(server.address, expect="401 (Unauthorized)")
        page.wait_for_selector("#unlock:not([hidden])")
        assert page.is_hidden("#main")
        page.fill("#token", "another")
        page.press("#token", "Enter")
        page.wait_for_selector("#fault:not([hidden])")
        assert page.inner_text("#fault").startswith("the token is missing, or another")
        page.fill("#token", token)
        page.press("#token", "Enter")
        page.wait_for_selector("#main:not([hidden])")
        assert page.is_hidden("#unlock")
        draw(page, SEVEN)
        judged(page)


@pytest.mark.slow
def test_an_evaluation_is_seen_live(visit, looked) -> None:
    folder = looked.watched
    page = visit(looked.address + "evaluation", "phone")
    page.wait_for_selector("#main:not([hidden])")
    assert page.inner_text("#state") == "Nothing has been evaluated here yet."
    with claimed(folder):
        batch = folder / "unfinished" / "points" / "pgd-000000.npz"
        batch.parent.mkdir(parents=True)
        batch.write_bytes(b"")
        until(page, "#state", "The evaluation is under way.")
        assert page.inner_text("#parts").split("\t")[:3] == ["points", "pgd", "1"]
        assert page.is_hidden("#report")
        batch.unlink()
        batch.parent.rmdir()
        batch.parent.parent.rmdir()
        styled = "<!doctype html><title>r</title><style>h1 { color: rgb(1, 2, 3) }</style><h1>First</h1>"
        write_text(folder / "report.html", styled)
    page.wait_for_selector("#report:not([hidden])")
    report = page.frame_locator("#page")
    assert report.locator("h1").inner_text() == "First"
    assert report.locator("h1").evaluate("one => getComputedStyle(one).color") == "rgb(1, 2, 3)"
    assert page.inner_text("#state") == "The evaluation is finished."
    write_text(folder / "report.html", styled.replace("First", "Second"))
    report.get_by_text("Second").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert unnamed(page) == []


# --- what pictures go through ----------------------------------------------------------------------------------------


CALL = """async ([module, name, calls]) => {
    const plain = (found) => (ArrayBuffer.isView(found) ? Array.from(found)
        : Array.isArray(found) ? found.map(plain) : found);
    const called = (await import(module))[name];
    return calls.map((given) => plain(called(...given)));
}"""


@pytest.fixture(scope="module")
def call(browser: Any, looked) -> Iterator[Callable[..., Any]]:
    """A function: call a function of one of the page's modules, or with `each` once with each list of arguments."""
    page = browser.new_page()
    page.goto(looked.address)

    def called(module: str, function: str, *given: Any, each: list[list[Any]] | None = None) -> Any:
        found = page.evaluate(CALL, [f"/{module}.js", function, [list(given)] if each is None else each])
        return found[0] if each is None else found

    yield called
    page.close()


def test_a_drawing_is_framed_as_mnist_frames_digits(call) -> None:
    picture = np.array(call("drawing", "framed", SEVEN, 28)).reshape(28, 28)
    assert 0 <= picture.min() < picture.max() == 1
    ys, xs = np.mgrid[:28, :28]
    assert (picture * ys).sum() / picture.sum() == pytest.approx(14, abs=0.1)  # as MNIST: 14.0
    assert (picture * xs).sum() / picture.sum() == pytest.approx(14, abs=0.1)
    for axis in (0, 1):
        assert np.ptp(np.nonzero((picture > 0.5).any(axis))[0]) + 1 <= 20
    assert np.ptp(np.nonzero((picture > 0.5).any(1))[0]) + 1 >= 19
    assert 40 < picture.sum() < 160  # MNIST's digits: 103 on average
    for scale, dx, dy in ((0.3, 5, 90), (1.4, -20, 3)):
        moved = [[(scale * x + dx, scale * y + dy) for x, y in stroke] for stroke in SEVEN]
        again = np.array(call("drawing", "framed", moved, 28)).reshape(28, 28)
        assert np.abs(again - picture).max() < 1e-6


def test_a_drawing_that_is_not_framed_stays_where_it_is(call) -> None:
    picture = np.array(call("drawing", "unframed", [[(70, 70), (70, 210)]], 280, 28)).reshape(28, 28)
    assert picture[:, 6:8].sum() > 0.7 * picture.sum()
    assert np.nonzero(picture.any(1))[0].min() == 5
    dot = np.array(call("drawing", "framed", [[(10, 10)]], 28)).reshape(28, 28)
    assert dot[14, 14] == 1
    assert dot.sum() < 9
    assert not any(call("drawing", "framed", [], 28))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(8, 8), (61, 93), (5, 4), (300, 20)])
def test_pictures_are_shrunk_as_the_library_shrinks_them(call, channels: int, shape: tuple[int, int], tmp_path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "any.png")
    wanted = read_image(tmp_path / "any.png", 8, Look(channels)).reshape(8, 8, channels)
    rgba = np.concatenate([values, np.full((*shape, 1), 255, np.uint8)], -1)
    found = call("pixels", "planes", rgba.flatten().tolist(), channels)
    assert len(found) == channels
    for c, plane in enumerate(found):
        small = call("pixels", "resized", plane, shape[1], shape[0], 8, 8)
        assert np.abs(np.array(small).reshape(8, 8) / 255 - wanted[..., c]).max() < 1e-3


def test_values_go_to_the_server_and_back(call) -> None:
    plane = [0, 1 / 255, 0.5, 1, 0.123456, 0.75]
    assert call("pixels", "nested", [plane], 2, 3) == [[plane[:3], plane[3:]]]
    assert call("pixels", "unpacked", "AAH/gA==", 2) == [[0, 1 / 255], [1, 128 / 255]]
    assert call("pixels", "shown", [[0, 1]]) == [0, 0, 0, 255, 255, 255, 255, 255]
    white, blue, orange = (call("pixels", "difference", [[0.5]], [[0.5 + change]], 0.1) for change in (0, -0.1, 0.2))
    assert white == [255, 255, 255, 255]
    assert (blue, orange) == ([0x1F, 0x6F, 0xC8, 255], [0xD9, 0x5F, 0x0E, 255])


def test_where_a_p_value_comes_from_is_what_the_calibration_says(call, looked, trained_detector, digits: Split) -> None:
    images = digits.test.images[:60].clone()
    images[::3] = 1 - images[::3]  # suspicious ones, too
    for detector, fpr in ((trained_detector, 0.05), (trained_detector, 0.01),
                          (trained_detector.using(thresholds="together"), 0.05)):  # fmt: skip
        scores = scores_of("digits", detector, fpr).model_dump()
        verdict, calibration = detector.detect(images, fpr), detector.calibration
        rows = list(zip(verdict.label.tolist(), verdict.suspicion.tolist(), verdict.p_value.tolist(), strict=True))
        told = [[{"label": detector.class_names[label], "p_value": p}, scores] for label, _, p in rows]
        said = call("words", "origin", each=told)
        for (label, suspicion, p), line in zip(rows, said, strict=True):
            pool = calibration.pooled if "of all classes" in line else calibration.scores[label]
            k = int((pool >= suspicion).sum())
            assert line.startswith(f"{k or 'None'} of the {len(pool)} benign calibration images ")
            assert (1 + k) / (1 + len(pool)) == pytest.approx(p, rel=1e-5)
        of_all = sum("of all classes" in line for line in said)
        assert of_all == len(said) if calibration.together else of_all < len(said)


# --- pictures of the docs --------------------------------------------------------------------------------------------


@pytest.mark.skipif("TWINLATENT_SCREENSHOTS" not in os.environ, reason="writes the pictures of docs/look.md")
def test_pictures_for_the_docs(visit, serve_looking) -> None:
    folder = Path(os.environ["TWINLATENT_SCREENSHOTS"])
    try:
        tl.data.load("mnist", fetch=False, progress=False)
    except TwinlatentError as error:
        pytest.skip(str(error))
    with serve_looking({"mnist-mim": tl.load("mnist-mim")}, "mnist") as server:
        for size, scheme, attack, epsilon in (
            ("desktop", "light", "detector-aware", 0.8),
            ("phone", "dark", "pgd", 0.3),
        ):
            page = ready(visit(server.address, size, color_scheme=scheme), "mnist-mim")
            draw(page, SEVEN)
            judged(page)
            attacked(page, attack, epsilon)
            page.wait_for_selector("#neighbours:not([hidden])")
            taken = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
            path = folder / f"look-{size}.png"
            taken.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
            assert path.stat().st_size < 150_000
