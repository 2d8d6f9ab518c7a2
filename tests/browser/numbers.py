"""Numbers for the page's tests, by how long they keep a service busy."""

ENDLESS = "(10^100-1)/9*2+3^211"
"""Two small factors, then curves on a composite of 95 digits for longer than any test lasts."""

SECONDS = "(10^29+319)*(10^30+57)"
"""Two primes of thirty digits: a few seconds of work."""

HUGE = "1" + "0" * 998 + "7"
"""1000 digits, as many as are taken."""
