"""Start and stop real Airflow: PostgreSQL and `airflow standalone`, children on loopback that leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from tests.environment import of_a_user

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ROOT / "requirements" / "oracle.txt"
START_TIMEOUT: Final = 600.0
"""Seconds: an idle machine takes twenty, one that does other things besides takes minutes."""


class OracleError(Exception):
    """Real Airflow cannot be started here; the message says what is missing."""


def oracle_python() -> Path:
    """An interpreter that has all of the lock: this one (under `./gust bench` and `./gust record-golden` it does), the
    one of the environment that `GUST_ORACLE_VENV` names, or that of an environment which is made for it.

    The lock's copy inside the environment tells whether it is finished and current, so an interrupted installation is
    taken up again.
    """
    if given := os.environ.get("GUST_ORACLE_VENV"):
        return Path(given) / "bin" / "python"
    if all(find_spec(name) for name in ("airflow", "psycopg2", "asyncpg")):
        return Path(sys.executable)
    venv = ROOT / ".gust" / "oracle"
    python, installed = venv / "bin" / "python", venv / "installed.txt"
    if installed.exists() and installed.read_bytes() == LOCK.read_bytes():
        return python
    print(f"Installing the oracle into {venv} (real Airflow, a few minutes) …", flush=True)
    if uv := shutil.which("uv"):
        _run(uv, "venv", "--allow-existing", "--python", sys.executable, str(venv))
        _run(uv, "pip", "install", "--python", str(python), "--require-hashes", "-r", str(LOCK))
    else:
        _run(sys.executable, "-m", "venv", str(venv))
        _run(str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(LOCK))
    shutil.copy(LOCK, installed)
    return python


@contextmanager
def real_airflow(dags: Path, environment: Mapping[str, str] | None = None, *, parallelism: int = 8) -> Iterator[str]:
    """The URL of a fresh Airflow (LocalExecutor, PostgreSQL, every caller an admin) over `dags`, while the block lasts.

    Plugins are those in `dags/plugins`, where Gust looks for them too; Airflow is told not to parse that folder.
    """
    python = oracle_python()
    home = Path(tempfile.mkdtemp(prefix="gust-oracle-"))
    home.chmod(0o755)
    port = free_port()
    try:
        with postgres(home / "postgres") as database:
            variables = {
                **of_a_user(),
                **settings(home, dags, port, database, parallelism),
                **(environment or {}),
                "PATH": f"{python.parent}:{os.environ['PATH']}",
            }
            airflow = str(python.parent / "airflow")
            with (home / "migrate.log").open("wb") as log:
                _run(airflow, "db", "migrate", env=variables, stdout=log, stderr=log)
            with (home / "airflow.log").open("wb") as log:
                process = subprocess.Popen(
                    [airflow, "standalone"], env=variables, stdout=log, stderr=log, start_new_session=True
                )
            try:
                url = f"http://127.0.0.1:{port}"
                _await_health(url, process, home / "airflow.log")
                yield url
            finally:
                end_group(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings(home: Path, dags: Path, port: int, database: str, parallelism: int) -> dict[str, str]:
    """Where this Airflow stands, and how fast it looks: what DAGs mean is left at Airflow's defaults (docs/oracle.md)."""
    url = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{database}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(dags.resolve() / "plugins"),
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    }


@contextmanager
def postgres(home: Path) -> Iterator[str]:
    """`user@host:port/database` of a throw-away PostgreSQL. It refuses to run as root: then it runs as `postgres`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    pg_ctl = str(found[-1]) if found else shutil.which("pg_ctl")
    if pg_ctl is None:
        raise OracleError("The oracle needs PostgreSQL's server programs (Debian: apt install postgresql)")
    programs, user = Path(pg_ctl).parent, "postgres" if os.geteuid() == 0 else None
    home.mkdir()
    if user:
        shutil.chown(home, user)
    port, data = free_port(), home / "data"
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1"
    _run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "airflow", user=user, cwd=home)
    _run(pg_ctl, "-w", "-D", str(data), "-o", options, "-l", str(home / "log"), "start", user=user, cwd=home)
    try:
        _run(str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "airflow", "airflow")
        yield f"airflow@127.0.0.1:{port}/airflow"
    finally:
        _run(pg_ctl, "-m", "immediate", "-D", str(data), "stop", user=user, cwd=home)


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            health = httpx.get(f"{url}/api/v2/monitor/health", timeout=10).json()
        except (httpx.HTTPError, ValueError):
            health = {}
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        if all(health.get(part, {}).get("status") == "healthy" for part in parts):
            return
        time.sleep(0.5)
    tail = log.read_text(errors="replace")[-3000:]
    raise OracleError(f"Airflow did not become healthy at {url}; the end of its log:\n{tail}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """`airflow standalone` starts a tree: everything in its session ends, politely first."""
    for sign, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def _run(
    *command: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    stdout: object = subprocess.DEVNULL,
    stderr: object = None,
) -> None:
    try:
        subprocess.run(command, check=True, env=env, cwd=cwd, user=user, stdout=stdout, stderr=stderr)  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError) as error:
        raise OracleError(f"{Path(command[0]).name} failed: {error}") from error
