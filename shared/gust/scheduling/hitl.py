"""The event by which a resumed task learns a person's answer, as HITL operators take it and Airflow's serde encodes it.

Source: `HITLDetail.as_resume_event_payload`, `SchedulerJobRunner.check_awaiting_input_timeouts` of Airflow 3.3.2.
"""

from __future__ import annotations

from typing import Any, Final

from gust.model.hitl import HITLAnswer
from gust.scheduling.pure_wait import encoded_moment

TIMED_OUT: Final = {
    "error": "The Human-in-the-loop response timeout has passed without a response.",
    "error_type": "timeout",
}
"""The event of a question without defaults that has timed out."""

UNTELLABLE: Final = "Could not resume the task: the answer has keys that Airflow's serialization reserves"

_RESERVED: Final = frozenset({"__classname__", "__id__"})


def event(answer: HITLAnswer, *, is_late: bool) -> dict[str, Any]:
    return {
        "chosen_options": list(answer.chosen_options),
        "params_input": answer.params_input,
        "responded_at": encoded_moment(answer.responded_at, classname="datetime.datetime"),
        "responded_by_user": answer.responded_by,
        "timedout": is_late,
    }


def can_be_told(answer: HITLAnswer) -> bool:
    """Whether serde would encode the person's input. An object that looks like an encoded one would be decoded as such, and
    an answer must not choose the class that a worker makes of it."""
    return not _has_reserved_keys(answer.params_input)


def _has_reserved_keys(value: Any) -> bool:
    match value:
        case dict():
            return not _RESERVED.isdisjoint(value) or any(_has_reserved_keys(item) for item in value.values())
        case list():
            return any(_has_reserved_keys(item) for item in value)
        case _:
            return False
