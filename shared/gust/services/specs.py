"""DagSpecs by their key in the bucket. They never change, so a warm function reads each of them once."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from gust.errors import Forbidden, NotFound
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.task_instance import TaskInstance
from gust.ports.objects import Objects
from gust.services.context import Services

KEPT: Final = 256
"""Specs kept per process: some 10 KB each."""

LARGEST_KEPT: Final = 32_000_000
"""Total bytes of JSON of the kept specs; in memory they take some ten times that. A larger spec is kept alone."""

NO_SPEC: Final = (NotFound, Forbidden)
"""What `load_spec` raises for a missing spec. S3 denies it to a function that may not list the bucket, e.g. the scheduler,
just as one that the function may not read. The API and the dag processor may list it: there, only NotFound means missing."""

_kept: OrderedDict[str, tuple[DagSpec, int]] = OrderedDict()
_lock = Lock()


def load_spec(objects: Objects, spec_key: str) -> DagSpec:
    """The spec under `spec_key`. Raises NotFound if the bucket does not have it, and Forbidden if S3 denies access."""
    with _lock:
        if spec_key in _kept:
            _kept.move_to_end(spec_key)
            return _kept[spec_key][0]
    body = objects.get(spec_key)
    spec = DagSpec.model_validate_json(body)
    with _lock:
        _kept[spec_key] = spec, len(body)
        while len(_kept) > KEPT or (len(_kept) > 1 and sum(size for _, size in _kept.values()) > LARGEST_KEPT):
            _kept.popitem(last=False)
    return spec


def spec_of_instance(services: Services, run: DagRun, instance: TaskInstance) -> DagSpec:
    """The spec of the version that the instance's try belongs to: its run's, unless it was cleared onto a newer one."""
    if instance.version_number in (None, run.version_number):
        return load_spec(services.objects, run.spec_key)
    version = services.store.get_version(run.dag_id, instance.version_number or 0)
    if version is None:
        raise NotFound(f"DAG {run.dag_id!r} has no version {instance.version_number}")
    return load_spec(services.objects, version.spec_key)
