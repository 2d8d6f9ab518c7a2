"""The state of a watch: which tasks are not done, what is news, what to subscribe to. Pure."""

from collections.abc import Iterable

from factorline.models import Task


class Following:
    """Tasks that are followed until each is done, over any number of connections.

    A state of a task is news if its version is higher than the last one reported. The final state is
    reported once, no matter how often it arrives, or whether by a socket or by polling.
    """

    def __init__(self, task_ids: Iterable[str]) -> None:
        self._versions = dict.fromkeys(task_ids, -1)
        self._subscribed: set[str] = set()
        self._max_subscriptions = 1

    @property
    def waiting(self) -> list[str]:
        """The ids of the tasks that are not done, in the order given."""
        return list(self._versions)

    def connected(self, max_subscriptions: int) -> None:
        """Start on a new socket, which has no subscriptions yet."""
        self._max_subscriptions = max(max_subscriptions, 1)
        self._subscribed.clear()

    def to_subscribe(self) -> list[str]:
        """Return the ids to subscribe to now, as many as the socket allows, and count them as subscribed."""
        free = self._max_subscriptions - len(self._subscribed)
        fresh = [task_id for task_id in self._versions if task_id not in self._subscribed][:free]
        self._subscribed.update(fresh)
        return fresh

    def take(self, task: Task) -> bool:
        """Take a state of a task from any source; return whether it is news."""
        held = self._versions.get(task.task_id)
        if held is None or (task.version <= held and not task.done):
            return False
        if task.done:
            self.drop(task.task_id)
        else:
            self._versions[task.task_id] = task.version
        return True

    def drop(self, task_id: str) -> None:
        """Stop following a task."""
        self._versions.pop(task_id, None)
        self._subscribed.discard(task_id)

    def version(self, task_id: str) -> int:
        """Return the last version reported, or -1."""
        return self._versions.get(task_id, -1)
