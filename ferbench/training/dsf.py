"""The deep smooth feature (DSF) loss of MFER: a reconstruction, as its code was never released.

What is known of it:

- the abstract: it is "to balance the probability difference of encoded intra-class features and promote intra-class
  features towards corresponding centers";
- Fig. 1 of the repository XuJ1E/MFER: arrows from the samples of a class to its centre, and arrows that push two classes
  apart from the border between them;
- train.py: it sees the 1024 normalised features, has trained parameters (`feat_dim=1024, num_class=7`), and its weight is
  0.001. smooth_feature.py, which was to hold it, holds label smoothing;
- it is compared with the large-margin Gaussian mixture loss (Wan et al., CVPR 2018, arXiv 1803.02988).

What is made of that: Wan's loss with unit variances, without the margin, and with smoothed targets. With d_k half the
squared distance of the features to the centre of class k, and y the class:

    probabilities   p = softmax(-d)                      how Gaussians around the centres explain the features
    smooth          cross-entropy of p, smoothed target  parts the classes; smoothing keeps p from running to 0 and 1
    pull            d_y                                  to the centre
    DSF             smooth + pull
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def deep_smooth_feature(distances: Tensor, targets: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Mean over samples. `distances` (N, K): half the squared distance to each class's centre; `targets` (N, K): shares
    of the classes, one-hot or mixed.
    """
    smooth = F.cross_entropy(-distances, targets, label_smoothing=smoothing)
    return smooth + (targets * distances).sum(dim=1).mean()
