"""The loop: it learns, selects, continues to the same weights after a stop, and ends early; on a problem of two numbers."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from ferbench.errors import ModelError, UsageError
from ferbench.feeding import Batch
from ferbench.training.loop import Training, run_training
from ferbench.training.recipe import recipe_of

RECIPE = {"model": "constant", "epochs": 6, "batch-size": 4, "optimizer": {"name": "sgd", "lr": 0.08, "momentum": 0.9},
          "schedule": {"name": "step", "step": 2, "gamma": 0.5}, "name": "test"}  # fmt: skip


class Net(nn.Module):
    """Two numbers per sample to three classes, with what training must bring back: dropout and batch statistics."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
            )

    def forward(self, clips):
        return self.layers(clips)


def points(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    centres = torch.tensor([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    return centres[labels] + 0.5 * torch.randn(count, 2, generator=generator), labels


CLIPS, LABELS = points(48, 1)
HELD, HELD_LABELS = points(30, 2)


def batches(clips, labels, order, size=4):
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        yield Batch(clips[rows], labels[rows], tuple(f"s{int(row)}" for row in rows), (), ())


def learn(epoch):
    return batches(CLIPS, LABELS, torch.randperm(48, generator=torch.Generator().manual_seed(epoch)))


def judge(epoch):
    return batches(HELD, HELD_LABELS, torch.arange(30))


def training(**changes):
    recipe = recipe_of({**RECIPE, **changes.pop("recipe", {})}, where="test")
    return Training(**{"module": Net(), "recipe": recipe, "num_classes": 3, "train": learn, "validate": judge,
                       "device": "cpu", "question": "q", **changes})  # fmt: skip


def weights(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_it_learns_and_logs_every_epoch_with_its_rate(tmp_path):
    state = run_training(training(), tmp_path)
    assert [row["epoch"] for row in state.rows] == [1, 2, 3, 4, 5, 6]
    assert [row["lr"] for row in state.rows] == [0.08, 0.08, 0.04, 0.04, 0.02, 0.02]
    assert state.rows[-1]["train_loss"] < 0.6 * state.rows[0]["train_loss"]
    assert state.best >= 0.9
    assert state.best == max(row["validation_war"] for row in state.rows)


def test_without_a_held_out_part_a_plateau_is_one_of_the_training_part(tmp_path):
    plateau = {"name": "plateau", "factor": 0.5, "patience": 2}
    state = run_training(training(validate=None, recipe={"schedule": plateau, "epochs": 5}), tmp_path)
    assert [row["lr"] for row in state.rows] == [0.08] * 5
    assert state.rows[-1]["train_war"] > state.rows[0]["train_war"]


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_stopped_in_the_middle_of_an_epoch_it_ends_with_the_same_weights(stop, tmp_path):
    whole = training()
    expected = run_training(whole, tmp_path / "whole")

    def breaks(epoch):
        for count, batch in enumerate(learn(epoch)):
            if epoch == stop and count == 5:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        run_training(training(train=breaks), tmp_path / "stopped")
    again = training()
    state = run_training(again, tmp_path / "stopped")
    assert same(weights(again.module), weights(whole.module))
    timeless = [{key: value for key, value in row.items() if key != "seconds"} for row in state.rows]
    assert timeless == [{key: value for key, value in row.items() if key != "seconds"} for row in expected.rows]


def test_the_best_epoch_is_kept_and_the_first_of_equals(tmp_path):
    kept = []
    bests = training(on_best=lambda state: kept.append((state.epoch, state.best)))
    state = run_training(bests, tmp_path)
    scores = [row["validation_war"] for row in state.rows]
    assert state.best_epoch == scores.index(max(scores)) + 1
    assert kept == [(i + 1, s) for i, s in enumerate(scores) if s > max(scores[:i], default=-1)]


def test_without_a_validation_part_the_last_epoch_is_kept(tmp_path):
    state = run_training(training(validate=None), tmp_path)
    assert state.best_epoch == 6
    assert "validation_war" not in state.rows[0]


def test_training_ends_early_when_nothing_gets_better(tmp_path):
    stuck = training(recipe={"epochs": 50, "early-stop": 2, "optimizer": {"name": "sgd", "lr": 1e-9}})
    state = run_training(stuck, tmp_path)
    assert state.epoch == state.best_epoch + 2 < 50


def test_accumulated_gradients_make_the_step_of_one_large_batch(tmp_path):
    plain = {"epochs": 1, "optimizer": {"name": "sgd", "lr": 0.1}}
    linear = lambda: nn.Linear(2, 3)  # noqa: E731
    torch.manual_seed(3)
    one = linear()
    other = linear()
    other.load_state_dict(one.state_dict())
    order = torch.arange(48)
    run_training(
        training(module=one, recipe=plain, train=lambda epoch: batches(CLIPS, LABELS, order, 8)), tmp_path / "a"
    )
    small = training(
        module=other, recipe={**plain, "accumulate": 2}, train=lambda epoch: batches(CLIPS, LABELS, order, 4)
    )
    run_training(small, tmp_path / "b")
    for key, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value)


def test_a_clipped_gradient_moves_the_weights_by_no_more_than_the_norm(tmp_path):
    module = nn.Linear(2, 3)
    before = torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])
    one_batch = lambda epoch: batches(100 * CLIPS, LABELS, torch.arange(4))  # noqa: E731
    recipe = {"epochs": 1, "clip-norm": 0.5, "optimizer": {"name": "sgd", "lr": 1.0}}
    run_training(training(module=module, recipe=recipe, train=one_batch, validate=None), tmp_path)
    after = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.5, rel=1e-3)


