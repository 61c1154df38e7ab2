"""Airflow's own web UI over the local stack: every page, and the actions on it.

A page fails on any answer from 400 on that Airflow does not give, on any error in the console, and if its content does not
appear. Screenshots are in test-output/screenshots. With `--airflow` the same walks run on real Airflow: then its screenshots
are next to ours, and every allowed error (`AS_AIRFLOW`) must have occurred.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.part import part_of
from tests.system.browser import AS_AIRFLOW, PATIENCE, Person, chromium
from tests.system.local_gust import AnyAirflow
from tests.system.real_airflow import asked_for, made_for

EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "dags"

ORDERS: Final = """
    from airflow.sdk import Asset, dag, task

    orders = Asset("ui_orders", uri="s3://shop/orders", group="shop")

    @dag(schedule=None, tags=["shop"])
    def ui_make_orders():
        @task(outlets=[orders])
        def write():
            print("wrote the orders")

        write()

    @dag(schedule=[orders], tags=["shop"])
    def ui_read_orders():
        @task(inlets=[orders])
        def read():
            print("read the orders")

        read()

    ui_make_orders()
    ui_read_orders()
"""

FAILING: Final = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def ui_fails():
        @task
        def breaks():
            print("about to break")
            raise ValueError("it broke")

        @task
        def after():
            pass

        breaks() >> after()

    ui_fails()
"""

ASKING: Final = """
    from airflow.providers.standard.operators.hitl import ApprovalOperator
    from airflow.sdk import dag

    @dag(schedule=None)
    def ui_asks():
        ApprovalOperator(task_id="approve", subject="Shall we ship it?", body="All tests are green.")

    ui_asks()
"""


@dataclass
class Site:
    gust: AnyAirflow
    browser: Browser
    folder: str
    problems: set[str] = field(default_factory=set)
    """All that anybody met with, forgiven or not."""
    pages: set[str] = field(default_factory=set)
    """Those of `PAGES` that a person has opened."""

    def person(self) -> Person:
        return Person(self.browser, self.gust.url, self.folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Site]:
    """A stack with DAGs that have run: groups and retries, branches, mapped tasks, assets, a failure."""
    home = tmp_path_factory.mktemp("web_ui")
    gust = made_for(
        pytestconfig,
        home,
        parameters={"TestConnection": "Enabled"},
        environment={"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"},
    )
    gust.start()
    try:
        for name in ("currency_rates", "refresh_warehouse", "regional_sales_etl"):
            gust.upload(f"{name}.py", (EXAMPLES / f"{name}.py").read_text())
        gust.upload("orders.py", ORDERS)
        gust.upload("fails.py", FAILING)
        gust.upload("asks.py", ASKING)
        for dag_id in (
            "currency_rates",
            "refresh_warehouse",
            "regional_sales_etl",
            "ui_make_orders",
            "ui_fails",
            "ui_asks",
        ):
            gust.await_dag(dag_id)
            gust.trigger(dag_id, run_id="one")
        for dag_id in ("refresh_warehouse", "regional_sales_etl", "ui_make_orders"):
            gust.await_state(dag_id, "one", "success", within=180)
        gust.await_state("currency_rates", "one", "success", within=240)
        gust.await_state("ui_fails", "one", "failed", within=120)
        gust.await_state("ui_asks", "one", "awaiting_input", task="approve", within=120)
        with chromium() as browser:
            yield Site(gust, browser, "airflow" if asked_for(pytestconfig) else "")
    finally:
        gust.stop()


@pytest.fixture
def person(site: Site) -> Iterator[Person]:
    with site.person() as person:
        yield person
        site.problems.update(person.problems)


# --- every page -------------------------------------------------------------------------------------------------------

ETL: Final = "/dags/regional_sales_etl"
RUN: Final = f"{ETL}/runs/one"
TASK: Final = f"{RUN}/tasks/regions"
MAPPED: Final = f"{RUN}/tasks/extract/mapped"

PAGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "home": ("/", ("Active Dags", "Scheduler", "Dag Runs", "Asset Event")),
    "dags": ("/dags", ("currency_rates", "refresh_warehouse", "regional_sales_etl", "ui_fails")),
    "dags by tag": ("/dags?tags=shop", ("ui_make_orders", "ui_read_orders")),
    "dag runs": ("/dag_runs", ("Dag Run ID", "one", "Success")),
    "task instances": ("/task_instances", ("Task ID", "regions", "breaks")),
    "dag": (ETL, ("Overview", "Failed Tasks", "regions", "add_up")),
    "dag, runs": (f"{ETL}/runs", ("Dag Run ID", "one", "Manual")),
    "dag, tasks": (f"{ETL}/tasks", ("Trigger Rule", "all_success", "extract")),
    "dag, calendar": (f"{ETL}/calendar", ("Total Runs", "Planned")),
    "dag, backfills": (f"{ETL}/backfills", ("Backfills",)),
    "dag, code": (f"{ETL}/code", ("Parsed at:",)),
    "dag, details": (f"{ETL}/details", ("regional_sales_etl", "Max Active Runs")),
    "task": (f"{ETL}/tasks/regions", ("Overview", "regions")),
    "mapped task": (f"{ETL}/tasks/extract", ("Overview", "extract")),
    "group": ("/dags/currency_rates/tasks/group/market", ("market",)),
    "run": (RUN, ("Task Instances", "regions", "north", "Success")),
    "run, asset events": (f"{RUN}/asset_events", ("Asset Events",)),
    "run, code": (f"{RUN}/code", ("regional_sales_etl",)),
    "run, details": (f"{RUN}/details", ("Run Type", "manual")),
    "instance, log": (TASK, ("All Log Levels", "Returned value was")),
    "instance, rendered templates": (f"{TASK}/rendered_templates", ("op_args", "op_kwargs")),
    "instance, xcoms": (f"{TASK}/xcom", ("return_value", "north")),
    "instance, code": (f"{TASK}/code", ("regional_sales_etl",)),
    "instance, asset events": (f"{TASK}/asset_events", ("Asset Events",)),
    "instances of a mapped task": (MAPPED, ("Task Instances [4]", "north", "west")),
    "mapped instance": (f"{MAPPED}/0", ("extract", "north", "All Log Levels")),
    "instances of a group": ("/dags/currency_rates/runs/one/tasks/group/market", ("market", "fetch")),
    "failed instance": ("/dags/ui_fails/runs/one/tasks/breaks", ("Task failed with exception", "it broke")),
    "assets": ("/assets", ("ui_orders",)),
    "xcoms": ("/xcoms", ("return_value", "regional_sales_etl")),
    "pools": ("/pools", ("default_pool",)),
    "dag, audit log": (f"{ETL}/events", ("Event", "trigger_dag_run", "Anonymous")),
    "run, audit log": (f"{RUN}/events", ("Event", "When")),
    "instance, audit log": (f"{TASK}/events", ("Audit Log",)),
    "instance, details": (f"{TASK}/details", ("Task ID", "Try Number", "Map Index")),
    "instance, required action": (
        "/dags/ui_asks/runs/one/tasks/approve/required_actions",
        ("Shall we ship it?", "Approve"),
    ),
    "dag, required actions": ("/dags/ui_asks/required_actions", ("Shall we ship it?",)),
    "run, required actions": ("/dags/ui_asks/runs/one/required_actions", ("Shall we ship it?",)),
    "dags that wait for people": ("/dags?needs_review=true", ("ui_asks",)),
    "required actions": ("/required_actions", ("Shall we ship it?", "ui_asks")),
    "audit log": ("/events", ("Event", "currency_rates")),
    "variables": ("/variables", ("Add Variable",)),
    "connections": ("/connections", ("Add Connection",)),
    "plugins": ("/plugins", ("Plugins",)),
    "providers": ("/providers", ("apache-airflow-providers-amazon", "9.39.0")),
    "configuration": ("/configs", ("Airflow Configuration",)),
    "jobs": ("/jobs", ("Jobs",)),
}
"""What a page is called here → its path, and what it shows."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page(person: Person, site: Site, name: str, pytestconfig: pytest.Config) -> None:
    if name not in part_of([*PAGES], pytestconfig, 3, "shared/gust/rest_api", "shared/gust/services", "layers/web"):
        pytest.skip("of another part of the pages")
    path, texts = PAGES[name]
    person.opens(path, *texts)
    site.pages.add(name)
    person.shoots(f"page {name}")


def test_a_log_shows_what_the_task_printed_without_a_click(person: Person) -> None:
    """Airflow folds the groups that it opens: what a task prints stands outside of them."""
    person.opens("/dags/ui_make_orders/runs/one/tasks/write", "All Log Levels")
    log = person.page.get_by_test_id("virtualized-list")
    expect(log.get_by_text("wrote the orders").filter(visible=True)).to_be_visible(timeout=PATIENCE)
    for folded in ("Pre Execute", "Post Execute"):
        expect(log.get_by_text(folded).filter(visible=True)).to_be_visible(timeout=PATIENCE)
    person.sees_no_more("Worker startup parse complete")
    person.shoots("log of a success")


def test_a_failure_is_drawn_as_a_traceback(person: Person) -> None:
    person.opens("/dags/ui_fails/runs/one/tasks/breaks", "about to break", "Task failed with exception")
    log = person.page.get_by_test_id("virtualized-list")
    for drawn in ("ValueError: it broke", "in breaks"):
        expect(log.get_by_text(drawn).filter(visible=True).first).to_be_visible(timeout=PATIENCE)
    person.sees_no_more("exc_type")
    person.shoots("log of a failure")


def test_code_is_shown_with_its_words(person: Person) -> None:
    person.opens(f"{ETL}/code")
    expect(person.page.locator(".view-lines")).to_contain_text("def regional_sales_etl", timeout=PATIENCE)
    person.shoots("dag, code")


def test_the_state_store_of_an_instance(person: Person) -> None:
    person.opens(f"{TASK}/xcom", "Task State Store")
    with person.asks("GET", "/state-store"):
        person.page.get_by_text("Task State Store").first.click()
    person.shoots("state store")


def test_a_page_that_is_none(person: Person) -> None:
    person.opens("/no/such/page", "404")


# --- grid, graph, Gantt -----------------------------------------------------------------------------------------------


def test_the_graph_has_groups_and_labels(person: Person) -> None:
    person.opens("/dags/currency_rates", "central_bank")
    person.presses(re.compile("Show Graph"))
    graph = person.page.locator(".react-flow")
    for node in ("central_bank", "market", "spread", "publish"):
        expect(graph.get_by_text(node, exact=True).first).to_be_visible(timeout=PATIENCE)
    person.shoots("graph of groups")
    person.opens("/dags/refresh_warehouse", "choose")
    expect(person.page.locator(".react-flow").get_by_text("much changed")).to_be_visible(timeout=PATIENCE)
    person.shoots("graph of branches")


def test_the_gantt_chart_has_a_bar_for_each_try(person: Person) -> None:
    person.opens("/dags/currency_rates/runs/one", "central_bank")
    with person.asks("GET", "/ui/gantt/currency_rates/one"):
        person.presses(re.compile("Show Gantt"))
    person.shoots("gantt")


def test_the_grid_opens_an_instance(person: Person) -> None:
    person.opens(ETL, "regions")
    person.page.locator(f"a[href*='{RUN}/tasks/regions']").first.click()
    person.sees("All Log Levels", "Returned value was")


def test_assets_have_a_graph(person: Person) -> None:
    person.opens("/assets", "ui_orders")
    person.page.get_by_role("link", name="ui_orders").first.click()
    graph = person.page.locator(".react-flow")
    for node in ("ui_make_orders", "ui_read_orders"):
        expect(graph.get_by_text(node).first).to_be_visible(timeout=PATIENCE)
    person.shoots("asset")


# --- what people do ---------------------------------------------------------------------------------------------------


def test_the_contract_is_a_page_to_read_and_try(person: Person, site: Site) -> None:
    """By Airflow's menu, and nothing of it comes from elsewhere."""
    person.opens("/", "Active Dags")
    person.presses("Docs")
    link = person.page.get_by_role("menuitem", name="REST API Reference")
    assert link.locator("a").or_(link).first.get_attribute("href") == f"{site.gust.stack.url}/docs"
    hosts: set[str] = set()
    person.page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    person.opens("/docs", "Airflow API", "/api/v2/version")
    person.page.goto(f"{site.gust.stack.url}/redoc")
    person.sees("Airflow API")
    operation = person.page.locator("#operations-Version-get_version")
    operation.locator("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    with person.asks("GET", r"/api/v2/version$"):
        operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".responses-table.live-responses-table")).to_contain_text("3.3", timeout=PATIENCE)
    assert hosts == {urlsplit(site.gust.stack.url).netloc}
    person.shoots("contract")


