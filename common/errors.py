"""The errors of Factorline that cross a room's wall.

    FactorlineError
    ├── Malformed               bytes that are not the value they should be
    │   └── UnknownVersion      ... because their layout is of another major version
    ├── Unavailable             something that we depend on does not answer
    │   ├── StoreUnavailable
    │   └── BrokerUnavailable
    ├── UnknownTask             no such task, or somebody else's (told apart to nobody)
    ├── UnknownKey              no such API key
    ├── KeyReused               an Idempotency-Key came back with another request
    └── SettingError            a setting that cannot be obeyed

The docstring of a class is its message; what it names in braces are the keywords it takes.
(The errors of number parsing live with the parser, in `common.numbers`.)
"""


class FactorlineError(Exception):
    """Something went wrong."""

    def __init__(self, **details: object) -> None:
        self.details = details
        super().__init__((type(self).__doc__ or "").split("\n", 1)[0].format(**details))


class Malformed(FactorlineError, ValueError):
    """This is not a readable {what}: {why}."""


class UnknownVersion(Malformed):
    """This {what} has layout version {got}, and only {known} is understood here: upgrade first."""


class Unavailable(FactorlineError):
    """{what} does not answer: {why}. Try again shortly."""

    what = "a service"

    def __init__(self, why: object) -> None:
        super().__init__(what=self.what, why=why)


class StoreUnavailable(Unavailable):
    """{what} does not answer: {why}. Try again shortly."""

    what = "the store"


class BrokerUnavailable(Unavailable):
    """{what} does not answer: {why}. Try again shortly."""

    what = "the broker"


class UnknownTask(FactorlineError, LookupError):
    """There is no task {task_id}."""


class UnknownKey(FactorlineError, LookupError):
    """There is no API key {key_id}: `factorline keys list` shows those there are."""


class KeyReused(FactorlineError):
    """The Idempotency-Key was used before for another request: use a new key for a new request."""


class SettingError(FactorlineError, ValueError):
    """{name} cannot be {value!r}: {why}."""
