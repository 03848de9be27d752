"""ABAW2021's ensemble as one network: the CNN of the middle frame, and the GRU and the transformer of the window around it.

Shuyi Mao, Xinqi Fan, Xiaojiang Peng, "Spatial and Temporal Networks for Facial Expression Recognition in the Wild Videos",
2021, arXiv 2107.05160, pipeline figure. The repository https://github.com/xinqi-fan/ABAW2021 holds no code of the fusion.

The same numbers come from three checkpoints without this network:

    ferbench evaluate MANIFEST --model CNN --model CNN-RNN --model CNN-TRANSFORMER --weights 1,1,1

This one is for a single file: one that is exported, or that somebody else is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ferbench.errors import ModelError, UsageError
from ferbench.models import abaw_cnn, abaw_cnn_rnn, abaw_cnn_transformer
from ferbench.models.checkpoints import read_weights
from ferbench.models.files import check_file
from ferbench.models.keys import Convert, Loading, load_into
from ferbench.models.own_checkpoint import read_about
from ferbench.models.vggface2_resnet import BLOCKS

INPUT_SPEC = abaw_cnn_rnn.INPUT_SPEC

CARD: dict[str, str] = {
    **abaw_cnn.CARD,
    "title": "ABAW2021 ensemble: CNN, CNN-RNN and CNN-Transformer",
    "parameters": "90532565",
    "published result": "Aff-Wild2 validation: macro F1 41.33, accuracy 62.16, ABAW 2021 score 48.21",
    "reconstruction": (
        "the fusion: the figure of the pipeline shows what is fused, and neither paper nor repository says how. Here it is "
        "the weighted mean of logits or of probabilities, by default the plain mean of logits"
    ),
    "pretraining": "three trained networks: options cnn, rnn and transformer; nothing is downloaded",
    "quirk": abaw_cnn_transformer.CARD["quirk"],
}

OPTIONS: dict[str, str] = {
    "weights": "of CNN, CNN-RNN and CNN-Transformer in the mean; only their ratios matter (1,1,1)",
    "average": "logits, or softmax: the logarithm of the mean of the probabilities (logits)",
    "cnn": "file with the weights of a trained abaw-cnn (none)",
    "rnn": "file with the weights of a trained abaw-cnn-rnn (none)",
    "transformer": "file with the weights of a trained abaw-cnn-transformer (none)",
    "clip_len": "frames of a window, of which the middle one is judged (9)",
    "size": "side of the frames in pixels (224)",
    "width": "channels of the first convolution; all others of the ResNets follow (64)",
    "blocks": "bottlenecks of the four stages (3,4,6,3)",
    "dim": "numbers per frame in GRU and transformer, a multiple of 12 (768)",
    "dropout": "share of activations dropped in the transformer while training (0.5)",
    "quirk": "of the transformer: none, or published (none)",
}

BEGINS_WITH = ("cnn", "rnn", "transformer")

_AVERAGES = ("logits", "softmax")
_MEMBERS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Fusion:
    """How three rows of logits become one."""

    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    average: str = "logits"
    classes: tuple[str, ...] = ()
    """The outputs in order, where the members' checkpoints say it."""

    def __post_init__(self) -> None:
        if self.average not in _AVERAGES:
            raise UsageError(f"abaw-ensemble: average {self.average!r} is not one of {', '.join(_AVERAGES)}")
        if len(self.weights) != _MEMBERS or min(self.weights) < 0 or sum(self.weights) == 0:
            raise UsageError(
                "abaw-ensemble: weights are three numbers of 0 or more, not all 0, for CNN, CNN-RNN and CNN-Transformer; "
                f"got {self.weights}"
            )

    @property
    def shares(self) -> list[float]:
        """The weights, brought to a sum of 1."""
        return [weight / sum(self.weights) for weight in self.weights]


class AbawEnsemble(nn.Module):
    """float32 (N, clip_len, 3, size, size), normalised as `INPUT_SPEC` says, to (N, num_classes) logits.

    They are those of the middle frame.
    """

    def __init__(
        self,
        fusion: Fusion,
        cnn: abaw_cnn.AbawCnn,
        rnn: abaw_cnn_rnn.AbawCnnRnn,
        transformer: abaw_cnn_transformer.AbawCnnTransformer,
    ) -> None:
        super().__init__()
        self.input_spec = dataclasses.replace(rnn.input_spec, classes=fusion.classes)
        self.middle = rnn.middle
        self.averages_probabilities = fusion.average == "softmax"
        self.cnn, self.rnn, self.transformer = cnn, rnn, transformer
        self.shares: Tensor
        self.register_buffer("shares", torch.tensor(fusion.shares).reshape(_MEMBERS, 1, 1), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        logits = torch.stack((self.cnn(clips[:, self.middle]), self.rnn(clips), self.transformer(clips)))
        if self.averages_probabilities:
            return torch.logsumexp(torch.log_softmax(logits, dim=2) + torch.log(self.shares), dim=0)
        return (logits * self.shares).sum(dim=0)


def build(
    num_classes: int = 7, *, weights: tuple[float, ...] = (1.0, 1.0, 1.0), average: str = "logits", cnn: str = "",
    rnn: str = "", transformer: str = "", clip_len: int = 9, size: int = 224, width: int = 64,
    blocks: tuple[int, ...] = BLOCKS, dim: int = 768, dropout: float = 0.5, quirk: str = "none",
) -> AbawEnsemble:  # fmt: skip
    """A network with random weights from torch's global generator, or with those of the files that are named.

    Where these are ferbench's checkpoints they say the classes, however many; ModelError when they know different ones.
    """
    fusion = Fusion(tuple(weights), average, _classes_of([path for path in (cnn, rnn, transformer) if path]))
    num_classes = len(fusion.classes) or num_classes
    network = AbawEnsemble(
        fusion,
        abaw_cnn.build(num_classes, size=size, width=width, blocks=blocks),
        abaw_cnn_rnn.build(num_classes, clip_len=clip_len, size=size, width=width, blocks=blocks, dim=dim),
        abaw_cnn_transformer.build(
            num_classes, clip_len=clip_len, size=size, width=width, blocks=blocks, dim=dim, dropout=dropout,
            frames="middle", quirk=quirk,
        ),
    )  # fmt: skip
    for path, member, convert in (
        (cnn, network.cnn, abaw_cnn.convert_state_dict),
        (rnn, network.rnn, abaw_cnn_rnn.convert_state_dict),
        (transformer, network.transformer, abaw_cnn_transformer.convert_state_dict),
    ):
        if path:
            _fill(member, path, convert)
    return network


def _classes_of(paths: Sequence[str]) -> tuple[str, ...]:
    known: dict[str, tuple[str, ...]] = {}
    for path in paths:
        check_file(Path(path))
        about = read_about(Path(path)) if path.endswith(".safetensors") else None
        if about:
            known[path] = about.labels
    if len(set(known.values())) > 1:
        told = "; ".join(f"{path}: {', '.join(labels)}" for path, labels in known.items())
        raise ModelError(
            f"abaw-ensemble: the checkpoints know different classes, or an order of their own ({told}); train them on one "
            "manifest, or let ferbench evaluate join them: --model once per checkpoint"
        )
    return next(iter(known.values()), ())


def _fill(member: nn.Module, path: str, convert: Convert) -> None:
    weights = read_weights(Path(path))
    load_into(member, weights.state, Loading(path, wrapper=weights.wrapper, convert=convert))
