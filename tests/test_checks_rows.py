"""`check --only rows`: what is listed twice, unlabelled, or failed before."""

import numpy as np
from check_fixtures import found, manifest, said


def test_different_rows_are_fine(tmp_path):
    made = manifest(tmp_path, label=[0, 1, 2], split=["train", "train", "test"])
    assert found(made, "rows") == []


def test_ranges_of_one_video_are_different_rows(tmp_path):
    made = manifest(
        tmp_path, path=["v.mp4"] * 3, media=["video"] * 3, start_frame=[None, 0, 8], end_frame=[None, 8, 16]
    )
    assert found(made, "rows") == []


def test_a_row_that_is_listed_twice_names_the_other(tmp_path):
    made = manifest(tmp_path, path=["v.mp4"] * 3, media=["video"] * 3, start_frame=[0, 8, 0], end_frame=[8, 16, 8])
    assert said(found(made, "rows")) == [
        ("warning", "duplicate-row", "s0", "v.mp4 is listed 2 times, with the same frames: also as 's2'")
    ]


def test_one_picture_with_two_labels_is_an_error(tmp_path):
    made = manifest(tmp_path, path=["a.png", "b.png", "a.png", "b.png"], label=[0, 1, 2, None])
    assert said(found(made, "rows"))[:2] == [
        ("error", "label-conflict", "s0", "a.png is listed as 'neutral' ('s0') and as 'sad' ('s2')"),
        ("error", "label-conflict", "s1", "b.png is listed as 'happy' ('s1') and as unlabelled ('s3')"),
    ]


def test_several_faces_of_one_picture_are_different_rows(tmp_path):
    made = manifest(tmp_path, path=["a.png", "a.png", "a.png"], label=[0, 1, 2], face=[0, 1, 1])
    assert said(found(made, "rows")) == [
        ("error", "label-conflict", "s1", "a.png is listed as 'happy' ('s1') and as 'sad' ('s2')")
    ]


def test_beyond_the_limit_rows_are_counted(tmp_path):
    paths = [f"{name}.png" for name in "abcde"] * 2
    made = manifest(tmp_path, path=paths, label=[0] * 5 + [0, 0, 0, 1, 1])
    rows = said(found(made, "rows", per_rule=1))
    assert [(row[:2], row[3]) for row in rows] == [
        (("error", "label-conflict"), "d.png is listed as 'neutral' ('s3') and as 'happy' ('s8')"),
        (("error", "label-conflict"), "and 1 more sources"),
        (("warning", "duplicate-row"), "a.png is listed 2 times, with the same frames: also as 's5'"),
        (("warning", "duplicate-row"), "and 2 more sources"),
    ]


def test_unlabelled_rows_in_a_split_are_counted_by_part(tmp_path):
    made = manifest(tmp_path, label=[0, None, None, 1], split=["train", "train", "test", None])
    assert said(found(made, "rows")) == [
        ("warning", "unlabelled", None, "2 of 4 samples have no label, first: s1; by part: train 1, test 1")
    ]


def test_unlabelled_rows_outside_every_split_are_a_note(tmp_path):
    made = manifest(tmp_path, label=[0, None], split=["train", None])
    assert said(found(made, "rows")) == [("note", "unlabelled", None, "1 of 2 samples have no label, first: s1")]


def test_failed_rows_are_counted_by_reason(tmp_path):
    made = manifest(
        tmp_path,
        label=[0, 0, 0, 0, 0],
        status=["ok", "failed", "failed", "failed", None],
        error=[None, "no-face: nobody: here", "truncated: t.mp4: cut short", "no-face: nobody", None],
    )
    findings = found(made, "rows")
    assert said(findings) == [
        ("warning", "failed-no-face", None, "2 samples failed, first: s1: no-face: nobody: here"),
        ("warning", "failed-truncated", None, "1 samples failed, first: s2: truncated: t.mp4: cut short"),
    ]
    assert [finding.count for finding in findings] == [2, 1]


def test_many_rows_of_a_clean_manifest_have_no_findings(tmp_path):
    from ferbench.checks import CHECKS, CheckOptions, Context
    from ferbench.checks.probing import Probes
    from ferbench.checks.sides import sides_of

    rows = np.arange(300_000)
    names = [f"v{row // 100}/{row % 100:05d}" for row in rows]
    made = manifest(
        tmp_path, sample_id=names, path=names, label=rows % 3, subject=[f"p{row // 1000}" for row in rows],
        fold=rows // 1000 % 5 + 1, sha256=[f"{row:064x}" for row in rows],
    )  # fmt: skip
    context = Context(made, CheckOptions(), None, sides_of(made), Probes(0))
    assert [CHECKS[name].find(context) for name in ("rows", "leaks")] == [[], []]
