"""Predictions of other tools: every grammar, joined by name, with exactly the scores that hand arithmetic gives."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferbench.errors import FerbenchError, PredictionsError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of
from ferbench.predictions import Predictions
from ferbench.score_files import (
    FORMATS,
    ScoreFileOptions,
    assemble,
    expected_of_manifest,
    expected_of_rows,
    format_of,
    parse_classes,
    parse_columns,
    read_score_files,
)

THREE = LabelSet.of(["neutral", "happy", "sad"])


def manifest(**columns) -> Manifest:
    count = len(columns["sample_id"])
    given = {"media": ["frames"] * count, "path": columns["sample_id"], **columns}
    return manifest_of(given, labels=THREE, name="toy", root=Path("/data"))


FOUR = {
    "sample_id": ["a", "b", "c", "d"], "path": ["clips/a", "clips/b", "clips/c", "clips/d"], "label": [0, 1, 2, 1],
    "subject": ["x", "x", "y", None], "fold": [1, 1, 2, 2],
}  # fmt: skip


def write(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def read(*places: Path, against: Manifest | None = None, truth: Path | None = None, **options) -> Predictions:
    chosen = ScoreFileOptions(**options)
    expected = expected_of_manifest(against) if against else None
    if truth:
        expected = expected_of_rows(read_score_files([truth], ScoreFileOptions()), chosen)
    return assemble(read_score_files(places, chosen), chosen, expected=expected)


def findings(predictions: Predictions) -> dict[str, str]:
    return {entry["rule"]: entry["message"] for entry in predictions.provenance["audits"]}


def classes(predictions: Predictions) -> dict[str, str | None]:
    names = (*predictions.labels.names, None)
    return {name: names[label] for name, label in zip(predictions.sample_ids, predictions.predicted, strict=True)}


# --- CSV and its kin --------------------------------------------------------------------------------------------------


def test_a_csv_of_path_label_and_class_columns_says_everything_itself(tmp_path):
    path = write(tmp_path / "p.csv", "path,label,neutral,happy,sad\nx/a.mp4,happy,0.5,2,-1\nx/b.mp4,sad,3,1,2\n")
    found = read(path)
    assert found.sample_ids == ("x/a.mp4", "x/b.mp4")
    assert found.labels.names == ("neutral", "happy", "sad")
    assert found.targets.tolist() == [1, 2]
    assert found.logits.tolist() == [[0.5, 2.0, -1.0], [3.0, 1.0, 2.0]]
    assert not found.hard
    assert found.provenance["score_file"]["values"] == "logits"


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
def test_the_sign_between_fields_is_seen(tmp_path, separator):
    text = "id,target,pred\na,neutral,happy\nb,sad,sad\n".replace(",", separator)
    assert classes(read(write(tmp_path / "p.txt", text))) == {"a": "happy", "b": "sad"}


def test_class_columns_in_another_order_than_the_manifest_are_matched_by_name(tmp_path):
    path = write(tmp_path / "p.csv", "sample_id,prob_sad,prob_neutral,prob_happiness\nb,0.1,0.2,0.7\na,0,1,0\n")
    found = read(path, against=manifest(sample_id=["a", "b"], label=[0, 1]))
    assert found.sample_ids == ("a", "b")
    assert found.labels.names == ("neutral", "happy", "sad")
    assert classes(found) == {"a": "neutral", "b": "happy"}
    tiny = math.log(float(np.finfo(np.float32).tiny))
    assert found.logits[0].tolist() == pytest.approx([0.0, tiny, tiny])
    assert found.logits[1].tolist() == pytest.approx([math.log(0.2), math.log(0.7), math.log(0.1)])


def test_classes_alone_are_hard_predictions(tmp_path):
    found = read(write(tmp_path / "p.csv", "path,y_true,y_pred\na,0,2\nb,1,1\n"), classes=("neutral", "happy", "sad"))
    assert found.hard
    assert found.logits.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_integers_without_a_class_order_are_refused_with_the_flag_to_paste(tmp_path):
    path = write(tmp_path / "p.csv", "path,pred\nclips/a,0\n")
    with pytest.raises(PredictionsError, match="--classes neutral,happy,sad"):
        read(path, against=manifest(**FOUR))
    with pytest.raises(PredictionsError, match="nothing says which class is which"):
        read(write(tmp_path / "q.csv", "path,label,pred\na,0,0\n"))


def test_integer_labels_that_agree_with_the_manifest_tell_the_class_order(tmp_path):
    path = write(tmp_path / "p.csv", "path,label,pred\nclips/a,0,1\nclips/b,1,1\nclips/c,2,0\nclips/d,1,2\n")
    found = read(path, against=manifest(**FOUR))
    assert classes(found) == {"a": "happy", "b": "happy", "c": "neutral", "d": "sad"}
    assert "with which the file's own labels agree" in found.provenance["notices"][0]


def test_labels_of_another_class_order_are_refused_with_the_order_that_explains_them(tmp_path):
    path = write(tmp_path / "p.csv", "id,label,pred\na,2,2\nb,0,0\nc,1,1\nd,0,1\n")
    with pytest.raises(PredictionsError, match="4 of 4 labels differ") as caught:
        read(path, against=manifest(**FOUR))
    assert "'a' is neutral there and sad in " in caught.value.message
    assert caught.value.message.endswith("another class order: --classes happy,sad,neutral")
    assert caught.value.reason == "target-mismatch"
    found = read(path, against=manifest(**FOUR), classes=("happy", "sad", "neutral"))
    assert classes(found) == {"a": "neutral", "b": "happy", "c": "sad", "d": "sad"}


def test_one_wrong_label_is_counted_and_shown(tmp_path):
    path = write(tmp_path / "p.csv", "id,label,pred\na,neutral,sad\nb,happy,sad\nc,happy,sad\nd,happy,sad\n")
    with pytest.raises(
        PredictionsError, match=r"1 of 4 labels differ from manifest 'toy': 'c' is sad there and happy in .*p.csv:4"
    ):
        read(path, against=manifest(**FOUR))


def test_a_label_base_of_one_is_named_and_can_be_said(tmp_path):
    path = write(tmp_path / "p.csv", "id,label,pred\na,1,3\nb,2,2\n")
    with pytest.raises(PredictionsError, match=r"p.csv:2: class 3 is not in 0..2 .*--label-base 1"):
        read(path, classes=("neutral", "happy", "sad"))
    found = read(path, classes=("neutral", "happy", "sad"), label_base=1)
    assert (found.targets.tolist(), found.predicted.tolist()) == ([0, 1], [2, 1])


def test_columns_are_named_on_the_command_line(tmp_path):
    path = write(tmp_path / "p.csv", "who,what,first,second,third\na,happy,1,2,3\n")
    found = read(
        path, columns=parse_columns(["sample=who", "target=what", "logits=third,second,first"]),
        classes=("sad", "happy", "neutral"),
    )  # fmt: skip
    assert found.sample_ids == ("a",)
    assert classes(found) == {"a": "sad"}
    with pytest.raises(PredictionsError, match="there is no column 'nobody'; its columns are who, what, first"):
        read(path, columns={"sample": "nobody"})


@pytest.mark.parametrize(
    ("text", "targets", "predicted"),
    [
        ("a happy sad\nb sad sad\n", [1, 2], [2, 2]),
        ("a 1 2\nb 2 2\n", [1, 2], [2, 2]),
        ("a 1 0.1 0.2 0.9\nb 2 0 0 4\n", [1, 2], [2, 2]),
        ("a,1,1,0,3\nb,2,0,0,4\n", [1, 2], [2, 2]),  # as many columns as classes, one more, and the sample
    ],
)
def test_a_file_without_names_is_sample_label_and_class_or_values(tmp_path, text, targets, predicted):
    found = read(write(tmp_path / "p.txt", text), classes=("neutral", "happy", "sad"))
    assert found.sample_ids == ("a", "b")
    assert (found.targets.tolist(), found.predicted.tolist()) == (targets, predicted)
    assert "the columns have no names; taken as sample 0, target 1" in findings(found)["columns"]


def test_columns_without_names_can_be_said_by_number(tmp_path):
    path = write(tmp_path / "p.csv", "1,x,0.5,2.5,1.5\n0,y,3,0,0\n")
    found = read(
        path, columns=parse_columns(["sample=1", "target=0", "values=2-4"]), classes=("neutral", "happy", "sad")
    )
    assert classes(found) == {"x": "happy", "y": "neutral"}


def test_abaw2021s_validation_result_is_read_as_pandas_wrote_it(tmp_path):
    names = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
    lines = ["0,1,2,3,4,5,6,7,8", "v1/00001.jpg,3,0.1,0.2,0.3,4.5,0.5,0.6,0.7", "v1/00002.jpg,0,9.0,0,0,0,0,0,1e-3"]
    path = write(tmp_path / "cnn_validation_result.cvs", "\n".join(lines) + "\n")
    found = read(path, classes=names)
    assert found.sample_ids == ("v1/00001.jpg", "v1/00002.jpg")
    assert found.targets.tolist() == [3, 0]
    assert found.predicted.tolist() == [3, 0]
    assert found.logits[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 4.5, 0.5, 0.6, 0.7])
    assert "numbered from 0" in findings(found)["columns"]


def test_lists_in_one_column_are_values(tmp_path):
    text = 'id,label,logits\na,happy,"[0.1, 2.0, 0.3]"\nb,sad,"[1.0, 0.0, 5.0]"\n'
    found = read(write(tmp_path / "p.csv", text), classes=("neutral", "happy", "sad"))
    assert np.allclose(found.logits, [[0.1, 2.0, 0.3], [1.0, 0.0, 5.0]])
    broken = write(tmp_path / "q.csv", 'id,label,logits\na,happy,"[0.1, 2.0]"\nb,sad,"[1.0]"\n')
    with pytest.raises(PredictionsError, match=r"q.csv:3: 1 values in 'logits', but 2 in .*q.csv:2"):
        read(broken, classes=("neutral", "happy"))


def test_pred_csv_of_mae_dfer_is_read_by_its_columns(tmp_path):
    found = read(write(tmp_path / "pred.csv", "id,label,pred\n/d/1,0,1\n/d/2,1,1\n"), classes=("happy", "sad"))
    assert (found.targets.tolist(), found.predicted.tolist()) == ([0, 1], [1, 1])


# --- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label,neutral,happy\na,happy,1,2\nb,happy,1\n", r"p.csv:3: expected 4 fields as in the first line, got 3"),
        ("id,label,neutral,happy\na,happy,1,2\n\nb,happy,x,2\n", r"p.csv:4: column 'neutral' must hold numbers, got 'x'"),
        ("id,label,pred\na,happy,happy\n,sad,sad\n", r"p.csv:3: column 'id' is empty"),
        ("id,label\na,happy\n", r"no column of predictions among id, label; 'label' was taken for the label"),
        ("id,id,pred\na,b,c\n", r"p.csv:1: the column 'id' occurs twice"),
        ("id,pred\na,happy\n", r"it has no labels; give --manifest or --truth"),
        ("id,label,pred\na,happy,happy\na,happy,sad\n", r"p.csv:2 and .*p.csv:3: sample 'a' is predicted twice, and diff"),
        ("id,label,pred\na,0.5,1\n", r"p.csv:2: column 'label' must hold classes, as names or whole numbers; got 0.5"),
        ("id,label,pred\n", r"there is no row of predictions in it"),
        ("", r"no text, .npz or parquet"),
        ('id,label,pred\n"a,happy,sad\n', r"p.csv"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_csv_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(PredictionsError, match=message):
        read(write(tmp_path / "p.csv", text))


def test_probabilities_that_do_not_sum_to_one_are_named(tmp_path):
    path = write(tmp_path / "p.csv", "id,label,prob_happy,prob_sad\na,happy,0.5,0.5\nb,sad,0.5,0.7\n")
    with pytest.raises(PredictionsError, match=r"p.csv:3: the probabilities sum to 1.2; .*--values logits"):
        read(path)
    assert np.allclose(read(path, values="logits").logits, [[0.5, 0.5], [0.5, 0.7]])
    outside = write(tmp_path / "q.csv", "id,label,happy,sad\na,happy,1.5,-0.5\n")
    assert read(outside).provenance["score_file"]["values"] == "logits"
    with pytest.raises(PredictionsError, match=r"q.csv:2: the probabilities range from -0.5 to 1.5"):
        read(outside, values="probabilities")


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("0.33,0.33,0.33", "0.1,0.2,0.7", "probabilities"),  # rounded
        ("0.5,0.9,0.1", "0.1,0.2,0.7", "logits"),  # one row does not sum to 1
        ("-0.5,1.2,0.3", "0.1,0.2,0.7", "logits"),  # sums to 1, and is outside 0..1
    ],
)
def test_values_are_probabilities_when_every_row_sums_to_one(tmp_path, first, second, kind):
    text = f"id,label,neutral,happy,sad\na,happy,{first}\nb,sad,{second}\n"
    assert read(write(tmp_path / "p.csv", text)).provenance["score_file"]["values"] == kind


def test_numbered_columns_are_taken_by_their_numbers(tmp_path):
    header = "id,label," + ",".join(f"logit_{number}" for number in (2, 10, 0, 1, 3, 4, 5, 6, 7, 8, 9))
    names = tuple(f"class{number}" for number in range(11))
    found = read(write(tmp_path / "p.csv", f"{header}\na,class1,2,10,0,1,3,4,5,6,7,8,9\n"), classes=names)
    assert found.logits.tolist() == [list(range(11))]


def test_a_row_that_is_no_number_has_no_prediction(tmp_path):
    text = "id,label,happy,sad\na,happy,nan,1\nb,sad,,\nc,sad,inf,0\nd,sad,0,1e39\ne,sad,0,1\n"
    found = read(write(tmp_path / "p.csv", text))
    assert found.predicted.tolist() == [-1, -1, -1, -1, 1]
    assert [error.split(":")[0] if error else None for error in found.errors] == [
        "nan-logits", "missing-prediction", "nan-logits", "nan-logits", None,
    ]  # fmt: skip


def test_a_prediction_beside_values_that_say_another_class_is_a_finding(tmp_path):
    text = "id,label,pred,happy,sad\na,happy,happy,2,1\nb,happy,sad,2,1\nc,sad,happy,1,1\n"
    found = read(write(tmp_path / "p.csv", text))
    assert (
        "in 1 of 3 rows the predicted class is not the one with the highest value"
        in findings(found)["prediction-differs"]
    )
    assert classes(found) == {"a": "happy", "b": "happy", "c": "happy"}


def test_equal_rows_of_one_sample_count_once_and_are_a_finding(tmp_path):
    found = read(write(tmp_path / "p.csv", "id,label,pred\na,happy,sad\nb,sad,sad\na,happy,sad\n"))
    assert found.sample_ids == ("a", "b")
    assert findings(found)["duplicate"].startswith("1 rows repeat a sample with the same values, first ")


# --- joining -----------------------------------------------------------------------------------------------------------


def test_rows_are_joined_by_the_tail_of_their_path_never_by_order(tmp_path):
    path = write(
        tmp_path / "p.csv",
        "path,pred\n/home/u/DFEW/d.mp4,sad\n/home/u/DFEW/c.mp4,sad\n/home/u/DFEW/a.mp4,neutral\n/home/u/DFEW/b.mp4,happy\n",
    )
    found = read(path, against=manifest(**FOUR))
    assert found.sample_ids == ("a", "b", "c", "d")
    assert classes(found) == {"a": "neutral", "b": "happy", "c": "sad", "d": "sad"}
    assert found.folds == ("1", "1", "2", "2")
    assert found.attributes["subject"] == ("x", "x", "y", None)
    assert "joined by the last part of the path" in findings(found)["join"]


def test_the_way_that_joins_most_rows_is_taken(tmp_path):
    # Two paths have a suffix and two have none: with suffixes only half of the rows are found.
    samples = manifest(
        sample_id=["happy/one", "happy/two"], path=["faces/happy/one", "faces/happy/two.jpg"], label=[1, 1]
    )
    found = read(write(tmp_path / "p.csv", "path,pred\n/x/happy/two,sad\n/x/happy/one,happy\n"), against=samples)
    assert classes(found) == {"happy/one": "happy", "happy/two": "sad"}


def test_a_tail_that_two_samples_share_is_refused_with_both(tmp_path):
    ids = ["Crime/Angry/0063", "War/Angry/0063", "War/Sad/0001"]
    samples = manifest(sample_id=ids, label=[0, 1, 2])
    path = write(tmp_path / "p.csv", "path,pred\n/x/Crime/Angry/0063,sad\n/x/War/Angry/0063,sad\n/x/War/Sad/0001,sad\n")
    assert set(classes(read(path, against=samples))) == set(ids)
    short = write(tmp_path / "q.csv", "path,pred\nAngry/0063,sad\n")
    with pytest.raises(
        PredictionsError, match=r"q.csv:2: 'Angry/0063' may be sample 'Crime/Angry/0063' or sample 'War/Angry/0063'"
    ):
        read(short, against=samples)
    with pytest.raises(PredictionsError, match=r"may be sample 'Crime/Angry/0063' or sample 'War/Angry/0063'"):
        read(write(tmp_path / "r.csv", "path,pred\n/frames/0063,sad\n"), against=samples)


def test_two_names_that_end_alike_are_not_taken_for_one_sample(tmp_path):
    path = write(tmp_path / "p.csv", "path,pred\nv1/00001.jpg,sad\nv2/00001.jpg,happy\n")
    with pytest.raises(PredictionsError, match=r"'v1/00001.jpg' and 'v2/00001.jpg' both end as sample '00001'"):
        read(path, against=manifest(sample_id=["00001"], path=["crops/00001.jpg"], label=[0]))


def test_missing_unknown_and_untested_samples_are_named(tmp_path):
    parts = dict(FOUR, fold=None, split=["test", "test", "test", "train"])
    del parts["fold"]
    path = write(tmp_path / "p.csv", "id,pred\na,neutral\nb,happy\nd,sad\nz,sad\n")
    found = read(path, against=manifest(**parts))
    assert classes(found) == {"a": "neutral", "b": "happy", "c": None}
    assert found.errors[2] == f"missing-prediction: not in {path}"
    said = findings(found)
    assert said["missing-prediction"] == f"1 of 3 tested samples are not in {path}: 'c'"
    assert said["unknown-sample"] == f"1 rows of {path} are no sample of manifest 'toy': 'z'"
    assert said["not-tested"].startswith(f"1 rows of {path} are samples that are not tested here")


def test_a_file_of_other_samples_says_what_names_look_like_on_both_sides(tmp_path):
    path = write(tmp_path / "p.csv", "id,pred\nq,neutral\n")
    with pytest.raises(
        PredictionsError, match=r"none of its 1 samples is in manifest 'toy'; first 'q', but sample ids are like 'a'"
    ):
        read(path, against=manifest(**FOUR))


def test_a_sample_that_failed_before_keeps_its_own_reason(tmp_path):
    samples = manifest(**FOUR).with_columns(
        status=["ok", "failed", "ok", "ok"], error=[None, "no-face: no face found", None, None]
    )
    found = read(write(tmp_path / "p.csv", "id,pred\na,sad\nc,sad\nd,sad\n"), against=samples)
    assert found.errors == (None, "no-face: no face found", None, None)
    assert "missing-prediction" not in findings(found)


# --- MAE-DFER ----------------------------------------------------------------------------------------------------------

RANK_0 = """85.0, 99.0
/d/jpg/00001 [2.0, 0.0, 1.0] 0 0 0
/d/jpg/00001 [0.0, 3.0, 1.0] 0 1 0
/d/jpg/00002 [0.0, 0.0, 5.0] 2 0 0
"""
RANK_1 = """tensor(85., device='cuda:0'), tensor(99., device='cuda:0')
/d/jpg/00002 [0.0, 1.0, 0.0] 2 0 1
/d/jpg/00002 [0.0, 0.0, 5.0] 2 0 0
"""


def softmax(*row):
    powers = [math.exp(value) for value in row]
    return [value / sum(powers) for value in powers]


def test_mae_dfers_ranks_are_merged_by_the_mean_of_the_views_softmax(tmp_path):
    write(tmp_path / "0.txt", RANK_0)
    write(tmp_path / "1.txt", RANK_1)
    write(tmp_path / "log.txt", "{}\n")
    for places in ([tmp_path], [tmp_path / "1.txt", tmp_path / "0.txt"]):
        found = read(*places, classes=("neutral", "happy", "sad"))
        rows = dict(zip(found.sample_ids, np.exp(found.logits.astype(float)).tolist(), strict=True))
        first = np.mean([softmax(2, 0, 1), softmax(0, 3, 1)], axis=0)
        second = np.mean([softmax(0, 0, 5), softmax(0, 1, 0)], axis=0)  # the view in both ranks counts once
        assert rows["/d/jpg/00001"] == pytest.approx(first.tolist(), rel=1e-6)
        assert rows["/d/jpg/00002"] == pytest.approx(second.tolist(), rel=1e-6)
        # The mean of logits would say happy for the first, too; the sum of softmax is what the repository takes.
        assert dict(zip(found.sample_ids, found.predicted.tolist(), strict=True)) == {
            "/d/jpg/00001": 1, "/d/jpg/00002": 2,
        }  # fmt: skip
        assert found.provenance["score_file"]["views in several ranks"] == "1"
        assert not findings(found)


def test_views_eleven_of_one_and_one_of_eleven_are_two(tmp_path):
    lines = "0, 0\nx [1, 0] 0 1 11\nx [0, 2] 0 11 1\n"
    found = read(write(tmp_path / "0.txt", lines), classes=("happy", "sad"))
    assert np.exp(found.logits[0]).tolist() == pytest.approx(np.mean([softmax(1, 0), softmax(0, 2)], axis=0).tolist())


def test_a_missing_rank_and_a_clip_with_fewer_views_are_findings(tmp_path):
    write(tmp_path / "0.txt", "0, 0\nx [1, 0] 0 0 0\nx [1, 0] 0 0 1\ny [1, 0] 0 0 0\ny [1, 0] 0 0 1\n")
    write(tmp_path / "2.txt", "0, 0\nz [0, 1] 1 0 0\n")
    said = findings(read(tmp_path, classes=("happy", "sad")))
    assert said["ranks"] == "the files of rank 1 are missing between 0 and 2"
    assert said["views"] == "1 samples do not have 2 views as the others do, first: 'z' with 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0, 0\nx [1, 0] 0 0 0\nx [1, 0", r"0.txt:3: expected 'ID \[LOGIT, LOGIT, …\] LABEL CHUNK SPLIT', got 'x \[1, 0'"),
        ("0, 0\nx [1, 0] 0 0 0\ny [1] 0 0 0\n", r"0.txt:3: 1 logits, but 2 in .*0.txt:2"),
        ("0, 0\nx [1, 0] 0 0 0\nx [1, 0] 1 0 1\n", r"0.txt:3: sample 'x' has label 1 here and 0 in .*0.txt:2"),
        ("0, 0\nx [1, 0] 0 0 0\ny [1, z] 0 0 0\n", r"0.txt:3: logits must be numbers, got '1, z'"),
        ("0, 0\nx [1, 0] 0 0 0\n [1, 2] 0 0 0\n", r"0.txt:3: the sample id is empty"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_rank_file_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(PredictionsError, match=message):
        read(write(tmp_path / "0.txt", text), classes=("happy", "sad"))


# --- ABAW --------------------------------------------------------------------------------------------------------------

HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n"


def test_an_abaw_submission_is_joined_to_the_annotations_by_video_and_frame(tmp_path):
    write(tmp_path / "truth/v1.txt", HEADER + "0\n4\n-1\n6\n")
    write(tmp_path / "truth/v2_left.txt", HEADER + "5\n5\n")
    write(tmp_path / "sub/v1.txt", HEADER + "0\n3\n2\n-1\n1\n")
    found = read(tmp_path / "sub", truth=tmp_path / "truth")
    assert found.sample_ids == ("v1/00001", "v1/00002", "v1/00004", "v2_left/00001", "v2_left/00002")
    assert classes(found) == {
        "v1/00001": "Neutral", "v1/00002": "Fear", "v1/00004": None, "v2_left/00001": None, "v2_left/00002": None,
    }  # fmt: skip
    assert found.hard
    said = findings(found)
    assert said["missing-prediction"].startswith("2 of 5 tested samples are not in ")
    assert "'v1/00005'" in said["unknown-sample"]


def test_an_abaw_submission_is_joined_to_the_indexed_manifest(tmp_path):
    names = LabelSet.of(HEADER.strip().split(","))
    ids = ["v1/00001", "v1/00003"]
    samples = manifest_of(
        {
            "sample_id": ids, "path": [f"cropped_aligned/{name}.jpg" for name in ids], "media": ["image"] * 2,
            "label": [0, 1],
        },
        labels=LabelSet.of([name.lower() for name in names.names]), name="aff-wild2", root=Path("/d"),
    )  # fmt: skip
    found = read(write(tmp_path / "v1.txt", HEADER + "0\n4\n2\n"), against=samples)
    assert classes(found) == {"v1/00001": "neutral", "v1/00003": "disgust"}


def test_a_header_in_another_order_is_followed(tmp_path):
    write(tmp_path / "truth/v1.txt", HEADER + "0\n4\n")
    write(tmp_path / "sub/v1.txt", "Happiness,Neutral,Anger,Disgust,Fear,Sadness,Surprise\n1\n0\n")
    found = read(tmp_path / "sub", truth=tmp_path / "truth")
    assert (found.predicted == found.targets).all()


def test_the_later_submission_in_one_file_is_read_by_its_header(tmp_path):
    write(tmp_path / "truth/v1.txt", HEADER.replace("Surprise", "Surprise,Other") + "0\n7\n")
    lines = (
        "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\nv1/00002.jpg,7\nv1/00001.jpg,3\n"
    )
    found = read(write(tmp_path / "predictions.txt", lines), truth=tmp_path / "truth")
    assert classes(found) == {"v1/00001": "Fear", "v1/00002": "Other"}
    broken = write(tmp_path / "b.txt", lines + "v1/00003.jpg,seven\n")
    with pytest.raises(PredictionsError, match=r"b.txt:4: expected 'video/00001.jpg,0', got 'v1/00003.jpg,seven'"):
        read(broken, truth=tmp_path / "truth")


def test_a_frame_that_is_no_integer_is_named(tmp_path):
    path = write(tmp_path / "v1.txt", HEADER + "0\nx\n")
    with pytest.raises(
        PredictionsError, match=r"v1.txt:3: expected one whole number per frame, -1 for no class; got 'x'"
    ):
        read(path, format="abaw-frames")


# --- .npz and parquet ---------------------------------------------------------------------------------------------------


def test_the_dfew_baselines_npz_is_scored_by_itself_and_each_file_is_a_fold_where_asked(tmp_path):
    for fold, predicted in [(1, [0, 1, 1]), (2, [2, 2, 0])]:
        np.savez(
            tmp_path / f"r3d_18_fold{fold}.npz",
            pres_te=np.array(predicted)[:, None],
            trues_te=np.array([[0], [1], [2]]),
        )
    places = sorted(tmp_path.glob("*.npz"))
    found = read(*places, classes=("neutral", "happy", "sad"), files_are_folds=True)
    assert found.folds == ("r3d_18_fold1",) * 3 + ("r3d_18_fold2",) * 3
    assert found.predicted.tolist() == [0, 1, 1, 2, 2, 0]
    assert found.targets.tolist() == [0, 1, 2] * 2
    assert "names no samples" in found.provenance["notices"][0]
    with pytest.raises(PredictionsError, match="joined to a manifest by name, never by order"):
        read(places[0], against=manifest(**FOUR), classes=("neutral", "happy", "sad"))


def test_an_npz_with_paths_is_joined(tmp_path):
    np.savez(
        tmp_path / "p.npz", paths=np.array(["/x/b", "/x/a"]), logits=np.array([[0, 1, 2], [3, 2, 1]], np.float32),
        y_true=np.array([1, 0]), classes=np.array(["neutral", "happy", "sad"]), epoch=3,
    )  # fmt: skip
    found = read(tmp_path / "p.npz", against=manifest(sample_id=["a", "b"], label=[0, 1]))
    assert classes(found) == {"a": "neutral", "b": "sad"}


def test_an_npz_of_python_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "p.npz", paths=np.array(["a", None], dtype=object), y_pred=np.array([0, 1]))
    with pytest.raises(PredictionsError, match=r"array 'paths' holds Python objects, which are not loaded"):
        read(tmp_path / "p.npz")
    np.savez(tmp_path / "q.npz", y_true=np.arange(3), y_pred=np.arange(2))
    with pytest.raises(PredictionsError, match="its arrays have different lengths: y_true 3, y_pred 2"):
        read(tmp_path / "q.npz")
    (tmp_path / "r.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(PredictionsError, match=r"not a readable \.npz file"):
        read(tmp_path / "r.npz")


def test_a_parquet_table_of_another_tool_is_read_by_its_columns(tmp_path):
    table = pa.table({"id": ["a", "b"], "label": ["happy", "sad"], "probs": [[0.25, 0.75], [0.5, 0.5]]})
    pq.write_table(table, tmp_path / "p.parquet")
    found = read(tmp_path / "p.parquet", classes=("sad", "happy"))
    assert found.predicted.tolist() == [1, 0]
    assert np.exp(found.logits[0]).tolist() == pytest.approx([0.25, 0.75])


# --- options and the table ---------------------------------------------------------------------------------------------


def test_options_that_mean_nothing_are_refused():
    for build, message in [
        (lambda: ScoreFileOptions(values="odds"), "values must be one of auto, logits, probabilities, got 'odds'"),
        (lambda: ScoreFileOptions(columns={"who": "id"}), "--column knows sample, .*, not 'who'"),
        (lambda: ScoreFileOptions(label_base=2), "label-base must be 0 or 1, got 2"),
        (lambda: parse_columns(["sample"]), "--column takes ROLE=NAME"),
        (lambda: parse_columns(["sample=a", "sample=b"]), "--column sample is given twice"),
        (lambda: parse_classes("happy,happiness"), "mean the same class"),
    ]:
        with pytest.raises(FerbenchError, match=message):
            build()
    with pytest.raises(UsageError, match="unknown format 'nope'; known: parquet, npz, mae-dfer"):
        format_of(Path("x"), ScoreFileOptions(format="nope"))


def test_every_format_has_a_title_and_says_what_it_recognises():
    import importlib

    for name, module in FORMATS.items():
        loaded = importlib.import_module(module)
        assert loaded.TITLE, name
        assert hasattr(loaded, "read") != hasattr(loaded, "read_all"), name
