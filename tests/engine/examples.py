"""Numbers that are known to be hard in some way, and hypothesis strategies for such numbers."""

import json
import math
from pathlib import Path
from typing import Any

import gmpy2
from hypothesis import strategies as st

WORKLOAD: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "workload.json").read_text()
)


def next_prime(n: int) -> int:
    """Return the smallest prime above n."""
    return int(gmpy2.next_prime(n))


P20 = 31415926535897932429
P25 = 2718281828459045235360353
P40 = next_prime(10**39 + 4142135623)

CARMICHAEL = [561, 1105, 1729, 41041, 825265, 321197185, 9746347772161, 7**3 * 13 * 19]
STRONG_PSEUDOPRIMES = [
    2047,  # to base 2
    3215031751,  # to bases 2, 3, 5 and 7
    3825123056546413051,  # to the first nine primes
    318665857834031151167461,  # to the first twelve
    3317044064679887385961981,  # to the first thirteen
    # Arnault's (1995): to every prime base below 200
    803837457453639491257079614341942108138837688287558145837488917522297427376533365218650233616396004545791504202360320876656996676098728404396540823292873879185086916685732826776177102938969773947016708230428687109997439976544144845341155872450633409279022275296229414984230688168540432645753401832978611129896064484521619165287259753490118001,
]
FLINT_ONCE_HUNG_ON = 500000000000000000000000000000000000000000017711


def primes(*, bits: int) -> st.SearchStrategy[int]:
    """Return a strategy for primes of at most about `bits` bits."""
    return st.integers(1, (1 << bits) - 1).map(next_prime)


NUMBERS = (
    st.integers(2, 10**9)
    | st.integers(2, 10**30)
    | st.lists(primes(bits=40), min_size=1, max_size=6).map(math.prod)
    | st.builds(pow, st.integers(2, 10**6), st.integers(1, 12))
    | st.builds(lambda b, k, s: b**k + s, st.integers(2, 40), st.integers(2, 40), st.just(1))
    | st.builds(lambda b, k, s: b**k + s, st.integers(3, 40), st.integers(2, 40), st.just(-1))
)
"""Numbers of every kind that a survey meets, most of which it factors completely."""
