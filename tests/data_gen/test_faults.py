"""A teacher with every fault there is: nothing is lost, nothing is paid twice, all is accounted
for. Counts are asserted, never speed."""

from typing import Any

import pytest

from .answering import Answered, Answering, instructions, taught

TRANSIENT = ("429", "429-bare", "500", "503", "drop", "half", "malformed", "no-choices")


def assert_complete(run: Answered, records: list[dict[str, str]]) -> None:
    """Each record has its own answer, in the order of the file."""
    assert run.code == 0, run.err
    assert [r["instruction"] for r in run.records] == [r["instruction"] for r in records]
    assert all(record["output"] == taught(record) for record in run.records)
    assert (run.report["records"], run.report["failed"]) == (len(records), 0)


def test_nothing_is_lost_or_paid_twice_whatever_passes_by_waiting(answering: Answering) -> None:
    faults = {kind: 0.03 for kind in TRANSIENT} | {"hang": 0.02}
    answering.teacher.behaves(latency_seconds=0.005, faults=faults, seed=1)
    records = instructions(200)
    assert_complete(answering(records, "teacher.timeout_seconds=1"), records)
    stats = answering.teacher.stats()
    assert set(TRANSIENT) <= stats.kinds.keys() and stats.kinds["abandoned"], "all faults happened"
    assert stats.paid_twice == 0 and len(stats.answers) == 200
    assert stats.max_concurrent <= 16


def test_every_request_may_fail_twice_before_it_succeeds(answering: Answering) -> None:
    answering.teacher.behaves(fail_first=2, fail_with="503")
    records = instructions(30)
    run = answering(records)
    assert_complete(run, records)
    assert sum(run.report["retries"].values()) == 60
    assert answering.teacher.stats().most_attempts == 3


def test_a_request_that_waits_to_be_tried_again_holds_no_place(answering: Answering) -> None:
    records = [*instructions(1), *instructions(1, " [[fault:500*1]]"), *instructions(9)[1:]]
    assert_complete(answering(records, "teacher.in_flight=1"), records)
    ends = [kind for _, _, kind, _ in answering.teacher.stats().events]
    assert ends == ["ok", "500", *["ok"] * 9]


@pytest.mark.parametrize("kind", ["quota", "401", "403", "404"])
def test_what_no_request_can_get_around_stops_the_run_at_once(
    answering: Answering, kind: str
) -> None:
    answering.teacher.behaves(faults={kind: 1.0})
    run = answering(instructions(20))
    assert run.code == 2
    assert kind in run.complaint or "429" in run.complaint
    assert answering.teacher.stats().requests == 1
    assert (run.report["records"], run.report["failed"], run.report["open"]) == (0, 0, 20)


def test_money_that_runs_out_half_way_stops_the_run_and_keeps_what_came(
    answering: Answering,
) -> None:
    answering.teacher.behaves(latency_seconds=0.02)
    records = [*instructions(60), *instructions(1, " [[fault:quota]]"), *instructions(200)[60:]]
    run = answering(records)
    assert run.code == 2 and "quota" in run.complaint
    stats = answering.teacher.stats()
    assert stats.kinds == {"ok": run.report["records"], "quota": 1}, "in flight is seen through"
    assert run.report["records"] + run.report["open"] == 201 and run.report["failed"] == 0
    assert 45 <= run.report["records"] <= 60 + 16


@pytest.mark.parametrize("kind", ["400", "400-context", "400-filter"])
def test_a_request_that_is_refused_for_itself_fails_once_and_alone(
    answering: Answering, kind: str
) -> None:
    records = [*instructions(5), *instructions(2, f" [[fault:{kind}]]"), *instructions(9)[5:]]
    run = answering(records)
    assert run.code == 0
    assert (run.report["records"], run.report["failed"], run.report["items"]) == (9, 2, 11)
    assert all(record["failure"].startswith("400: ") for record in run.failed)
    assert answering.teacher.stats().sent_again == 0


def test_a_request_that_never_succeeds_fails_in_sight_and_its_file_can_be_asked_again(
    answering: Answering,
) -> None:
    records = [*instructions(6), *instructions(3, " [[fault:500*2]]")]
    run = answering(records, "teacher.attempts=2")
    assert run.code == 0 and run.report["records"] == 6
    assert [record["instruction"] for record in run.failed] == [
        record["instruction"] for record in records[6:]
    ]
    again = answering(run.output_dir / "failed.jsonl", f"run.output_dir={run.output_dir}-2")
    assert_complete(again, records[6:])
    assert answering.teacher.stats().paid_twice == 0


@pytest.mark.parametrize(
    "policy, requests, n_records, is_whole",
    [("keep", 1, 1, False), ("continue", 2, 1, True), ("retry", 2, 1, True), ("drop", 1, 0, False)],
)
def test_a_cut_answer_is_treated_as_the_policy_says(
    answering: Answering, policy: str, requests: int, n_records: int, is_whole: bool
) -> None:
    records = instructions(1, " [[tokens:700]]")
    run = answering(records, f"policy.truncated={policy}")
    assert run.code == 0
    assert answering.teacher.stats().requests == requests
    assert (run.report["records"], run.report["failed"]) == (n_records, 1 - n_records)
    for record in run.records:
        assert (record["output"] == taught(record)) == is_whole
        assert ("truncated" in record["provenance"]["findings"]) == (not is_whole)


@pytest.mark.parametrize("policy", ["continue", "retry"])
def test_an_answer_without_end_is_paid_twice_at_most(answering: Answering, policy: str) -> None:
    run = answering(instructions(3, " [[tokens:5000]]"), f"policy.truncated={policy}")
    assert run.code == 0 and run.report["findings"]["truncated"] == 3
    assert sum(answering.teacher.stats().answers.values()) == 6


@pytest.mark.parametrize(
    "kind, finding",
    [
        ("empty", "empty"),
        ("content_filter", "filtered"),
        ("refusal", "refusal"),
        ("foreign", "wrong_language"),
    ],
)
def test_a_worthless_answer_is_noticed_and_may_be_dropped_or_asked_once_more(
    answering: Answering, kind: str, finding: str
) -> None:
    records = [*instructions(4), *instructions(2, f" [[fault:{kind}*1]]")]
    dropped = answering(records, f"policy.{finding}=drop")
    assert dropped.report["findings"][finding] == 2
    assert (dropped.report["records"], dropped.report["failed"]) == (4, 2)
    assert all(finding in record["failure"] for record in dropped.failed)
    output_dir = f"run.output_dir={dropped.output_dir}-2"
    retried = answering(records, f"policy.{finding}=retry", output_dir)
    assert_complete(retried, records)
    assert answering.teacher.stats().requests == 8, "the first answers were paid for already"


def test_bad_input_sends_nothing(answering: Answering) -> None:
    wrong: Any = [{"instruction": "Say yes.", "input": ""}, {"input": "no instruction"}]
    run = answering(wrong)
    assert run.code == 2 and "record 1" in run.complaint
    assert answering.teacher.stats().requests == 0


def test_many_in_a_row_that_are_too_long_do_not_end_the_run(answering: Answering) -> None:
    records = [*instructions(60, " [[fault:400-context]]"), *instructions(3)]
    run = answering(records)
    assert run.code == 0
    assert (len(run.records), len(run.failed)) == (3, 60)
