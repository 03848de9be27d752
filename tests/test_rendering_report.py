"""What the page shares with the Markdown and the figures: cells, escaping, provenance, drawings, deterministic files."""

import dataclasses
import re
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.metrics import Calibration
from ferbench.predictions import Predictions
from ferbench.recipe import Recipe
from ferbench.rendering import grids
from ferbench.rendering.calibration import calibration_figure, curve_drawing, wilson
from ferbench.rendering.class_bars import class_figure
from ferbench.rendering.confusion import shades
from ferbench.rendering.facts import profile_facts, provenance_facts
from ferbench.rendering.figures import FIGURES, figure_bytes, write_figures
from ferbench.rendering.markdown import escaped, render_markdown
from ferbench.rendering.matrix import matrix_drawing, shade_colours
from ferbench.rendering.page import Page, render_page
from ferbench.rendering.wording import bracketed, distinct_metrics, measured
from ferbench.report import ReportOptions, build_report

EVIL = "a|b <i>*_x_* [y](http://z.test) `q` https://z.test"


def report_of(targets, predicted, names=("a", "b", "c"), *, folds=None, ids=None, hard=False, **options):
    """-1 is no prediction."""
    count = len(targets)
    logits = np.eye(len(names), dtype=np.float32)[predicted]
    logits[np.array(predicted) < 0] = np.nan
    predictions = Predictions(
        sample_ids=tuple(ids or (f"s{number}" for number in range(count))),
        targets=np.array(targets, np.int64),
        logits=logits,
        folds=tuple(folds or ["all"] * count),
        errors=tuple("no-face: none" if label < 0 else None for label in predicted),
        labels=LabelSet.of(names),
        hard=hard,
    )
    return build_report(predictions, options=ReportOptions(replicates=0, **options))


def big_report(size, *, samples=400):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, size, samples)
    predicted = np.where(rng.random(samples) < 0.6, targets, rng.integers(0, size, samples))
    return report_of(targets, predicted, [f"class_{number}" for number in range(size)])


# --- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.45678, "percent", "45.68"), (0.45678, "plain", "0.457"), (-0.02, "plain", "−0.020"), (None, "plain", "–"),
        (float("nan"), "percent", "–"), (float("inf"), "plain", "∞"),
    ],
)  # fmt: skip
def test_a_metric_is_written_in_its_unit(value, unit, text):
    assert measured(value, unit) == text


def test_an_interval_is_in_brackets_and_an_undefined_one_a_dash():
    from ferbench.intervals import Interval

    assert bracketed(Interval(0.5, 0.61), "percent") == "[50.00, 61.00]"
    assert bracketed(Interval(-0.1, 0.2), "plain") == "[−0.100, 0.200]"
    assert bracketed(Interval(float("nan"), float("nan")), "plain") == "–"


def test_two_names_of_one_number_share_a_row():
    assert distinct_metrics("percent")["war"] == "WAR (accuracy)"
    assert distinct_metrics("percent")["uar"] == "UAR (macro recall)"
    assert list(distinct_metrics("plain")) == ["kappa", "mcc"]


# --- cells -------------------------------------------------------------------------------------------------------------


def test_counts_and_percents_of_the_matrix_are_the_same_table_twice():
    report = report_of([0, 0, 0, 1], [0, 1, -1, 1])
    assert [row.cells for row in grids.count_grid(report).rows] == [
        ("a", "1", "1", "0", "1"), ("b", "0", "1", "0", "0"), ("c (absent)", "0", "0", "0", "0"),
    ]  # fmt: skip
    assert [row.cells for row in grids.share_grid(report).rows] == [
        ("a", "33.3", "33.3", "0.0", "33.3"), ("b", "0.0", "100.0", "0.0", "0.0"), ("c (absent)", "–", "–", "–", "–"),
    ]  # fmt: skip


def test_the_largest_confusions_are_by_count_and_then_by_class():
    report = report_of([0, 0, 1, 2, 2, 2, 2], [1, 1, 0, 2, 2, 0, 0])
    assert [row.cells for row in grids.confusions_grid(report).rows] == [
        ("a", "b", "2", "100.0"), ("c", "a", "2", "50.0"), ("b", "a", "1", "100.0"),
    ]  # fmt: skip
    assert grids.confusions_grid(report_of([0, 1], [0, 1])) is None


