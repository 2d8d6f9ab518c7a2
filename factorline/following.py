"""The state of a watch: what is still awaited, what is news, what to subscribe to. Pure."""

from collections.abc import Iterable

from factorline.models import Task


class Following:
    """Tasks that are followed until each is done, over however many connections.

    A state is news if its version is higher than the last one told; the end of a task is told once,
    whoever brings it and however often.
    """

    def __init__(self, task_ids: Iterable[str]) -> None:
        self._versions = dict.fromkeys(task_ids, -1)
        self._subscribed: set[str] = set()
        self._room = 1

    @property
    def waiting(self) -> list[str]:
        """The tasks that are not done, in the order given."""
        return list(self._versions)

    def connected(self, room: int) -> None:
        """Begin with a new socket, which knows of no subscription."""
        self._room = max(room, 1)
        self._subscribed.clear()

    def to_subscribe(self) -> list[str]:
        """Return the tasks to subscribe to now, as many as there is room for, and count them in."""
        free = self._room - len(self._subscribed)
        fresh = [task_id for task_id in self._versions if task_id not in self._subscribed][:free]
        self._subscribed.update(fresh)
        return fresh

    def take(self, task: Task) -> bool:
        """Take a state from anywhere; return whether it is news to be told."""
        held = self._versions.get(task.task_id)
        if held is None or (task.version <= held and not task.done):
            return False
        if task.done:
            self.drop(task.task_id)
        else:
            self._versions[task.task_id] = task.version
        return True

    def drop(self, task_id: str) -> None:
        """Follow a task no longer."""
        self._versions.pop(task_id, None)
        self._subscribed.discard(task_id)

    def version(self, task_id: str) -> int:
        """Return the version told last, -1 if none was."""
        return self._versions.get(task_id, -1)
