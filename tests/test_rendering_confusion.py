"""The confusion matrix as a picture."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from ferbench.labels import LabelSet
from ferbench.metrics import Confusion
from ferbench.rendering.confusion import confusion_figure, row_fractions, shades, text_colour
from ferbench.rendering.figures import figure_bytes


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


def png_of(confusion, labels, *, dpi=300):
    return figure_bytes(confusion_figure(confusion, labels), "png", dpi=dpi)


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
    png = png_of(THREE, labels_of(3))
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def centre(fraction):
        """Mean position of the pixels with the shade of a fraction, y and x."""
        colour = np.round(shades(np.array(fraction)) * 255)
        return np.argwhere((np.abs(image.astype(int) - colour) <= 1).all(axis=-1)).mean(axis=0)

    true_0, true_2_unscored = centre(0.75), centre(0.5)
    assert true_0[0] < true_2_unscored[0]  # rows are true: the first class is above the third
    assert true_0[1] < true_2_unscored[1]  # columns are predicted: no prediction is to the right


@pytest.mark.parametrize(("size", "inches"), [(7, 3.35), (8, 3.35), (11, 5.0), (43, 7.0)])
def test_the_picture_is_as_wide_as_a_column_of_a_paper(size, inches):
    rng = np.random.default_rng(0)
    confusion = confusion_of(
        rng.integers(0, 300, (size, size)) * (rng.random((size, size)) < 0.3), rng.integers(0, 9, size)
    )
    width, height = size_of(png_of(confusion, labels_of(size)))
    assert width == pytest.approx(300 * inches, abs=1)
    assert 0.7 < height / width < 1.3


def test_few_classes_do_not_fill_the_column_and_very_many_go_beyond_the_page():
    assert size_of(png_of(confusion_of([[3, 1], [2, 4]]), labels_of(2)))[0] < 300 * 3.35
    assert size_of(png_of(confusion_of(np.eye(150)), labels_of(150), dpi=50))[0] > 50 * 7


def test_nothing_is_drawn_outside_of_the_picture():
    labels = LabelSet.of(["a very long name of a class", "b", "another one that is as long", "d"])
    confusion = confusion_of(np.eye(4) * 1234567, [0, 0, 0, 3])
    png = png_of(confusion, labels)
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edges == 255).all()


def test_a_column_for_samples_without_a_prediction_is_there_only_when_there_are_any():
    without = png_of(confusion_of([[3, 1], [2, 4]]), labels_of(2))
    with_one = png_of(confusion_of([[3, 1], [2, 4]], [1, 0]), labels_of(2))
    assert size_of(with_one)[0] > size_of(without)[0] + 100


def test_dpi_scales_the_picture():
    small = size_of(png_of(THREE, labels_of(3), dpi=50))
    large = size_of(png_of(THREE, labels_of(3), dpi=100))
    assert large[0] == pytest.approx(2 * small[0], rel=0.05)  # hinted type does not scale exactly


def test_a_matrix_without_samples_is_a_picture_of_absent_classes():
    assert size_of(png_of(confusion_of([[0, 0], [0, 0]]), labels_of(2)))[0] > 200


def test_class_names_and_titles_are_text_not_mathematics_and_any_script_is_drawn(recwarn):
    labels = LabelSet.of(["$x^2$", r"\frac{a}{b}", "表情", "_" * 3 + "x" * 200])
    png_of(confusion_of(np.eye(4)), labels)
    assert [str(warning.message) for warning in recwarn] == []


def test_the_same_matrix_gives_the_same_bytes_and_the_file_says_nothing_of_its_time_or_writer():
    png = png_of(THREE, labels_of(3))
    assert png_of(THREE, labels_of(3)) == png
    assert set(chunks(png)) == {"IHDR", "pHYs", "IDAT", "IEND"}
    assert zlib.crc32(png[12:29]) == struct.unpack(">I", png[29:33])[0]
