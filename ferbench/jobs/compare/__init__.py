"""`compare`: many runs by many datasets to one table, with published references, caveats and paired tests."""

from ferbench.jobs.compare.job import FORMATS, compare, write_comparison
from ferbench.jobs.compare.options import CompareOptions

__all__ = ["FORMATS", "CompareOptions", "compare", "write_comparison"]
