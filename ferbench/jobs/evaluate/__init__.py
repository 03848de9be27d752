"""`evaluate`: a model over the test parts of a manifest; predictions, and everything `score` makes of them.

options   what is asked for
select    which samples, each with the fold it is tested in
predict   the logits of every sample: the only place a model is run for scores
classes   the model's classes matched to the dataset's by name
job       the whole, and whether it was done before
"""

from ferbench.jobs.evaluate.job import PREDICTIONS, EvaluateResult, check_failures, evaluate
from ferbench.jobs.evaluate.options import EvaluateOptions
from ferbench.jobs.evaluate.select import Selected, select_samples

__all__ = [
    "PREDICTIONS",
    "EvaluateOptions",
    "EvaluateResult",
    "Selected",
    "check_failures",
    "evaluate",
    "select_samples",
]
