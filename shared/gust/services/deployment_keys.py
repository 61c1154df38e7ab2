"""Where the steps of a deployment find each other's documents in the bucket."""

from hashlib import sha256

from gust.model.deployment import Plan


def plan_key(plan: Plan) -> str:
    """The same plan has the same key: a step that is repeated finds what its first try left."""
    content = plan.model_dump_json()
    return f"parses/{plan.bundle_version[:16]}-{sha256(content.encode()).hexdigest()[:16]}/plan.json"


def progress_key(plan_key: str, batch: int) -> str:
    return f"{plan_key.rpartition('/')[0]}/{batch}.json"


def bundle_key(version: str) -> str:
    return f"bundles/{version}.zip"


def manifest_key(version: str) -> str:
    return f"bundles/{version}.json"
