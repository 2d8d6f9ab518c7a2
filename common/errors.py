"""The errors of Factorline's own code, and the one tree that they form.

    FactorlineError
    ├── Malformed               bytes that are not the value they should be
    │   └── UnknownVersion      ... because their layout is of another major version
    ├── Unavailable             something that we depend on does not answer
    │   ├── StoreUnavailable
    │   └── BrokerUnavailable
    ├── UnknownTask             no such task, or somebody else's: nobody is told which
    ├── UnknownKey              no such API key
    ├── NoStore                 there is no store where the settings say
    ├── KeyReused               an Idempotency-Key came back with a different request
    ├── SettingError            a setting that cannot be obeyed
    └── NumberError             what a client typed is no number (common.numbers)
        ├── NotANumber
        ├── NumberTooLarge
        └── ExpressionError

`str(error)` is a sentence for any person, strangers too: what happened, and what to do where something can
be done.
Each class takes the facts and finds the words itself, so that an error reads the same wherever it is raised.
"""


class FactorlineError(Exception):
    """Base of every error that Factorline's own code raises on purpose."""

    @property
    def for_operators(self) -> str:
        """The sentence for those who run the service; it may name hosts."""
        return str(self)


class Malformed(FactorlineError, ValueError):
    """Bytes cannot be read as the value that they should be."""

    def __init__(self, *, what: str, why: str) -> None:
        super().__init__(f"This is not a readable {what}: {why}.")


class UnknownVersion(Malformed):
    """A value was written in a layout of another major version."""

    def __init__(self, *, what: str, got: object, known: int) -> None:
        FactorlineError.__init__(
            self,
            f"This {what} has layout version {got}, and this program understands only version {known}: "
            "upgrade it first.",
        )


class Unavailable(FactorlineError):
    """Something that we depend on does not answer; the same call may succeed later.

    Its text is for anybody. `why` is for logs and operators alone: it may name hosts.
    """

    what = "A service"

    def __init__(self, why: object) -> None:
        super().__init__(f"{self.what} does not answer. Try again shortly.")
        self.why = str(why) or type(why).__name__

    @property
    def for_operators(self) -> str:
        """The sentence, with the reason in it."""
        return f"{self.what} does not answer: {self.why}. Try again shortly."


class StoreUnavailable(Unavailable):
    """The store does not answer."""

    what = "The store"


class BrokerUnavailable(Unavailable):
    """The broker does not answer."""

    what = "The broker"


class UnknownTask(FactorlineError, LookupError):
    """The owner has no task with this id."""

    def __init__(self, *, task_id: str) -> None:
        super().__init__(f"There is no task {task_id}.")


class UnknownKey(FactorlineError, LookupError):
    """No API key has this id."""

    def __init__(self, *, key_id: str) -> None:
        super().__init__(
            f"There is no API key {key_id}: `factorline keys list` shows the existing keys."
        )


class NoStore(FactorlineError):
    """The settings name a store that does not exist."""

    def __init__(self, *, path: object) -> None:
        super().__init__(
            f"There is no store here: {path} does not exist. Run this in the folder where the service "
            "runs, or set FACTORLINE_DATA or FACTORLINE_MONGODB_URI as for the service."
        )


class KeyReused(FactorlineError):
    """An Idempotency-Key came back with a different request."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used before for a different request: "
            "use a new key for a new request."
        )


class SettingError(FactorlineError, ValueError):
    """A setting has a value that cannot be obeyed."""

    def __init__(self, *, name: str, value: object, why: str) -> None:
        super().__init__(f"{name} cannot be {value!r}: {why}.")
