"""How many import errors there are after a deployment, also where there are none: an alarm ends with the error."""

from gust.model.measurement import Measurement
from gust.services.context import Services


def measure_import_errors(services: Services) -> None:
    services.metrics.add([Measurement("ImportErrors", len(services.store.list_import_problems()))])
