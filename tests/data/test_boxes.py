from pathlib import Path

import pytest

from twinlatent.data.boxes import Labelled, wanted
from twinlatent.data.photos import Piece
from twinlatent.errors import TwinlatentError

VOC = """<annotation><folder>OXIIIT</folder><filename>{file}</filename>
<size><width>600</width><height>400</height><depth>3</depth></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><pose>Frontal</pose><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax>
<ymax>{3}</ymax></bndbox></object>"""


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def voc(path: Path, file: str, *objects: tuple) -> Path:
    path.parent.mkdir(exist_ok=True)
    texts = "".join(OBJECT.format(*corners, name=name) for name, *corners in objects)
    path.write_text(VOC.format(file=file, objects=texts), encoding="utf-8")
    return path


def pieces(photos: Path, boxes: Path | None) -> list[tuple]:
    found, absent = wanted(photos, boxes)
    assert absent == {}
    return [(p.piece.path.relative_to(photos).as_posix(), p.piece.box, p.class_name) for p in found]


def test_without_boxes_folders_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "dog/2.jpg", "dog/1.jpg", "cat/deep/3.jpg", "README", ".git/x")
    assert pieces(tmp_path, None) == [("cat/deep/3.jpg", None, "cat"), ("dog/1.jpg", None, "dog"),
                                      ("dog/2.jpg", None, "dog")]  # fmt: skip


def test_the_sample_of_real_boxes(raw_sample: Path) -> None:
    found = pieces(raw_sample, raw_sample / "boxes.csv")
    assert len(found) == 20
    assert found[0] == ("cat.2.jpg", (30, 77, 143, 143), "0")
    assert {label for file, _, label in found if file.startswith("dog")} == {"1"}


def test_a_table_finds_photographs_by_name_or_path_and_classes_by_column_or_folder(tmp_path: Path) -> None:
    photos, table = tmp_path / "photos", tmp_path / "boxes.CSV"
    touch(photos, "cat/deep/1.jpg", "dog/2.jpg", "dog/same.jpg", "cat/same.jpg")
    table.write_text("\ufefffile,crop_x,crop_y,crop_side,label\n1.jpg,1,2,3,\n2.jpg,4.0,5,6,wolf\ndog/same.jpg,0,0,9,\n"
                     "1.jpg,-7,8,9,paw\n", encoding="utf-8")  # fmt: skip
    assert pieces(photos, table) == [
        ("cat/deep/1.jpg", (1, 2, 3, 3), "cat"),
        ("dog/2.jpg", (4, 5, 6, 6), "wolf"),
        ("dog/same.jpg", (0, 0, 9, 9), "dog"),
        ("cat/deep/1.jpg", (-7, 8, 9, 9), "paw"),
    ]


def test_photographs_that_are_absent_or_ambiguous_are_told(tmp_path: Path) -> None:
    photos, table = tmp_path / "photos", tmp_path / "boxes.csv"
    touch(photos, "dog/same.jpg", "cat/same.jpg", "cat/1.jpg")
    table.write_text("file,crop_x,crop_y,crop_side\nsame.jpg,0,0,9\nother.jpg,0,0,9\n1.jpg,0,0,9\n")
    assert wanted(photos, table) == (
        [Labelled(Piece(photos / "cat" / "1.jpg", (0, 0, 9, 9)), "cat")],
        {"same.jpg": f"2 files below {photos} are called so", "other.jpg": f"0 files below {photos} are called so"},
    )


def test_where_no_photograph_is_found_the_boxes_are_named(tmp_path: Path) -> None:
    photos, table = tmp_path / "photos", tmp_path / "boxes.csv"
    touch(photos, "dog/same.jpg", "cat/same.jpg")
    table.write_text("file,crop_x,crop_y,crop_side\n1.jpg,0,0,9\n1.jpg,9,9,9\n2.jpg,0,0,9\n")
    with pytest.raises(TwinlatentError) as error:
        wanted(photos, table)
    assert str(error.value) == (
        f"{table}: none of its 2 files lies below {photos}; give the folder of the photographs that it names"
    )
    table.write_text("file,crop_x,crop_y,crop_side\n1.jpg,0,0,9\nsame.jpg,0,0,9\n")
    with pytest.raises(TwinlatentError) as error:
        wanted(photos, table)
    assert str(error.value) == (
        f"{table}: none of its 2 files can be told (2 files below {photos} are called so); name each by its path below "
        "that folder"
    )


def test_boxes_without_a_box_are_named(tmp_path: Path) -> None:
    photos, table, xmls = tmp_path / "photos", tmp_path / "boxes.csv", tmp_path / "xmls"
    touch(photos, "cat/1.jpg")
    table.write_text("file,crop_x,crop_y,crop_side\n")
    voc(xmls / "1.xml", "1.jpg")
    for boxes in (table, xmls):
        with pytest.raises(TwinlatentError, match=f"^{boxes}: holds no boxes; give at least one a photograph$"):
            wanted(photos, boxes)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "a\u2028b"])
