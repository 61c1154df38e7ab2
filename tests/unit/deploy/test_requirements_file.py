"""What a requirements.txt asks for, and what of it is refused by name."""

import pytest

from gust.services.deployments.requirements_file import read_requirements, text_of


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
        "requests[socks]     ==2.34.2",
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
        ("-r", "names no file"),
        ("--requirement=", "names no file"),
        ("-ehttps://example.com/a.git", "nothing to edit"),
        ("-e git+https://example.com/a.git#egg=a", "nothing to edit"),
        ("git@github.com:team/a.git", "not built from version control"),
        ("svn+https://example.com/a", "not built from version control"),
        ("--extra-index-url", "https alone"),
        ("--index-url file:///opt/simple", "https alone"),
        ("--index-url https://a.example.com/simple https://b.example.com/simple", "not supported"),
        ("--trusted-host example.com", "not supported"),
        ("--pre", "not supported"),
        ("--no-index", "not supported"),
        ("--index-url 'https://a.example.com", "No closing quotation"),
        ("a --global-option=x", "--hash alone"),
        ("a --install-option='--prefix=/opt'", "--hash alone"),
        ("a-1.0.tgz", "not installed from a path"),
        ("file:wheels/a-1.0-py3-none-any.whl", "not installed from a path"),
        (".\\wheels\\a-1.0-py3-none-any.whl", "not installed from a path"),
        ("C:\\wheels\\a-1.0-py3-none-any.whl", "not installed from a path"),
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


TEXT = "# für das Team\npandas>=2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_reads_the_encodings_that_editors_on_windows_write(encoding):
    assert text_of(TEXT.encode(encoding)) == TEXT
    assert text_of(b"\xfe\xff" + TEXT.encode("utf-16-be")) == TEXT


def test_bytes_that_are_no_utf8_matter_only_where_they_are_part_of_a_requirement():
    assert read(text_of("# für das Team\npandas>=2\n".encode("latin-1"))).requirements == ["pandas>=2"]


def test_utf16_without_its_mark_is_refused_in_words():
    found = read(text_of("pandas\n".encode("utf-16-le")))

    assert found.requirements == []
    assert "Save the file as UTF-8." in found.refused[0]
    assert "\x00" not in "".join(found.refused)


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("pandas\r\ncowsay\r\n", ["pandas", "cowsay"]),
        ("pandas\rcowsay", ["pandas", "cowsay"]),
        ("pandas \\\r\n  >=2\r\n", ["pandas   >=2"]),
        ("pan\\\ndas", ["pandas"]),
        ("pandas \\\n# why\ncowsay\n", ["pandas", "cowsay"]),
        ("pandas # why \\\ncowsay\n", ["pandas"]),
        ("pandas \\", ["pandas"]),
        ("   pandas\t\n\n\t\n#\n", ["pandas"]),
        ("pandas#2\n", ["pandas#2"]),
        ("a @ https://x.example.com/a.whl#sha256=ab\n", ["a @ https://x.example.com/a.whl#sha256=ab"]),
        ("pandas ; python_version < '3'\n", ["pandas ; python_version < '3'"]),
        ("pandas[excel, aws]>=2,<3 ; extra == 'x'\n", ["pandas[excel, aws]>=2,<3 ; extra == 'x'"]),
    ],
)
def test_lines_are_pips(text, requirements):
    found = read(text)

    assert (found.requirements, found.refused) == (requirements, [])


def test_a_line_may_have_several_options():
    found = read("-ihttps://a.example.com/simple --extra-index-url 'https://b.example.com/simple' --prefer-binary\nx\n")

    assert found.refused == []
    assert found.options == [
        "--index-url https://a.example.com/simple",
        "--extra-index-url https://b.example.com/simple",
    ]


@pytest.mark.parametrize("line", ["--only-binary :all:", "--only-binary=pandas", "--prefer-binary", "--require-hashes"])
def test_options_without_effect_are_accepted(line):
    found = read(f"{line}\npandas\n")

    assert (found.requirements, found.refused, found.options) == (["pandas"], [], [])


def test_a_file_may_hold_requirements_and_constraints():
    found = read({"team/requirements.txt": "-c all.txt\n-r all.txt\n", "team/all.txt": "numpy<2\n"})

    assert (found.requirements, found.constraints, found.refused) == (["numpy<2"], ["numpy<2"], [])


def test_constraints_may_name_further_ones_and_themselves():
    found = read(
        {
            "team/requirements.txt": "-c one.txt\n-c gone.txt\npandas\n",
            "team/one.txt": "numpy<2\n-c two.txt\n",
            "team/two.txt": "-r one.txt\nsix<2\n",
        }
    )

    assert found.constraints == ["numpy<2", "six<2"]
    assert found.refused == ["team/requirements.txt:2: -c gone.txt: team/gone.txt is not in the folder."]


def test_a_package_has_the_hashes_of_all_its_lines():
    found = read(
        "numpy==1.26 ; python_version < '3.12' --hash=sha256:aa\nnumpy==2.1 ; python_version >= '3.12' --hash=sha256:bb\n"
    )

    assert found.hashes == {"numpy": ("sha256:aa", "sha256:bb")}
