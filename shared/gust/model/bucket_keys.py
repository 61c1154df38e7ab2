"""Every key of the bucket.

    key                                   holds                               written by      read by
    ------------------------------------  ----------------------------------  --------------  --------------------------
    dags/<relative path>                  the DAGs folder                     DAG authors     deployer
    requirements.txt, plugins.zip,        MWAA's files beside the DAGs        DAG authors     deployer
      startup.sh
    bundles/<version>.zip                 a bundle                            deployer        parser, worker, triggerer
    bundles/<version>.json                its Manifest                        deployer        deployer
    recipes/<id>.json                     a Recipe of an environment          deployer        builder
    recipes/<id>.built.json               the outcome of its build            builder         deployer, local stack
    environments/<sha256>.zip             an environment's packages           builder         parser, worker, triggerer
    environments/<sha256>.forms.json      forms of its connection types       builder         API
    parses/<deployment>/<plan>/plan.json  a Plan                              deployer        parser, local stack
    parses/<deployment>/<plan>/<n>.json   the Progress of its batch n         parser          deployer, local stack
    parses/<deployment>/<plan>/token      the parser's token                  deployer        parser
    specs/<sha256>.json                   a DagSpec                           parser          scheduler, APIs, deployer
    serialized/<sha256>.json              a DAG as Airflow serializes it      parser          API, execution API
    sources/<sha256>.txt                  the text of a DAG file              parser          API
    xcom/<partition>/<sha256>             a JSON document too large for the   store           store
                                            table: XCom, rendered fields, …
    transfers/<name>                      a request or response too large     worker,         execution API, worker,
                                            for a Lambda invocation           execution API   triggerer
    workloads/<name>.json                 the workload of a container         scheduler       worker (container)
    functions/<sha256>.zip                the code of a worker group          ./gust workers  CloudFormation

Objects under a hash are immutable. Lifecycle rules delete the objects under parses/, transfers/ and workloads/ after a day;
the store deletes a run's documents with the run. `template.yaml` gives each function the prefixes that it needs.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from gust.errors import Invalid

if TYPE_CHECKING:
    from gust.model.deployment import Plan

DAGS: Final = "dags/"
BUNDLES: Final = "bundles/"
PARSES: Final = "parses/"
RECIPES: Final = "recipes/"
ENVIRONMENTS: Final = "environments/"
SPECS: Final = "specs/"
SERIALIZED: Final = "serialized/"
SOURCES: Final = "sources/"
DOCUMENTS: Final = "xcom/"
TRANSFERS: Final = "transfers/"
WORKLOADS: Final = "workloads/"
FUNCTIONS: Final = "functions/"

BESIDE_DAGS: Final = ("requirements.txt", "plugins.zip", "startup.sh")
"""Single objects of DAG authors at the bucket's root, where MWAA has them."""

OURS: Final = (
    BUNDLES,
    RECIPES,
    ENVIRONMENTS,
    PARSES,
    SPECS,
    SERIALIZED,
    SOURCES,
    DOCUMENTS,
    TRANSFERS,
    WORKLOADS,
    FUNCTIONS,
)
"""Prefixes under which only Gust writes."""

PREFIXES: Final = (DAGS, *OURS)

LONGEST: Final = 1024
"""Bytes of UTF-8 that S3 takes as a key."""


def uploaded_file(relative_path: str) -> str:
    return f"{DAGS}{relative_path}"


def workload(name: str) -> str:
    """`name` names a dispatch. The workload's token does not pass through services that log their inputs (CloudTrail,
    the history of an execution, DescribeTasks)."""
    return f"{WORKLOADS}{name}.json"


def function_code(code_hash: str) -> str:
    return f"{FUNCTIONS}{code_hash}.zip"


def bundle(version: str) -> str:
    return f"{BUNDLES}{version}.zip"


def manifest(version: str) -> str:
    return f"{BUNDLES}{version}.json"


# --- environments ------------------------------------------------------------------------------------------------------

BUILT: Final = ".built.json"


def recipe(recipe_id: str) -> str:
    return f"{RECIPES}{recipe_id}.json"


def built(recipe_id: str) -> str:
    return f"{RECIPES}{recipe_id}{BUILT}"


def environment(archive: str) -> str:
    """`archive` is the hash of its content, as for a bundle."""
    return f"{ENVIRONMENTS}{archive}.zip"


def connection_forms(archive: str) -> str:
    return f"{ENVIRONMENTS}{archive}.forms.json"


def providers(archive: str) -> str:
    """Airflow's providers in it, as the REST API shows them."""
    return f"{ENVIRONMENTS}{archive}.providers.json"


# --- a deployment's documents -----------------------------------------------------------------------------------------

_PLAN: Final = "/plan.json"


def plan(of: Plan, deployment: str) -> str:
    """The plan's key, by its content: a repeated parse of one plan finds the progress of the first. A repeated snapshot
    makes a plan of its own (`made_at` differs), so its files are parsed once more. Two deployments share no key: the
    progress of one that runs would look like the work of a dead one."""
    return f"{parses_of(deployment)}{sha256(of.model_dump_json().encode()).hexdigest()[:16]}{_PLAN}"


def parses_of(deployment: str) -> str:
    return f"{PARSES}{deployment}/"


def is_plan(key: str) -> bool:
    return key.startswith(PARSES) and key.endswith(_PLAN)


def deployment_of(plan_key: str) -> str:
    return plan_key.split("/")[1]


def progress(plan_key: str, batch: int) -> str:
    """The progress of the plan's batch, counted from 0."""
    return f"{plan_key.rpartition('/')[0]}/{batch}.json"


def parser_token(plan_key: str) -> str:
    """The token that the parser of the plan shows to the execution API."""
    return f"{plan_key.rpartition('/')[0]}/token"


# --- what parsing gives -----------------------------------------------------------------------------------------------

_PARSED: Final = {
    "specs": re.compile(r"specs/[0-9a-f]{64}\.json"),
    "serialized": re.compile(r"serialized/[0-9a-f]{64}\.json"),
    "sources": re.compile(r"sources/[0-9a-f]{64}\.txt"),
}

Parsed = Literal["specs", "serialized", "sources"]


def parsed(kind: Parsed, content: bytes) -> str:
    """The key of what the parser found, by its content."""
    return f"{kind}/{sha256(content).hexdigest()}.{'txt' if kind == 'sources' else 'json'}"


def is_parsed(kind: Parsed, key: str) -> bool:
    """Whether the key is one that `parsed` makes. A parser runs strangers' code: the deployer believes no other key."""
    return _PARSED[kind].fullmatch(key) is not None


# --- large documents and bodies ---------------------------------------------------------------------------------------


def documents(partition: str) -> str:
    """The prefix of a table partition's documents, so that a run's documents can be deleted with the run."""
    return f"{DOCUMENTS}{partition.replace('#', '/')}/"


def document(partition: str, content: bytes) -> str:
    """By content. Raises Invalid where the partition's name makes the key longer than S3 takes."""
    key = f"{documents(partition)}{sha256(content).hexdigest()}"
    if len(key.encode()) > LONGEST:
        raise Invalid(f"key is too long: with the ids that belong to it, it may take {LONGEST} bytes", field=("key",))
    return key


def transfer(name: str) -> str:
    """`name` is random: see `gust.model.transfer`."""
    return f"{TRANSFERS}{name}"
