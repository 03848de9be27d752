"""`ferbench explain` on pictures whose class, mistakes, maps and features are known."""

import hashlib
import json
import shutil
import warnings
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ferbench.explaining.cam_figure import Explained, cam_grids
from ferbench.explaining.figures import MARKERS, PALETTE, mark_of, overlay, text_width
from ferbench.explaining.scatter_figure import Scatter, scatter
from ferbench.explaining.strip_figure import Shown, mistake_strips
from ferbench.labels import LabelSet
from ferbench.predictions import Predictions, write_predictions

COLOURS = {"red": (1.0, 0.2, 0.2), "green": (0.2, 1.0, 0.2), "blue": (0.2, 0.2, 1.0)}

MODEL = """
import torch
from torch import nn

INPUT_SPEC = {"layout": "NCHW", "height": 16, "width": 16, "clip_len": 4, "classes": ["red", "green", "blue"]}


class Colour(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.fc.weight.copy_(4 * torch.eye(3))

    def forward(self, images):
        return self.fc(self.conv(images).mean(dim=(2, 3)))


def build_model(num_classes):
    return Colour()
"""

VIDEO_MODEL = MODEL.replace('"NCHW"', '"NTCHW"').replace(
    "return self.fc(self.conv(images).mean(dim=(2, 3)))",
    "return self.fc(self.conv(images.flatten(0, 1)).mean(dim=(2, 3)).reshape(len(images), -1, 3)[:, 2])",
)
"""Frames folded into the batch; only the third of four counts."""


def paint(path, colour, *, corner=None):
    """A 32x32 picture: grey, with a patch of a colour in its top left quadrant; or all of that colour."""
    pixels = np.full((32, 32, 3), 0.2)
    pixels[:] = colour
    if corner is not None:
        pixels[:16, :16] = corner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(np.round(pixels * 255))).save(path)


@pytest.fixture
def place(tmp_path):
    """Three classes of six stills, three of which are of another colour than their class, and a model file."""
    for name, colour in COLOURS.items():
        for number in range(6):
            paint(tmp_path / "stills" / name / f"{number}.png", [0.9 * part for part in colour])
    paint(tmp_path / "stills/red/0.png", (0.2, 0.6, 0.2))  # green by 0.4
    paint(tmp_path / "stills/red/1.png", (0.2, 0.2, 1.0))  # blue by 0.8
    paint(tmp_path / "stills/blue/5.png", (1.0, 0.0, 0.0))  # red by 1.0
    (tmp_path / "colour.py").write_text(MODEL)
    (tmp_path / "video.py").write_text(VIDEO_MODEL)
    return tmp_path


def softmax(*logits):
    exps = np.exp(np.array(logits) - max(logits))
    return float(exps.max() / exps.sum())


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pixel(value):
    """What a painted value is after 8 bits."""
    return round(value * 255) / 255


@pytest.fixture
def explained(place, ferbench):
    done = ferbench("explain", place / "stills", "--model", place / "colour.py", "-o", place / "out", "--json")
    assert done.code == 0, done.err
    return done.json


def test_mistakes_come_by_confidence_with_their_ids_and_names(explained):
    expected = [
        ("blue/5", "blue", "red", softmax(4, 0, 0)),
        ("red/1", "red", "blue", softmax(4, 0.8, 0.8)),
        ("red/0", "red", "green", softmax(2.4, 0.8, 0.8)),
    ]
    found = explained["mistakes"]
    assert [(row["sample_id"], row["true"], row["predicted"]) for row in found] == [row[:3] for row in expected]
    assert [row["confidence"] for row in found] == pytest.approx([row[3] for row in expected], abs=1e-5)


