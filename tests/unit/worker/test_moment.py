"""What a module asks for while it is imported, as Python's bytecode tells it."""

from __future__ import annotations

import pytest

from gust.airflow_bridge.moment import asks


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\nTODAY = datetime.date.today()",
        "import datetime\ndef f(day=datetime.date.today()): pass",
        "from datetime import datetime as dt\nYEAR = f'{dt.now():%Y}'",
        "import pendulum\nFROM = pendulum.now('UTC').subtract(days=1)",
        "from pendulum import now\nNOW = now()",
        "import time\nBEGAN = time.time()",
        "import os\nTOKEN = os.urandom(8).hex()",
        "from uuid import uuid4\nclass Session:\n    class Own:\n        ID = str(uuid4())",
        "import uuid\nif True:\n    for _ in '1':\n        ID = uuid.uuid1()",
    ],
)
def test_a_value_of_the_moment_of_its_import(source: str) -> None:
    assert asks(compile(source, "module.py", "exec"))


@pytest.mark.parametrize(
    "source",
    [
        "import time, datetime\nfrom uuid import uuid4\nfrom pendulum import now",
        "import datetime\ndef today():\n    return datetime.date.today()",
        "import datetime\nlater = lambda: datetime.datetime.now()",
        "from uuid import uuid4\nclass Row:\n    make = uuid4\n    def f(self): return uuid4()",
        "import dataclasses as d, datetime as t\nclass Row:\n    at: object = d.field(default_factory=t.datetime.now)",
        "NAMES = ['now', 'today']\nclass now: pass",
    ],
)
def test_what_is_asked_when_it_is_called(source: str) -> None:
    assert not asks(compile(source, "module.py", "exec"))
