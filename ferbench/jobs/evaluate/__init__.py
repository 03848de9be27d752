"""`evaluate`: models over the test parts of a manifest; predictions, and everything `score` makes of them.

options      what is asked for
select       which samples, each with the fold it is tested in
runs         which model scores which of them: one, one per fold, several that are averaged
tasks        what a model is run on: a sample, or a window of the frames of a video
views        several clips, crops and mirror images of it
blocks       tasks that go through the model together, read ahead
running      one block through one model: the only place a model is run for scores
sharded      one part of n: which samples, and where it writes
journal      the blocks that are done, for a run that is stopped
classes      a model's classes matched to the dataset's by name
ensemble     members and folds put together
probe        a few clips for the audits
attributes   what the manifest knows of each sample
provenance   where the numbers come from
predict      the logits of every sample, from all of these
job          the whole, and whether it was done before
"""

from ferbench.jobs.evaluate.job import EvaluateResult, check_failures, evaluate
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.select import Selected, select_samples
from ferbench.jobs.evaluate.sharded import PREDICTIONS
from ferbench.jobs.evaluate.views import ViewOptions

__all__ = [
    "PREDICTIONS",
    "EvaluateOptions",
    "EvaluateResult",
    "Selected",
    "ViewOptions",
    "check_failures",
    "evaluate",
    "select_samples",
]
