"""Memory of a real server at its limits is below what is computed, and not far below it."""

import io
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from twinlatent.data import Split
from twinlatent.serve.limits import most_lists, most_marks, most_memory
from twinlatent.serve.settings import ServeSettings

DETECT, INFER, ATTACK = "/v1/models/own/detect", "/v2/models/own/infer", "/v1/models/own/attack"
JSON = {"Content_Type": "application/json"}
SHAPE = (1, 8, 8)


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def picture(side: int) -> bytes:
    """Small as a file, and of the kind that takes most memory: transparent, and to be turned upright."""
    turned, buffer = Image.Exif(), io.BytesIO()
    turned[0x0112] = 6
    values = np.zeros((side, side, 4), np.uint8)
    values[::2] = 200
    Image.fromarray(values).save(buffer, "PNG", exif=turned)
    return buffer.getvalue()


def memory(process: int, kind: str) -> int:
    """Bytes of a process, by the system."""
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system says how much memory a process had")
def test_a_server_at_its_limits(detector_file: Path, start: Callable, digits: Split) -> None:
    settings = ServeSettings(most_bytes=2**21, most_pixels=2**22, most_images=256, most_under_way=8)
    words = ["--max-bytes", 2**21, "--max-pixels", 2**22, "--max-images", 256, "--max-requests", 8]
    images = digits.test.images[:1].repeat(256, 1, 1, 1).numpy()
    bright = np.ones((2**13, 8, 8), bool)
    objects = b"[" + b'{"":1},' * (most_marks(SHAPE, settings) // 2 - 10) + b"1]"
    tensor = b'{"inputs": [{"name": "images", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": ' + objects + b"}]}"
    worst: list[tuple[str, bytes, dict[str, str], int]] = [
        *[(DETECT, picture(2047), {}, 200)] * 4,
        *[(DETECT, objects, JSON, 422), (INFER, tensor, JSON, 422), (DETECT, npy(bright), {}, 413)] * 3,
        *[(DETECT, json.dumps(images.tolist()).encode(), JSON, 200), (DETECT, npy(images), {}, 200)] * 4,
        (f"{ATTACK}?steps=100&attack=detector-aware", npy(images[:4]), {}, 200),
    ]  # fmt: skip
    with start(f"own={detector_file}", *words) as server:
        for path, body in ((DETECT, npy(images[:40])), (DETECT, picture(8)), (ATTACK, npy(images[:1]))):
            assert server.post(path, body).status == 200
        idle = memory(server.process.pid, "VmRSS")
        stalled = [server.connect() for _ in range(8)]
        for connection in stalled:
            connection.putrequest("POST", DETECT)
            connection.putheader("Content-Length", str(2**21))
            connection.endheaders(bytes(2**21 - 2**18))
        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(lambda one: server.post(one[0], one[1], **one[2]).status, worst))
        for connection in stalled:
            connection.close()
        assert all(status in (wanted, 503) for status, (*_, wanted) in zip(said, worst, strict=True)), said
        assert said.count(503) < len(said) / 2
        took = memory(server.process.pid, "VmHWM") - idle
    bound = most_memory(settings, [SHAPE])
    print(f"{took / 2**20:.0f} of {bound / 2**20:.0f} MiB")
    assert bound / 4 < took <= bound


def test_every_limit_counts() -> None:
    small = ServeSettings(most_bytes=10, most_pixels=10, most_images=1, most_under_way=1, most_steps=1)
    least = most_memory(small, [SHAPE])
    for name in ("most_bytes", "most_pixels", "most_images", "most_under_way", "most_steps"):
        assert most_memory(small.model_copy(update={name: 10**6}), [SHAPE]) > least, name
    assert most_memory(small, [SHAPE, (3, 64, 64)]) == most_memory(small, [(3, 64, 64)]) > least


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 5, 9), (1, 28, 28)])
def test_images_are_within_the_limits_of_json(shape: tuple[int, int, int]) -> None:
    settings = ServeSettings(most_images=4)
    first = np.zeros((4, *shape))
    for values in (first, np.moveaxis(first, 1, -1)):
        said = json.dumps(values.tolist())
        assert said.count("[") <= most_lists(shape, settings) < 2 * said.count("[") * max(shape)
        assert sum(map(said.count, ",[{")) <= most_marks(shape, settings)
