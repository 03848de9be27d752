"""The report page: self-contained, escaped, readable by machines that read it aloud."""

import base64
import dataclasses
import io
import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from PIL import Image

from ferbench.findings import Finding
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.predictions import Predictions
from ferbench.recipe import Recipe
from ferbench.rendering.page import Page, render_page, write_page
from ferbench.report import ReportOptions, build_report

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br"}


class Outline(HTMLParser):
    """What the tests ask of a page: its tags, the rows of its tables by caption, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.tables, self.text, self.open, self.rows, self.caption = [], {}, "", [], [], None
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows, self.caption = [], ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if "caption" in self.open:
            self.caption += data
        elif self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def predictions_of(targets, predicted, names=("happy", "sad", "fear"), *, ids=None, folds=None):
    """-1 is no prediction."""
    logits = np.array(
        [np.full(len(names), np.nan) if label < 0 else np.eye(len(names))[label] for label in predicted], np.float32
    )
    count = len(targets)
    return Predictions(
        sample_ids=tuple(ids or (f"s{number}" for number in range(count))),
        targets=np.array(targets, np.int64),
        logits=logits,
        folds=tuple(folds or ["all"] * count),
        errors=tuple("no-face: no face found" if label < 0 else None for label in predicted),
        labels=LabelSet.of(names),
    )


def report_of(predictions, *, by=(), audits=()):
    """Without intervals, which most tests do not look at."""
    return build_report(predictions, options=ReportOptions(replicates=0, by=by), audits=audits)


@pytest.fixture
def aligned(tmp_path):
    """Three samples: a clip with one crop gone, a failed one, a still."""
    for number in (1, 3):
        path = tmp_path / "faces" / "clip" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((112, 112, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "faces" / "still.png"), np.full((112, 112, 3), 90, np.uint8))
    columns = {
        "sample_id": [EVIL, "lost", "still"], "path": ["clip", "lost", "still.png"],
        "media": ["frames", "frames", "image"], "label": [0, 1, 0], "status": ["ok", "failed", "ok"],
        "error": [None, "no-face: no face found in any of the 16 frames", None], "num_frames": [3, None, 1],
        "frames_sampled": [16, 16, 1], "frames_with_face": [12, 0, 1], "notes": ["a <b>note</b>", None, None],
    }  # fmt: skip
    return manifest_of(columns, labels=LabelSet.of(["happiness", "sadness"]), name="demo", root=tmp_path / "faces")


@pytest.fixture
def full_page(aligned):
    report = report_of(predictions_of([0, 1, 0], [0, -1, 1], ids=[EVIL, "lost", "still"], folds=["1", "1", "2"]))
    return Page(
        title="Demo <run>",
        report=report,
        notices=("Tiny & <b>small</b>.",),
        aligned=aligned,
        recipe=Recipe.of(crop={"size": 112, "scales": [1, 2]}, sampling={"mode": EVIL}),
        facts=(("command", f"ferbench evaluate {EVIL}"),),
        predicted={EVIL: "happy", "still": "sad"},
    )


def test_text_from_data_is_shown_as_text_wherever_it_stands(full_page):
    page = render_page(full_page)
    outline = Outline(page)
    assert outline.all("script") == []
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5  # heading, two alts, recipe, command
    assert EVIL in outline.text
    assert "Demo <run>" in outline.text
    assert "Tiny & <b>small</b>." in outline.text
    assert "a <b>note</b>" in outline.text


def test_control_characters_of_data_become_visible():
    report = report_of(predictions_of([0], [-1], ids=["a\x1b\u202eb"]))
    assert "a\\x1b\\u202eb" in Outline(render_page(Page("t", report))).text


def test_nothing_is_loaded_from_anywhere(full_page):
    page = render_page(full_page)
    assert not re.search(r"https?://|@import|url\(", page)
    assert all(uri.startswith("data:image/") for uri in re.findall(r'src="([^"]*)"', page))
    assert [link["href"] for link in Outline(page).all("link")] == ["data:,"]
    assert all(anchor["href"].startswith("#") for anchor in Outline(page).all("a"))
    assert "default-src 'none'" in page


def test_every_picture_has_words_and_its_size(full_page):
    outline = Outline(render_page(full_page))
    images = outline.all("img")
    assert [image["alt"] for image in images] == [
        "still, crop 1 of 1",  # the mistake
        f"{EVIL}, crop 1 of 3",
        f"{EVIL}, crop 2 of 3; the file is missing",
        f"{EVIL}, crop 3 of 3",
        "still, crop 1 of 1",
    ]
    for image in images:
        with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as picture:
            assert (picture.width, picture.height) == (int(image["width"]), int(image["height"]))
    drawings = [drawing for drawing in outline.all("svg") if drawing.get("role") == "img"]
    assert [drawing["aria-label"].partition(":")[0] for drawing in drawings] == [
        "Confusion matrix of 3 classes, pooled over 2 folds", "Calibration curve",
    ]  # fmt: skip
    assert all(drawing.get("role") == "img" or "aria-hidden" in drawing for drawing in outline.all("svg"))


def test_tables_have_captions_and_scoped_headings(full_page):
    outline = Outline(render_page(full_page))
    tables = len(outline.all("table"))
    assert len(outline.tables) == tables == len(outline.all("caption"))
    assert all(heading["scope"] in ("col", "row") for heading in outline.all("th"))


def test_ids_are_unique_and_every_reference_has_its_target(full_page):
    outline = Outline(render_page(full_page))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    wanted = {attributes["aria-labelledby"] for _, attributes in outline.tags if "aria-labelledby" in attributes}
    wanted |= {anchor["href"][1:] for anchor in outline.all("a")}
    assert wanted <= set(ids)


def test_the_three_numbers_are_named_and_both_views_shown(full_page):
    rows = Outline(render_page(full_page)).tables["Every metric, in percent"]
    # Fold 1 scores 1 of 1 and lacks one of 2; fold 2 scores 0 of 1.
    assert rows[:2] == [
        ["metric", "over", "pooled", "mean of folds", "± sd"],
        ["WAR (accuracy)", "scored samples", "50.00", "50.00", "70.71"],
    ]
    assert ["WAR (accuracy)", "all samples", "33.33", "25.00", "35.36"] in rows
    assert len(rows) == 1 + 2 * 7


def test_plain_numbers_have_a_table_of_their_own(full_page):
    # Two scored samples, both happy, predicted happy and sad: no more agreement than by chance.
    assert Outline(render_page(full_page)).tables["Every metric, plain numbers"][1] == [
        "Cohen's kappa", "scored samples", "0.000", "0.000", "–",
    ]  # fmt: skip


def test_intervals_say_over_what_they_are():
    predictions = predictions_of([0, 0, 1, 1], [0, 0, 1, 1])
    predictions = dataclasses.replace(predictions, attributes={"subject": ("a", "a", "b", "b")})
    report = build_report(predictions, options=ReportOptions(replicates=50))
    outline = Outline(render_page(Page("t", report)))
    rows = outline.tables["Every metric, in percent"]
    assert rows[0] == ["metric", "pooled", "95%, samples", "95%, subjects"]
    low, high = re.fullmatch(r"\[(.*), (.*)\]", rows[1][2]).groups()
    of_samples = report.intervals[0].pooled["detected"]["war"]
    assert (low, high) == (f"{100 * of_samples.low:.2f}", f"{100 * of_samples.high:.2f}")
    text = re.sub(r"\s+", " ", outline.text)
    assert f"95% {rows[1][2]} over 4 samples" in text
    assert f"95% {rows[1][3]} over 2 subjects" in text
    assert "Samples of one subject resemble each other" in text


def test_only_one_view_and_no_folds_where_there_is_nothing_more_to_say():
    outline = Outline(render_page(Page("t", report_of(predictions_of([0, 1], [0, 1])))))
    assert outline.tables["Every metric, in percent"][:2] == [["metric", "pooled"], ["WAR (accuracy)", "100.00"]]
    assert len(outline.tables["Every metric, in percent"]) == 1 + 7
    assert not any("What failed" in text or "Each fold" in text for text in (outline.text, *outline.tables))


def test_sections_stand_in_reading_order_and_the_links_name_them(full_page):
    outline = Outline(render_page(dataclasses.replace(full_page, profile=(("parameters", "3"),), audited=True)))
    assert [section["id"] for section in outline.all("section")] == [
        "audits", "numbers", "folds", "classes", "confusion", "calibration", "mistakes", "faces", "failures", "recipe",
        "profile", "provenance",
    ]  # fmt: skip
    assert [anchor["href"][1:] for anchor in outline.all("a")] == [section["id"] for section in outline.all("section")]
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_audits_come_before_any_number_with_their_severity_in_words_and_shape():
    findings = [
        Finding("note", "recipe", "unknown"),
        Finding("error", "label-permutation", f"swap {EVIL}", "look at the order", count=3),
    ]
    report = report_of(predictions_of([0, 1], [0, 1]), audits=findings)
    page = render_page(Page("t", report, audited=True))
    text = re.sub(r"\s+", " ", Outline(page).text)
    assert (
        f"they seem: 1 error, 1 note. error label-permutation swap {EVIL} (3) → look at the order note recipe unknown"
        in text
    )
    assert text.index("label-permutation") < text.index("pooled, scored samples")
    shapes = re.findall(r'class="severity (\w+)"><svg[^>]*><(\w+)', page)
    assert shapes == [("error", "path"), ("note", "circle")]


def test_audits_that_found_nothing_are_said_and_audits_that_did_not_run_are_not():
    report = report_of(predictions_of([0, 1], [0, 1]))
    assert "The audits found nothing." in Outline(render_page(Page("t", report, audited=True))).text
    assert "audits" not in Outline(render_page(Page("t", report))).text.lower()


def test_without_probabilities_a_sentence_stands_for_the_curve():
    hard = dataclasses.replace(predictions_of([0, 1, 1], [0, 1, 0]), hard=True)
    outline = Outline(render_page(Page("t", report_of(hard))))
    assert (
        "Only the predicted classes are known, not their probabilities: top-2 accuracy, ECE, NLL, Brier score and the"
        in outline.text
    )
    assert not any("probabilities" in caption or "confidence" in caption for caption in outline.tables)
    assert outline.tables["Mistakes"] == [["sample", "true class", "predicted as"], ["s2", "sad", "happy"]]


def test_probabilities_have_their_scores_each_with_its_unit():
    rows = Outline(render_page(Page("t", report_of(predictions_of([0, 1], [0, 1]))))).tables
    # softmax of (1, 0, 0): e / (e + 2) = 0.5761; NLL -ln of it; Brier (1 - p)^2 + 2 (1 / (e + 2))^2.
    assert rows["Of the probabilities, over scored samples"] == [
        ["metric", "unit", "pooled"], ["top-2 accuracy", "percent", "100.00"], ["ECE", "percent", "42.39"],
        ["NLL", "plain", "0.551"], ["Brier score", "plain", "0.270"],
    ]  # fmt: skip
    assert rows["Bins of confidence, pooled over scored samples, in percent"][1:] == [
        ["53.3 to 60.0", "2", "57.61", "100.00", "+42.39"],
    ]  # fmt: skip


def test_subgroups_have_a_table_each_by_unit():
    predictions = dataclasses.replace(
        predictions_of([0, 0, 1, 1], [0, 1, 1, 1]), attributes={"pose": ("front", "front", "side", None)}
    )
    tables = Outline(render_page(Page("t", report_of(predictions, by=("pose",))))).tables
    assert [row[:5] for row in tables["By pose, over scored samples, in percent"]] == [
        ["pose", "n", "scored", "WAR", "UAR"], ["front", "2", "2", "50.00", "50.00"],
        ["side", "1", "1", "100.00", "100.00"],
    ]  # fmt: skip
    assert tables["By pose, over scored samples, plain numbers"][0][3:] == [
        "Cohen's kappa",
        "MCC",
        "NLL",
        "Brier score",
    ]


def test_mistakes_are_the_surest_first_with_their_faces(full_page):
    text = re.sub(r"\s+", " ", Outline(render_page(full_page)).text)
    assert "1 mistake, the most confident first; confidence is the softmax of the logits." in text
    assert "happy → sad 57.61% still" in text
    without = Outline(render_page(dataclasses.replace(full_page, aligned=None)))
    assert without.tables["The most confident mistakes; confidence in percent"][1:] == [
        ["still", "happy", "sad", "57.61"]
    ]


def test_bars_are_as_long_as_their_percents():
    page = render_page(Page("t", report_of(predictions_of([0, 0, 1], [0, 1, 1]))))
    bar = r'<td class="bar">([^<]*)<span class="rail" aria-hidden="true">(?:<i style="width:(.*?)%">)?'
    assert re.findall(bar, page) == [
        ("100.00", "100.00"), ("50.00", "50.00"), ("66.67", "66.67"),
        ("50.00", "50.00"), ("100.00", "100.00"), ("66.67", "66.67"), ("–", ""), ("–", ""), ("–", ""),
    ]  # fmt: skip


def test_each_class_has_its_row_and_an_absent_one_dashes():
    outline = Outline(render_page(Page("t", report_of(predictions_of([0, 0, 1], [0, 1, 1])))))
    assert outline.tables["Each class, pooled; precision, recall and F1 in percent"] == [
        ["class", "support", "predicted", "precision", "recall", "F1"],
        ["happy", "2", "1", "100.00", "50.00", "66.67"],
        ["sad", "1", "2", "50.00", "100.00", "66.67"],
        ["fear (absent)", "0", "0", "–", "–", "–"],
    ]
    assert "Absent classes, left out of the averages: fear." in outline.text


def test_the_confusion_matrix_is_a_table_too(full_page):
    rows = Outline(render_page(full_page)).tables[
        "Samples per true class (rows) and predicted class (columns), pooled"
    ]  # fmt: skip
    assert rows == [
        ["true class", "happy", "sad", "fear", "no prediction"],
        ["happy", "1", "1", "0", "0"],
        ["sad", "0", "0", "0", "1"],
        ["fear (absent)", "0", "0", "0", "0"],
    ]


def test_folds_recipe_facts_and_failures_have_their_tables(full_page):
    outline = Outline(render_page(full_page))
    folds = outline.tables["Each fold, over scored samples, in percent; n counts all samples"]
    assert [row[:4] for row in folds] == [
        ["fold", "n", "scored", "WAR"], ["1", "2", "1", "100.00"], ["2", "1", "1", "0.00"],
    ]  # fmt: skip
    assert outline.tables["Resolved settings"][1:] == [
        ["crop", "scales", "1, 2"], ["crop", "size", "112"], ["sampling", "mode", EVIL],
    ]  # fmt: skip
    assert full_page.recipe.id in outline.text
    assert outline.tables["What made these numbers"][1:] == [["command", f"ferbench evaluate {EVIL}"]]
    assert outline.tables["Samples without a prediction"][1:] == [["lost", "no-face: no face found"]]


def test_faces_say_what_was_true_and_what_was_predicted_in_any_spelling(full_page):
    text = re.sub(r"\s+", " ", Outline(render_page(full_page)).text)
    assert f"{EVIL} happiness → happy ✓ 12 of 16 frames with a face a <b>note</b>" in text
    assert "still happiness → sad ✗ a face in its only frame" in text
    assert "lost sadness no-face: no face found in any of the 16 frames" in text
    assert "1 sample of the manifest failed (no-face: 1)." in text


def test_a_long_list_of_failures_is_counted_by_reason_and_cut():
    report = report_of(predictions_of([0] * 250, [-1] * 250))
    outline = Outline(render_page(Page("t", report)))
    assert len(outline.tables["Samples without a prediction"]) == 1 + 200
    assert "250 samples without a prediction (no-face: 250)." in outline.text


def test_43_classes_make_a_page():
    names = tuple(f"class {number}" for number in range(43))
    outline = Outline(render_page(Page("t", report_of(predictions_of(list(range(43)), [0] * 43, names)))))
    assert len(outline.tables["Each class, pooled; precision, recall and F1 in percent"]) == 44


def test_the_same_page_gives_the_same_bytes(full_page, tmp_path):
    write_page(full_page, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == render_page(full_page).encode()
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>\n")


def test_importing_the_renderers_loads_no_heavy_library():
    code = (
        "import sys, ferbench.rendering.page, ferbench.rendering.contact_sheet, ferbench.rendering.terminal; "
        "print(sorted({'torch', 'matplotlib', 'jinja2', 'cv2'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