def test_triggering_with_the_form(person: Person, site: Site) -> None:
    person.opens("/dags/refresh_warehouse", "Trigger")
    person.page.get_by_test_id("trigger-dag-button").first.click()
    field = person.page.get_by_label(re.compile("Rows changed")).or_(person.page.locator("#element_changed_rows")).first
    field.fill("20000")
    person.shoots("trigger form")
    with person.asks("POST", "/api/v2/dags/refresh_warehouse/dagRuns$"):
        person.page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    runs = site.gust.api.call("GET", "/api/v2/dags/refresh_warehouse/dagRuns?order_by=-run_after")["dag_runs"]
    assert runs[0]["conf"] == {"changed_rows": 20000}
    site.gust.await_state("refresh_warehouse", runs[0]["dag_run_id"], "success", within=120)
    person.opens(f"/dags/refresh_warehouse/runs/{runs[0]['dag_run_id']}", "full_refresh", "Success")


def test_pausing(person: Person, site: Site) -> None:
    person.opens("/dags/ui_read_orders", "ui_read_orders")
    with person.asks("PATCH", "/api/v2/dags/ui_read_orders"):
        person.page.get_by_test_id("toggle-pause").first.click()
    assert site.gust.api.call("GET", "/api/v2/dags/ui_read_orders")["is_paused"]
    with person.asks("PATCH", "/api/v2/dags/ui_read_orders"):
        person.page.get_by_test_id("toggle-pause").first.click()
    assert not site.gust.api.call("GET", "/api/v2/dags/ui_read_orders")["is_paused"]


