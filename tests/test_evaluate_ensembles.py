"""A model per fold, and several models whose outputs are averaged: joined by class name, each with its own input."""

import math

import numpy as np
import pytest
from evaluate_fixtures import clips_manifest, predictions_of, write_net

from ferbench.errors import ModelError, UsageError
from ferbench.jobs.evaluate import EvaluateOptions, ViewOptions
from ferbench.jobs.evaluate.classes import match_classes
from ferbench.jobs.evaluate.ensemble import Member, combine
from ferbench.jobs.evaluate.journal import Outputs
from ferbench.jobs.evaluate.runs import plan_runs
from ferbench.labels import LabelSet
from ferbench.manifest import Sample

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def folds(tmp_path):
    """Two folds of three samples."""
    clips = {"r1": [RED], "g1": [GREEN], "b1": [BLUE], "r2": [RED], "g2": [GREEN], "b2": [BLUE]}
    return clips_manifest(tmp_path / "set", clips, label=[0, 1, 2] * 2, fold=[1, 1, 1, 2, 2, 2])


def evaluated(tmp_path, models, *, out="run", views=None, **options):
    """sample_id -> logits, and the predictions themselves."""
    found = predictions_of(tmp_path / "set/manifest.parquet", models, tmp_path / out, views=views, **options)
    return dict(zip(found.sample_ids, found.logits.round(4).tolist(), strict=True)), found


# --- a model per fold -------------------------------------------------------------------------------------------------


def test_each_fold_is_scored_by_its_own_model(folds, tmp_path):
    write_net(tmp_path / "net_1.py", scale=1)
    write_net(tmp_path / "net_2.py", scale=2)
    found, whole = evaluated(tmp_path, tmp_path / "net_{fold}.py")
    about = whole.provenance
    assert found == {
        "r1": [1, 0, 0], "g1": [0, 1, 0], "b1": [0, 0, 1], "r2": [2, 0, 0], "g2": [0, 2, 0], "b2": [0, 0, 2],
    }  # fmt: skip
    assert about["model"] == "net_{fold}.py"
    assert [(model["name"], model["fold"]) for model in about["models"]] == [("net_1.py", "1"), ("net_2.py", "2")]
    assert list(about["model_sha256"]) == ["fold 1: net_1.py", "fold 2: net_2.py"]
    assert len(set(about["model_sha256"].values())) == 2
    assert about["notices"] == [about["notices"][0]]  # what is true of both is said once


def test_a_fold_whose_model_is_not_there_is_named_before_anything_runs(folds, tmp_path):
    write_net(tmp_path / "net_1.py")
    message = f"the model of fold 2, {tmp_path / 'net_2.py'}, is not there; .* one for each of the folds 1, 2"
    with pytest.raises(UsageError, match=message):
        evaluated(tmp_path, tmp_path / "net_{fold}.py")
    assert not (tmp_path / "run").exists()
    assert len(evaluated(tmp_path, tmp_path / "net_{fold}.py", fold="1")[0]) == 3


def test_models_of_folds_are_in_memory_one_at_a_time(folds, tmp_path):
    alone = (
        "import sys, weakref\n\nALIVE = sys.__dict__.setdefault('_nets_of_this_test', [])\n\n"
        "def build_model():\n    assert not any(net() for net in ALIVE), 'another model is still there'\n"
        "    net = Net()\n    ALIVE.append(weakref.ref(net))\n    return net\n"
    )
    for fold in (1, 2):
        path = write_net(tmp_path / f"net_{fold}.py")
        path.write_text(path.read_text().replace("def build_model():\n    return Net()\n", alone))
    assert len(evaluated(tmp_path, tmp_path / "net_{fold}.py")[0]) == 6


def test_models_of_folds_must_know_the_same_classes(folds, tmp_path):
    write_net(tmp_path / "net_1.py")
    write_net(
        tmp_path / "net_2.py", "return torch.cat([inputs.mean(dim=(2, 3)), inputs[:, :1, 0, 0]], dim=1)",
        classes=["red", "green", "blue", "grey"],
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"know different classes: net_1.py red, green, blue; net_2.py red, green, b"):
        evaluated(tmp_path, tmp_path / "net_{fold}.py")


