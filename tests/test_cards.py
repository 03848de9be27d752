"""Cards: every one can be read, adds up, names what exists, and is compared with a manifest as it should be."""

from pathlib import Path

import numpy as np
import pytest

from ferbench.cards import PublishedCount, card_names, card_of, find_card, read_card, verify_counts
from ferbench.datasets import READERS, find_reader, resolve_options
from ferbench.dialects import DIALECTS, dialect_module
from ferbench.errors import DataError, UsageError
from ferbench.labels import LabelSet
from ferbench.manifest import manifest_of
from ferbench.metrics import METRICS
from ferbench.protocols import RULES

NAMES = [
    "aff-wild2", "aff-wild2-8", "affectnet-7", "affectnet-8", "afew", "caer", "caer-s", "ck-plus", "ck-plus-48",
    "ck-plus-8", "crema-d", "demo", "dfew", "enterface", "expw", "fer2013", "ferplus", "ferv39k", "jaffe", "kdef", "mafw",
    "mafw-compound", "mmi", "oulu-casia", "raf-db", "raf-db-compound", "ravdess", "sfew",
]  # fmt: skip
LICENSED = [name for name in NAMES if name != "demo"]
UNCOUNTED = {"mmi", "aff-wild2", "aff-wild2-8"}
"""MMI's labelled part is 205, 208 or 213 sequences, depending on the paper; the aff-wild2 frames of an edition likewise."""
OTHER_RULES = {"distributed", "group-k-fold", "leave-one-subject-out"}


def test_the_cards_are_these():
    assert card_names() == sorted(NAMES)


@pytest.mark.parametrize("name", LICENSED)
def test_a_card_says_what_a_researcher_needs(name):
    card = read_card(name)
    assert card.reader in READERS
    assert callable(find_reader(card))
    assert card.title
    assert card.layout
    assert card.licence
    assert card.access
    assert card.metrics
    assert set(card.metrics) <= {*METRICS, "accuracy", "abaw-2021", "macro-auc"}
    assert card.bibtex.startswith("@")
    assert card.bibtex.count("{") == card.bibtex.count("}")
    assert card.counts or name in UNCOUNTED
    assert resolve_options(card, {}) == {key: values[0] if values else "" for key, values in card.options.items()}


@pytest.mark.parametrize("name", LICENSED)
def test_a_cards_protocols_and_orders_name_what_exists(name):
    card = read_card(name)
    assert card.protocols
    for rule in card.protocols.values():
        assert rule["rule"] in {*RULES, *OTHER_RULES}
        assert rule["title"]
    variants = {variant for dialect in DIALECTS for variant in (dialect, *dialect_module(dialect).VARIANTS)}
    assert set(card.orders) <= variants


@pytest.mark.parametrize("name", LICENSED)
def test_a_cards_fold_counts_add_up_to_its_whole(name):
    card = read_card(name)
    tests = {count.where["fold"]: count for count in card.counts if set(count.where) == {"fold"}}
    trains = {count.where["train-of"]: count for count in card.counts if set(count.where) == {"train-of"}}
    whole = {count.total for count in card.counts if not count.where}
    if tests:
        assert sum(count.total for count in tests.values()) in whole
    for fold in set(tests) & set(trains):
        assert tests[fold].total + trains[fold].total in whole