def test_a_favourite(person: Person) -> None:
    person.opens("/dags/ui_fails", "ui_fails")
    with person.asks("POST", "/api/v2/dags/ui_fails/favorite"):
        person.presses("Favorite Dag")
    person.opens("/", "Favorite", "ui_fails")
    person.shoots("favourites")


def test_searching(person: Person) -> None:
    person.opens("/dags", "currency_rates")
    person.page.get_by_test_id("search-dags").fill("regional")
    person.sees("regional_sales_etl")
    person.sees_no_more("currency_rates")


def test_clearing_a_task(person: Person, site: Site) -> None:
    person.opens(f"{RUN}/tasks/add_up", "All Log Levels")
    with person.asks("POST", "/clearTaskInstances"):  # the dialog asks what it would clear
        person.presses("Press shift+c to clear")
    person.shoots("clear dialog")
    with person.asks("POST", "/clearTaskInstances", saying='"dry_run":false'):  # not once more what it would clear
        person.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    cleared = site.gust.await_state("regional_sales_etl", "one", "success", task="add_up", within=120)
    assert cleared["try_number"] == 2
    person.opens(f"{RUN}/tasks/add_up", "Task Tries")


def test_marking_a_task(person: Person, site: Site) -> None:
    person.opens("/dags/ui_fails/runs/one/tasks/breaks", "All Log Levels")
    person.presses(re.compile("Mark Task Instance"))
    with person.asks("PATCH", "/dry_run"):
        person.page.get_by_role("menuitem", name=re.compile("success", re.IGNORECASE)).click()
    person.shoots("mark dialog")
    with person.asks("PATCH", r"/taskInstances/breaks(/-1)?(\?|$)"):  # not once more the dry run
        person.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    site.gust.await_state("ui_fails", "one", "success", task="breaks")


