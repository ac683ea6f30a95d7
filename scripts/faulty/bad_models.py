"""Detector files, states of trainings and ONNX files that are not what they should be, most with a right checksum."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

import twinlatent as tl
from faulty.cases import Case, of_call, of_command
from twinlatent.export.running import OnnxDetector
from twinlatent.guards.onnx_file import from_onnx
from twinlatent.method.checkpoints import load_tensors, save_tensors
from twinlatent.method.detector import Detector
from twinlatent.method.file_header import read_header

Change = Callable[[dict[str, Tensor], dict[str, Any]], None]
"""Changes tensors and description in place."""


def cases(detector: Detector, folder: Path) -> Iterator[Case]:
    """All of them; files are made below `folder`."""
    for name, content in {**hostile(), **damaged(detector, folder)}.items():
        path = folder / f"{name}.safetensors"
        path.write_bytes(content)
        yield Case("headers", name, partial(_header, path))
        yield Case("models", f"{name}, loaded", partial(of_call, partial(tl.load, path)))
    for name, change in CHANGES.items():
        path = folder / f"{name}.safetensors"
        tensors, description = detector.contents()
        tensors, description = dict(tensors), json.loads(json.dumps(description))
        change(tensors, description)
        save_tensors(path, "detector", tensors, description)
        yield Case("models", name, partial(of_call, partial(_used, path)))
    for name, change in STATES.items():
        yield Case("models", f"state {name}", partial(_resumed, folder / f"state of {name}", change))
    for name, content in onnx_files().items():
        path = folder / f"{name}.onnx"
        path.write_bytes(content)
        yield Case("models", f"{name}.onnx, detector", partial(of_call, partial(OnnxDetector, path)))
        yield Case("models", f"{name}.onnx, classifier", partial(of_call, partial(from_onnx, path)))


def _header(path: Path) -> str:
    """`read_header` may take what only tensors would show; it must not raise anything else."""
    complaint = of_call(partial(read_header, path))
    return "" if complaint == "is taken" else complaint


def _used(path: Path) -> object:
    return tl.load(path).detect(torch.full((3, 1, 8, 8), 0.5))


# --- bytes ----------------------------------------------------------------------------------------------------------


def packed(header: object, values: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of that header, JSON or already bytes, which may say that it has another length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + values


def hostile() -> dict[str, bytes]:
    """Files of a hostile header, by name."""

    def one(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
        return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}

    headers: dict[str, object] = {
        "no type": one("F33"), "type of a number": one(3), "shape that lies": one(shape=(3,)),
        "no shape": one(shape=None),
        "negative shape": one(shape=(-2,)), "shape of 2⁶³": one(shape=(2**63, 2)), "shape of 2⁶⁵": one(shape=(2**65,)),
        "overflowing shape": one(shape=(2**40, 2**40)), "offsets beyond": one(offsets=(0, 9)),
        "offsets turned": one(offsets=(8, 0)), "offsets of 2⁶³": one(offsets=(2**63, 2**63 + 8)),
        "negative offsets": one(offsets=(-8, 0)), "one offset": one(offsets=(0,)), "a gap": one(offsets=(4, 12)),
        "overlapping": one() | {"b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
        "metadata of numbers": {"__metadata__": {"kind": 3}, **one()}, "metadata of a list": {"__metadata__": [],
        **one()},
        "metadata of a text": {"__metadata__": "kind", **one()}, "tensor of a text": {"a": "b"}, "a list": [1],
        "a number": 3, "null": None, "no tensors": {},
        "kind without checksum": {"__metadata__": {"kind": "detector", "format": "1"}, **one()},
        "description of no json": {"__metadata__": {"kind": "detector", "format": "1", "description": "{"}, **one()},
        "another format": {"__metadata__": {"kind": "detector", "format": "2", "description": "{}"}, **one()},
    }  # fmt: skip
    found = {f"header: {name}": packed(header, bytes(8)) for name, header in headers.items()}
    return found | {
        "header: deep": packed(b"[" * 100_000), "header: deep names": packed(b'{"a":' * 50_000),
        "header: digits": packed(b'{"a": ' + b"9" * 5000 + b"}"), "header: no text": packed(b"\xff\xfe{}"),
        "header: twice a name": packed(b'{"a": 1, "a": 2}'), "header: of nothing": packed(b""),
        "header: zeros": packed(bytes(64)), "header: NaN": packed(b'{"a": NaN}'),
        "header: length of 2⁶⁴ − 1": packed({}, length=2**64 - 1), "header: length beyond": packed({}, length=99),
        "header: length of 100 MB": packed({}, length=100_000_000), "header: seven bytes": b"\1" * 7,
        "header: nothing": b"",
    }  # fmt: skip


def damaged(detector: Detector, folder: Path) -> dict[str, bytes]:
    """A sound detector file, changed in some bytes or of another kind, by name."""
    detector.save(folder / "sound.safetensors")
    whole = (folder / "sound.safetensors").read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    found = {f"cut at {share:%}": whole[: int(len(whole) * share)] for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.999)}
    for place in (3, 9, length // 2, length + 8, length + 8 + (len(whole) - length) // 2, len(whole) - 1):
        found[f"a byte at {place}"] = whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]
    found["doubled"], found["zeros behind"] = whole * 2, whole + bytes(64)
    found["of another program"] = save({"weight": torch.zeros(3)})
    found["a text"], found["a zip"] = b"hello " * 99, b"PK\x03\x04" + bytes(99)
    return found


# --- right checksums ------------------------------------------------------------------------------------------------


def _say(name: str, value: object) -> Change:
    def change(_: dict[str, Tensor], description: dict[str, Any]) -> None:
        description[name] = value

    return change


def _drop(name: str) -> Change:
    def change(tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
        for part in (tensors, description):
            part.pop(name, None)

    return change


def _tensor(name: str, made: Callable[[Tensor], Tensor]) -> Change:
    """The first tensor whose name starts so."""

    def change(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
        found = next(key for key in sorted(tensors) if key.startswith(name))
        tensors[found] = made(tensors[found])

    return change


CHANGES: Mapping[str, Change] = {
    **{f"without {name}": _drop(name) for name in ("encoder", "image_shape", "class_names", "settings", "card",
                                                   "class_means", "benign.ratio.labels", "benign.ratio.robust")},
    **{f"{name} is {value!r}"[:60]: _say(name, value) for name, values in {
        "encoder": (None, 3, "", "q(1)", "c(3,8)", "c(3,8) z(6,6) z(6,6)", "1000(c(3,8)) z(6,6)", "z(9999999,9999999)",
                    "c(9999999,9999999) z(6,6)", "c(3,9999999) z(6,6)", "d(9999999) z(6,6)", "c(3,8,9999999) z(6,6)"),
        "image_shape": (None, 3, [], [1, 8], [1, 8, 8, 8], [0, 8, 8], [1, -8, 8], [1, 8.5, 8], ["1", "8", "8"],
                        [10**9, 8, 8], [1, 10**9, 10**9], [3, 8, 8]),
        "class_names": (None, 3, [], ["a"], list("abcdefghijk"), [1] * 10, [None] * 10, [[]] * 10, "0123456789"),
        "settings": (None, 3, [], {"label_rule": "guess"}, {"nonsense": 1}, {"score": None}),
        "card": (3, [1]),
    }.items() for value in values if (name, value) != ("class_names", "0123456789")},
    "NaN": _tensor("encoders.", lambda t: t * torch.nan), "infinite": _tensor("class_means", lambda t: t + torch.inf),
    "other sizes": _tensor("encoders.", lambda t: t[:1]), "no values": _tensor("class_means", lambda t: t[:0]),
    "a dimension more": _tensor("class_means", lambda t: t[None]), "a number": _tensor("class_means",
    lambda t: t.sum()),
    "labels beyond": _tensor("benign.ratio.labels", lambda t: t + 100),
    "labels below": _tensor("benign.ratio.labels", lambda t: t - 100),
    "fewer labels": _tensor("benign.ratio.labels", lambda t: t[:-3]),
    "no labels": _tensor("benign.ratio.labels", lambda t: t[:0]),
    "robust of another length": _tensor("benign.ratio.robust", lambda t: t[:-1]),
    "scales of one number": lambda tensors, _: tensors.update({"levels.ratio": torch.zeros(1)}),
    "a tensor too many": lambda tensors, _: tensors.update({"encoders.more": torch.zeros(1)}),
}  # fmt: skip
"""By name, what is changed in a detector file whose checksum is right all the same."""

STATES: Mapping[str, Change] = {
    "no round": _drop("round"), "round of a text": _say("round", "two"), "negative round": _say("round", -1),
    "no generator": _drop("generator"), "generator of floats": _tensor("generator", Tensor.float),
    "short generator": _tensor("generator", lambda t: t[:9]), "no levels": _drop("levels"),
    "other sizes": _tensor("module.", lambda t: t[:1]),
    "no code": _drop("code"), "code of a number": _say("code", 3), "seconds of a text": _say("seconds", "long"),
    "an optimiser's text": lambda tensors, _: tensors.update({"optimiser.a.b": torch.zeros(1)}),
}  # fmt: skip
"""By name, what is changed in the state of a training."""


def _resumed(folder: Path, change: Change) -> str:
    """Begin a training of two rounds, change its state, and resume it."""
    words = ["train", "digits", "--preset", "smoke", "--no-progress", "--set", "checkpoint_every=1", "--out", folder]
    first = folder.parent / "begun"
    if not first.exists():
        begun = of_command(*words[:-1], first, "--set", "rounds=2")
        if begun != "is taken":
            return f"could not be begun: {begun}"
    tensors, description = load_tensors(first / "state.safetensors", "training state")
    description["round"] = 1
    change(tensors, description)
    folder.mkdir()
    save_tensors(folder / "state.safetensors", "training state", tensors, description)
    return of_command(*words, "--set", "rounds=2", "--resume")


# --- ONNX -----------------------------------------------------------------------------------------------------------


def onnx_files() -> dict[str, bytes]:
    """Files that no ONNX library takes, by name."""
    return {"nothing": b"", "text": b"hello", "zeros": bytes(999), "ones": b"\xff" * 999,
    "huge": b"\x08\x07" + b"\x3a" +
            b"\xff\xff\xff\xff\x07", "an archive": b"PK\x03\x04" + bytes(99)}  # fmt: skip