def test_models_of_folds_with_other_inputs_are_told_apart(folds, tmp_path):
    write_net(tmp_path / "net_1.py")
    write_net(tmp_path / "net_2.py", mean=[0.5], classes=["blue", "red", "green"])
    found, whole = evaluated(tmp_path, tmp_path / "net_{fold}.py")
    # Fold 2's outputs mean blue, red, green: matched by name, so what it says for red pictures is in blue's place.
    assert (found["r1"], found["r2"]) == ([1, 0, 0], [-0.5, -0.5, 0.5])
    assert any(
        "take different inputs: classes, mean of net_2.py differ" in notice for notice in whole.provenance["notices"]
    )


@pytest.mark.parametrize("fold", ["../evil", "a/b", "a\\b", ".hidden", ""])
def test_a_folds_name_never_leads_out_of_the_folder(fold):
    with pytest.raises(UsageError, match="cannot be part of a file's name"):
        plan_runs([Sample("s", "s", "frames")], [fold], EvaluateOptions(model=("ckpt_{fold}.pt",)))


# --- ensembles --------------------------------------------------------------------------------------------------------


def test_members_are_averaged_class_by_class_by_name_with_weights(folds, tmp_path):
    one = write_net(tmp_path / "one.py", scale=1)
    other = write_net(tmp_path / "other.py", scale=4, classes=["green", "red", "blue"])
    found, whole = evaluated(tmp_path, [one, other])
    about = whole.provenance
    assert (found["r1"], found["b2"]) == ([0.5, 2, 0], [0, 0, 2.5])
    assert about["model"] == "one.py + other.py"
    assert about["ensemble"] == {"members": ["one.py", "other.py"], "weights": [0.5, 0.5], "average": "logits"}
    found, whole = evaluated(tmp_path, [one, other], weights=(3.0, 1.0), out="weighted")
    assert found["r1"] == [0.75, 1, 0]
    assert whole.provenance["ensemble"]["weights"] == [0.75, 0.25]


def test_members_may_be_models_per_fold_and_take_inputs_of_their_own(folds, tmp_path):
    write_net(tmp_path / "net_1.py", scale=1)
    write_net(tmp_path / "net_2.py", scale=2)
    body = "return 4 * inputs.mean(dim=(1, 3, 4))"
    clip = write_net(tmp_path / "clip.py", body, layout="NTCHW", clip_len=3)
    found, whole = evaluated(tmp_path, [tmp_path / "net_{fold}.py", clip])
    assert (found["r1"], found["r2"]) == ([2.5, 0, 0], [3, 0, 0])
    assert [(model["member"], model["fold"]) for model in whole.provenance["models"]] == [
        (0, "1"), (0, "2"), (1, None),
    ]  # fmt: skip


def test_probabilities_are_averaged_where_that_is_asked_for(folds, tmp_path):
    one, other = write_net(tmp_path / "one.py"), write_net(tmp_path / "other.py", scale=math.log(8))
    found, _ = evaluated(tmp_path, [one, other], views=ViewOptions(average="softmax"))
    expected = (np.array([math.e, 1, 1]) / (math.e + 2) + np.array([0.8, 0.1, 0.1])) / 2
    np.testing.assert_allclose(np.exp(found["r1"]), expected, rtol=1e-3)


def test_a_class_that_one_member_lacks_needs_probabilities(folds, tmp_path):
    knows = write_net(tmp_path / "knows.py")
    more = write_net(
        tmp_path / "more.py", "return torch.cat([inputs.mean(dim=(2, 3)), inputs[:, :1, 0, 0]], dim=1)",
        classes=["grey", "red", "green", "blue"],
    )  # fmt: skip
    with pytest.raises(ModelError, match="does not have cannot be averaged; say --average softmax"):
        evaluated(tmp_path, [knows, more])
    found, whole = evaluated(tmp_path, [knows, more], views=ViewOptions(average="softmax"))
    assert whole.labels.names == ("red", "green", "blue", "grey")
    np.testing.assert_allclose(np.exp(found["b1"]).sum(), 1, rtol=1e-3)


def member(name, outputs, classes, errors=()):
    labels = LabelSet.of(["a", "b"])
    found = Member(name)
    rows = {sample_id: np.array(row, np.float32) for sample_id, row in outputs.items()}
    found.add(
        name, match_classes(labels, [0, 1], tuple(classes), len(classes), model=name), Outputs(rows, dict(errors))
    )
    return found


