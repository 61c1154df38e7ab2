"""The emulator's process on a MiniStack that lacks a name."""

from gust.local import emulator


def main() -> None:
    from ministack.services import sqs

    del sqs._queues
    emulator.main()


if __name__ == "__main__":
    main()
