# ruff: noqa: DTZ001
"""DAGs whose tasks update assets, in the ways there are."""

from datetime import datetime

from airflow.sdk import DAG, Asset, AssetAlias, Metadata, asset, task

START = {"start_date": datetime(2026, 1, 1), "schedule": None}
one, other, third = Asset("one"), Asset("other", uri="s3://lake/other"), Asset("third", group="tables")

with DAG("produce_one", **START):

    @task(outlets=[one])
    def produce():
        yield Metadata(one, {"n": 1})

    produce()

with DAG("produce_two", **START):

    @task(outlets=[one, other])
    def produce(outlet_events):
        outlet_events[one].extra = {"n": 2}

    produce()

with DAG("produce_through_alias", **START):

    @task(outlets=[AssetAlias("alias"), AssetAlias("unheard")])
    def produce(outlet_events):
        outlet_events[AssetAlias("alias")].add(one, extra={"n": 3})
        outlet_events[AssetAlias("unheard")].add(one, extra={"n": 3})
        outlet_events[AssetAlias("alias")].add(Asset("brought_forth"), extra={"n": 4})

    produce()

with DAG("produce_nothing", **START):

    @task(outlets=[one])
    def fail():
        raise ValueError

    @task.short_circuit(outlets=[other])
    def stop():
        return False

    @task(outlets=[third])
    def skipped():
        return 1

    fail()
    stop() >> skipped()

with DAG("read_inlets", **START):

    @task(inlets=[third, AssetAlias("alias")])
    def read(inlet_events):
        return {
            "third": [event.extra.get("n") for event in inlet_events[third]],
            "alias": sorted([event.asset.name, event.extra.get("n")] for event in inlet_events[AssetAlias("alias")]),
        }

    read()


@asset(schedule=None)
def decorated(self):
    return {"name": self.name}


@asset.multi(schedule=None, outlets=[Asset("many_first"), Asset("many_second")])
def many():
    return 1
