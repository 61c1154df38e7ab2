"""Credentials of a task's AWS role; Gust's own."""

from gust.execution_api.datamodels.base import moment
from gust.model.task_role import AwsCredentials


def credentials_response(given: AwsCredentials) -> dict[str, str | None]:
    """As AWS's SDKs expect them from a container's credentials endpoint."""
    return {
        "RoleArn": given.role,
        "AccessKeyId": given.access_key_id,
        "SecretAccessKey": given.secret_access_key,
        "Token": given.session_token,
        "Expiration": moment(given.expires_at),
    }