def test_a_misspelt_name_gets_a_hint_and_a_broken_card_names_its_file(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no dataset card 'rafdb'; did you mean 'raf-db'"):
        read_card("rafdb")
    assert find_card("rafdb") is None
    folder = tmp_path / "cards/x"
    folder.mkdir(parents=True)
    monkeypatch.setattr("ferbench.cards.card.cards_folder", lambda: tmp_path / "cards")
    for text, message in [
        ('classes = ["a"]', "KeyError"),
        ('title = "x"\nclasses = ["a"]\nkinds = 1', "unknown key 'kinds'"),
        ('title = "x"\nclasses = ["a", "b"]\n[[counts]]\nstrength = "counted"\nper-class = [1]', "must have 2 numbers"),
        ('title = "x"\nclasses = ["a", "b"]\n[[counts]]\nstrength = "sure"\ntotal = 1', "strength must be one of"),
        (
            'title = "x"\nclasses = ["a", "b"]\n[[counts]]\nstrength = "counted"\ntotal = 4\nper-class = [1, 2]',
            "sums to 3",
        ),
        ('title = "x"\nclasses = ["a", "b"]\n[orders]\ns2d = ["a", "c"]', "must hold the classes of the card"),
    ]:
        (folder / "card.toml").write_text(text)
        with pytest.raises(DataError, match=message) as caught:
            read_card("x")
        assert str(folder / "card.toml") in str(caught.value)


def manifest(labels, **columns):
    ids = [str(number) for number in range(len(labels))]
    return manifest_of(
        {"sample_id": ids, "path": ids, "media": ["image"] * len(ids), "label": labels, **columns},
        labels=LabelSet.of(["a", "b", "c"]), name="x", root=Path("/data"), provenance={"dataset": "raf-db"},
    )  # fmt: skip


def count(strength="counted", **values):
    return PublishedCount.of({"strength": strength, "source": "a list", **values}, 3)


def test_counts_that_agree_are_silent_and_those_that_differ_are_said():
    rows = manifest([0, 0, 0, 1, 1, 2, None], split=["train"] * 4 + ["test"] * 3)
    assert verify_counts(rows, [count(**{"per-class": [3, 2, 1]}), count(total=4, where={"split": "train"})]) == []
    (found,) = verify_counts(rows, [count(**{"per-class": [3, 2, 2]})])
    assert (found.severity, found.rule) == ("error", "class-count")
    assert found.message == "everything: 6 samples, published are 7 (counted, a list); c 1 of 2"
    assert verify_counts(rows, [count("believed", total=9)])[0].severity == "warning"
    assert verify_counts(rows, [count("stated", total=9)])[0].severity == "error"


def test_the_published_numbers_in_another_order_are_a_shuffled_class_order():
    (found,) = verify_counts(manifest([0, 1, 1, 2, 2, 2]), [count(**{"per-class": [3, 2, 1]})])
    assert found.rule == "class-order"
    assert "'a' has the 1 of 'c', 'c' has the 3 of 'a'" in found.message


def test_a_figure_of_a_fold_or_of_another_copy_is_left_out_where_it_does_not_apply():
    rows = manifest([0, 1, 2, 0])
    other = [
        count(total=99, where={"fold": 1}),
        count(total=99, when={"layout": "npy"}),
        count(total=99, where={"scene": "War"}),
    ]
    assert verify_counts(rows, other, facts={"layout": "csv"}) == []
    assert len(verify_counts(rows, other, facts={"layout": "npy"})) == 1
    folded = manifest([0, 1, 2, 0], fold=[1, 1, 2, None])
    assert verify_counts(folded, [count(total=2, where={"fold": 1}), count(total=1, where={"train-of": 1})]) == []


def test_the_card_of_a_manifest_is_the_one_it_was_indexed_from():
    assert card_of(manifest([0])).name == "raf-db"
    assert card_of(manifest([0]).replace(provenance={})) is None


def test_class_orders_of_repositories_hold_the_classes_in_another_order():
    ferv = read_card("ferv39k")
    assert ferv.order_for("s2d").names[:3] == ("angry", "disgust", "fear")
    assert ferv.order_for("dfer-clip", "former").names == ferv.labels.names
    mapping = np.array(ferv.labels.mapping_to(ferv.order_for("s2d")))
    assert sorted(mapping.tolist()) == list(range(7))


def test_the_list_of_datasets_and_a_card_are_shown(ferbench):
    rows = {row["name"]: row for row in ferbench("datasets", "--json").json}
    assert (rows["raf-db"]["samples"], rows["raf-db"]["classes"]) == (15339, 7)
    assert rows["dfew"]["samples"] == 11697
    shown = ferbench("datasets", "dfew")
    assert "11,697" in shown.err
    assert "@inproceedings{jiang2020dfew" in shown.err
    assert ferbench("datasets", "dfew", "--bibtex").out.startswith("@inproceedings{jiang2020dfew")
    assert ferbench("datasets", "--bibtex").code == 2
    assert ferbench("datasets", "nothing").code == 2
    dialects = {row["name"]: row for row in ferbench("datasets", "--dialects", "--json").json}
    assert "ms" in dialects["former"]["variants"]
    assert set(dialects) == set(DIALECTS)
