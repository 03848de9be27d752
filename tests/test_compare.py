"""compare: exact numbers, what is best, what is not ranked, and every caveat said."""

import csv
import io
import math

import pytest
from comparison_runs import BLUNT, KEEN, LABELS, STEADY, predictions, write_run

from ferbench.errors import PredictionsError, UsageError
from ferbench.jobs.compare import CompareOptions, compare
from ferbench.labels import LabelSet
from ferbench.predictions import write_predictions

FAST = CompareOptions(replicates=0)


def cells(comparison, label):
    """metric -> (text, deviation, best, second) of a row's first dataset."""
    row = next(row for row in comparison.rows if row.label == label)
    return {
        column.metric: (cell.text, cell.deviation, cell.best, cell.second)
        for column, cell in row.cells.items()
        if column.group == 0
    }


def notes_of(comparison, label, group=0):
    row = next(row for row in comparison.rows if row.label == label)
    marks = [mark for column, cell in row.cells.items() if column.group == group for mark in cell.marks]
    return [comparison.notes[mark] for mark in dict.fromkeys(marks)]


def head_notes(comparison, group=0):
    return [comparison.notes[mark] for mark in comparison.groups[group].marks]


@pytest.fixture
def three(tmp_path):
    return [
        str(write_run(tmp_path, name, correct))
        for name, correct in [("steady", STEADY), ("blunt", BLUNT), ("keen", KEEN)]
    ]


def test_numbers_deviations_best_ties_and_second_best_are_exact(three):
    comparison = compare(three, FAST)
    assert [row.label for row in comparison.rows] == ["steady", "blunt", "keen"]
    assert cells(comparison, "steady") == {
        "uar": ("70.00", "20.92", False, True),
        "war": ("75.00", "19.76", True, False),
    }
    assert cells(comparison, "blunt") == {"uar": ("50.00", "0.00", False, False), "war": ("75.00", "0.00", True, False)}
    assert cells(comparison, "keen") == {"uar": ("75.00", "0.00", True, False), "war": ("62.50", "0.00", False, True)}
    head = comparison.groups[0]
    assert (head.dataset, head.protocol) == ("toy", "own k-fold, 5 folds, seed 0")
    assert (head.how, head.num_samples, head.view) == ("mean of 5 folds ± sd", 40, "all")
    assert comparison.notes == {}


def test_two_datasets_are_two_groups_and_a_run_that_lacks_one_has_no_cell(three, tmp_path):
    other = [
        str(write_run(tmp_path / "raf", "steady", ((6,), (1,)), dataset="raf-db")),
        str(write_run(tmp_path / "raf", "keen", ((3,), (2,)), dataset="raf-db")),
    ]
    comparison = compare([*three, *other], CompareOptions(replicates=0, published=False))
    assert [(head.dataset, head.metrics, head.how) for head in comparison.groups] == [
        ("toy", ("uar", "war"), "mean of 5 folds ± sd"),
        ("raf-db", ("accuracy", "uar"), "one test part"),
    ]
    assert [row.label for row in comparison.rows] == ["steady", "blunt", "keen"]
    of_raf = {
        row.label: {
            column.metric: (cell.text, cell.deviation) for column, cell in row.cells.items() if column.group == 1
        }
        for row in comparison.rows
    }
    assert of_raf == {
        "steady": {"accuracy": ("87.50", ""), "uar": ("75.00", "")},
        "blunt": {},
        "keen": {"accuracy": ("62.50", ""), "uar": ("75.00", "")},
    }


def test_datasets_and_runs_keep_the_order_of_the_command_line(three, tmp_path):
    raf = str(write_run(tmp_path / "raf", "other", ((3,), (2,)), dataset="raf-db"))
    comparison = compare([raf, *reversed(three)], FAST)
    assert [head.dataset for head in comparison.groups] == ["raf-db", "toy"]
    assert [row.label for row in comparison.runs] == ["other", "keen", "blunt", "steady"]


def test_pooled_and_mean_are_two_statistics_and_intervals_belong_to_theirs(three):
    mean = compare(three, CompareOptions(replicates=200))
    pooled = compare(three, CompareOptions(replicates=200, statistic="pooled"))
    assert pooled.groups[0].how == "pooled over 5 folds"
    assert pooled.groups[0].intervals_over == ("sample",)
    cell = {column.metric: cell for column, cell in pooled.rows[0].cells.items()}["uar"]
    assert (cell.text, cell.deviation) == ("70.00", "")  # recalls 24 of 30 and 6 of 10
    assert 0.4 < cell.interval.low < 0.7 < cell.interval.high < 0.95
    of_mean = {column.metric: cell for column, cell in mean.rows[0].cells.items()}["uar"]
    assert of_mean.interval != cell.interval
    assert compare(three, CompareOptions(replicates=200)).as_dict() == mean.as_dict()


