"""Where services get the time from: the system's clock, or one that tests turn by hand."""

from datetime import UTC, datetime, timedelta


class SystemClock:
    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC)


class ManualClock:
    """Stands still until `advance` or `set` moves it."""

    def __init__(self, now: datetime) -> None:
        self.set(now)

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("the clock shows aware datetimes only")
        self._now = now.astimezone(UTC)

    def advance(self, seconds: float) -> datetime:
        """Move on and return the new time."""
        self._now += timedelta(seconds=seconds)
        return self._now
