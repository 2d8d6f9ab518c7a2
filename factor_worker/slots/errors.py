"""Why a slot returns no result, and the one tree that these errors form.

    FactorlineError
    └── SlotError
        ├── UnitFailed      the unit gave no result, and one of its faults is spent
        ├── UnitStopped     the unit was stopped on purpose, and nobody is to blame
        ├── SlotBroken      this machine starts no child process: not the fault of any unit
        ├── ChildDied       a child process ended without an answer
        └── AnswerRefused   a child process answered something that is not believed, and was killed

A slot turns the last two into one of the others. What the engine raises in a child process reaches the worker
as a `UnitFailed`.
"""

from typing import Self

from common.domain import Failure, Fault
from common.errors import FactorlineError


class SlotError(FactorlineError):
    """Base of every error that a slot raises."""

    cpu_seconds: float = 0.0
    """What the call had cost by then, as far as it is known: its unit's owners pay for it too."""


class UnitFailed(SlotError):
    """A unit gave no result; ``failure`` says why, in the words that are kept with the unit."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.fault}: {failure.detail}")

    @classmethod
    def timed_out(cls, *, seconds: float) -> Self:
        """Return the error of a unit that ran past its wall-clock limit."""
        return cls(Failure(Fault.TIMEOUT, f"no result after {seconds:.0f} s"))

    @classmethod
    def out_of_memory(cls, *, limit_bytes: int) -> Self:
        """Return the error of a unit whose child process outgrew its memory limit."""
        return cls(Failure(Fault.MEMORY, f"more than {limit_bytes >> 20} MiB"))

    @classmethod
    def crashed(cls, *, cause: str) -> Self:
        """Return the error of a unit whose child process died of a signal or with a status."""
        return cls(Failure(Fault.CRASH, f"the child process died: {cause}"))

    @classmethod
    def refused(cls, *, why: str) -> Self:
        """Return the error of a unit whose child process did not give an answer that can be true."""
        return cls(Failure(Fault.WRONG, f"the child process gave no valid answer: {why}"))


class UnitStopped(SlotError):
    """A unit was stopped because its outcome is no longer wanted here."""

    def __init__(self) -> None:
        super().__init__("The unit was stopped.")


class SlotBroken(SlotError):
    """No child process can be started: the fault of this machine or installation, not of a unit."""

    def __init__(self, *, cause: Exception) -> None:
        why = cause if isinstance(cause, OSError) else "each one died before it was ready"
        super().__init__(
            f"No child process can be started ({why}). "
            "Check the limits on processes and memory, and the installation."
        )


class ChildDied(SlotError):
    """A child process ended without an answer."""

    def __init__(self) -> None:
        super().__init__("The child process ended without an answer.")


class AnswerRefused(SlotError):
    """A child process answered something that is not believed, and was killed."""

    def __init__(self, *, why: str) -> None:
        self.why = why
        super().__init__(f"The child process gave no valid answer ({why}), and was killed.")