def test_features_are_the_colours_joined_by_id(place, explained):
    rows = {row["sample_id"]: row for row in pq.read_table(place / "out/features.parquet").to_pylist()}
    assert len(rows) == 18
    np.testing.assert_allclose(rows["blue/5"]["features"], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(rows["red/0"]["features"], [pixel(0.2), pixel(0.6), pixel(0.2)], atol=1e-6)
    assert (rows["red/0"]["target_name"], rows["red/0"]["predicted_name"]) == ("red", "green")
    assert all(np.isfinite([row["x"], row["y"]]).all() for row in rows.values())
    numbers = explained["features"]
    assert (numbers["samples"], numbers["shown"]) == (18, 18)
    # Five reds, greens and blues have a twin of their class; the three of another colour have none.
    assert numbers["chance"] == pytest.approx(3 * 6 * 5 / (18 * 17), abs=1e-6)
    assert explained["facts"]["features"] == "3, input of fc"


def test_each_class_has_its_four_seeded_samples_with_a_map(place, explained, ferbench):
    names = [row["true"] for row in explained["cams"]]
    assert names == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert all(row["explains"] == row["predicted"] and not row["empty"] for row in explained["cams"])
    assert explained["facts"]["map layer"] == "conv (chosen)"
    asked = (
        "explain",
        place / "stills",
        "--model",
        place / "colour.py",
        "--only",
        "cams",
        "--json",
        "--per-class",
        "2",
    )
    first = ferbench(*asked, "-o", place / "two").json["cams"]
    other = ferbench(*asked, "-o", place / "other", "--seed", "1").json["cams"]
    ids = [row["sample_id"] for row in first]
    # Of a class with room for four the first two are the same two.
    assert ids == [row["sample_id"] for number, row in enumerate(explained["cams"]) if number % 4 < 2]
    assert ids != [row["sample_id"] for row in other]


def test_the_class_that_is_explained_can_be_the_true_one_or_any(place, ferbench):
    asked = (
        "explain",
        place / "stills",
        "--model",
        place / "colour.py",
        "--only",
        "cams",
        "--json",
        "--per-class",
        "6",
    )
    true = ferbench(*asked, "-o", place / "true", "--explains", "true").json["cams"]
    assert all(row["explains"] == row["true"] for row in true)
    # Nothing in a picture of pure red speaks for blue.
    assert [row["sample_id"] for row in true if row["empty"]] == ["blue/5"]
    green = ferbench(*asked, "-o", place / "green", "--explains", "GREEN").json
    assert {row["explains"] for row in green["cams"]} == {"green"}
    wrong = ferbench(*asked, "-o", place / "wrong", "--explains", "joy")
    assert (wrong.code, "known: blue, green, red, predicted, true" in wrong.err) == (2, True)


def test_a_second_run_gives_the_same_bytes_and_another_question_is_refused(place, explained, ferbench):
    before = digests(place / "out")
    again = ("explain", place / "stills", "--model", place / "colour.py", "-o", place / "out", "--json")
    assert ferbench(*again).code == 0
    assert digests(place / "out") == before
    assert set(before) == set(explained["files"]) | {"explain.json"}
    refused = ferbench(*again, "--method", "hirescam")
    assert refused.code == 2
    assert "answer to another question (method 'gradcam')" in refused.err
    assert digests(place / "out") == before
    # What the earlier answer had and this one has not is gone; a file of the user's stays.
    (place / "out/notes.txt").write_text("mine")
    assert ferbench(*again, "--only", "mistakes", "--overwrite").code == 0
    assert set(digests(place / "out")) == {
        "explain.html", "explain.json", "mistakes.png", "mistakes.pdf", "notes.txt"
    }  # fmt: skip


def test_a_sample_that_cannot_be_read_is_a_reason_and_another_takes_its_place(place, ferbench):
    broken = place / "stills/green/2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    asked = ("explain", place / "stills", "--model", place / "colour.py", "--json", "--per-class", "5")
    done = ferbench(*asked, "-o", place / "out")
    assert done.code == 3
    assert "1 of 18 samples failed and --max-failures allows 0" in done.err
    record = json.loads((place / "out/explain.json").read_text())
    assert list(record["failures"]) == ["green/2"]
    assert [row["sample_id"] for row in record["cams"] if row["true"] == "green"].count("green/2") == 0
    assert sum(row["true"] == "green" for row in record["cams"]) == 5
    assert record["features"]["samples"] == 17
    assert "green/2" in (place / "out/explain.html").read_text()
    assert ferbench(*asked, "-o", place / "out", "--max-failures", "1").code == 0


def test_a_clip_is_explained_frame_by_frame(place, ferbench):
    for name, colour in COLOURS.items():
        for clip in range(2):
            for number in range(4):
                paint(place / f"clips/{name}/{clip}/{number + 1:05d}.png", [0.8 * part for part in colour])
    done = ferbench("explain", place / "clips", "--model", place / "video.py", "-o", place / "out", "--json")
    assert done.code == 0, done.err
    assert [row["frame_shares"] for row in done.json["cams"]] == [[0, 0, 1, 0]] * 6
    assert done.json["facts"]["map size"] == "4 x 16 x 16"
    assert [name for name in done.json["files"] if name.startswith("cams/")] == [
        f"cams/{number}-{name}.{kind}" for number, name in (("01", "blue"), ("02", "green"), ("03", "red"))
        for kind in ("pdf", "png")
    ]  # fmt: skip
    assert done.json["mistakes"] == []


def test_an_image_model_sees_every_frame_and_its_features_are_their_mean(place, ferbench):
    for number, level in enumerate((0.2, 0.4, 0.6, 1.0)):
        paint(place / f"clips/red/a/{number + 1:05d}.png", (level, 0, 0.2))
        paint(place / f"clips/blue/b/{number + 1:05d}.png", (0, 0, level))
    done = ferbench("explain", place / "clips", "--model", place / "colour.py", "-o", place / "out", "--json")
    assert done.code == 0, done.err
    rows = {row["sample_id"]: row for row in pq.read_table(place / "out/features.parquet").to_pylist()}
    np.testing.assert_allclose(rows["red/a"]["features"], [0.55, 0, 0.2], atol=1e-6)
    # One scale for the clip, so a frame's share is its red.
    shares = next(row["frame_shares"] for row in done.json["cams"] if row["sample_id"] == "red/a")
    np.testing.assert_allclose(shares, np.array([0.2, 0.4, 0.6, 1.0]) / 2.2, atol=1e-4)


def test_a_sealed_program_gets_its_logits_drawn_and_is_told_what_to_do(place, ferbench, monkeypatch):
    monkeypatch.syspath_prepend(str(place))
    import colour

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        torch.jit.save(torch.jit.script(colour.Colour().eval()), place / "sealed.pt")
    inputs = [text for setting in ("layout=NCHW", "height=16", "width=16", "classes=red,green,blue")
              for text in ("--input", setting)]  # fmt: skip
    asked = ("explain", place / "stills", "--model", place / "sealed.pt", *inputs, "--json")
    done = ferbench(*asked, "-o", place / "out")
    assert done.code == 0, done.err
    assert done.json["cams"] is None
    assert any("sealed program" in notice and "--arch" in notice for notice in done.json["notices"])
    assert any(notice.startswith("The features are the model's logits") for notice in done.json["notices"])
    rows = {row["sample_id"]: row for row in pq.read_table(place / "out/features.parquet").to_pylist()}
    np.testing.assert_allclose(rows["blue/5"]["features"], [4, 0, 0], atol=1e-5)
    only = ferbench(*asked, "-o", place / "only", "--only", "cams")
    assert only.code == 1
    assert "its layers cannot be watched" in only.err


def test_mistakes_of_a_predictions_file_are_joined_by_id(place, ferbench):
    ids = [f"{name}/{number}" for name in ("blue", "green", "red") for number in range(6)]
    order = np.random.default_rng(0).permutation(len(ids))
    logits = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], 6)]
    logits[ids.index("green/3")] = [0, 0, 9]
    logits[ids.index("blue/1")] = [0, 3, 0]
    labels = LabelSet.of(["blue", "green", "red"])
    predictions = Predictions(
        tuple(ids[row] for row in order),
        np.repeat([0, 1, 2], 6)[order],
        logits[order],
        ("all",) * 18,
        (None,) * 18,
        labels,
    )
    write_predictions(predictions, place / "p.parquet")
    asked = ("explain", place / "stills", "--only", "mistakes", "--predictions", place / "p.parquet", "--json")
    done = ferbench(*asked, "-o", place / "out")
    assert done.code == 0, done.err
    assert [(row["sample_id"], row["predicted"]) for row in done.json["mistakes"]] == [
        ("green/3", "red"), ("blue/1", "green")
    ]  # fmt: skip
    shutil.rmtree(place / "stills/red")
    fewer = ferbench(*asked, "-o", place / "fewer")
    assert fewer.json["notices"] == ["6 predictions of samples that were not chosen are left out."]
    assert fewer.json["mistakes"] == done.json["mistakes"]
    for path in (place / "stills").rglob("*.png"):
        path.rename(path.with_stem(f"x{path.stem}"))
    assert "none of the 18 predictions is of a chosen sample" in ferbench(*asked, "-o", place / "none").err


