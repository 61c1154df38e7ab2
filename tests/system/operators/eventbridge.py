from airflow.providers.amazon.aws.operators.eventbridge import (
    EventBridgeDisableRuleOperator,
    EventBridgeEnableRuleOperator,
    EventBridgePutEventsOperator,
    EventBridgePutRuleOperator,
)
from airflow.sdk import DAG

with DAG("aws_eventbridge"):
    rule = EventBridgePutRuleOperator(task_id="puts_rule", name="operators", event_pattern='{"source": ["shop"]}')
    puts = EventBridgePutEventsOperator(
        task_id="puts_events", entries=[{"Source": "shop", "DetailType": "sold", "Detail": '{"rows": 7}'}]
    )
    disables = EventBridgeDisableRuleOperator(task_id="disables_rule", name="operators")
    enables = EventBridgeEnableRuleOperator(task_id="enables_rule", name="operators")
    rule >> puts >> disables >> enables

with DAG("aws_eventbridge_fails"):
    EventBridgePutRuleOperator(task_id="fails", name="bad", event_pattern='{"source": "no list"}')