def test_a_table_of_very_many_folds_is_cut_and_says_so():
    grid = grids.fold_grids(report_of([0] * 201, [0] * 201, folds=[str(number) for number in range(201)]))[0]
    assert grid.caption == "Each fold, over scored samples, in percent; the first 200 of 201, report.json has all"
    assert [row.cells[0] for row in grid.rows][-1] == "199"


def test_the_deviation_of_an_infinite_score_is_a_dash_not_an_error():
    report = report_of([0, 1], [0, 0], ["a", "b"], folds=["1", "2"])
    report = dataclasses.replace(
        report,
        folds=tuple(
            dataclasses.replace(fold, probability={**fold.probability, "nll": value})
            for fold, value in zip(report.folds, (1.0, float("inf")), strict=True)
        ),
    )
    assert grids.probability_grid(report).rows[2].cells[3:] == ("∞", "–")


# --- drawings ----------------------------------------------------------------------------------------------------------


def test_wilson_intervals_are_those_of_the_textbook():
    bins = Calibration(
        np.linspace(0, 1, 4), np.array([10, 0, 5]), np.array([0.2, np.nan, 0.9]), np.array([0.2, np.nan, 1])
    )
    low, high = wilson(bins)
    # 2 of 10: (0.0567, 0.5098), as statsmodels' proportion_confint(2, 10, method="wilson").
    assert (low[0], high[0]) == (pytest.approx(0.05668, abs=1e-5), pytest.approx(0.50984, abs=1e-5))
    assert np.isnan(low[1])
    assert high[2] == 1


def test_the_curve_is_placed_on_the_axes_that_the_template_draws():
    bins = Calibration(
        np.linspace(0, 1, 4), np.array([1, 0, 4]), np.array([0.25, np.nan, 0.75]), np.array([0, np.nan, 0.5])
    )
    curve = curve_drawing(bins)
    assert [(point.x, point.y) for point in curve.bins] == [(58 + 380 * 0.25, 394), (58 + 380 * 0.75, 394 - 190)]
    assert [point.bar for point in curve.bins] == [21, 84]
    assert curve.path == "M153.0 394.0 L343.0 204.0"
    assert curve.bins[1].words == "confidence 75.00%, accuracy 50.00%, 4 samples"


@pytest.mark.parametrize("size", [7, 8, 11, 43])
def test_every_sample_is_in_a_cell_of_the_drawn_matrix_and_nothing_leaves_it(size):
    report = big_report(size)
    drawing = matrix_drawing(report)
    assert sum(int(cell.count) for cell in drawing.cells) == 400
    assert all(drawing.left <= cell.x <= drawing.left + drawing.columns - drawing.size + 0.1 for cell in drawing.cells)
    assert all(drawing.top <= cell.y <= drawing.top + drawing.rows_height for cell in drawing.cells)
    assert drawing.total_at <= drawing.width
    assert all(bool(cell.percent) == (size <= 12 and cell.count != "0") for cell in drawing.cells)
    diagonal = sum(int(cell.count) for cell in drawing.cells if cell.hit)
    assert diagonal == int(report.pooled.confusion.hits.sum())


def test_a_cell_says_what_it_is():
    drawing = matrix_drawing(report_of([0, 0, 0, 1], [0, 1, -1, 1]))
    words = {cell.words: cell.shade for cell in drawing.cells if cell.count != "0"}
    assert words == {
        "true a, predicted a: 1, 33.3%": 7, "true a, predicted b: 1, 33.3%": 7, "true a, no prediction: 1, 33.3%": 7,
        "true b, predicted b: 1, 100.0%": 20,
    }  # fmt: skip
    assert [row.absent for row in drawing.rows] == [False, False, True]


