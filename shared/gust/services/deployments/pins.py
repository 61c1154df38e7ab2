"""The versions that Airflow's packages have in the layers: no environment moves one of them."""

import re
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import gust

PACKED: Final = Path(gust.__file__).parent / "PINS"
"""The file in a layer; `layers/build.sh` writes it."""

LOCKS: Final = ("layer-airflow.txt", "layer-runtime.txt")
"""The files in a checkout, below `requirements/`."""

NOT_SHIPPED: Final = frozenset({"uvloop", "httptools", "grpcio", "opentelemetry-exporter-otlp-proto-grpc"})
"""Locked, but `layers/build.sh` drops them from the layer: an environment that needs one brings it, as locked."""

FLOORS: Final = ("snowflake-sqlalchemy>=2.1",)
"""Constraints on packages that Airflow does not bring, whose older versions promise to work with Airflow's packages and
cannot even be imported beside them. Resolvers go back to such versions to keep a newer one of another package."""

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)( ; [^\\]+)?")


@cache
def pins() -> tuple[str, ...]:
    """`name==version ; marker` of each, sorted."""
    if PACKED.exists():
        return tuple(PACKED.read_text().splitlines())
    locks = Path(gust.__file__).parents[2] / "requirements"
    return pins_in(line for lock in LOCKS for line in (locks / lock).read_text().splitlines())


def pins_in(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({found[0].strip() for line in lines if (found := _PIN.match(line))}))


@cache
def constraints() -> tuple[str, ...]:
    """What no environment may contradict."""
    return (*pins(), *FLOORS)


@cache
def digest() -> str:
    return sha256("\n".join(constraints()).encode()).hexdigest()


@cache
def names() -> frozenset[str]:
    """Normalized names of the packages that the layers have."""
    return frozenset(normalized(pin.split("==")[0]) for pin in pins()) - NOT_SHIPPED


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
