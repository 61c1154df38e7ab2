"""The command line: local, test, bench, deploy."""
