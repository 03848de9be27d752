"""`train`: one of the built-in systems, or any network, on a fold of a manifest.

options   what is asked for
data      which samples train, which select, which are held out
job       network, data and loop brought together; the checkpoint that says itself what it is
"""

from ferbench.jobs.train.job import CHECKPOINT, TrainResult, train
from ferbench.jobs.train.options import TrainOptions

__all__ = ["CHECKPOINT", "TrainOptions", "TrainResult", "train"]
