"""Lines of CloudWatch's embedded metric format, as the functions print them and the local stack reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gust.aws.metrics import Detail, EmfMetrics
from gust.local.metrics import Totals, Value, values_in
from gust.model.measurement import Measurement

FAILURE = Measurement("TaskInstanceFailures", 1, dag_id="etl")
DURATION = Measurement("TaskInstanceDuration", 2.5, "Seconds", "etl")


def printed(detail: Detail, *added: Measurement) -> list[dict[str, Any]]:
    lines: list[str] = []
    metrics = EmfMetrics("prod", detail, write=lines.append)
    metrics.add(added)
    metrics.flush()
    metrics.flush()
    return [json.loads(line) for line in lines]


def test_an_invocation_that_measured_nothing_prints_nothing() -> None:
    assert printed("Stack") == []


def test_what_was_measured_is_one_line_with_the_stack_as_its_only_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "gust")
    (line,) = printed("Stack", FAILURE, DURATION, DURATION)
    (about,) = line["_aws"]["CloudWatchMetrics"]
    assert about["Namespace"] == "Gust"
    assert about["Dimensions"] == [["Stack"]]
    assert {each["Name"]: each["Unit"] for each in about["Metrics"]} == {
        "TaskInstanceFailures": "Count",
        "TaskInstanceDuration": "Seconds",
    }
    assert (line["Stack"], line["TaskInstanceFailures"], line["TaskInstanceDuration"]) == ("prod", [1], [2.5, 2.5])


def test_by_dag_the_same_values_come_again_with_their_dag() -> None:
    of_stack, of_dag = printed("DAG", FAILURE, Measurement("ImportErrors", 0))
    assert "ImportErrors" in of_stack
    assert of_dag["DAG"] == "etl"
    assert of_dag["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stack", "DAG"]]
    assert "ImportErrors" not in of_dag


def test_a_stack_without_metrics_prints_none() -> None:
    assert printed("None", FAILURE) == []


def test_no_line_has_more_values_of_a_metric_than_cloudwatch_reads() -> None:
    lines = printed("Stack", *[FAILURE] * 250, DURATION)
    assert [len(line["TaskInstanceFailures"]) for line in lines] == [99, 99, 52]
    assert [line.get("TaskInstanceDuration") for line in lines] == [[2.5], None, None]


def test_a_handler_that_raises_prints_what_it_had_measured() -> None:
    lines: list[str] = []
    metrics = EmfMetrics("prod", write=lines.append)

    @metrics.flushes
    def handler() -> None:
        metrics.add([FAILURE])
        raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        handler()
    assert len(lines) == 1


def test_the_local_stack_reads_what_functions_print_and_skips_what_only_looks_so() -> None:
    lines: list[str] = []
    metrics = EmfMetrics("gust", write=lines.append)
    metrics.add([FAILURE, DURATION])
    metrics.flush()
    output = "\n".join(["START", *lines, '{"_aws": 7}', '{"_aws":{"CloudWatchMetrics":[{}]}}', '{"_aws":'])
    assert list(values_in(output)) == [
        Value("TaskInstanceFailures", 1, "Count", {"Stack": "gust"}),
        Value("TaskInstanceDuration", 2.5, "Seconds", {"Stack": "gust"}),
    ]


def test_prometheus_gets_number_sum_and_last_value() -> None:
    totals = Totals()
    for seconds in (2.0, 3.0):
        totals.add(Value("DAGDurationSuccess", seconds, "Seconds", {"Stack": "gust", "DAG": 'a"b'}))
    assert totals.exposition().splitlines() == [
        "# TYPE gust_dag_duration_success_seconds summary",
        "# TYPE gust_dag_duration_success_seconds_last gauge",
        'gust_dag_duration_success_seconds_count{dag="a\\"b",stack="gust"} 2',
        'gust_dag_duration_success_seconds_sum{dag="a\\"b",stack="gust"} 5',
        'gust_dag_duration_success_seconds_last{dag="a\\"b",stack="gust"} 3',
    ]
