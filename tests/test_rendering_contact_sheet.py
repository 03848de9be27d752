"""The contact sheet, and which samples and crops it shows."""

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import ManifestError
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.rendering.contact_sheet import contact_sheet, write_contact_sheet
from ferbench.rendering.samples import Crop, select_samples, spread, tile

LABELS = LabelSet.of(["happy", "sad"])
GREEN = (0, 200, 0)
AMBER = np.array([0xD9, 0x77, 0x06])
RED = np.array([0xB3, 0x26, 0x1E])
CROPS = 312
"""Pixels left of the first crop; text stands there, and its antialiased edges may have any grey."""


def write_crop(path, colour=GREEN, shape=(112, 112)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), colour[::-1], np.uint8))


def aligned(root, count=1, *, crops=16, **columns):
    """`count` clips of `crops` green crops each; `columns` replace or add to the manifest's."""
    ids = [f"clip{number:03d}" for number in range(count)]
    for sample_id in ids:
        for number in range(1, crops + 1):
            write_crop(root / sample_id / f"{number:05d}.png")
    values = {
        "sample_id": ids, "path": ids, "media": ["frames"] * count, "label": [0] * count, "status": ["ok"] * count,
        "num_frames": [crops] * count, "frames_sampled": [crops] * count, "frames_with_face": [crops] * count,
    }  # fmt: skip
    return manifest_of(values | columns, labels=LABELS, name="demo", root=root)


def count_pixels(sheet, colour):
    """Pixels of exactly this colour."""
    return int((sheet == np.array(colour)).all(axis=-1).sum())


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (3, 8, [0, 1, 2]),
        (16, 8, [0, 2, 4, 6, 8, 10, 12, 15]),
        (16, 4, [0, 5, 10, 15]),
        (9, 1, [0]),
        (0, 8, []),
        (5, 0, []),
    ],
)
def test_crops_are_spread_over_the_whole_clip(count, most, expected):
    assert spread(count, most) == expected


def test_eight_crops_of_a_clip_are_shown_96_pixels_high(tmp_path):
    sheet = contact_sheet(aligned(tmp_path))
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (1128, 3)
    assert count_pixels(sheet, GREEN) == 8 * 96 * 96


def test_a_still_shows_its_one_crop(tmp_path):
    write_crop(tmp_path / "a.png")
    manifest = aligned(tmp_path, crops=0, path=["a.png"], media=["image"], num_frames=[1])
    assert count_pixels(contact_sheet(manifest), GREEN) == 96 * 96


def test_crops_that_are_not_square_keep_their_shape(tmp_path):
    write_crop(tmp_path / "a.png", shape=(112, 56))
    manifest = aligned(tmp_path, crops=0, path=["a.png"], media=["image"], num_frames=[1])
    assert count_pixels(contact_sheet(manifest), GREEN) == 96 * 48


def test_a_missing_crop_is_a_grey_tile_at_its_place(tmp_path):
    manifest = aligned(tmp_path)
    (tmp_path / "clip000" / "00003.png").unlink()
    crops = select_samples(manifest, most=60).rows[0].crops
    assert [crop.number for crop in crops] == [1, 3, 5, 7, 9, 11, 13, 16]
    assert [crop.path is None for crop in crops] == [False, True, False, False, False, False, False, False]
    sheet = contact_sheet(manifest)
    assert count_pixels(sheet, GREEN) == 7 * 96 * 96
    assert count_pixels(sheet[:, CROPS:], (190, 190, 190)) == 96 * 96


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_a_crop_that_cannot_be_read_is_a_grey_tile(tmp_path, content):
    path = tmp_path / "00001.png"
    path.write_bytes(content)
    image = tile(Crop(1, path, "detected"))
    assert (image.size, image.getpixel((0, 0))) == ((96, 96), (190, 190, 190))


def test_a_clip_whose_folder_is_gone_is_grey_tiles(tmp_path):
    sheet = contact_sheet(aligned(tmp_path, path=["gone"]))
    assert count_pixels(sheet[:, CROPS:], (190, 190, 190)) == 8 * 96 * 96


def test_a_failed_sample_is_a_row_with_its_reason_in_red_and_no_crops(tmp_path):
    manifest = aligned(tmp_path, status=["failed"], error=["no-face: no face found in any of the 16 frames"])
    assert select_samples(manifest, most=60).rows[0].error == "no-face: no face found in any of the 16 frames"
    sheet = contact_sheet(manifest)
    assert count_pixels(sheet, GREEN) == 0
    assert count_pixels(sheet, RED) > 50
    assert count_pixels(contact_sheet(aligned(tmp_path)), RED) == 0


