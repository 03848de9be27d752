"""Message passing between two nodes of a conditional random field, as layers: mean-field inference unrolled.

The two nodes are two descriptions of the same clip, (N, tokens, dim) each. One iteration sends each node a message from the
other, a linear map of its state through ReLU, and adds it to the node's unary term:

    state = ReLU(unary + ReLU(W other))

With one iteration that is 025HanZheng520/MS models/crf.py, whatever the form. With more, the forms differ in what the unary
term is, and in when a message is sent; MS gives no result for more than one iteration.

    running      unary is the node's own last state; both messages are sent at once (MS, with its `iters` raised)
    fixed        unary stays the feature that came in, as in mean-field inference (Zheng et al. 2015, CRF as RNN)
    sequential   as fixed, and the second node is sent the first's new state
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.errors import UsageError

FORMS = ("running", "fixed", "sequential")


class MessagePassing(nn.Module):
    """Two float32 (N, tokens, dim) in, the mean of the two states after the last iteration out."""

    def __init__(self, dim: int, *, iterations: int = 1, form: str = "running") -> None:
        super().__init__()
        if iterations < 1:
            raise UsageError(f"iterations of the message passing must be at least 1, got {iterations}")
        if form not in FORMS:
            raise UsageError(f"mean_field {form!r} is not one of {', '.join(FORMS)}")
        self.iterations = iterations
        self.form = form
        self.to_first = nn.Linear(dim, dim)
        self.to_second = nn.Linear(dim, dim)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        unary_first, unary_second = first, second
        for _ in range(self.iterations):
            if self.form == "running":
                unary_first, unary_second = first, second
            new = F.relu(unary_first + F.relu(self.to_first(second)))
            sent = new if self.form == "sequential" else first
            second = F.relu(unary_second + F.relu(self.to_second(sent)))
            first = new
        return (first + second) / 2
