"""Dataset cards: what is published about a dataset, as data, and the comparison of a manifest with it."""

from ferbench.cards.card import Card, card_names, card_of, cards_folder, find_card, read_card
from ferbench.cards.counts import PublishedCount, count_part, verify_counts
from ferbench.cards.published import PublishedResult, identity_of

__all__ = [
    "Card",
    "PublishedCount",
    "PublishedResult",
    "card_names",
    "card_of",
    "cards_folder",
    "count_part",
    "find_card",
    "identity_of",
    "read_card",
    "verify_counts",
]
