"""How many curves with which B1 find factors of which size, and how long they take."""

from enum import StrEnum
from typing import Final, NamedTuple


class Method(StrEnum):
    """The methods of GMP-ECM."""

    ECM = "ecm"
    """Lenstra's elliptic curve method; every curve is another chance."""
    P_MINUS_1 = "p-1"
    """Pollard's method: finds p if p - 1 is smooth. A second run would find nothing new."""
    P_PLUS_1 = "p+1"
    """Williams's method: finds p if p + 1 is smooth. One starting point in two only repeats P-1."""


class Level(NamedTuple):
    """After `curves` curves with bound B1 = `b1`, a factor of `digits` digits is missed once in e times."""

    digits: int
    b1: int
    curves: int


LEVELS: Final = (
    Level(20, 11_000, 74),
    Level(25, 50_000, 214),
    Level(30, 250_000, 430),
    Level(35, 1_000_000, 904),
    Level(40, 3_000_000, 2_350),
    Level(45, 11_000_000, 4_480),
    Level(50, 43_000_000, 7_553),
)
"""GMP-ECM's README, table 1: for the default stage 2 and Suyama's parametrization (`-param 0`)."""

UNIT_S: Final = 5.0
"""CPU seconds that a unit of curves aims at: long compared with starting a process, short for a user."""
_START_S = 0.006
_RELATIVE_COST = {Method.ECM: 1.0, Method.P_MINUS_1: 1 / 6, Method.P_PLUS_1: 1 / 3.5}


def seconds_per_curve(n_digits: int, b1: int, *, method: Method = Method.ECM) -> float:
    """Return the CPU seconds of one curve, or of one run of another method, to within about a third.

    Fitted to GMP-ECM 7.0.7 (the wheel's) on one EPYC core, for 50 to 1 000 digits and B1 from 11e3.
    """
    microseconds_per_b1 = 0.35 + 0.008 * n_digits + 0.000_043 * n_digits**2
    return _START_S + b1 * microseconds_per_b1 * 1e-6 * _RELATIVE_COST[method]


def curves_per_unit(n_digits: int, b1: int, *, seconds: float = UNIT_S) -> int:
    """Return how many curves fill a unit of about `seconds` of CPU time: at least one."""
    return max(1, round(seconds / seconds_per_curve(n_digits, b1)))
