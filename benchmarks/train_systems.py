"""Do the built-in systems learn? Real training of every family on pictures and clips whose people are known.

    python benchmarks/train_systems.py DATA --work FOLDER

DATA holds
    stills/labels.csv    columns path,label,identity (others are passed over); paths are below stills/
    clips/frames.csv     columns clip,frame,label,intensity: how far frame 0, 1, … of a video is from neutral, 0..1
    clips/NAME.mp4       the videos; what is before the first _ of a name is the person

Everything goes through the command line as a user types it, and every line is printed: align once, folds by person, train
the recipe at a small size on each fold, evaluate. What is changed of a recipe stands in `SYSTEMS`. Then WAR and UAR with
intervals over people, of all folds' held-out samples together, and the curve of one fold.

Two people are in the videos, too few for three folds. So the stills make clips too: the aligned neutral face of a person
fades into that of the expression while it drifts. `videos` is the part of the clips that are real ones. The frames of all
clips are samples of their own, as Aff-Wild2's are: neutral below a fifth of the way, without a label until two fifths.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import platform
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
FOLDS, SIZE, FRAMES = 3, 64, 16
NEUTRAL_BELOW, LABELLED_FROM = 0.2, 0.4
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class System:
    """One family at a size that a CPU trains in a minute or two."""

    model: str
    recipe: str
    data: str
    """`stills`, `clips` or `frames`."""
    changes: tuple[str, ...]
    """`-o` of the recipe; `{runs}` and `{fold}` are filled in."""


MILD = 'augment=[{name="random-resized-crop",scale=[0.8,1.0]},{name="flip",p=0.5}]'
"""In place of crops down to 8 % of the picture, which need the published numbers of pictures and epochs."""
ADAMW = 'optimizer={name="adamw",lr=5e-4}'
COSINE = 'schedule={name="cosine",warmup=2}'
SMALL_RESNET = ("options.width=16", "options.blocks=1,1,1,1", "options.size=64")

SYSTEMS: tuple[System, ...] = (
    System(
        "ms", "ms-dfew", "clips",
        ("options.width=16", "options.size=64", "options.clip_len=4", "epochs=30", MILD, ADAMW, COSINE),
    ),
    System(
        "former-dfer", "former-dfer-dfew", "clips",
        ("options.width=16", "options.size=64", "options.clip_len=8", "batch-size=8", "epochs=30", MILD, ADAMW, COSINE),
    ),
    System(
        "mfer", "mfer-raf-db", "stills",
        ("options.width=16", "options.depths=1,1,3,1", "options.size=64", "options.drop_path=0", "batch-size=16",
         "epochs=40", MILD),
    ),
    System("mini-xception", "mini-xception", "stills",
           ("batch-size=16", "epochs=40", "early-stop=0", MILD, "lr=0.003", COSINE)),
    System(
        "abaw-cnn", "abaw-cnn-aff-wild2", "frames",
        (*SMALL_RESNET, "batch-size=16", "epochs=8", MILD, "lr=0.02", "balanced=true"),
    ),
    System(
        "abaw-cnn-rnn", "abaw-cnn-rnn-aff-wild2", "frames",
        (*SMALL_RESNET, "options.dim=96", "options.backbone=runs/abaw-cnn-{fold}/checkpoint.safetensors", "batch-size=32",
         "epochs=3", MILD, "lr=0.05", "balanced=true"),
    ),
    System(
        "abaw-cnn-transformer", "abaw-cnn-transformer-aff-wild2", "frames",
        (*SMALL_RESNET, "options.dim=96", "options.dropout=0.1",
         "options.backbone=runs/abaw-cnn-{fold}/checkpoint.safetensors", "batch-size=16", "epochs=10", MILD, "lr=0.02"),
    ),
    # A MobileNetV2 from random weights needs many steps, torchvision's too; SGD at the recipe's 0.066 learns nothing here.
    System(
        "efea-msm", "efea-msm-fer2013", "stills",
        ("options.width=0.5", "options.size=64", "options.dropout=0.2", "options.placement=3,6,13", "batch-size=16",
         "epochs=150", MILD, 'optimizer={name="adamw",lr=1e-3}', COSINE),
    ),
)  # fmt: skip


# --- data -------------------------------------------------------------------------------------------------------------


def prepare(data: Path, work: Path) -> None:
    """Manifests with folds at `work/stills`, `work/clips` and `work/frames`."""
    rows = [
        (row["path"], row["label"], f"id{int(row['identity']):02d}") for row in read_csv(data / "stills/labels.csv")
    ]
    write_list(work / "stills.csv", data / "stills", "path,label,subject", rows)
    ferbench("import stills.csv --dialect csv -o stills.parquet")
    ferbench(f"align stills.parquet -o faces --size {SIZE} --format png --workers 1")
    split("faces/manifest.parquet", "stills")
    frames = read_csv(data / "clips/frames.csv")
    videos = {row["clip"]: (row["clip"], row["label"], row["clip"].partition("_")[0]) for row in frames}
    write_list(work / "videos.csv", data / "clips", "path,label,subject", videos.values())
    ferbench("import videos.csv --dialect csv -o videos.parquet")
    ferbench(f"align videos.parquet -o video-faces --size {SIZE} --format png --sampler uniform --clip-len {FRAMES} "
             "--workers 1")  # fmt: skip
    shares = {name: [float(row["intensity"]) for row in frames if row["clip"] == name] for name in videos}
    clips = fades(work, rows) + video_clips(work, list(videos.values()), shares)
    write_list(work / "clips.csv", work, "path,label,subject,kind", [clip[:4] for clip in clips])
    ferbench("import clips.csv --dialect csv -o clips.parquet")
    split("clips.parquet", "clips")
    found = [
        (f"{path}/{frame + 1:05d}.png", "neutral" if share < NEUTRAL_BELOW else label, subject, kind, frame)
        for path, label, subject, kind, each in clips
        for frame, share in list(enumerate(each))[::2]
        if share < NEUTRAL_BELOW or share >= LABELLED_FROM
    ]
    write_list(work / "frames.csv", work, "path,label,subject,kind,frame", found, types='{"frame": "int64"}')
    ferbench("import frames.csv --dialect csv -o frames.parquet")
    split("frames.parquet", "frames")


def fades(work: Path, rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str, str, list[float]]]:
    """Clips of the aligned stills, `fades/PERSON_LABEL/00001.png` and on: path, label, person, kind, shares."""
    import cv2
    import numpy as np

    faces = {(subject, label): work / "faces" / Path(path).with_suffix("") for path, label, subject in rows}
    made = []
    for number, ((subject, label), place) in enumerate(faces.items()):
        rng = np.random.default_rng([7, number])
        start, end = (read_face(folder) for folder in (faces[subject, "neutral"], place))
        folder = work / "fades" / f"{subject}_{label}"
        folder.mkdir(parents=True, exist_ok=True)
        drift = rng.uniform(-3, 3, 2)
        shares = [0.0 if label == "neutral" else frame / (FRAMES - 1) for frame in range(FRAMES)]
        for frame, share in enumerate(shares):
            blend = (1 - share) * start + share * end
            moved = np.hstack([np.eye(2), (drift * frame / FRAMES)[:, None]])
            picture = cv2.warpAffine(blend, moved, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
            cv2.imwrite(str(folder / f"{frame + 1:05d}.png"), np.clip(picture, 0, 255).astype(np.uint8))
        made.append((folder.relative_to(work).as_posix(), label, subject, "fade", shares))
    return made


def video_clips(
    work: Path, videos: Sequence[tuple[str, str, str]], shares: dict[str, list[float]]
) -> list[tuple[str, str, str, str, list[float]]]:
    """The same of the aligned videos, whose frames align took evenly."""
    made = []
    for name, label, subject in videos:
        of_clip = shares[name]
        taken = [of_clip[(2 * frame + 1) * len(of_clip) // (2 * FRAMES)] for frame in range(FRAMES)]
        made.append((f"video-faces/{Path(name).stem}", label, subject, "video", taken))
    return made


def read_face(folder: Path):  # type: ignore[no-untyped-def]
    import cv2

    file = (
        folder.with_suffix(".png") if folder.with_suffix(".png").exists() else next(iter(sorted(folder.glob("*.png"))))
    )
    return cv2.imread(str(file)).astype("float32")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_list(path: Path, root: Path, header: str, rows, *, types: str = "") -> None:  # type: ignore[no-untyped-def]
    lines = [f"# root: {root.absolute()}", *([f"# types: {types}"] if types else []), header]
    path.write_text("\n".join([*lines, *(",".join(map(str, row)) for row in rows)]) + "\n")


def split(manifest: str, name: str) -> None:
    ferbench(f"make-splits {manifest} --folds {FOLDS} --group subject -o {name}")


# --- the command line -------------------------------------------------------------------------------------------------


LINES: list[str] = []
"""What was run, but for the other folds."""


def ferbench(line: str) -> str:
    """Run one command line in this process, which saves the start of fifty; its stdout. Ends the script when it fails."""
    from ferbench.commands import run

    print(f"$ ferbench {line}", flush=True)
    if "--fold " not in line or "--fold 1 " in line:
        LINES.append(f"ferbench {line}")
    said, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = run(shlex.split(line))
    if code:
        raise SystemExit(f"exit code {code}\n{told.getvalue()}")
    return said.getvalue()


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What one system reached, over all folds."""

    system: System
    report: dict[str, Any]
    log: list[dict[str, str]]
    """Of the first fold."""
    seconds: float


