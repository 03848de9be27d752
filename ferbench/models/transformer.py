"""The pre-norm transformer that the spatial and the temporal half of ST-Former are made of.

Zengqun Zhao, Qingshan Liu, "Former-DFER: Dynamic Facial Expression Recognition Transformer", ACM Multimedia 2021; constants
as in zengqunzhao/Former-DFER models/S_Former.py and T_Former.py: tanh-GELU, no bias in the queries, keys and values.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Layer norm, then multi-head attention of the tokens among themselves: (N, tokens, dim) to the same."""

    def __init__(self, dim: int, *, heads: int, head_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(tokens)).chunk(3, dim=2)
        mixed = F.scaled_dot_product_attention(self.by_head(query), self.by_head(key), self.by_head(value))
        result: Tensor = self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return result

    def by_head(self, tokens: Tensor) -> Tensor:
        """(N, tokens, heads * head_dim) to (N, heads, tokens, head_dim)."""
        return tokens.reshape(tokens.shape[0], tokens.shape[1], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Layer norm, then two linear layers with tanh-GELU between them: (N, tokens, dim) to the same."""

    def __init__(self, dim: int, *, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.rise = nn.Linear(dim, hidden)
        self.fall = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(F.gelu(self.rise(self.norm(tokens)), approximate="tanh"))
        result: Tensor = self.dropout(self.fall(hidden))
        return result


class Block(nn.Module):
    """Attention and a feed-forward part, each added to what it was given."""

    def __init__(self, dim: int, *, heads: int, head_dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads=heads, head_dim=head_dim, dropout=dropout)
        self.mlp = FeedForward(dim, hidden=hidden, dropout=dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(tokens)
        result: Tensor = tokens + self.mlp(tokens)
        return result


class Transformer(nn.Sequential):
    """`depth` blocks over float32 (N, tokens, dim); no norm after the last."""

    def __init__(
        self, dim: int, *, depth: int, heads: int, head_dim: int, hidden: int, dropout: float = 0.0
    ) -> None:  # fmt: skip
        super().__init__(
            *[Block(dim, heads=heads, head_dim=head_dim, hidden=hidden, dropout=dropout) for _ in range(depth)]
        )


ORIGINAL_NAMES = (
    (r"\.layers\.(\d+)\.0\.fn\.norm\.", r".\1.attention.norm."),
    (r"\.layers\.(\d+)\.0\.fn\.fn\.to_qkv\.", r".\1.attention.qkv."),
    (r"\.layers\.(\d+)\.0\.fn\.fn\.to_out\.0\.", r".\1.attention.out."),
    (r"\.layers\.(\d+)\.1\.fn\.norm\.", r".\1.mlp.norm."),
    (r"\.layers\.(\d+)\.1\.fn\.fn\.net\.0\.", r".\1.mlp.rise."),
    (r"\.layers\.(\d+)\.1\.fn\.fn\.net\.3\.", r".\1.mlp.fall."),
)
"""(pattern, ours) of the names inside a transformer, as Former-DFER and MS have them."""