def test_a_note(person: Person, site: Site) -> None:
    person.opens(RUN, "Task Instances")
    person.presses("Edit note")  # of the run; those of its instances are called otherwise
    dialog = person.page.get_by_role("dialog")  # the page has text boxes of its own
    dialog.get_by_test_id("markdown-input").fill("looked at")
    with person.asks("PATCH", "/dags/regional_sales_etl/dagRuns/one$", saying="looked at"):
        dialog.get_by_role("button", name="Confirm").click()
    assert site.gust.api.call("GET", f"/api/v2{ETL}/dagRuns/one")["note"] == "looked at"


def test_a_pool(person: Person, site: Site) -> None:
    person.opens("/pools", "default_pool")
    person.presses("Add Pool")
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_role("textbox").first.fill("narrow")
    dialog.get_by_role("spinbutton").first.fill("2")
    with person.asks("POST", "/api/v2/pools"):
        dialog.get_by_role("button", name="Save").click()
    person.sees("narrow")
    assert site.gust.api.call("GET", "/api/v2/pools/narrow")["slots"] == 2


def test_a_variable(person: Person, site: Site) -> None:
    person.opens("/variables", "Add Variable")
    person.presses("Add Variable")
    dialog = person.page.get_by_role("dialog")
    dialog.locator("[name=key]").fill("colour")
    dialog.locator("[name=value]").fill("green")
    with person.asks("POST", "/api/v2/variables$"):
        dialog.get_by_role("button", name="Save").click()
    person.sees("colour", "green")
    assert site.gust.api.call("GET", "/api/v2/variables/colour")["value"] == "green"
    person.shoots("variables")


def test_a_connection_with_the_form_of_its_type(person: Person, site: Site) -> None:
    with person.asks("GET", "/ui/connections/hook_meta"):  # with the page, or with the form
        person.opens("/connections", "Add Connection")
        person.presses("Add Connection")
    dialog = person.page.get_by_role("dialog")
    dialog.locator("[name=connection_id]").fill("warehouse")
    dialog.get_by_role("combobox").fill("redshift")
    person.page.get_by_role("option", name="redshift").first.click()
    dialog.locator("[name=login]").fill("reader")
    person.shoots("connection form")
    with person.asks("POST", "/api/v2/connections$"):
        dialog.get_by_role("button", name="Save").click()
    person.sees("warehouse")
    stored = site.gust.api.call("GET", "/api/v2/connections/warehouse")
    assert (stored["conn_type"], stored["login"]) == ("redshift", "reader")


@pytest.mark.parametrize(("folder", "said"), [("/", "Successful"), ("/no/such/folder", "Failed")])
def test_testing_a_connection(person: Person, site: Site, folder: str, said: str) -> None:
    """By the button in its row, which sends back the masks that it was shown."""
    connection_id = f"folder_{said.lower()}"
    connection = {"connection_id": connection_id, "conn_type": "fs", "password": "s3cret"}
    site.gust.api.call("POST", "/api/v2/connections", body=connection | {"extra": json.dumps({"path": folder})})
    person.opens("/connections", connection_id)
    row = person.page.get_by_role("row").filter(has_text=connection_id)
    with person.asks("POST", "/api/v2/connections/test$"):
        row.get_by_role("button", name="Test Connection").click()
    person.sees(f"Test Connection {said}", f"Path {folder} ")
    person.shoots(f"connection test {said.lower()}")


def test_answering_what_a_task_asks(person: Person, site: Site) -> None:
    site.gust.trigger("ui_asks", run_id="answered")
    site.gust.await_state("ui_asks", "answered", "awaiting_input", task="approve", within=120)
    person.opens("/dags/ui_asks/runs/answered/tasks/approve/required_actions", "Shall we ship it?")
    with person.asks("PATCH", "/hitlDetails"):
        person.presses("Approve")
    site.gust.await_state("ui_asks", "answered", "success", within=120)


