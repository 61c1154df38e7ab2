"""One of the stack's keys, as SSM keeps it: a SecureString of the Parameter Store.

A parameter has numbered versions, but SSM writes without a condition. So a writer that read version 4 and has written
version 6 knows that version 5 came in between (docs/adr/0052).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

AWS_KEY: Final = "alias/aws/ssm"
"""AWS's own key for the Parameter Store, which costs nothing to have."""


LARGEST: Final = 4096
"""Characters of a standard parameter, which SSM keeps for nothing."""


class KeyText(NamedTuple):
    text: str
    version: int


class KeyParameter:
    """`client` is SSM's, `kms_key` the ARN of the operator's key that encrypts the parameter; empty: AWS's own."""

    def __init__(self, name: str, client: Any, kms_key: str = "") -> None:
        self._name = name
        self._client = client
        self._kms_key = kms_key or AWS_KEY

    def read(self, version: int | None = None) -> KeyText:
        """The current text, or that of a version."""
        name = self._name if version is None else f"{self._name}:{version}"
        found = self._client.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        return KeyText(str(found["Value"]), int(found["Version"]))

    def create(self, text: str) -> bool:
        """False: there is one already; it stays as it is."""
        try:
            self._put(text, overwrite=False)
        except self._client.exceptions.ParameterAlreadyExists:
            return False
        return True

    def replace(self, text: str) -> int:
        """Returns the version written."""
        return self._put(text, overwrite=True)

    def exchange(self, seen: KeyText, text: str) -> bool:
        """Replace what was read as `seen`. False: another writer came in between, and its text is in force again."""
        expected, is_ours = seen.version + 1, True
        while (written := self.replace(text)) != expected:
            text, expected, is_ours = self.read(written - 1).text, written + 1, False
        return is_ours

    def remove(self) -> None:
        """Does nothing where there is none."""
        self._client.delete_parameters(Names=[self._name])

    def _put(self, text: str, *, overwrite: bool) -> int:
        written = self._client.put_parameter(
            Name=self._name,
            Value=text,
            Type="SecureString",
            Tier="Standard",
            KeyId=self._kms_key,
            Overwrite=overwrite,
        )
        return int(written["Version"])
