"""Where the steps of a deployment find each other's documents in the bucket."""

from hashlib import sha256

from gust.model.deployment import Plan


def plan_key(plan: Plan, deployment: str) -> str:
    """The same plan of the same deployment has the same key: a step that is repeated finds what its first try left.
    Another deployment has another: what is left by one that runs at the same time would look like one that died."""
    return f"parses/{deployment}/{sha256(plan.model_dump_json().encode()).hexdigest()[:16]}/plan.json"


def progress_key(plan_key: str, batch: int) -> str:
    return f"{plan_key.rpartition('/')[0]}/{batch}.json"


def token_key(plan_key: str) -> str:
    """What the parser shows the execution API."""
    return f"{plan_key.rpartition('/')[0]}/token"


def bundle_key(version: str) -> str:
    return f"bundles/{version}.zip"


def manifest_key(version: str) -> str:
    return f"bundles/{version}.json"