def test_a_protocol_whose_papers_pool_the_folds_is_pooled(tmp_path):
    protocol = {"kind": "leave-one-group-out", "folds": 5, "group": "subject"}
    place = str(write_run(tmp_path, "a", STEADY, protocol=protocol))
    assert compare([place], FAST).groups[0].how == "pooled over 5 folds"
    assert compare([place], CompareOptions(replicates=0, statistic="mean")).groups[0].how == "mean of 5 folds ± sd"


def test_one_run_is_not_best_of_anything(three):
    comparison = compare(three[:1], FAST)
    assert not any(cell.best or cell.second for cell in comparison.rows[0].cells.values())


def test_less_is_better_where_it_is(three):
    comparison = compare(three, CompareOptions(("nll", "top2", "kappa"), replicates=0))
    # Logits 4 and 0: the NLL of a right answer is ln(1 + e^-4), of a wrong one 4 more. 30, 30 and 25 of 40 are right.
    right = math.log1p(math.exp(-4))
    assert cells(comparison, "blunt")["nll"] == (f"{right + 1:.3f}", "0.000", True, False)
    assert cells(comparison, "keen")["nll"][0] == f"{right + 1.5:.3f}"
    assert cells(comparison, "keen")["nll"][2:] == (False, True)
    assert cells(comparison, "keen")["top2"][0] == "100.00"
    assert cells(comparison, "blunt")["kappa"] == ("0.000", "0.000", False, False)


def test_samples_without_a_prediction_are_errors_or_left_out_and_both_are_said(three, tmp_path):
    missing = ("s1-1-0", "s1-1-1")
    gaps = str(write_run(tmp_path, "gaps", KEEN, missing=missing))
    comparison = compare([*three, gaps], FAST)
    # Fold 1 has no happy with a prediction: its UAR falls from .75 to .25, its WAR from 5/8 to 3/8.
    assert cells(comparison, "gaps")["uar"][0] == "65.00"
    assert cells(comparison, "gaps")["war"][0] == "57.50"
    assert notes_of(comparison, "gaps") == [
        "2 samples without a prediction, an error each; pooled over the 38 scored ones: UAR 75.00, WAR 60.53."
    ]
    scored = compare([*three, gaps], CompareOptions(replicates=0, view="scored"))
    assert cells(scored, "gaps")["war"][0] == "60.00"
    assert "2 samples without a prediction, left out; pooled over all 40, as errors" in notes_of(scored, "gaps")[0]


def test_a_run_over_a_part_of_the_folds_is_said_and_not_ranked(three, tmp_path):
    part = str(write_run(tmp_path, "part", ((6,) * 5, (2,) * 5), folds=("1", "3")))
    comparison = compare([part, *three], FAST)
    assert cells(comparison, "part") == {
        "uar": ("100.00", "0.00", False, False),
        "war": ("100.00", "0.00", False, False),
    }
    assert notes_of(comparison, "part") == ["Over folds 1, 3 of 5, not ranked."]
    assert cells(comparison, "keen")["uar"][2]
    alone = compare([part], FAST)
    assert notes_of(alone, "part") == ["Over folds 1, 3 of 5."]
    assert alone.groups[0].how == "mean of 5 folds ± sd"


def test_runs_over_the_same_part_are_ranked_with_each_other(tmp_path):
    places = [str(write_run(tmp_path, name, row, folds=("2",))) for name, row in [("a", KEEN), ("b", BLUNT)]]
    comparison = compare(places, FAST)
    assert cells(comparison, "a") == {"uar": ("75.00", "", True, False), "war": ("62.50", "", False, False)}
    assert notes_of(comparison, "a") == ["Over fold 2 of 5."]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"swap": "s2-0-1"}, "Not ranked: 1 sample has another class or fold than in the other runs, such as 's2-0-1': it "
                             "is 'happy' and 'calm' elsewhere."),
        ({"prefix": "t"}, "Not ranked: none of its 40 samples is one of the other runs'."),
    ],
)  # fmt: skip
def test_other_samples_or_classes_are_said_with_an_example_and_not_ranked(options, sentence, three, tmp_path):
    odd = str(write_run(tmp_path, "odd", ((6,) * 5, (2,) * 5), **options))
    comparison = compare([*three, odd], FAST)
    assert notes_of(comparison, "odd") == [sentence]
    assert not any(best for *_, best, _ in cells(comparison, "odd").values())


