"""FER+: both vote files, the rules by hand, and where the pictures are."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import ferplus, touch_all, write

from ferbench.cards import read_card
from ferbench.datasets.ferplus import read
from ferbench.datasets.ferplus_votes import OUTCOMES, RULES, decide
from ferbench.datasets.reading import resolve_options
from ferbench.errors import DataError, FerbenchError, UsageError
from ferbench.jobs.index import manifest_of_reading
from ferbench.manifest import read_manifest

CARD = read_card("ferplus")
NAMES = CARD.labels.names


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("ferplus")
    ferplus.fabricate(root)
    return root


@pytest.fixture(scope="module")
def label_copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("ferplus_label")
    ferplus.fabricate_votes(root, labels=True)
    return root


def reading(root, **options):
    options = {name.replace("_", "-"): value for name, value in options.items()}
    return read(root, CARD, resolve_options(CARD, options))


def rules_of(found):
    return {finding.rule: finding for finding in found.findings}


def test_the_official_copy_has_nothing_to_complain_about(copy, tmp_path, ferbench):
    ran = ferbench("index", "ferplus", copy, "-o", tmp_path / "m.parquet", "--json")
    assert ran.code == 0
    assert {finding["rule"]: (finding["severity"], finding["count"]) for finding in ran.json["findings"]} == {
        "name-twice": ("note", 1),
        "not-a-face": ("note", 148 + 10 + 15 + 2 + 1),
        "no-majority": ("note", 28389 - 25060 + 3553 - 3199 + 3546 - 3153),
        "unknown": ("note", 170 + 26 + 27),
    }
    assert ran.json["counts"]["train"] == {
        "samples": 25060, "neutral": 8740, "happiness": 7287, "surprise": 3149, "sadness": 3014, "anger": 2100,
        "disgust": 119, "fear": 532, "contempt": 119,
    }  # fmt: skip
    manifest = read_manifest(tmp_path / "m.parquet")
    second = list(manifest.samples())[1]
    assert (second.sample_id, second.path, second.split, NAMES[second.label]) == (
        "fer0000001",
        "data/FER2013Train/fer0000001.png",
        "train",
        "happiness",
    )
    assert second.votes == (0, 10, 0, 0, 0, 0, 0, 0)
    assert manifest.provenance["facts"]["votes"] == "fer2013new.csv"


@pytest.mark.parametrize("rule", ["majority", "probability", "crossentropy", "argmax", "argmax-of-8"])
@pytest.mark.parametrize("votes", ["fer2013new.csv", "label.csv"])
def test_every_published_count_holds_for_its_file_and_rule(copy, label_copy, votes, rule):
    root = copy if votes == "fer2013new.csv" else label_copy
    options = resolve_options(CARD, {"votes": votes, "rule": rule})
    found = read(root, CARD, options)
    manifest, findings = manifest_of_reading(found, CARD, root, options)
    assert [finding for finding in findings if finding.rule in ("class-count", "class-order")] == []
    applied = [
        count for count in CARD.counts
        if all({**options, **found.facts}.get(key) == value for key, value in count.when.items())
    ]  # fmt: skip
    published = {count.where["split"]: count.total for count in applied}
    if published:
        splits = manifest.column("split")
        assert {split: splits.count(split) for split in published} == published
    assert len(applied) == (0 if (votes, rule) in (("label.csv", "crossentropy"), ("label.csv", "probability")) else 3)


def test_a_row_that_is_missing_is_counted(tmp_path, ferbench):
    lines = ferplus.new_lines()
    del lines[1 + 148]
    write(tmp_path / "fer2013new.csv", "\n".join(lines))
    ran = ferbench("index", "ferplus", tmp_path, "-o", tmp_path / "m.parquet", "--json")
    found = {finding["rule"]: finding for finding in ran.json["findings"]}
    assert "train: 25,059 samples, published are 25,060" in found["class-count"]["message"]
    assert "neutral 8739 of 8740" in found["class-count"]["message"]


def test_of_both_files_the_new_one_is_read_and_the_disagreement_said(tmp_path):
    votes = "10,0,0,0,0,0,0,0,0,0"
    write(tmp_path / "fer2013new.csv", f"{ferplus.HEADER}\nTraining,fer0000000.png,{votes}\n")
    write(tmp_path / "data/FER2013Train/label.csv", f'fer0000000.png,"(0, 0, 48, 48)",0,{votes[:-2]}\n')
    touch_all(tmp_path / "data/FER2013Train", ["fer0000000.png"])
    found = reading(tmp_path)
    assert (found.columns["label"], found.facts["votes"]) == ([0], "fer2013new.csv")
    assert rules_of(found)["two-vote-files"].advice.startswith("say -o votes=label.csv for the sets of RAN and SCN")
    found = reading(tmp_path, votes="label.csv")
    assert (found.columns["label"], found.facts["votes"], found.findings) == ([1], "label.csv", ())
    assert reading(tmp_path, votes="fer2013new.csv").findings == ()


# --- the rules, by hand ------------------------------------------------------------------------------------------------

#          neu hap sur sad ang dis fea con  unk NF
HAND_WORKED = [
    ("majority", (6, 0, 0, 4, 0, 0, 0, 0, 0, 0), "neutral", (6, 0, 0, 0, 0, 0, 0, 0)),
    ("majority", (5, 0, 0, 4, 1, 0, 0, 0, 0, 0), "neutral", (5, 0, 0, 0, 0, 0, 0, 0)),  # the single vote goes: 5 of 9
    ("majority", (5, 0, 0, 5, 0, 0, 0, 0, 0, 0), "no-majority", ()),  # half is not more than half
    ("majority", (4, 0, 0, 1, 3, 2, 0, 0, 0, 0), "no-majority", ()),
    ("majority", (0, 0, 0, 3, 0, 0, 0, 0, 6, 1), "unknown", ()),
    ("majority", (0, 0, 0, 3, 0, 0, 0, 0, 1, 6), "not-a-face", ()),
    ("majority", (0, 0, 0, 3, 0, 0, 2, 0, 4, 1), "unknown", ()),  # no majority, and most say unknown
    ("majority", (1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "no-majority", ()),  # nothing but single votes
    ("majority", (1, 0, 2, 0, 0, 0, 0, 0, 0, 0), "surprise", (0, 0, 2, 0, 0, 0, 0, 0)),
    ("crossentropy", (8, 2, 0, 0, 0, 0, 0, 0, 0, 0), "neutral", (8, 0, 0, 0, 0, 0, 0, 0)),  # 80 % covered
    ("crossentropy", (6, 2, 2, 0, 0, 0, 0, 0, 0, 0), "neutral", (6, 2, 2, 0, 0, 0, 0, 0)),  # a tie comes in together
    ("crossentropy", (3, 0, 4, 0, 2, 0, 0, 0, 0, 0), "surprise", (3, 0, 4, 0, 0, 0, 0, 0)),  # 7 of 9 is enough
    ("crossentropy", (5, 0, 0, 3, 2, 0, 0, 0, 0, 0), "neutral", (5, 0, 0, 3, 0, 0, 0, 0)),
    ("crossentropy", (4, 2, 2, 2, 0, 0, 0, 0, 0, 0), "no-majority", ()),  # the tie makes four classes
    ("crossentropy", (2, 2, 2, 2, 2, 0, 0, 0, 0, 0), "no-majority", ()),
    ("crossentropy", (6, 0, 0, 0, 0, 0, 0, 0, 4, 0), "neutral", (6, 0, 0, 0, 0, 0, 0, 0)),  # unknown ends it at 60 %
    ("crossentropy", (4, 0, 0, 0, 0, 0, 0, 0, 3, 3), "no-majority", ()),  # unknown ends it at 40 %
    ("crossentropy", (5, 0, 0, 0, 0, 0, 0, 0, 5, 0), "no-majority", ()),  # emotions first, but not more than half
    ("crossentropy", (3, 0, 0, 0, 0, 0, 0, 0, 7, 0), "unknown", ()),
    ("crossentropy", (3, 0, 3, 0, 0, 0, 0, 0, 3, 0), "neutral", (3, 0, 3, 0, 0, 0, 0, 0)),
    ("probability", (5, 0, 0, 3, 2, 0, 0, 0, 0, 0), "neutral", (5, 0, 0, 3, 0, 0, 0, 0)),
    ("multi_target", (5, 0, 0, 3, 2, 0, 0, 0, 0, 0), "neutral", (5, 0, 0, 3, 0, 0, 0, 0)),  # 30 % is enough
    ("multi_target", (3, 3, 0, 0, 0, 0, 0, 0, 3, 0), "neutral", (3, 3, 0, 0, 0, 0, 0, 0)),
    ("multi_target", (4, 2, 2, 2, 0, 0, 0, 0, 0, 0), "no-majority", ()),
    ("multi_target", (3, 0, 0, 0, 0, 0, 0, 0, 4, 3), "unknown", ()),
    ("argmax", (4, 0, 0, 1, 3, 2, 0, 0, 0, 0), "neutral", (4, 0, 0, 1, 3, 2, 0, 0)),
    ("argmax", (1, 0, 0, 2, 0, 0, 0, 0, 3, 4), "not-a-face", ()),
    ("argmax", (3, 0, 0, 3, 0, 0, 0, 0, 3, 1), "neutral", (3, 0, 0, 3, 0, 0, 0, 0)),
    ("argmax-of-8", (1, 0, 0, 2, 0, 0, 0, 0, 3, 4), "sadness", (1, 0, 0, 2, 0, 0, 0, 0)),
    ("argmax-of-8", (0, 0, 0, 0, 0, 0, 0, 0, 0, 10), "not-a-face", ()),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "votes", "outcome", "left"), HAND_WORKED)
def test_a_rule_by_hand(rule, votes, outcome, left):
    decision = decide(np.array([votes]), rule)
    if outcome in NAMES:
        assert (OUTCOMES[decision.outcome[0]], NAMES[decision.label[0]]) == ("kept", outcome)
        assert tuple(decision.votes[0]) == left
    else:
        assert (OUTCOMES[decision.outcome[0]], decision.label[0]) == (outcome, -1)
        assert not decision.votes.any()


def plain(votes, rule):
    """One row by the words of the paper's code, a loop instead of arrays: the label, or None."""
    left = [0 if vote <= 1 else vote for vote in votes]
    total = sum(left)
    if rule == "majority":
        taken = {left.index(max(left))} if 2 * max(left) > total else set()
    elif rule == "multi_target":
        taken = {column for column in range(10) if 10 * left[column] >= 3 * total and left[column]}
        taken = taken if 2 * sum(left[column] for column in taken) > total else set()
    else:
        taken, covered, stopped = set(), 0, False
        while 4 * covered < 3 * total and len(taken) < 3 and not stopped:
            most = max(vote for column, vote in enumerate(left) if column not in taken)
            for column in [column for column in range(10) if left[column] == most and column not in taken]:
                covered += most
                stopped = column >= 8
                if not (stopped and taken):
                    taken.add(column)
                if stopped:
                    break
        if 2 * sum(left[column] for column in taken) <= total or len(taken) > 3:
            taken = set()
    best = max(taken, key=lambda column: (left[column], -column), default=8)
    return best if best < 8 else None


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 9), min_size=10, max_size=10).map(np.cumsum), min_size=1, max_size=20),
    rule=st.sampled_from(["majority", "crossentropy", "multi_target"]),
)
def test_the_arrays_say_what_a_loop_says(rows, rule):
    # Ten people choose ten columns: cut points give the votes.
    votes = np.array([np.bincount(row % 10, minlength=10) for row in rows])
    decision = decide(votes, rule)
    assert [None if label < 0 else label for label in decision.label] == [plain(row.tolist(), rule) for row in votes]


