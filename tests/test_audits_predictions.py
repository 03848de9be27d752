"""Audits of predictions against their manifest and their checkpoint: what was planted is named, a clean run is clean."""

import dataclasses

import numpy as np
import pytest

from ferbench.audits import AUDITS
from ferbench.errors import DataError
from ferbench.findings import Finding
from ferbench.jobs.audit import audit_predictions, recorded_findings, refuse_findings
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.predictions import Predictions
from ferbench.recipe import Recipe

LABELS = LabelSet.of(["neutral", "happy", "sad"])
RECIPE = Recipe.of(crop={"size": 112})


def manifest_with(tmp_path, **columns):
    """60 labelled clips in three folds (numbered 1 to 3), 20 of each class; 12 subjects that keep to one fold."""
    count = 60
    values = {
        "sample_id": [f"s{number:02d}" for number in range(count)],
        "path": [f"clips/s{number:02d}" for number in range(count)],
        "media": ["frames"] * count,
        "num_frames": [16] * count,
        "label": [number % 3 for number in range(count)],
        "fold": [number // 20 + 1 for number in range(count)],
        "subject": [f"person{number // 5}" for number in range(count)],
        **columns,
    }
    return manifest_of(values, labels=LABELS, name="mine", root=tmp_path).replace(recipe=RECIPE)


def predictions_of(manifest, *, right=0.7, seed=0, **changes):
    """What a trained model says of the manifest: `right` of its predictions are; the logits are all different."""
    rng = np.random.default_rng(seed)
    targets = np.array(manifest.column("label"), np.int64)
    logits = rng.normal(size=(len(targets), 3)).astype(np.float32)
    wrong = (targets + rng.integers(1, 3, len(targets))) % 3
    logits[np.arange(len(targets)), np.where(rng.random(len(targets)) < right, targets, wrong)] += 6
    ids = tuple(manifest.column("sample_id"))
    folds = (
        tuple(str(fold) for fold in manifest.column("fold")) if manifest.has_values("fold") else ("test",) * len(ids)
    )
    made = Predictions(
        ids, targets, logits, folds, (None,) * len(ids), LABELS,
        {"model": "ckpt.safetensors", "manifest": "mine", "recipe_id": RECIPE.id},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def some(predictions, rows):
    """Only these rows."""
    return dataclasses.replace(
        predictions, sample_ids=tuple(predictions.sample_ids[row] for row in rows), targets=predictions.targets[rows],
        logits=predictions.logits[rows], folds=tuple(predictions.folds[row] for row in rows),
        errors=tuple(predictions.errors[row] for row in rows),
    )  # fmt: skip


def stated(predictions, *, spec=None, **facts):
    """With what a checkpoint says of itself."""
    return dataclasses.replace(
        predictions, provenance={**predictions.provenance, "model_facts": facts, "input_spec": spec or {}}
    )


def rules(findings):
    return [(finding.severity, finding.rule) for finding in findings]


@pytest.fixture
def manifest(tmp_path):
    return manifest_with(tmp_path)


def test_a_clean_run_has_no_finding(manifest):
    clean = stated(predictions_of(manifest), recipe_id=RECIPE.id, selection="validation")
    assert audit_predictions(clean, manifest=manifest) == []
    assert audit_predictions(clean) == []


def test_a_foreign_file_is_audited_without_a_manifest_and_without_provenance(manifest):
    foreign = predictions_of(manifest, right=0.85, provenance={}, folds=("all",) * 60)
    assert audit_predictions(foreign) == []
    swapped = dataclasses.replace(foreign, logits=foreign.logits[:, [1, 0, 2]])
    assert rules(audit_predictions(swapped)) == [("error", "class-order")]
    shifted = dataclasses.replace(foreign, logits=foreign.logits[:, [1, 2, 0]])
    assert rules(audit_predictions(shifted)) == [("error", "label-base")]


# --- joined with the manifest ------------------------------------------------------------------------------------------


def test_missing_and_unknown_samples_are_named(manifest):
    made = predictions_of(manifest)
    made = some(made, list(range(57)))
    renamed = dataclasses.replace(made, sample_ids=("elsewhere/s00", *made.sample_ids[1:]))
    unknown, missing = audit_predictions(renamed, manifest=manifest)
    assert (unknown.rule, unknown.count, unknown.sample) == ("unknown-sample", 1, "elsewhere/s00")
    assert unknown.message == "1 predictions are of samples that the manifest does not have, first: elsewhere/s00"
    assert (missing.rule, missing.count) == ("missing-sample", 4)
    assert missing.message == "4 of 60 samples of the test part have no row, first: s00, s57, s58, …"


def test_order_carries_no_meaning(manifest):
    made = predictions_of(manifest)
    assert audit_predictions(some(made, list(range(60))[::-1]), manifest=manifest) == []


def test_one_fold_alone_lacks_nothing(manifest):
    one = some(predictions_of(manifest), list(range(20, 40)))
    assert audit_predictions(one, manifest=manifest) == []
    asked = dataclasses.replace(one, provenance={**one.provenance, "asked": {"fold": "2", "split": "", "limit": None}})
    assert audit_predictions(asked, manifest=manifest) == []


def test_a_limit_is_a_warning(manifest):
    made = some(predictions_of(manifest), list(range(30)))
    made = dataclasses.replace(made, provenance={**made.provenance, "asked": {"fold": "", "split": "", "limit": 30}})
    (finding,) = audit_predictions(made, manifest=manifest)
    assert (finding.severity, finding.rule, finding.count) == ("warning", "missing-sample", 30)
    assert "without --limit 30" in finding.advice


def test_samples_without_a_label_are_not_missed(tmp_path):
    manifest = manifest_with(tmp_path, label=[None, *[number % 3 for number in range(1, 60)]])
    made = some(predictions_of(manifest_with(tmp_path)), list(range(1, 60)))
    assert audit_predictions(made, manifest=manifest) == []


def test_a_prediction_for_a_sample_without_a_label_is_not_another_label(tmp_path):
    manifest = manifest_with(tmp_path, label=[None, *[number % 3 for number in range(1, 60)]])
    assert audit_predictions(predictions_of(manifest_with(tmp_path)), manifest=manifest) == []


def test_targets_that_are_not_the_manifests_labels_are_named_by_name(manifest):
    made = predictions_of(manifest)
    targets = made.targets.copy()
    targets[[4, 9]] = [0, 2]
    (finding,) = audit_predictions(dataclasses.replace(made, targets=targets), manifest=manifest)
    assert (finding.rule, finding.count, finding.sample) == ("other-label", 2, "s04")
    assert finding.message.endswith(
        "2 of 60 samples are not the manifest's labels, first: s04 is neutral here and happy there"
    )
    # Another order of the same classes is the same labels.
    order = [2, 0, 1]
    other = dataclasses.replace(
        made, labels=LabelSet.of(["Sadness", "neutral", "Happiness"]), logits=made.logits[:, order],
        targets=np.array([order.index(target) for target in made.targets]),
    )  # fmt: skip
    assert audit_predictions(other, manifest=manifest) == []


def test_samples_scored_in_another_fold_are_named(manifest):
    made = predictions_of(manifest)
    folds = ("2", *made.folds[1:])
    (finding,) = audit_predictions(dataclasses.replace(made, folds=folds), manifest=manifest)
    assert (finding.rule, finding.sample) == ("other-fold", "s00")
    assert "first: s00 in 2, and in 1 there" in finding.message


def split_columns():
    """Persons 0 to 3 train, 4 to 7 validate, 8 to 11 are tested."""
    return {"fold": [None] * 60, "split": ["train"] * 20 + ["validation"] * 20 + ["test"] * 20}


def test_samples_outside_the_test_part_are_named(tmp_path):
    manifest = manifest_with(tmp_path, **split_columns())
    made = predictions_of(manifest)
    assert audit_predictions(some(made, list(range(40, 60))), manifest=manifest) == []
    (finding,) = audit_predictions(some(made, [3, *range(40, 60)]), manifest=manifest)
    assert (finding.rule, finding.sample) == ("not-in-test", "s03")
    validation = dataclasses.replace(some(made, list(range(20, 40))), folds=("validation",) * 20)
    assert audit_predictions(validation, manifest=manifest) == []


# --- leaks -------------------------------------------------------------------------------------------------------------


def test_a_subject_on_both_sides_is_named(tmp_path):
    subjects = [f"person{number // 5}" for number in range(60)]
    subjects[0] = subjects[1] = "person11"
    subjects[2] = "person10"
    manifest = manifest_with(tmp_path, subject=subjects)
    (finding,) = audit_predictions(predictions_of(manifest), manifest=manifest)
    assert (finding.severity, finding.rule) == ("error", "leak-subject")
    assert finding.message.startswith("subject 'person11' is in the test part of fold 1 ('s00') and in that of fold 3")
    assert finding.message.endswith("; and 1 more")
    assert "make-splits --group subject" in finding.advice


def test_what_a_published_split_has_on_both_sides_is_a_note(tmp_path):
    manifest = manifest_with(tmp_path, group=["movie"] * 60).replace(protocol={"kind": "published", "name": "official"})
    (finding,) = audit_predictions(predictions_of(manifest), manifest=manifest)
    assert (finding.severity, finding.rule) == ("note", "leak-group")
    refuse_findings([finding])


def test_what_spoils_the_choice_of_a_model_stays_a_warning(tmp_path):
    columns = split_columns()
    subjects = [f"person{number // 5}" for number in range(60)]
    subjects[20] = "person0"  # trains and validates
    manifest = manifest_with(tmp_path, **columns, subject=subjects)
    (finding,) = audit_predictions(some(predictions_of(manifest), list(range(40, 60))), manifest=manifest)
    assert (finding.severity, finding.rule) == ("warning", "leak-subject")


def test_a_validation_part_that_is_the_test_part_is_named(tmp_path):
    columns = split_columns()
    columns["path"] = [f"clips/s{number:02d}" for number in [*range(20), *range(40, 60), *range(40, 60)]]
    columns["subject"] = [None] * 60
    manifest = manifest_with(tmp_path, **columns)
    made = some(predictions_of(manifest), list(range(40, 60)))
    (finding,) = audit_predictions(made, manifest=manifest)
    assert (finding.severity, finding.rule) == ("error", "validation-is-test")
    assert "the validation part is the test part: 20 samples with the same paths" in finding.message
    folds = manifest_with(tmp_path, validation_folds=[[number // 20 + 1] for number in range(60)])
    assert ("error", "validation-is-test") in rules(audit_predictions(predictions_of(folds), manifest=folds))


# --- what the checkpoint says ------------------------------------------------------------------------------------------


def test_a_checkpoint_selected_on_the_test_part_is_named(manifest):
    (finding,) = audit_predictions(stated(predictions_of(manifest), selection="test"), manifest=manifest)
    assert (finding.severity, finding.rule) == ("error", "selected-on-test")
    assert finding.message == "ckpt.safetensors says that its epoch was chosen on the test part"
    for fine in ("validation", "last", ""):
        assert audit_predictions(stated(predictions_of(manifest), selection=fine), manifest=manifest) == []


def test_a_checkpoint_selected_on_the_validation_part_that_is_scored_is_named(manifest):
    made = stated(predictions_of(manifest), selection="validation", manifest_sha256="abc")
    of_part = dataclasses.replace(
        made, folds=("validation",) * len(made.folds), provenance={**made.provenance, "manifest_sha256": "abc"}
    )
    (finding,) = audit_predictions(of_part)
    assert (finding.severity, finding.rule) == ("error", "selected-on-test")
    assert finding.message == (
        "ckpt.safetensors says that its epoch was chosen on the validation part, which is what is scored"
    )
    # Carved out of the train part of another manifest, or another part scored: no word.
    other = dataclasses.replace(of_part, provenance={**made.provenance, "manifest_sha256": "def"})
    assert audit_predictions(other) == []
    tested = dataclasses.replace(of_part, folds=("test",) * len(made.folds))
    assert audit_predictions(tested) == []


def test_each_model_of_several_is_asked(manifest):
    models = [
        {
            "name": f"ckpt_{fold}",
            "fold": str(fold),
            "facts": {"selection": "test" if fold == 2 else "last", "fold": fold},
        }
        for fold in (1, 2, 3)
    ]
    made = predictions_of(manifest)
    made = dataclasses.replace(made, provenance={**made.provenance, "models": models})
    (finding,) = audit_predictions(made, manifest=manifest)
    assert finding.message.startswith("ckpt_2 says")


def test_a_checkpoint_scored_on_the_folds_it_was_trained_on_is_named(manifest):
    made = stated(predictions_of(manifest), protocol={"held_out": "2"}, manifest="mine")
    (finding,) = audit_predictions(made, manifest=manifest)
    assert (finding.severity, finding.rule, finding.count) == ("error", "trained-on-test", 40)
    assert "was trained with fold 2 held out, and scores fold 1, 3 too" in finding.message
    assert "--fold 2" in finding.advice
    assert audit_predictions(some(made, list(range(20, 40))), manifest=manifest) == []
    elsewhere = stated(predictions_of(manifest), protocol={"held_out": "2"}, manifest="another dataset")
    assert audit_predictions(elsewhere, manifest=manifest) == []


@pytest.mark.parametrize("place", ["facts", "spec"])
def test_faces_of_another_recipe_are_named(place, manifest):
    other = {"recipe_id": "0123456789ab"}
    made = stated(predictions_of(manifest), **(other if place == "facts" else {"spec": other}))
    (finding,) = audit_predictions(made, manifest=manifest)
    assert (finding.severity, finding.rule) == ("warning", "recipe")
    assert finding.message == (
        f"ckpt.safetensors was trained on faces of recipe 0123456789ab; these faces are of recipe {RECIPE.id}"
    )
    (finding,) = audit_predictions(made, manifest=manifest.replace(recipe=None))
    assert finding.message.endswith(f"these faces are of recipe {RECIPE.id}")  # as the provenance has it
    bare = dataclasses.replace(made, provenance={**made.provenance, "recipe_id": None})
    (finding,) = audit_predictions(bare)
    assert finding.message.endswith("these faces have no recipe")


# --- outputs -----------------------------------------------------------------------------------------------------------


def without(predictions, rows, reason="no-face: none"):
    logits = predictions.logits.copy()
    logits[rows] = np.nan
    errors = list(predictions.errors)
    for row in rows:
        errors[row] = reason
    return dataclasses.replace(predictions, logits=logits, errors=tuple(errors))


def test_samples_without_a_face_are_counted_with_both_scores(manifest):
    made = predictions_of(manifest, right=1.0)
    (finding,) = audit_predictions(without(made, [0, 3, 6]), manifest=manifest)
    assert (finding.severity, finding.rule, finding.count) == ("warning", "no-face", 3)
    assert finding.message == (
        "3 of 60 samples have no prediction (no-face 3): UAR is 100.00 on scored samples and 95.00 on all; WAR is "
        "100.00 on scored samples and 95.00 on all"
    )


def test_not_one_prediction_is_more_than_a_note(manifest):
    (finding,) = audit_predictions(without(predictions_of(manifest), list(range(60))), manifest=manifest)
    assert (finding.severity, finding.rule) == ("warning", "no-face")
    assert "UAR is undefined on scored samples and 0.00 on all" in finding.message


def test_a_face_in_hundreds_is_a_note(tmp_path):
    count = 900
    ids = tuple(f"s{number}" for number in range(count))
    targets = np.arange(count) % 3
    logits = (
        np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32) + 8 * np.eye(3, dtype=np.float32)[targets]
    )
    made = Predictions(ids, targets, logits, ("all",) * count, (None,) * count, LABELS)
    assert rules(audit_predictions(without(made, [5]))) == [("note", "no-face")]


def test_one_class_for_everything_is_named(manifest):
    made = predictions_of(manifest)
    same = made.logits.copy()
    same[:, 1] += 100
    (finding,) = audit_predictions(dataclasses.replace(made, logits=same), manifest=manifest)
    assert (finding.severity, finding.rule) == ("warning", "one-class")
    assert finding.message.startswith("all 60 predictions are happy, of 3 classes that occur")


def test_the_same_logits_for_many_samples_are_named(manifest):
    made = predictions_of(manifest)
    rows = np.arange(60)
    rows[15:30] = 15  # the loader gave one clip for fifteen
    (finding,) = audit_predictions(dataclasses.replace(made, logits=made.logits[rows]), manifest=manifest)
    assert (finding.severity, finding.rule, finding.count) == ("warning", "same-logits", 15)
    assert finding.message == (
        "15 of 60 samples have logits that another sample has too, bit for bit; 15 have those of s15 and s16"
    )


def test_hard_predictions_and_saturated_probabilities_repeat_by_nature(manifest):
    made = predictions_of(manifest)
    hard = np.eye(3, dtype=np.float32)[made.predicted]
    assert audit_predictions(dataclasses.replace(made, logits=hard), manifest=manifest) == []


# --- the job -----------------------------------------------------------------------------------------------------------


def test_what_was_found_before_the_run_comes_along_and_what_is_no_finding_does_not(manifest):
    kept = Finding("error", "batch-invariance", "the outputs depend on the batch", "mend it", count=3)
    made = predictions_of(manifest)
    provenance = {
        **made.provenance,
        "audits": [
            kept.as_dict(),
            {"severity": "fatal"},
            "text",
            None,
            {"rule": "x"},
            {**kept.as_dict(), "message": ["x"]},
        ],
    }
    assert audit_predictions(dataclasses.replace(made, provenance=provenance), manifest=manifest) == [kept]
    for nothing in ({}, {"audits": None}, {"audits": []}, {"audits": "text"}, {"audits": 3}):
        assert recorded_findings(nothing) == []


@pytest.mark.parametrize(
    "provenance",
    [
        {"models": "text"}, {"models": [None, 3]}, {"model_facts": "text"}, {"input_spec": [1]}, {"protocol": "text"},
        {"models": [{"facts": {"protocol": "x", "selection": ["test"]}, "input_spec": {"classes": 3}}]},
        {"asked": {"fold": "9"}}, {"asked": "text"}, {"model_facts": {"fold": True}}, {"protocol": {"fold_names": 3},
         "model_facts": {"fold": 1, "manifest": "x"}, "manifest": "y"},
        {"audits": 3}, {"models": [{"input_spec": {"classes": [[], {}]}}]},
        {"input_spec": {"classes": ["what", "ever"]}},
    ],
)  # fmt: skip
def test_provenance_of_any_kind_is_no_crash(provenance, manifest):
    made = predictions_of(manifest)
    assert audit_predictions(dataclasses.replace(made, provenance=provenance), manifest=manifest) == []


def test_strict_refuses_errors_and_warnings_and_names_them():
    error, warning, note = (
        Finding(severity, f"{severity}-rule", f"the {severity}") for severity in ("error", "warning", "note")
    )
    refuse_findings([note])
    refuse_findings([])
    with pytest.raises(DataError, match="--strict: the audits found error-rule, warning-rule;") as raised:
        refuse_findings([note, warning, error])
    assert raised.value.exit_code == 4
    with pytest.raises(DataError, match="warning-rule"):
        refuse_findings([warning])


def test_every_audit_of_predictions_has_a_sentence():
    assert all(row.summary for row in AUDITS.values())
