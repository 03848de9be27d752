"""What `align` is asked for: one record that decides the pixels, one that decides how the job runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ferbench.alignment import MISSING, SELECTIONS, CropOptions
from ferbench.detection import DETECTORS, DetectorOptions
from ferbench.engines import TASK_DEADLINE, check_engine
from ferbench.errors import UsageError
from ferbench.media.video import open_sweep_of
from ferbench.recipe import Recipe
from ferbench.sampling import Sampler
from ferbench.sharding import Share, share_of

FORMATS = {"jpg": ".jpg", "png": ".png"}
CROPS, BOXES = "crops", "boxes"
ONE, ALL = "one", "all"
PACKS = {"none": "", "tar": ".tar", "parquet": ".parquet"}


@dataclass(frozen=True, slots=True)
class AlignOptions:
    """Everything that decides the pixels of the crops. Its values and the detector's weights are the recipe."""

    detector: str = "mtcnn"
    min_face: int = 20
    """Smallest face looked for, in pixels of the source."""
    min_face_share: float = 0.05
    """The same as a share of the frame's shorter side; the larger of the two counts. On 704 frames of real clips and 158
    stills no face that is selected is lost at 0.05 nor at 0.1, 1 of 617 at 0.125, 24 at 0.2."""
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    """Least scores of the three MTCNN stages, as facenet-pytorch has them."""
    exact: bool = False
    """Look everywhere in every frame. Otherwise a clip's frames know each other: see `ferbench.detection.clip`."""
    min_score: float = 0.9
    """Detections below it are no faces for the selection."""
    faces: str = ONE
    """Whose faces of a sample: `one` person's, as `select` says; `all`: every person's, each a sample of its own."""
    min_presence: float = 0.5
    """With `faces` `all`: share of the sampled frames in which a person must be found."""
    select: str = "track"
    """With `faces` `one` only."""
    missing: str = "nearest"
    template: str = "arcface-112"
    size: int = 112
    """Height of the crops in pixels; the width follows from the template."""
    margin: int = 0
    """Template `margin` only: pixels of the crop around the box, as facenet-pytorch counts them."""
    interpolation: str = "linear"
    sampler: str = "uniform"
    clip_len: int = 0
    """Frames per clip; 0 is the sampler's own."""
    stride: int = 0
    short: str = ""
    format: str = "jpg"
    quality: int = 95
    """JPEG quality 1..100."""
    decoders: tuple[str, ...] = ("decord", "opencv")
    """Tried in this order."""
    keep: str = CROPS
    """`boxes` writes boxes, landmarks and matrices, and no pictures; `--from-boxes` makes the pictures later."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("detector", self.detector, DETECTORS),
            ("choice of faces", self.faces, (ONE, ALL)),
            ("selection rule", self.select, SELECTIONS),
            ("missing-face policy", self.missing, MISSING),
            ("image format", self.format, FORMATS),
            ("thing to keep", self.keep, (CROPS, BOXES)),
        ):
            if value not in known:
                raise UsageError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"the JPEG quality must be 1..100, got {self.quality}")
        if not 0 <= self.min_score <= 1:
            raise UsageError(f"the least face score must be 0..1, got {self.min_score}")
        if not 0 <= self.min_presence <= 1:
            raise UsageError(f"the least presence of a person must be 0..1, got {self.min_presence}")
        if not self.decoders:
            raise UsageError("decoders needs at least one name")
        for decoder in self.decoders:
            open_sweep_of(decoder)
        # The parts check their own values; made here so that a mistake is found before any work.
        self.frame_sampler()
        self.detector_options(batch_frames=1)
        self.crop_options()

    def frame_sampler(self) -> Sampler:
        """The sampler of videos and frame folders; an image is one frame whatever it says."""
        return Sampler(self.sampler, clip_len=self.clip_len, stride=self.stride, short=self.short)

    def detector_options(self, *, batch_frames: int) -> DetectorOptions:
        """The detector's part."""
        return DetectorOptions(
            name=self.detector,
            min_face_px=self.min_face,
            min_face_share=self.min_face_share,
            thresholds=self.thresholds,
            batch_frames=batch_frames,
        )

    def crop_options(self) -> CropOptions:
        """The crop's part."""
        return CropOptions(template=self.template, size=self.size, margin=self.margin, interpolation=self.interpolation)

    def looks_for_everyone(self) -> bool:
        """Whether small faces beside a large one matter: not where the largest, or the main track, is selected."""
        return self.faces == ALL or self.select not in ("largest", "track")

    def recipe(self, weights_sha256: str) -> Recipe:
        """The resolved recipe of faces made with these options and these detector weights."""
        detector = self.detector_options(batch_frames=1)
        whose: dict[str, Any] = {"select": self.select}
        if self.faces == ALL:
            whose = {"faces": ALL, "min_presence": self.min_presence}
        return Recipe.of(
            reading={"decoders": list(self.decoders)},
            sampling=self.frame_sampler().as_dict(),
            detection={
                "detector": detector.name, "weights_sha256": weights_sha256, "min_face": detector.min_face_px,
                "min_face_share": detector.min_face_share,
                "thresholds": list(detector.thresholds), "factor": detector.factor,
                "search": "every frame" if self.exact or self.detector == "facenet" else "clip",
            },
            selection={**whose, "min_score": self.min_score, "missing": self.missing},
            **self.crop_stages(),
        )  # fmt: skip

    def crop_stages(self) -> dict[str, dict[str, Any]]:
        """The stages of the recipe that come after the faces are chosen: `crop` and `writing`."""
        crop = {"template": self.template, "size": self.size, "interpolation": self.interpolation}
        writing = {"format": self.format} | ({"quality": self.quality} if self.format == "jpg" else {})
        return {
            "crop": crop | ({"margin": self.margin} if self.template == "margin" else {}),
            "writing": {"keep": BOXES} if self.keep == BOXES else writing,
        }


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a job runs; nothing here changes a pixel."""

    device: str = "auto"
    workers: int = 0
    """Processes; 0 is one per CPU core, or as many as a cluster has places for, and no more than there are samples."""
    batch_size: int = 16
    """Frames per detector call. Batches never mix samples, so this is the only number that can move a result, within
    float rounding."""
    deadline: float = 60.0
    """Seconds a decoder may take for one file before it is killed."""
    limit: int | None = None
    """Only the first samples of the source; for trying things out."""
    max_failures: int = 0
    """Failed samples that are still a success."""
    overwrite: bool = False
    engine: str = "local"
    address: str = ""
    """Of the Ray cluster, with `engine` `ray`."""
    task_deadline: float = TASK_DEADLINE
    """Seconds a worker may take for one sample before it is killed and the sample tried once more."""
    pack: str = "none"
    """`tar` (WebDataset) or `parquet` (Hugging Face datasets): crops go into shards instead of folders."""
    shard_size: int = 1000
    """Samples per shard."""
    shard: str = ""
    """The part of the source that this run does, `i/n` or `auto`; empty is all of it. See `ferbench.sharding`."""

    def __post_init__(self) -> None:
        if self.pack not in PACKS:
            raise UsageError(f"unknown pack {self.pack!r}; known: {', '.join(PACKS)}")
        if self.shard_size < 1:
            raise UsageError(f"shard-size must be at least 1, got {self.shard_size}")
        check_engine(self.engine, self.address, self.task_deadline)
        for name in ("workers", "max_failures"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name.replace('_', '-')} cannot be negative, got {getattr(self, name)}")
        if self.batch_size < 1:
            raise UsageError(f"batch-size must be at least 1, got {self.batch_size}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be at least 1, got {self.limit}")
        if self.deadline <= 0:
            raise UsageError(f"deadline must be positive, got {self.deadline}")
        if self.share and self.overwrite:
            raise UsageError(
                "--overwrite would remove what the other shards write; choose another output folder, or align without "
                "--shard"
            )

    @property
    def share(self) -> Share | None:
        """`shard`, understood."""
        return share_of(self.shard)
