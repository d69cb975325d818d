"""Which session has which slot of the model."""

from __future__ import annotations


class SlotTable:
    """A free list over slots 0 to n_slots - 1; the most recently freed is reused last."""

    def __init__(self, n_slots: int) -> None:
        """Start with every slot free."""
        self.n_slots = n_slots
        self._free = list(range(n_slots))
        self._taken: set[int] = set()

    @property
    def n_free(self) -> int:
        """Slots that may be acquired."""
        return len(self._free)

    @property
    def n_taken(self) -> int:
        """Slots that were acquired and not released."""
        return len(self._taken)

    def acquire(self) -> int:
        """Take a free slot. Raises AssertionError when there is none: admission comes first."""
        if not self._free:
            raise AssertionError("no free slot: a session was admitted past the model's slots")
        slot = self._free.pop(0)
        self._taken.add(slot)
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back. Raises AssertionError when it is not taken."""
        if slot not in self._taken:
            raise AssertionError(f"slot {slot} released but not taken")
        self._taken.remove(slot)
        self._free.append(slot)
