"""A detector as an outlier detector of scikit-learn: rows of pixels in, 1 for what it lets pass and −1 for the rest."""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from twinlatent.arguments import real
from twinlatent.bridges.calibrated import calibrated_on, scored
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.protocol import Judgeable

Rows = NDArray[np.floating[Any]]


class OutlierDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """A detector in pipelines and searches of scikit-learn; images are rows of pixels, (n, channels · H · W).

    `fit` trains nothing: it sets the detector's thresholds on benign images that took no part in its training, a share
    `fpr` of which may be flagged. The detector itself stays as it is.

    Args:
        detector: of ours; or one of yours, as `twinlatent.evaluate` takes it.
        fpr: share of benign images that may be flagged, in (0, 1).
        image_shape: (channels, H, W) of a row; None: the detector's own, or, where it has none, one line of pixels.
        value_range: what is black and what is white, such as (0, 255); None: the lowest and the highest value of what
            it is fitted on, beyond which values are clipped.

    Attributes:
        calibrated_: the detector with these thresholds.
        thresholds_: suspicion above which a row predicted as each class is flagged, (C,).
        offset_: 0; `decision_function` and `score_samples` are the same.
        image_shape_: of a row.
        value_range_: what is black and what is white.
        n_features_in_: pixels of a row.

    Raises:
        TwinlatentError: in `fit` and whenever it is asked: rows of another length or range; too few for `fpr`.

    Example:
        >>> import twinlatent as tl
        >>> split = tl.data.load("digits")
        >>> def dark(images):  # a suspicion of images with little ink, and some logits
        ...     logits = images.mean((2, 3)) @ torch.ones(1, 10)
        ...     return tl.Outputs(logits, -logits)
        >>> import torch
        >>> known = OutlierDetector(dark, image_shape=(1, 8, 8)).fit(split.calibration.images.flatten(1).numpy())
        >>> known.predict(np.zeros((1, 64)))
        array([-1])
    """

    def __init__(
        self,
        detector: Judgeable | None = None,
        *,
        fpr: float = 0.05,
        image_shape: tuple[int, int, int] | None = None,
        value_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        self.detector = detector
        self.fpr = fpr
        self.image_shape = image_shape
        self.value_range = value_range

    def fit(self, X: object, y: object = None) -> Self:
        """Set the thresholds on benign rows X (n, pixels); y is not looked at."""
        if self.detector is None:
            raise TwinlatentError("detector is None; give one, such as OutlierDetector(twinlatent.load('mnist-mim'))")
        rows, fpr = self._rows(X, reset=True), real("fpr", self.fpr, above=0, below=1)
        n, pixels = rows.shape
        if (n + 1) * fpr < 1:
            raise TwinlatentError(f"n_samples = {n} cannot tell fpr {fpr:g}; give {math.ceil(1 / fpr - 1)} benign rows "
                                  "or more, or a larger fpr")  # fmt: skip
        shape: Any = self.image_shape or getattr(self.detector, "image_shape", (1, 1, pixels))
        if math.prod(shape) != pixels:
            raise TwinlatentError(f"rows have {pixels} pixels, images {tuple(shape)} have {math.prod(shape)}; give "
                                  "rows of that length, or image_shape")  # fmt: skip
        self.image_shape_ = tuple(shape)
        self.value_range_ = self.value_range or (float(rows.min()), float(rows.max()))
        self.calibrated_ = calibrated_on(self.detector, self._images(rows), fpr)
        self.thresholds_ = self.calibrated_.calibration.thresholds(fpr).double().numpy()
        self.offset_ = 0.0
        return self

    def score_samples(self, X: object) -> NDArray[np.float64]:
        """Threshold of the predicted class less the suspicion, (n,): lower is more suspicious, negative is flagged."""
        check_is_fitted(self)
        said = scored(self.calibrated_, self._images(self._rows(X, reset=False)))
        return self.thresholds_[said.label.numpy()] - said.suspicion.double().numpy()  # type: ignore[no-any-return]

    def decision_function(self, X: object) -> NDArray[np.float64]:
        """`score_samples`, (n,): negative exactly where a row is flagged."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: object) -> NDArray[np.int64]:
        """Each row's verdict, (n,): 1, or −1 if it is flagged."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _rows(self, X: object, *, reset: bool) -> Rows:
        return validate_data(self, X, reset=reset, dtype=(np.float64, np.float32))  # type: ignore[no-any-return]

    def _images(self, rows: Rows) -> Rows:
        low, high = self.value_range_
        scaled = (rows - low) / ((high - low) or 1)
        scaled = scaled if self.value_range else scaled.clip(0, 1)
        return scaled.astype(np.float32).reshape(-1, *self.image_shape_)
