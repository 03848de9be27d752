"""`explain`: class activation maps, features in two dimensions, and the most confident mistakes of a model.

options   what is asked for
choose    which samples, and what they are to the model's classes
study     what is handed from part to part
cams, features, mistakes    the three parts
job       the whole, its page and its record
"""

from ferbench.jobs.explain.job import ExplainResult, check_failures, explain
from ferbench.jobs.explain.options import PARTS, ExplainOptions

__all__ = ["PARTS", "ExplainOptions", "ExplainResult", "check_failures", "explain"]
