"""The store on DynamoDB: `keyspace` says where things lie, `fences` what a write checks, `table` how it is written."""

from gust.store.dynamodb.store import DynamoDBStore

__all__ = ["DynamoDBStore"]
