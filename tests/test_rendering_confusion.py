"""The confusion matrix as a picture."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from ferbench.labels import LabelSet
from ferbench.metrics import Confusion
from ferbench.rendering.confusion import confusion_png, row_fractions, shades, text_colour, write_confusion_png


def confusion_of(matrix, unscored=None):
    matrix = np.array(matrix, np.int64)
    return Confusion(matrix, np.array(unscored if unscored is not None else [0] * len(matrix), np.int64))


def labels_of(size):
    return LabelSet.of([f"class {number}" for number in range(size)])


def chunks(png):
    """The types of a PNG's chunks."""
    position, types = 8, []
    while position < len(png):
        length, kind = struct.unpack(">I4s", png[position : position + 8])
        types.append(kind.decode())
        position += length + 12
    return types


def size_of(png):
    return struct.unpack(">II", png[16:24])


THREE = confusion_of([[3, 1, 0], [0, 0, 0], [1, 0, 1]], [0, 0, 2])


def test_fractions_are_of_all_samples_of_the_true_class_with_those_without_a_prediction_last():
    assert row_fractions(THREE).tolist() == [[0.75, 0.25, 0, 0], [0, 0, 0, 0], [0.25, 0, 0.25, 0.5]]


def test_shades_go_from_light_to_dark_in_one_hue_within_the_gamut():
    colours = shades(np.linspace(0, 1, 21))
    luminance = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) < 0).all()
    assert colours.min() > 0
    assert colours.max() < 1
    assert (colours[1:, 2] > colours[1:, 1]).all()
    assert (colours[1:, 1] > colours[1:, 0]).all()


@pytest.mark.parametrize("fraction", np.linspace(0, 1, 21))
def test_text_contrasts_with_every_shade(fraction):
    shade = shades(np.array(fraction))
    linear = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    text = 1.0 if text_colour(shade) == "white" else 0.0
    lighter, darker = max(text, luminance), min(text, luminance)
    assert (lighter + 0.05) / (darker + 0.05) > 4.5  # what WCAG AA asks of small text


def test_the_picture_holds_the_shade_of_each_cell_and_no_other_class_order():
    png = confusion_png(THREE, labels_of(3), title="t")
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def centre(fraction):
        """Mean position of the pixels with the shade of a fraction, y and x."""
        colour = np.round(shades(np.array(fraction)) * 255)
        return np.argwhere((np.abs(image.astype(int) - colour) <= 1).all(axis=-1)).mean(axis=0)

    true_0, true_2_unscored = centre(0.75), centre(0.5)
    assert true_0[0] < true_2_unscored[0]  # rows are true: the first class is above the third
    assert true_0[1] < true_2_unscored[1]  # columns are predicted: no prediction is to the right


@pytest.mark.parametrize(
    ("size", "least", "most"), [(1, 150, 1000), (3, 400, 1000), (7, 900, 1400), (11, 1100, 1600), (43, 1900, 2600)]
)
def test_the_picture_grows_with_the_classes(size, least, most):
    rng = np.random.default_rng(0)
    confusion = confusion_of(
        rng.integers(0, 300, (size, size)) * (rng.random((size, size)) < 0.3), rng.integers(0, 9, size)
    )
    width, height = size_of(confusion_png(confusion, labels_of(size), title="t"))
    assert least <= width <= most
    assert least <= height <= most


def test_a_column_for_samples_without_a_prediction_is_there_only_when_there_are_any():
    without = confusion_png(confusion_of([[3, 1], [2, 4]]), labels_of(2), title="t")
    with_one = confusion_png(confusion_of([[3, 1], [2, 4]], [1, 0]), labels_of(2), title="t")
    assert size_of(with_one)[0] > size_of(without)[0] + 50


def test_dpi_scales_the_picture():
    small = size_of(confusion_png(THREE, labels_of(3), title="t", dpi=50))
    large = size_of(confusion_png(THREE, labels_of(3), title="t", dpi=100))
    assert large[0] == pytest.approx(2 * small[0], rel=0.05)  # hinted type does not scale exactly


def test_a_matrix_without_samples_is_a_picture_of_absent_classes():
    assert size_of(confusion_png(confusion_of([[0, 0], [0, 0]]), labels_of(2), title="t"))[0] > 200


def test_class_names_and_titles_are_text_not_mathematics_and_any_script_is_drawn(recwarn):
    labels = LabelSet.of(["$x^2$", r"\frac{a}{b}", "表情", "_" * 3 + "x" * 200])
    confusion_png(confusion_of(np.eye(4)), labels, title=r"$\undefined$ 表")
    assert [str(warning.message) for warning in recwarn] == []


def test_the_same_matrix_gives_the_same_bytes_and_the_file_says_nothing_of_its_time_or_writer(tmp_path):
    png = confusion_png(THREE, labels_of(3), title="t")
    write_confusion_png(THREE, labels_of(3), tmp_path / "confusion.png", title="t")
    assert (tmp_path / "confusion.png").read_bytes() == png
    assert set(chunks(png)) == {"IHDR", "pHYs", "IDAT", "IEND"}
    assert zlib.crc32(png[12:29]) == struct.unpack(">I", png[29:33])[0]
