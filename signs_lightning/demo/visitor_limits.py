"""How much one visitor, and all of them, may send and try in some minutes."""

from __future__ import annotations

import time

KEEP_SECONDS = 600  # how long a picture stays on the disk, and a failed login counts
SWEEP_SECONDS = 60  # between deletions of old pictures
MAX_STORED_BYTES = 2**30  # of all pictures on the disk
MAX_VISITOR_BYTES = 2**28  # of those of one address
MAX_FAILED_LOGINS = 10  # of one address
MAX_ALL_FAILED_LOGINS = 100
LOGIN_DELAY = 0.5  # seconds that the answer to a wrong password takes

Refusal = tuple[int, str]  # status and sentence


class VisitorLimits:
    """Count the bytes of pictures and the failed logins of the last minutes, by address."""

    def __init__(self) -> None:
        self.stored: dict[int, dict[str, int]] = {}  # minute → bytes that came in then
        self.failed: dict[int, dict[str, int]] = {}  # minute → logins that failed then

    def reserve(self, address: str, size: int) -> Refusal | None:
        """Count a picture's bytes among those stored, or say why there is no room for them.

        Args:
            address: of the visitor.
            size: bytes; fewer than 0 gives back what was counted.
        """
        # later ones may still be there
        self.stored = _since(self.stored, KEEP_SECONDS + 2 * SWEEP_SECONDS)
        if _total(self.stored) + size > MAX_STORED_BYTES:
            when = "Try again in ten minutes."
            return 503, f"Too many pictures came in the last minutes. {when}"
        if _total(self.stored, address) + size > MAX_VISITOR_BYTES:
            most = f"{MAX_VISITOR_BYTES // 2**20} MiB in ten minutes"
            return 429, f"Too many pictures came from you: expected at most {most}."
        _add(self.stored, address, size)
        return None

    def begin_login(self, address: str) -> Refusal | None:
        """Count a login as failed until it has not, or say why it is not tried."""
        self.failed = _since(self.failed, KEEP_SECONDS)
        is_one = _total(self.failed, address) >= MAX_FAILED_LOGINS
        if is_one or _total(self.failed) >= MAX_ALL_FAILED_LOGINS:
            return 429, "Too many logins have failed. Try again in ten minutes."
        _add(self.failed, address, 1)
        return None

    def forget_login(self, address: str) -> None:
        """Count one that succeeded no longer."""
        _add(self.failed, address, -1)


def _since(counts: dict[int, dict[str, int]], seconds: int) -> dict[int, dict[str, int]]:
    oldest = int(time.monotonic() // 60) - seconds // 60
    return {minute: found for minute, found in counts.items() if minute >= oldest}


def _add(counts: dict[int, dict[str, int]], address: str, number: int) -> None:
    by_address = counts.setdefault(int(time.monotonic() // 60), {})
    by_address[address] = by_address.get(address, 0) + number


def _total(counts: dict[int, dict[str, int]], address: str | None = None) -> int:
    parts = counts.values()
    if address is None:
        return sum(sum(part.values()) for part in parts)
    return sum(part.get(address, 0) for part in parts)
