"""Numbers for the page's tests, by how long they keep a service busy."""

ENDLESS = "283*2347*(10^68+99)*(10^65+49)"
"""Two small factors, then curves on a composite too large for the sieve, for longer than a test lasts."""

SECONDS = "(10^29+319)*(10^30+57)"
"""Two primes of thirty digits: a few seconds of work."""

HUGE = "1" + "0" * 998 + "7"
"""1000 digits, the most that the service accepts."""
