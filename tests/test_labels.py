"""Class names cross by name, in any of the spellings the datasets use."""

import pytest

from ferbench.errors import LabelError
from ferbench.labels import LabelSet, canonical_name

DFEW = LabelSet.of(["Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear"])
MAFW = LabelSet.of(
    ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
     "disappointment"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("Happiness", "happy"), ("HAPPY", "happy"), (" joy ", "happy"), ("Angrily", "anger"), ("AN", "anger"),
     ("sadness_surprise", "sad_surprise"), ("Sadly Angry", "sad_anger"), ("Wonder", "wonder")],
)  # fmt: skip
def test_spellings_of_one_class_have_one_canonical_name(spelling, name):
    assert canonical_name(spelling) == name


def test_two_orders_of_the_same_classes_are_matched_by_name():
    assert DFEW.mapping_to(MAFW) == [3, 5, 4, 0, 6, 1, 2]


def test_a_class_the_other_set_lacks_is_none_and_named():
    assert MAFW.mapping_to(DFEW) == [3, 5, 6, 0, 2, 1, 4, None, None, None, None]
    assert MAFW.missing_from(DFEW) == ["contempt", "anxiety", "helplessness", "disappointment"]


def test_a_union_keeps_the_first_sets_order_and_spelling():
    assert DFEW.united_with(LabelSet.of(["contempt", "happiness"])).names == (*DFEW.names, "contempt")


def test_labels_are_found_in_any_spelling():
    assert DFEW.label_of("surprised") == 4
    assert DFEW.labels_of(["fear", "happiness"]) == [6, 0]
    assert "sadness" in DFEW
    assert "contempt" not in DFEW


def test_an_unknown_class_is_an_error_that_lists_the_known_ones():
    with pytest.raises(LabelError, match=r"'contempt' is not in the label set; known: Happy, Sad, Neutral"):
        DFEW.label_of("contempt")


def test_two_names_for_one_class_are_refused():
    with pytest.raises(LabelError, match="'Happy' and 'happiness' mean the same class"):
        LabelSet.of(["Happy", "happiness"])
