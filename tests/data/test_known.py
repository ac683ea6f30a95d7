"""What there is to be said of a data set before it is read."""

from twinlatent.data.known import describe, names, where


def test_each_set_is_described_in_a_line(cache) -> None:
    assert names() == ("digits", "mnist", "fashion-mnist", "fashion-mnist5", "cats-dogs", "cifar10", "gtsrb32")
    assert all("\n" not in describe(name) for name in names())


def test_digits_lie_nowhere(cache) -> None:
    assert where("digits") == "comes with scikit-learn"


def test_where_counts_what_is_missing(cache) -> None:
    assert where("mnist") == "11.6 MB to be fetched"
    assert where("fashion-mnist5") == "30.9 MB to be fetched"


def test_where_names_the_folder(mnist_paths) -> None:
    assert where("mnist") == ", ".join(sorted({str(path.parent) for path in mnist_paths}))
