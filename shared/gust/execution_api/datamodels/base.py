"""Base classes of the models."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from gust.http.answer import moment_text

UtcDateTime = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


class Strict(BaseModel):
    """A request that refuses unknown fields, as Airflow does.

    Validators are built with the first request of a kind, which keeps cold starts short.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class Payload(BaseModel):
    """A request that ignores unknown fields, as Airflow does."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def moment(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, as pydantic writes it."""
    return None if value is None else moment_text(value)
