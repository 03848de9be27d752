"""`align`: a source's samples to aligned faces, a manifest with a row for each, and a picture of them.

options   what is asked for: the pixels (AlignOptions), and how it runs (RunOptions)
plan      what is to be done, given what the output folder holds
sample    one sample through reading, detection, alignment and writing; the engine's job
outcome   what became of one sample
persons   every person of a clip as a sample of its own
paths     where its crops go
journal   the outcomes of a job that is not finished
store     the output folder: whose it is, its tables, its lock
sharded   several runs in one folder, and their merge
result    what a run did
job       the whole
"""

from ferbench.jobs.align.job import align
from ferbench.jobs.align.options import AlignOptions, RunOptions
from ferbench.jobs.align.paths import CONTACT_SHEET, FACES, MANIFEST
from ferbench.jobs.align.plan import AlignPlan, plan_align
from ferbench.jobs.align.result import AlignResult, check_failures
from ferbench.jobs.align.sharded import merge_align

__all__ = [
    "CONTACT_SHEET",
    "FACES",
    "MANIFEST",
    "AlignOptions",
    "AlignPlan",
    "AlignResult",
    "RunOptions",
    "align",
    "check_failures",
    "merge_align",
    "plan_align",
]
