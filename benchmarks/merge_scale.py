"""How do planning, dividing, merging and scoring grow from a hundred thousand samples to a million?

Fabricates a manifest of stills with labels, folds and subjects, the journals of an alignment in 16 shards and the
predictions of an evaluation in 16 parts, and runs every step that is not the work itself in a fresh process: seconds of
the step, peak resident memory of the process, and both at the larger size over the smaller. `linear` is the ratio of rows.

    python benchmarks/merge_scale.py --rows 100000 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
PARTS, CLASSES = 16, ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
SHARE = "3/16"


# --- what there is before a step --------------------------------------------------------------------------------------


def fabricate_manifest(work: Path, rows: int) -> None:
    """`rows` stills of 200 folders, none of which is there: nothing below looks into a picture."""
    import numpy as np
    import pyarrow as pa

    from ferbench.labels import LabelSet
    from ferbench.manifest import manifest_of, write_manifest

    rng = np.random.default_rng(0)
    places = range(rows)
    manifest = manifest_of(
        {
            "sample_id": [f"movie{place % 200:03d}/frame_{place:07d}" for place in places],
            "path": [f"movie{place % 200:03d}/frame_{place:07d}.jpg" for place in places],
            "media": ["image"] * rows,
            "label": pa.array(rng.integers(0, len(CLASSES), rows), pa.int16()),
            "subject": [f"person{place % 5000}" for place in places],
            "fold": pa.array(1 + np.arange(rows) % 5, pa.int32()),
        },
        labels=LabelSet.of(CLASSES), name="synthetic", root=work,
    )  # fmt: skip
    write_manifest(manifest, work / "manifest.parquet")


def fabricate_journals(work: Path, rows: int) -> None:
    """What 16 shards leave when all of them are done: boxes only, a face in every still."""
    import dataclasses

    from ferbench.jobs.align import plan_align
    from ferbench.jobs.align.outcome import CropRow, Outcome
    from ferbench.jobs.align.sharded import record_plan
    from ferbench.manifest import read_manifest
    from ferbench.sharding import Share

    source = read_manifest(work / "manifest.parquet")
    plan = plan_align(source, work / "faces", align_options(), run_options("1/16"))
    plan.store.open(())
    record_plan(plan, run_options("1/16"))
    plan.store.journal.close()
    row = CropRow(1, 0, "detected", 0.9991, (10.5, 20.25, 90.125, 120.0), (1.5,) * 10, (0.5, 0.0, 1.0, 0.0, 0.5, 2.0))
    files = [(plan.store.journal_of(Share(index, PARTS))).open("w", encoding="utf-8") for index in range(1, PARTS + 1)]
    for file in files:
        file.write(f"{plan.store.recipe.id}\n")
    for place, sample in enumerate(source.samples()):
        outcome = Outcome(
            sample.sample_id, "ok", sample.path, "", source_bytes=20000 + place, source_frames=1, frames_sampled=1,
            frames_with_face=1, num_crops=1, decoder="stills", sha256=f"{place:064x}", face_score=0.9991, face_size=80.0,
            sharpness=100.0, yaw=0.1, jump=0.0, face_share=1.0,
        )  # fmt: skip
        files[place % PARTS].write(dataclasses.replace(outcome, rows=(row,)).as_line())
    for file in files:
        file.close()


def fabricate_parts(work: Path, rows: int) -> None:
    """The predictions of 16 parts, as `evaluate --shard` writes them."""
    import numpy as np

    from ferbench.jobs.evaluate.sharded import ShardRecord
    from ferbench.labels import LabelSet
    from ferbench.manifest import read_manifest
    from ferbench.predictions import Predictions, write_predictions
    from ferbench.sharding import Share
    from ferbench.storage import sha256_of_file

    manifest = read_manifest(work / "manifest.parquet")
    columns = {name: manifest.column(name) for name in ("sample_id", "label", "fold", "subject")}
    rng = np.random.default_rng(1)
    reporting = {"replicates": 2000, "level": 0.95, "seed": 0, "by": [], "cluster": "auto", "most_mistakes": 24}
    about = {
        "model": "net", "manifest": manifest.name, "manifest_path": "../../manifest.parquet", "asked": {"model": "net"},
        "manifest_sha256": sha256_of_file(work / "manifest.parquet"), "seed": 0, "models": [], "notices": [],
    }  # fmt: skip
    for index in range(1, PARTS + 1):
        own = Share(index, PARTS).stretch(rows)
        targets = np.array(columns["label"][own.start : own.stop])
        logits = rng.normal(size=(len(own), len(CLASSES))).astype(np.float32)
        logits[np.arange(len(own)), targets] += 1
        record = ShardRecord(index, PARTS, rows, "job", f"{index:064x}", 0, reporting)
        predictions = Predictions(
            sample_ids=tuple(columns["sample_id"][own.start : own.stop]), targets=targets, logits=logits,
            folds=tuple(map(str, columns["fold"][own.start : own.stop])), errors=(None,) * len(own),
            labels=LabelSet.of(CLASSES), attributes={"subject": tuple(columns["subject"][own.start : own.stop])},
            provenance={**about, "shard": {name: getattr(record, name) for name in record.__dataclass_fields__}},
        )  # fmt: skip
        write_predictions(predictions, work / f"run/shards/predictions-{index}-of-{PARTS}.parquet")


def align_options() -> Any:
    from ferbench.jobs.align import AlignOptions

    return AlignOptions(keep="boxes")


def run_options(shard: str = "") -> Any:
    from ferbench.jobs.align import RunOptions

    return RunOptions(device="cpu", shard=shard)


# --- the steps --------------------------------------------------------------------------------------------------------


def read(work: Path) -> int:
    """The manifest alone, for comparison: every step begins with it."""
    from ferbench.manifest import read_manifest

    return len(read_manifest(work / "manifest.parquet"))


def plan(work: Path) -> int:
    """`align --dry-run` of everything."""
    from ferbench.jobs.align import AlignOptions, plan_align
    from ferbench.manifest import read_manifest

    source = read_manifest(work / "manifest.parquet")
    return len(plan_align(source, work / "none", AlignOptions(), run_options()).todo)


def plan_shard(work: Path) -> int:
    """`align --shard 3/16 --dry-run`."""
    from ferbench.jobs.align import AlignOptions, plan_align
    from ferbench.manifest import read_manifest

    source = read_manifest(work / "manifest.parquet")
    return len(plan_align(source, work / "none", AlignOptions(), run_options(SHARE)).todo)


def resume_shard(work: Path) -> int:
    """The same beside the journals of all 16 shards, all done."""
    from ferbench.jobs.align import plan_align
    from ferbench.manifest import read_manifest

    source = read_manifest(work / "manifest.parquet")
    return len(plan_align(source, work / "faces", align_options(), run_options(SHARE)).standing)


def merge_alignment(work: Path) -> int:
    """`ferbench merge faces/`: journals to tables."""
    from ferbench.jobs.align import merge_align

    return merge_align(work / "faces")[0].samples


def part(work: Path) -> int:
    """What `evaluate --shard 3/16` does before the model: select, divide, cut blocks, look at the files."""
    from ferbench.jobs.evaluate import EvaluateOptions, ViewOptions, select_samples
    from ferbench.jobs.evaluate.blocks import cut_blocks
    from ferbench.jobs.evaluate.sharded import Media, blocks_of, digest_of, part_of
    from ferbench.jobs.evaluate.tasks import Task
    from ferbench.manifest import read_manifest
    from ferbench.sharding import Share

    manifest = read_manifest(work / "manifest.parquet")
    options, views = EvaluateOptions(model=("net",)), ViewOptions()
    selected = select_samples(manifest, options)
    own = part_of(selected, options, views, Share(3, PARTS))
    blocks = cut_blocks([Task((sample,)) for sample in selected.samples], views, options.batch_size)
    media = Media(manifest, selected)
    digest_of(media, own)
    return sum(len(block.tasks) for block in blocks_of(blocks, own))


def merge_parts(work: Path) -> int:
    """`ferbench merge run/` without its report."""
    from ferbench.jobs.merge import MergeOptions, merge_shards, write_merged
    from ferbench.jobs.shards import read_shards

    shards = read_shards(sorted((work / "run/shards").glob("*.parquet")))
    return len(write_merged(shards, merge_shards(shards, MergeOptions()), work / "run/predictions.parquet").predictions)


def score(work: Path) -> int:
    """The report of the whole: audits, 2,000 bootstrap replicates over samples and over subjects, figures, page."""
    from ferbench.jobs.audit import audit_predictions
    from ferbench.jobs.score import write_report
    from ferbench.manifest import read_manifest
    from ferbench.predictions import read_predictions

    predictions = read_predictions(work / "run/predictions.parquet")
    findings = audit_predictions(predictions, manifest=read_manifest(work / "manifest.parquet"))
    return write_report(predictions, work / "run", audits=findings).num_samples


STEPS: dict[str, Callable[[Path], int]] = {
    "read manifest": read, "plan": plan, "plan a shard": plan_shard, "resume a shard": resume_shard,
    "merge alignment": merge_alignment, "divide evaluation": part, "merge predictions": merge_parts, "score": score,
}  # fmt: skip


def in_child(step: str, work: Path) -> dict[str, Any]:
    """One step in a process of its own: what it says of itself."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", step, "--work", str(work)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{step}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def child(step: str, work: Path) -> None:
    """Run a step and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    rows = STEPS[step](work)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": rows, "seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
                "peak_mb": usage.ru_maxrss / 1024,
            }
        )
    )  # fmt: skip


def measure(rows: int, work: Path) -> dict[str, dict[str, Any]]:
    """Every step at one size."""
    fabricate_manifest(work, rows)
    fabricate_journals(work, rows)
    fabricate_parts(work, rows)
    return {step: in_child(step, work) for step in STEPS}


def table(results: dict[int, dict[str, dict[str, Any]]]) -> list[str]:
    """The lines that are printed."""
    sizes = sorted(results)
    head = f"{'step':20}" + "".join(f"{f'{size:,} rows':>32}" for size in sizes) + f"{'growth':>20}"
    lines = [
        head,
        f"{'':20}" + f"{'seconds':>12}{'cpu':>9}{'peak MB':>11}" * len(sizes) + f"{'seconds':>10}{'peak':>10}",
    ]
    for step in STEPS:
        found = [results[size][step] for size in sizes]
        cells = "".join(f"{each['seconds']:12.2f}{each['cpu']:9.2f}{each['peak_mb']:11.0f}" for each in found)
        first, last = found[0], found[-1]
        growth = f"{last['cpu'] / first['cpu']:10.1f}{last['peak_mb'] / first['peak_mb']:10.1f}"
        lines.append(f"{step:20}{cells}{growth if len(sizes) > 1 else ''}")
    if len(sizes) > 1:
        lines.append(f"linear would be {sizes[-1] / sizes[0]:.0f}; growth of seconds is of processor time")
    return lines


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--work", type=Path, help="a folder for what is fabricated, 5 GB at a million rows; removed")
    parser.add_argument("--output", type=Path, help="also write the table here")
    parser.add_argument("--child", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.work)
        return
    results = {}
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            results[rows] = measure(rows, Path(folder))
    load = os.getloadavg()[1]
    lines = [
        f"merge_scale.py, {date.today()}: {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {load:.1f} over five minutes",
        "",
        *table(results),
    ]
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
