"""The published protocols: folds rebuilt by the rule that made them, or read where they are distributed.

A card names its protocols; each has a `rule` of this table and the rule's arguments. A new rule is a function and a row.
"""

from ferbench.protocols.apply import ProtocolResult, apply_protocol, protocol_names
from ferbench.protocols.rules import RULES

__all__ = ["RULES", "ProtocolResult", "apply_protocol", "protocol_names"]
