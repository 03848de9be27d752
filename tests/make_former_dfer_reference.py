"""Make tests/reference/former-dfer.json: what the original Former-DFER answers with drawn weights.

    git clone https://github.com/zengqunzhao/Former-DFER
    pip install einops
    python tests/make_former_dfer_reference.py Former-DFER

The original is used as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from original_networks import Original, write_reference

CASES = [
    {"options": {}, "seed": 1, "shape": [2, 16, 3, 112, 112]},
    {"options": {}, "seed": 2, "shape": [1, 16, 3, 112, 112], "low": -1.0, "high": 2.0},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of zengqunzhao/Former-DFER")
    checkout = parser.parse_args().checkout
    sys.path.insert(0, str(checkout))
    from models.ST_Former import GenerateModel  # type: ignore[import-not-found]

    write_reference(Original("former-dfer", "zengqunzhao/Former-DFER", checkout, GenerateModel()), CASES)


if __name__ == "__main__":
    main()
