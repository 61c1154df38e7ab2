"""Have one file of the folder parsed again though nothing of it changed: Airflow's priority parsing request.

What is known of the file is marked first, then a deployment is started. Who dies in between leaves a mark that the next
deployment, whatever it is for, works off; a deployment that parses the file meanwhile takes the mark away with the work.
"""

from __future__ import annotations

from dataclasses import replace

from gust.services.context import Services
from gust.services.deployments.deployment_turn import request_deployment


def reparse_file(services: Services, relative_path: str, *, name: str) -> None:
    """`relative_path`: the file, or one within a zip. `name`: of the deployment; the same again starts no other."""
    for file in services.store.list_source_files():
        if relative_path == file.relative_path or relative_path.startswith(f"{file.relative_path}/"):
            services.store.put_source_file(replace(file, is_worth_another_try=True, parsed_at=None))
    request_deployment(services.store, services.deployments, name, services.clock.now())
