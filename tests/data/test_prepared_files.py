"""What prepared sets may be called."""

import pytest

from twinlatent.data.prepared_files import check_name
from twinlatent.errors import TwinlatentError


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../a", ".a", "-a", "folder:a", "a" * 65, "a.npz", "ä"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(TwinlatentError, match="cannot name a data set; use letters"):
        check_name(name, ())


def test_names_of_other_sets_are_refused() -> None:
    for name in ("mnist", "MNIST"):
        with pytest.raises(TwinlatentError, match=f"'{name}' is a data set of its own"):
            check_name(name, ("mnist",))
    check_name("my-Pets_2", ("mnist",))
