"""Shares as decimals, and as whole numbers with a unit: 0.7 and 0.3 are 70 and 30 hundredths.

Arithmetic is exact; nothing is rounded.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import gcd
from typing import Final

__all__ = ["MAX_WEIGHT", "from_whole", "to_whole"]

MAX_WEIGHT: Final = 1_000_000
"""Largest weight of a candidate."""


def to_whole(weights: Sequence[Decimal]) -> tuple[list[int], Decimal]:
    """Whole numbers in the same proportion, and the unit that makes them the weights again.

    Whole weights stay as they are (unit 1), decimals become hundredths or as fine a power of ten as they
    need; where that is above MAX_WEIGHT, the smallest whole numbers are taken. ValueError if even those are
    above it.
    """
    exact = [Fraction(weight) for weight in weights]
    places = max(-int(weight.normalize().as_tuple().exponent) for weight in weights)
    unit = Fraction(1) if places <= 0 else Fraction(1, 10 ** max(places, 2))
    whole = [int(weight / unit) for weight in exact]
    if max(whole) > MAX_WEIGHT:
        common = gcd(*whole)
        whole, unit = [weight // common for weight in whole], unit * common
    if max(whole) > MAX_WEIGHT:
        raise ValueError(
            f"these weights need whole numbers up to {max(whole)} to keep their proportion, above "
            f"{MAX_WEIGHT}: "
            "write fewer digits"
        )
    return whole, Decimal(unit.numerator) / Decimal(unit.denominator)


def from_whole(weights: Sequence[int], unit: Decimal) -> list[int | float]:
    """The reverse of :func:`to_whole`: numbers as JSON writes them."""
    return [
        int(weight) if weight == weight.to_integral_value() else float(weight)
        for weight in (count * unit for count in weights)
    ]
