"""The files that data sets are made of and that are not shipped: names, sizes, checksums, mirrors."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: its name, without a folder.
        size: in bytes.
        md5: its published MD5, in hex.
        content: MD5, in hex, of what a gzip file holds, which may lie unpacked or be packed anew; empty of others.
        accepts: of a file that people can make again: whether other bytes hold the same; None if none do.
    """

    name: str
    size: int
    md5: str
    content: str = ""
    accepts: Callable[[bytes], bool] | None = None

    @property
    def spellings(self) -> tuple[str, ...]:
        """Names under which people have the file: its own, unpacked, and each with a dot as some archives spell it."""
        if not self.content:
            return (self.name,)
        own = (self.name, self.name.removesuffix(".gz"))
        return (*own, *(name.replace("-idx", ".idx") for name in own))


@dataclass(frozen=True)
class Collection:
    """Files that belong together.

    Attributes:
        name: the folder the files lie in, under a data folder or the cache.
        files: in the order in which the reader of the data set wants them.
        mirrors: addresses to which a file's name is appended, best first; none if the files cannot be fetched.
        command: what makes the files where they cannot be fetched.
        source: of what they are made, and where that is said, where neither address nor command is.
        elsewhere: other folders below a data folder where programs leave these files.
        note: what of the data set they are, where that is not all of it.
    """

    name: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...] = ()
    command: str = ""
    source: str = ""
    elsewhere: tuple[str, ...] = ()
    note: str = ""


MNIST = Collection(
    "mnist",
    (
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "9fb629c4189551a2d022fa330f9573f3",
            "2646ac647ad5339dbf082846283269ea",
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"
        ),
    ),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    elsewhere=("MNIST/raw",),
)

FASHION_MNIST = Collection(
    "fashion-mnist",
    (
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "bef4ecab320f06d8554ea6380940ec79",
            "8181f5470baa50b63fa0f6fddb340f0a",
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"
        ),
    ),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    elsewhere=("FashionMNIST/raw",),
)


def _holds_the_faces(content: bytes) -> bool:
    from twinlatent.data.faces import holds_the_faces  # slow to import, and asked for rarely

    return holds_the_faces(content)


CAT_DOG_FACES = Collection(
    "cat-dog-faces",
    (RemoteFile("faces64.npz", 7_761_211, "30b0e507c06cd77933fb4fcd784fd6e1", accepts=_holds_the_faces),),
    command="twinlatent data prepare cats-dogs --photos DIR",
)


def _holds_cifar10(content: bytes) -> bool:
    from twinlatent.data.cifar10 import holds_cifar10  # slow to import, and asked for rarely

    return holds_cifar10(content)


CIFAR10 = Collection(
    "cifar10",
    (RemoteFile("cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530", accepts=_holds_cifar10),),
    ("https://www.cs.toronto.edu/~kriz/",),
    note="all 50,000 training images, all test images",
)

CIFAR10_SOME = Collection(
    "cifar10",
    (
        RemoteFile("train.npz", 46_586_589, "ee6c5c4123b88a44bbb5bd55061b0256"),
        RemoteFile("test.npz", 23_282_816, "0326851b734242900414446195ab8e69"),
    ),
    note="20,000 of the 50,000 training images, all test images",
)


def _holds_signs(content: bytes) -> bool:
    from twinlatent.data.traffic_signs import holds_signs  # slow to import, and asked for rarely

    return holds_signs(content)


GTSRB32 = Collection(
    "gtsrb32",
    (
        RemoteFile("train.npz", 31_309_557, "2cbb39792381a8491a7566a2b0dfac94", accepts=_holds_signs),
        RemoteFile("test.npz", 8_267_159, "d06c4d64b1b5f3efd110a068cb458e65", accepts=_holds_signs),
    ),
    source="pictures of the German Traffic Sign Recognition Benchmark, as docs/own_data.md says",
    note="15,460 of the 39,209 training images, 3,990 of the 12,630 test images",
)

COLLECTIONS = (MNIST, FASHION_MNIST, CAT_DOG_FACES, CIFAR10, CIFAR10_SOME, GTSRB32)


def published_as(md5: str) -> str | None:
    """`collection/file` of the published file that has this MD5, or whose content has; None if there is none."""
    files = [(collection, file) for collection in COLLECTIONS for file in collection.files]
    return next(
        (f"{collection.name}/{file.name}" for collection, file in files if md5 in (file.md5, file.content)), None
    )
