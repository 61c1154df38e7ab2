"""The store on DynamoDB: `keyspace` defines the keys, `fences` the conditions, `table` the calls."""

from gust.store.dynamodb.store import DynamoDBStore

__all__ = ["DynamoDBStore"]
