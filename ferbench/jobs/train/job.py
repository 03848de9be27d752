"""The train job: network, data and loop brought together; the checkpoint that says itself what it is."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferbench import remote
from ferbench.device import choose_device
from ferbench.errors import UsageError
from ferbench.jobs.train.data import Parts, parts_of, shard_notices
from ferbench.jobs.train.options import TrainOptions
from ferbench.manifest import Manifest
from ferbench.media.shard_index import refuse_damaged_shards, samples_in_shards
from ferbench.progress import progress
from ferbench.storage import remove, sha256_of_file, sha256_of_value, write_json
from ferbench.training import TrainRecipe

if TYPE_CHECKING:
    from ferbench.feeding import Batch, FeedOptions
    from ferbench.inputspec import InputSpec
    from ferbench.training.loop import Training
    from ferbench.training.network import Network
    from ferbench.training.ranks import Ranks
    from ferbench.training.state import State

CHECKPOINT, LAST, RECIPE = "checkpoint.safetensors", "last.safetensors", "recipe.json"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came of it."""

    out: Path
    fold: str
    epochs: int
    best_epoch: int
    selection: str
    metric: str
    value: float | None
    """The metric of the epoch that was kept, 0..1; None where it is the last."""
    train_samples: int
    select_samples: int
    notices: tuple[str, ...]

    @property
    def checkpoint(self) -> Path:
        """What `evaluate --model` takes."""
        return self.out / CHECKPOINT

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**dataclasses.asdict(self), "out": str(self.out), "checkpoint": str(self.checkpoint),
                "notices": list(self.notices)}  # fmt: skip


def train(
    manifest: Manifest, manifest_path: Path, out: Path, recipe: TrainRecipe, options: TrainOptions
) -> TrainResult:
    """Train the recipe's network on a fold of `manifest`, continuing what an earlier run left in `out`.

    Writes `checkpoint.safetensors` (the epoch that was selected), `last.safetensors`, log.csv, curves.png, recipe.json and
    state.pt. Raises UsageError when `out` holds another training, DataError when a shard is not what its index says,
    ModelError when the network fails on its input.
    """
    from ferbench.training.loop import run_training
    from ferbench.training.network import make_network
    from ferbench.training.ranks import joined

    wanted = choose_device(options.device)
    parts = parts_of(manifest, recipe, fold=options.fold, limit=options.limit)
    for part in filter(None, (parts.train, parts.select)):
        refuse_damaged_shards(part.root, samples_in_shards(part))
    network = make_network(recipe, manifest.labels.names)
    with joined(wanted) as ranks:
        if options.overwrite and ranks.leads and remote.exists(out):
            _discard(out)
        device = ranks.device(wanted)
        question = _question(manifest_path, recipe, parts, options, ranks)
        about = _About(manifest, manifest_path, recipe, parts, network, question)
        if ranks.leads:
            write_json(out / RECIPE, recipe.as_dict())
        with _bar(parts, recipe, options, ranks) as advance:
            training = _training(network, parts, recipe, options, device=device, ranks=ranks)
            writer = _writer(out, options, ranks)
            training = dataclasses.replace(
                training,
                question=question,
                on_best=lambda state: about.write(state, out / CHECKPOINT) if ranks.leads else None,
                on_epoch=lambda state: _record(state, out, recipe, about, writer) if ranks.leads else None,
                advance=advance,
            )
            state = run_training(training, out)
    value = None if parts.select is None else state.best
    return TrainResult(
        out, parts.fold, state.epoch, state.best_epoch, parts.selection, recipe.metric, value, len(parts.train),
        len(parts.select) if parts.select is not None else 0, (*network.notices, *shard_notices(parts.train, recipe)),
    )  # fmt: skip