def test_lacking_samples_are_counted(three, tmp_path):
    whole = predictions(KEEN, model="less")
    kept = [row for row, name in enumerate(whole.sample_ids) if name not in ("s4-0-5", "s5-0-0")]
    less = type(whole)(
        tuple(whole.sample_ids[row] for row in kept), whole.targets[kept], whole.logits[kept],
        tuple(whole.folds[row] for row in kept), tuple(whole.errors[row] for row in kept), LABELS, whole.provenance,
    )  # fmt: skip
    write_predictions(less, tmp_path / "less/predictions.parquet")
    comparison = compare([*three, str(tmp_path / "less")], FAST)
    assert notes_of(comparison, "less") == [
        "Not ranked: of the other runs' 40 samples it lacks 2 samples, such as 's4-0-5'."
    ]


def test_recipes_and_class_lists_that_differ_stand_at_the_dataset(three, tmp_path):
    wide = LabelSet.of(["calm", "happy", "rage"])
    other = str(write_run(tmp_path, "other", KEEN, recipe_id="r2", labels=wide))
    unknown = str(write_run(tmp_path, "unknown", KEEN, recipe_id=None))
    assert head_notes(compare([*three, other, unknown], FAST)) == [
        "The runs saw faces of different recipes, so not only the models differ: r1 (steady, blunt, keen); r2 (other); "
        "not recorded (unknown).",
        "The runs know different classes: calm, happy (steady, blunt, keen, unknown); calm, happy, rage (other).",
    ]
    assert "r1 (steady, blunt, keen); not recorded (unknown)" in head_notes(compare([*three, unknown], FAST))[0]
    assert head_notes(compare(three, FAST)) == []


def test_selection_views_and_audits_of_a_run_are_said(three, tmp_path):
    spoilt = str(write_run(
        tmp_path, "spoilt", KEEN, model_facts={"selection": "test"}, ensemble={"members": ["a", "b"]},
        audits=[{"severity": "error", "rule": "label-order"}, {"severity": "note", "rule": "fine"}],
    ))  # fmt: skip
    comparison = compare([*three, spoilt], FAST)
    assert notes_of(comparison, "spoilt") == [
        "An ensemble of 2 models.",
        "The checkpoint was chosen on the test part: its figures are too good.",
        "Audits of this run found: label-order.",
    ]
    assert notes_of(comparison, "keen") == []
    views = {"views": 2, "crops": 3, "flip": True, "count": 12}
    many = str(write_run(tmp_path, "many", KEEN, views=views))
    assert head_notes(compare([*three, many], FAST)) == [
        "The runs average different test-time views: one (steady, blunt, keen); 2 clips, 3 crops, mirrored (many)."
    ]


def test_what_a_checkpoint_was_chosen_on_is_said_where_it_differs(three, tmp_path):
    proper = str(write_run(tmp_path, "proper", KEEN, model_facts={"selection": "validation"}))
    assert notes_of(compare([*three, proper], FAST), "proper") == ["The checkpoint was chosen on: validation."]
    assert notes_of(compare([proper], FAST), "proper") == []


def test_two_protocols_of_a_dataset_are_two_groups_and_never_ranked_together(three, tmp_path):
    protocol = {"kind": "k-fold", "folds": 5, "group": "subject", "seed": 3}
    other = str(write_run(tmp_path, "other", KEEN, protocol=protocol))
    comparison = compare([*three, other], FAST)
    assert [head.protocol for head in comparison.groups] == [
        "own k-fold, 5 folds, seed 0", "own k-fold, 5 folds by subject, seed 3",
    ]  # fmt: skip
    sentence = "toy is here under several protocols: figures of different protocols do not compare."
    assert head_notes(comparison) == head_notes(comparison, 1) == [sentence]
    # A validation part carved out of train does not change who is tested.
    carved = dict(predictions(KEEN, model="x").provenance["protocol"], validation="subject 0.1", selects="validation")
    third = str(write_run(tmp_path, "third", KEEN, protocol=carved))
    assert len(compare([*three, third], FAST).groups) == 1


def test_a_run_that_says_no_protocol_joins_the_runs_that_test_its_samples_in_the_same_folds(three, tmp_path):
    silent = str(write_run(tmp_path, "silent", KEEN, protocol={}, manifest=""))
    assert [len(group.metrics) for group in compare([silent, *three], FAST).groups] == [2]
    stranger = str(write_run(tmp_path, "stranger", KEEN, protocol={}, manifest="", prefix="t"))
    heads = compare([stranger, *three], FAST).groups
    assert [(head.dataset, head.protocol) for head in heads] == [
        ("unnamed dataset", "protocol not recorded"), ("toy", "own k-fold, 5 folds, seed 0"),
    ]  # fmt: skip


