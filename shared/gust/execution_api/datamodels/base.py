"""What the models have in common."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from gust.http.answer import moment_text

UtcDateTime = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


class Strict(BaseModel):
    """A request: a field that Airflow does not know is refused, as Airflow refuses it.

    Validators are built when the first request of a kind comes: a cold start pays for what it uses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class Payload(BaseModel):
    """A request of whose unknown fields Airflow takes no notice."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def moment(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, as pydantic writes it."""
    return None if value is None else moment_text(value)
