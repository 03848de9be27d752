"""The training loop: epochs of batches, a validation pass after each, the best one kept; continues where it was stopped.

Every random choice is a function of the recipe's seed and the epoch, and the state is saved after each epoch. A run that
was killed repeats the epoch it was in, and ends with the weights of a run that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ferbench.errors import FerbenchError, ModelError, UsageError
from ferbench.feeding import Batch
from ferbench.metrics import METRICS, Confusion, confusion_matrix
from ferbench.models.heads import HeadsAndDistances
from ferbench.training.losses import Outputs, heads_of, logits_of, make_loss
from ferbench.training.mixing import mixed
from ferbench.training.network import training_mode
from ferbench.training.optimizers import make_optimizer
from ferbench.training.ranks import Ranks
from ferbench.training.recipe import TrainRecipe
from ferbench.training.schedules import make_schedule
from ferbench.training.state import State, load_state, save_state
from ferbench.training.statistics import EvenBeginning

Feed = Callable[[int], Iterator[Batch]]
"""Epoch, 0-based -> its batches."""
SHOWN_METRICS = ("war", "uar", "macro_f1")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What the loop works on."""

    module: nn.Module
    recipe: TrainRecipe
    num_classes: int
    train: Feed
    validate: Feed | None
    """None where nothing is selected on: every epoch is the best so far."""
    device: str
    question: str
    """Names recipe and data; see `State.question`."""
    ranks: Ranks = field(default_factory=Ranks)
    on_best: Callable[[State], None] = lambda state: None
    """Called after an epoch that is the best so far, with the module at that epoch."""
    on_epoch: Callable[[State], None] = lambda state: None
    """Called after every epoch: rows of the log are in the state."""
    advance: Callable[[str], None] = lambda note: None
    """Called after every batch."""


def run_training(training: Training, out: Path) -> State:
    """Train until the recipe's epochs are done or nothing gets better; the state at the end.

    Raises ModelError when the network fails on its input or the loss is no number, UsageError when `out` holds another
    training.
    """
    recipe, module = training.recipe, training.module.to(training.device)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        raise ModelError(f"recipe {recipe.name}: everything is frozen, there is nothing to train")
    optimizer = make_optimizer(recipe.optimizer, trained)
    schedule = make_schedule(recipe.schedule, optimizer, epochs=recipe.epochs)
    scaler = torch.amp.GradScaler(enabled=recipe.amp == "fp16" and training.device.startswith("cuda"))
    state = load_state(out, question=training.question) or State(question=training.question)
    if state.epoch:
        module.load_state_dict(state.module)
        optimizer.load_state_dict(state.optimizer)
        schedule.load_state_dict(state.schedule)
        scaler.load_state_dict(state.scaler)
    step = _Step(training, training.ranks.wrapped(module, training.device), optimizer, scaler)
    while state.epoch < recipe.epochs and not _is_late(state, recipe):
        started = time.perf_counter()
        rates = [group["lr"] for group in optimizer.param_groups]
        learnt = step.epoch(state.epoch)
        judged = _judge(training, state.epoch) if training.validate else None
        metric = float(METRICS[recipe.metric].function(judged, "all")) if judged else float("nan")
        # A schedule that waits for a plateau sees the training part's accuracy where nothing is held out.
        schedule.step(metric if judged else learnt["train_war"])
        state.epoch += 1
        row = {"epoch": state.epoch, "lr": rates[0], **learnt}
        if judged:
            row |= {f"validation_{name}": float(METRICS[name].function(judged, "all")) for name in SHOWN_METRICS}
        state.rows.append(row | {"seconds": round(time.perf_counter() - started, 3)})
        state.module = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
        state.optimizer, state.schedule = optimizer.state_dict(), schedule.state_dict()
        state.scaler = scaler.state_dict()
        if not judged or metric > state.best:
            state.best, state.best_epoch = metric, state.epoch
            training.on_best(state)
        training.on_epoch(state)
        if training.ranks.leads:
            save_state(state, out)
    return state


def _is_late(state: State, recipe: TrainRecipe) -> bool:
    return bool(recipe.early_stop) and state.epoch - state.best_epoch >= recipe.early_stop