def _training(
    network: Network, parts: Parts, recipe: TrainRecipe, options: TrainOptions, *, device: str, ranks: Ranks
) -> Training:
    from ferbench.feeding import FeedOptions, check_augmentations, feed, num_batches
    from ferbench.training.loop import Training

    check_augmentations(recipe.augment)
    learns = FeedOptions(
        batch_size=recipe.batch_size, workers=options.workers, seed=recipe.seed, shuffle=True, balanced=recipe.balanced,
        drop_last=recipe.drop_last, grain=recipe.shuffle, window=recipe.shuffle_window,
        rank=ranks.rank, world=ranks.world, augment=recipe.augment,
    )  # fmt: skip
    if not num_batches(len(parts.train), learns):
        raise UsageError(
            f"{len(parts.train)} samples do not fill a batch of {recipe.batch_size * ranks.world}, and the recipe drops "
            "what does not: -o batch-size=N or -o drop-last=false"
        )
    judges = dataclasses.replace(learns, shuffle=False, balanced=False, drop_last=False, augment=())

    def of(part: Manifest, how: FeedOptions, *, is_train: bool, epoch: int) -> Iterator[Batch]:
        return feed(part, list(part.samples()), network.spec, how, epoch=epoch, train=is_train)

    select = parts.select
    return Training(
        module=network.module,
        recipe=recipe,
        num_classes=len(network.spec.classes),
        train=lambda epoch: of(parts.train, learns, is_train=True, epoch=epoch),
        validate=None if select is None else lambda epoch: of(select, judges, is_train=False, epoch=epoch),
        device=device,
        question="",
        ranks=ranks,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _About:
    """What the checkpoints say of themselves."""

    manifest: Manifest
    manifest_path: Path
    recipe: TrainRecipe
    parts: Parts
    network: Network
    question: str

    def write(self, state: State, path: Path, *, selection: str = "") -> None:
        from ferbench.models.own_checkpoint import CheckpointAbout, write_checkpoint

        spec: InputSpec = self.network.spec
        faces = self.manifest.recipe.id if self.manifest.recipe else ""
        protocol = {
            **{key: value for key, value in self.manifest.protocol.items() if key != "fold_names"},
            "held_out": self.parts.fold,
            **({"validation": self.parts.carved} if self.parts.carved else {}),
        }
        facts = {
            "epoch": state.epoch, "seed": self.recipe.seed, "manifest": self.manifest.name,
            "manifest_sha256": sha256_of_file(self.manifest_path), "train_recipe": self.recipe.as_dict(),
            "train_samples": len(self.parts.train),
            "select_samples": len(self.parts.select) if self.parts.select is not None else 0,
            "log": [{key: value for key, value in row.items() if key != "seconds"} for row in state.rows],
            "versions": {name: version(name) for name in ("ferbench", "torch")}, "training": self.question,
        }  # fmt: skip
        about = CheckpointAbout(
            model=self.recipe.model, input_spec=dataclasses.replace(spec, recipe_id=faces), labels=spec.classes,
            options=dict(self.recipe.options), recipe_id=faces, protocol=_plain(protocol),
            selection=selection or self.parts.selection, facts=_plain(facts),
        )  # fmt: skip
        write_checkpoint(self.network.module, about, path)


def _record(state: State, out: Path, recipe: TrainRecipe, about: _About, writer: Any) -> None:
    from ferbench.training.log import write_curves, write_log

    write_log(state.rows, out)
    write_curves(
        state.rows, out, best_epoch=state.best_epoch, title=f"{recipe.name or recipe.model}, {about.parts.fold}"
    )
    about.write(state, out / LAST, selection="last")
    if writer is not None:
        for name, value in state.rows[-1].items():
            if name != "epoch":
                writer.add_scalar(name, value, state.epoch)
        writer.flush()


def _writer(out: Path, options: TrainOptions, ranks: Ranks) -> Any:
    from ferbench.training.log import tensorboard_writer

    return tensorboard_writer(out) if options.tensorboard and ranks.leads else None


def _bar(parts: Parts, recipe: TrainRecipe, options: TrainOptions, ranks: Ranks) -> Any:
    from contextlib import nullcontext

    from ferbench.feeding import FeedOptions, num_batches

    how = FeedOptions(batch_size=recipe.batch_size, drop_last=recipe.drop_last, rank=ranks.rank, world=ranks.world)
    title = f"training {recipe.name or recipe.model}"
    if not ranks.leads:
        return nullcontext(lambda note: None)
    return progress(title, recipe.epochs * num_batches(len(parts.train), how))


def _question(manifest_path: Path, recipe: TrainRecipe, parts: Parts, options: TrainOptions, ranks: Ranks) -> str:
    """Names everything that decides the weights."""
    warm = Path(recipe.warm_start)
    # How many epochs there are may be raised later: the schedule of most recipes does not look at them.
    values = {key: value for key, value in recipe.as_dict().items() if key not in ("epochs", "early-stop", "notes")}
    if recipe.shuffle == "samples":  # a training that was begun before there was a choice goes on
        values = {key: value for key, value in values.items() if key not in ("shuffle", "shuffle-window")}
    if recipe.schedule.name == "cosine":
        values["epochs"] = recipe.epochs
    return sha256_of_value(
        {
            "recipe": _plain(values),
            "warm_start": sha256_of_file(warm) if recipe.warm_start and remote.has_file(warm) else None,
            # Options such as `backbone` name files that the network begins with.
            "files": {
                key: sha256_of_file(Path(value))
                for key, value in recipe.options.items()
                if isinstance(value, str) and value and remote.has_file(value)
            },
            "manifest": sha256_of_file(manifest_path),
            "fold": parts.fold,
            "limit": options.limit,
            "world": ranks.world,
            "versions": {name: version(name) for name in ("ferbench", "torch")},
        }
    )


def _discard(out: Path) -> None:
    from ferbench.training.log import CURVES, LOG
    from ferbench.training.state import STATE

    for name in (CHECKPOINT, LAST, RECIPE, STATE, LOG, CURVES):
        remove(out / name)
    shutil.rmtree(out / "tensorboard", ignore_errors=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
