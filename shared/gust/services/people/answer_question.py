"""A person, or a trigger in their place, answers what a task asks."""

from typing import Final

from gust.errors import Conflict, NotFound, StaleHITLDetail, StaleTaskInstance
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.state import TaskInstanceState as S
from gust.scheduling import transition
from gust.services.context import Services

ATTEMPTS: Final = 5

BY_PERSON: Final = frozenset({S.AWAITING_INPUT, S.DEFERRED})
"""Whose task goes on with a person's answer."""
BY_TRIGGER: Final = frozenset({S.AWAITING_INPUT})
"""Whose task goes on with an answer that its own try gives: the trigger of a deferred one says the rest itself."""


def answer_question(
    services: Services, detail: HITLDetail, answer: HITLAnswer, *, resuming: frozenset[S] = BY_PERSON
) -> None:
    """Store the answer and, in the same write, have the task go on that waits for it. The task of any other state finds the
    answer when it comes to wait, or never asks again.

    Raises AnsweredAlready for every answer but the first, NotFound where the instance is gone, Conflict where it moved
    again and again meanwhile."""
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
