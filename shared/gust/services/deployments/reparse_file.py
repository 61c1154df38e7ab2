"""Has one file of the folder parsed again although it has not changed: Airflow's priority parsing request.

It marks the file's stored item first, then starts a deployment. After a crash in between, the next deployment, whatever its
cause, finds the mark; a deployment that parses the file meanwhile removes the mark.
"""

from __future__ import annotations

from dataclasses import replace

from gust.services.context import Services
from gust.services.deployments.deployment_turn import request_deployment


def reparse_file(services: Services, relative_path: str, *, name: str) -> None:
    """`relative_path`: the file, or a file within a zip. `name`: the deployment's; the same name again starts no other."""
    for file in services.store.list_source_files():
        if relative_path == file.relative_path or relative_path.startswith(f"{file.relative_path}/"):
            services.store.put_source_file(replace(file, is_worth_another_try=True, parsed_at=None))
    request_deployment(services.store, services.deployments, name, services.clock.now())
