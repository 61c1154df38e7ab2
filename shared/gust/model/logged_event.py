"""What happened that a person will ask about: Airflow's Log."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    when: datetime
    """Aware, UTC."""
    event: str
    dag_id: str
    owner: str
    owner_display_name: str
    extra: str
