"""The published systems from their dataset to the number, on a few fabricated samples of each dataset.

What each repository's README asks for, by ferbench's commands: `index`, `make-splits --protocol official`, `export` in the
form that the repository reads, `train` and `evaluate`. The networks are tiny and see each sample once: what is tested is
that the pieces fit, and what the report says of them.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import system_trees
from conftest import REPOSITORY

from ferbench.models import MODELS
from ferbench.training.recipe import default_recipe, read_recipe, recipe_names

CPU = ("--device", "cpu")
LAST = ("--select-on", "last", "-o", "epochs=1")


class Study:
    """A folder in which the commands are run; `ferbench(...)` refuses any exit code but the expected one."""

    def __init__(self, run, folder: Path, root: Path) -> None:
        self.run, self.folder, self.root = run, folder, root

    def ferbench(self, *arguments, code=0):
        ran = self.run(*arguments)
        assert ran.code == code, ran.err
        return ran

    def indexed(self, dataset: str, *options: str, counted: bool = True) -> Path:
        """Index and official splits; a copy this small differs from the published counts, which is said and no obstacle."""
        manifest, splits = self.folder / f"{dataset}.parquet", self.folder / "splits"
        flags = [part for option in options for part in ("-o", option)]
        told = self.ferbench("index", dataset, self.root, "-o", manifest, *flags, code=4).err
        assert "published are" in told
        self.ferbench("make-splits", manifest, "--protocol", "official", "-o", splits, code=4 if counted else 0)
        return splits / "manifest.parquet"

    def export(self, splits: Path, dialect: str, *flags: str) -> Path:
        folder = self.folder / dialect
        self.ferbench("export", splits, "--dialect", dialect, *flags, "-o", folder)
        return folder

    def train(self, splits: Path, recipe: str, *changes: str, fold: str = "") -> Path:
        out = self.folder / "runs" / (f"fold-{fold}" if fold else recipe)
        flags = [part for change in changes for part in ("-o", change)]
        where = ("--fold", fold) if fold else ()
        # The folder of make-splits, as a user gives it.
        self.ferbench("train", "--data", splits.parent, "--recipe", recipe, *where, *CPU, *LAST, *flags, "-o", out)
        return out / "checkpoint.safetensors"

    def evaluate(self, splits: Path, model: object) -> dict:
        out = self.folder / "runs/evaluated"
        self.ferbench("evaluate", splits, "--model", model, *CPU, "--workers", "1", "--replicates", "20", "-o", out)
        return json.loads((out / "report.json").read_text())


@pytest.fixture
def study(ferbench, tmp_path, monkeypatch):
    """`study(fabricate)`: a study of the copy that `fabricate` writes."""
    # Drawing is half of the time here, and tested where it is at home.
    monkeypatch.setattr("ferbench.rendering.figures.write_figures", lambda *_, **__: [])
    monkeypatch.setattr("ferbench.training.log.write_curves", lambda *_, **__: None)

    def make(fabricate) -> Study:
        fabricate(tmp_path / "data")
        return Study(ferbench, tmp_path, tmp_path / "data")

    return make


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def stamp(report: dict) -> dict:
    """The protocol as the report has it."""
    return report["provenance"]["protocol"]


def metrics(report: dict) -> dict[str, float]:
    """Of everything pooled, over all samples."""
    return report["pooled"]["all"]


# --- MS: python main.py -----------------------------------------------------------------------------------------------

TINY_MS = ("batch-size=8", "options.width=8", "options.size=32", "options.clip_len=4")


def test_ms_goes_from_dfew_to_five_folds_their_mean_and_the_pooled_number(study):
    ms = study(system_trees.dfew_clips)
    splits = ms.indexed("dfew")
    lists = ms.export(splits, "former", "--variant", "ms", "--min-frames", "16")
    assert sorted(path.name for path in lists.iterdir()) == sorted(
        f"zh_set_{fold}_{part}.txt" for fold in range(1, 6) for part in ("train", "test")
    )
    clips = ms.root / "DFEW/Clip/clip_224x224"
    # Five clips a class, in order of their number one to each fold; clip 00003 has twelve frames, and MS drops it.
    assert lines(lists / "zh_set_1_test.txt") == [
        f"{clips}/{clip:05d} 17 {label}" for label, clip in enumerate(range(1, 8)) if clip != 3
    ]
    for fold in range(1, 6):
        ms.train(splits, "ms-dfew", *TINY_MS, fold=str(fold))
    report = ms.evaluate(splits, ms.folder / "runs/fold-{fold}/checkpoint.safetensors")
    assert [fold["num_samples"] for fold in report["folds"]] == [7] * 5  # the short clip is scored too
    assert report["num_scored"] == report["num_samples"] == 35
    mean = sum(fold["all"]["war"] for fold in report["folds"]) / 5
    assert report["mean_of_folds"]["all"]["war"]["mean"] == pytest.approx(mean, abs=1e-12)
    assert metrics(report)["uar"] == pytest.approx(metrics(report)["war"], abs=1e-12)  # five clips of each class
    assert report["classes"] == ["happy", "sad", "neutral", "anger", "surprise", "disgust", "fear"]
    assert stamp(report)["kind"] == "published"
    assert stamp(report)["method"] == ("five folds: per class, clips in order of their number, cut into five blocks")
    assert stamp(report)["folds"] == 5
    trained = [model["facts"]["protocol"]["held_out"] for model in report["provenance"]["models"]]
    assert trained == ["1", "2", "3", "4", "5"]


def test_ms_goes_from_ferv39k_to_its_test_list(study):
    ms = study(system_trees.ferv39k_clips)
    splits = ms.indexed("ferv39k")
    lists = ms.export(splits, "former", "--variant", "ms")
    assert sorted(path.name for path in lists.iterdir()) == ["zh_test.txt", "zh_train.txt"]
    faces = ms.root / "FERV39k/2_ClipsforFaceCrop/2_ClipsforFaceCrop"
    names = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
    for line in [*lines(lists / "zh_train.txt"), *lines(lists / "zh_test.txt")]:
        path, frames, label = line.split(" ")
        assert Path(path).relative_to(faces).parts[1] == names[int(label)]
        assert int(frames) == len(list(Path(path).glob("*.jpg"))) == 16
    checkpoint = ms.train(splits, "ms-ferv39k", *TINY_MS)
    report = ms.evaluate(splits, checkpoint)
    assert report["num_scored"] == 7
    assert {"war", "uar"} <= metrics(report).keys()
    assert stamp(report)["kind"] == "published"
    assert report["provenance"]["model_facts"]["train_samples"] == 14
    assert report["provenance"]["model_facts"]["selection"] == "last"


# --- MFER: python train.py --------------------------------------------------------------------------------------------

TINY_MFER = ("batch-size=7", "options.width=8", "options.depths=1,1,1,1", "options.size=32", "options.drop_path=0")


def folders(place: Path) -> dict[str, int]:
    """`train/anger` -> pictures in it."""
    return {
        f"{each.parent.name}/{each.name}": len(list(each.iterdir()))
        for each in sorted(place.glob("*/*"))
        if each.is_dir()
    }


def test_mfer_goes_from_raf_db_to_its_test_part(study):
    mfer = study(system_trees.raf_db_images)
    splits = mfer.indexed("raf-db")
    # datasets/raf_dataset.py reads the list, and takes for its test part what begins with `val`.
    written = mfer.export(splits, "raf-list", "--variant", "mfer") / "EmoLabel/list_patition_label.txt"
    released = lines(mfer.root / "basic/EmoLabel/list_patition_label.txt")
    assert lines(written) == [line.replace("test_", "val_") for line in released]
    # train.py reads folders, which torchvision numbers by the alphabet.
    names = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    written = mfer.export(splits, "imagefolder", "--variant", "mfer")
    assert folders(written) == {f"{part}/{name}": count for part, count in (("train", 3), ("val", 1)) for name in names}
    checkpoint = mfer.train(splits, "mfer-raf-db", *TINY_MFER)
    report = mfer.evaluate(splits, checkpoint)
    assert report["num_scored"] == 7
    assert report["classes"] == ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert metrics(report)["accuracy"] == metrics(report)["war"]
    assert stamp(report)["kind"] == "published"
    assert report["provenance"]["model_facts"]["model"] == "mfer"


@pytest.mark.parametrize("classes", [7, 8])
def test_mfer_goes_from_affectnet_to_its_validation_part(classes, study):
    mfer = study(system_trees.affectnet_images)
    splits = mfer.indexed(f"affectnet-{classes}", counted=False)
    written = mfer.export(splits, "imagefolder", "--variant", "mfer")
    names = {"anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"}
    names |= {"contempt"} if classes == 8 else set()
    assert folders(written) == {f"{part}/{name}": count for part, count in (("train", 3), ("val", 1)) for name in names}
    checkpoint = mfer.train(splits, f"mfer-affectnet-{classes}", *TINY_MFER)
    report = mfer.evaluate(splits, checkpoint)
    # AffectNet's test labels are not public: what is published is of the validation part, which is the test part here.
    assert report["num_scored"] == classes
    assert len(report["classes"]) == classes
    assert report["provenance"]["model_facts"]["train_samples"] == 3 * classes
    assert stamp(report)["kind"] == "published"


def test_mfer_goes_from_fer_plus_to_its_test_part(study):
    mfer = study(system_trees.ferplus_images)
    splits = mfer.indexed("ferplus")
    written = mfer.export(splits, "imagefolder")
    names = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert folders(written) == {
        f"{part}/{name}": count for part, count in (("test", 1), ("train", 2), ("val", 1)) for name in names
    }
    checkpoint = mfer.train(splits, "mfer-ferplus", *TINY_MFER)
    report = mfer.evaluate(splits, checkpoint)
    assert report["num_scored"] == 8
    assert stamp(report)["kind"] == "published"


# --- EFEA-MSM: python main.py -----------------------------------------------------------------------------------------

TINY_EFEA = ("batch-size=32", "options.width=0.1", "options.size=40", "augment=[]")


def test_efea_msm_goes_from_the_csv_of_fer2013_to_its_private_test(study):
    efea = study(system_trees.fer2013_csv)
    splits = efea.indexed("fer2013", "images=images")
    # What the csv holds comes back out of the pictures that index wrote, row by row.
    written = efea.export(splits, "fer2013-csv") / "fer2013.csv"
    assert lines(written) == lines(efea.root / "fer2013.csv")
    written = efea.export(splits, "imagefolder")
    assert sum(folders(written).values()) == 42
    checkpoint = efea.train(splits, "efea-msm-fer2013", *TINY_EFEA)
    report = efea.evaluate(splits, checkpoint)
    assert report["num_scored"] == 14
    assert report["classes"] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    facts = report["provenance"]["model_facts"]
    assert (facts["train_samples"], facts["protocol"]["kind"]) == (21, "published")  # PublicTest trains nothing


def test_efea_msm_goes_from_ck_plus_to_ten_folds_by_subject(study):
    efea = study(system_trees.ck_plus_sequences)
    splits = efea.indexed("ck-plus", "frames=last-3")
    written = efea.export(splits, "imagefolder", "--variant", "efea")
    assert sorted(path.name for path in written.glob("fold_*")) == sorted(f"fold_{fold}" for fold in range(1, 11))
    # Subjects in ascending order, every tenth in one fold; three pictures of each one's sequence.
    tested = {path.name.partition("_")[0] for path in (written / "fold_1/test").glob("*/*")}
    assert len(list((written / "fold_1/test").glob("*/*"))) == 6
    assert tested == {"S005", "S055"}
    for fold in range(1, 11):
        efea.train(splits, "efea-msm-ck-plus", *TINY_EFEA, "options.placement=17", fold=str(fold))
    report = efea.evaluate(splits, efea.folder / "runs/fold-{fold}/checkpoint.safetensors")
    assert [fold["num_scored"] for fold in report["folds"]] == [6] * 10
    assert report["num_scored"] == 60  # each picture once, by the network that has not seen its subject
    mean = sum(fold["all"]["accuracy"] for fold in report["folds"]) / 10
    assert report["mean_of_folds"]["all"]["accuracy"]["mean"] == pytest.approx(mean, abs=1e-12)
    assert stamp(report)["kind"] == "published"
    assert stamp(report)["method"] == (
        "ten subject-independent folds: labelled subjects in ascending order, every tenth in one fold"
    )
    assert stamp(report)["folds"] == 10
    assert not stamp(report)["crossing"].get("subject")


# --- the README -------------------------------------------------------------------------------------------------------


def test_the_readme_has_a_line_for_each_system_with_a_page_a_model_and_a_recipe():
    text = (REPOSITORY / "README.md").read_text()
    table = text[text.index("## The published systems") :].partition("\n## From")[0]
    rows = [row.split("|")[1:-1] for row in table.splitlines() if row.startswith("| [")]
    models = []
    for name, _, train, _ in rows:
        assert (REPOSITORY / re.search(r"\((.+?)\)", name)[1]).is_file()
        words = shlex.split(train.strip().strip("`"))
        models.append(words[words.index("--model") + 1])
        assert any(read_recipe(recipe).model == models[-1] for recipe in recipe_names())
    assert models == ["ms", "former-dfer", "mfer", "efea-msm", "abaw-cnn", "abaw-cnn-rnn"]
    assert set(models) < set(MODELS)


@pytest.mark.parametrize(
    ("model", "dataset"),
    [("ms", "dfew"), ("ms", "ferv39k"), ("former-dfer", "dfew"), ("mfer", "raf-db"), ("mfer", "affectnet-7"),
     ("mfer", "affectnet-8"), ("mfer", "ferplus"), ("efea-msm", "fer2013"), ("efea-msm", "ck-plus"),
     ("abaw-cnn", "aff-wild2"), ("abaw-cnn-rnn", "aff-wild2"), ("abaw-cnn-transformer", "aff-wild2")],
)  # fmt: skip
def test_model_and_dataset_say_the_recipe(model, dataset):
    recipe = read_recipe(default_recipe(model, dataset))
    assert (recipe.name, recipe.model) == (f"{model}-{dataset}", model)
