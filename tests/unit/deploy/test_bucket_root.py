"""plugins.zip and startup.sh at the bucket's root, where MWAA has them."""

import tracemalloc
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile

import pytest

from gust.airflow_bridge.bundle import BundleFolder
from gust.model import bucket_keys
from gust.model.environment import VARIABLES_FILE
from tests.unit.deploy.recording import Recording


def zipped(**files: str) -> bytes:
    body = BytesIO()
    with ZipFile(body, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return body.getvalue()


def with_names(compression: int = ZIP_DEFLATED, **files: str) -> bytes:
    body = BytesIO()
    with ZipFile(body, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return body.getvalue()


def bundle(stack) -> dict[str, str]:
    """What the active bundle holds."""
    with ZipFile(BytesIO(stack.objects.get(bucket_keys.bundle(stack.store.active_bundle().version)))) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def problems(stack) -> dict[str, str]:
    return {problem.filename: problem.stack_trace for problem in stack.store.list_import_problems()}


def test_files_of_plugins_zip_are_plugins_of_the_bundle(stack):
    stack.upload("a.py", "dag a")
    stack.upload("plugins/own.py", "# the folder's")
    stack.objects.put("plugins.zip", zipped(own="# the zip's", deep__more="# more"))
    stack.deploy()

    assert bundle(stack) == {"a.py": "dag a", "plugins/own.py": "# the folder's", "plugins/deep/more.py": "# more"}
    assert not stack.snapshot().changed


def test_changed_plugins_parse_every_file_again_and_unchanged_ones_none(stack):
    stack.upload("a.py", "dag a")
    stack.objects.put("plugins.zip", zipped(p="# 1"))
    stack.deploy()

    stack.upload("b.py", "dag b")
    assert stack.deploy() == ["b.py"]
    assert bundle(stack)["plugins/p.py"] == "# 1"

    stack.objects.put("plugins.zip", zipped(p="# 2"))
    assert stack.deploy() == ["a.py", "b.py"]

    stack.objects.delete(["plugins.zip"])
    stack.deploy()
    assert set(bundle(stack)) == {"a.py", "b.py"}


def test_a_plugins_zip_that_cannot_be_read_is_an_import_error_and_the_last_good_one_stays(stack):
    stack.upload("a.py", "dag a")
    stack.objects.put("plugins.zip", zipped(p="# 1"))
    stack.deploy()

    stack.objects.put("plugins.zip", b"no zip at all")
    stack.upload("a.py", "dag a2")
    stack.deploy()

    assert "cannot be unpacked" in problems(stack)["../plugins.zip"]
    assert bundle(stack) == {"a.py": "dag a2", "plugins/p.py": "# 1"}

    stack.objects.put("plugins.zip", zipped(p="# 3"))
    stack.deploy()
    assert problems(stack) == {}
    assert bundle(stack)["plugins/p.py"] == "# 3"


@pytest.mark.parametrize("compression", [ZIP_DEFLATED, ZIP_LZMA])
def test_a_damaged_plugins_zip_keeps_no_dag_from_being_deployed(stack, compression):
    text = "".join(f"line_{number} = {number * 7919}\n" for number in range(200))
    body = bytearray(with_names(compression, **{"p.py": text}))
    body[60:200] = bytes(140)
    stack.upload("a.py", "dag a")
    stack.objects.put("plugins.zip", bytes(body))

    assert stack.deploy() == ["a.py"]
    assert "cannot be unpacked" in problems(stack)["../plugins.zip"]
    assert not stack.snapshot().changed


def test_a_large_file_of_plugins_zip_takes_little_memory(stack):
    stack.objects.put("plugins.zip", with_names(**{"model.bin": "x" * 40_000_000}))
    tracemalloc.start()
    try:
        stack.snapshot()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.py", "lies outside of it"),
        (".", "lies outside of it"),
        ("a\nb.py", "has a control character"),
        ("a" * 300 + ".py", "takes 303 bytes"),
    ],
)
def test_a_plugins_zip_has_no_name_that_no_disk_takes(stack, name, why):
    stack.objects.put("plugins.zip", with_names(**{name: "dag evil"}))
    stack.deploy()

    assert why in problems(stack)["../plugins.zip"]
    assert bundle(stack) == {}


def test_a_bundle_whose_plugins_have_the_name_of_a_folder_can_be_opened(stack, tmp_path):
    stack.upload("plugins/own", "# a file")
    stack.upload("plugins/deep/more.py", "# in a folder")
    stack.upload(".gust", "# has the name of our folder")
    stack.objects.put("startup.sh", b"export STAGE=test\n")
    stack.objects.put(
        "plugins.zip",
        with_names(**{"own/x.py": "# 1", "deep": "# 2", "both": "# 3", "both/y.py": "# 4", "z.py": "# 5"}),
    )
    stack.deploy()

    BundleFolder(stack.objects, tmp_path / "bundles").fetch(stack.store.active_bundle().version)
    assert set(bundle(stack)) - {VARIABLES_FILE} == {
        "plugins/own",
        "plugins/deep/more.py",
        "plugins/both/y.py",
        "plugins/z.py",
    }


def test_variables_of_the_startup_script_are_the_bundles(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.objects.put("startup.sh", b"export STAGE=test\n")

    assert stack.deploy() == ["a.py"]
    assert bundle(stack)[VARIABLES_FILE] == '{"STAGE": "test"}'
    assert not stack.snapshot().changed


def test_what_is_too_long_for_a_script_is_not_read(stack):
    stack.objects = Recording()
    stack.objects.put("startup.sh", b"#" * 500_000)
    stack.deploy()

    assert "at most 100,000 characters" in problems(stack)["../startup.sh"]
    assert "startup.sh" not in stack.objects.got


def test_a_script_that_does_more_is_an_import_error_and_the_last_good_variables_stay(stack):
    stack.upload("a.py", "dag a")
    stack.objects.put("startup.sh", b"export STAGE=test\n")
    stack.deploy()
    stack.objects.put("startup.sh", b"export STAGE=production\nyum install -y gcc\n")

    assert stack.deploy() == []
    assert problems(stack)["../startup.sh"].startswith("../startup.sh:2: yum install -y gcc: ")
    assert bundle(stack)[VARIABLES_FILE] == '{"STAGE": "test"}'