def test_a_sample_that_one_member_failed_on_has_no_mean():
    one = member("one", {"s": [1, 0], "t": [2, 0]}, "ab")
    other = member("other", {"s": [0, 1]}, "ab", errors={"t": "model: out of memory"})
    found = combine([one, other], (0.5, 0.5), "logits", labels=LabelSet.of("ab"))
    assert {name: row.tolist() for name, row in found.logits.items()} == {"s": [0.5, 0.5]}
    assert found.errors == {"t": "model: out of memory"}


def test_classes_that_all_members_know_beyond_the_manifest_are_joined_by_name():
    one, other = member("one", {"s": [1, 2, 3]}, "abc"), member("other", {"s": [6, 4, 2]}, "cba")
    found = combine([one, other], (0.5, 0.5), "logits", labels=LabelSet.of("ab"))
    assert (found.labels.names, found.logits["s"].tolist()) == (("a", "b", "c"), [1.5, 3, 4.5])
    with pytest.raises(ModelError, match="one knows the classes a, b, c, and other a, b"):
        combine([one, member("other", {"s": [1, 2]}, "ab")], (0.5, 0.5), "logits", labels=LabelSet.of("ab"))


def test_classes_beyond_the_manifest_that_members_have_in_other_orders_are_joined_by_name():
    one, other = member("one", {"s": [1, 2, 3, 4]}, "abcd"), member("other", {"s": [5, 6, 10, 20]}, "abdc")
    found = combine([one, other], (0.5, 0.5), "logits", labels=LabelSet.of("ab"))
    assert (found.labels.names, found.logits["s"].tolist()) == (("a", "b", "c", "d"), [3, 4, 11.5, 7])


def test_a_class_that_no_member_knows_is_never_predicted():
    labels = LabelSet.of("abz")
    members = []
    for name, outputs in (("one", [-3, -2]), ("other", [-5, -4])):
        members.append(Member(name))
        match = match_classes(labels, [0, 1], ("a", "b"), 2, model=name)
        members[-1].add(name, match, Outputs({"s": np.array(outputs, np.float32)}))
    for how in ("logits", "softmax"):
        row = combine(members, (1.0, 0.0), how, labels=labels).logits["s"]
        assert np.isneginf(row).tolist() == [False, False, True], how
    assert combine(members[:1], (1.0,), "logits", labels=labels).logits["s"].tolist() == [-3, -2, -np.inf]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": ()}, "say which model"),
        ({"model": ("a", "b"), "weights": (1.0,)}, "1 weights for 2 models"),
        ({"model": ("a", "b"), "weights": (1.0, -1.0)}, "weights must be positive"),
        ({"model": ("a", "b"), "weights": (0.0, 0.0)}, "weights must be positive"),
        ({"model": ("a", "b"), "weights": (1.0, math.inf)}, "weights must be positive"),
        ({"model": ("a", "b", "c"), "arch": ("x", "y")}, "2 times --arch for 3 models"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        EvaluateOptions(**settings)


def test_results_are_named_after_the_models_and_old_answers_are_still_known():
    assert EvaluateOptions(model=("runs/one.pt", "two.onnx")).default_name() == "one+two"
    assert EvaluateOptions(model=("runs/ckpt_{fold}.pt",), fold="3").default_name() == "ckpt-fold-3"
    # What is as usual is not said: predictions of earlier versions answer the same question.
    assert EvaluateOptions(model=("x/one.pt",)).asked(ViewOptions()) == {
        "model": "one.pt", "arch": "", "input": [], "split": "", "fold": "", "limit": None,
    }  # fmt: skip
    assert "views" in EvaluateOptions(model=("one.pt",)).asked(ViewOptions(flip=True))


def test_the_command_takes_members_and_weights(folds, tmp_path, ferbench):
    one, other = write_net(tmp_path / "one.py"), write_net(tmp_path / "other.py", scale=4)
    arguments = [
        "evaluate",
        tmp_path / "set/manifest.parquet",
        "--model",
        one,
        "--model",
        other,
        "-o",
        tmp_path / "run",
    ]
    ran = ferbench(*arguments, "--weights", "3,x")
    assert (ran.code, "setting 'weights' must be floats separated by commas, got '3,x'" in ran.err) == (2, True)
    ran = ferbench(*arguments, "--weights", "3,1", "--average", "softmax", "--flip", "--replicates", "0", "--json")
    assert ran.code == 0, ran.err
    about = ran.json["provenance"]
    assert about["ensemble"] == {"members": ["one.py", "other.py"], "weights": [0.75, 0.25], "average": "softmax"}
    assert (about["views"]["flip"], about["views"]["count"]) == (True, 2)
