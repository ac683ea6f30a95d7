"""Pictures in any format that Pillow reads, as values in [0, 1], grey or of three colours.

Pillow hands out some pictures other than their formats mean them: TIFF with white as zero upside down where a value has
16 bits or is a fraction, 12 bits as if they were 16, signed bytes as if they had no sign, and transparent values of
PNG of 2, 4 and 16 bits not, or as others. Those are put right here, or refused.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from twinlatent.arguments import text, whole
from twinlatent.data.kinds import UnreadableFileError, foreign, head_of
from twinlatent.errors import TwinlatentError

COLOURS = 3
JPEGS = ("JPEG", "MPO")  # an MPO is a JPEG with further views of the same scene behind it, as some phones write
SIXTEEN = ("PNG", "PPM", "TIFF", "IM")  # formats whose 32-bit mode holds 16-bit values, or is taken to
SMALL = {"L;2": 4, "L;4": 16}  # layouts of grey PNG: how many shades
WHITES = (1, 255, 65535)
DARKEST = 1 / 255 + 1e-6  # as bright as a picture must become somewhere, unless all of it is of one shade
TINT = 16  # of 255: grey pictures of cameras and scanners have red, green and blue as near as that
FAR = 8  # times brighter than all of a picture of deep whole numbers, its white is not the one that was meant
SAVE = "save it as a PNG of 8 or 16 bits"
RESCALE = "rescale it so that white is 255 or 65535"

SUBFILE, BITS, PHOTOMETRIC, SAMPLE_FORMAT, DNG = 254, 258, 262, 339, 50706  # tags of TIFF
WHITE_IS_ZERO, SIGNED, PREVIEW = 0, 2, 1


@dataclass(frozen=True)
class Look:
    """What is taken of a picture.

    Attributes:
        channels: 1 for grey (ITU-R 601 luma), 3 for red, green and blue.
        background: colour that transparent parts are shown on: a name, as in CSS, or #rrggbb.

    Raises:
        TwinlatentError: another number of channels, or no colour.
    """

    channels: int = 1
    background: str = "white"

    def __post_init__(self) -> None:
        if whole("channels", self.channels, least=0) not in (1, COLOURS):
            raise TwinlatentError(f"channels is {self.channels}; give 1 for grey or 3 for colour")
        name = text("background", self.background)
        try:
            colour: tuple[int, ...] = ImageColor.getrgb(name)
        except ValueError:
            colour = ()
        if len(colour) != COLOURS:
            raise TwinlatentError(f"background {self.background!r} is no colour; give a name such as white, or #rrggbb")

    @property
    def shade(self) -> NDArray[np.float32]:
        """The background as values in [0, 1]: of grey (), of colour (3,)."""
        pixel = Image.new("RGB", (1, 1), self.background).convert("L" if self.channels == 1 else "RGB")
        shade: NDArray[np.float32] = np.asarray(pixel, np.float32)[0, 0] / np.float32(255)
        return shade


GREY = Look()


class TooManyPixelsError(UnreadableFileError):
    """A picture that is not decoded, since it would be too large then."""


class _MisfitError(ValueError):
    """A picture whose grey values are not known, and what to do about it."""

    def __init__(self, fault: str, mend: str = SAVE) -> None:
        super().__init__(fault)
        self.mend = mend


def read_image(path: Path, size: int, look: Look = GREY) -> NDArray[np.float32]:
    """Read one image as float32 (size, size), or (size, size, 3) in colour, in [0, 1].

    The first of several pictures in a file, upright by its EXIF orientation, transparent parts shown on the look's
    background, 16-bit grey in full precision, resized to a square whatever its shape. An image that already is
    `size` by `size` keeps its exact values. Whole numbers of 32 bits are divided by the first of `WHITES` that none of
    them exceeds. Pictures of 16 and 32 bits that are nowhere an eighth as bright as white are refused, unless all of
    one shade.

    Raises:
        UnreadableFileError: the file is no image, is damaged, has so many pixels that Pillow suspects an attack, or has
            values that could mean several things.
    """
    with open_image(path) as image:
        values = pixel_values(image, look)
    return resized(values, size, size)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file, and turn whatever goes wrong with it within the block into an `UnreadableFileError`."""
    with opened(path, path, head_of(path)) as image:
        yield image


@contextmanager
def opened(source: Path | IO[bytes], path: Path | str, head: bytes) -> Iterator[Image.Image]:
    """The same of a file or of bytes in memory that start with `head`; errors call it `path`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities in metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                _check_opened(image)
                yield image
    except UnreadableFileError:
        raise
    except _MisfitError as error:
        raise UnreadableFileError(path, str(error), error.mend) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixelsError(path, "has too many pixels to be opened safely", "shrink it") from None
    except Exception as error:  # Pillow's readers raise nearly every type on damaged files
        raise foreign(path, head) or _unreadable(path, head, error) from None


def _check_opened(image: Image.Image) -> None:
    """Refuse what Pillow would decode otherwise than it is meant, as far as that is known before."""
    if image.format == "EPS":  # Pillow would have another program draw it
        raise UnidentifiedImageError
    if image.format == "PNG" and "transparency" in image.info:
        _check_transparency(image, _layout(image))
    tags = _tags(image)
    if DNG in tags or (tags.get(SUBFILE, 0) & PREVIEW and pictures_in(image) > 1):
        raise _MisfitError("is a raw photograph, or begins with a preview")


def _layout(image: Image.Image) -> str:
    """How the values of an image that is not decoded yet lie in its file, in Pillow's words."""
    (tile, *_) = getattr(image, "tile", None) or [("", (), 0, "")]
    return str(tile[3])


