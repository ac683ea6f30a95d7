"""The files that data sets are made of and that are not shipped: names, sizes, checksums, mirrors."""

from collections.abc import Callable
from dataclasses import dataclass

from twinlatent.data.faces import holds_the_faces


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: its name, without a folder.
        size: in bytes.
        md5: its published MD5, in hex.
        accepts: of a file that people can make again: whether other bytes hold the same; None if none do.
    """

    name: str
    size: int
    md5: str
    accepts: Callable[[bytes], bool] | None = None


@dataclass(frozen=True)
class Collection:
    """Files that belong together.

    Attributes:
        name: the folder the files lie in, under a data folder or the cache.
        files: in the order in which the reader of the data set wants them.
        mirrors: addresses to which a file's name is appended, best first; none if the files cannot be fetched.
        command: what makes the files where they cannot be fetched.
    """

    name: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...] = ()
    command: str = ""


MNIST = Collection(
    "mnist",
    (
        RemoteFile("train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        RemoteFile("train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        RemoteFile("t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

FASHION_MNIST = Collection(
    "fashion-mnist",
    (
        RemoteFile("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        RemoteFile("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        RemoteFile("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
)

CAT_DOG_FACES = Collection(
    "cat-dog-faces",
    (RemoteFile("faces64.npz", 7_761_211, "30b0e507c06cd77933fb4fcd784fd6e1", holds_the_faces),),
    command="twinlatent data prepare cats-dogs --photos DIR",
)

COLLECTIONS = (MNIST, FASHION_MNIST, CAT_DOG_FACES)


def published_as(md5: str) -> str | None:
    """`collection/file` of the published file that has this MD5, None if there is none."""
    names = {file.md5: f"{collection.name}/{file.name}" for collection in COLLECTIONS for file in collection.files}
    return names.get(md5)
