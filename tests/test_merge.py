"""`ferbench merge`: every sample once, whatever the shards; and what is missing, doubled or different is named."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferbench.errors import PredictionsError
from ferbench.jobs.merge import MergeOptions, merge, merge_shards
from ferbench.jobs.shards import Shard, read_shards
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest, manifest_of, write_manifest
from ferbench.predictions import Predictions, read_predictions, write_predictions

LABELS = LabelSet.of(["neutral", "happy", "sad"])
COUNT = 12
IDS = [f"s{number:02d}" for number in range(COUNT)]
PROVENANCE = {
    "model": "net",
    "manifest": "toy",
    "input_spec": {"clip_len": 16},
    "seed": 0,
    "notices": ["one"],
    "unlabelled": 1,
}


def whole() -> Predictions:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(COUNT, 3)).astype(np.float32)
    logits[4] = np.nan
    return Predictions(
        sample_ids=tuple(IDS),
        targets=generator.integers(0, 3, COUNT),
        logits=logits,
        folds=("1",) * 6 + ("2",) * 6,
        errors=tuple("no-face: none" if row == 4 else None for row in range(COUNT)),
        labels=LABELS,
        provenance=PROVENANCE,
        attributes={"subject": tuple("aabbccddeeff")},
    )


def part(rows, **changes) -> Predictions:
    rows = list(rows)
    full = whole()
    pick = lambda values: tuple(values[row] for row in rows)  # noqa: E731
    taken = dataclasses.replace(
        full, sample_ids=pick(full.sample_ids), targets=full.targets[rows], logits=full.logits[rows],
        folds=pick(full.folds), errors=pick(full.errors), attributes={"subject": pick(full.attributes["subject"])},
    )  # fmt: skip
    return dataclasses.replace(taken, **changes)


def shard(number: int, rows, **changes) -> Shard:
    return Shard(Path(f"{number}.parquet"), part(rows, **changes))


def manifest() -> Manifest:
    full = whole()
    order = list(range(COUNT))[::-1]
    return manifest_of(
        {
            "sample_id": [IDS[row] for row in order], "path": [IDS[row] for row in order], "media": ["frames"] * COUNT,
            "label": [int(full.targets[row]) for row in order], "fold": [int(full.folds[row]) for row in order],
        },
        labels=LABELS, name="toy", root=Path("/d"),
    )  # fmt: skip


def same(one: Predictions, other: Predictions) -> bool:
    return (
        one.sample_ids == other.sample_ids and one.targets.tolist() == other.targets.tolist()
        and one.logits.tobytes() == other.logits.tobytes() and one.folds == other.folds and one.errors == other.errors
        and one.labels == other.labels and dict(one.attributes) == dict(other.attributes)
    )  # fmt: skip


@given(st.lists(st.integers(0, 4), min_size=COUNT, max_size=COUNT), st.randoms(use_true_random=False))
def test_any_division_in_any_order_gives_the_whole_again(division, chance):
    rows = list(range(COUNT))
    chance.shuffle(rows)
    shards = [shard(number, [row for row in rows if division[row] == number]) for number in sorted(set(division))]
    chance.shuffle(shards)
    merged = merge_shards(shards, MergeOptions()).predictions
    assert same(merged, whole())
    against = merge_shards(shards, MergeOptions(), manifest=manifest()).predictions
    assert against.sample_ids == tuple(reversed(IDS))
    assert sorted(zip(against.sample_ids, against.targets.tolist(), strict=True)) == list(
        zip(IDS, whole().targets.tolist(), strict=True)
    )


def test_the_bytes_do_not_depend_on_number_or_order_of_the_shards(tmp_path):
    contents = set()
    for number, divisions in enumerate([[range(12)], [range(6), range(6, 12)], [range(0, 12, 2), range(1, 12, 2)]]):
        paths = []
        for index, rows in enumerate(divisions):
            paths.append(tmp_path / f"{number}-{index}.parquet")
            write_predictions(part(rows, provenance={**PROVENANCE, "unlabelled": 1 if index == 0 else 0}), paths[-1])
        random.Random(number).shuffle(paths)
        merge(paths, tmp_path / f"out{number}.parquet", MergeOptions())
        contents.add((tmp_path / f"out{number}.parquet").read_bytes())
    assert len(contents) == 1
    merged = read_predictions(tmp_path / "out0.parquet")
    assert same(merged, whole())
    assert merged.provenance["model"] == "net"
    assert merged.provenance["notices"] == ["one"]
    assert merged.provenance["unlabelled"] == 1


def test_classes_in_another_order_are_matched_by_name():
    turned = LabelSet.of(["sadness", "neutral", "happiness"])
    rows = part(range(6))  # the first by sample id, and yet the order of the other two counts
    other = dataclasses.replace(
        rows, labels=turned, targets=np.array([1, 2, 0])[rows.targets], logits=rows.logits[:, [2, 0, 1]]
    )
    shards = [shard(0, range(6, 9)), shard(1, range(9, 12)), Shard(Path("2.parquet"), other)]
    for order in (shards, shards[::-1]):
        assert same(merge_shards(order, MergeOptions()).predictions, whole())


def test_missing_doubled_and_unknown_samples_are_each_named():
    shards = [shard(0, range(7)), shard(1, [5, 6, 7, 8])]
    with pytest.raises(PredictionsError) as caught:
        merge_shards(shards, MergeOptions(), manifest=manifest())
    assert "2 samples are both in 0.parquet and in 1.parquet: 's05', 's06'" in caught.value.message
    assert "3 of 12 samples of manifest 'toy' are in no shard: 's09', 's10', 's11'" in caught.value.message
    assert caught.value.exit_code == 4
    extra = part([11], sample_ids=("zz",))
    with pytest.raises(PredictionsError, match=r"1 samples are not in the test part of manifest 'toy': 'zz'"):
        merge_shards([shard(0, range(12)), Shard(Path("1.parquet"), extra)], MergeOptions(), manifest=manifest())


def test_one_fold_of_the_manifest_can_be_all_that_is_expected():
    merged = merge_shards([shard(0, range(6))], MergeOptions(fold="1"), manifest=manifest())
    assert len(merged.predictions) == 6
    with pytest.raises(PredictionsError, match="6 of 12 samples"):
        merge_shards([shard(0, range(6))], MergeOptions(), manifest=manifest())


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([(1, 3), (3, 3)], "shard 2 of 3 is missing"),
        ([(1, 2), (1, 2)], "shard 1 of 2 is there 2 times: 0.parquet, 1.parquet"),
        ([(1, 2), (2, 3)], "the shards are of different divisions, 1 of 2 and 1 of 3"),
        ([(1, 2, 13), (2, 2, 13)], "the shards hold 12 samples, and their records say 13"),
    ],
)
def test_the_shards_own_numbers_tell_what_is_missing(numbers, message):
    keys = ("index", "of", "total")
    shards = [
        shard(place, rows, provenance={**PROVENANCE, "shard": dict(zip(keys, number, strict=False))})
        for place, (rows, number) in enumerate(zip([range(6), range(6, 12)], numbers, strict=True))
    ]
    with pytest.raises(PredictionsError, match=message):
        merge_shards(shards, MergeOptions())


def test_without_anything_to_check_against_that_is_said():
    result = merge_shards([shard(0, range(6))], MergeOptions())
    assert result.checked_against == ""
    assert [finding.rule for finding in result.findings] == ["coverage"]
    numbered = shard(0, range(12), provenance={**PROVENANCE, "shard": {"index": 1, "of": 1, "total": 12}})
    assert merge_shards([numbered], MergeOptions()).findings == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"differ in seed \(0.parquet: 0, 1.parquet: 1\)"),
        ({"input_spec": {"clip_len": 8}}, "differ in input_spec"),
        ({"recipe_id": "abc"}, "differ in recipe_id"),
        ({"asked": {"limit": 3}}, "differ in asked limit"),
        ({"model": "other"}, r"differ in model \(0.parquet: net, 1.parquet: other\); different models.* --mixed"),
    ],
)
def test_shards_of_different_runs_are_refused_with_what_differs(changes, message):
    shards = [shard(0, range(6)), shard(1, range(6, 12), provenance={**PROVENANCE, **changes})]
    for order in (shards, shards[::-1]):
        with pytest.raises(PredictionsError, match=message):
            merge_shards(order, MergeOptions())


def test_a_model_per_fold_is_merged_when_that_is_said():
    shards = [
        shard(0, range(6), provenance={**PROVENANCE, "model": "ckpt_1.pt", "asked": {"fold": "1"}}),
        shard(1, range(6, 12), provenance={**PROVENANCE, "model": "ckpt_2.pt", "asked": {"fold": "2"}}),
    ]
    for number, one in enumerate(shards):
        one.predictions.provenance["models"] = [{"name": f"ckpt_{number}", "fold": None}]
    merged = merge_shards(shards, MergeOptions(mixed=True), manifest=manifest())
    assert merged.predictions.provenance["model"] == "ckpt_1.pt + ckpt_2.pt"
    assert merged.predictions.provenance["models"] == [
        {"name": "ckpt_0", "fold": "1"}, {"name": "ckpt_1", "fold": "2"},
    ]  # fmt: skip
    assert "fold" not in merged.predictions.provenance["asked"]
    other_input = shard(1, range(6, 12), provenance={**PROVENANCE, "input_spec": {}})
    with pytest.raises(PredictionsError, match="input_spec"):
        merge_shards([shards[0], other_input], MergeOptions(mixed=True))


def test_one_model_of_all_folds_is_one_model_again():
    about = {**PROVENANCE, "models": [{"name": "net", "fold": None}]}
    shards = [shard(0, range(6), provenance=about), shard(1, range(6, 12), provenance=about)]
    assert merge_shards(shards, MergeOptions()).predictions.provenance["models"] == [{"name": "net", "fold": None}]


def test_other_classes_labels_folds_and_kinds_are_refused():
    four = part(range(6, 12), labels=LabelSet.of(["neutral", "happy", "anger"]))
    with pytest.raises(
        PredictionsError, match=r"has the classes neutral, happy, sad, and 1.parquet neutral, happy, anger"
    ):
        merge_shards([shard(0, range(6)), Shard(Path("1.parquet"), four)], MergeOptions())
    with pytest.raises(PredictionsError, match="one has logits and the other only classes"):
        merge_shards([shard(0, range(6)), shard(1, range(6, 12), hard=True)], MergeOptions())
    wrong = part(range(12), targets=(whole().targets + 1) % 3)
    with pytest.raises(PredictionsError, match="12 labels differ from manifest 'toy', first 's11'"):
        merge_shards([Shard(Path("0.parquet"), wrong)], MergeOptions(), manifest=manifest())
    folds = part(range(12), folds=("2",) * 12)
    with pytest.raises(PredictionsError, match=r"6 samples are in another fold .* first 's05', 1 there and 2 here"):
        merge_shards([Shard(Path("0.parquet"), folds)], MergeOptions(), manifest=manifest())


def test_the_recorded_manifest_is_found_and_held_against(tmp_path):
    from ferbench.storage import sha256_of_file

    place = tmp_path / "splits/manifest.parquet"
    write_manifest(manifest(), place)
    about = {**PROVENANCE, "manifest_sha256": sha256_of_file(place)}
    for number, rows in enumerate([range(6), range(6, 11)]):
        out = tmp_path / f"runs/{number}/predictions.parquet"
        write_predictions(part(rows, provenance={**about, "manifest_path": "../../splits/manifest.parquet"}), out)
    paths = sorted(tmp_path.glob("runs/*/predictions.parquet"))
    with pytest.raises(PredictionsError, match=r"1 of 12 samples of manifest 'toy' are in no shard: 's11'"):
        merge(paths, tmp_path / "all.parquet", MergeOptions())
    assert not (tmp_path / "all.parquet").exists()
    write_predictions(
        part(range(6, 12), provenance={**about, "manifest_path": "../../splits/manifest.parquet"}), paths[1]
    )
    result = merge(paths, tmp_path / "all.parquet", MergeOptions())
    assert result.checked_against == "the recorded manifest 'toy'"
    assert read_predictions(tmp_path / "all.parquet").provenance["manifest_path"] == "splits/manifest.parquet"


def test_every_shard_that_cannot_be_read_is_named_and_nothing_written(tmp_path, ferbench):
    for number, rows in enumerate([range(4), range(4, 8), range(8, 12)]):
        write_predictions(part(rows), tmp_path / f"{number}.parquet")
    whole_bytes = (tmp_path / "1.parquet").read_bytes()
    (tmp_path / "1.parquet").write_bytes(whole_bytes[: len(whole_bytes) // 2])
    paths = [tmp_path / f"{number}.parquet" for number in range(4)]
    with pytest.raises(PredictionsError) as caught:
        read_shards([*paths, paths[0]])
    for text in (
        "3 shards cannot be used",
        "1.parquet: not a readable parquet",
        "3.parquet: no such file",
        "0.parquet: given twice",
    ):
        assert text in caught.value.message
    done = ferbench("merge", *paths, "-o", tmp_path / "out.parquet")
    assert done.code == 4
    assert "1.parquet" in done.err
    assert not (tmp_path / "out.parquet").exists()


def test_merge_from_the_command_line(tmp_path, ferbench):
    write_manifest(manifest(), tmp_path / "manifest.parquet")
    for number, rows in enumerate([range(5), range(5, 12)]):
        write_predictions(part(rows), tmp_path / f"{number}.parquet")
    shards = [tmp_path / "1.parquet", tmp_path / "0.parquet"]
    out = tmp_path / "all/predictions.parquet"
    done = ferbench("merge", *shards, "-o", out, "--manifest", tmp_path / "manifest.parquet", "--json")
    assert done.code == 0, done.err
    assert done.json == {
        "shards": 2, "samples": 12, "folds": ["1", "2"], "checked_against": "manifest 'toy'", "output": str(out),
        "audits": [],
    }  # fmt: skip
    assert read_predictions(out).sample_ids == tuple(reversed(IDS))
    assert ferbench("merge", *shards, "-o", shards[0]).code == 2
    assert ferbench("merge", *shards, "-o", tmp_path / "x.csv").code == 2
    one = ferbench("merge", shards[0], "-o", tmp_path / "one.parquet", "--manifest", tmp_path / "manifest.parquet")
    assert one.code == 4
    assert "5 of 12 samples of manifest 'toy' are in no shard" in " ".join(one.err.split())
