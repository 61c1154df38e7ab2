"""DynamoDB, and a twin in memory that passes the same contract suite."""
