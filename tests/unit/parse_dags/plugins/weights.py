from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy


class ByTry(PriorityWeightStrategy):
    def get_weight(self, ti):
        return 40 - ti.try_number


class ByRun(PriorityWeightStrategy):
    def get_weight(self, ti):
        return ti.dag_run.conf["weight"]


class Weights(AirflowPlugin):
    name = "weights"
    priority_weight_strategies = [ByTry, ByRun]
