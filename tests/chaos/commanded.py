"""`./gust local` as a command, with every process that it has started."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import httpx
import psutil

from gust.local import processes
from tests.environment import of_a_user
from tests.oracle.drive import ApiClient
from tests.system.local_gust import ROOT, LocalGust


class CommandedGust(LocalGust):
    """`./gust local` as a person starts it, in a process group of its own; it watches the folder itself."""

    port: int

    @property
    def url(self) -> str:
        """Known before it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = processes.free_port()
        self.output = self.data.parent / "output"
        with self.output.open("a") as output:
            self.process = subprocess.Popen(  # noqa: S603
                [
                    *(sys.executable, "-m", "gust.cli", "local", "--port", str(self.port)),
                    *("--data", str(self.data), "--dags", str(self.dags), "--unpaused"),
                ],
                env=of_a_user(PYTHONPATH=str(ROOT / "shared")),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._await(self._is_ready, 180, self.output.read_text)
        self.api = ApiClient(self.url)

    def upload(self, name: str, text: str) -> None:
        (self.dags / name).write_text(text)

    def delete(self, name: str) -> None:
        (self.dags / name).unlink()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL to the command, the emulator, its functions and their tasks, all within a moment."""
        family = self.family()
        self.process.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(30)
        psutil.wait_procs(family, timeout=30)

    def family(self) -> list[psutil.Process]:
        """Everything that the command started and that lives."""
        return list(processes._marked(self.data.resolve()))

    def story(self, dag_id: str, run_id: str) -> str:
        rows = self.task_instances(dag_id, run_id)
        told = [f"{row['task_id']}[{row['map_index']}] {row['state']} ({row['try_number']})" for row in rows]
        return f"{run_id} is {self.run(dag_id, run_id)['state']}: {', '.join(told)}; logs in {self.data / 'logs'}"

    def _is_ready(self) -> bool | None:
        assert self.process.poll() is None, self.output.read_text()
        with suppress(httpx.HTTPError, ValueError):
            answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=30)
            if answer.status_code == 200:
                return all(part["status"] == "healthy" for part in answer.json().values()) or None
        return None