def test_votes_of_another_width_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match=r"votes must be \(N, 10\), got \(1, 8\)"):
        decide(np.zeros((1, 8), int), "majority")


def test_every_rule_of_the_card_is_one():
    assert set(CARD.options["rule"]) == set(RULES)
    with pytest.raises(UsageError, match="option rule is one of majority, probability"):
        resolve_options(CARD, {"rule": "mean"})


def test_validation_and_test_may_have_the_majority_rule_of_ferplus_s_own_code(tmp_path):
    split = "5,5,0,0,0,0,0,0,0,0"
    rows = [f"{usage},fer000000{number}.png,{split}" for number, usage in enumerate(ferplus.FOLDERS)]
    write(tmp_path / "fer2013new.csv", "\n".join([ferplus.HEADER, *rows]))
    same = reading(tmp_path, rule="crossentropy")
    assert same.columns["split"] == ["train", "validation", "test"]
    assert rules_of(same)["test-rule"].severity == "note"
    official = reading(tmp_path, rule="crossentropy", test_rule="majority")
    assert official.columns["split"] == ["train"]
    assert [(skip.reason, skip.count) for skip in official.skipped] == [("no-majority", 2)]
    assert official.facts == {"votes": "fer2013new.csv", "rule": "crossentropy", "test-rule": "majority"}
    assert "test-rule" not in rules_of(official)


