"""What a deployment uploads: layers, functions and state machines as objects named by their content, and the template that
names them.

It does what `sam build && sam package` do, without SAM, make and Docker. `layers/build.sh` builds a layer, which is named by
a digest of all its inputs: where the bucket has it, nothing is built and nothing uploaded.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gust.cli import layers
from gust.cli.aws import AwsError, Clients
from gust.errors import GustError

LAYERS: Final = {"RuntimeLayer": "runtime", "AirflowLayer": "airflow", "BuilderLayer": "builder", "WebLayer": "web"}
"""Logical id in the template → folder below `layers/`."""

UNPACKED: Final = "unpacked-bytes"
"""Name of an object's metadata."""

_SAM_ALONE: Final = ("BuildMethod", "BuildArchitecture", "WorkingDirectory")
"""Instructions for `sam build` in a layer's Metadata."""


class BuildError(GustError):
    """A layer could not be built; the lines of the build are above."""


Made = tuple[Path, int]
"""A file, and the bytes that it takes unpacked."""


@dataclass(frozen=True, slots=True)
class Package:
    """A file of a deployment."""

    resource: str
    """Logical id."""
    key: str
    make: Callable[[], contextlib.AbstractContextManager[Made]]
    """The file is deleted at the end of the block."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    template: dict[str, Any]
    """`template.yaml` as CloudFormation takes it, each artifact by its place in the bucket."""
    packages: tuple[Package, ...]


def source_template(root: Path) -> dict[str, Any]:
    """`template.yaml` as written. Parsing takes a second."""
    from samtranslator.yaml_helper import yaml_parse

    return dict(yaml_parse((root / "template.yaml").read_text()))


def made_of(root: Path, bucket: str, source: Mapping[str, Any]) -> Artifacts:
    """Reads files and builds nothing. `source`: the template as written."""
    template: dict[str, Any] = copy.deepcopy(dict(source))
    packages: list[Package] = []

    def place(package: Package) -> dict[str, str]:
        packages.append(package)
        return {"Bucket": bucket, "Key": package.key}

    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Serverless::LayerVersion":
                properties["ContentUri"] = place(_layer(name, root, LAYERS[name]))
                for word in _SAM_ALONE:
                    resource.get("Metadata", {}).pop(word, None)
            case "AWS::Serverless::Function":
                properties["CodeUri"] = place(_function(name, root / properties["CodeUri"]))
            case "AWS::Serverless::StateMachine":
                properties["DefinitionUri"] = place(_text(name, root / properties["DefinitionUri"]))
    return Artifacts(template, tuple(packages))


def layers_of_a_worker(root: Path, platform: str) -> tuple[Package, ...]:
    """The layers of template.yaml's worker, for another kind of processor."""
    return tuple(_layer(name, root, LAYERS[name], platform) for name in ("RuntimeLayer", "AirflowLayer"))


def _layer(resource: str, root: Path, name: str, platform: str | None = None) -> Package:
    """`platform`: uv's name of it; without one that of LAYER_PLATFORM, or Lambda's arm64."""
    digest = layers.digest_of(root, name, platform=platform)

    @contextlib.contextmanager
    def make() -> Iterator[Made]:
        with tempfile.TemporaryDirectory(prefix=f"gust-layer-{name}-") as place:
            folder = Path(place) / "layer"
            folder.mkdir()
            _build(root, name, folder, {"LAYER_PLATFORM": platform} if platform else {})
            size = layers.size_of(folder)
            archive = Path(place) / "layer.zip"
            with archive.open("wb") as file:
                zip_folder(folder, file)
            shutil.rmtree(folder)  # the disk need not hold both while it is uploaded
            yield archive, size

    return Package(resource, f"layers/{name}-{digest}.zip", make)


