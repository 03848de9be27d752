"""The image pyramid: at which scales P-Net looks, and how large the image is there. Plain numbers."""

from __future__ import annotations

WINDOW = 12
"""Side of what one P-Net output cell sees, in pixels of the scaled image."""


def pyramid_scales(height: int, width: int, *, min_face_px: int, factor: float) -> list[float]:
    """Scales, largest first, as facenet-pytorch's `detect_face` takes them.

    At the first a face of `min_face_px` is as large as the window; each next is `factor` times the one before; at the last
    the shorter side still holds a window. Empty when the frame's shorter side is below `min_face_px`: nothing to find.

    480 x 640, min_face_px 20, factor 0.709: 0.6, 0.4254, ... 0.0272 (ten scales).
    """
    scale = WINDOW / min_face_px
    shorter = min(height, width) * scale
    scales = []
    while shorter >= WINDOW:
        scales.append(scale)
        scale *= factor
        shorter *= factor
    return scales


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """(height, width) of the scaled image; the +1 comes before the truncation, as in facenet-pytorch."""
    return int(height * scale + 1), int(width * scale + 1)
