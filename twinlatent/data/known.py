"""The data sets that have a name: what each holds and where its files lie. Nothing here opens an image.

Besides the table there are the sets that people prepare of their own photographs.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from twinlatent.data.catalogue import CAT_DOG_FACES, CIFAR10, CIFAR10_SOME, FASHION_MNIST, GTSRB32, MNIST, Collection
from twinlatent.data.downloads import locate
from twinlatent.data.prepared_files import find, hidden, prepared_names
from twinlatent.errors import TwinlatentError

CATS_DOGS = "cats-dogs"
FOLDER = "folder:"
"""Before a path: a folder that holds a folder of images for each class."""


@dataclass(frozen=True)
class Known:
    """A row of the table.

    Attributes:
        description: one line for people.
        collection: the files it is read from; None if it comes with an installed package.
        instead: files that are read where those are not on this machine, and these are.
    """

    description: str
    collection: Collection | None = None
    instead: Collection | None = None

    @property
    def here(self) -> Collection | None:
        """What of it is on this machine: `collection`, unless all of `instead` is here and it is not.

        Raises:
            TwinlatentError: a file is not the published one.
        """
        if self.collection is None or self.instead is None:
            return self.collection
        found = (all(locate(some, file) for file in some.files) for some in (self.collection, self.instead))
        return self.instead if next(found) is False and next(found) else self.collection


KNOWN = {
    "digits": Known("handwritten digits of scikit-learn, 1,797 images, 8x8, 10 classes"),
    "mnist": Known("handwritten digits, 70,000 images, 28x28, 10 classes", MNIST),
    "fashion-mnist": Known("pieces of clothing, 70,000 images, 28x28, 10 classes", FASHION_MNIST),
    "fashion-mnist5": Known(
        "coats, trousers, sandals, sneakers and bags of Fashion-MNIST, 35,000 images, 28x28, 5 classes", FASHION_MNIST
    ),
    CATS_DOGS: Known(
        "faces of cats and dogs, 2,028 images, 64x64, 2 classes; for research use only", CAT_DOG_FACES
    ),
    "cifar10": Known(
        "photographs of animals and vehicles, 60,000 images, 32x32 in colour, 10 classes", CIFAR10, CIFAR10_SOME
    ),
    "gtsrb32": Known(
        "German traffic signs, 19,450 images, 32x32 in colour, 43 classes; for research use only", GTSRB32
    ),
}  # fmt: skip


def names() -> tuple[str, ...]:
    """Names that `load` knows, those of prepared sets last; besides them it takes `folder:PATH`."""
    return (*KNOWN, *(name for name in prepared_names() if name not in KNOWN))


def describe(name: str) -> str:
    """One line that says what the data set called `name` holds."""
    prepared = prepared_file(name)
    if prepared is not None:
        return _describe_prepared(prepared)
    return known(name).description


def where(name: str) -> str:
    """One line that says where the files of the data set lie, what is wrong with them, or how to get them."""
    prepared = prepared_file(name)
    if prepared is not None:
        return ", which hides ".join(map(str, (prepared, *hidden(name))))
    if known(name).collection is None:
        return "comes with scikit-learn"
    try:
        collection = known(name).here
        assert collection is not None
        found = {file: locate(collection, file) for file in collection.files}
    except TwinlatentError as error:
        return str(error)
    missing = sum(file.size for file, path in found.items() if path is None)
    if missing and not collection.mirrors:
        return f"to be made: {collection.command}" if collection.command else "to be put there, see docs/own_data.md"
    if missing:
        return f"{missing / 1e6:.1f} MB to be fetched"
    places = ", ".join(sorted({str(path.parent) for path in found.values() if path is not None}))
    return f"{places}: {collection.note}" if collection.note else places


def known(name: str) -> Known:
    """The row of a data set that is not a prepared one.

    Raises:
        TwinlatentError: there is none of that name; the line names what is near.
    """
    if name in KNOWN:
        return KNOWN[name]
    if name and Path(name).is_dir():
        raise TwinlatentError(f"no data set is called {name!r}; write {FOLDER}{name} for the folder")
    near = difflib.get_close_matches(name, names(), n=1)
    meant = f"did you mean {near[0]}? Known are " if near else "known are "
    raise TwinlatentError(f"no data set is called {name!r}; {meant}{', '.join(names())} and {FOLDER}PATH")


def prepared_file(name: str) -> Path | None:
    """The file of a prepared set; None if `name` is no such set."""
    return None if name in KNOWN else find(name)


def _describe_prepared(path: Path) -> str:
    from twinlatent.data.prepared import read_made_with  # slow to import

    try:
        made_with = read_made_with(path)
    except TwinlatentError as error:
        return str(error)
    size, counts = made_with["size"], made_with["counts"]
    colour = " in colour" if made_with["channels"] > 1 else ""
    return f"photographs of yours, {sum(counts.values()):,} images, {size}x{size}{colour}, {len(counts)} classes"