def train(system: System) -> Result:
    """Train on each fold, evaluate all of them."""
    started = time.perf_counter()
    for fold in range(1, FOLDS + 1):
        changes = " ".join(f"-o {shlex.quote(change)}" for change in system.changes)
        changes = changes.replace("{fold}", str(fold))
        ferbench(
            f"train {system.data} --recipe {system.recipe} --fold {fold} --select-on last --device cpu {changes} "
            f"-o runs/{system.model}-{fold}"
        )
    said = ferbench(
        f"evaluate {system.data}/manifest.parquet --model 'runs/{system.model}-{{fold}}/checkpoint.safetensors' "
        f"--device cpu --workers 1 -o runs/{system.model} --json"
    )
    log = read_csv(Path(f"runs/{system.model}-1/log.csv"))
    return Result(system, json.loads(said), log, time.perf_counter() - started)


# --- what is printed --------------------------------------------------------------------------------------------------

HEADER = (
    f"{'model':<22}{'data':<8}{'tested':>7}{'WAR':>7}{'95% interval':>16}{'UAR':>7}{'95% interval':>16}"
    f"{'UAR of folds':>15}{'always-one':>12}{'seconds':>9}"
)


def row_of(result: Result) -> str:
    """A line of the table; percent."""
    report = result.report
    pooled = report["pooled"]["all"]
    # Intervals over people where the manifest names them: frames of one person are no independent samples.
    intervals = report["intervals"][-1]
    ends = {name: intervals["pooled"]["all"][name] for name in ("war", "uar")}
    supports = [sum(row) for row in total_confusion(report)]
    folds = [100 * fold["all"]["uar"] for fold in report["folds"]]
    cells = [f"{result.system.model:<22}{result.system.data:<8}{report['num_samples']:>7}"]
    for name in ("war", "uar"):
        between = f"{100 * ends[name]['low']:.1f} to {100 * ends[name]['high']:.1f}"
        cells.append(f"{100 * pooled[name]:>7.1f}{between:>16}")
    cells.append(f"{' '.join(f'{value:.0f}' for value in folds):>15}{100 * max(supports) / sum(supports):>12.1f}")
    return "".join(cells) + f"{result.seconds:>9.0f}"


