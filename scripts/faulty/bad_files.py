"""Files of images, arrays, boxes, settings and results that are not what they should be."""

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faulty.bad_images import idx_files, npy_files, npz_files, pictures
from faulty.cases import Case, of_call, of_command
from twinlatent.data.boxes import wanted
from twinlatent.data.prepared import read_prepared
from twinlatent.evaluation.results.check import check_file
from twinlatent.method.detector import Detector


def cases(detector: Detector, folder: Path) -> Iterator[Case]:
    """All of them; files are made below `folder`."""
    model = folder / "digits.safetensors"
    detector.save(model)
    images = {**npy_files(), **npz_files(), **idx_files(), **pictures()}
    for name, content in images.items():
        yield Case("files", f"images {name}", partial(of_command, "detect", model, _written(folder, name, content)))
    (folder / "photos").mkdir()
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir()
        Image.new("L", (9, 9), 90).save(folder / "photos" / name / f"{name}.png")
    for name, content in tables().items():
        call = partial(wanted, folder / "photos", _written(folder, name, content))
        yield Case("files", f"boxes {name}", partial(of_call, call))
    for name, content in annotations().items():
        place = _written(folder / name, "a.xml", content).parent
        yield Case("files", f"boxes {name}", partial(of_call, partial(wanted, folder / "photos", place)))
    for name, content in recipes().items():
        path = _written(folder, name, content)
        words = ["train", "digits", "--out", folder / "x", "--no-progress", "--recipe", path]
        yield Case("files", f"recipe {name}", partial(of_command, *words))
    for name, content in results().items():
        yield Case("files", f"results {name}", partial(of_call, partial(check_file, _written(folder, name, content))))
    for name, content in logs().items():
        yield Case("files", f"log {name}", partial(of_command, "monitor", _written(folder, name, content)))
    for name, content in prepared().items():
        call = partial(read_prepared, _written(folder, f"set-{name}", content))
        yield Case("files", f"prepared set {name}", partial(of_call, call))
    for name, content in modules().items():
        words = ["evaluate", f"{_written(folder, name, content)}:build", "digits", "--suite", "none", "--no-progress",
                 "--blackbox-images", 2, "--workers", 1, "--out", folder / "x"]  # fmt: skip
        yield Case("files", f"module {name}", partial(of_command, *words))
    yield from _places(model, folder)


