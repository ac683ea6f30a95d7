"""A white-box attack to a file: what it found as an .npz, and what is done beside it until all is."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from twinlatent.attacks.results import MEASURED
from twinlatent.claims import claimed_file, clear
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import OwnAttack, WhiteBoxSettings, fitted
from twinlatent.evaluation.white_box.suite import WhiteBoxRun, attack_detector
from twinlatent.files import replacing
from twinlatent.method.calibrated import CalibratedDetector
from twinlatent.running.units import Runner


def save_run(path: Path, run: WhiteBoxRun, split: Split, settings: WhiteBoxSettings) -> None:
    """Write an .npz without pickles, whole or not at all.

    It holds `benign` and `labels`; `worst`, the image of the first attack that won (the unchanged one where none did),
    and its name in `worst_attack`; for each attack NAME the tensors of `AttackResult` as `NAME.images` and so on, with
    `NAME.success` as `detect` judged it and `NAME.tried`; and `about`, JSON of data, class names, settings and origin.
    """
    arrays: dict[str, Any] = {"benign": run.benign.images.numpy(), "labels": run.benign.labels.numpy()}
    for name, tried in run.result.by_attack.items():
        arrays |= {f"{name}.{part}": getattr(tried.result, part).cpu().numpy() for part in MEASURED}
        arrays[f"{name}.success"], arrays[f"{name}.tried"] = run.wins[name].numpy(), tried.tried.cpu().numpy()
    worst = run.result.images.cpu().numpy()  # of the first attack, `none`, where none won
    by = np.array(["", *run.result.by_attack])[run.result.winner.cpu().numpy() + 1]
    about = {"data": split.short_name, "fingerprint": split.fingerprint, "class_names": split.class_names,
             "asked": settings.model_dump(), "origin": run.origin.model_dump()}  # fmt: skip
    with replacing(path) as temporary:
        np.savez_compressed(temporary, worst=worst, worst_attack=by, about=json.dumps(about), **arrays)


def unfinished_of(path: Path) -> Path:
    """The folder beside `path` that keeps what is done of `attack_to_file`."""
    return path.with_name(f"{path.name}.unfinished")


def check_name(path: Path) -> None:
    """Refuse a name that is none of an .npz."""
    if path.suffix != ".npz":
        raise TwinlatentError(f"{path} is written as .npz; name it {path.with_suffix('.npz').name}")


def attack_to_file(
    detector: CalibratedDetector,
    split: Split,
    settings: WhiteBoxSettings,
    path: Path,
    *,
    own: Mapping[str, OwnAttack] = MappingProxyType({}),
    overwrite: bool = False,
    workers: int | Runner | None = None,
    progress: bool = True,
) -> WhiteBoxRun:
    """`attack_detector`, kept batch by batch in a folder beside `path`, and `save_run` when all is done.

    Called again after an interruption it resumes from the last finished batch; with `overwrite`, unfinished work of
    another kind is begun anew, and the file written over.

    Raises:
        TwinlatentError: the file is there already, or its folder holds unfinished work of another kind.
    """
    check_name(path)
    with claimed_file(path):
        if path.exists() and not (overwrite and path.is_file()):
            raise TwinlatentError(f"{path} is there already; remove it or save elsewhere")
        split = fitted(detector, split)
        unfinished = unfinished_of(path)
        run = attack_detector(detector, split, settings, own=own, folder=unfinished, overwrite=overwrite,
                              workers=workers, progress=progress)  # fmt: skip
        save_run(path, run, split, settings)
        clear(unfinished)
    return run
