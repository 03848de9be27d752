"""Class activation maps: which places of the picture a class is read from.

The formulas are those of the library grad-cam (Jacob Gildenblat and contributors, github.com/jacobgil/pytorch-grad-cam,
MIT). It is handed the activations and gradients of a layer, as ferbench reads them, because it would scale every frame of
a clip by itself: a frame that the model does not look at would then look as important as the one it does.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ferbench.errors import MissingExtraError, ModelError, UsageError
from ferbench.explaining.layers import MapLayer, calls_of, geometry_of, placed, score_of, watch
from ferbench.explaining.maps import as_maps

if TYPE_CHECKING:
    from ferbench.inputspec import InputSpec

INSTALL = (
    "class activation maps need the library grad-cam: pip install 'ferbench[explain]', or leave them out with --only "
    "features,mistakes"
)


@dataclass(frozen=True, slots=True)
class Method:
    """One row of `METHODS`."""

    title: str
    class_name: str
    """In the package pytorch_grad_cam."""
    definition: str
    source: str
    needs_gradient: bool = True
    has_sign: bool = True
    """False where the formula leaves the sign open (a singular vector): the side with the larger peak is taken, as in
    Chung and Ying, "Seg-Eigen-CAM", Applied Sciences 15 (13), 2025, equation 13."""


METHODS: dict[str, Method] = {
    "gradcam": Method(
        "Grad-CAM", "GradCAM", "channels weighted by their mean gradient over the map",
        "Selvaraju et al., ICCV 2017, arXiv 1610.02391",
    ),
    "gradcam++": Method(
        "Grad-CAM++", "GradCAMPlusPlus", "channels weighted by their positive gradients, each place by its share",
        "Chattopadhyay et al., WACV 2018, arXiv 1710.11063",
    ),
    "hirescam": Method(
        "HiResCAM", "HiResCAM", "gradient times activation, place by place: only what the class was really read from",
        "Draelos and Carin, 2020, arXiv 2011.08891",
    ),
    "xgradcam": Method(
        "XGrad-CAM", "XGradCAM", "channels weighted by their gradients, each place by its share of the activation",
        "Fu et al., BMVC 2020, arXiv 2008.02312",
    ),
    "layercam": Method(
        "LayerCAM", "LayerCAM", "positive gradient times activation, place by place",
        "Jiang et al., IEEE TIP 30, 2021",
    ),
    "eigencam": Method(
        "Eigen-CAM", "EigenCAM", "first principal component of the activations; looks at no class",
        "Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299", needs_gradient=False, has_sign=False,
    ),
}  # fmt: skip
"""Name -> formula. A new one is one row."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassMap:
    """Where in a sample a class is seen."""

    values: NDArray[np.float32]
    """(T, H, W) in 0..1, as large as the model's input; 1 is the clip's strongest place, all 0 where nothing speaks for the
    class at that layer."""
    peak: float
    """What 1 stands for, in the unit of the formula: a map is not comparable with another one by its colours."""
    logits: NDArray[np.float32]
    """(K,) of the sample, the mean over images or frames."""
    label: int
    """The output that was explained."""

    @property
    def frame_energy(self) -> NDArray[np.float64]:
        """(T,) share of the map in each frame, adding up to 1; zeros for an empty map."""
        sums = self.values.sum(axis=(1, 2), dtype=np.float64)
        return np.asarray(sums / max(float(sums.sum()), np.finfo(np.float64).tiny))


def method_of(name: str) -> Method:
    """A row of `METHODS`; UsageError lists them."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def assert_installed() -> None:
    """MissingExtraError with the line that installs the library, when it is not there."""
    try:
        importlib.import_module("pytorch_grad_cam")
    except ImportError as error:
        raise MissingExtraError(INSTALL) from error


def class_map(
    network: nn.Module, clip: Tensor, spec: InputSpec, *, layer: MapLayer, method: str = "gradcam", label: int | None = None
) -> ClassMap:  # fmt: skip
    """The map of one sample, (T, C, H, W) float32 as the model takes it. `label` is an output; None is the predicted one.

    Raises ModelError when the network fails, or no gradient flows back to the layer.
    """
    formula = method_of(method)
    watched = watch(network, placed(clip, network, spec), (layer.name,))
    geometry = geometry_of(clip, spec)
    logits = watched.logits.detach().float().reshape(-1, watched.logits.shape[-1]).mean(0).cpu().numpy()
    label = int(logits.argmax()) if label is None else label
    if not 0 <= label < len(logits):
        raise ModelError(f"the model has {len(logits)} outputs, no output {label}")
    outputs = [call.output for call in calls_of(watched.calls, layer.name, geometry)]
    activations = torch.cat([as_maps(output.detach(), layer.reading) for output in outputs])
    gradients = torch.zeros_like(activations)
    if formula.needs_gradient:
        gradients = torch.cat(
            [as_maps(gradient, layer.reading) for gradient in _gradients(watched.logits, label, outputs, layer)]
        )
    raw = _formula(formula, network, activations, gradients)
    return _scaled(raw, clip, logits, label)


def _gradients(logits: Tensor, label: int, outputs: list[Tensor], layer: MapLayer) -> list[Tensor]:
    if not logits.requires_grad or not all(output.requires_grad for output in outputs):
        raise ModelError(f"no gradient flows back to layer {layer.name!r}: use --method eigencam, or another --layer")
    found = torch.autograd.grad(score_of(logits, label), outputs, allow_unused=True)
    return [
        torch.zeros_like(output) if gradient is None else gradient
        for gradient, output in zip(found, outputs, strict=True)
    ]


def _formula(formula: Method, network: nn.Module, activations: Tensor, gradients: Tensor) -> NDArray[np.float32]:
    """(B, h, w) or (B, t, h, w), not yet cut at 0."""
    assert_installed()
    library: Any = importlib.import_module("pytorch_grad_cam")
    # It asks a module for the device of its parameters; ours may have none.
    holder = network if next(network.parameters(), None) is not None else nn.Linear(1, 1)
    cam = getattr(library, formula.class_name)(model=holder, target_layers=[])
    values = cam.get_cam_image(
        None, None, None, activations.float().cpu().numpy(), gradients.float().cpu().numpy(), False
    )
    values = np.asarray(values, np.float32)
    if not formula.has_sign and abs(float(values.min())) > abs(float(values.max())):
        values = -values
    return values


def _scaled(raw: NDArray[np.float32], clip: Tensor, logits: NDArray[np.float32], label: int) -> ClassMap:
    """Only what speaks for the class, as large as the input; one scale for the whole sample."""
    frames, _, height, width = clip.shape
    positive = torch.from_numpy(np.nan_to_num(np.maximum(raw, 0)))
    maps = positive[0] if positive.ndim == 4 else positive  # (t, h, w)
    grown = functional.interpolate(
        maps[None, None], size=(frames, height, width), mode="trilinear", align_corners=False
    )
    values = np.asarray(grown[0, 0].numpy(), np.float32)
    peak = float(values.max())
    return ClassMap(np.asarray(values / max(peak, 1e-30), np.float32), peak, logits, label)