def total_confusion(report: dict[str, Any]) -> list[list[int]]:
    """Of all folds; rows are the classes as they are."""
    count = len(report["classes"])
    total = [[0] * count for _ in range(count)]
    for fold in report["folds"]:
        for label in range(count):
            for predicted in range(count):
                total[label][predicted] += fold["confusion"][label][predicted]
    return total


def curve_of(result: Result) -> str:
    """Training loss and accuracy over the epochs of the first fold, as blocks."""
    losses = [float(row["train_loss"]) for row in result.log]
    right = [float(row["train_war"]) for row in result.log]
    return (
        f"{result.system.model:<22}loss {losses[0]:.2f} {blocks(losses, max(losses))} {losses[-1]:.2f}   "
        f"accuracy {100 * right[0]:.0f} {blocks(right, 1.0)} {100 * right[-1]:.0f}"
    )


def blocks(values: Sequence[float], top: float) -> str:
    """At most forty characters, each the height of its place."""
    step = max(1, -(-len(values) // 40))
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(len(BLOCKS) * max(value, 0) / top))] for value in values[::step])


def videos_only(model: str) -> str:
    """Of the clips, how many of the real videos are right."""
    import pyarrow.parquet as pq

    rows = pq.read_table(f"runs/{model}/predictions.parquet").to_pylist()
    videos = [row for row in rows if row["sample_id"].startswith("video-faces/")]
    right = sum(row["predicted"] == row["target"] for row in videos)
    return f"{model}: {right} of the {len(videos)} real videos, by networks that have not seen the person"


def machine() -> str:
    import torch

    return (
        f"{date.today().isoformat()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for faces, folds and runs")
    parser.add_argument(
        "--only", nargs="*", metavar="MODEL", help="these models; abaw-cnn must come before the others of it"
    )
    parser.add_argument("--out", type=Path, help="file to write the result to")
    given = parser.parse_args()
    data, work, out = given.data.absolute(), given.work.absolute(), given.out and given.out.absolute()
    unknown = sorted(set(given.only or ()) - {system.model for system in SYSTEMS})
    if unknown:
        parser.error(f"no system {unknown[0]!r}; known: {', '.join(system.model for system in SYSTEMS)}")
    import torch

    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    started = time.perf_counter()
    prepare(data, work)
    results = []
    for system in SYSTEMS:
        if not given.only or system.model in given.only:
            results.append(train(system))
            print(f"{HEADER}\n{row_of(results[-1])}", flush=True)
    lines = [
        f"python benchmarks/train_systems.py DATA --work WORK   ({time.perf_counter() - started:.0f} s in all)", machine(),
        f"{FOLDS} folds by person; every sample is tested once, by the network that has not seen its person; percent; "
        "chance is 14.3", "", HEADER, *map(row_of, results), "",
        *(videos_only(result.system.model) for result in results if result.system.data == "clips"),
        "", "training loss and accuracy, fold 1, augmented pictures", *map(curve_of, results), "", "command lines, fold 1",
        *LINES,
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    print("\n" + text, flush=True)
    if out:
        out.write_text(text)


if __name__ == "__main__":
    main()
