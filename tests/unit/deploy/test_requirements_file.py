"""What a requirements.txt asks for, and what of it is refused by name."""

import pytest

from gust.services.deployments.requirements_file import read_requirements


def read(files: dict[str, str] | str, path: str = "team/requirements.txt"):
    texts = {path: files} if isinstance(files, str) else files
    return read_requirements(path, texts.get)


def test_takes_requirements_as_pip_writes_them():
    found = read(
        "# what team needs\n"
        "pandas>=2 ; python_version >= '3.11'  # the frame\n"
        "\n"
        "requests[socks] \\\n"
        "    ==2.34.2\n"
        "cowsay @ https://files.example.com/cowsay-6.1-py3-none-any.whl\n"
    )

    assert found.refused == []
    assert found.requirements == [
        "pandas>=2 ; python_version >= '3.11'",
        "requests[socks]      ==2.34.2",
        "cowsay @ https://files.example.com/cowsay-6.1-py3-none-any.whl",
    ]


def test_follows_the_files_that_it_names():
    found = read(
        {
            "team/requirements.txt": "-r more/these.txt\n--constraint '../constraints.txt'\npandas\n",
            "team/more/these.txt": "cowsay\n-c /usr/local/airflow/dags/mwaa.txt\n-r ../requirements.txt\n",
            "constraints.txt": "numpy<2\n",
            "mwaa.txt": "six==1.16\n",
        }
    )

    assert found.refused == []
    assert found.requirements == ["cowsay", "pandas"]
    assert found.constraints == ["six==1.16", "numpy<2"]


def test_constraints_come_from_an_address_as_in_files_for_mwaa():
    found = read('--constraint "https://example.com/constraints-3.12.txt"\npandas\n')

    assert found.constraint_urls == ["https://example.com/constraints-3.12.txt"]
    assert found.refused == []


def test_indexes_are_passed_on():
    found = read("-i https://a.example.com/simple\n--extra-index-url=https://${USER}:${KEY}@b.example.com/simple\nx\n")

    assert found.options == [
        "--index-url https://a.example.com/simple",
        "--extra-index-url https://${USER}:${KEY}@b.example.com/simple",
    ]


def test_hashes_are_kept_for_the_builder():
    found = read("cowsay==6.1 --hash=sha256:aa11 \\\n  --hash=sha256:bb22\n")

    assert found.requirements == ["cowsay==6.1"]
    assert found.hashes == {"cowsay": ("sha256:aa11", "sha256:bb22")}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("git+https://example.com/a.git", "not built from version control"),
        ("a @ git+ssh://git@example.com/a.git@main", "not built from version control"),
        ("-e ./here", "nothing to edit"),
        ("./wheels/a-1.0-py3-none-any.whl", "not installed from a path"),
        ("a @ https://example.com/a-1.0.tar.gz", "only wheels"),
        ("a @ http://example.com/a-1.0-py3-none-any.whl", "only wheels"),
        ("https://example.com/a-1.0.tar.gz", "only wheels"),
        ("file:///etc/passwd", "only wheels"),
        ("--index-url http://127.0.0.1:9001/", "https alone"),
        ("--find-links /var/task", "https alone"),
        ("-r /proc/self/environ", "only files of the DAG folder"),
        ("-r ../../../secrets.txt", "only files of the DAG folder"),
        ("-r missing.txt", "team/missing.txt is not in the folder"),
        ("-r https://example.com/r.txt", "only constraints"),
        ("--no-binary :all:", "not supported"),
        ("a --config-settings x=y", "--hash alone"),
        ("a @ https://[your-host]/a-1.0-py3-none-any.whl", "no address"),
        ("--index-url https://[your-host]/simple", "no address"),
        ("-c https://[your-host]/constraints.txt", "no address"),
    ],
)
def test_refuses_by_name(line, why):
    found = read(f"cowsay\n{line}\n")

    assert len(found.refused) == 1
    assert found.refused[0].startswith("team/requirements.txt:2: " + line)
    assert why in found.refused[0]
    assert found.requirements == ["cowsay"]


def test_a_changed_comment_is_another_source():
    assert read("cowsay # 1\n").sources != read("cowsay # 2\n").sources
    assert read("cowsay\n").sources == read("cowsay\n").sources
