"""Bundles on this machine: fetched once per cold start and version, unpacked, and shown to Airflow as a DAG bundle."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion, get_bundle_versions_base_folder

from gust.errors import TryLost


class BundleUnusable(TryLost):
    """The bundle's archive is missing or broken."""


class GustBundle(BaseDagBundle):
    """The folder that `fetch_bundle` unpacked. Airflow asks for it by version; it never changes."""

    supports_versioning = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.version is None:
            raise ValueError("A bundle is known by its version alone")

    @property
    def path(self) -> Path:
        return bundle_path(self.name, str(self.version))

    def get_current_version(self) -> BundleVersion:
        return BundleVersion(version=str(self.version))

    def refresh(self) -> None:
        """Nothing to do: a version is immutable."""


def bundle_path(name: str, version: str) -> Path:
    return Path(get_bundle_versions_base_folder(name)) / version


def fetch_bundle(name: str, version: str, read: Callable[[str], bytes]) -> Path:
    """The unpacked bundle, fetched through `read(key)` unless it is here already.

    Unpacks beside its place and renames, so that a crash or a second process never shows half a bundle.
    Raises BundleUnusable if the archive is broken, and whatever `read` raises."""
    target = bundle_path(name, version)
    if target.is_dir():
        return target
    body = read(f"bundles/{version}.zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    unpacked = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            archive.extractall(unpacked)
        unpacked.chmod(0o755)
        unpacked.rename(target)
    except zipfile.BadZipFile as error:
        raise BundleUnusable(f"Bundle {version} is not a zip archive: {error}") from error
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return target
