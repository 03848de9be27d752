"""How long do index, make-splits and export take on millions of rows, beside the script one would write otherwise?

Fabricates Aff-Wild2 (546 videos, 2.6 million labelled frames with crops, all of them empty files) and AffectNet in its npy
layout (287,651 + 3,999 annotations), and runs every step in a fresh process: ferbench's, and plain Python with os.walk,
readlines, a list of dicts and pandas. Prints seconds of the whole process with imports, rows per second and peak resident
memory, at a tenth of the size and at the full size, and writes them to results/DATE-index-scale.csv.

    python benchmarks/index_scale.py --scale 0.1 1 --repeat 2
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
VIDEOS, FRAMES = (425, 121), 4970
"""Train and validation videos; lines of each. 2.5 % of the frames have no crop and 2 % are -1: 2.6 million rows remain."""
AFFECTNET = {
    "train_set": (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750),
    "val_set": (500, 500, 500, 500, 500, 500, 500, 499),
}
STEPS = ("index", "split", "export")
SHOWN = {
    "dataset": 12, "step": 6, "tool": 8, "rows": 8, "seconds": 7, "cpu_seconds": 11, "rows_per_second": 15, "peak_mb": 7,
    "times_faster": 12,
}  # fmt: skip
"""Columns that are printed -> their widths."""


# --- fabricated copies ------------------------------------------------------------------------------------------------


def fabricate_aff_wild2(root: Path, scale: float) -> None:
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from trees import aff_wild2

    train, validation = (round(count * scale) for count in VIDEOS)
    names = [f"{number}-30-1280x720" for number in range(1, train + validation + 1)]
    aff_wild2.fabricate(root, train=names[:train], validation=names[train:], test=(), frames=FRAMES)


def fabricate_affectnet(root: Path, scale: float) -> None:
    import numpy as np

    number = 0
    for part, counts in AFFECTNET.items():
        images, annotations = root / part / "images", root / part / "annotations"
        images.mkdir(parents=True)
        annotations.mkdir()
        for label, count in enumerate(counts):
            files = {}
            for kind, value in (("exp", str(label)), ("val", "0.25"), ("aro", "-0.5")):
                buffer = io.BytesIO()
                np.save(buffer, np.array(value))
                files[kind] = buffer.getvalue()
            for _ in range(round(count * scale)):
                (images / f"{number}.jpg").touch()
                for kind, data in files.items():
                    (annotations / f"{number}_{kind}.npy").write_bytes(data)
                number += 1


# --- ferbench ---------------------------------------------------------------------------------------------------------


def ferbench_step(step: str, dataset: str, root: Path, out: Path) -> int:
    if step == "index":
        from ferbench.jobs.index import index_dataset

        return len(index_dataset(dataset, root, out / "index.parquet", {}).manifest)
    if step == "split":
        from ferbench.jobs.splits import PublishedOptions, split_manifest
        from ferbench.splitting import SplitOptions

        official = PublishedOptions(protocol="official")
        return len(split_manifest(out / "index.parquet", out / "splits", SplitOptions(), published=official).manifest)
    from ferbench.dialects import ExportOptions
    from ferbench.jobs.convert import export_manifest

    dialect = "abaw-csv" if dataset == "aff-wild2" else "csv"
    return export_manifest(out / "splits/manifest.parquet", dialect, out / "export", ExportOptions()).samples


# --- the script one would write otherwise -----------------------------------------------------------------------------


def plain_step(step: str, dataset: str, root: Path, out: Path) -> int:
    if step == "index":
        return (plain_index_aff_wild2 if dataset == "aff-wild2" else plain_index_affectnet)(root, out)
    if step == "split":
        return plain_split(out)
    return (plain_export_aff_wild2 if dataset == "aff-wild2" else plain_export_affectnet)(out)


def plain_index_aff_wild2(root: Path, out: Path) -> int:
    import pandas as pd

    crops = {}
    for folder, _, names in os.walk(root / "cropped_aligned"):
        crops[os.path.basename(folder)] = set(names)
    rows = []
    for split, name in (("train", "Train_Set"), ("validation", "Validation_Set")):
        folder = root / "annotations/EXPR_Set" / name
        for file_name in sorted(os.listdir(folder)):
            video = file_name[:-4]
            with open(folder / file_name) as file:
                lines = file.readlines()[1:]
            for number, line in enumerate(lines, start=1):
                label = int(line)
                image = f"{number:05d}.jpg"
                if label == -1 or image not in crops.get(video, ()):
                    continue
                rows.append(
                    {
                        "sample_id": f"{video}/{number:05d}", "path": f"cropped_aligned/{video}/{image}",
                        "video": video, "label": label, "split": split,
                    }
                )  # fmt: skip
    pd.DataFrame(rows).to_csv(out / "index.csv", index=False)
    return len(rows)


def plain_index_affectnet(root: Path, out: Path) -> int:
    import numpy as np
    import pandas as pd

    rows = []
    for split, part in (("train", "train_set"), ("validation", "val_set")):
        images = set(os.listdir(root / part / "images"))
        for folder, _, names in os.walk(root / part / "annotations"):
            for name in sorted(names):
                if name.endswith("_exp.npy"):
                    number = name.split("_")[0]
                    label = int(np.load(os.path.join(folder, name)))
                    valence = float(np.load(os.path.join(folder, f"{number}_val.npy")))
                    arousal = float(np.load(os.path.join(folder, f"{number}_aro.npy")))
                    if f"{number}.jpg" in images:
                        rows.append(
                            {
                                "sample_id": f"{split}/{number}", "path": f"{part}/images/{number}.jpg",
                                "label": label, "split": split, "valence": valence, "arousal": arousal,
                            }
                        )  # fmt: skip
    pd.DataFrame(rows).to_csv(out / "index.csv", index=False)
    return len(rows)


def plain_split(out: Path) -> int:
    import pandas as pd

    table = pd.read_csv(out / "index.csv")
    assert table["sample_id"].is_unique
    if "video" in table:
        assert table.groupby("video")["split"].nunique().max() == 1
    for split, rows in table.groupby("split"):
        rows.to_csv(out / f"{split}.csv", index=False)
    return len(table)


def plain_export_aff_wild2(out: Path) -> int:
    import pandas as pd

    total = 0
    for split in ("train", "validation"):
        table = pd.read_csv(out / f"{split}.csv")
        paths = table["path"].str.removeprefix("cropped_aligned/")
        pd.DataFrame({"path": paths, "EXPR": table["label"]}).to_csv(out / f"export-{split}.csv", index=False)
        total += len(table)
    return total


def plain_export_affectnet(out: Path) -> int:
    import pandas as pd

    names = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
    table = pd.concat([pd.read_csv(out / "train.csv"), pd.read_csv(out / "validation.csv")])
    table["label"] = table["label"].map(dict(enumerate(names)))
    table.to_csv(out / "export.csv", index=False)
    return len(table)


# --- measuring --------------------------------------------------------------------------------------------------------

TOOLS: dict[str, Callable[[str, str, Path, Path], int]] = {"ferbench": ferbench_step, "plain": plain_step}
FABRICATORS: dict[str, Callable[[Path, float], None]] = {
    "aff-wild2": fabricate_aff_wild2,
    "affectnet-8": fabricate_affectnet,
}


def peak_memory() -> int:
    """Bytes this process has had resident at most."""
    try:
        # Not getrusage: its maximum includes the parent's memory at the moment of the fork.
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def run_fresh(*arguments: object) -> tuple[float, dict[str, float]]:
    """Seconds and result of one step in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--step", *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return seconds, json.loads(done.stdout)