def test_dark_shades_go_from_the_dark_paper_to_light_and_their_text_can_be_read():
    colours = shades(np.linspace(0, 1, 21), dark=True)
    assert (np.diff(colours @ np.array([0.2126, 0.7152, 0.0722])) > 0).all()
    for dark in (False, True):
        pairs = shade_colours(dark=dark)
        assert len(pairs) == 21
        for fill, text in pairs:
            parts = np.array([int(fill[place : place + 2], 16) for place in (1, 3, 5)]) / 255
            linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
            luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
            other = 1.0 if text == "white" else 0.0
            assert (max(luminance, other) + 0.05) / (min(luminance, other) + 0.05) > 4.5


# --- Markdown ----------------------------------------------------------------------------------------------------------


def test_markdown_of_data_is_text():
    assert escaped(EVIL) == (
        r"a\|b \<i\>\*\_x\_\* \[y\](http" + "\u200b" + r"://z.test) \`q\` https" + "\u200b" + "://z.test"
    )
    assert [escaped(text) for text in ("- a", "+ a", "1. a", "0.5", "12", "a\nb", "# a")] == [
        r"\- a", r"\+ a", r"1\. a", "0.5", "12", "a b", r"\# a",
    ]  # fmt: skip


@given(st.text(max_size=60))
def test_no_text_breaks_a_row_of_a_markdown_table(text):
    grid = grids.words_grid("k", "c", ("what", "value"), [(text, text)])
    from ferbench.rendering.markdown import table_text

    (row,) = table_text(grid).split("\n")[4:]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3
    assert row.isprintable() or "\u200b" in row


def test_the_markdown_has_the_sections_and_cells_of_the_page():
    report = dataclasses.replace(
        report_of([0, 0, 1, 1], [0, 1, 1, -1], folds=["1", "1", "2", "2"], ids=[EVIL, "s1", "s2", "s3"]),
        audits=(Finding("error", "swap", EVIL, "look"),),
    )
    page = Page(
        "T | t", report, notices=("Small.",), recipe=Recipe.of(crop={"size": 112}), facts=(("seed", "0"),),
        profile=(("parameters", "3"),), figures=("confusion", "per_class", "calibration"), audited=True,
    )  # fmt: skip
    text = render_markdown(page)
    titles = re.findall("^## (.*)$", text, re.M)
    assert titles == [
        "Audits", "Headline numbers", "Per fold", "Per class", "Confusion matrix", "Calibration", "Worst mistakes",
        "What failed", "Recipe", "Profile", "Provenance",
    ]  # fmt: skip
    assert text.startswith("# T \\| t\n\n3 of 4 samples scored, 3 classes, 2 folds")
    assert "\n> Small.\n" in text
    assert f"- **error** swap: {escaped(EVIL)} → look" in text
    assert "| WAR (accuracy) | scored samples | 66.67 | 75.00 | 35.36 |" in text
    assert "| a | 2 | 0 | 1 | 100.00 | 50.00 | 50.00 | 66.67 |" in text
    assert "| crop | size | 112 |" in text
    assert re.findall(r"!\[[^\]]+\]\((.*?)\)", text) == [
        "figures/per_class.png", "figures/confusion.png", "figures/calibration.png",
    ]  # fmt: skip
    assert render_markdown(page) == text


def test_the_markdown_of_hard_predictions_has_the_sentence_and_no_curve():
    page = Page("t", report_of([0, 1], [0, 0], hard=True), figures=("confusion", "per_class"))
    text = render_markdown(page)
    assert "Only the predicted classes are known, not their probabilities" in text
    assert "calibration.png" not in text


# --- figures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7, 43])
def test_figures_are_a_column_wide(size):
    report = big_report(size)
    assert class_figure(report).get_figwidth() == pytest.approx(3.35)
    assert calibration_figure(report).get_figwidth() == pytest.approx(3.35)


