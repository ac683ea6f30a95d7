"""The documentation as a site: `make docs`. What needs the extra docs is skipped without it."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

import twinlatent as tl

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
PAGES = [ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
STRUCTURE = ("h1", "h2", "h3", "ul", "ol", "li", "table", "tr", "td", "pre", "blockquote", "img", "hr", "strong", "em")


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    for name in ("mkdocs", "math_core"):
        pytest.importorskip(name, reason="needs the extra docs")
    return script("site_hooks")


def built(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` runs, of the project in `root`."""
    words, environment = [str(root / "scripts" / "docs"), str(folder)], {**os.environ, "VENV": sys.prefix}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for name in ("mkdocs", "material", "mkdocstrings", "math_core"):
        pytest.importorskip(name, reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = built(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# --- the built site ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[x](nowhere.md)", "'nowhere.md', but the target is not found"),
        ("[x](attack.md#nowhere)", "'attack.md#nowhere', but the doc 'attack.md' does not contain an anchor"),
        ("![x](https://example.org/x.png)", "detect.html loads https://example.org/x.png"),
    ],
)
def test_a_broken_link_or_a_foreign_picture_ends_the_build(site: Path, line: str, complaint: str, tmp_path: Path):
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "CHANGELOG.md", "twinlatent", "results", "examples", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "docs" / "detect.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{line}\n")
    done = built(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


@pytest.mark.slow
def test_every_public_name_has_its_place_in_the_reference(site: Path, hooks: ModuleType) -> None:
    check = script("site_check")
    for name in hooks.MODULES:
        module = importlib.import_module(name)
        public = {f"{name}.{one}" for one in getattr(module, "__all__", ())} - {
            *hooks.MODULES,
            "twinlatent.__version__",
        }
        anchors = check.read(site / "reference" / f"{name}.html").anchors
        assert public <= anchors, name
        assert name in anchors
    anchors = check.read(site / "reference" / "twinlatent.html").anchors
    assert {"twinlatent.Detector.detect", "twinlatent.GameSettings.encoder", "twinlatent.Certificate.rate"} <= anchors
    assert "twinlatent.Certificate.holds" not in anchors, "the list of the class's attributes has it"


@pytest.mark.slow
def test_equations_are_mathml(site: Path) -> None:
    text = (site / "method.html").read_text(encoding="utf-8")
    source = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert text.count("<math") == source.count("$$") // 2 + len(re.findall(r"\$[^$]+\$", source.replace("$$", "")))
    assert "arithmatex" not in text


@pytest.mark.slow
def test_a_browser_asks_no_other_host(site: Path) -> None:
    """Pages as they are seen, and a search."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("there is no Chromium")
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *given: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    asked, said = [], []
    try:
        with playwright.sync_playwright() as play:
            browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            for name in ("index", "method", "results", "reference/twinlatent"):
                page.goto(f"{address}{name}.html")
            page.goto(f"{address}index.html")
            page.fill("[data-md-component=search-query]", "exchangeable")
            page.wait_for_selector(".md-search-result__link >> nth=0")
            browser.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert said == []


# --- what it is made of -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_the_same_parts_as_on_github(path: Path, hooks: ModuleType) -> None:
    """CommonMark and Python-Markdown see the same lists, tables and blocks, with the same words in list items."""
    markdown, it = pytest.importorskip("markdown"), pytest.importorskip("markdown_it")
    text = path.read_text(encoding="utf-8")
    ours = markdown.markdown(
        hooks.on_page_markdown(text),
        extensions=["tables", "toc", "md_in_html", "pymdownx.highlight", "pymdownx.superfences"],
        extension_configs={"pymdownx.highlight": {"use_pygments": False}},
    )
    theirs = it.MarkdownIt("commonmark").enable("table").render(text)
    counts = [Counter(re.findall(r"<(\w+)[ >/]", html)) for html in (ours, theirs)]
    assert {tag: counts[0][tag] for tag in STRUCTURE} == {tag: counts[1][tag] for tag in STRUCTURE}


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r"^ +- .*: (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(menu) - {"changelog.md"}) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_start_points_at_every_page_of_a_task() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    tasks = re.findall(r"^      - .*: (\w+\.md)$", menu, re.MULTILINE)[:6]
    start = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert len(tasks) == 6
    assert [page for page in tasks if f"({page})" not in start] == []


def test_lists_and_links_are_mended_outside_of_code_alone(hooks: ModuleType) -> None:
    given = "Text:\n- a\n  b\n- [x](../results/serve.json)\n\n```sh\nls\n- a\n```\n"
    given += "- [detect.md](detect.md#a)\n[y](../results)"
    wanted = "Text:\n\n- a\n  b\n- [x](files/results/serve.json)\n\n```sh\nls\n- a\n```\n\n"
    assert hooks.on_page_markdown(given) == f"{wanted}- [Detect attacked images](detect.md#a)\n[y](files/results.md)"


def test_linked_files_are_on_the_site_and_folders_are_lists(hooks: ModuleType) -> None:
    """All that pages link beside docs/ is found, notebooks too; of files that do not go along none is passed over."""
    text = "".join(hooks.on_page_markdown(path.read_text(encoding="utf-8")) for path in PAGES)
    places = re.findall(r"\]\(files/([^)]+)\)", text)
    assert {"examples/detect_and_attack.ipynb", "examples/break_this_detector.ipynb", "results.md"} <= set(places)
    assert [name for name in places if not (name.endswith(".md") or (ROOT / name).is_file())] == []
    with pytest.raises(Exception, match=r"links \.\./examples/a\.txt; of examples/ the site has \.py, \.ipynb"):
        hooks.place("examples/a.txt")


def test_what_is_no_equation_ends_the_build(hooks: ModuleType) -> None:
    assert "<math" in hooks.on_page_content(r'<span class="arithmatex">\(x &lt; \tau\)</span>')
    with pytest.raises(Exception, match=r"equation '\\\\lentgh"):
        hooks.on_page_content(r'<div class="arithmatex">\[\lentgh x\]</div>')


def test_names_of_the_reference_are_read_from_the_source(hooks: ModuleType) -> None:
    said = hooks.reference("twinlatent")
    assert set(re.findall(r"::: twinlatent\.(\w+)$", said, re.MULTILINE)) == set(tl.__all__) - {
        "__version__", "attacks", "bridges", "criteria", "data"}  # fmt: skip
    assert "::: twinlatent.criteria.Undetected\n" in hooks.reference("twinlatent.criteria")


def test_all_commands_and_options_are_on_their_page() -> None:
    page = script("site_commands").page()
    tables = {name: rest for name, _, rest in (part.partition("\n") for part in page.split("\n## twinlatent ")[1:])}
    assert {"demo", "train", "zoo list", "data prepare", "new detector", "serve", "monitor"} <= set(tables)
    assert "| `--epsilon` | `0.3` | Radius of the attacks. |" in tables["attack"]
    assert "| `--invert`, `--no-invert` | `--no-invert` |" in tables["detect"]
    assert "| `FILES ...` | must be given |" in tables["detect"]
    assert "| `[DATA]` |" in tables["attack"]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in page.splitlines() if line.startswith("|"))


def test_examples_of_docstrings_become_sections() -> None:
    pytest.importorskip("griffe", reason="needs the extra docs")
    with_sections = script("site_docstrings").with_sections
    assert with_sections("One.\n\nExample:\n    >>> 1\n    1") == "One.\n\nExamples:\n    >>> 1\n    1"
    assert with_sections("One.\n\n>>> 1\n1\n\nTwo.") == "One.\n\nExamples:\n    >>> 1\n    1\n\nTwo."


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/css">', "loads //fonts.example/css"),
        ('<p style="background: url(http://a.example/b.png)">', "loads http://a.example/b.png"),
        ('<a href="other.html">', "links other.html, which is not there"),
        ('<a href="#nowhere">', "links #nowhere, which is not there"),
        ('<img src="lost.png">', "links lost.png, which is not there"),
    ],
)
def test_faults_of_a_site_are_found(html: str, fault: str, tmp_path: Path) -> None:
    check = script("site_check")
    sound = '<h1 id="top">x</h1><a href="https://example.org">y</a><a href="#top">z</a><img src="data:,a">'
    (tmp_path / "index.html").write_text(sound, encoding="utf-8")
    assert check.faults(tmp_path) == []
    (tmp_path / "index.html").write_text(sound + html, encoding="utf-8")
    assert check.faults(tmp_path) == [f"index.html {fault}"]


def test_a_style_that_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>x", encoding="utf-8")
    (tmp_path / "a.css").write_text("@import 'https://fonts.example/a';", encoding="utf-8")
    assert script("site_check").faults(tmp_path) == ["a.css loads https://fonts.example/a"]
