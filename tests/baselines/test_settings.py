"""Settings of baselines: what is augmented, and what is not."""

import pytest

from twinlatent.baselines import METHODS, baseline_settings
from twinlatent.data.augmentation import Augmentation


@pytest.mark.parametrize("preset", ["smoke", "standard"])
@pytest.mark.parametrize("method", METHODS)
def test_only_a_data_set_known_by_name_is_augmented(method: str, preset: str) -> None:
    for data in ("", "arrays", "folder:cats-dogs", "cats-dogs-2"):
        for side in (28, 48, 64):
            assert baseline_settings(method, preset, (1, side, side), 2, data).augment == Augmentation()
    known = baseline_settings(method, preset, (1, 64, 64), 2, "cats-dogs")
    assert known.augment == Augmentation(flip=True, shift=3, brightness=0.1)
