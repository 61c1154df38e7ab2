"""Whether an instance's upstreams let it run: Airflow's 13 trigger rules over counts of upstream instances.

`evaluate` decides in two steps. First `_certain_end`: do the counts already rule out that the instance runs? Then it is
skipped, upstream_failed or removed, perhaps before all upstreams have finished. If not, `_missing`: what does the rule
still wait for? With nothing missing, the instance may run.

Rules: `airflow/ti_deps/deps/trigger_rule_dep.py` of 3.3.2, read and compared with it by test. Easy to get wrong:
- A mapped upstream counts with all its instances, one not expanded yet with one unfinished instance.
- `removed` instances are neither successes nor failures, but are done.
- `one_done` wants a success or a failure; `upstream_failed` and `skipped` are done but are not that.
- `all_done_min_one_success` treats a skipped upstream as one that will never be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from gust.model.state import TaskInstanceState as S
from gust.model.state import TriggerRule
from gust.scheduling.dependency import Dependency


class Verdict(Enum):
    WAIT = auto()
    RUN = auto()
    SKIP = auto()
    UPSTREAM_FAIL = auto()
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class Evaluation:
    verdict: Verdict
    reason: str
    """Why, as the API and the web UI show it."""
    dependency: Dependency = Dependency.TRIGGER_RULE
    """The kind of the reason."""


@dataclass(frozen=True, slots=True)
class UpstreamCounts:
    """How many upstream instances there are, and how many ended in each state."""

    total: int = 0
    success: int = 0
    skipped: int = 0
    failed: int = 0
    upstream_failed: int = 0
    removed: int = 0
    setups: int = 0
    """How many of `total` are instances of setup tasks; they are in the other numbers too."""
    setups_success: int = 0
    setups_skipped: int = 0

    @classmethod
    def of(
        cls,
        states: Mapping[S | None, int],
        setup_states: Mapping[S | None, int] | None = None,
        *,
        total: int | None = None,
        setups_total: int | None = None,
    ) -> UpstreamCounts:
        """The counts from a number of instances for each state; `setup_states` counts the instances of setups among them.

        `total` and `setups_total` are given if instances have been added since the states were counted.
        """
        setups = setup_states or {}
        return cls(
            total=sum(states.values()) if total is None else total,
            success=states.get(S.SUCCESS, 0),
            skipped=states.get(S.SKIPPED, 0),
            failed=states.get(S.FAILED, 0),
            upstream_failed=states.get(S.UPSTREAM_FAILED, 0),
            removed=states.get(S.REMOVED, 0),
            setups=sum(setups.values()) if setups_total is None else setups_total,
            setups_success=setups.get(S.SUCCESS, 0),
            setups_skipped=setups.get(S.SKIPPED, 0),
        )

    @property
    def done(self) -> int:
        return self.success + self.skipped + self.failed + self.upstream_failed + self.removed

    @property
    def all_done(self) -> bool:
        return self.done >= self.total

    def __str__(self) -> str:
        parts = [
            f"{count} {name}"
            for name, count in (
                ("success", self.success),
                ("failed", self.failed),
                ("upstream_failed", self.upstream_failed),
                ("skipped", self.skipped),
                ("removed", self.removed),
                ("not finished", self.total - self.done),
            )
            if count > 0
        ]
        return ", ".join(parts) or "no instances"


def evaluate(rule: TriggerRule, upstream: UpstreamCounts, *, map_index: int = -1) -> Evaluation:
    """The rule's verdict for an instance with at least one upstream task."""
    if rule is TriggerRule.ALWAYS:
        return Evaluation(Verdict.RUN, "The trigger rule always waits for nothing.")
    end = _certain_end(rule, upstream, map_index)
    if end is not None:
        return Evaluation(end, f"Trigger rule {rule} cannot be met: upstream instances are {upstream}.")
    missing = _missing(rule, upstream)
    if missing is None:
        return Evaluation(Verdict.RUN, f"Trigger rule {rule} is met: upstream instances are {upstream}.")
    return Evaluation(Verdict.WAIT, f"Trigger rule {rule} waits for {missing}: upstream instances are {upstream}.")


def evaluate_setups(setups: UpstreamCounts, *, map_index: int = -1) -> Evaluation:
    """The verdict on setups that are not direct upstreams: all must succeed, whatever the task's trigger rule."""
    end = _certain_end(TriggerRule.ALL_SUCCESS, setups, map_index)
    if end is not None:
        return Evaluation(end, f"A setup did not succeed: setup instances are {setups}.")
    missing = setups.total - setups.success - (setups.removed if map_index > -1 else 0)
    if missing > 0:
        return Evaluation(Verdict.WAIT, f"Waits for setups to succeed: setup instances are {setups}.")
    return Evaluation(Verdict.RUN, "All setups succeeded.")


