"""Training recipes, losses, optimizers, schedules, mixing and freezing, each against numbers worked by hand or by torch."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ferbench.errors import UsageError
from ferbench.training.losses import LOSSES, large_margin, logits_of, make_loss, per_head
from ferbench.training.mixing import mixed
from ferbench.training.network import freeze, training_mode
from ferbench.training.optimizers import make_optimizer
from ferbench.training.recipe import Choice, TrainRecipe, overridden, read_recipe, recipe_names, recipe_of
from ferbench.training.schedules import make_schedule
from ferbench.training.statistics import EvenBeginning

STEP = {
    "model": "constant",
    "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
    "schedule": {"name": "step", "step": 2},
}


def recipe(**changes):
    return recipe_of({**STEP, **changes}, where="test")


def test_a_recipe_comes_back_from_its_own_plain_values():
    first = recipe(augment=[{"name": "flip", "p": 0.5}], freeze=["backbone"], options={"width": 16})
    assert recipe_of(first.as_dict(), where="again") == first
    assert first.augment == (Choice("flip", {"p": 0.5}),)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_with_ferbench_is_read_and_names_what_the_tables_have(name):
    own = read_recipe(name)
    assert own.name == name
    make_loss(own.loss)
    optimizer = make_optimizer(own.optimizer, [nn.Parameter(torch.zeros(2))])
    make_schedule(own.schedule, optimizer, epochs=own.epochs)


@pytest.mark.parametrize(
    ("given", "value", "of"),
    [
        ("lr", "0.1", lambda own: own.optimizer.settings["lr"] == 0.1),
        ("optimizer.momentum", "0.5", lambda own: own.optimizer.settings["momentum"] == 0.5),
        ("optimizer", "adamw", lambda own: own.optimizer == Choice("adamw", {"lr": 0.01})),
        ("step", "7", lambda own: own.schedule.settings["step"] == 7),
        ("optimizer", "sgd", lambda own: own.optimizer == Choice("sgd", {"lr": 0.01, "momentum": 0.9})),
        ("schedule", "none", lambda own: own.schedule == Choice("none")),
        ("drop-last", "true", lambda own: own.drop_last is True),
        ("loss", "large-margin", lambda own: own.loss == Choice("large-margin")),
        ("batch_size", "4", lambda own: own.batch_size == 4),
        ("balanced", "true", lambda own: own.balanced is True),
        ("options.width", "8", lambda own: own.options == {"width": 8}),
        ("clip-len", "8", lambda own: own.input == {"clip_len": 8}),
        ("freeze", '["a", "b"]', lambda own: own.freeze == ("a", "b")),
        ("augment", '[{ name = "flip" }]', lambda own: own.augment == (Choice("flip"),)),
        ("warm-start", "weights.pth", lambda own: own.warm_start == "weights.pth"),
    ],
)  # fmt: skip
def test_any_key_can_be_overridden(given, value, of):
    assert of(recipe_of(overridden(STEP, {given: value}), where="test"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochz": 3}, "unknown key 'epochz'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": "many"}, "epochs must be int, got 'many'"),
        ({"amp": "fp8"}, "amp is one of off, bf16, fp16, not 'fp8'"),
        ({"metric": "wer"}, "metric is one of"),
        ({"select-on": "train"}, "select-on is one of validation, test, last"),
        ({"augment": "flip"}, "augment is a list of tables"),
        ({"optimizer": {"lr": 1}}, "optimizer must be a name, or a table"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_the_key_and_the_rule(values, message):
    with pytest.raises(UsageError, match=message):
        recipe(**values)


def test_every_key_of_a_recipe_is_documented():
    text = (Path(__file__).parent.parent / "manifests/README.md").read_text(encoding="utf-8")
    documented = text.partition("# Training recipes")[2]
    keys = set(recipe().as_dict()) - {"name"}  # of the file
    assert sorted(key for key in keys if f"`{key}`" not in documented) == []


def test_a_misspelt_override_is_refused_with_the_nearest_key():
    with pytest.raises(UsageError, match="did you mean 'epochs'"):
        overridden(STEP, {"epoch": "3"})
    with pytest.raises(UsageError, match="no training recipe 'nothing'"):
        read_recipe("nothing")


# --- losses ------------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_cross_entropy_is_the_mean_negative_log_softmax_of_the_target():
    by_hand = -(math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1)))
                + math.log(math.exp(1.5) / (math.exp(0.5) + math.exp(1.5) + 1))) / 2  # fmt: skip
    assert float(make_loss(Choice("cross-entropy"))(LOGITS, ONE_HOT)) == pytest.approx(by_hand, abs=1e-6)


def test_the_large_margin_loss_adds_the_uniform_cross_entropy_over_the_other_classes():
    plain = float(LOSSES["cross-entropy"](LOGITS, ONE_HOT))
    first = -(math.log(1 / (1 + math.exp(-1))) + math.log(math.exp(-1) / (1 + math.exp(-1)))) / 2
    second = -(math.log(math.exp(0.5) / (math.exp(0.5) + 1)) + math.log(1 / (math.exp(0.5) + 1))) / 2
    expected = 0.9 * plain + 0.1 * (first + second) / 2
    assert float(large_margin(LOGITS, ONE_HOT)) == pytest.approx(expected, abs=1e-6)


def test_large_margin_has_finite_gradients():
    logits = LOGITS.clone().requires_grad_()
    large_margin(logits, ONE_HOT).backward()
    assert torch.isfinite(logits.grad).all()


def test_heads_are_judged_one_by_one_and_predict_together():
    heads = (LOGITS, -LOGITS, 2 * LOGITS)
    assert torch.equal(logits_of(heads), 2 * LOGITS)
    each = sum(float(nn.functional.cross_entropy(head, ONE_HOT, label_smoothing=0.1)) for head in heads)
    assert float(per_head(heads, ONE_HOT)) == pytest.approx(each, abs=1e-6)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("hinge"), "loss 'hinge' is unknown; known: cross-entropy"),
        (Choice("cross-entropy", {"temperature": 2}), "has no setting 'temperature'; it has smoothing"),
    ],
)
def test_an_unknown_loss_or_setting_is_refused(choice, message):
    with pytest.raises(UsageError, match=message):
        make_loss(choice)


# --- schedules ---------------------------------------------------------------------------------------------------------


def rates(choice, epochs=6, metrics=()):
    optimizer = make_optimizer(Choice("sgd", {"lr": 1}), [nn.Parameter(torch.zeros(1))])
    schedule = make_schedule(choice, optimizer, epochs=epochs)
    seen = []
    for epoch in range(epochs):
        seen.append(round(optimizer.param_groups[0]["lr"], 6))
        optimizer.step()
        schedule.step(metrics[epoch] if metrics else float("nan"))
    return seen


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice("none"), [1, 1, 1, 1, 1, 1]),
        (Choice("step", {"step": 2}), [1, 1, 0.1, 0.1, 0.01, 0.01]),
        (Choice("multistep", {"milestones": [1, 4], "gamma": 0.5}), [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        (Choice("exponential", {"gamma": 0.9}), [1, 0.9, 0.81, 0.729, 0.6561, 0.59049]),
        (Choice("cosine"), [round((1 + math.cos(math.pi * k / 6)) / 2, 6) for k in range(6)]),
        (Choice("cosine", {"warmup": 2}), [round(1 / 3, 6), round(2 / 3, 6), 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_a_schedule_gives_these_rates(choice, expected):
    assert rates(choice) == pytest.approx(expected)


def test_a_plateau_lowers_the_rate_when_the_metric_stops_growing():
    assert rates(Choice("plateau", {"factor": 0.2, "patience": 1}), metrics=[0.5, 0.6, 0.6, 0.6, 0.6, 0.6]) == [
        1, 1, 1, 1, 0.2, 0.2,
    ]  # fmt: skip


def test_a_schedule_continues_from_its_state():
    optimizer = make_optimizer(Choice("sgd", {"lr": 1}), [nn.Parameter(torch.zeros(1))])
    first = make_schedule(Choice("cosine", {"warmup": 1}), optimizer, epochs=5)
    optimizer.step()
    first.step(0.0)
    first.step(0.0)
    rate, state = optimizer.param_groups[0]["lr"], (optimizer.state_dict(), first.state_dict())
    again = make_optimizer(Choice("sgd", {"lr": 1}), [nn.Parameter(torch.zeros(1))])
    second = make_schedule(Choice("cosine", {"warmup": 1}), again, epochs=5)
    again.load_state_dict(state[0])
    second.load_state_dict(state[1])
    again.step()
    assert again.param_groups[0]["lr"] == rate
    first.step(0.0)
    second.step(0.0)
    assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] != rate


def test_an_optimizer_needs_a_rate_and_knows_its_settings():
    with pytest.raises(UsageError, match="needs a learning rate"):
        make_optimizer(Choice("sgd"), [nn.Parameter(torch.zeros(1))])
    with pytest.raises(UsageError, match="optimizer 'adamw' has no setting 'momentum'"):
        make_optimizer(Choice("adamw", {"lr": 1, "momentum": 0.9}), [nn.Parameter(torch.zeros(1))])


# --- mixing and freezing -------------------------------------------------------------------------------------------------


def test_mixup_blends_samples_and_targets_by_the_same_share():
    clips = torch.eye(4)
    clips, targets = mixed(clips, torch.eye(4), alpha=0.8, rng=np.random.default_rng(3))
    assert torch.equal(clips, targets)
    assert targets.sum(dim=1).tolist() == pytest.approx([1, 1, 1, 1])
    share = np.random.default_rng(3).beta(0.8, 0.8)
    assert float(targets.max()) in (pytest.approx(max(share, 1 - share)), pytest.approx(1.0))


def network():
    return nn.ModuleDict({"back": nn.Linear(2, 2), "backbone": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))})


def test_a_frozen_part_has_no_gradients_and_stays_in_eval_mode_and_its_namesake_does_not():
    module = network()
    freeze(module, ("backbone",))
    training_mode(module, ("backbone",))
    assert [parameter.requires_grad for parameter in module["back"].parameters()] == [True, True]
    assert not any(parameter.requires_grad for parameter in module["backbone"].parameters())
    assert module["back"].training
    assert not module["backbone"][1].training


def test_freezing_what_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no parameter's name begins with 'trunk'; the parts are back, backbone"):
        freeze(network(), ("trunk",))


def test_the_default_recipe_record_is_a_valid_one():
    assert TrainRecipe(model="constant").select_on == "validation"


# --- batch statistics -------------------------------------------------------------------------------------------------


def test_the_first_batches_count_evenly_in_the_statistics_of_evaluation():
    norm = torch.nn.BatchNorm1d(1, momentum=0.25)
    beginning = EvenBeginning(norm)
    beginning.begin_epoch()
    means = []
    for value in (8.0, 4.0, 0.0, 4.0, 9.0):
        beginning.before_batch()
        norm(torch.tensor([[value - 1], [value + 1]]))
        means.append(norm.running_mean.item())
    # 8, (8 + 4) / 2, (8 + 4 + 0) / 3, (8 + 4 + 0 + 4) / 4; from the fifth on a quarter of the new one
    assert means == pytest.approx([8, 6, 4, 4, 4 + (9 - 4) / 4])
    beginning.end()
    assert norm.momentum == 0.25


def test_statistics_that_are_frozen_or_have_seen_batches_stay_what_they_are():
    frozen, old = torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1, momentum=0.25)
    frozen.eval()
    old.num_batches_tracked += 100
    beginning = EvenBeginning(torch.nn.Sequential(frozen, old))
    beginning.begin_epoch()
    beginning.before_batch()
    assert (frozen.momentum, old.momentum) == (0.1, 0.25)
