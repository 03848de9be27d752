"""Reports in the terminal: exact cells at 80 columns without colour."""

import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.predictions import Predictions
from ferbench.rendering.terminal import audit_tables, print_tables, report_tables, summary_table
from ferbench.report import ReportOptions, build_report

SEVEN = ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"]


def report_of(matrix, names, *, unscored=None, folds=("all",), ids=None, replicates=0, subjects=0):
    """A report whose pooled confusion matrix is `matrix`; samples go round the folds."""
    size = len(names)
    pairs = [(t, p) for t in range(size) for p in range(size) for _ in range(matrix[t][p])]
    pairs += [(t, -1) for t in range(size) for _ in range((unscored or [0] * size)[t])]
    logits = np.zeros((len(pairs), size), np.float32)
    for row, (_, predicted) in zip(logits, pairs, strict=True):
        row[...] = np.nan if predicted < 0 else np.eye(size)[predicted]
    return build_report(
        Predictions(
            sample_ids=tuple(ids or (f"s{number:03d}" for number in range(len(pairs)))),
            targets=np.array([target for target, _ in pairs], np.int64),
            logits=logits,
            folds=tuple(folds[number % len(folds)] for number in range(len(pairs))),
            errors=tuple("no-face: none" if predicted < 0 else None for _, predicted in pairs),
            labels=LabelSet.of(names),
            attributes={"subject": tuple(f"p{number % subjects}" for number in range(len(pairs)))} if subjects else {},
        ),
        options=ReportOptions(replicates=replicates),
    )