def test_names_of_classes_that_cannot_be_shown_are_refused(tmp_path: Path, name: str) -> None:
    photos, xmls = tmp_path / "photos", tmp_path / "xmls"
    touch(photos, f"{name}/1.jpg", "cat/2.jpg")
    (tmp_path / "boxes.csv").write_text(f'file,crop_x,crop_y,crop_side,label\n2.jpg,0,0,9,"{name}"\n')
    (tmp_path / "no label.csv").write_text("file,crop_x,crop_y,crop_side\n1.jpg,0,0,9\n")
    voc(xmls / "2.xml", "2.jpg", (name.replace("\x1b", "\x9b"), 1, 1, 9, 9))
    for boxes in (None, tmp_path / "boxes.csv", tmp_path / "no label.csv", xmls):
        with pytest.raises(TwinlatentError, match="has characters that cannot be shown; rename it") as error:
            wanted(photos, boxes)
        assert str(error.value).isprintable()


def test_corners_of_voc_are_counted_from_one_and_belong_to_the_box(tmp_path: Path) -> None:
    photos, boxes = tmp_path / "images", tmp_path / "xmls"
    touch(photos, "Abyssinian_1.jpg", "pug_2.jpg")
    voc(boxes / "Abyssinian_1.xml", "Abyssinian_1.jpg", ("cat", 333, 72, 425, 158))
    voc(boxes / "pug_2.xml", "", ("dog", 1, 1, 1, 1), ("dog", "7.6", 2, 10, 3))
    assert pieces(photos, boxes) == [
        ("Abyssinian_1.jpg", (332, 71, 93, 87), "cat"),
        ("pug_2.jpg", (0, 0, 1, 1), "dog"),
        ("pug_2.jpg", (7, 1, 3, 2), "dog"),
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "boxes.csv: has no column 'file'; it needs file, crop_x, crop_y, crop_side"),
        ("file,crop_x,crop_y\n", "has no column 'crop_side'"),
        ("file,crop_x,crop_y,crop_side\na.jpg,1,2\n", "line 2: crop_side is empty; give a number of pixels"),
        ("file,crop_x,crop_y,crop_side\na.jpg,1,2,\n", "line 2: crop_side is empty; give a number of pixels"),
        ("file,crop_x,crop_y,crop_side\na.jpg,1,two,3\n", "line 2: crop_y is 'two'"),
        ("file,crop_x,crop_y,crop_side\na.jpg,1,nan,3\n", "crop_y is 'nan'"),
        ("file,crop_x,crop_y,crop_side\na.jpg,1,2,0\n", "line 2: crop_side is 0; give at least 1 pixel"),
        ("file,crop_x,crop_y,crop_side\n,1,2,3\n", "line 2: names no file"),
        ("file,crop_x,crop_y,crop_side\nalone.jpg,1,2,3\n", "alone.jpg: has no class"),
        (b"\xff\xfe\x00", "boxes.csv: is no table of text"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    table = tmp_path / "boxes.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    touch(tmp_path, "alone.jpg", "class/a.jpg")
    with pytest.raises(TwinlatentError, match=complaint) as error:
        wanted(tmp_path, table)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("<annotation>", "a.xml: is no sound XML file"),
        ("hello", "a.xml: is no sound XML file"),
        (VOC.format(file="a.jpg", objects="<object><name>cat</name></object>"), "a.xml: xmin is empty"),
        (VOC.format(file="a.jpg", objects=OBJECT.format(1, 2, "x", 4, name="cat")), "a.xml: xmax is 'x'"),
        (
            VOC.format(file="a.jpg", objects=OBJECT.format(5, 2, 4, 4, name="cat")),
            "box 5, 2, 4, 4 has no inside",
        ),
        (VOC.format(file="a.jpg", objects=OBJECT.format(1, 2, 4, 4, name=" ")), "a.xml: an object has no name"),
    ],
)
def test_bad_xml_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "xmls").mkdir()
    (tmp_path / "xmls" / "a.xml").write_text(content)
    with pytest.raises(TwinlatentError, match=complaint):
        wanted(tmp_path, tmp_path / "xmls")


def test_bad_places_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "boxes.txt")
    (tmp_path / "c").mkdir()
    (tmp_path / "boxes.csv").write_text("file,crop_x,crop_y,crop_side\n1.jpg,0,0,9\n")
    for photos, boxes, complaint in (
        (tmp_path, None, "c: holds no files"),
        (tmp_path / "no", None, "no: no such folder"),
        (tmp_path / "boxes.txt", None, r"boxes\.txt: is a file, not a folder; give one that holds a folder"),
        (tmp_path / "boxes.txt", tmp_path / "boxes.csv", r"boxes\.txt: is a file, not a folder; give the one that"),
        (tmp_path / "c", None, "c: 0 class folders"),
        (tmp_path, tmp_path / "boxes.txt", r"boxes.txt: is no \.csv file"),
        (tmp_path, tmp_path / "no.csv", r"no\.csv: no such file"),
        (tmp_path, tmp_path / "a", r"a: holds no \.xml files"),
    ):
        with pytest.raises(TwinlatentError, match=complaint):
            wanted(photos, boxes)