# --- names and pictures ------------------------------------------------------------------------------------------------

SAD = "0,0,0,10,0,0,0,0,0,0"


def shifted(root):
    """Two rows without a name before the one that is called fer0000000.png: row 2."""
    lines = [ferplus.HEADER, f"Training,,{ferplus.NOT_A_FACE}", f"Training,,{ferplus.NOT_A_FACE}"]
    write(root / "fer2013new.csv", "\n".join([*lines, f"Training,fer0000000.png,{SAD}"]))
    return root


def test_a_picture_named_after_its_row_is_found_by_the_row(tmp_path):
    touch_all(shifted(tmp_path) / "images", ["fer2013_00000.png", "fer2013_00001.png", "fer2013_00002.png"])
    found = reading(tmp_path)
    assert (found.columns["sample_id"], found.columns["path"]) == (["fer0000000"], ["images/fer2013_00002.png"])
    assert found.findings == ()


def test_label_csv_finds_such_pictures_through_the_new_file(tmp_path):
    touch_all(shifted(tmp_path) / "images", ["fer2013_00002.png"])
    write(tmp_path / "data/FER2013Train/label.csv", f'fer0000000.png,"(0, 0, 48, 48)",{SAD}\n')
    assert reading(tmp_path, votes="label.csv").columns["path"] == ["images/fer2013_00002.png"]
    (tmp_path / "fer2013new.csv").unlink()
    alone = reading(tmp_path)
    assert rules_of(alone)["no-pictures"].advice == "put fer2013new.csv beside them: it says which row a name is"
    assert alone.columns["path"] == ["data/FER2013Train/fer0000000.png"]