def test_predictions_of_other_classes_are_refused(place, ferbench):
    labels = LabelSet.of(["blue", "green", "red"])
    predictions = Predictions(("blue/0",), np.array([1]), np.eye(3, dtype=np.float32)[:1], ("all",), (None,), labels)
    write_predictions(predictions, place / "p.parquet")
    done = ferbench(
        "explain", place / "stills", "--only", "mistakes", "--predictions", place / "p.parquet", "-o", place / "out"
    )
    assert done.code == 2
    assert "sample 'blue/0' is blue in the manifest and green in the predictions" in done.err


def test_one_fold_is_explained_where_one_is_asked_for(place, ferbench):
    assert ferbench("index", "folders", place / "stills", "-o", place / "m.parquet").code == 0
    assert ferbench("make-splits", place / "m.parquet", "--folds", "3", "-o", place / "splits").code == 0
    asked = (
        "explain",
        place / "splits/manifest.parquet",
        "--model",
        place / "colour.py",
        "--json",
        "--only",
        "mistakes",
    )
    whole = ferbench(*asked, "-o", place / "whole").json
    parts = [ferbench(*asked, "-o", place / f"fold{fold}", "--fold", fold).json for fold in (1, 2, 3)]
    assert (whole["samples"], [part["samples"] for part in parts]) == (18, [6, 6, 6])
    found = {row["sample_id"] for part in parts for row in part["mistakes"]}
    assert found == {row["sample_id"] for row in whole["mistakes"]} == {"blue/5", "red/0", "red/1"}
    assert "no fold '4'" in ferbench(*asked, "-o", place / "four", "--fold", "4").err