def test_odd_provenance_of_a_file_is_no_crash(three, tmp_path):
    odd = str(write_run(
        tmp_path, "odd", KEEN, protocol=["k-fold"], views=3, ensemble="yes", audits={"a": 1}, model_facts="best",
        recipe_id=7, manifest=5,
    ))  # fmt: skip
    many = str(
        write_run(tmp_path, "many", KEEN, protocol={"kind": 4, "folds": "many"}, audits=[1], views={"views": "two"})
    )
    heads = compare([odd, many, *three], FAST).groups
    assert [(head.dataset, head.protocol, head.num_folds) for head in heads] == [
        ("5", "protocol not recorded", 5), ("toy", "own 4, 5 folds", 5), ("toy", "own k-fold, 5 folds, seed 0", 5),
    ]  # fmt: skip


# --- published rows ------------------------------------------------------------------------------------------------------


def test_published_rows_follow_the_runs_marked_with_source_and_doubts(tmp_path):
    runs = [
        str(write_run(tmp_path, name, row, dataset="raf-db"))
        for name, row in [("a", ((6,), (2,))), ("b", ((3,), (1,)))]
    ]
    comparison = compare(runs, FAST)
    assert [row.published for row in comparison.rows] == [False, False] + [True] * 21
    row = next(row for row in comparison.published if row.short == "POSTER++")
    assert row.label == "POSTER++ (2023)"
    assert [(column.metric, cell.text) for column, cell in row.cells.items()] == [("accuracy", "92.21")]
    assert comparison.notes[row.marks[0]] == "Published; source: its repository."
    outlier = next(row for row in comparison.published if row.short == "PAtt-Lite")
    assert "Not ranked: an outlier of the literature" in comparison.notes[outlier.marks[0]]
    # 95.05 is higher, and is not ranked; nor does any figure of others take the bold from a run.
    best = [row.short for row in comparison.published for cell in row.cells.values() if cell.best]
    assert best == ["QCS"]
    assert cells(comparison, "a")["accuracy"] == ("100.00", "", True, False)


def test_a_published_figure_keeps_its_sources_digits_and_its_printed_folds_give_a_deviation(tmp_path):
    protocol = {"kind": "published", "dataset": "dfew", "name": "official", "rule": "contiguous-blocks", "folds": 5}
    run = str(write_run(tmp_path, "a", STEADY, dataset="dfew", protocol=protocol))
    comparison = compare([run], CompareOptions(replicates=0, references=("mae-dfer", "S4D")))
    assert [row.short for row in comparison.published] == ["MAE-DFER", "S4D"]
    assert cells(comparison, "MAE-DFER (ACM MM 2023)") == {
        "uar": ("63.41", "1.35", False, False), "war": ("74.43", "1.25", False, False),
    }  # fmt: skip
    assert cells(comparison, "S4D (IEEE TAFFC 2025)") == {"war": ("76.68", "", True, False)}


def test_published_rows_of_another_protocol_say_so(tmp_path):
    own = str(write_run(tmp_path, "own", STEADY, dataset="dfew"))
    assert head_notes(compare([own], FAST)) == [
        "The runs follow another protocol (own k-fold, 5 folds, seed 0) than the published figures (official): they do not "
        "compare."
    ]
    silent = str(write_run(tmp_path, "silent", STEADY, dataset="dfew", protocol={}))
    assert head_notes(compare([silent], FAST)) == [
        "The runs record no protocol: whether the published figures compare with them is not known."
    ]
    assert head_notes(compare([own], CompareOptions(replicates=0, published=False))) == []
    ferplus = str(write_run(tmp_path, "plus", ((6,), (2,)), dataset="ferplus"))
    (sentence,) = head_notes(compare([ferplus], FAST))
    assert sentence.startswith("The runs follow another protocol (official protocol) than the published figures (ran)")
    assert head_notes(compare([ferplus], CompareOptions(replicates=0, references=("QCS",)))) == []


def test_a_published_method_that_no_card_has_is_refused_with_the_known_ones(tmp_path):
    run = str(write_run(tmp_path, "a", ((6,), (2,)), dataset="raf-db"))
    with pytest.raises(
        UsageError, match="no published method 'POSTER5' on the cards of these datasets; they have: RAN, SCN"
    ):
        compare([run], CompareOptions(replicates=0, references=("POSTER5",)))


# --- runs and their names ------------------------------------------------------------------------------------------------


