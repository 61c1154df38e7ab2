"""Every way in which a try ends, each with all that it says on its way: their whole logs are compared with Airflow's."""

import logging
import os
import signal
import sys
import time
import warnings
from datetime import timedelta

import structlog
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

with DAG("log_says_everything", schedule=None):

    @task
    def says():
        print("printed")
        print("two lines\nin one print")
        print("printed to stderr", file=sys.stderr)
        logging.getLogger("shop.orders").info("by a logger of its own, with %s", "an argument")
        logging.getLogger("shop.orders").debug("too low to be seen")
        logging.getLogger("shop.orders").warning("a warning", extra={"rows": 3})
        structlog.get_logger("shop.structured").info("by structlog", rows=3, names=["a", "b"])
        structlog.get_logger().error("by a logger without a name", by="structlog")
        logging.getLogger("shop.orders").critical("a critical line")
        warnings.warn("a Python warning", UserWarning, stacklevel=1)
        print("::group::A group of its own")
        print("inside")
        print("::endgroup::")
        try:
            raise KeyError("caught")
        except KeyError:
            logging.getLogger("shop.orders").exception("with its traceback")
        return {"rows": 3}

    says()


with DAG("log_without_a_word", schedule=None):

    @task
    def silent():
        pass

    silent()


with DAG("log_of_a_failure", schedule=None):

    @task
    def fails():
        print("about to fail")
        try:
            {}["nothing"]
        except KeyError as error:
            raise ValueError("plainly wrong") from error

    fails()


with DAG("log_of_an_airflow_failure", schedule=None):

    @task(retries=2)
    def gives_up():
        raise AirflowFailException("no retry will help")

    @task
    def raises_airflows_own():
        raise AirflowException("Airflow's own exception")

    @task
    def exits():
        sys.exit(3)

    @task
    def exits_without_a_fault():
        sys.exit(0)

    gives_up()
    raises_airflows_own()
    exits()
    exits_without_a_fault()


with DAG("log_of_a_retry", schedule=None):

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def succeeds_at_last():
        number = get_current_context()["ti"].try_number
        print(f"try {number}")
        if number == 1:
            raise RuntimeError("not yet")

    succeeds_at_last()


with DAG("log_of_a_skip", schedule=None):

    @task
    def skips():
        raise AirflowSkipException("nothing to do today")

    @task.branch
    def branches():
        return "taken"

    @task.short_circuit
    def stops():
        return False

    skips()
    branches() >> [EmptyOperator(task_id="taken"), EmptyOperator(task_id="not_taken")]
    stops() >> EmptyOperator(task_id="behind")


with DAG("log_of_mapped", schedule=None):

    @task(map_index_template="{{ name }}")
    def each(name):
        get_current_context()["name"] = name
        print(f"this is {name}")
        return name.upper()

    each.expand(name=["north", "south"])


with DAG("log_of_a_killed_one", schedule=None):

    @task(trigger_rule="all_done")
    def killed():
        print("before the end", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def terminated():
        print("before the end", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2)

    @task(trigger_rule="all_done")
    def leaves_at_once():
        print("before the end", flush=True)
        os._exit(7)

    # One after the other: on a busy machine Airflow loses lines
    # of processes that die.
    terminated() >> leaves_at_once() >> killed()


with DAG("log_of_a_timeout", schedule=None):

    @task(execution_timeout=timedelta(seconds=1))
    def takes_too_long():
        print("before the end")
        time.sleep(30)

    takes_too_long()


class TakesLong(BaseOperator):
    def execute(self, context):
        print("works and works", flush=True)
        time.sleep(120)

    def on_kill(self):
        print("on_kill cleans up", flush=True)


with DAG("log_of_a_marked_one", schedule=None):
    TakesLong(task_id="marked")


with DAG("log_of_bash", schedule=None):
    BashOperator(task_id="prints", bash_command="echo out; echo err >&2; echo last")
    BashOperator(task_id="fails", bash_command="echo before; exit 4")
    BashOperator(task_id="skips", bash_command="exit 99")


def says_that_it_was_called(context):
    print(f"called back for {context['ti'].task_id}")
    logging.getLogger("shop.callback").info("by a logger")


def breaks(context):
    raise RuntimeError("a callback that breaks")


with DAG("log_of_callbacks", schedule=None):

    @task(
        on_execute_callback=says_that_it_was_called,
        on_success_callback=[says_that_it_was_called, breaks, says_that_it_was_called],
    )
    def succeeds():
        print("works")

    @task(on_failure_callback=says_that_it_was_called)
    def fails_and_calls():
        raise RuntimeError("for the callback")

    @task(on_skipped_callback=says_that_it_was_called)
    def skips_and_calls():
        raise AirflowSkipException

    @task(retries=1, retry_delay=timedelta(seconds=1), on_retry_callback=says_that_it_was_called)
    def is_retried_and_calls():
        if get_current_context()["ti"].try_number == 1:
            raise RuntimeError("not yet")

    succeeds()
    fails_and_calls()
    skips_and_calls()
    is_retried_and_calls()


with DAG("log_of_templates", schedule=None):
    BashOperator(task_id="renders", bash_command="echo {{ dag.dag_id }}", env={"DAY": "{{ ds }}"}, append_env=True)
    BashOperator(task_id="renders_what_is_not_there", bash_command="echo {{ nothing.at_all }}")


class Hooked(BaseOperator):
    def pre_execute(self, context):
        print("before")

    def execute(self, context):
        self.log.info("by the operator's logger")
        return list(range(3))

    def post_execute(self, context, result=None):
        print(f"after {result}")


with DAG("log_of_an_operator", schedule=None):
    Hooked(task_id="hooked")
    EmptyOperator(task_id="empty", on_success_callback=says_that_it_was_called)
    EmptyOperator(task_id="left_out", trigger_rule=TriggerRule.ALL_SUCCESS)
