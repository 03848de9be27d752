"""What `evaluate` passes on to the loading of models, and says of it."""

import pytest
import torch
from evaluate_fixtures import clips_manifest
from torch import nn

from ferbench.predictions import read_predictions

INPUT = ["layout=NCHW", "height=8", "width=8", "clip_len=2", "classes=red,green,blue"]
ARCH = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, width=3):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3)))

def build(num_classes, width=3):
    return Net(num_classes, int(width))
"""


@pytest.fixture
def place(tmp_path):
    """A manifest, a network of a given width, and its weights with and without the bias of the head."""
    clips_manifest(tmp_path / "set", {"a": [(255, 0, 0)], "b": [(0, 255, 0)]}, label=[0, 1])
    (tmp_path / "arch.py").write_text(ARCH)
    torch.manual_seed(0)
    conv, head = nn.Conv2d(3, 5, 1), nn.Linear(5, 3)
    weights = {f"conv.{key}": value for key, value in conv.state_dict().items()}
    weights |= {f"head.{key}": value for key, value in head.state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "whole.pt")
    torch.save({key: value for key, value in weights.items() if key != "head.bias"}, tmp_path / "part.pt")
    torch.save(nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), tmp_path / "module.pt")
    return tmp_path


def evaluate(ferbench, place, model, *more):
    inputs = [text for setting in INPUT for text in ("--input", setting)]
    ran = ferbench(
        "evaluate", place / "set/manifest.parquet", "--model", place / model, *inputs, "-o", place / "run", "--replicates",
        "0", *more,
    )  # fmt: skip
    path = place / "run/predictions.parquet"
    return ran, read_predictions(path) if path.exists() else None


def test_options_reach_the_network_and_its_keys_are_reported(place, ferbench):
    arch = ["--arch", f"{place / 'arch.py'}:build"]
    ran, _ = evaluate(ferbench, place, "whole.pt", *arch)
    assert (ran.code, "the weights do not fit the model" in ran.err) == (1, True)
    ran, found = evaluate(ferbench, place, "whole.pt", *arch, "--option", "width=5")
    assert ran.code == 0, ran.err
    (model,) = found.provenance["models"]
    assert (model["weights"]["used"], model["weights"]["wrapper"]) == (4, "state_dict")
    assert len(model["sha256"]) == 64
    assert found.provenance["asked"]["option"] == ["width=5"]


def test_weights_are_loaded_in_part_only_where_that_is_asked_for_and_the_report_says_so(place, ferbench):
    arch = ["--arch", f"{place / 'arch.py'}:build", "--option", "width=5"]
    ran, _ = evaluate(ferbench, place, "part.pt", *arch)
    assert (ran.code, "1 missing: head.bias" in ran.err) == (1, True)
    ran, found = evaluate(ferbench, place, "part.pt", *arch, "--partial")
    assert ran.code == 0, ran.err
    assert any("--partial" in notice for notice in found.provenance["notices"])
    assert found.provenance["asked"]["partial"] is True


def test_a_whole_pickled_module_runs_only_when_it_is_trusted_and_mixed_precision_is_recorded(place, ferbench):
    ran, _ = evaluate(ferbench, place, "module.pt")
    assert (ran.code, "--trust-pickle" in ran.err) == (1, True)
    ran, exact = evaluate(ferbench, place, "module.pt", "--trust-pickle")
    assert ran.code == 0, ran.err
    ran, _ = evaluate(ferbench, place, "module.pt", "--trust-pickle", "--amp", "bf16")
    assert (ran.code, "holds predictions of another job" in ran.err) == (2, True)
    ran, rounded = evaluate(ferbench, place, "module.pt", "--trust-pickle", "--amp", "bf16", "--overwrite")
    assert ran.code == 0, ran.err
    assert (exact.provenance["amp"], rounded.provenance["amp"]) == ("off", "bf16")
    difference = abs(exact.logits - rounded.logits).max()
    assert 0 < difference < 0.02
    ran, _ = evaluate(ferbench, place, "module.pt", "--trust-pickle", "--amp", "fp8", "--overwrite")
    assert (ran.code, "amp 'fp8' is not one of off, bf16, fp16" in ran.err) == (2, True)
