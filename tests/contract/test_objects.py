"""The bucket: S3 and its twin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gust.aws.memory import MemoryObjects
from gust.aws.objects import S3Objects
from gust.errors import Forbidden, NotFound, ServiceUnavailable
from gust.ports.objects import Objects
from tests.contract.given import NOW
from tests.contract.stores import Aws


@pytest.fixture
def bucket(aws: Aws) -> Iterator[str]:
    name = f"gust-{uuid4().hex}"
    aws.s3.create_bucket(Bucket=name)
    yield name
    S3Objects(name, aws.s3).delete(S3Objects(name, aws.s3).list(""))
    aws.s3.delete_bucket(Bucket=name)


@pytest.fixture(params=["memory", "s3"])
def objects(request: pytest.FixtureRequest) -> Objects:
    if request.param == "memory":
        return MemoryObjects()
    aws: Aws = request.getfixturevalue("aws")
    return S3Objects(request.getfixturevalue("bucket"), aws.s3)


def test_an_object_is_read_as_it_was_written(objects: Objects) -> None:
    objects.put("dags/a b/ü.py", b"\x00one", content_type="text/x-python")
    objects.put("dags/a b/ü.py", b"\x00two")
    assert objects.get("dags/a b/ü.py") == b"\x00two"
    assert objects.exists("dags/a b/ü.py")


def test_what_is_not_there(objects: Objects) -> None:
    assert not objects.exists("no")
    assert objects.list("") == {}
    with pytest.raises(NotFound):
        objects.get("no")


def test_content_addressed_objects_are_written_once(objects: Objects) -> None:
    objects.put_once("specs/1.json", b"first")
    objects.put_once("specs/1.json", b"second")
    assert objects.get("specs/1.json") == b"first"


@pytest.mark.parametrize("folder", ["specs", "serialized", "sources"])
def test_what_is_not_what_its_name_says_is_not_there(objects: Objects, folder: str) -> None:
    key = f"{folder}/{hashlib.sha256(b'true').hexdigest()}.json"
    objects.put(key, b"true")
    assert objects.get(key) == b"true"
    objects.put(key, b"forged")
    with pytest.raises(NotFound, match="does not match the hash in its key"):
        objects.get(key)


def test_a_file_goes_up_and_comes_down_in_chunks(objects: Objects) -> None:
    body = bytes(range(256)) * 10_000
    with TemporaryFile() as file:
        file.write(body)
        objects.put_once("large", file)
    with TemporaryFile() as file:
        objects.put_once("large", file)
        objects.download("large", file)
        file.seek(0)
        assert file.read() == body
    assert objects.entries("la")["large"].size == len(body)
    with TemporaryFile() as file, pytest.raises(NotFound):
        objects.download("nowhere", file)


def test_a_list_tells_the_hash_of_the_content(objects: Objects) -> None:
    for key in ("dags/b.py", "dags/a.py", "dagsx/c.py", "other"):
        objects.put(key, key.encode())
    assert list(objects.list("dags/")) == ["dags/a.py", "dags/b.py"]
    assert objects.list("dags/a.py") == {"dags/a.py": hashlib.md5(b"dags/a.py", usedforsecurity=False).hexdigest()}


def test_deleting_what_is_not_there_is_no_error(objects: Objects) -> None:
    objects.put("a", b"1")
    objects.put("b", b"2")
    objects.delete(["a", "no"])
    objects.delete([])
    assert list(objects.list("")) == ["b"]


# --- what S3 does half ------------------------------------------------------------------------------------------------


class Wire:
    """An S3 client that answers what it is told to, and passes the rest on."""

    def __init__(self, client: Any, **answers: list[Any]) -> None:
        self._client = client
        self._answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        def ask(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            prepared = self._answers.get(operation)
            if not prepared:
                return getattr(self._client, operation)(**arguments)
            answer = prepared.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def refusal(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


def test_every_page_of_a_list_is_read(aws: Aws, bucket: str) -> None:
    first, second = ({"Key": key, "ETag": f'"{tag}"', "Size": 1, "LastModified": NOW} for key, tag in ("a1", "b2"))
    pages = [
        {"Contents": [first], "IsTruncated": True, "NextContinuationToken": "t"},
        {"Contents": [second], "IsTruncated": False},
    ]
    wire = Wire(aws.s3, list_objects_v2=pages)
    assert S3Objects(bucket, wire).list("") == {"a": "1", "b": "2"}
    assert wire.asked[1][1]["ContinuationToken"] == "t"


def test_more_keys_than_one_request_takes_are_deleted(aws: Aws, bucket: str) -> None:
    wire = Wire(aws.s3)
    S3Objects(bucket, wire).delete(f"k{n}" for n in range(1001))
    assert [len(asked["Delete"]["Objects"]) for _, asked in wire.asked] == [1000, 1]


def test_objects_that_stay_are_told_of(aws: Aws, bucket: str) -> None:
    wire = Wire(aws.s3, delete_objects=[{"Errors": [{"Key": "a", "Code": "InternalError"}]}])
    with pytest.raises(ServiceUnavailable, match="InternalError"):
        S3Objects(bucket, wire).delete(["a"])


def test_writers_of_one_new_key_race_to_the_end(aws: Aws, bucket: str) -> None:
    wire = Wire(aws.s3, put_object=[refusal("ConditionalRequestConflict", 409)])
    S3Objects(bucket, wire).put_once("a", b"1")
    assert S3Objects(bucket, aws.s3).get("a") == b"1"
    wire = Wire(aws.s3, put_object=[refusal("ConditionalRequestConflict", 409)] * 100)
    with pytest.raises(ServiceUnavailable):
        S3Objects(bucket, wire).put_once("a", b"1")


@pytest.mark.parametrize("error", [refusal("InternalError", 500), EndpointConnectionError(endpoint_url="x")])
def test_a_bucket_that_does_not_answer_is_unwell(aws: Aws, bucket: str, error: Exception) -> None:
    with pytest.raises(ServiceUnavailable):
        S3Objects(bucket, Wire(aws.s3, put_object=[error])).put("a", b"1")


def test_what_is_forbidden_is_not_taken_for_missing(aws: Aws, bucket: str) -> None:
    wire = Wire(aws.s3, head_object=[refusal("403", 403)], get_object=[refusal("AccessDenied", 403)])
    with pytest.raises(ClientError):
        S3Objects(bucket, wire).exists("a")
    with pytest.raises(Forbidden) as denied:
        S3Objects(bucket, wire).get("a")
    assert str(denied.value) == (
        "S3 denies access to 'a'. A role without s3:ListBucket gets the same answer for a missing object. "
        "An error occurred (AccessDenied) when calling the PutObject operation: AccessDenied"
    )
