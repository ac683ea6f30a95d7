"""Bad input to any command ends in one line that names it, and leaves nothing behind."""

import gc
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor


@pytest.fixture
def bad(trained: Path, images: Tensor, tmp_path: Path) -> dict[str, Path]:
    """Files that are not what they should be, by the names that the table below calls them by."""
    detector_file, whole = trained / "detector.safetensors", images.numpy()
    flipped = bytearray(detector_file.read_bytes())
    flipped[-9] ^= 1
    arrays = {
        "wide.npy": np.zeros((2, 9, 8), np.float32), "high.npy": whole * 255, "nan.npy": whole * np.nan,
        "whole.npy": np.ones((8, 8), np.int64), "none.npy": whole[:0], "ok.npy": whole,
        "flat.npy": whole.reshape(6, 64),
        "pickled.npy": np.array([{}], dtype=object), "words.npy": np.array(["a"]), "number.npy": np.array(0.5),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(name, array)
    np.savez("two.npz", a=whole, b=whole)
    np.savez("nothing.npz")
    pieces = {
        "text.npy": b"hello", "zero.npy": b"", "text.npz": b"hello", "cut.npz": Path("two.npz").read_bytes()[:900],
        "there.npz": b"years of work",
        "text.png": b"hello", "cut.png": b"\x89PNG\r\n\x1a\n", "flipped.safetensors": bytes(flipped),
        "cut.safetensors": detector_file.read_bytes()[:5000], "zero.safetensors": b"",
    }  # fmt: skip
    for name, piece in pieces.items():
        Path(name).write_bytes(piece)
    for path in ("empty", "folder.npy", "one-class/a"):
        Path(path).mkdir(parents=True)
    Image.new("L", (8, 8)).save("one-class/a/0.png")
    shutil.copytree(trained, tmp_path / "copy")
    return {"run": trained, "state": trained / "state.safetensors"}


BAD = [  # words, what the line must name
    # train
    ("train nosuch --out x", "nosuch"),
    ("train digit --out x", "did you mean digits"),
    ("train folder: --out x", "folder:"),
    ("train folder:nowhere --out x", "nowhere: no such folder"),
    ("train folder:empty --out x", "empty: 0 class folders"),
    ("train folder:one-class --out x", "one-class: 1 class folders"),
    ("train mnist --out x --size 14", "size is 14"),
    ("train digits --out x --preset huge", "'huge'"),
    ("train digits --out x --set rounds", "'rounds' has no value"),
    ("train digits --out x --set rounds=many", "rounds = 'many'"),
    ("train digits --out x --set rounds=-1", "rounds = '-1'"),
    ("train digits --out x --set nonsense=1", "nonsense"),
    ("train digits --out x --set adversary.nonsense=1", "adversary.nonsense"),
    ("train digits --out x --set negatives.surrogate.share=2", "surrogate.share = '2'"),
    (
        "train digits --out x --set negatives.surrogate.share=1 --set negatives.surrogate.layers=q(2)",
        "surrogate.layers",
    ),
    ("train digits --out x --set nonsense.epsilon=1", "'nonsense.epsilon'"),
    ("train digits --out x --set adversary.epsilon=2", "adversary.epsilon = '2'"),
    ("train digits --out x --set adversary.epsilon=nan", "adversary.epsilon = 'nan'"),
    ("train digits --out x --set encoder=c(4,16)q(2)", "'q' at column 8"),
    ("train digits --out x --set loss=3", "loss = '3'"),
    ("train digits --out x --label-rule guess", "'guess'"),
    ("train digits --out x --score guess", "'guess'"),
    ("train digits --out x --device nosuch", "'nosuch'"),
    ("train digits --out x --seed 9223372036854775808", "9223372036854775808"),
    ("train digits --out x --resume", "x holds no training to resume; leave --resume out"),
    ("train digits --out ok.npy", "ok.npy cannot be written (ok.npy is a file, no folder)"),
    ("train digits --out ok.npy/x", "ok.npy/x cannot be written (ok.npy is a file, no folder)"),
    ("train digits --method gong --preset smoke --out x --resume", "x holds no training to resume"),
    ("train digits --preset smoke --out copy --resume --seed 1", "copy/state.safetensors was trained with other"),
    ("train digits --preset smoke --out copy --resume --set batch=9", "other settings"),
    # detect
    ("detect nosuch ok.npy", "'nosuch'"),
    ("detect empty ok.npy", "empty/detector.safetensors is no file"),
    ("detect text.png ok.npy", "text.png"),
    ("detect cut.safetensors ok.npy", "cut.safetensors is truncated"),
    ("detect zero.safetensors ok.npy", "zero.safetensors"),
    ("detect flipped.safetensors ok.npy", "flipped.safetensors is damaged"),
    ("detect {state} ok.npy", "state.safetensors is no detector file"),
    ("detect {run} nosuch.png", "nosuch.png"),
    ("detect {run} nosuch.npy", "nosuch.npy"),
    ("detect {run} empty", "empty"),
    ("detect {run} folder.npy", "folder.npy"),
    ("detect {run} text.png", "text.png: is not an image"),
    ("detect {run} cut.png", "cut.png"),
    ("detect {run} text.npy", "text.npy"),
    ("detect {run} zero.npy", "zero.npy"),
    ("detect {run} text.npz", "text.npz"),
    ("detect {run} two.npz", "two.npz holds a, b"),
    ("detect {run} nothing.npz", "nothing.npz"),
    ("detect {run} pickled.npy", "pickled.npy"),
    ("detect {run} words.npy", "words.npy"),
    ("detect {run} number.npy", "number.npy has shape ()"),
    ("detect {run} flat.npy", "flat.npy has shape (6, 64)"),
    ("detect {run} wide.npy", "wide.npy has shape (2, 9, 8)"),
    ("detect {run} high.npy", "high.npy: images reach from 0 to 255"),
    ("detect {run} nan.npy", "nan.npy: images contain NaN"),
    ("detect {run} whole.npy", "whole.npy: images are int64"),
    ("detect {run} none.npy", "none.npy"),
    ("detect {run} ok.npy text.png", "text.png"),
    ("detect {run} ok.npy --fpr 0", "fpr is 0"),
    ("detect {run} ok.npy --fpr 1", "fpr is 1"),
    ("detect {run} ok.npy --fpr nan", "fpr is nan"),
    ("detect {run} ok.npy --fpr 1e-6", "fpr 1e-06 is finer"),
    # evaluate
    ("evaluate nosuch", "'nosuch'"),
    ("evaluate {run} nosuch", "'nosuch'"),
    ("evaluate {run} --images 360", "360 test images"),
    ("evaluate {run} --score guess", "'guess'"),
    ("evaluate {run} --label-rule guess", "'guess'"),
    ("evaluate {run} --size 9", "size is 9"),
    ("evaluate {run} digits --suite none --images 2 --out ok.npy", "ok.npy"),
    ("evaluate mnist-mim digits --out x", "(mnist)"),
    ("evaluate {run} --suite huge", "huge"),
    ("reproduce all --preset huge", "'huge'"),
    ("reproduce all --data nosuch", "nosuch"),
    ("reproduce table1 --preset huge", "'huge'"),
    ("reproduce fig2 --subset 3", "--subset 3"),
    # motivation
    ("motivation --data nosuch", "nosuch"),
    ("motivation --data digits --attack nosuch", "'nosuch'"),
    ("motivation --data digits --preset huge", "'huge'"),
    ("motivation --data digits --images 1079", "1079 training images"),
    ("motivation --data digits --set targets=all", "targets = 'all'"),
    ("motivation --data digits --set rounds=3", "'rounds'"),
    ("motivation --data digits --preset smoke --set classifier=d(9)sm(3)", "end it with sm(10)"),
    ("motivation --data digits --preset smoke --set discriminator=d(9)sm(2)", "end it with sm(1)"),
    ("motivation --data digits --device nosuch", "'nosuch'"),
    ("motivation --data digits --preset smoke --out ok.npy", "ok.npy"),
    # attack
    ("attack nosuch", "'nosuch'"),
    ("attack empty", "empty/detector.safetensors is no file"),
    ("attack cut.safetensors", "cut.safetensors is truncated"),
    ("attack {run} nosuch", "'nosuch'"),
    ("attack {run} --suite huge", "suite = 'huge'"),
    ("attack {run} --norm l1", "norm = 'l1'"),
    ("attack {run} --goal win", "goal = 'win'"),
    ("attack {run} --fpr 0.2", "fpr = 0.2"),
    ("attack {run} --fpr 0", "fpr = 0.0"),
    ("attack {run} --fpr nan", "fpr = nan"),
    ("attack {run} --epsilon inf", "epsilon = inf"),
    ("attack {run} --epsilon 3", "epsilon = 3.0"),
    ("attack {run} --suite quick --steps 1 --images 2 --epsilon 1.5", "epsilon = 1.5"),
    ("attack {run} --suite paper --steps 5", "steps = 5"),
    ("attack {run} --suite paper --norm l2", "norm = 'l2'"),
    ("attack {run} --images 360", "360 test images"),
    ("attack {run} --score guess", "'guess'"),
    ("attack {run} --label-rule guess", "'guess'"),
    ("attack {run} --size 9", "size is 9"),
    ("attack {run} --device nosuch", "'nosuch'"),
    ("attack {run} --device meta", "'meta'"),
    ("detect {run} ok.npy --device meta", "'meta'"),
    ("attack {run} --suite quick --steps 1 --images 2 --seed 18446744073709551616", "18446744073709551616"),
    ("attack {run} --save there.npz", "there.npz is there already"),
    ("attack {run} --save a.npy", "a.npy is written as .npz; name it a.npz"),
    ("attack {run} --save a", "name it a.npz"),
    ("attack {run} --suite quick --steps 1 --images 2 --save ok.npy/a.npz", "(ok.npy is a file, no folder)"),
    ("attack {run} --suite quick --steps 1 --images 2 --records there.npz", "there.npz is there already"),
    ("attack {run} --suite quick --steps 1 --images 2 --records ok.npy/a.json", "ok.npy"),
    # calibrate
    ("calibrate nosuch digits --out a", "'nosuch'"),
    ("calibrate {run} nosuch --out a", "'nosuch' is no data set, folder or file"),
    ("calibrate {run} digits --out there.npz", "there.npz is there already"),
    ("calibrate {run} digits --out empty", "empty is a folder"),
    ("calibrate {run} digits --fpr 1.5 --out a", "fpr is 1.5"),
    ("calibrate {run} digits --fpr 0.001 --out a", "give at least 999 benign images"),
    ("calibrate {run} empty --out a", "empty: is a folder without files"),
    # certify
    ("certify nosuch", "'nosuch'"),
    ("certify {run} nosuch", "'nosuch'"),
    ("certify {run} --epsilon 1.1", "epsilon is 1.1; in L∞ give at most 1"),
    ("certify {run} --norm l2", "--norm l2: give --epsilon"),
    ("certify {run} --epsilon 0.1 --epsilon nan", "epsilons.1 = nan"),
    ("certify {run} --fpr 1", "fprs.0 = 1.0"),
    ("certify {run} --fpr 0.0001 --images 2", "fpr 0.0001 is finer"),
    ("certify {run} --part train", "part = 'train'"),
    ("certify {run} --images 360", "360 test images"),
    ("certify {run} --score guess", "'guess'"),
    ("certify {run} --records there.npz", "there.npz is there already"),
    ("certify {run} --records ok.npy/a.json", "ok.npy"),
    ("attack {run} --suite quick --steps 1 --images 2 --records empty", "empty"),
    # demo, data and zoo
    ("demo --preset huge", "'huge'"),
    ("demo --preset smoke --out ok.npy", "ok.npy"),
    ("data fetch nosuch", "'nosuch'"),
    ("data prepare digits --photos empty", "'digits' is a data set of its own"),
    ("data prepare a.b --photos empty", "'a.b' cannot name a data set"),
    ("data prepare pets --photos nowhere", "nowhere: no such folder"),
    ("data prepare pets --photos empty", "empty: 0 class folders"),
    ("data prepare pets --photos one-class", "one-class: 1 class folders"),
    ("data prepare pets --photos one-class --size 2", "size is 2"),
    ("data prepare pets --photos one-class --boxes text.png", "text.png: is no .csv file"),
    ("data prepare pets --photos one-class --boxes empty", "empty: holds no .xml files"),
    ("data prepare cats-dogs --photos nowhere", "nowhere: no such folder"),
    ("data prepare cats-dogs --photos empty", "empty: 2,028 of 2,028 photographs"),
    ("data prepare cats-dogs --photos empty --size 28", "size is 28"),
    ("data fetch cats-dogs", "run `twinlatent data prepare cats-dogs --photos DIR`"),
    ("train cats-dogs --out x", "run `twinlatent data prepare cats-dogs --photos DIR`"),
    ("data show nosuch", "'nosuch'"),
    ("data show digits --size 9", "size is 9"),
    ("data show digits --out ok.npy/x.png", "ok.npy"),
    ("data show digits --out empty", "empty is a folder; name a PNG file, such as empty/contact-sheet.png"),
    ("zoo show nosuch", "'nosuch'"),
]

USAGE = [  # words, what the message must name; these are refused before anything of ours runs
    ("train digits", "--out"),
    ("train", "data"),
    ("train digits --out x --seed -1", "--seed"),
    ("train digits --out x --seed one", "--seed"),
    ("train digits --out x --threads 0", "--threads"),
    ("train digits --out x --size 3", "--size"),
    ("train digits --out x --nonsense", "--nonsense"),
    ("detect", "model"),
    ("detect {run}", "files"),
    ("detect {run} ok.npy --fpr much", "--fpr"),
    ("evaluate {run} --images 0", "--images"),
    ("evaluate {run} --epsilon 2", "--epsilon"),
    ("evaluate {run} --epsilon nan", "--epsilon"),
    ("attack", "model"),
    ("attack {run} --images 0", "--images"),
    ("attack {run} --images few", "--images"),
    ("attack {run} --epsilon -0.1", "--epsilon"),
    ("attack {run} --epsilon nan", "--epsilon"),
    ("attack {run} --steps 0", "--steps"),
    ("attack {run} --seed -1", "--seed"),
    ("attack {run} --threads 0", "--threads"),
    ("nonsense", "nonsense"),
    ("data nonsense", "nonsense"),
    ("data prepare pets", "--photos"),
    ("data prepare --photos empty", "name"),
]


@pytest.mark.parametrize(("words", "named"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_ends_in_one_line(words: str, named: str, bad: dict[str, Path], program: Callable) -> None:
    quiet = [] if words.split()[0] in ("detect", "zoo") else ["--no-progress"]
    assert named in program(*words.format(**bad).split(), *quiet).refusal


@pytest.mark.parametrize(("words", "named"), USAGE, ids=[words for words, _ in USAGE])
def test_wrong_usage_ends_in_one_line_too(words: str, named: str, bad: dict[str, Path], program: Callable) -> None:
    done = program(*words.format(**bad).split())
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(rf"twinlatent: .*{named}.* \(see twinlatent( [a-z]+)* --help\)\n", done.err)


def test_a_process_of_its_own_prints_no_traceback_either(bad: dict[str, Path], outside: Callable) -> None:
    assert "text.npy" in outside("detect", bad["run"], "text.npy").refusal


def test_nothing_is_written_where_the_input_was_bad(bad: dict[str, Path], program: Callable, tmp_path: Path) -> None:
    for words in ("train nosuch --out x", "train digits --out x --preset huge", "train digits --out x --set rounds=0",
                  "train digits --out x --score guess", "train digits --out x --device nosuch",
                  "evaluate {run} nosuch --out x", "data show nosuch --out x",
                  "data prepare pets --photos one-class --out x", "data prepare cats-dogs --photos empty --out x",
                  "attack {run} nosuch --save x/a.npz", "attack {run} --suite huge --save x/a.npz",
                  "attack {run} --images 360 --save x/a.npz"):  # fmt: skip
        assert program(*words.format(**bad).split()).status == 1
        assert not (tmp_path / "x").exists(), words


# --- arrays and archives --------------------------------------------------------------------------------------------


def test_an_array_of_colour_images_is_refused(trained: Path, program: Callable) -> None:
    np.save("colour.npy", np.zeros((2, 3, 8, 8), np.float32))
    assert "colour.npy" in program("detect", trained, "colour.npy").refusal


def test_half_an_archive_ends_in_one_line(bad: dict[str, Path], program: Callable) -> None:
    assert "cut.npz" in program("detect", bad["run"], "cut.npz").refusal
    gc.collect()


def test_a_damaged_archive_ends_in_one_line(trained: Path, program: Callable) -> None:
    np.savez_compressed("damaged.npz", images=np.random.default_rng(0).random((20, 8, 8), np.float32))
    content = bytearray(Path("damaged.npz").read_bytes())
    content[200:260] = b"x" * 60
    Path("damaged.npz").write_bytes(content)
    assert "damaged.npz" in program("detect", trained, "damaged.npz").refusal