def test_the_reading_is_said_in_words(tmp_path):
    manifest = aligned(tmp_path, 3, crops=1, frames_with_face=[12, 1, 0], frames_sampled=[16, 1, 1], label=[1, 0, None],
                       notes=["short clip", None, None])  # fmt: skip
    rows = select_samples(manifest, most=60).rows
    assert [row.frames for row in rows] == [
        "12 of 16 frames with a face", "a face in its only frame", "no face in its only frame",
    ]  # fmt: skip
    assert [row.class_name for row in rows] == ["sad", "happy", None]
    assert [row.notes for row in rows] == ["short clip", None, None]


def test_of_too_many_samples_failed_ones_come_first_and_take_up_to_half_the_rows(tmp_path):
    status = ["failed" if number in (5, 6, 7, 8, 9) else "ok" for number in range(20)]
    selection = select_samples(aligned(tmp_path, 20, crops=0, status=status), most=8)
    assert [row.sample_id for row in selection.rows] == [
        "clip005", "clip006", "clip007", "clip009", "clip000", "clip004", "clip014", "clip019",
    ]  # fmt: skip
    assert (selection.total, selection.failed, selection.failed_shown) == (20, 5, 4)


def test_rows_that_good_samples_do_not_need_show_more_failed_ones(tmp_path):
    status = ["ok" if number == 3 else "failed" for number in range(20)]
    rows = select_samples(aligned(tmp_path, 20, crops=0, status=status), most=8).rows
    assert [row.error is None for row in rows] == [False] * 7 + [True]


def test_few_samples_stay_in_the_order_of_the_manifest(tmp_path):
    rows = select_samples(aligned(tmp_path, 3, crops=0, status=["ok", "failed", "ok"]), most=60).rows
    assert [row.sample_id for row in rows] == ["clip000", "clip001", "clip002"]


def write_faces(root, origins):
    columns = {
        "sample_id": ["clip000"] * len(origins),
        "crop": pa.array(range(1, len(origins) + 1), pa.int32()),
        "origin": origins,
    }
    pq.write_table(pa.table(columns), root / "faces.parquet")


def test_crops_whose_landmarks_were_not_detected_have_a_coloured_frame(tmp_path):
    manifest = aligned(tmp_path, crops=4)
    plain = contact_sheet(manifest)
    write_faces(tmp_path, ["detected", "nearest", "detected", "detected"])
    assert [crop.origin for crop in select_samples(manifest, most=60).rows[0].crops] == [
        "detected", "nearest", "detected", "detected",
    ]  # fmt: skip
    sheet = contact_sheet(manifest)
    frame = 96 * 96 - 90 * 90
    key = 16 * 16 - 10 * 10
    assert count_pixels(plain, AMBER) == 0
    assert count_pixels(sheet, AMBER) == frame + key
    assert count_pixels(sheet, GREEN) == 4 * 96 * 96 - frame


def test_a_table_of_faces_that_is_none_is_an_error_that_names_it(tmp_path):
    manifest = aligned(tmp_path, crops=1)
    (tmp_path / "faces.parquet").write_bytes(b"not parquet")
    with pytest.raises(ManifestError, match=r"faces\.parquet: not a readable table of faces"):
        contact_sheet(manifest)


def test_ids_of_any_length_and_script_fit(tmp_path):
    ids = ["表情/" + "x" * 300, "ідентифікатор_" * 20, "a\nb\x1b[31m"]
    manifest = aligned(tmp_path, 3, crops=1, sample_id=ids, notes=["y" * 400, "word " * 200, "\u202e"])
    sheet = contact_sheet(manifest)
    assert sheet.shape[1] == 1128
    # Nothing runs out of the text column into the crops: the gap between them is white in every row of crops.
    assert (sheet[80:, CROPS - 14 : CROPS - 2].min(axis=(1, 2)) >= 227).all()


def test_an_empty_manifest_is_a_sheet_with_a_title_only(tmp_path):
    assert contact_sheet(aligned(tmp_path, 0)).shape == (54, 1128, 3)


def test_the_same_crops_give_the_same_bytes(tmp_path):
    manifest = aligned(tmp_path / "faces", 3)
    write_contact_sheet(manifest, tmp_path / "one.jpg")
    write_contact_sheet(manifest, tmp_path / "two.jpg")
    assert (tmp_path / "one.jpg").read_bytes() == (tmp_path / "two.jpg").read_bytes()
    assert cv2.imread(str(tmp_path / "one.jpg")).shape == contact_sheet(manifest).shape
