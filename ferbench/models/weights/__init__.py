"""Weights that ferbench carries, each beside the licence it is under. Data only; `ferbench.models` loads them."""