def test_in_a_workspace_the_manifest_is_the_one_made_before(place, ferbench, monkeypatch):
    (place / "ferbench.toml").write_text('source = "stills"\n')
    assert ferbench("index", "folders", place / "stills", "-o", place / "faces/manifest.parquet").code == 0
    monkeypatch.chdir(place)
    done = ferbench("explain", "--model", "colour.py", "--only", "mistakes", "--json")
    assert done.code == 0, done.err
    assert (place / "explained/colour/mistakes.png").is_file()
    assert (done.json["manifest_path"], done.json["samples"]) == ("../../faces/manifest.parquet", 18)
    # A folder with a manifest in it is that manifest.
    again = ferbench("explain", "faces", "--model", "colour.py", "--only", "mistakes", "--json", "-o", "again")
    assert again.json["mistakes"] == done.json["mistakes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which model"),
        (
            ("--model", "colour.py", "--only", "cams,pictures"),
            "unknown part 'pictures'; known: cams, features, mistakes",
        ),
        (("--model", "colour.py", "--embedding", "mds"), "unknown embedding 'mds'"),
        (("--model", "colour.py", "--method", "lime"), "unknown method 'lime'"),
        (("--model", "colour.py", "--per-class", "0"), "per-class must be at least 1"),
        (("--model", "colour.py", "--layer", "cnov"), "no layer 'cnov'; near it: conv"),
    ],
)
def test_wrong_usage_says_what_is_right(place, ferbench, monkeypatch, arguments, said):
    monkeypatch.chdir(place)
    done = ferbench("explain", "stills", *arguments, "-o", "out")
    assert (done.code, said in done.err) == (2, True), done.err
    assert not (place / "out/explain.json").exists()


