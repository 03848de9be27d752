"""Published figures: kept in the source's digits, held against arithmetic where the source prints enough, never ours."""

import statistics

import pytest

from ferbench.cards import PublishedResult, card_names, identity_of, read_card
from ferbench.errors import DataError

CARDS = [read_card(name) for name in card_names()]
RESULTS = [(card, result) for card in CARDS for result in card.published]


def result_of(card: str, method: str) -> PublishedResult:
    return next(result for result in read_card(card).published if result.method == method)


def test_the_cards_with_published_figures_are_these():
    assert {card.name: len(card.published) for card in CARDS if card.published} == {
        "dfew": 23, "ferv39k": 19, "mafw": 15, "mafw-compound": 3, "afew": 5, "raf-db": 21, "affectnet-7": 18,
        "affectnet-8": 10, "ferplus": 9, "caer-s": 3, "fer2013": 15, "ck-plus": 13, "ck-plus-48": 2, "mmi": 3,
        "oulu-casia": 3, "sfew": 6, "aff-wild2": 15, "aff-wild2-8": 1, "crema-d": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("card", "method", "figures"),
    [
        ("dfew", "DFER-CLIP", {"uar": "59.61", "war": "71.25"}),
        ("dfew", "S4D", {"war": "76.68"}),
        ("ferv39k", "MAE-DFER", {"uar": "43.12", "war": "52.07"}),
        ("mafw", "T-ESFL", {"uar": "33.28", "war": "48.18"}),
        ("raf-db", "POSTER++", {"accuracy": "92.21"}),
        ("affectnet-8", "RAN", {"accuracy": "59.5"}),
        ("aff-wild2", "baseline of the organisers", {"macro_f1": "26", "accuracy": "46", "abaw2021": "32.6"}),
    ],
)
def test_figures_are_the_sources_own_digits(card, method, figures):
    assert result_of(card, method).metrics == figures


def test_the_mean_of_printed_folds_is_the_printed_figure():
    rows = [(result, metric, row) for _, result in RESULTS for metric, row in result.per_fold.items()]
    assert len(rows) == 7
    for result, metric, row in rows:
        assert result.statistic == "mean-of-folds"
        # Each fold is rounded to 0.005, so is their mean, and so is the figure.
        assert statistics.fmean(map(float, row)) == pytest.approx(float(result.figure(metric)), abs=0.0101)


def test_printed_recalls_give_the_printed_war_and_uar():
    rows = [(card, result) for card, result in RESULTS if result.per_class]
    assert [result.method for _, result in rows] == ["C3D", "Former-DFER"]
    for card, result in rows:
        support = next(count.per_class for count in card.counts if not count.where)
        war, uar = identity_of(result.per_class, support)
        assert (round(war, 2), round(uar, 2)) == (float(result.figure("war")), float(result.figure("uar")))
    # A recall that is one point off moves the WAR of DFEW by 0.21: the test above would see it.
    support = next(count.per_class for count in read_card("dfew").counts if not count.where)
    war, uar = identity_of(("76.17", *result_of("dfew", "C3D").per_class[1:]), support)
    assert (round(war, 2), round(uar, 2)) == (53.75, 42.88)


def test_what_fails_the_identity_says_so():
    assert "55.92/69.02" in result_of("dfew", "M3DFEL").note
    assert "WAR 45.94, not 45.72" in result_of("ferv39k", "Former-DFER").note
    for card, figure in (("raf-db", "90.8"), ("affectnet-7", "65.3"), ("affectnet-8", "62.3"), ("ferplus", "89.8")):
        assert figure in result_of(card, "MFER").note


def test_the_leaderboard_of_abaw_2021_is_its_own_formula():
    board = [result for result in read_card("aff-wild2").published if "leaderboard" in result.source]
    assert len(board) == 14
    for result in board:
        figures = {name: float(text) for name, text in result.metrics.items()}
        score = 0.67 * figures["macro_f1"] + 0.33 * figures["accuracy"]
        assert score == pytest.approx(figures["abaw2021"], abs=0.0101)


