"""Each rule, as a table of upstream states and verdicts, and properties of all rules."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gust.model.state import FINISHED, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.scheduling.trigger_rule import UpstreamCounts, Verdict, evaluate

R = TriggerRule
WAIT, RUN, SKIP, UPSTREAM_FAIL = Verdict.WAIT, Verdict.RUN, Verdict.SKIP, Verdict.UPSTREAM_FAIL

STATES = {
    "s": S.SUCCESS,
    "f": S.FAILED,
    "u": S.UPSTREAM_FAILED,
    "k": S.SKIPPED,
    "r": S.REMOVED,
    ".": S.RUNNING,
}
"""`ss.` reads: two succeeded, one still runs."""


def counts(letters: str) -> UpstreamCounts:
    return UpstreamCounts.of(Counter(STATES[letter] for letter in letters))


@pytest.mark.parametrize(
    ("rule", "cases"),
    [
        (
            R.ALL_SUCCESS,
            {
                "ss": RUN,
                "s.": WAIT,
                "sr": RUN,
                "f.": UPSTREAM_FAIL,
                "u.": UPSTREAM_FAIL,
                "k.": SKIP,
                "fk": UPSTREAM_FAIL,
            },
        ),
        (R.ALL_FAILED, {"ff": RUN, "fu": RUN, "f.": WAIT, "s.": SKIP, "k.": SKIP, "fr": RUN, "..": WAIT}),
        (R.ALL_DONE, {"sf": RUN, "ku": RUN, "sr": RUN, "sf.": WAIT}),
        (
            R.ALL_DONE_MIN_ONE_SUCCESS,
            {"sf": RUN, "su": RUN, "sr": RUN, "s.": WAIT, "f.": WAIT, "ff": UPSTREAM_FAIL, "sk": SKIP, "k.": SKIP},
        ),
        (
            R.ONE_SUCCESS,
            {"s.": RUN, "f.": WAIT, "ff": UPSTREAM_FAIL, "fk": UPSTREAM_FAIL, "kk": SKIP, "rr": UPSTREAM_FAIL},
        ),
        (R.ONE_FAILED, {"f.": RUN, "u.": RUN, "s.": WAIT, "ss": SKIP, "sk": SKIP, "k.": WAIT}),
        (R.ONE_DONE, {"s.": RUN, "f.": RUN, "k.": WAIT, "u.": WAIT, "ku": SKIP, "r": SKIP}),
        (R.NONE_FAILED, {"sk": RUN, "kk": RUN, "sr": RUN, "s.": WAIT, "f.": UPSTREAM_FAIL, "u.": UPSTREAM_FAIL}),
        (
            R.NONE_FAILED_MIN_ONE_SUCCESS,
            {"sk": RUN, "kk": SKIP, "k.": WAIT, "s.": WAIT, "f.": UPSTREAM_FAIL, "kr": UPSTREAM_FAIL, "sr": RUN},
        ),
        (R.NONE_SKIPPED, {"sf": RUN, "uu": RUN, "s.": WAIT, "k.": SKIP}),
        (R.ALL_SKIPPED, {"kk": RUN, "k.": WAIT, "s.": SKIP, "f.": SKIP, "u.": SKIP, "kr": WAIT}),
        (R.ALWAYS, {"..": RUN, "ff": RUN}),
    ],
)
def test_rules(rule, cases):
    assert {letters: evaluate(rule, counts(letters)).verdict for letters in cases} == cases


@pytest.mark.parametrize(
    ("setups", "others", "expected"),
    [
        ("s", "f", RUN),
        ("sf", "s", RUN),
        ("f", "s", UPSTREAM_FAIL),
        ("k", "s", SKIP),
        ("kf", "s", UPSTREAM_FAIL),
        ("s", ".", WAIT),
        ("f", ".", WAIT),
        ("", "f", RUN),
    ],
)
def test_all_done_setup_success(setups, others, expected):
    of_setups = Counter(STATES[letter] for letter in setups)
    both = Counter(STATES[letter] for letter in setups + others)
    upstream = UpstreamCounts.of(both, of_setups)
    assert evaluate(R.ALL_DONE_SETUP_SUCCESS, upstream).verdict is expected


def test_an_instance_beyond_those_upstream_is_removed():
    assert evaluate(R.ALL_SUCCESS, counts("ssr"), map_index=2).verdict is Verdict.REMOVE
    assert evaluate(R.ALL_SUCCESS, counts("ssr"), map_index=1).verdict is RUN
    assert evaluate(R.ALL_SUCCESS, counts("ssr")).verdict is RUN


states = st.lists(st.sampled_from(list(STATES.values())), min_size=1, max_size=6)
rules = st.sampled_from(list(R))


@given(rule=rules, upstream=states)
def test_when_all_are_finished_nothing_waits_except_by_all_skipped(rule, upstream):
    """A removed instance is not skipped, so `all_skipped` waits for it: a deadlock, which is Airflow's answer too."""
    if any(state not in FINISHED for state in upstream):
        return
    verdict = evaluate(rule, UpstreamCounts.of(Counter(upstream))).verdict
    assert verdict is not WAIT or (rule is R.ALL_SKIPPED and S.REMOVED in upstream)


@given(rule=rules, upstream=states, later=st.data())
def test_what_is_decided_stays_decided(rule, upstream, later):
    """Upstreams that finish later change no verdict but `wait`: instances may be judged as early as possible."""
    before = evaluate(rule, UpstreamCounts.of(Counter(upstream))).verdict
    finished = [s if s in FINISHED else later.draw(st.sampled_from(sorted(FINISHED))) for s in upstream]
    after = evaluate(rule, UpstreamCounts.of(Counter(finished))).verdict
    may_turn = {
        # Skipped as soon as one is skipped, though a failure would have made it upstream_failed.
        (SKIP, UPSTREAM_FAIL),
    }
    assert before is WAIT or before is after or (before, after) in may_turn


@given(rule=rules, upstream=states)
def test_every_verdict_says_why(rule, upstream):
    evaluation = evaluate(rule, UpstreamCounts.of(Counter(upstream)))
    assert str(rule) in evaluation.reason
