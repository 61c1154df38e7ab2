"""Answer a task's question, on behalf of a person or of the task's trigger."""

from typing import Final

from gust.errors import Conflict, NotFound, StaleHITLDetail, StaleTaskInstance
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.state import TaskInstanceState as S
from gust.scheduling import transition
from gust.services.context import Services

ATTEMPTS: Final = 5

BY_PERSON: Final = frozenset({S.AWAITING_INPUT, S.DEFERRED})
"""States that a person's answer resumes."""
BY_TRIGGER: Final = frozenset({S.AWAITING_INPUT})
"""States that an answer of the try itself resumes: a deferred try continues by its trigger's event."""


def answer_question(
    services: Services, detail: HITLDetail, answer: HITLAnswer, *, resuming: frozenset[S] = BY_PERSON
) -> None:
    """Store the answer and, in the same write, resume the task that waits for it. A task in any other state finds the
    answer when it begins to wait, or never asks again.

    Raises AnsweredAlready for every answer but the first, NotFound if the instance is gone, Conflict if it kept moving
    meanwhile."""
    key, now = detail.key, services.clock.now()
    for _ in range(ATTEMPTS):
        instance = services.store.get_instance(key)
        if instance is None:
            raise NotFound(f"The Task Instance of {key} was not found")
        try:
            if instance.state in resuming:
                services.store.move(transition.answer(instance, at=now, answer=answer, try_number=detail.try_number))
            else:
                services.store.answer_hitl_detail(key, detail.try_number, answer, seen=instance)
        except StaleHITLDetail as answered:
            raise AnsweredAlready("The question is answered") from answered
        except StaleTaskInstance:
            continue
        return
    raise Conflict("The task instance moves; try again", reason="invalid_state")


class AnsweredAlready(Conflict):
    """Only the first answer counts."""
