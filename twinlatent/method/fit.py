"""From images to a detector: play the game, measure class means, calibrate."""

from pathlib import Path
from typing import Any

import torch

from twinlatent.data import LabelledImages, Split, split_calibration
from twinlatent.data.validation import Array, check_images
from twinlatent.errors import TwinlatentError
from twinlatent.files import write_json
from twinlatent.method.calibrated import DETECTOR_FILE
from twinlatent.method.detector import Detector, DetectorSettings, build_detector
from twinlatent.method.game import GameSettings, GameState, play
from twinlatent.method.presets import preset_detector, preset_settings
from twinlatent.provenance import Provenance, provenance

SETTINGS_FILE = "training.json"
TRAINING_FILES = ("state.safetensors", "log.jsonl", DETECTOR_FILE, SETTINGS_FILE)
"""All that a training leaves in its folder."""


def fit(
    images: Array,
    labels: Array,
    *,
    class_names: tuple[str, ...] | None = None,
    preset: str = "standard",
    settings: GameSettings | None = None,
    detector: DetectorSettings | None = None,
    calibration_share: float = 0.1,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> Detector:
    """Train a detector on benign labelled images.

    Args:
        images: floating (n, 1, H, W) in [0, 1], tensor or array.
        labels: whole numbers (n,), 0 to C − 1, every class present.
        class_names: C names; default "0", "1", ...
        preset: `smoke`, `standard` or `paper`, for the settings.
        settings: of the game, instead of a preset.
        detector: label rule and score, instead of the preset's.
        calibration_share: of the images, held out from training to fix thresholds, in (0, 1).
        seed: of the hold-out, weights, batches and noise.
        folder: keeps the training state, the log and the detector file; None keeps nothing.
        resume: go on from the state in `folder`.
        device: such as "cpu" or "cuda".
        progress: whether to show a bar.

    Raises:
        TwinlatentError: bad images, labels, names, preset or device, or a training that diverges.
    """
    checked, of_class = (values.cpu() for values in check_images(images, labels))
    classes = int(of_class.max()) + 1
    names = class_names or tuple(map(str, range(classes)))
    if len(names) != classes:
        raise TwinlatentError(f"{len(names)} class names for {classes} classes; give one name a class")
    train, calibration = split_calibration(LabelledImages(checked, of_class), share=calibration_share, seed=seed)
    split = Split("arrays", train, calibration, calibration.subset(slice(0)), names)
    return fit_split(split, preset=preset, settings=settings, detector=detector, seed=seed, folder=folder,
                     resume=resume, device=device, progress=progress)  # fmt: skip


def fit_split(
    split: Split,
    *,
    preset: str = "standard",
    settings: GameSettings | None = None,
    detector: DetectorSettings | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> Detector:
    """Train a detector on the training part of a split and calibrate it on the calibration part; see `fit`."""
    settings = settings or preset_settings(preset, split.image_shape, split.name)
    detector = detector or preset_detector(preset)
    check_device(device)
    origin = provenance()
    folder = Path(folder) if folder is not None else None
    if folder is not None and not resume:
        _start(folder)
    state = play(split.train, split.classes, settings, seed=seed, folder=folder, resume=resume,
                 fingerprint=split.fingerprint, device=device, progress=progress)  # fmt: skip
    card = _card(split, settings, seed, state, origin, device)
    made = build_detector(state.vaes.encoders.cpu(), split.train, split.calibration, split.class_names, detector, card)
    if folder is not None:
        made.save(folder / DETECTOR_FILE)
        write_json(folder / SETTINGS_FILE, made.card)
    return made


def check_device(device: str) -> None:
    """Raise `TwinlatentError` unless PyTorch can compute on `device`."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:80]
        raise TwinlatentError(f"device {device!r} cannot be used ({reason}); leave it out to use the CPU") from error


def _start(folder: Path) -> None:
    """Refuse to train over an earlier training."""
    if (folder / "state.safetensors").exists():
        raise TwinlatentError(f"{folder} holds a training already; resume it, or give another folder")


def _card(
    split: Split, settings: GameSettings, seed: int, state: GameState, origin: Provenance, device: str
) -> dict[str, Any]:
    """What a detector file says of its origin."""
    images = {part: len(getattr(split, part)) for part in ("train", "calibration", "test")}
    data = {"name": split.short_name, "fingerprint": split.fingerprint, "images": images}
    machine = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    return {"data": data, "training": settings.model_dump(), "seed": seed, "rounds": state.round,
            "seconds": round(state.seconds, 1), "provenance": origin.model_dump() | {"device": machine}}  # fmt: skip
