"""The words that tables, pictures and the page share."""

import pytest

from ferbench.rendering.fonts import drawable, font_path
from ferbench.rendering.wording import abbreviations, counted, elided, percent, plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.456789, "45.68"), (1.0, "100.00"), (0.0, "0.00"), (float("nan"), "–"), (None, "–")],
)
def test_a_fraction_is_written_as_percent_with_two_decimals_and_an_undefined_one_as_a_dash(value, expected):
    assert percent(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("left\u202eright", "left\\u202eright"),
        ("表情 été", "表情 été"),
    ],
)
def test_control_and_direction_characters_of_data_are_written_as_escapes(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "most", "expected"), [("abcdef", 6, "abcdef"), ("abcdefgh", 6, "abc…gh"), ("abcdefgh", 5, "ab…gh")]
)
def test_a_long_text_loses_its_middle(text, most, expected):
    assert elided(text, most) == expected


@pytest.mark.parametrize(
    ("names", "letters", "expected"),
    [
        (["happiness", "sadness"], 3, ["hap", "sad"]),
        (["Happily_Surprised", "Happily_Disgusted"], 3, ["HapSur", "HapDis"]),
        (["disgust", "fear", "disappointment"], 3, ["disg", "fea", "disa"]),
        (["a", "ab", "abc"], 1, ["a", "ab", "abc"]),
    ],
)
def test_abbreviations_stay_tellable_apart(names, letters, expected):
    assert abbreviations(names, letters) == expected


def test_one_sample_is_singular_and_thousands_are_separated():
    assert [counted(1, "sample"), counted(1234, "sample"), counted(2, "class", "classes")] == [
        "1 sample", "1,234 samples", "2 classes",
    ]  # fmt: skip


def test_characters_that_the_font_lacks_are_written_as_escapes():
    assert drawable("мир_été_表_1") == "мир_été_\\u8868_1"


@pytest.mark.parametrize("bold", [False, True])
def test_the_font_comes_with_matplotlib(bold):
    assert font_path(bold=bold).is_file()
