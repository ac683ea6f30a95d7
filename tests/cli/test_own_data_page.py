"""docs/own_data.md from its folder of images to an exported detector, as a newcomer would go."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from twinlatent.data import Split

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_first_commands_lead_from_images_to_an_exported_detector(
    digits: Split, program: Callable, white_box: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first commands as they stand, but with small images and few rounds."""
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    for folder, names in (("photos", ["cat", "dog"]), ("new", [""])):
        for label, name in enumerate(names):
            place = Path(folder, name)
            place.mkdir(parents=True)
            for number, image in enumerate(digits.train.images[digits.train.labels == label][:80]):
                if folder == "photos" or number < 3:
                    Image.fromarray((255 * image[0]).byte().numpy()).save(place / f"{number}.jpg")
    fewer = {"train": ["--preset", "smoke", "--set", "rounds=20", "--no-progress"], "evaluate": white_box}
    block = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
    for line in block.replace("--size 28", "--size 8").splitlines():
        words = shlex.split(line, comments=True)[1:]
        given = [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        done = program(*given, *fewer.get(words[0], []))
        assert done.status == 0, done.err
        if words[0] == "detect":
            assert re.findall(r"new/\d+\.jpg", done.out) == [f"new/{number}.jpg" for number in range(3)]
    assert Path("sheet.png").is_file()
    assert Path("runs/photos/evaluation/report.html").is_file()
    done = program("detect", "photos.onnx", "new/0.jpg", "--json")
    assert '"label": "cat"' in done.out or '"label": "dog"' in done.out
