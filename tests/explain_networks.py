"""Small networks whose explanation is known by construction."""

import torch
from torch import nn


class Quadrant(nn.Module):
    """(N, 1, 16, 16) to 2 logits: class 0 is the mean of the top left quadrant's features, class 1 of the other three."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.place = nn.Identity()
        torch.manual_seed(0)
        nn.init.uniform_(self.conv.weight, 0.1, 1.0)
        nn.init.zeros_(self.conv.bias)

    def forward(self, images):
        maps = self.act(self.conv(images))
        total = maps.mean(dim=(1, 2, 3))
        corner = maps[:, :, :8, :8].mean(dim=1).sum(dim=(1, 2)) / 256
        return torch.stack([corner, total - corner], dim=1)


class Masked(nn.Module):
    """(N, 1, 16, 16) to 2 logits. Channel 0 of the last layer is the top left quadrant, channel 1 the bottom right one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.windows = Windows()
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.conv.bias.zero_()
            self.head.weight.copy_(torch.eye(2))
            self.head.bias.zero_()

    def forward(self, images):
        return self.head(self.windows(self.conv(images)).mean(dim=(2, 3)))


class Windows(nn.Module):
    def __init__(self):
        super().__init__()
        windows = torch.zeros(1, 2, 16, 16)
        windows[:, 0, :8, :8] = 1
        windows[:, 1, 8:, 8:] = 1
        self.register_buffer("windows", windows)

    def forward(self, maps):
        return maps * self.windows


class SmallCnn(nn.Module):
    """Two convolutions, pooling, a linear head; weights by a seed. (N, C, H, W) to (N, classes)."""

    def __init__(self, channels=3, classes=5, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv1 = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, classes)

    def features(self, images):
        return self.pool(self.relu(self.conv2(self.relu(self.conv1(images))))).flatten(1)

    def forward(self, images):
        return self.fc(self.drop(self.features(images)))


class FoldedFrames(nn.Module):
    """(N, T, C, H, W): frames folded into the batch of a 2D network; the logits are those of frame `k` alone."""

    def __init__(self, k, channels=3, classes=5, loop=False):
        super().__init__()
        self.k, self.loop = k, loop
        self.backbone = SmallCnn(channels, classes, seed=4)

    def forward(self, clips):
        n, t = clips.shape[:2]
        if self.loop:
            logits = torch.stack([self.backbone(clips[:, index]) for index in range(t)], dim=1)
        else:
            logits = self.backbone(clips.flatten(0, 1)).reshape(n, t, -1)
        return logits[:, self.k]


class Video3d(nn.Module):
    """(N, C, T, H, W): 3D convolutions with a temporal stride of 2; class 0 reads the last third of the map alone."""

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv3d(channels, 4, (1, 3, 3), stride=(2, 2, 2), padding=(0, 1, 1))
        self.last = nn.Conv3d(4, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, clips):
        maps = torch.relu(self.last(torch.relu(self.stem(clips))))
        frames = maps.shape[2]
        seen = maps[:, :, 2 * frames // 3 :]
        return self.head(seen.mean(dim=(2, 3, 4)))


class Block(nn.Module):
    """A pre-norm transformer block written out, so that every step is a layer."""

    def __init__(self, width):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Linear(width, width)

    def forward(self, tokens):
        q, k, v = self.qkv(self.norm1(tokens)).chunk(3, dim=-1)
        tokens = tokens + self.proj(torch.softmax(q @ k.transpose(1, 2) / 4, dim=-1) @ v)
        return tokens + self.mlp(self.norm2(tokens))


class TinyViT(nn.Module):
    """(N, C, H, W) by patches of 4, with a class token that alone goes to the head (or the mean of the patches)."""

    def __init__(self, size=16, channels=3, classes=4, pool="token", width=12):
        super().__init__()
        torch.manual_seed(2)
        self.pool = pool
        self.patch = nn.Conv2d(channels, width, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(tokens))
        return self.head(tokens[:, 0] if self.pool == "token" else tokens[:, 1:].mean(dim=1))


class TubeletViT(nn.Module):
    """(N, C, T, H, W) by tubelets of 2x4x4, no class token, as VideoMAE has it; `batch_first=False` puts L before N."""

    def __init__(self, channels=3, classes=4, width=12, batch_first=True):
        super().__init__()
        torch.manual_seed(3)
        self.batch_first = batch_first
        self.patch = nn.Conv3d(channels, width, (2, 4, 4), stride=(2, 4, 4))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, clips):
        tokens = self.patch(clips).flatten(2).transpose(1, 2)
        if not self.batch_first:
            return self.head(self.norm(tokens.transpose(0, 1)).mean(dim=0))
        return self.head(self.norm(tokens).mean(dim=1))