def _certain_end(rule: TriggerRule, u: UpstreamCounts, map_index: int) -> Verdict | None:
    """How the instance ends without running; `None` if it may still run."""
    any_failed = bool(u.failed or u.upstream_failed)
    match rule:
        case TriggerRule.ALL_SUCCESS:
            if any_failed:
                return Verdict.UPSTREAM_FAIL
            if u.skipped:
                return Verdict.SKIP
            if u.removed and u.success and map_index >= u.success:
                return Verdict.REMOVE
        case TriggerRule.ALL_FAILED:
            if u.success or u.skipped:
                return Verdict.SKIP
        case TriggerRule.ONE_SUCCESS:
            if u.all_done and u.done == u.skipped:
                return Verdict.SKIP
            if u.all_done and not u.success:
                return Verdict.UPSTREAM_FAIL
        case TriggerRule.ONE_FAILED:
            if u.all_done and not any_failed:
                return Verdict.SKIP
        case TriggerRule.ONE_DONE:
            if u.all_done and not (u.failed or u.success):
                return Verdict.SKIP
        case TriggerRule.NONE_FAILED:
            if any_failed:
                return Verdict.UPSTREAM_FAIL
        case TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS:
            if any_failed:
                return Verdict.UPSTREAM_FAIL
            if u.skipped == u.total:
                return Verdict.SKIP
            if u.all_done and not u.success:
                return Verdict.UPSTREAM_FAIL
        case TriggerRule.NONE_SKIPPED:
            if u.skipped:
                return Verdict.SKIP
        case TriggerRule.ALL_SKIPPED:
            if u.success or any_failed:
                return Verdict.SKIP
        case TriggerRule.ALL_DONE_MIN_ONE_SUCCESS:
            if u.skipped:
                return Verdict.SKIP
            if u.all_done and not u.success:
                return Verdict.UPSTREAM_FAIL
        case TriggerRule.ALL_DONE_SETUP_SUCCESS:
            if u.all_done and u.setups:
                if u.setups_skipped >= u.setups:
                    return Verdict.SKIP
                if not u.setups_success:
                    return Verdict.UPSTREAM_FAIL
        case TriggerRule.ALL_DONE | TriggerRule.ALWAYS:
            pass
        case _:
            assert_never(rule)
    return None


def _missing(rule: TriggerRule, u: UpstreamCounts) -> str | None:
    """What the rule still waits for; `None` if it is met."""
    not_done = f"{u.total - u.done} of {u.total} to finish"
    match rule:
        case TriggerRule.ALL_SUCCESS:
            left = u.total - u.success - u.removed
            return f"{left} more of {u.total} to succeed" if left > 0 else None
        case TriggerRule.ALL_FAILED:
            left = u.total - u.failed - u.upstream_failed - u.removed
            return f"{left} more of {u.total} to fail" if left > 0 else None
        case TriggerRule.ONE_SUCCESS:
            return None if u.success else "one to succeed"
        case TriggerRule.ONE_FAILED:
            return None if u.failed or u.upstream_failed else "one to fail"
        case TriggerRule.ONE_DONE:
            return None if u.success or u.failed else "one to succeed or fail"
        case TriggerRule.NONE_FAILED:
            left = u.total - u.success - u.skipped - u.removed
            return f"{left} more of {u.total} to succeed or be skipped" if left > 0 else None
        case TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS:
            left = u.total - u.success - u.skipped - u.removed
            if left > 0:
                return f"{left} more of {u.total} to succeed or be skipped"
            return None if u.success else "one to succeed"
        case TriggerRule.ALL_DONE | TriggerRule.NONE_SKIPPED:
            return None if u.all_done else not_done
        case TriggerRule.ALL_SKIPPED:
            left = u.total - u.skipped
            return f"{left} more of {u.total} to be skipped" if left > 0 else None
        case TriggerRule.ALL_DONE_SETUP_SUCCESS:
            if not u.all_done:
                return not_done
            return "a setup to succeed" if u.setups and not u.setups_success else None
        case TriggerRule.ALL_DONE_MIN_ONE_SUCCESS:
            if u.success + u.failed + u.upstream_failed < u.total - u.skipped - u.removed:
                return not_done
            return None if u.success else "one to succeed"
        case TriggerRule.ALWAYS:
            return None
        case _:
            assert_never(rule)