# --- the page and the pictures -------------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.alts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        self.links += [given[name] for name in ("src", "href") if name in given]
        self.alts += [given.get("alt")] if tag == "img" else []


def test_the_page_links_what_is_there_and_takes_names_as_text(place, ferbench):
    (place / "stills/red").rename(place / "stills/<b>red")
    model = (place / "colour.py").read_text().replace('"red"', '"<b>red"')
    (place / "colour.py").write_text(model)
    done = ferbench("explain", place / "stills", "--model", place / "colour.py", "-o", place / "out")
    assert done.code == 0, done.err
    text = (place / "out/explain.html").read_text()
    page = Page()
    page.feed(text)
    assert "b" not in page.tags
    assert "script" not in page.tags
    assert "&lt;b&gt;red" in text
    links = [link for link in page.links if not link.startswith("#")]
    assert links
    assert all((place / "out" / link).is_file() for link in links)
    assert len(page.alts) == 3
    assert all(page.alts)


def test_49_classes_have_a_colour_and_marker_of_their_own():
    assert len({mark_of(label) for label in range(49)}) == 49
    assert [mark_of(label)[0] for label in range(7)] == list(PALETTE)
    assert {mark_of(label)[1] for label in range(7)} == {MARKERS[0]}


def test_a_low_map_leaves_the_face_and_a_high_one_covers_it():
    face = np.full((20, 20, 3), 100, np.uint8)
    values = np.zeros((20, 20), np.float32)
    values[:, 10:] = 1
    shown = overlay(face, values, side=20).astype(int)
    assert shown.shape == (20, 20, 3)
    assert (shown[:, :8] == 100).all()
    assert np.ptp(shown[:, 12:], axis=2).min() > 60


def test_figures_of_43_classes_are_pages_of_8_rows_and_the_same_bytes_twice():
    names = [f"class_{number}" for number in range(43)]
    face = np.zeros((8, 8, 3), np.uint8)
    samples = [
        Explained(
            f"s{label}", label, names[label], True, 0.5, names[label], (face,), np.ones((1, 4, 4), np.float32), False
        )
        for label in range(9)
    ]
    first, again = (cam_grids(samples, names, title="maps") for _ in range(2))
    assert len(first) == 2
    assert first[1] == again[1]
    assert first[0].pdf.startswith(b"%PDF")
    drawn = Scatter(
        np.random.default_rng(0).normal(size=(86, 2)), np.arange(86) % 43, np.arange(86) % 3 > 0, names, "t", "n"
    )
    assert scatter(drawn) == scatter(drawn)


def test_strips_take_clips_stills_and_pictures_that_are_gone():
    face = np.zeros((8, 8, 3), np.uint8)
    clips = [Shown("a", "x", "y", 0.9, (face,) * 6), Shown("b", "x", "y", None, ())]
    stills = [Shown(f"s{number}", "x", "y", 0.5, (face,)) for number in range(7)]
    for shown in (clips, stills, []):
        assert mistake_strips(shown, title="mistakes").png.startswith(b"\x89PNG")


def test_text_is_measured_as_matplotlib_sets_it():
    # DejaVu Sans: the letter o is 1253 of 2048 units wide.
    assert text_width("oooo", 10) == pytest.approx(4 * 1253 / 2048 * 10 / 72, rel=0.01)