def one_step(arguments: list[str]) -> None:
    """What `run_fresh` runs: `TOOL STEP DATASET ROOT OUT`, or `fabricate - DATASET ROOT SCALE`."""
    tool, step, dataset, root, last = arguments
    if tool == "fabricate":
        FABRICATORS[dataset](Path(root), float(last))
        print("{}")
    else:
        rows = TOOLS[tool](step, dataset, Path(root), Path(last))
        print(json.dumps({"rows": rows, "peak": peak_memory(), "cpu": time.process_time()}))


def measured(dataset: str, scale: float, work: Path, repeat: int) -> Iterator[dict[str, object]]:
    """One row per step and tool: the fastest of `repeat` runs and the largest memory."""
    root = work / f"{dataset}-{scale}"
    print(f"{dataset} x {scale}: fabricating ...", file=sys.stderr, flush=True)
    run_fresh("fabricate", "-", dataset, root, scale)
    try:
        for step in STEPS:
            seconds: dict[str, list[float]] = {tool: [] for tool in TOOLS}
            cpu: dict[str, list[float]] = {tool: [] for tool in TOOLS}
            peaks = dict.fromkeys(TOOLS, 0.0)
            rows = dict.fromkeys(TOOLS, 0)
            # Turn by turn, so that what else the machine does falls on both.
            for _ in range(repeat):
                for tool in TOOLS:
                    out = work / f"out-{tool}"
                    out.mkdir(exist_ok=True)
                    spent, result = run_fresh(tool, step, dataset, root, out)
                    seconds[tool].append(spent)
                    peaks[tool] = max(peaks[tool], result["peak"])
                    cpu[tool].append(result["cpu"])
                    rows[tool] = int(result["rows"])
            for tool in TOOLS:
                best = min(seconds[tool])
                yield {
                    "dataset": dataset, "step": step, "tool": tool, "rows": rows[tool], "seconds": round(best, 2),
                    "cpu_seconds": round(min(cpu[tool]), 2), "rows_per_second": round(rows[tool] / best),
                    "peak_mb": round(peaks[tool] / 1e6),
                    "times_faster": round(min(seconds["plain"]) / best, 1) if tool == "ferbench" else "",
                }  # fmt: skip
    finally:
        shutil.rmtree(root, ignore_errors=True)
        for tool in TOOLS:
            shutil.rmtree(work / f"out-{tool}", ignore_errors=True)


def machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def versions() -> str:
    import numpy
    import pandas
    import pyarrow

    modules = f"pandas {pandas.__version__}, pyarrow {pyarrow.__version__}, numpy {numpy.__version__}"
    return f"Python {platform.python_version()}, {modules}"


def main() -> None:
    if sys.argv[1:2] == ["--step"]:
        one_step(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", choices=list(FABRICATORS), default=list(FABRICATORS))
    parser.add_argument("--scale", nargs="+", type=float, default=[0.1, 1.0], help="parts of the full size (0.1 1)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each step, of which the fastest counts (2)")
    parser.add_argument("--work", type=Path, help="an empty folder with 2.8 million free inodes (a temporary one)")
    parser.add_argument("--out", type=Path, help="the CSV (results/DATE-index-scale.csv)")
    arguments = parser.parse_args()
    out = arguments.out or Path(__file__).parent / "results" / f"{date.today()}-index-scale.csv"
    results: list[dict[str, object]] = []
    print(" ".join(f"{name:>{width}}" for name, width in SHOWN.items()))
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="ferbench-index-scale-") as work:
        for dataset in arguments.dataset:
            for scale in arguments.scale:
                for row in measured(dataset, scale, Path(work), arguments.repeat):
                    results.append({**row, "machine": machine(), "versions": versions()})
                    print(" ".join(f"{row[name]:>{width}}" for name, width in SHOWN.items()), flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(results[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(results)
    print(out)


if __name__ == "__main__":
    main()
