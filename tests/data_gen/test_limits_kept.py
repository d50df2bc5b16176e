"""Limits that a teacher states or asks for, money, keys and addresses, against real servers."""

from pathlib import Path

import pytest

from .answering import KEY, Answering, instructions
from .quota_server import QuotaServer
from .teacher_journal import key_hash
from .test_faults import TRANSIENT, assert_complete


def test_one_request_that_has_to_wait_makes_all_wait(answering: Answering) -> None:
    answering.teacher.behaves(retry_after_seconds=0.8)
    records = [*instructions(40), *instructions(1, " [[fault:429*1]]"), *instructions(120)[40:]]
    assert_complete(answering(records, "teacher.in_flight=8"), records)
    events = answering.teacher.stats().events
    [refused_at] = [time for time, _, kind, _ in events if kind == "429"]
    pause = [time for time, *_ in events if refused_at < time < refused_at + 0.75]
    assert len(pause) < 8, "only what was on its way"
    assert not [time for time in pause if time > refused_at + 0.25]


def test_a_quota_is_learnt_from_the_headers_and_kept(answering: Answering) -> None:
    answering.teacher.behaves(requests_per_minute=1800, burst_seconds=1)
    records = instructions(80)
    assert_complete(answering(records), records)
    stats = answering.teacher.stats()
    assert stats.kinds.get("limited", 0) <= 16, "at most what was in flight before it was known"
    assert stats.most_attempts <= 3


def test_tokens_a_minute_are_kept_as_well(answering: Answering) -> None:
    answering.teacher.behaves(tokens_per_minute=600_000, burst_seconds=1)
    records = instructions(40)
    assert_complete(answering(records), records)
    assert answering.teacher.stats().kinds.get("limited", 0) <= 16


def test_limits_that_are_configured_are_never_passed(answering: Answering) -> None:
    answering.teacher.behaves(requests_per_minute=600, burst_seconds=60)
    records = instructions(20)
    run = answering(records, "teacher.requests_per_minute=600")
    assert_complete(run, records)
    assert "limited" not in answering.teacher.stats().kinds
    assert "600 requests a minute (configured)" in run.out


@pytest.mark.e2e
def test_llmock_finds_no_fault_with_us(answering: Answering, quota_server: QuotaServer) -> None:
    """600 requests at once and 30 more at 600 a minute, at a server that others wrote."""
    records = instructions(630)
    run = answering(records, f"teacher.base_url={quota_server.base_url}", "teacher.in_flight=256")
    assert run.code == 0 and run.report["records"] == 630
    is_well_behaved, words = quota_server.verdict()
    assert is_well_behaved, words


def test_the_budget_is_never_passed_and_a_larger_one_goes_on(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.01)
    records = instructions(60)
    run = answering(records, "run.budget_usd=0.25")
    assert run.code == 2 and "run.budget_usd=0.25" in run.complaint
    stats = answering.teacher.stats()
    spent_usd = (30 * stats.prompt_tokens + 60 * stats.completion_tokens) / 1e6
    assert 0 < spent_usd <= 0.25
    assert run.report["spent_usd"] == pytest.approx(spent_usd)
    assert run.report["records"] + run.report["open"] == 60 and run.report["failed"] == 0
    assert_complete(answering(records, "run.budget_usd=100"), records)
    assert answering.teacher.stats().paid_twice == 0


def test_lost_answers_count_against_the_budget(answering: Answering) -> None:
    """A body that breaks off half way was paid for, as far as anybody can tell."""
    answering.teacher.behaves(faults={"half": 0.5})
    run = answering(instructions(200), "run.budget_usd=0.5")
    assert run.code == 2
    stats = answering.teacher.stats()
    spent_usd = (30 * stats.prompt_tokens + 60 * stats.completion_tokens) / 1e6
    at_least_usd = stats.kinds["half"] * 512 * 60 / 1e6
    assert spent_usd + at_least_usd <= 0.5
    assert run.report["lost_usd_at_most"] >= at_least_usd


def test_no_key_is_written_or_said_whatever_goes_wrong(answering: Answering) -> None:
    faults = [instructions(2, f" [[fault:{kind}*1]]")[1] for kind in TRANSIENT]
    said = []
    for last in ("all is well", "[[fault:400]]", "[[fault:401]]"):
        run = answering([*instructions(10), *faults, *instructions(1, last)])
        said.append(run.out + run.err)
    assert answering.teacher.stats().keys.keys() == {key_hash(KEY.encode())}, "it was sent"
    hidden = KEY.removeprefix("sk-")
    assert hidden not in "".join(said)
    files = [path for path in answering.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if hidden.encode() in path.read_bytes()]


def test_a_missing_key_is_one_line_and_nothing_is_sent(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    run = answering(instructions(1), "teacher.base_url=http://192.0.2.1/v1")  # nobody is there
    assert run.code == 2 and "OPENAI_API_KEY" in run.complaint


def test_an_address_without_a_server_is_found_out_at_once(answering: Answering) -> None:
    run = answering(instructions(50), "teacher.base_url=http://127.0.0.1:9/v1")
    assert run.code == 2 and "127.0.0.1:9" in run.complaint
    assert run.report["open"] == 50


def test_azure_is_asked_by_its_own_path_and_key(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    records = instructions(5)
    azure = ["endpoint@teacher=azure", "teacher.model=my-gpt-4"]
    run = answering(records, *azure, f"teacher.base_url={answering.teacher.url}")
    assert_complete(run, records)
    assert {record["provenance"]["model"] for record in run.records} == {"my-gpt-4"}
    assert answering.teacher.stats().keys == {key_hash(KEY.encode()): 5}


def test_two_workers_make_the_same_data_as_one(answering: Answering, tmp_path: Path) -> None:
    answering.teacher.behaves(faults={"500": 0.1}, latency_seconds=0.01)
    records = instructions(60)
    run = answering(records, "run.workers=2", "teacher.in_flight=8")
    assert_complete(run, records)
    stats = answering.teacher.stats()
    assert stats.paid_twice == 0 and stats.max_concurrent <= 8
    assert len(list((tmp_path / "replies").rglob("*.jsonl"))) == 2


def test_what_was_paid_for_serves_whoever_asks_the_same(answering: Answering) -> None:
    records = instructions(20)
    first = answering(records)
    again = answering(records, f"run.output_dir={first.output_dir}-2", "policy.refusal=drop")
    assert_complete(again, records)
    more = answering([*records, *instructions(25)[20:]], "teacher.in_flight=2")
    assert more.report["records"] == 25
    assert answering.teacher.stats().requests == 25
    other = answering(records[:3], "teacher.parameters.temperature=0.5")
    assert other.code == 0 and answering.teacher.stats().requests == 28, "another question"


def test_whoever_reads_the_replies_meanwhile_finds_whole_lines(answering: Answering) -> None:
    answering.teacher.behaves(latency_seconds=0.05)
    process = answering.start(instructions(100), "teacher.in_flight=4")
    seen = 0
    while process.is_alive():
        process.join(0.1)
        for path in answering.folder.glob("replies/**/*.jsonl"):
            content = path.read_bytes()
            assert not content or content.endswith(b"\n")
            seen = max(seen, content.count(b"\n"))
    assert process.exitcode == 0 and seen > 50