def test_pictures_numbered_by_row_under_fer_plus_s_names_are_an_error(tmp_path):
    touch_all(shifted(tmp_path) / "images", ["fer0000000.png", "fer0000001.png", "fer0000002.png"])
    finding = rules_of(reading(tmp_path))["row-numbers"]
    assert (finding.severity, finding.count) == ("error", 2)
    assert finding.message.startswith("2 pictures, first fer0000001, have names that FER+ does not give")


def test_no_pictures_at_all_says_where_they_come_from(tmp_path):
    found = reading(shifted(tmp_path))
    assert found.columns["path"] == ["data/FER2013Train/fer0000000.png"]
    assert rules_of(found)["no-pictures"].advice == (
        f"put fer2013.csv below {tmp_path} and write them: `ferbench index fer2013 {tmp_path} -o images=images`"
    )


def test_a_name_in_two_rows_is_two_samples(tmp_path):
    rows = [f"Training,fer0000007.png,{SAD}", f"Training,fer0000007.png,{SAD}"]
    write(tmp_path / "fer2013new.csv", "\n".join([ferplus.HEADER, *rows]))
    touch_all(tmp_path / "images", ["fer0000007.png"])
    found = reading(tmp_path)
    assert found.columns["sample_id"] == ["fer0000007", "fer0000007_row00001"]
    assert found.columns["path"] == ["images/fer0000007.png"] * 2
    assert [(finding.severity, finding.rule) for finding in found.findings] == [("note", "name-twice")]


