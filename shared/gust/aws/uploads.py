"""Messages about the DAG folder, which AWS writes itself: S3 after an upload or removal, EventBridge after a change of
Airflow's options."""

from __future__ import annotations

import json
from typing import Any


def is_upload(body: str) -> bool:
    """Whether the message says that there may be something to deploy. S3's test message, with which a new notification
    begins, counts: files may have come before it."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    match found:
        case {"Records": [{"eventSource": "aws:s3"}, *_]} | {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            return True
        case {"source": "aws.ssm", "detail-type": "Parameter Store Change"}:
            return True
    return False
