"""Flags win over -o, -o over ferbench.toml, that over the dataset card, that over the defaults."""

from dataclasses import dataclass

import pytest

from ferbench.errors import DataError, UsageError
from ferbench.settings import find_workspace, parse_overrides, resolve, resolve_all


@dataclass(frozen=True)
class Crop:
    size: int = 112
    template: str = "arcface-112"
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    decoders: tuple[str, ...] = ("decord",)
    exact: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Run:
    workers: int = 0


def test_the_first_layer_that_says_something_wins():
    layers = {"size": None}, {"size": "224"}, {"size": 96, "template": "margin"}, {"template": "evolve-112", "limit": 3}
    assert resolve(Crop, *layers, where="test") == Crop(size=224, template="margin", limit=3)


def test_strings_are_read_as_the_fields_type():
    values = {"thresholds": "0.5, 0.6,0.7", "decoders": "opencv,decord", "exact": "yes", "limit": "4"}
    assert resolve(Crop, values, where="-o") == Crop(
        thresholds=(0.5, 0.6, 0.7), decoders=("opencv", "decord"), exact=True, limit=4
    )


def test_hyphens_and_underscores_are_the_same():
    assert resolve_all([Crop, Run], [("a", {"workers": 2}), ("b", {"size": 1})]) == [Crop(size=1), Run(workers=2)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sise": 3}, "ferbench.toml: unknown setting 'sise'; known: size, template"),
        ({"size": "big"}, "ferbench.toml: setting 'size' must be int, got 'big'"),
        ({"size": 1.5}, "setting 'size' must be int, got 1.5"),
        ({"thresholds": "0.5,0.6"}, "setting 'thresholds' must be"),
        ({"exact": "perhaps"}, "setting 'exact' must be bool"),
    ],
)
def test_a_wrong_setting_names_where_it_is_and_what_is_known(values, message):
    with pytest.raises(UsageError, match=message):
        resolve(Crop, values, where="ferbench.toml")


def test_overrides_are_key_value_pairs():
    assert parse_overrides(["size=224", "min-face=30", "template=a=b"]) == {
        "size": "224", "min_face": "30", "template": "a=b",
    }  # fmt: skip
    with pytest.raises(UsageError, match="'size' is not key=value"):
        parse_overrides(["size"])


def test_a_workspace_is_found_from_below_and_its_mistakes_name_the_file(tmp_path):
    assert find_workspace(tmp_path) is None
    (tmp_path / "ferbench.toml").write_text('source = "clips"\n[align]\nsize = 96\n')
    (tmp_path / "a" / "b").mkdir(parents=True)
    workspace = find_workspace(tmp_path / "a" / "b")
    assert workspace.folder == tmp_path
    assert workspace.section("align") == {"size": 96}
    assert workspace.section("evaluate") == {}
    (tmp_path / "ferbench.toml").write_text("source = clips\n")
    with pytest.raises(DataError, match=r"ferbench.toml: not valid TOML: .*line 1"):
        find_workspace(tmp_path)