class _Step:
    """Forward, loss, backward and a step, batch by batch."""

    def __init__(self, training: Training, module: nn.Module, optimizer: Any, scaler: Any) -> None:
        self._training, self._recipe = training, training.recipe
        self._module, self._optimizer, self._scaler = module, optimizer, scaler
        self._loss = make_loss(training.recipe.loss)
        self._statistics = EvenBeginning(training.module)

    def epoch(self, number: int) -> dict[str, float]:
        """One epoch: its mean loss and accuracy over what was trained on."""
        recipe, device = self._recipe, self._training.device
        # Dropout and whatever else draws from torch's generator.
        torch.manual_seed(recipe.seed * 1_000_003 + number)
        rng = np.random.default_rng([recipe.seed, number, self._training.ranks.rank])
        training_mode(self._training.module, recipe.freeze)
        self._statistics.begin_epoch()
        sums = np.zeros(3)
        waiting = 0
        self._optimizer.zero_grad(set_to_none=True)
        for count, batch in enumerate(self._training.train(number), start=1):
            if not len(batch.sample_ids):
                continue
            clips, labels = batch.clips.to(device), batch.targets.to(device)
            targets = nn.functional.one_hot(labels.clamp(min=0), self._training.num_classes).float()
            if recipe.mixup:
                if labels.ndim > 1:
                    raise UsageError(
                        "mixup blends whole clips, and every frame of this model's windows has its own class"
                    )
                clips, targets = mixed(clips, targets, alpha=recipe.mixup, rng=rng)
            self._statistics.before_batch()
            with _autocast(recipe.amp, device):
                outputs = forward(self._module, clips)
                if labels.ndim > 1:
                    outputs, targets, labels = scored_frames(outputs, targets, labels)
                loss = self._loss(_floats(outputs), targets)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise ModelError(
                    f"the loss is {value} in epoch {number + 1}, batch {count} (first sample {batch.sample_ids[0]!r}); "
                    "try a lower -o lr=, -o clip-norm=1, or -o amp=off"
                )
            self._scaler.scale(loss / recipe.accumulate).backward()
            waiting += 1
            if waiting == recipe.accumulate:
                self._step()
                waiting = 0
            hits = int((logits_of(outputs).argmax(dim=1) == labels).sum())
            sums += [value * len(labels), hits, len(labels)]
            self._training.advance(f"epoch {number + 1}, loss {value:.3f}")
        if waiting:
            self._step()
        self._statistics.end()
        totals = np.sum(self._training.ranks.gathered(sums), axis=0)
        if not totals[2]:
            raise ModelError(
                "no sample could be read: there is nothing to train on; ferbench check MANIFEST names them"
            )
        return {"train_loss": float(totals[0] / totals[2]), "train_war": float(totals[1] / totals[2])}

    def _step(self) -> None:
        if self._recipe.clip_norm:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._training.module.parameters(), self._recipe.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)


def forward(module: nn.Module, clips: Tensor) -> Outputs:
    """The network's training output: its heads' logits where it has several (`training_logits`), else its logits."""
    inner = getattr(module, "module", module)
    if hasattr(inner, "training_logits"):
        # Through the wrapper, which averages gradients: it only knows `forward`.
        inner.returns_heads = True
        try:
            return module(clips)  # type: ignore[no-any-return]
        finally:
            inner.returns_heads = False
    outputs = module(clips)
    logits: Tensor = outputs[0] if isinstance(outputs, (tuple, list)) else outputs  # (logits, features)
    return logits


def scored_frames(outputs: Outputs, targets: Tensor, labels: Tensor) -> tuple[Outputs, Tensor, Tensor]:
    """Of a model of every frame, the rows that count: (R, K) logits per head, (R, K) targets and (R,) labels.

    `outputs` are (N, T, K) per head, `targets` (N, T, K), `labels` (N, T) with -1 where a window only shows a frame.
    """
    counts = labels >= 0
    return tuple(head[counts] for head in heads_of(outputs)), targets[counts], labels[counts]


def _judge(training: Training, epoch: int) -> Confusion:
    """The confusion matrix over the validation part, of all processes together; a sample that failed counts as missed."""
    assert training.validate is not None
    module = training.module
    module.eval()
    targets: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    with torch.inference_mode():
        for batch in training.validate(epoch):
            if len(batch.sample_ids):
                with _autocast(training.recipe.amp, training.device):
                    outputs = module(batch.clips.to(training.device))
                logits = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
                labels, found = batch.targets.numpy(), logits.float().argmax(dim=-1).cpu().numpy()
                counts = labels >= 0  # a window of frames shows some that another window scores
                targets.append(labels[counts])
                predicted.append(found[counts])
            for label in batch.failed_targets:
                targets.append(np.array([label], np.int64))
                predicted.append(np.array([-1], np.int64))
    own = (np.concatenate(targets), np.concatenate(predicted)) if targets else (np.zeros(0, np.int64),) * 2
    parts = training.ranks.gathered(own)
    everything = [np.concatenate([part[side] for part in parts]) for side in (0, 1)]
    if not len(everything[0]):
        raise FerbenchError("the validation part has no samples to select on")
    return confusion_matrix(everything[0], everything[1], num_classes=training.num_classes)


def _autocast(amp: str, device: str) -> Any:
    kinds = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.partition(":")[0], dtype=kinds[amp], enabled=amp != "off")


def _floats(outputs: Outputs) -> Outputs:
    if isinstance(outputs, HeadsAndDistances):
        return HeadsAndDistances(tuple(head.float() for head in outputs.heads), outputs.distances.float())
    return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)