def test_a_loss_that_is_no_number_ends_with_advice(tmp_path):
    wild = training(recipe={"optimizer": {"name": "sgd", "lr": 1e30}})
    with pytest.raises(
        ModelError, match=r"the loss is (nan|inf) in epoch 1, batch \d+ \(first sample 's\d+'\); try a lower"
    ):
        run_training(wild, tmp_path)


def test_another_training_in_the_folder_is_refused(tmp_path):
    run_training(training(recipe={"epochs": 1}), tmp_path)
    with pytest.raises(UsageError, match="belongs to a training with another recipe or other data"):
        run_training(training(question="another"), tmp_path)


def test_more_epochs_continue_a_finished_training(tmp_path):
    run_training(training(recipe={"epochs": 4}), tmp_path)
    state = run_training(training(recipe={"epochs": 6}), tmp_path)
    whole = training()
    run_training(whole, tmp_path / "whole")
    assert same(state.module, weights(whole.module))


def test_a_sample_that_cannot_be_read_counts_as_missed_in_validation(tmp_path):
    def half(epoch):
        yield Batch(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), (), (("s0", "unreadable: gone"),), (1,))
        yield from judge(epoch)

    whole = run_training(training(recipe={"epochs": 1}), tmp_path / "a").rows[0]["validation_war"]
    with_one = run_training(training(recipe={"epochs": 1}, validate=half), tmp_path / "b").rows[0]["validation_war"]
    assert with_one == pytest.approx(whole * 30 / 31)


def test_mixup_and_half_precision_train_too(tmp_path):
    for name, recipe in (("mixup", {"mixup": 0.4}), ("bf16", {"amp": "bf16"})):
        state = run_training(training(recipe={**recipe, "epochs": 3}), tmp_path / name)
        assert all(math.isfinite(row["train_loss"]) for row in state.rows)
        assert state.best > 0.6


def test_everything_frozen_is_refused(tmp_path):
    module = Net()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ModelError, match="everything is frozen"):
        run_training(training(module=module), tmp_path)


def test_a_record_of_training_is_replaced_not_changed():
    assert dataclasses.replace(training(), question="x").question == "x"


class Plain(nn.Module):
    """(..., 2) to (..., 3): the same for a sample as for a frame of a window."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(2, 3)

    def forward(self, clips):
        return self.layer(clips)


def in_windows(feed):
    """The same samples as frames of windows of three, the last of which is only shown."""

    def windows(epoch):
        for batch in feed(epoch):
            count = len(batch.targets) // 2
            clips = torch.cat((batch.clips.reshape(count, 2, 2), torch.full((count, 1, 2), 9.0)), dim=1)
            targets = torch.cat((batch.targets.reshape(count, 2), torch.full((count, 1), -1)), dim=1)
            yield dataclasses.replace(batch, clips=clips, targets=targets)

    return windows


def test_frames_of_a_window_are_learnt_as_samples_and_those_only_shown_are_not(tmp_path):
    clips, frames = Plain(), Plain()
    expected = run_training(training(module=clips), tmp_path / "clips")
    found = run_training(
        training(module=frames, train=in_windows(learn), validate=in_windows(judge)), tmp_path / "frames"
    )
    torch.testing.assert_close(frames.state_dict(), clips.state_dict(), rtol=0, atol=1e-6)
    assert expected.rows[-1]["train_war"] > 0.8
    for name in ("train_loss", "train_war", "validation_war", "validation_uar"):
        assert [row[name] for row in found.rows] == pytest.approx([row[name] for row in expected.rows], abs=1e-6)


def test_windows_of_frames_are_not_blended(tmp_path):
    wanted = training(module=Plain(), train=in_windows(learn), validate=in_windows(judge), recipe={"mixup": 0.2})
    with pytest.raises(UsageError, match="mixup blends whole clips"):
        run_training(wanted, tmp_path)
