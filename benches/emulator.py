"""The local stack's emulator with the meter in front."""

from benches.meter import Meter
from gust.local import emulator

if __name__ == "__main__":
    emulator.main(wrap=Meter)
