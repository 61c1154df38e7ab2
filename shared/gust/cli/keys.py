"""`./gust reencrypt` and `./gust rotate-key`: change the keys of a stack, with your own AWS credentials."""

from __future__ import annotations

import argparse
import json
import os
import sys

from gust.cli import aws as cli_aws
from gust.cli.aws import AwsError, Clients, require_stack


class Reencrypt:
    HELP = "encrypt variables and connections with the first key of the stack"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        cli_aws.add_arguments(parser)

    @staticmethod
    def run(options: argparse.Namespace) -> int:
        """Encrypts all settings with the first of the stack's keys (docs/adr/0013)."""
        stack = require_stack(cli_aws.clients(options), options.stack)
        os.environ |= {
            "GUST_TABLE": stack.outputs["TableName"],
            "GUST_BUCKET": stack.outputs["BucketName"],
            "GUST_ENCRYPTION_KEYS": stack.outputs["EncryptionKeys"],
            # `bootstrap` makes its clients from the environment, as in a function.
            **({"AWS_PROFILE": options.profile} if options.profile else {}),
            **({"AWS_DEFAULT_REGION": options.region, "AWS_REGION": options.region} if options.region else {}),
        }
        from gust import bootstrap
        from gust.services.settings.reencrypt_settings import reencrypt_settings

        done = reencrypt_settings(bootstrap.from_environment())
        print(f"Encrypted {done.written} variables, connections, triggers and other values with the first key.")
        for name in done.unreadable:
            print(f"gust: no key decrypts {name}; it was not changed.", file=sys.stderr)
        return 1 if done.unreadable else 0


class RotateKey:
    HELP = "replace the signing key now; users stay signed in"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        cli_aws.add_arguments(parser)

    @staticmethod
    def run(options: argparse.Namespace) -> int:
        return rotate_key(options.stack, cli_aws.clients(options))


def rotate_key(stack: str, aws: Clients) -> int:
    """Make the monthly rotation now: a new signing key in front of the present ones."""
    name = require_stack(aws, stack).name
    answer = aws("lambda").invoke(FunctionName=f"{name}-key-rotation", Payload=b"{}")
    told = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise AwsError(f"The key was not replaced: {told.get('errorMessage', told)}")
    if told["is_new"]:
        print("There is a new key; it signs in ten minutes. Tokens of older keys stay valid.")
    else:
        print("There is a new key already, or another writer replaced the keys at this moment; nothing was changed.")
    return 0
