"""Which variables a startup.sh exports, and what of it is refused by name."""

import pytest

from gust.services.deployments.startup_script import exported_in


def test_exported_variables():
    script = (
        "#!/bin/sh\n"
        "# for all\n"
        "set -euo pipefail\n"
        'echo "starting"\n'
        "export STAGE=production  # really\n"
        "BASE='s3://data $HOME'\n"
        'export TABLES="${BASE}/tables \\"x\\"" REGION=eu-west-1\n'
        "export LONG=a\\\n"
        "b\n"
        "LATER=1\n"
        "export LATER\n"
        "STAGE=test\n"
        "export EMPTY=\n"
    )

    exported, refused = exported_in("../startup.sh", script)

    assert refused == []
    assert exported == {
        "STAGE": "test",
        "TABLES": 's3://data $HOME/tables "x"',
        "REGION": "eu-west-1",
        "LONG": "ab",
        "LATER": "1",
        "EMPTY": "",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sudo yum install -y libaio", "export variables here, and nothing else"),
        ("pip install pandas", "export variables here, and nothing else"),
        ('if [ "$A" = b ]; then', "nothing else"),
        ("export A=$(date)", "commands are not run"),
        ("export A=`date`", "commands are not run"),
        ("export A=b; rm -rf /", "nothing else"),
        ("echo hello > /tmp/a", "nothing else"),
        ("export PATH=$PATH:/x", "$PATH is not set by the script itself"),
        ("export PATH=/x", "PATH cannot be set"),
        ("export AIRFLOW__CORE__PARALLELISM=1", "AIRFLOW__CORE__PARALLELISM cannot be set"),
        ("export GUST_BUCKET=x", "GUST_BUCKET cannot be set"),
        ("export A=${B:-c}", "plain values alone"),
        ("export 'A", "not closed"),
        ("export NEVER_SET", "nothing else"),
    ],
)
def test_everything_else_is_refused_by_name(line, why):
    _, refused = exported_in("../startup.sh", f"export X=1\n{line}\n")

    assert len(refused) == 1
    assert refused[0].startswith(f"../startup.sh:2: {line}: ")
    assert why in refused[0]
