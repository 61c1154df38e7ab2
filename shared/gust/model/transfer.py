"""How bodies that do not fit into an invocation of a Lambda function (6 MB) pass between worker and execution API.

The sender stores the body in the bucket under a random name (`bucket_keys.transfer`) and sends the key in `HEADER` in its
place; the receiver fetches it as the body. Requests and answers alike. A lifecycle rule of the bucket deletes old objects.
"""

from typing import Final

HEADER: Final = "x-gust-body-object"
LIMIT: Final = 2_000_000
"""Characters up to which a body is sent directly. Well below Lambda's limit, because the event escapes the body."""