def _written(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def _places(model: Path, folder: Path) -> Iterator[Case]:
    """What is there instead of a file."""
    (folder / "loop.npy").symlink_to(folder / "loop.npy")
    (folder / "gone.npy").symlink_to(folder / "nowhere.npy")
    (folder / "folder.npy").mkdir()
    for name in ("loop.npy", "gone.npy", "folder.npy", "nowhere.npy", "x" * 300, "/dev/zero", ""):
        shown = repr(name[:20])
        yield Case("files", f"images at {shown}", partial(of_command, "detect", model, folder / name if name else name))
        yield Case("models", f"at {shown}", partial(of_command, "detect", folder / name if name else name, model))


# --- boxes, recipes, results, logs, modules ---------------------------------------------------------------------------


def tables() -> dict[str, bytes]:
    """Tables of boxes, by name."""
    head = "file,crop_x,crop_y,crop_side,label\n"
    lines = {
        "no head.csv": "cat.png,0,0,4,cat\n", "head alone.csv": head, "empty.csv": "",
        "a word.csv": head + "cat.png,zero,0,4,cat\n", "no number.csv": head + "cat.png,,0,4,cat\n",
        "NaN.csv": head + "cat.png,nan,0,4,cat\n", "infinite.csv": head + "cat.png,inf,0,4,cat\n",
        "powers.csv": head + "cat.png,1e3,0,4,cat\n", "many digits.csv": head + f"cat.png,{'9' * 5000},0,4,cat\n",
        "no side.csv": head + "cat.png,0,0,0,cat\n", "less than a side.csv": head + "cat.png,0,0,-4,cat\n",
        "half a line.csv": head + "cat.png,0\n",
        "no file.csv": head + ",0,0,4,cat\n", "a file elsewhere.csv": head + "../../etc/passwd,0,0,4,cat\n",
        "an open quote.csv": head + '"cat.png,0,0,4,cat\n', "a huge field.csv": head + "x" * 200_000 + ",0,0,4,cat\n",
        "a class of two lines.csv": head + 'cat.png,0,0,4,"a\nb"\n', "twice a column.csv": "file,file,crop_x\n",
        "a slash.csv": head + "/,0,0,4,cat\n", "a dot.csv": head + ".,0,0,4,cat\n",
    }  # fmt: skip
    return {name: text.encode() for name, text in lines.items()} | {
        "bytes.csv": head.encode() + b"\xff\xfe,0,0,4,cat\n", "zeros.csv": bytes(500), "a table.txt": head.encode(),
        "wide letters.csv": head.encode("utf-16"),
    }  # fmt: skip


def annotations() -> dict[str, bytes]:
    """Files of Pascal VOC, by name."""
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    named = "<filename>cat.png</filename>"
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bodies = {
        "no xml": "hello", "nothing": "", "no object": f"<annotation>{named}</annotation>", "half": "<annotation>",
        "no name": f"<a>{named}<object>{box}</object></a>",
        "no box": f"<a>{named}<object><name>cat</name></object></a>",
        "a word": f"<a>{named}<object><name>cat</name>{box.replace('>1<', '>one<')}</object></a>",
        "inside out": f"<a>{named}<object><name>cat</name>{box.replace('>5<', '>-5<')}</object></a>",
        "another photograph": f"<a><filename>x.png</filename><object><name>cat</name>{box}</object></a>",
        "many entities": f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><a>{named}<object><name>&e11;</name>{box}</object>'
                         "</a>",
        "a file as entity": f'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>{named}<object><name>&e;</name>'
                            f"{box}</object></a>",
        "deep": "<a>" * 100_000, "an unknown letter code": '<?xml version="1.0" encoding="x-none"?><a/>',
    }  # fmt: skip
    return {f"annotations of {name}": body.encode() for name, body in bodies.items()}


def recipes() -> dict[str, bytes]:
    """Recipes, by name."""
    texts = {
        "no toml": "= = =", "unknown": "nonsense = 1\n", "empty table": "[nonsense]\n",
        "a text for a table": "game = 1\n",
        "wrong type": "[game]\nrounds = 'many'\n", "no rounds": "[game]\nrounds = 0\n",
        "nan": "[game.adversary]\nepsilon = nan\n", "beyond": "[game]\nrounds = 1e400\n",
        "a notation": "[game]\nencoder = 'q(1)'\n", "twice": "a = 1\na = 2\n",
        "a date": "[game]\nrounds = 2020-01-01\n", "deep": "a = " + "[" * 3000, "digits": f"a = {'9' * 5000}\n",
        "a list": "[[game]]\nrounds = 1\n",
    }  # fmt: skip
    return {f"{name}.toml": text.encode() for name, text in texts.items()} | {
        "bytes.toml": b"\xff\xfe",
        "zeros.toml": bytes(99),
    }


def results() -> dict[str, bytes]:
    """Files of results, by name."""
    found: dict[str, object] = {
        "no runs": {"format": "twinlatent results 1"}, "another format": {"format": "x", "runs": []},
        "runs of numbers": {"format": "twinlatent results 1", "runs": [1]}, "rows alone": [{"metric": "auc"}],
        "a list of lists": [[1]], "cases": {"cases": 3}, "a benchmark": {"milliseconds": {}},
        "workers": {"workers": "two"}, "checks": [{"finding": 1}], "a card": {"label_rule": None},
    }  # fmt: skip
    texts = {f"{name}.json": json.dumps(value).encode() for name, value in found.items()}
    return texts | {
        "half.json": b'{"runs": [', "nan.json": b'{"runs": NaN}', "deep.json": b"[" * 100_000, "empty.json": b"",
        "bytes.json": b"\xff\xfe", "digits.json": b'{"workers": ' + b"9" * 5000 + b"}",
    }  # fmt: skip


def logs() -> dict[str, bytes]:
    """Logs of verdicts, by name."""
    row = {"time": "", "model": "a", "detector": "b", "label": "c", "p_value": 0.5, "adversarial": False, "among": 9,
           "pooled": False}  # fmt: skip
    wrong: dict[str, dict[str, object]] = {
        "a p-value of 2": {"p_value": 2}, "no p-value": {"p_value": None}, "images of none": {"among": -1},
        "more images than numbers": {"among": 10**400}, "a text": {"adversarial": "perhaps"},
        "no model": {"model": None},
    }  # fmt: skip
    rows = {f"{name}.jsonl": json.dumps(row | change).encode() + b"\n" for name, change in wrong.items()}
    return rows | {"lists.jsonl": b"[1]\n", "words.jsonl": b"hello\n", "bytes.jsonl": b"\xff\xfe\n",
                   "deep.jsonl": b"[" * 100_000 + b"\n"}  # fmt: skip


def prepared() -> dict[str, bytes]:
    """Data sets that people prepared, by name."""

    def made(**changes: Any) -> bytes:
        arrays = {"images": np.zeros((6, 8, 8), np.uint8), "labels": np.arange(6) % 2, "class_names": np.array(["a",
        "b"]),
                  "sources": np.array(list("abcdef")), "made_with": np.array(json.dumps({"size": 8}))}  # fmt: skip
        kept = io.BytesIO()
        np.savez(kept, **{name: value for name, value in {**arrays, **changes}.items() if value is not None})
        return kept.getvalue()

    return {
        "floats.npz": made(images=np.zeros((6, 8, 8))), "no labels.npz": made(labels=None),
        "labels beyond.npz": made(labels=np.arange(6)), "a class less.npz": made(class_names=np.array(["a"])),
        "other sizes.npz": made(made_with=np.array('{"size": 9}')), "no size.npz": made(made_with=np.array("{}")),
        "no json.npz": made(made_with=np.array("size 8")), "a list.npz": made(made_with=np.array("[8]")),
        "a source less.npz": made(sources=np.array(["a"])), "number.npz": made(class_names=np.array(3)),
        "size of text.npz": made(made_with=np.array('{"size": "8"}')), "cut.npz": made()[:400], "empty.npz": b"",
    }  # fmt: skip


def modules() -> dict[str, bytes]:
    """Python files that should have a detector, by name."""
    texts = {
        "no python": "def build(:\n", "nothing": "", "no build": "built = 1\n", "raises": "raise OSError('no')\n",
        "exits": "import sys; sys.exit(3)\n", "needs": "def build(a, b): ...\n", "missing": "import nowhere_at_all\n",
        "fails": "def build(): return 1 / 0\n", "a number": "build = 3\n", "of None": "def build(): return None\n",
        "of itself": "from itself import build\n", "NaN": _answer("torch.full((len(x), 10), torch.nan)"),
        "another shape": _answer("torch.zeros(3, 10)"), "two classes": _answer("torch.zeros(len(x), 2)"),
        "a list": _answer("[1, 2]"),
        "empty": _answer("torch.zeros(0)"),
        "raises later": _answer("1 / 0"), "one number": _answer("torch.tensor(1.0)"),
    }  # fmt: skip
    return {f"{name.replace(' ', '_')}.py": text.encode() for name, text in texts.items()} | {"zeros.py": bytes(99)}


def _answer(logits: str) -> str:
    return (f"import torch\nimport twinlatent as tl\n\ndef build(x):\n    logits = {logits}\n"
            "    return tl.Outputs(logits, logits)\n")  # fmt: skip
