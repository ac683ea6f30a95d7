"""Which pieces of which photographs make a data set: folders of classes, or boxes from a table or from XML files."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from twinlatent.data.folder import class_folders, class_name, files_below
from twinlatent.data.kinds import check_file
from twinlatent.data.photos import Piece, by_name
from twinlatent.errors import TwinlatentError

COLUMNS = ("file", "crop_x", "crop_y", "crop_side")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Labelled:
    """A piece of a photograph and the name of its class."""

    piece: Piece
    class_name: str


@dataclass(frozen=True)
class Box:
    """A line of a table, or an object of an XML file.

    Attributes:
        file: name of the photograph, or its path below the folder of photographs.
        box: left, top, width, height in pixels, from 0.
        class_name: empty if it is that of the photograph's folder.
    """

    file: str
    box: tuple[int, int, int, int]
    class_name: str


def wanted(photos: Path, boxes: Path | None) -> tuple[list[Labelled], dict[str, str]]:
    """What to cut out of the photographs below `photos`, in a fixed order, and which files of `boxes` are not there.

    Args:
        photos: the folder. Without boxes it holds a folder a class, and each file anywhere below one is a photograph.
        boxes: None for the largest centred square of each photograph; or a .csv file with the columns of `COLUMNS`
            (the square's left, top and side in pixels), and `label` unless photographs lie in folders a class; or a
            folder of Pascal VOC XML files, as the Oxford-IIIT Pet data set has, whose objects' names are the classes.

    Returns:
        The pieces, and why there is none for a file that `boxes` names.

    Raises:
        TwinlatentError: a folder or file is missing or unreadable, there are no boxes, a box is no box, none of the
            files that `boxes` names is found, or the name of a class cannot be shown.
    """
    if boxes is None:
        return [labelled for folder in class_folders(photos) for labelled in _of_class(folder)], {}
    listed = list(_from_xml(boxes) if boxes.is_dir() else _from_table(boxes))
    if not listed:
        raise TwinlatentError(f"{boxes}: holds no boxes; give at least one a photograph")
    places = by_name(photos, {Path(box.file).name for box in listed})
    pieces: list[Labelled] = []
    absent: dict[str, str] = {}
    for box in listed:
        named = places[Path(box.file).name]
        found = [path for path in named if path == photos / box.file] or named
        if len(found) == 1:
            name = class_name(box.class_name or _folder_of(found[0], photos), boxes)
            pieces.append(Labelled(Piece(found[0], box.box), name))
        else:
            absent[box.file] = f"{len(found)} files below {photos} are called so"
    if not pieces:
        several = next((file for file in absent if places[Path(file).name]), None)
        raise _none_found(f"{boxes}: none of its {len(absent):,} files", photos, several and absent[several])
    return pieces, absent


def _none_found(files: str, photos: Path, several: str | None) -> TwinlatentError:
    if several is None:
        return TwinlatentError(f"{files} lies below {photos}; give the folder of the photographs that it names")
    return TwinlatentError(f"{files} can be told ({several}); name each by its path below that folder")


def _of_class(folder: Path) -> list[Labelled]:
    """All photographs of a class, whole."""
    name = class_name(folder.name, folder.parent)
    found = [Labelled(Piece(path), name) for path in files_below(folder, "give a folder")]
    if not found:
        raise TwinlatentError(f"{folder}: holds no files; put the photographs of its class there, or remove it")
    return found


def _folder_of(path: Path, photos: Path) -> str:
    """The folder right below `photos` that `path` lies in."""
    first, *rest = path.relative_to(photos).parts
    if not rest:
        raise TwinlatentError(f"{path}: has no class; put it into a folder of its class, or add a column 'label'")
    return first


# --- tables ---------------------------------------------------------------------------------------------------------


def _from_table(path: Path) -> Iterator[Box]:
    if path.suffix.lower() != ".csv":
        raise TwinlatentError(f"{path}: is no .csv file and no folder of .xml files; give one of these as boxes")
    check_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise TwinlatentError(f"{path}: has no column {missing[0]!r}; it needs {', '.join(COLUMNS)}")
            for row in table:
                yield _square(row, f"{path}, line {table.line_num}")
    except OSError as error:
        raise TwinlatentError(f"{path}: cannot be read ({error.strerror}); give a .csv file of boxes") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TwinlatentError(f"{path}: is no table of text ({error}); give a .csv file of boxes") from None


def _square(row: Mapping[str, str | None], where: str) -> Box:
    left, top, side = (_whole(row[name], f"{where}: {name}") for name in COLUMNS[1:])
    if side < 1:
        raise TwinlatentError(f"{where}: crop_side is {side}; give at least 1 pixel")
    if not row["file"]:
        raise TwinlatentError(f"{where}: names no file; fill in the column 'file'")
    return Box(row["file"], (left, top, side, side), (row.get("label") or "").strip())


def _whole(text: str | None, what: str) -> int:
    """A number of pixels; fractions, as some programs write them, are rounded."""
    if not (text or "").strip():
        raise TwinlatentError(f"{what} is empty; give a number of pixels")
    if not re.fullmatch(r"\s*-?\d{1,9}(\.\d*)?\s*", text or ""):
        raise TwinlatentError(f"{what} is {text!r:.60}; give a number of pixels")
    return round(float(text or ""))


# --- Pascal VOC -----------------------------------------------------------------------------------------------------


def _from_xml(folder: Path) -> Iterator[Box]:
    below = files_below(folder, "give one of Pascal VOC annotations as boxes")
    paths = [path for path in below if path.suffix.lower() == ".xml"]
    if not paths:
        raise TwinlatentError(f"{folder}: holds no .xml files; give a folder of Pascal VOC annotations as boxes")
    for path in paths:
        check_file(path)
        try:
            root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:  # of an unknown encoding
            raise TwinlatentError(f"{path}: is no sound XML file ({error}); mend or remove it") from None
        name = (root.findtext("filename") or "").strip() or f"{path.stem}.jpg"
        for thing in root.iter("object"):
            yield Box(name, _corners(thing, path), _name_of(thing, path))


def _name_of(thing: ElementTree.Element, path: Path) -> str:
    name = (thing.findtext("name") or "").strip()
    if not name:
        raise TwinlatentError(f"{path}: an object has no name; name its class, or remove the file")
    return name


def _corners(thing: ElementTree.Element, path: Path) -> tuple[int, int, int, int]:
    """Corners in VOC are counted from 1, and both belong to the box."""
    left, top, right, bottom = (_whole(thing.findtext(f"bndbox/{name}"), f"{path}: {name}") for name in CORNERS)
    if right < left or bottom < top:
        raise TwinlatentError(f"{path}: box {left}, {top}, {right}, {bottom} has no inside; mend or remove the file")
    return left - 1, top - 1, right - left + 1, bottom - top + 1
