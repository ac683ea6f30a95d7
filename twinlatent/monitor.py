"""Whether the images that a server sees are still like those it was calibrated on: a test on the log of its verdicts.

A p-value says how many of m calibration images are at least as suspicious, so it is a *rank* among them: rank 1 is more
suspicious than all, rank m + 1 than none. If images and calibration images come from one source, all orders of their
scores are equally likely. Then the next image falls between two neighbouring calibration scores with probability

    P(rank = j | before) = (1 + images before that had rank j) / (m + 1 + images before),

Pólya's urn. That is exact for calibration images that stay the same however long the log is, while p-values alone are
neither independent then nor, given these calibration images, uniform.

Images of equal scores are ordered at random, and the law holds again: an image as suspicious as e calibration images
has one of e + 1 ranks, drawn by the same law among images of that score alone, alike each time a log is read.

Against this law we bet (Vovk, Nouretdinov and Gammerman 2003): each bet multiplies its capital by what it wins, so
that it stays 1 on average while the law holds. By Ville's inequality the capital then ever reaches T with probability
at most 1 / T, at whatever times it is looked at. The bets are densities ε u^(ε − 1) in the place u of a rank between 0
and 1, or in 1 − u, averaged over the places that a rank can have. After n images the share 1 / (n + 1) of all capital
is put on all bets anew, so that a change is noticed that comes late (as in the jumper martingale of Vovk et al. 2021).
"""

import json
import math
import warnings
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinlatent.errors import TwinlatentError, brief

Floats = NDArray[np.float64]
Key = tuple[str, str, int]
"""What has ranks of its own: detector, class ("" for all of them), and how many calibration images."""

THRESHOLD = 100.0
POWERS = np.array([0.2, 0.4, 0.6, 0.8])
"""ε of the bets, towards small places (suspicious images) and towards large ones."""
PRIOR = np.array([0.5, *[0.25 / len(POWERS)] * (2 * len(POWERS))])
"""Shares of the capital at the beginning: half of it is not bet, a quarter goes to either side."""
SHOWN, MOST = 2000, 10**7
"""Points of a curve that a figure draws, at most; calibration images that a row can speak of."""


class LoggedVerdict(BaseModel):
    """What a row of the log says that matters here; other names in it are left alone."""

    model_config = ConfigDict(frozen=True)

    time: str = ""
    model: str
    detector: str
    label: str
    p_value: float = Field(gt=0, le=1)
    adversarial: bool
    among: int = Field(ge=0, le=MOST)
    pooled: bool
    equal: int | None = Field(None, ge=0, le=MOST)
    """How many calibration images are exactly as suspicious; None: the row is of a log that does not say it."""

    @property
    def rank(self) -> int:
        """Place among the calibration images, 1 (more suspicious than all) to among + 1; of several the last."""
        return max(1, round(self.p_value * (self.among + 1)))  # below 1 / (among + 1) where a finer rate was asked


def read_log(path: Path, say: Callable[[str], None] = warnings.warn) -> Iterator[LoggedVerdict]:
    """The rows of a log that `twinlatent serve --log` writes; a last one that is still being written is left out.

    So are rows that a killed server or a full disk cut short.

    Args:
        path: of the log.
        say: gets a line at the end on rows that were cut short.

    Raises:
        TwinlatentError: the file cannot be read, or a row is something else; the line names it.
    """
    cut = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    continue
                if _is_cut(line):
                    cut.append(number)
                else:
                    yield _row(line, path, number)
    except OSError as error:
        raise TwinlatentError(f"{path} cannot be read ({error.strerror}); give what serve --log wrote") from None
    if cut:
        say(f"{path}: {len(cut)} rows that were cut short are left out, the first is row {cut[0]}")


