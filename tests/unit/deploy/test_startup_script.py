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
        ("export A=~/data", "no home folder"),
        ("export A=b:~", "no home folder"),
        ("export LAMBDA_TASK_ROOT=/x", "LAMBDA_TASK_ROOT cannot be set"),
        ("export A=$'b'", "plain values alone"),
        ("export A+=b", "nothing else"),
        ("export A=(b c)", "nothing else"),
        ("unset X", "nothing else"),
        ("declare -x A=b", "nothing else"),
        ("python3 -m venv /usr/local/airflow/dbt_venv", "nothing else"),
    ],
)
def test_everything_else_is_refused_by_name(line, why):
    _, refused = exported_in("../startup.sh", f"export X=1\n{line}\n")

    assert len(refused) == 1
    assert refused[0].startswith(f"../startup.sh:2: {line}: ")
    assert why in refused[0]


@pytest.mark.parametrize("value", ["=", "a=b", "'~'", '"a b"  # c', "ü€", "'$X `x`'", "\\$X"])
def test_odd_values_that_a_shell_takes(value):
    exported, refused = exported_in("../startup.sh", f"export A={value}\r\n")

    assert refused == []
    assert exported["A"] == {"'~'": "~", '"a b"  # c': "a b", "'$X `x`'": "$X `x`", "\\$X": "$X"}.get(value, value)


def test_what_no_process_can_have_as_a_variable_is_refused():
    [why] = exported_in("../startup.sh", "export A=a\0b\n")[1]
    assert "U+0000" in why
    assert "\0" not in why

    [why] = exported_in("../startup.sh", f"export A={'ä' * 20_000}\n")[1]
    assert "A takes more than 32,000 bytes" in why
    assert len(why) < 1_000


def test_variables_that_double_each_other_are_refused_before_they_fill_the_memory():
    script = "export A0=abcdefgh\n" + "".join(
        f"export A{n}=$A{n - 1}$A{n - 1}$A{n - 1}$A{n - 1}\n" for n in range(1, 40)
    )

    assert "32,000 bytes" in exported_in("../startup.sh", script)[1][0]


def test_many_large_variables_are_refused_together():
    script = "A=" + "x" * 30_000 + "\n" + "".join(f"export B{n}=$A\n" for n in range(10))

    assert exported_in("../startup.sh", script)[1] == [
        "../startup.sh: its variables take more than 200,000 bytes together."
    ]