# --- malformed files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ("Training,fer0000001.png,1,2,3", "bad-row", "expected 12 fields, got 5"),
        (f"Train,fer0000001.png,{SAD}", "bad-row", "Usage must be Training, PublicTest or PrivateTest, got 'Train'"),
        (f"Training,fer0000001.png,x{SAD[1:]}", "bad-row", "expected 10 votes from 0 to 10, got 'x,0,0,10,0,0,0,0,0,0'"),
        (f"Training,fer0000001.png,-1{SAD[1:]}", "bad-row", "expected 10 votes from 0 to 10, got '-1,0,0,10,0,0,0,0,0,0'"),
        (f"Training,../fer0000001.png,{SAD}", "bad-row", "'../fer0000001.png' is no name of a file"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_skipped_with_its_line(tmp_path, row, reason, message):
    good = f"Training,fer0000000.png,{SAD}"
    write(tmp_path / "fer2013new.csv", "\r\n".join([ferplus.HEADER, good, row, ""]))
    found = reading(tmp_path)
    (skip,) = found.skipped
    assert (skip.reason, skip.severity, skip.first) == (reason, "error", (f"{tmp_path}/fer2013new.csv:3: {message}",))
    assert (found.rows_read, found.columns["sample_id"]) == (2, ["fer0000000"])


def test_label_csv_s_mistakes_are_skipped_too(tmp_path):
    good = f'fer0000000.png,"(0, 0, 48, 48)",{SAD}'
    write(tmp_path / "FER2013Valid/label.csv", f"{good}\n{good}\nfer0000001.png,(0, 0, 48, 48),{SAD}\n")
    found = reading(tmp_path)
    assert [(skip.reason, skip.count) for skip in found.skipped] == [("duplicate", 1), ("bad-row", 1)]
    assert found.columns["split"] == ["validation"]


def test_another_header_is_refused_with_what_was_expected(tmp_path):
    write(tmp_path / "fer2013new.csv", "usage,name,neutral\nTraining,a.png,1\n")
    with pytest.raises(
        DataError, match=r"fer2013new.csv:1: expected the columns Usage, Image name, neutral, happiness"
    ):
        reading(tmp_path)


def test_a_file_without_header_is_read_in_the_usual_order(tmp_path):
    write(tmp_path / "fer2013new.csv", f"Training,fer0000000.png,{SAD}\n")
    assert reading(tmp_path).columns["label"] == [3]


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for fer2013new.csv or FER2013Train/label.csv; found nothing"):
        reading(tmp_path)
    write(tmp_path / "fer2013new.csv", f"Training,fer0000000.png,{SAD}\n")
    with pytest.raises(DataError, match=r"looked for FER2013Train/label.csv; found fer2013new.csv"):
        reading(tmp_path, votes="label.csv")


FIELD = st.one_of(
    st.sampled_from(["Training", "", "fer0000000.png", "0", "10", "11", '"', "PrivateTest"]), st.text(max_size=6)
)
LINE = st.one_of(
    st.lists(FIELD, min_size=1, max_size=13).map(",".join),
    st.builds("{},{},{}".format, st.sampled_from(["Training", "PublicTest"]), FIELD, st.just(SAD)),
    st.builds('{},"(0, 0, 48, 48)",{}'.format, FIELD, st.just(SAD)),
)  # fmt: skip
TEXT = st.one_of(
    st.binary(max_size=200),
    st.lists(LINE, max_size=8).map(lambda lines: "\n".join([ferplus.HEADER, *lines]).encode()),
    st.lists(LINE, max_size=8).map(lambda lines: "\n".join(lines).encode()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=TEXT, name=st.sampled_from(["fer2013new.csv", "FER2013Train/label.csv"]))
def test_any_vote_file_is_read_or_refused_in_words(tmp_path, data, name):
    for path in tmp_path.rglob("*.csv"):
        path.unlink()
    write(tmp_path / name, data)
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert found.rows_read == len(found.columns["path"]) + sum(skip.count for skip in found.skipped)


# --- the real files ----------------------------------------------------------------------------------------------------

REAL = {
    ("fer2013new.csv", "majority", "train"): [8740, 7287, 3149, 3014, 2100, 119, 532, 119],
    ("fer2013new.csv", "majority", "validation"): [1182, 865, 415, 351, 287, 24, 62, 13],
    ("fer2013new.csv", "majority", "test"): [1090, 893, 396, 384, 273, 18, 83, 16],
    ("label.csv", "majority", "train"): [8733, 7284, 3136, 3022, 2098, 116, 536, 120],
    ("label.csv", "majority", "validation"): [1180, 862, 411, 348, 289, 25, 60, 16],
    ("label.csv", "majority", "test"): [1083, 892, 394, 382, 269, 16, 86, 15],
    ("fer2013new.csv", "crossentropy", "train"): [10122, 7503, 3524, 3430, 2407, 169, 641, 160],
    ("fer2013new.csv", "crossentropy", "test"): [1251, 925, 435, 435, 320, 22, 92, 25],
    ("label.csv", "crossentropy", "train"): [10107, 7501, 3517, 3445, 2401, 170, 643, 163],
    ("label.csv", "crossentropy", "test"): [1250, 925, 438, 437, 315, 20, 96, 26],
    ("fer2013new.csv", "multi_target", "train"): [10071, 7492, 3486, 3399, 2327, 153, 598, 145],
    ("label.csv", "multi_target", "train"): [10056, 7489, 3481, 3410, 2337, 150, 598, 146],
    ("fer2013new.csv", "argmax", "train"): [10309, 7528, 3562, 3515, 2467, 191, 652, 165],
    ("label.csv", "argmax", "test"): [1258, 928, 447, 446, 321, 20, 97, 28],
    ("fer2013new.csv", "argmax-of-8", "train"): [10388, 7539, 3588, 3549, 2478, 194, 656, 167],
    ("label.csv", "argmax-of-8", "test"): [1274, 929, 450, 449, 322, 21, 98, 30],
}
"""Made by the `_process_data` of microsoft/FERPlus, src/ferplus.py, on its own two kinds of vote files (argmax: numpy)."""


@pytest.mark.skipif("FERBENCH_FERPLUS" not in os.environ, reason="FERBENCH_FERPLUS names no clone of microsoft/FERPlus")
@pytest.mark.parametrize(("votes", "rule", "split"), REAL)
def test_the_real_vote_files_give_the_numbers_of_ferplus_s_own_code(votes, rule, split):
    found = reading(Path(os.environ["FERBENCH_FERPLUS"]).absolute(), votes=votes, rule=rule)
    labels = [
        label for label, part in zip(found.columns["label"], found.columns["split"], strict=True) if part == split
    ]
    assert np.bincount(labels, minlength=8).tolist() == REAL[votes, rule, split]
    assert not [skip for skip in found.skipped if skip.severity == "error"]