def _is_cut(line: bytes) -> bool:
    """Whether it begins as a row does and does not end as one."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith(b"{")
    return False


def _row(line: bytes, path: Path, number: int) -> LoggedVerdict:
    try:
        return LoggedVerdict.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        what = " ".join(map(str, (*first["loc"], first["msg"])))
        raise TwinlatentError(f"{path}, row {number}, is no verdict of twinlatent serve --log ({brief(what)}); "
                              "take the row out") from None  # fmt: skip


class Urn:
    """How many images had each rank among the same m calibration images (a Fenwick tree: sums take log m steps)."""

    def __init__(self, among: int) -> None:
        """Set up.

        Args:
            among: m.
        """
        self.ranks, self.total = among + 1, 0
        self._tree = [0] * (self.ranks + 1)

    def _up_to(self, rank: int) -> int:
        found = 0
        while rank > 0:
            found += self._tree[rank]
            rank -= rank & -rank
        return found

    def place(self, rank: int) -> tuple[float, float]:
        """Where that rank lies between 0 and 1: the law's probability of smaller ranks, and of those and itself.

        Example:
            >>> urn = Urn(among=1)
            >>> urn.place(1), urn.place(2)
            ((0.0, 0.5), (0.5, 1.0))
            >>> urn.add(1)
            >>> urn.place(1)[1] == 2 / 3
            True
        """
        whole = self.ranks + self.total
        return (rank - 1 + self._up_to(rank - 1)) / whole, (rank + self._up_to(rank)) / whole

    def draw(self, chance: float) -> int:
        """The rank whose place holds `chance`, in [0, 1): where that is uniform, a draw by the law.

        Example:
            >>> [Urn(among=3).draw(chance) for chance in (0.0, 0.24, 0.25, 0.99)]
            [1, 1, 2, 4]
        """
        return 1 + bisect_right(range(1, self.ranks), chance, key=lambda rank: self.place(rank)[1])

    def add(self, rank: int) -> None:
        """An image had that rank."""
        self.total += 1
        while rank <= self.ranks:
            self._tree[rank] += 1
            rank += rank & -rank


def winnings(low: float, high: float) -> Floats:
    """By what each bet multiplies its capital when a rank lies from `low` to `high`: its density there, on average.

    Of no bet at all, of the powers towards 0, of those towards 1.
    """
    width = high - low
    down, up = high**POWERS - low**POWERS, (1 - low) ** POWERS - (1 - high) ** POWERS
    return np.concatenate([[1.0], down / width, up / width])


class Capital:
    """Of all bets together.

    Attributes:
        log: natural logarithm of the whole, 0 at the beginning.
    """

    def __init__(self) -> None:
        self.log, self._shares, self._bets = 0.0, PRIOR.copy(), 0

    def bet(self, low: float, high: float) -> None:
        """A rank lies from `low` to `high`."""
        self._bets += 1
        fresh = 1 / (self._bets + 1)
        won = ((1 - fresh) * self._shares + fresh * PRIOR) * winnings(low, high)
        whole = float(won.sum())
        self.log += math.log(whole)
        self._shares = won / whole


@dataclass(frozen=True)
class Moment:
    """In a log: the number of an image of a model, from 1, and the time of its row; None and "" if there is none."""

    image: int | None = None
    time: str = ""


@dataclass(frozen=True)
class Watched:
    """What the log says of one model.

    Attributes:
        model: its name.
        images: how many.
        flagged: how many of them were flagged.
        log_capital: natural logarithm after each image, (images,).
        places: of each image the middle of where its rank lies, (images,) in (0, 1); uniform while the law holds.
        threshold: T.
        alarm: when the capital first reached T; without an image while it has not.
        since: when it began to grow to that, the likely beginning of the change.
        unsaid: rows that do not say how many calibration images are as suspicious; they are taken to say 0.
    """

    model: str
    images: int
    flagged: int
    log_capital: Floats
    places: Floats
    threshold: float
    alarm: Moment
    since: Moment
    unsaid: int = 0

    @property
    def drifted(self) -> bool:
        """Whether there is an alarm."""
        return self.alarm.image is not None

    @property
    def highest(self) -> float:
        """The highest capital so far, infinite where a float cannot hold it."""
        highest = float(self.log_capital.max(initial=0.0))
        return math.exp(highest) if highest < 700 else math.inf

    @property
    def row(self) -> dict[str, Any]:
        """As JSON can hold it, without the curves."""
        return {"model": self.model, "images": self.images, "flagged": self.flagged,
                "log10_highest_capital": round(float(self.log_capital.max(initial=0.0)) / math.log(10), 3),
                "threshold": self.threshold, "alarm": self.drifted, "alarm_image": self.alarm.image,
                "alarm_time": self.alarm.time, "since_image": self.since.image,
                "since_time": self.since.time, "unsaid": self.unsaid}  # fmt: skip


def watch(verdicts: Iterable[LoggedVerdict], threshold: float = THRESHOLD, seed: int = 0) -> dict[str, Watched]:
    """Test the verdicts of each model, in their order.

    While the images of a model and its calibration images are exchangeable, an alarm is ever raised with probability at
    most 1 / threshold, over the draw of both and of ranks among equal scores: a test a model. Where rows do not say how
    many scores are equal, that holds only if none are.

    Args:
        verdicts: of one model or several.
        threshold: T, above 1.
        seed: of the ranks that are drawn among equal scores. Choose it before you look.

    Raises:
        TwinlatentError: a threshold of 1 or less, or no verdicts.
    """
    if not threshold > 1:
        raise TwinlatentError(f"threshold is {threshold}; give a number above 1, such as 100 for 1 false alarm in 100")
    watching: dict[str, _Watching] = {}
    for one in verdicts:
        if one.model not in watching:
            watching[one.model] = _Watching(threshold, seed)
        watching[one.model].see(one)
    if not watching:
        raise TwinlatentError("the log has no verdicts yet; ask the server something, or wait")
    return {model: one.result(model) for model, one in watching.items()}


class _Watching:
    """The verdicts of one model, one after the other."""

    def __init__(self, threshold: float, seed: int) -> None:
        self.threshold, self.flagged, self.alarm, self.since = threshold, 0, Moment(), Moment()
        self.unsaid, self._random = 0, np.random.default_rng(seed)
        self._urns: dict[Key, Urn] = {}
        self._equal: dict[tuple[Key, int], Urn] = {}
        self._capital, self._lowest, self._turned = Capital(), 0.0, True
        self._logs, self._places = array("d"), array("d")

    def see(self, one: LoggedVerdict) -> None:
        # Other calibration images, or another class of them: another urn. The capital is one.
        key = one.detector, "" if one.pooled else one.label, one.among
        if key not in self._urns:
            self._urns[key] = Urn(one.among)
        rank = self._rank(key, one)
        low, high = self._urns[key].place(rank)
        self._urns[key].add(rank)
        self._capital.bet(low, high)
        log, here = self._capital.log, Moment(len(self._logs) + 1, one.time)
        self._logs.append(log)
        self._places.append((low + high) / 2)
        self.flagged += one.adversarial
        self.unsaid += one.equal is None
        if self.alarm.image is None:
            self.since = here if self._turned else self.since
            self._turned = log <= self._lowest
            self._lowest = min(log, self._lowest)
            if log >= math.log(self.threshold):
                self.alarm = here

    def _rank(self, key: Key, one: LoggedVerdict) -> int:
        if not one.equal:
            return one.rank
        of_score = self._equal.setdefault((key, one.rank), Urn(one.equal))
        of_score.add(drawn := of_score.draw(self._random.random()))
        return max(1, one.rank - one.equal - 1 + drawn)

    def result(self, model: str) -> Watched:
        logs, places = np.array(self._logs), np.array(self._places)
        since = Moment() if self.alarm.image is None else self.since
        return Watched(model, len(logs), self.flagged, logs, places, self.threshold, self.alarm, since, self.unsaid)


def plot(watched: Mapping[str, Watched], path: Path) -> None:
    """Draw the capital of each model, and how its p-values lie beside uniform ones; .svg, .pdf or .png.

    Raises:
        TwinlatentError: another kind of file.
    """
    from matplotlib.figure import Figure

    from twinlatent.drawing import canvas as drawing

    with drawing.style():
        figure = Figure(figsize=(2 * drawing.WIDTH, 2.4 * len(watched)), layout="constrained")
        for (curve, bars), one in zip(figure.subplots(len(watched), 2, squeeze=False), watched.values(), strict=True):
            some = np.unique(np.linspace(0, one.images - 1, min(one.images, SHOWN)).astype(int))
            curve.plot(some + 1, one.log_capital[some] / math.log(10), color=drawing.COLOURS[0])
            curve.axhline(math.log10(one.threshold), color=drawing.COLOURS[1], linestyle="--", label="alarm")
            curve.set(title=one.model, xlabel="images", ylabel="log10 of the capital")
            curve.legend()
            bins = min(20, max(2, one.images // 10))
            bars.hist(one.places, bins=bins, range=(0, 1), density=True, color=drawing.BENIGN_COLOUR)
            bars.axhline(1, color=drawing.COLOURS[1], linestyle="--", label="like the calibration images")
            bars.set(title=one.model, xlabel="place among images before: 0 is most suspicious", ylabel="density")
            bars.legend()
    drawing.save(figure, path)