def _check_transparency(image: Image.Image, layout: str) -> None:
    if layout.startswith("RGB;16"):
        raise _MisfitError("has a transparent colour of 16 bits")  # Pillow compares eight of them
    if layout in SMALL and image.info["transparency"] < SMALL[layout]:
        image.info["transparency"] *= 255 // (SMALL[layout] - 1)  # as Pillow scales the pixels, but not this


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}


def _unreadable(path: Path | str, head: bytes, error: Exception) -> UnreadableFileError:
    if not isinstance(error, UnidentifiedImageError):
        reason = " ".join(str(error).split()) or type(error).__name__
        return UnreadableFileError(path, f"cannot be read as an image ({reason})", "put a sound copy in its place")
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return UnreadableFileError(path, "is a TIFF or raw photograph, damaged or of a kind that cannot be read", SAVE)
    return UnreadableFileError(path, "is not an image", "give PNG, JPEG or the like")


def pictures_in(image: Image.Image) -> int:
    """How many pictures a file holds; further views in a JPEG do not count."""
    return 1 if image.format in JPEGS else int(getattr(image, "n_frames", 1))


def in_colour(image: Image.Image) -> bool:
    """Whether an opened image has a pixel that is not grey; one whose format knows colours may have none."""
    if image.mode.startswith(("I", "F", "L", "1")):
        return False
    return bool(np.ptp(np.asarray(image.convert("RGB"), np.int16), axis=-1).max(initial=0) > TINT)


def pixel_values(image: Image.Image, look: Look = GREY) -> NDArray[np.float32]:
    """Values in [0, 1] of an opened image of any mode, upright by its EXIF data: (H, W), in colour (H, W, 3)."""
    deep = ";16" in _layout(image)  # in colour or with alpha, of which Pillow keeps eight bits
    values = _values(ImageOps.exif_transpose(image), image, deep, look)
    darkest, brightest = values.min(), values.max()
    if not (darkest >= 0 and brightest <= 1):
        raise _MisfitError(
            f"has grey values from {darkest:.6g} to {brightest:.6g}, not from 0 for black to 1 for white"
        )
    return values


def almost_black(values: NDArray[np.float32]) -> bool:
    """Whether images in [0, 1] show something, but nowhere brighter than one 255th: 0 and 1 for 0 and 255, perhaps."""
    return bool(values.min() < values.max() <= DARKEST)


def far_from_white(stored: NDArray[Any], white: int) -> bool:
    """Whether whole numbers show something, but all of it below an eighth of white: meant for another, perhaps."""
    return bool(stored.min() < stored.max() < white / FAR)


def _values(upright: Image.Image, image: Image.Image, deep: bool, look: Look) -> NDArray[np.float32]:
    """Values of an image at its own size, by what its file says of them."""
    tags = _tags(image)
    bits = max(np.atleast_1d(tags.get(BITS, 0)))
    if SIGNED in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1)) and bits < 32:
        raise _MisfitError("has signed grey values, so its black and white are not known")
    if image.mode.startswith(("I", "F")):
        stored = np.asarray(upright)
        white = _white(image, int(bits), stored)
        values = _shown(stored, white, deep=image.mode != "F")
        if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
            values = np.float32(1) - values
        clear = image.info.get("transparency") if image.format == "PNG" else None
        if look.channels == COLOURS:
            stored, values = stored[..., None], np.repeat(values[..., None], COLOURS, axis=-1)
        return values if clear is None else np.where(stored == clear, look.shade, values)
    return _shown(_bytes(upright, look), 255, deep)


def _shown(stored: NDArray[Any], white: int, deep: bool) -> NDArray[np.float32]:
    if deep and far_from_white(stored, white):
        raise _MisfitError(f"is far too dark: its largest value is {stored.max()}, with {white} for white", RESCALE)
    values = stored.astype(np.float32) / np.float32(white)
    if almost_black(values):
        raise _MisfitError("is almost black, as if its values were meant for another white")
    return values


def _white(image: Image.Image, bits: int, stored: NDArray[Any]) -> int:
    """The value of white in a mode of more than eight bits.

    Of 32-bit TIFF it is the first that nothing exceeds, 1 only if 0 is there too.
    """
    if image.mode == "F":
        return 1
    if image.mode == "I" and image.format not in SIXTEEN:
        raise _MisfitError("has whole grey values without a known white")
    if image.format == "TIFF" and bits == 32:
        whites = WHITES if stored.min() < stored.max() else WHITES[1:]
        return next((white for white in whites if stored.max() <= white), WHITES[-1])
    return 2**bits - 1 if 8 < bits < 16 else 65535


def _bytes(upright: Image.Image, look: Look) -> NDArray[np.uint8]:
    if upright.mode == "La":
        upright = upright.convert("LA")
    if upright.has_transparency_data:
        ground = Image.new("RGBA", upright.size, look.background)
        upright = Image.alpha_composite(ground, upright.convert("RGBA"))
    if look.channels == COLOURS or upright.mode not in ("1", "L"):
        upright = upright.convert("RGB")
    return np.asarray(upright if look.channels == COLOURS else upright.convert("L"))


def resized(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear, over all pixels that fall on one when shrinking, so that values stay in the range they had."""
    if values.shape[:2] == (height, width):
        return values
    if values.ndim == COLOURS:
        return np.stack([resized(np.ascontiguousarray(part), height, width) for part in np.moveaxis(values, -1, 0)], -1)
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)
