"""Keys of the documents that the steps of a deployment exchange in the bucket, and the name of a bundle."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from gust.model.deployment import Plan


def plan_key(plan: Plan, deployment: str) -> str:
    """Where a plan lies; its progress lies beside it. A repeated parse of one plan finds what the first left. A repeated
    snapshot makes a plan of its own (`made_at` differs), so its files are parsed once more. Deployments share no key: what
    a running one leaves would look like the work of a dead one."""
    return f"parses/{deployment}/{sha256(plan.model_dump_json().encode()).hexdigest()[:16]}/plan.json"


def progress_key(plan_key: str, batch: int) -> str:
    return f"{plan_key.rpartition('/')[0]}/{batch}.json"


def token_key(plan_key: str) -> str:
    """The key of the parser's token for the execution API."""
    return f"{plan_key.rpartition('/')[0]}/token"


def bundle_key(version: str) -> str:
    return f"bundles/{version}.zip"


def manifest_key(version: str) -> str:
    return f"bundles/{version}.json"


def version_of(files: Mapping[str, str]) -> str:
    """The bundle's name: a hash over paths and contents."""
    return hashed(f"{path}\0{files[path]}" for path in sorted(files))


def hashed(lines: Iterable[str]) -> str:
    digest = sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()
