"""A detector from its ONNX file, run by ONNX Runtime: verdicts alone, no gradients."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from twinlatent.arguments import file_path, real
from twinlatent.data.given import Given
from twinlatent.errors import TwinlatentError, brief
from twinlatent.export.graph import IMAGES, needed
from twinlatent.guards.onnx_file import ONNX
from twinlatent.method.calibrated import checked_images, chunks
from twinlatent.method.verdicts import Judged, Verdict
from twinlatent.showing import first_images
from twinlatent.torch_state import fresh_torch

FORMAT = "1"
"""Under `twinlatent` in the file's metadata; changes when files cannot be read as before."""
OUTPUTS = ("label", "suspicion", "p_value", "adversarial")


class OnnxDetector:
    """What `to_onnx` wrote, as a detector that gives verdicts; needs the extra `export`.

    To attack it or judge it, load the detector that it was made of.

    Attributes:
        class_names: one a class.
        image_shape: (channels, height, width).
        fprs: rates at which it can be asked.
        metadata: all texts in the file; of `card` the JSON.
    """

    def __init__(self, file: str | Path | bytes) -> None:
        """Read it.

        Args:
            file: path of the file, or what is in it.

        Raises:
            TwinlatentError: no such file, none of ONNX, or not one of a detector; or a library is not installed.
        """
        name = "the model" if isinstance(file, bytes) else str(file_path("file", file))
        if not isinstance(file, bytes) and not Path(name).is_file():
            raise TwinlatentError(f"{name} is no file; give the path of an {ONNX} file")
        self._session = _session(file if isinstance(file, bytes) else name, name)
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        if self.metadata.get("twinlatent") != FORMAT:
            found = self.metadata.get("twinlatent")
            said = "no detector's" if found is None else f"a detector's of format {found}, not {FORMAT}"
            raise TwinlatentError(f"{name} is an ONNX file, but {said}; export the detector with twinlatent export")
        try:
            names, shape, fprs = (json.loads(self.metadata[key]) for key in ("class_names", "image_shape", "fpr"))
            self.class_names, self.image_shape = tuple(map(str, names)), tuple(map(int, shape))
            self.fprs = tuple(map(float, fprs))
        except (KeyError, ValueError, TypeError) as error:
            raise TwinlatentError(f"{name} says too little of itself ({brief(error)}); export it again") from error

    def check(self, fpr: float) -> int:
        """Which column of `adversarial` is that of the rate.

        Raises:
            TwinlatentError: it cannot be asked at this rate.
        """
        fpr = real("fpr", fpr)
        if fpr not in self.fprs:
            known = ", ".join(f"{one:g}" for one in self.fprs)
            raise TwinlatentError(f"fpr {fpr:g} is none of those that the file was exported for ({known}); ask for one "
                                  f"of these, or export it with --fpr {fpr:g}")  # fmt: skip
        return self.fprs.index(fpr)

    @fresh_torch()
    def detect(self, images: Given, fpr: float = 0.05) -> Verdict:
        """Classify images and say which are adversarial, as `Detector.detect` does up to rounding.

        Args:
            images: as there.
            fpr: one of `fprs`. The p-values are those of the finest of these.

        Raises:
            TwinlatentError: images of another shape or range or with NaN; another rate.
        """
        column, parts = self.check(fpr), []
        images = checked_images(images, self.image_shape)
        for n, chunk in chunks(images):
            parts.append([torch.from_numpy(value[:n]) for value in self._session.run(OUTPUTS, {IMAGES: chunk.numpy()})])
        label, suspicion, p_value, adversarial = (torch.cat(values) for values in zip(*parts, strict=True))
        judged = Judged(first_images(images), self.class_names, self.fprs[column])
        return Verdict(label, adversarial[:, column], suspicion, p_value, judged)


def _session(model: str | bytes, name: str) -> Any:
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 4  # what goes wrong is said by the exception
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has many kinds of its own
        raise TwinlatentError(f"{name} is no ONNX file that ONNX Runtime can run ({brief(error)})") from error
