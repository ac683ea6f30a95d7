"""docs/serve.md: its code runs, its options and defaults are those that there are."""

import re
from pathlib import Path
from typing import Any

import torch
import typer

from twinlatent.cli.program import app
from twinlatent.method.detector import Detector
from twinlatent.serve.settings import ServeSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_its_code_runs(server, trained_detector: Detector, capsys) -> None:
    names: dict[str, Any] = {"address": f"http://127.0.0.1:{server.port}", "name": "digits", "image_shape": (1, 8, 8),
                             "detector": trained_detector}  # fmt: skip
    asked, within = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(asked, "serve.md", "exec"), names)
    verdict = trained_detector.detect(names["images"], 0.1)
    assert torch.equal(torch.tensor([one["suspicion"] for one in names["results"]]), verdict.suspicion)
    exec(compile(within, "serve.md", "exec"), names)
    names["app"].state.service.close()
    assert "/v2/models/{name}/infer" in capsys.readouterr().out


def test_options_and_defaults_are_as_it_says() -> None:
    known: Any = typer.main.get_command(app)
    options = {name for option in known.commands["serve"].params for name in option.opts}
    assert set(re.findall(r"`?(--(?!read|cap|security|data)[a-z]+(?:-[a-z]+)?)\b", PAGE)) - {"--out"} <= options
    settings = ServeSettings()
    said = dict(re.findall(r"^\| `(--max-\w+)` \| ([^|]+?) \|", PAGE, re.MULTILINE))
    assert said == {
        "--max-bytes": f"{settings.most_bytes // 2**20} MiB",
        "--max-pixels": f"{settings.most_pixels / 1e6:.1f} million",
        "--max-images": str(settings.most_images),
        "--max-requests": str(settings.most_under_way),
    }
    assert f"within\n  {1000 * settings.wait_seconds:g} ms" in PAGE
    assert f"within {settings.body_seconds:g} seconds" in PAGE


def test_addresses_are_there(server) -> None:
    paths = set(server.get("/openapi.json").json["paths"])
    said = set(re.findall(r"(/(?:v1/\S*?|healthz|readyz|metrics))[`?,]", re.sub("NAME|mnist-mim(?=/)", "{name}", PAGE)))
    assert {path for path in said if "…" not in path} <= paths
    assert {"/healthz", "/readyz", "/metrics", "/v1/models/{name}/detect"} <= said