def test_a_run_is_a_folder_or_a_file_with_or_without_a_label(three):
    comparison = compare([f"ours={three[0]}", f"{three[1]}/predictions.parquet", f"a=b={three[2]}/"], FAST)
    assert [row.label for row in comparison.rows][:2] == ["ours", "blunt"]


@pytest.mark.parametrize("places", [["{0}", "ours={0}"], ["{0}", "{0}/predictions.parquet"]])
def test_a_run_named_twice_is_refused(places, three):
    with pytest.raises(UsageError, match="is named twice"):
        compare([place.format(three[0]) for place in places], FAST)


def test_runs_of_one_model_on_one_dataset_are_told_apart_by_folder_and_on_several_are_one_row(tmp_path):
    first = str(write_run(tmp_path, "one", KEEN, model="net"))
    second = str(write_run(tmp_path, "two", BLUNT, model="net"))
    raf = str(write_run(tmp_path, "three", ((6,), (1,)), model="net", dataset="raf-db"))
    assert [row.label for row in compare([first, second], FAST).rows] == ["net (one)", "net (two)"]
    one = compare([first, raf], CompareOptions(replicates=0, published=False)).rows
    assert [(row.label, len(row.cells)) for row in one] == [("net", 4)]
    with pytest.raises(UsageError, match="two runs of one dataset are called 'x'"):
        compare([f"x={first}", f"x={second}"], FAST)


def test_another_tools_file_is_a_run_beside_those_that_test_its_samples(three, tmp_path):
    ours = predictions(KEEN, model="x")
    lines = [
        f"{name},{LABELS.names[target]},{LABELS.names[said]},{fold}"
        for name, target, said, fold in zip(ours.sample_ids, ours.targets, ours.predicted, ours.folds, strict=True)
    ]
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("\n".join(["path,label,prediction,fold", *reversed(lines)]) + "\n")
    comparison = compare([*three, str(theirs)], FAST)
    assert len(comparison.groups) == 1
    row = {"uar": ("75.00", "0.00", True, False), "war": ("62.50", "0.00", False, True)}
    assert cells(comparison, "theirs") == row
    # Without the column, the folds are those of the runs that it is compared with.
    theirs.write_text("\n".join(line.rpartition(",")[0] for line in ["path,label,prediction,fold", *lines]) + "\n")
    assert cells(compare([*three, str(theirs)], FAST), "theirs") == row
    assert compare([str(theirs)], FAST).groups[0].how == "one test part"


def test_places_that_are_no_runs_are_refused(tmp_path, three):
    with pytest.raises(UsageError, match="say which runs"):
        compare([], FAST)
    with pytest.raises(UsageError, match="no such run"):
        compare([str(tmp_path / "nothing")], FAST)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no predictions\.parquet"):
        compare([str(tmp_path / "empty")], FAST)
    with pytest.raises(UsageError, match="write LABEL=PATH"):
        compare([f"={three[0]}"], FAST)
    write_predictions(predictions(KEEN, model="none", folds=()), tmp_path / "none/predictions.parquet")
    with pytest.raises(PredictionsError, match="no predictions to score"):
        compare([str(tmp_path / "none")], FAST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ("wra",)}, "no metric 'wra'; known: war, uar"),
        ({"view": "detected"}, "view must be one of all, scored"),
        ({"statistic": "median"}, "statistic must be one of"),
        ({"replicates": -1}, "cannot be negative"),
        ({"level": 1.0}, "level must be between 0 and 1"),
    ],
)
def test_options_that_no_table_knows_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        CompareOptions(**options)


def test_the_long_table_has_every_view_statistic_and_fold(three, ferbench):
    done = ferbench("compare", *three, "--format", "csv", "--replicates", "0", "--no-published")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == [
        "run", "dataset", "protocol", "metric", "view", "statistic", "value", "low", "high", "n", "source",
    ]  # fmt: skip
    assert len(rows) == 3 * 2 * 2 * 8  # runs, metrics, views; pooled, mean, sd, five folds
    steady = {
        row["statistic"]: (float(row["value"]), row["n"])
        for row in rows
        if (row["run"], row["metric"], row["view"]) == ("steady", "uar", "all")
    }
    assert steady.pop("sd_of_folds") == (pytest.approx((0.175 / 4) ** 0.5), "40")
    assert {name: (pytest.approx(value), n) for name, (value, n) in steady.items()} == {
        "pooled": (0.7, "40"), "mean_of_folds": (0.7, "40"), "fold 1": (0.75, "8"), "fold 2": (1.0, "8"),
        "fold 3": (0.5, "8"), "fold 4": (0.5, "8"), "fold 5": (0.75, "8"),
    }  # fmt: skip
    assert rows[0]["low"] == ""
