"""CREMA-D: names, votes, and folds of actors."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import crema_d, write

from ferbench.cards import read_card
from ferbench.datasets import find_reader, resolve_options
from ferbench.errors import DataError, FerbenchError
from ferbench.manifest import read_manifest
from ferbench.protocol import folds_of
from ferbench.protocols import apply_protocol

BROKEN = "4 videos are known to be damaged: 1064_IEO_DIS_MD, 1064_TIE_SAD_XX, 1076_MTI_NEU_XX, 1076_MTI_SAD_XX"
TABULATED = '"","A","D","F","H","N","S","fileName","numResponses"\n'
SUMMARY = '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    root = tmp_path_factory.mktemp("crema-d")
    crema_d.fabricate(root)
    return root


def reading(root, **options):
    card = read_card("crema-d")
    return find_reader(card)(root, card, resolve_options(card, options))


def test_the_official_copy_has_only_the_damaged_videos_to_note(copy, tmp_path, ferbench):
    ran = ferbench("index", "crema-d", copy, "-o", tmp_path / "m.parquet", "--json")
    assert (ran.code, ran.json["rows_read"]) == (0, 7442)
    assert [(finding["severity"], finding["message"]) for finding in ran.json["findings"]] == [("note", BROKEN)]
    assert list(ran.json["counts"]["all"].values()) == [7442, 1271, 1271, 1271, 1271, 1087, 1271]
    result = apply_protocol(read_manifest(tmp_path / "m.parquet"), "official")
    assert result.findings == ()
    folds = list(folds_of(result.manifest))
    assert [len(fold.test) for fold in folds] == [1463, 1470, 1476, 1476, 1557]
    assert [len(fold.train) for fold in folds] == [5979, 5972, 5966, 5966, 5885]
    assert max(folds[3].test.column("subject")) == "1072"


def test_a_name_says_actor_sentence_emotion_and_level(copy):
    found = reading(copy, votes="multimodal")
    assert {name: values[0] for name, values in found.columns.items()} == {
        "sample_id": "1001_DFA_ANG_XX", "path": "CREMA-D/VideoFlash/1001_DFA_ANG_XX.flv", "media": "video", "label": 0,
        "subject": "1001", "sentence": "DFA", "level": "unspecified", "votes": (8.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    }  # fmt: skip
    levels = found.columns["level"]
    assert [levels.count(level) for level in ("low", "medium", "high")] == [455, 455, 455]


@pytest.mark.parametrize(
    ("presented", "votes"),
    [("voice", (1, 0, 0, 0, 0, 0)), ("face", (0, 2, 0, 0, 0, 0)), ("multimodal", (0, 0, 0, 0, 3, 4))],
)
def test_the_votes_are_those_of_one_presentation(tmp_path, presented, votes):
    write(tmp_path / "1001_DFA_ANG_XX.mp4")
    rows = ("100001,1,0,0,0,0,0", '"200001",0,2,0,0,0,0', "300001,0,0,0,0,3,4")
    write(tmp_path / "tabulatedVotes.csv", TABULATED + "".join(f'{row},"1001_DFA_ANG_XX",7\n' for row in rows))
    assert reading(tmp_path, votes=presented).columns["votes"] == [votes]
    assert "votes" not in reading(tmp_path, votes="none").columns


def test_winners_share_their_vote_where_only_the_summary_is_there(tmp_path):
    for name in ("1001_DFA_ANG_XX", "1001_DFA_SAD_XX", "1001_DFA_FEA_XX"):
        write(tmp_path / f"VideoFlash/{name}.flv")
    write(
        tmp_path / "processedResults/summaryTable.csv",
        SUMMARY + '"1","1001_DFA_ANG_XX","N","1","A:D","2:3","A","4"\n"2","1001_DFA_SAD_XX","N","1","Q","2","A","4"\n',
    )
    found = reading(tmp_path)
    assert dict(zip(found.columns["sample_id"], found.columns["votes"], strict=True)) == {
        "1001_DFA_ANG_XX": (0.5, 0.5, 0, 0, 0, 0), "1001_DFA_SAD_XX": None, "1001_DFA_FEA_XX": None
    }  # fmt: skip
    assert [(finding.severity, finding.rule, finding.count) for finding in found.findings] == [
        ("error", "bad-votes", 1), ("warning", "no-votes", 2)
    ]  # fmt: skip
    assert "summaryTable.csv:3: votes of '1001_DFA_SAD_XX'" in found.findings[0].message


def test_rows_of_votes_that_cannot_be_read_are_an_error_with_their_line(tmp_path):
    write(tmp_path / "1001_DFA_ANG_XX.mp4")
    rows = (
        "200001,1,0,0,0,0,0,1001_DFA_ANG_XX",
        "200002,x,0,0,0,0,0,b",
        "200003,1",
        "200004,1,0,0,0,0,0,1001_DFA_ANG_XX",
    )
    write(tmp_path / "tabulatedVotes.csv", TABULATED + "\n".join(rows))
    (finding,) = reading(tmp_path).findings
    assert (finding.severity, finding.rule, finding.count) == ("error", "bad-votes", 3)
    assert "tabulatedVotes.csv:3: votes of 'b'" in finding.message
    assert "tabulatedVotes.csv:5: a second row of '1001_DFA_ANG_XX'" in finding.message


def test_a_table_of_votes_without_its_header_is_refused(tmp_path):
    write(tmp_path / "1001_DFA_ANG_XX.mp4")
    write(tmp_path / "tabulatedVotes.csv", "version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"tabulatedVotes\.csv:1: no column '' in the header"):
        reading(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1001_DFA_JOY_XX", "JOY is not one of ANG, DIS, FEA, HAP, NEU, SAD"),
        ("1001_DFA_ANG", "expected actor_sentence_emotion_level"),
        ("1001_DFA_ANG_YY", "expected actor_sentence_emotion_level"),
    ],
)
def test_a_name_that_does_not_fit_is_skipped_and_said(tmp_path, name, message):
    write(tmp_path / "1001_dfa_ang_x.mp4")
    write(tmp_path / f"{name}.mp4")
    found = reading(tmp_path)
    assert (found.rows_read, found.columns["sample_id"]) == (2, ["1001_DFA_ANG_X"])
    (skip,) = found.skipped
    assert (skip.reason, skip.severity) == ("bad-name", "error")
    assert message in skip.first[0]


def test_a_recording_in_two_forms_is_read_once(tmp_path):
    write(tmp_path / "VideoFlash/1001_DFA_ANG_XX.flv")
    write(tmp_path / "VideoMP4/1001_DFA_ANG_XX.mp4")
    found = reading(tmp_path)
    assert found.columns["path"] == ["VideoFlash/1001_DFA_ANG_XX.flv"]
    assert [(skip.reason, skip.severity) for skip in found.skipped] == [("duplicate", "note")]


def test_frame_folders_are_read_where_there_are_no_videos(tmp_path):
    write(tmp_path / "face_aligned/1001_DFA_ANG_XX/1.jpg")
    found = reading(tmp_path)
    assert (found.columns["path"], found.columns["num_frames"]) == (["face_aligned/1001_DFA_ANG_XX"], [1])


def test_a_folder_without_the_dataset_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for VideoFlash/1001_DFA_ANG_XX\.flv; found nothing"):
        reading(tmp_path)


LINES = st.one_of(
    st.text(max_size=15),
    st.builds('"{}00001",{},0,0,0,0,0,{},9'.format, st.integers(0, 4), st.sampled_from(["1", "-1", "x", "1e400"]),
              st.sampled_from(["1001_DFA_ANG_XX", "b"])),
    st.builds('1,1001_DFA_ANG_XX,,,{},,,'.format, st.sampled_from(["A", "A:D", "A:A", "", ":"])),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=8), data=st.binary(max_size=30), raw=st.booleans())
@pytest.mark.parametrize(("name", "header"), [("tabulatedVotes.csv", TABULATED), ("summaryTable.csv", SUMMARY)])
def test_no_text_makes_the_votes_fall_over(tmp_path, name, header, lines, data, raw):
    write(tmp_path / "1001_DFA_ANG_XX.mp4")
    write(tmp_path / name, data if raw else (header + "\n".join(lines)).encode("utf-8", "replace"))
    try:
        found = reading(tmp_path)
    except FerbenchError:
        return
    assert len(found.columns["votes"]) == found.rows_read == 1
