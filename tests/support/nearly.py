"""Are two answers the same but for the last digits of sums?"""

import math
from typing import Any


def same(found: Any, wanted: Any, place: str = "") -> None:
    """Equal, and what was added up in another order nearly so."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), place
        for name in wanted:
            same(found[name], wanted[name], f"{place}.{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), place
        for n, (one, other) in enumerate(zip(found, wanted, strict=True)):
            same(one, other, f"{place}[{n}]")
    elif isinstance(wanted, float):
        assert isinstance(found, float), (place, found, wanted)
        assert math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9), (place, found, wanted)
    else:
        assert (found, type(found)) == (wanted, type(wanted)), place