def test_a_pdf_holds_text_as_truetype_and_no_date():
    pdf = figure_bytes(class_figure(big_report(3)), "pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/Subtype /Type0" in pdf or b"/Subtype /TrueType" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert b"matplotlib" not in pdf.lower()


def test_figures_are_the_same_bytes_in_another_process():
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_rendering_report import *; "
        "print(*checksums(report_of([0, 0, 1, 2], [0, 1, 1, 2])))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(value) for value in checksums(report_of([0, 0, 1, 2], [0, 1, 1, 2]))]


def checksums(report):
    """Of every figure as PDF, and of one as PNG."""
    drawn = [figure_bytes(draw(report), "pdf") for draw in FIGURES.values()]
    return [zlib.crc32(data) for data in (*drawn, figure_bytes(class_figure(report), "png", dpi=60))]


def test_a_figure_of_an_earlier_report_goes_when_there_is_nothing_to_draw(tmp_path):
    for kind in ("pdf", "png"):
        (tmp_path / f"calibration.{kind}").write_text("of an earlier report")
    assert write_figures(report_of([0, 1], [0, 1], hard=True), tmp_path) == ["confusion", "per_class"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion.pdf", "confusion.png", "per_class.pdf", "per_class.png",
    ]  # fmt: skip


def test_class_bars_are_as_long_as_their_percents_and_an_absent_class_has_none():
    figure = class_figure(report_of([0, 0, 1], [0, 1, 1]))
    (axes,) = figure.axes
    plain_bars, hatched = axes.containers[:3], axes.containers[3:]
    assert [[round(float(bar.get_width()), 2) for bar in bars] for bars in plain_bars] == [
        [100, 50], [50, 100], [66.67, 66.67],
    ]  # fmt: skip
    assert [bar.get_hatch() for bars in hatched for bar in bars] == ["//////"] * 2
    assert [text.get_text() for text in axes.texts] == ["2", "1", "absent", "support"]


# --- provenance --------------------------------------------------------------------------------------------------------


def test_provenance_is_told_expected_things_first_and_empty_ones_not_at_all():
    facts = provenance_facts(
        {
            "zeta": 1, "versions": {"torch": "2.5", "numpy": "2.1"}, "seed": 0, "model": "m", "ensemble": None,
            "input_spec": {"layout": "NCHW", "classes": ["a", "b"], "mean": []}, "notices": ["x"], "audits": [],
            "model_facts": {"epoch": 3, "selection": "test"}, "host": {"cpu": "c", "cuda": None},
            "models": [{"weights": {"used": 5, "missing": [], "unexpected": ["k"], "dropped_prefix": "module."}}],
        }
    )  # fmt: skip
    assert facts == (
        ("model", "m"), ("model input", "classes a, b; layout NCHW"), ("checkpoint says: epoch", "3"),
        ("checkpoint says: selection", "test"), ("weights", "5 keys used, 1 unexpected (k), prefix module. dropped"),
        ("seed", "0"), ("host: cpu", "c"), ("numpy version", "2.1"), ("torch version", "2.5"), ("zeta", "1"),
    )  # fmt: skip


def test_a_profile_is_told_in_units_that_people_read():
    timing = {"batch_size": 1, "repeats": 7, "median": 0.0015, "low": 0.0014, "high": 0.0016, "per_second": 666.67}
    profile = {
        "unit": "clip", "parameters": 58423, "trainable": 58423, "flops": 2.5e9, "latency": timing,
        "peak_memory": 3 * 2**20,
        "memory_kind": "resident set", "shape": [1, 1, 64, 64], "device": "cpu", "throughput": None,
    }  # fmt: skip
    assert profile_facts(profile) == (
        ("parameters", "58,423"), ("trainable parameters", "58,423"), ("operations per clip", "2.5 GFLOPs"),
        ("latency", "1.5 ms at batch 1 (quartiles 1.4 to 1.6, 7 passes): 667 clips per second"),
        ("peak memory", "3 MiB (resident set)"), ("input", "1 × 1 × 64 × 64"), ("measured on", "cpu"),
    )  # fmt: skip
    assert profile_facts(None) == profile_facts("x") == ()


@given(
    st.dictionaries(
        st.sampled_from(["models", "versions", "host", "model_facts", "input_spec", "seed", "views", "new"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_no_provenance_of_a_foreign_file_is_an_error(provenance):
    assert all(isinstance(name, str) and isinstance(text, str) for name, text in provenance_facts(provenance))
    profile_facts(provenance)


# --- size --------------------------------------------------------------------------------------------------------------


def test_the_page_of_43_classes_and_many_samples_is_small():
    page = Page("t", big_report(43, samples=12_000), facts=(("seed", "0"),))
    assert len(render_page(page).encode()) < 600_000
