"""What the models have in common."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

UtcDateTime = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


class Strict(BaseModel):
    """A request: a field that Airflow does not know is refused, as Airflow refuses it.

    Validators are built when the first request of a kind comes: a cold start pays for what it uses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class Payload(BaseModel):
    """A request of whose unknown fields Airflow takes no notice."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Query(BaseModel):
    """What stands behind the `?`. Unknown parameters are ignored, as by Airflow. A field that is a list may repeat."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def moment(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, as pydantic writes it."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