def _build(root: Path, name: str, folder: Path, variables: Mapping[str, str]) -> None:
    """Runs the layer's script with the tools of this environment first on the PATH: uv, and Lambda's Python."""
    tools = [str(Path(sys.executable).parent), *([python] if (python := _python_of_lambda()) else [])]
    path = os.pathsep.join([*tools, os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        ["sh", str(root / "layers/build.sh"), name, str(folder)],  # noqa: S607
        env=os.environ | {"PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
        raise BuildError(f"Layer {name} could not be built, see above. Nothing was deployed.")


def _python_of_lambda() -> str | None:
    """The folder of a Python 3.12, which compiles the layers' modules; uv fetches one if this machine has none."""
    if platform.python_version_tuple()[:2] == ("3", "12"):
        return None
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        return None
    for words in (["find"], ["install"], ["find"]):
        said = subprocess.run([uv, "python", *words, "3.12"], capture_output=True, text=True, check=False)
        if words == ["find"] and said.returncode == 0:
            return str(Path(said.stdout.strip()).parent)
    return None


def _function(resource: str, folder: Path) -> Package:
    if not folder.is_dir():
        raise AwsError(f"template.yaml names {folder}, which is not there.")
    buffer = io.BytesIO()
    zip_folder(folder, buffer, is_source=True)
    return _of_bytes(resource, f"functions/{folder.name}", buffer.getvalue(), ".zip")


def _text(resource: str, file: Path) -> Package:
    return _of_bytes(resource, f"statemachines/{file.name.partition('.')[0]}", file.read_bytes(), ".json")


def _of_bytes(resource: str, name: str, content: bytes, suffix: str) -> Package:
    @contextlib.contextmanager
    def make() -> Iterator[Made]:
        with tempfile.NamedTemporaryFile(prefix="gust-artifact-") as file:
            file.write(content)
            file.flush()
            yield Path(file.name), len(content)

    return Package(resource, f"{name}-{hashlib.sha256(content).hexdigest()}{suffix}", make)


def zip_folder(folder: Path, into: Any, *, is_source: bool = False) -> None:
    """The same bytes for the same files, whenever they were written. Every file can be read by every user, as Lambda's
    needs; commands stay commands. `is_source`: bytecode of this machine stays behind."""
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if not file.is_file() or (is_source and "__pycache__" in file.parts):
                continue
            entry = zipfile.ZipInfo(str(file.relative_to(folder)))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.stat().st_mode & 0o100 else 0o644) << 16
            archive.writestr(entry, file.read_bytes())


# --- the bucket -------------------------------------------------------------------------------------------------------


def bucket_name(account: str, region: str) -> str:
    return f"gust-artifacts-{account}-{region}"


def require_bucket(aws: Clients, name: str, account: str) -> bool:
    """Create the bucket for artifacts if this account has none; returns whether it did. Raises AwsError where another
    account has the name."""
    from botocore.exceptions import ClientError

    s3 = aws("s3")
    try:
        s3.head_bucket(Bucket=name, ExpectedBucketOwner=account)
    except ClientError as refused:
        status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 403:
            raise AwsError(
                f"you may not use the bucket {name}, or another account has it; --artifacts names another."
            ) from refused
        if status != 404:
            raise
    else:
        return False
    region = s3.meta.region_name
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **where)
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=closed)
    return True


def upload(
    aws: Clients, bucket: str, account: str, packages: Iterable[Package], say: Callable[[str], None]
) -> dict[str, int]:
    """Make and upload what the bucket does not have; returns what each takes unpacked, in bytes, by logical id."""
    s3 = aws("s3")
    sizes = {package.resource: _size(s3, bucket, package.key, account) for package in packages}
    missing = [package for package in packages if sizes[package.resource] is None]
    for number, package in enumerate(missing, start=1):
        name = package.key.rpartition("-")[0]
        if name.startswith("layers/"):
            say(f"[{number}/{len(missing)}] building {name} …")
        with package.make() as (file, unpacked):
            say(f"[{number}/{len(missing)}] uploading {name}, {file.stat().st_size / 2**20:.1f} MB …")
            extra = {"ExpectedBucketOwner": account, "Metadata": {UNPACKED: str(unpacked)}}
            s3.upload_file(str(file), bucket, package.key, ExtraArgs=extra)
            sizes[package.resource] = unpacked
    return {name: size or 0 for name, size in sizes.items()}


def put_template(aws: Clients, bucket: str, account: str, template: Mapping[str, Any]) -> str:
    """Store the template under its hash; returns its URL."""
    body = json.dumps(template, separators=(",", ":"), default=str).encode()
    key = f"templates/{hashlib.sha256(body).hexdigest()}.json"
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key=key, Body=body, ExpectedBucketOwner=account)
    return f"{s3.meta.endpoint_url}/{bucket}/{key}"


def _size(s3: Any, bucket: str, key: str, account: str) -> int | None:
    """Bytes that the package takes unpacked; `None` if the bucket does not have it."""
    from botocore.exceptions import ClientError

    try:
        found = s3.head_object(Bucket=bucket, Key=key, ExpectedBucketOwner=account)
    except ClientError as refused:
        if refused.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    return int(found["Metadata"].get(UNPACKED, found["ContentLength"]))
