"""Timetables of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from gust.errors import NotSupportedYet
from gust.model.dag_spec import TimetableSpec
from gust.model.state import DagRunType
from gust.scheduling.timetable import DataInterval, NextRun, Restriction


class Timetables(Protocol):
    """Timetables, deadline references and partition mappers of plugins. The parser evaluates them, because their code must
    not run elsewhere. `bundle_version` names the bundle whose `plugins/` they come from, `file` the DAG's file in it, whose
    folder's `requirements.txt` may bring others (by default that of the DAG folder itself). Raises BadRequest with what the
    plugin raised, ServiceUnavailable where the parser does not answer."""

    def next_run(
        self,
        spec: TimetableSpec,
        bundle_version: str | None,
        *,
        file: str = "",
        last: NextRun | None,
        allowed: Restriction,
    ) -> NextRun | None:
        """The DAG's next run after `last`; `None` if there is none."""

    def runs_between(
        self, spec: TimetableSpec, bundle_version: str | None, *, file: str = "", earliest: datetime, latest: datetime
    ) -> list[NextRun]:
        """The runs that the timetable makes between the two moments."""

    def manual_interval(
        self, spec: TimetableSpec, bundle_version: str | None, *, file: str = "", run_after: datetime
    ) -> DataInterval:
        """The data interval of a manual run."""

    def run_id(
        self, spec: TimetableSpec, bundle_version: str | None, *, file: str = "", run_type: DagRunType, run: NextRun
    ) -> str:
        """The id of a run of this type, moment and data interval."""

    def deadline(
        self, reference: Mapping[str, Any], bundle_version: str | None, *, file: str = "", dag_id: str, run_id: str
    ) -> datetime | None:
        """The moment that a plugin's deadline reference refers to, for this run; `None` if it has none."""
        ...

    def partition_mapper(
        self, mapper: Mapping[str, Any], bundle_version: str | None, question: Mapping[str, Any], *, file: str = ""
    ) -> Any:
        """The answer of a plugin's partition mapper (or of one that contains such a mapper). `question` is one of
        `downstream_keys` (key), `carried_date` (date), `is_satisfied` (key, received) and `date_of` (key); dates are
        text."""
        ...


class NoTimetables:
    """For functions that cannot ask the parser."""

    def next_run(self, spec: TimetableSpec, *_: Any, **__: Any) -> NextRun | None:
        raise self._refusal(spec)

    def runs_between(self, spec: TimetableSpec, *_: Any, **__: Any) -> list[NextRun]:
        raise self._refusal(spec)

    def manual_interval(self, spec: TimetableSpec, *_: Any, **__: Any) -> DataInterval:
        raise self._refusal(spec)

    def run_id(self, spec: TimetableSpec, *_: Any, **__: Any) -> str:
        raise self._refusal(spec)

    @staticmethod
    def _refusal(spec: TimetableSpec) -> NotSupportedYet:
        return NotSupportedYet(f"The timetable {spec.type} comes from a plugin, and no plugin can be asked here")

    def deadline(self, reference: Mapping[str, Any], *_: Any, **__: Any) -> datetime | None:
        raise NotSupportedYet(f"{reference['__class_path']} comes from a plugin, and no plugin can be asked here")

    def partition_mapper(self, mapper: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        raise NotSupportedYet(f"{mapper['__type']} comes from a plugin, and no plugin can be asked here")
