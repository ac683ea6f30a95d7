"""Draw a picture of docs/images/, the top of a report, in a headless Chromium of the system.

twinlatent demo --out runs/digits-demo && python scripts/report_picture.py runs/digits-demo report-demo.png
twinlatent evaluate runs/digits-demo/training digits --suite quick --images 100 --subset 20 --epsilon 0.1 --out judged
python scripts/report_picture.py judged report.png
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = {"width": 1100, "height": 1000}


def main() -> None:
    """As it opens on a desktop, in 128 colours."""
    report = Path(sys.argv[1], "report.html").resolve()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or not report.is_file():
        sys.exit(f"needs {report} and a browser: one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]
        page.goto(report.as_uri())
        taken = Image.open(BytesIO(page.screenshot())).convert("RGB")
        started.close()
    taken.quantize(128, dither=Image.Dither.NONE).save(IMAGES / sys.argv[2], optimize=True)


if __name__ == "__main__":
    main()