@pytest.mark.parametrize(
    ("method", "right", "samples"),
    [("MFER", 2825, 3068), ("MFER", 2347, 3500), ("MFER", 2526, 4000), ("EFEA-MSM", 2692, 3589)],
)
def test_an_accuracy_is_a_count_of_its_test_part(method, right, samples):
    (found,) = [result for _, result in RESULTS if result.method == method and result.samples == samples]
    assert f"{100 * right / samples:.2f}" == found.figure("accuracy")


def test_figures_that_do_not_compare_give_the_reason():
    assert "sound" in result_of("dfew", "MMA-DFER").unranked
    assert "verified" in result_of("affectnet-7", "ABF-Net").unranked
    assert result_of("dfew", "DFER-CLIP").unranked == ""
    for card, result in RESULTS:
        assert result.protocol or result.unranked or result.note or card.name == "ferplus"


def test_a_label_a_note_and_a_deviation():
    row = result_of("dfew", "MAE-DFER")
    assert row.label == "MAE-DFER (ACM MM 2023)"
    assert row.protocol_note == "5 folds, mean of folds"
    assert row.deviation("uar") == pytest.approx((7.27868 / 4) ** 0.5)  # squares of the differences from 63.408
    assert result_of("dfew", "C3D").deviation("uar") is None
    assert result_of("raf-db", "DAN").figure("war") == "89.70"
    assert result_of("raf-db", "DAN").figure("macro_f1") is None
    assert result_of("ferplus", "RAN (VGG16)").protocol_note == "protocol ran, 3,137 test samples"
    assert result_of("dfew", "IAL").protocol_note == "5 folds, epoch chosen on the test part"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('metrics = { war = "50.0" }', "KeyError"),
        ('source = "s"\nmetrics = {}', "metrics is empty"),
        ('source = "s"\nmetrics = { war = 50.0 }', "50.0 must be a percentage as text"),
        ('source = "s"\nmetrics = { war = "0.5x" }', "0.5x.*must be a percentage as text"),
        ('source = "s"\nmetrics = { war = "150" }', "150.*must be a percentage as text"),
        ('source = "s"\nmetrics = { wra = "50" }', "no metric .*wra"),
        ('source = "s"\nmetrics = { war = "50" }\nfold = 3', "unknown key 'fold'"),
        ('source = "s"\nmetrics = { war = "50" }\nprotocol = "mine"', "no protocol 'mine' in this card; its"),
        ('source = "s"\nmetrics = { war = "50" }\nstatistic = "mean"', "statistic must be one of mean-of-folds, pooled"),
        ('source = "s"\nmetrics = { war = "50" }\nselection = "luck"', "selection must be one of test, validation, last"),
        ('source = "s"\nmetrics = { war = "50" }\nper-class = ["1"]', "per-class must have 2 numbers, got 1"),
        ('source = "s"\nmetrics = { war = "50" }\nfolds = 3\nper-fold = { war = ["1"] }', "war has 1 numbers for 3 folds"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused_by_name(row, message, tmp_path, monkeypatch):
    folder = tmp_path / "x"
    folder.mkdir()
    monkeypatch.setattr("ferbench.cards.card.cards_folder", lambda: tmp_path)
    (folder / "card.toml").write_text(f'title = "x"\nclasses = ["a", "b"]\n[[published]]\nmethod = "M"\n{row}\n')
    with pytest.raises(DataError, match=message):
        read_card("x")


def test_a_card_shows_them(ferbench):
    shown = ferbench("datasets", "dfew")
    assert "published results; percent, as printed" in shown.err
    assert "MMA-DFER (CVPRW 2024)" in shown.err
    assert "not comparable: uses" in " ".join(shown.err.split())
    rows = ferbench("datasets", "dfew", "--json").json["published"]
    assert rows[0]["metrics"] == {"uar": "42.74", "war": "53.54"}
    assert "published results" not in ferbench("datasets", "kdef").err