def test_an_xcom(person: Person, site: Site) -> None:
    person.opens(f"{RUN}/tasks/regions/xcom", "return_value")
    person.presses("Add XCom")
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_role("textbox").first.fill("remark")
    editor = dialog.locator(".monaco-editor").first
    editor.click()
    expect(editor).to_have_class(re.compile(r"\bfocused\b"), timeout=PATIENCE)  # or the text goes nowhere
    person.page.keyboard.insert_text('"checked"')
    expect(dialog.locator(".view-lines")).to_contain_text('"checked"', timeout=PATIENCE)
    with person.asks("POST", "/xcomEntries"):
        dialog.get_by_role("button", name="Save").click()
    person.sees("remark", "checked")


def test_a_backfill(person: Person, site: Site) -> None:
    person.opens(ETL, "Trigger")
    person.page.get_by_test_id("trigger-dag-button").first.click()
    dialog = person.page.get_by_role("dialog").first
    dialog.get_by_text("Backfill", exact=True).first.click()
    for place, date in enumerate(("2026/02/01", "2026/02/02")):
        dialog.get_by_test_id("datetime-input").nth(place).click()
        day = person.page.get_by_placeholder("YYYY/MM/DD").filter(visible=True)
        day.fill(date)
        day.press("Enter")
        person.page.keyboard.press("Escape")
        expect(day).to_have_count(0)
    person.shoots("backfill form")
    with person.asks("POST", "/api/v2/backfills$"):
        dialog.get_by_role("button", name="Run Backfill").click()
    person.opens(f"{ETL}/backfills", "2026-02-01")
    for run in site.gust.await_runs("regional_sales_etl", 2, run_type="backfill"):
        site.gust.await_state("regional_sales_etl", run["dag_run_id"], "success", within=180)


def test_deleting_a_run(person: Person, site: Site) -> None:
    run_id = site.gust.trigger("refresh_warehouse", run_id="unwanted")
    site.gust.await_state("refresh_warehouse", run_id, "success", within=120)
    person.opens(f"/dags/refresh_warehouse/runs/{run_id}", "Task Instances")
    person.forgives(f" 404 .*/dagRuns/{run_id}")  # the page asks once more for what it has just deleted
    person.presses("Delete Dag Run")
    with person.asks("DELETE", f"/dagRuns/{run_id}"):
        person.page.get_by_role("dialog").get_by_role("button", name=re.compile("Delete|Yes|Confirm")).last.click()
    runs = site.gust.api.call("GET", "/api/v2/dags/refresh_warehouse/dagRuns")["dag_runs"]
    assert run_id not in {run["dag_run_id"] for run in runs}


SLOW: Final = """
    import time
    from pathlib import Path
    from airflow.sdk import dag, get_current_context, task

    @dag(schedule=None)
    def ui_slow():
        @task
        def counts():
            for number in range(11):
                print("line", number)
                time.sleep(0.5)
            folder = Path(get_current_context()["dag_run"].conf["folder"])
            until = time.monotonic() + 300  # where the test has failed, the worker is wanted for others
            while not (folder / "go on").exists() and time.monotonic() < until:
                time.sleep(0.05)
            print("said at last")

        counts()

    ui_slow()
"""


def test_a_log_while_it_is_written(person: Person, site: Site, tmp_path: Path) -> None:
    """The task waits for who reads: opening the page may take a busy machine longer than any task."""
    site.gust.upload("slow.py", SLOW)
    site.gust.await_dag("ui_slow")
    site.gust.trigger("ui_slow", run_id="one", conf={"folder": str(tmp_path)})
    site.gust.await_state("ui_slow", "one", "running", task="counts", within=120)
    person.opens("/dags/ui_slow/runs/one/tasks/counts", "line 0", "Running", "line 10")
    (tmp_path / "go on").touch()
    person.sees("said at last", "Success")


def test_what_is_forgiven_is_what_airflow_says(site: Site) -> None:
    """Behind all others: the list is no longer than what they met with."""
    if site.pages != PAGES.keys():
        pytest.skip("only some of the pages were looked at")
    assert [one.pattern for one in AS_AIRFLOW if not any(one.search(problem) for problem in site.problems)] == []
