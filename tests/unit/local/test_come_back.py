"""What a function died upon is not missed for as long as its queue hides messages."""

from __future__ import annotations

from typing import Any

from gust.local.come_back import let_go, let_messages_come_back

NOW = 1_000_000.0


def a_message(handle: str, *, visible_in: float) -> dict[str, Any]:
    return {"receipt_handle": handle, "visible_at": NOW + visible_in}


def test_what_a_dead_function_left_is_visible_after_a_minute() -> None:
    left = a_message("mine", visible_in=960)
    given_back = a_message("mine", visible_in=5)
    received_again = a_message("another's", visible_in=960)
    let_go([left, given_back, received_again], ["mine"] * 3, now=NOW)
    visible_in = [message["visible_at"] - NOW for message in (left, given_back, received_again)]
    assert visible_in == [60, 5, 960]


def test_the_emulator_does_so_whatever_became_of_the_function() -> None:
    from ministack.services import lambda_svc

    before = lambda_svc._run_sqs_batch
    message = a_message("mine", visible_in=1e10)
    lambda_svc._run_sqs_batch = lambda *_: None
    try:
        let_messages_come_back()
        lambda_svc._run_sqs_batch({}, {}, {}, [message], "url", "name")
    finally:
        lambda_svc._run_sqs_batch = before
    assert message["visible_at"] < NOW + 1e10