def printed(renderables, width=80):
    """Lines of what is printed, without colour or trailing spaces."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    print_tables(renderables, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def cells(lines, title):
    """Rows of the table under a title, each split at its gaps of two spaces."""
    start = lines.index(title)
    rows = []
    for line in lines[start + 1 :]:
        if not line:
            break
        if "──" not in line:
            rows.append([cell.strip() for cell in line.split("  ") if cell.strip()])
    return rows


def test_headline_numbers_are_named_each_number_once_in_its_unit():
    lines = printed(report_tables(report_of([[3, 1], [0, 2]], ["a", "b"])))
    start = lines.index("6 of 6 samples scored, 1 fold; percent, or plain with three decimals")
    assert [re.split(r"\s{2,}", line) for line in lines[start + 1 : start + 17] if line and "──" not in line] == [
        ["metric", "pooled"],
        ["WAR (accuracy)", "83.33"],
        ["UAR (macro recall)", "87.50"],
        ["macro F1", "82.86"],
        ["weighted F1", "83.81"],
        ["macro precision", "83.33"],
        ["ABAW 2021 score", "83.01"],
        ["ABAW F1", "82.86"],
        # (5/6 - 1/2) / (1 - 1/2), and (5 * 6 - 3 * 4 - 3 * 2) / sqrt((36 - 18) (36 - 20)).
        ["Cohen's kappa", "0.667"],
        ["MCC", "0.707"],
        ["top-2 accuracy", "100.00"],
        ["ECE", "10.23"],
        ["NLL", "0.480"],
    ]


def test_intervals_stand_beside_the_numbers_over_samples_and_over_subjects():
    report = report_of([[30, 10], [0, 20]], ["a", "b"], folds=("1", "2"), replicates=50, subjects=3)
    lines = printed(report_tables(report))
    start = lines.index("60 of 60 samples scored, 2 folds; percent, or plain with three decimals")
    assert lines[start + 1].split() == ["95%", "over", "95%", "over", "mean", "of"]
    assert lines[start + 2].split() == ["metric", "pooled", "samples", "subjects", "folds", "±", "sd"]
    ends = [table.pooled["detected"]["war"] for table in report.intervals]
    texts = [f"[{100 * end.low:.2f}, {100 * end.high:.2f}]" for end in ends]
    assert lines[start + 4].startswith("WAR (accuracy)")
    assert all(text in lines[start + 4] for text in texts)
    assert max(map(len, lines)) <= 80


def test_both_views_are_shown_when_a_sample_has_no_prediction():
    lines = printed(report_tables(report_of([[3, 1], [0, 2]], ["a", "b"], unscored=[0, 2])))
    rows = [line.split() for line in lines if line.startswith("WAR")]
    assert rows == [["WAR", "(accuracy)", "83.33"], ["WAR", "(accuracy)", "62.50"]]
    assert "all samples; percent, or plain with three decimals" in lines


def test_audits_are_a_table_or_a_line():
    report = report_of([[1]], ["a"])
    assert printed(audit_tables(report)) == ["audits: nothing found", ""]
    found = dataclasses.replace(report, audits=(Finding("warning", "no-face", "some \x1b[2J", "look"),))
    lines = [re.split(r"\s{2,}", line.strip()) for line in printed(audit_tables(found)) if line]
    assert lines[0] == ["severity", "rule", "finding"]
    assert lines[2:] == [["warning", "no-face", "some \\x1b[2J"], ["→ look"]]


def test_folds_have_a_table_each_their_row():
    report = report_of([[3, 1], [0, 2]], ["a", "b"], folds=("1", "2"))
    assert cells(printed(report_tables(report)), "per fold, scored samples; percent") == [
        ["fold", "n", "scored", "WAR", "UAR", "macro F1", "weighted F1"],
        ["1", "3", "3", "100.00", "100.00", "100.00", "100.00"],
        ["2", "3", "3", "66.67", "75.00", "66.67", "66.67"],
    ]
    assert not any(line.startswith("per fold") for line in printed(report_tables(report_of([[1]], ["a"]))))


def test_mean_and_deviation_are_over_the_folds():
    lines = printed(report_tables(report_of([[3, 1], [0, 2]], ["a", "b"], folds=("1", "2"))))
    # Folds of 3: 1.0 and 2/3.
    assert next(line.split() for line in lines if line.startswith("WAR")) == [
        "WAR", "(accuracy)", "83.33", "83.33", "23.57",
    ]  # fmt: skip


def test_each_class_has_its_counts_and_an_absent_one_dashes():
    lines = printed(report_tables(report_of([[3, 1, 0], [0, 2, 0], [0, 0, 0]], ["a", "b", "c"])))
    assert cells(lines, "per class, pooled; percent") == [
        ["class", "support", "predicted", "precision", "recall", "F1"],
        ["a", "4", "3", "100.00", "75.00", "85.71"],
        ["b", "2", "3", "66.67", "100.00", "80.00"],
        ["c", "0", "0", "–", "–", "–"],
    ]
    assert "Absent classes, left out of the averages: c" in lines


def test_the_confusion_matrix_has_true_rows_and_predicted_columns():
    lines = printed(report_tables(report_of([[3, 1], [0, 2]], ["one", "two"])))
    assert cells(lines, "confusion matrix, pooled: rows true, columns predicted") == [
        ["one", "two"], ["one", "3", "1"], ["two", "0", "2"],
    ]  # fmt: skip


def test_samples_without_a_prediction_are_a_column_of_the_matrix():
    lines = printed(report_tables(report_of([[3, 1], [0, 2]], ["one", "two"], unscored=[0, 5])))
    assert cells(lines, "confusion matrix, pooled: rows true, columns predicted") == [
        ["no"], ["one", "two", "pred."], ["one", "3", "1", "0"], ["two", "0", "2", "5"],
    ]  # fmt: skip


def test_seven_classes_fit_80_columns_with_every_count_whole():
    matrix = [[1000 + 10 * t + p if t == p else 10 * t + p for p in range(7)] for t in range(7)]
    lines = printed(report_tables(report_of(matrix, SEVEN, unscored=[11, 12, 13, 14, 15, 16, 17])))
    rows = cells(lines, "confusion matrix, pooled: rows true, columns predicted")[2:]
    assert rows == [
        [name, *(str(count) for count in matrix[true]), str(11 + true)] for true, name in enumerate(SEVEN)
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_more_classes_are_abbreviated_until_they_fit():
    names = [*SEVEN, "contempt", "anxiety", "helplessness", "disappointment"]
    matrix = [[1000 if t == p else 10 for p in range(11)] for t in range(11)]
    lines = printed(report_tables(report_of(matrix, names, unscored=[1] * 11)))
    header = next(line for line in lines if "hap" in line and "neu" in line).split()
    assert header == ["hap", "sad", "neu", "ang", "sur", "disg", "fea", "con", "anx", "hel", "disa", "pred."]
    assert max(map(len, lines)) <= 80


def test_43_classes_show_the_largest_confusions_instead_of_a_broken_table():
    matrix = np.eye(43, dtype=int) * 2
    matrix[4, 7], matrix[7, 4] = 5, 3
    lines = printed(report_tables(report_of(matrix.tolist(), [f"class {number}" for number in range(43)])))
    start = lines.index("43 classes are wider than this terminal; the 10 largest confusions:")
    assert [line.split() for line in lines[start + 3 : start + 6]] == [
        ["class", "4", "class", "7", "5"], ["class", "7", "class", "4", "3"], [],
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80


def test_a_wide_terminal_shows_all_43():
    matrix = np.eye(43, dtype=int).tolist()
    lines = printed(report_tables(report_of(matrix, [f"class {number}" for number in range(43)])), width=500)
    assert ["class", "42", *["0"] * 42, "1"] in [line.split() for line in lines]


@pytest.mark.parametrize(("count", "last"), [(10, "s009"), (13, "and 3 more")])
def test_the_first_ten_failures_are_listed(count, last):
    lines = printed(report_tables(report_of([[0, 0], [0, 0]], ["a", "b"], unscored=[count, 0])))
    rows = cells(lines, f"{count} samples without a prediction")
    assert rows[1] == ["s000", "no-face: none"]
    assert rows[-1][0] == last
    assert len(rows) == 1 + min(count, 10) + (count > 10)


def test_an_id_is_neither_markup_nor_a_terminal_sequence():
    lines = printed(report_tables(report_of([[0]], ["[b]x"], unscored=[2], ids=["[red]a[/red]", "\x1b[2Jb"])))
    assert ["[red]a[/red]", "no-face: none"] in cells(lines, "2 samples without a prediction")
    assert ["\\x1b[2Jb", "no-face: none"] in cells(lines, "2 samples without a prediction")
    assert any(line.startswith("[b]x") for line in lines)


def test_a_summary_is_names_and_values():
    assert printed([summary_table("aligned [x]", {"samples": "15", "failed": "2 [no-face]"})]) == [
        "aligned [x]", "samples  15", "failed   2 [no-face]", "",
    ]  # fmt: skip
