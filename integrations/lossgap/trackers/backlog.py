"""The records of a training that aren't safe yet, in order, under their numbers."""

from collections import deque
from dataclasses import dataclass
from itertools import islice

from lossgap.trackers.records import Finish, Record


@dataclass(frozen=True, slots=True)
class Item:
    """A record, and its number from 0."""

    number: int
    record: Record


class Backlog:
    """What was put in, what of it was sent, what is on disk, and what is safe.

    Three marks move forward, each at its own pace; ``n`` of a mark is the number of the first
    record that isn't there yet. A record is *safe* once the tracker has it and can't lose it any
    more, and is forgotten here then. Not for two threads at once: whoever uses it holds a lock.
    """

    def __init__(self) -> None:
        self.n_put = 0
        self.n_sent = 0
        self.n_kept = 0
        self.n_safe = 0
        self._items: deque[Item] = deque()

    def put(self, record: Record) -> int:
        """Take a record, and return its number."""
        number = self.n_put
        self._items.append(Item(number, record))
        self.n_put += 1
        return number

    def next(self) -> Item | None:
        """Return the record to be sent next, if there is one."""
        place = self.n_sent - self.n_safe
        return self._items[place] if place < len(self._items) else None

    def unkept(self) -> list[Item]:
        """Return those that are neither on disk nor safe."""
        return list(islice(self._items, max(self.n_kept - self.n_safe, 0), None))

    def secured(self, number: int) -> bool:
        """Tell whether a record survives the end of the process."""
        return number < max(self.n_kept, self.n_safe)

    def sent(self) -> None:
        """Note that the tracker took the next record."""
        self.n_sent += 1

    def kept(self, n: int) -> None:
        """Note that the records before ``n`` are on disk."""
        self.n_kept = max(self.n_kept, n)

    def lost(self) -> None:
        """Note that what was on disk isn't any more."""
        self.n_kept = 0

    def safe(self, n: int) -> None:
        """Note that the tracker can't lose the records before ``n``, of those that it took."""
        while self.n_safe < min(n, self.n_sent):
            self._items.popleft()
            self.n_safe += 1

    @property
    def all_sent(self) -> bool:
        """Whether the tracker took everything."""
        return self.n_sent == self.n_put

    @property
    def all_safe(self) -> bool:
        """Whether the tracker has everything for good."""
        return self.n_safe == self.n_put

    @property
    def all_secured(self) -> bool:
        """Whether everything survives the end of the process."""
        return max(self.n_kept, self.n_safe) == self.n_put

    def n_measurements(self) -> int:
        """Return how many measurements aren't safe."""
        return sum(not isinstance(item.record, Finish) for item in self._items)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self.n_sent = self.n_kept = self.n_safe = self.n_put
