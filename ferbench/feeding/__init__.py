"""Feeding: samples of a manifest as batches for training, at the rate that a model takes them.

    options     how samples become batches, and what a batch is
    order       which sample is where in an epoch: a function of (seed, epoch, sample_id)
    shards      the same, where samples are read shard by shard
    pictures    reading frames
    geometry    augmentations that move pixels
    colour      augmentations that change colours
    autoaugment the policies of AutoAugment for CIFAR-10
    augment     the table of augmentations
    loader      one task to pixels
    feed        batches, read ahead

Importing this package imports no torch.
"""

from ferbench.feeding.augment import AUGMENTATIONS, check_augmentations
from ferbench.feeding.feed import feed
from ferbench.feeding.options import Batch, FeedOptions
from ferbench.feeding.order import num_batches

__all__ = ["AUGMENTATIONS", "Batch", "FeedOptions", "check_augmentations", "feed", "num_batches"]
