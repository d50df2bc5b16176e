"""Whole runs by batches against a batch service: all is answered, nothing is paid twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.ledger import Price
from llama_gpt4_data.worker import replies_to

from llama_gpt4.errors import InputError

from .batch_runs import (
    Asked,
    asked,
    go,
    hit_after,
    unanswered,
)
from .batch_server import TERMINAL, BatchServer, running_batch_server
from .teacher_answers import answer

GPT_4 = Price(input_usd=30.0, output_usd=60.0)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with running_batch_server() as server:
        yield server


def n_sent(server: BatchServer) -> int:
    """Requests in all batches."""
    return sum(batch["request_counts"]["total"] for batch in server.service.batches.values())


def test_every_item_has_its_own_answer_whatever_the_order(
    server: BatchServer, tmp_path: Path
) -> None:
    items = asked(server, 40)
    generated, journal = go(items, server, tmp_path, most_requests=15)
    texts = [replies_to(item, journal)[0][0].text for item in items]
    assert texts == [answer(item.question) for item in items]
    assert generated.trouble is None and not generated.failures and not generated.retries
    counts = [batch["request_counts"]["total"] for batch in server.service.batches.values()]
    assert counts == [15, 15, 10]
    assert [batch["metadata"] for batch in server.service.batches.values()] == [
        {"program": "llama-gpt4", "task": "answer", "run": "out", "shard": f"000{n}"}
        for n in (1, 2, 3)
    ]
    go(items, server, tmp_path)
    assert n_sent(server) == 40, "all of it was there"


def test_a_live_run_finds_what_batches_answered(server: BatchServer, tmp_path: Path) -> None:
    items = asked(server, 5)
    go(items, server, tmp_path)
    generated, journal = go(items, server, tmp_path, mode="live")
    assert not unanswered(items, journal) and generated.trouble is None


def test_what_follows_from_an_answer_goes_into_the_next_batch(
    server: BatchServer, tmp_path: Path
) -> None:
    items = asked(server, 10, n_with_second=4)
    _, journal = go(items, server, tmp_path)
    counts = [batch["request_counts"]["total"] for batch in server.service.batches.values()]
    assert counts == [10, 4]
    assert [len(replies_to(item, journal)[0]) for item in items] == [2] * 4 + [1] * 6


def test_equal_requests_are_asked_once(server: BatchServer, tmp_path: Path) -> None:
    items = [Asked("Why?", server.base_url)] * 3 + [Asked("[[fault:400]]", server.base_url)] * 2
    generated, journal = go(items, server, tmp_path)
    assert n_sent(server) == 2
    assert unanswered(items, journal) == ["[[fault:400]]"] * 2
    assert sorted(generated.failures) == [3, 4]


@pytest.mark.parametrize(
    "faults, reason",
    [
        ({"ends": ["expired", "expired"]}, "batch_expired"),
        ({"failed_in_output": 0.3}, "500: The server had an error."),
        ({"failed_apart": 0.3}, "500: The server had an error."),
        ({"missing": 0.3}, "no line in the batch's files"),
        ({"ends": ["failed"]}, "token_limit_exceeded: Enqueued token limit reached."),
        (
            {"failed_in_output": 0.2, "failed_apart": 0.2, "missing": 0.2, "ends": ["expired"]},
            "500",
        ),
    ],
)
def test_only_what_has_no_answer_goes_into_another_batch(
    tmp_path: Path, faults: dict[str, Any], reason: str
) -> None:
    with running_batch_server(**faults) as server:
        items = asked(server, 30)
        generated, journal = go(items, server, tmp_path, attempts=20)
        assert not unanswered(items, journal) and not generated.failures
        assert server.paid_twice == 0
        assert any(reason in said for said in generated.retries)
        assert n_sent(server) == 30 + sum(generated.retries.values())


def test_a_refused_request_is_a_failure_with_its_reason_and_never_an_answer(
    server: BatchServer, tmp_path: Path
) -> None:
    items = [*asked(server, 3), *asked(server, 2, "[[fault:400]]")]
    generated, journal = go(items, server, tmp_path)
    assert sorted(generated.failures) == [3, 4] and len(journal) == 3
    assert generated.failures[3].startswith("400: ")
    assert n_sent(server) == 5, "what will never succeed is asked once"


def test_a_batch_without_any_answer_has_no_output_file(server: BatchServer, tmp_path: Path) -> None:
    generated, journal = go(asked(server, 4, "[[fault:400]]"), server, tmp_path)
    [batch] = server.service.batches.values()
    assert batch["output_file_id"] is None
    assert len(generated.failures) == 4 and len(journal) == 0


def test_a_request_is_tried_so_many_times_and_not_more(tmp_path: Path) -> None:
    with running_batch_server(failed_apart=1.0) as server:
        generated, _ = go(asked(server, 2), server, tmp_path, attempts=3)
        assert generated.failures[0] == "500: The server had an error. (3 attempts)"
        assert len(server.service.batches) == 3


def test_a_full_queue_is_waited_for_while_other_batches_end(tmp_path: Path) -> None:
    ends = ["failed", "failed", "completed", "failed", "completed", "completed"]
    with running_batch_server(ends=ends) as server:
        items = asked(server, 6)
        generated, journal = go(items, server, tmp_path, most_requests=2, attempts=2)
        assert generated.trouble is None and not unanswered(items, journal)
        assert len(server.service.batches) == 3 + 2 + 1, "the refused ones wait for the one at work"


def test_batches_that_are_always_too_much_end_the_run_with_the_way_out(tmp_path: Path) -> None:
    with running_batch_server(ends=["failed"] * 9) as server:
        generated, _ = go(asked(server, 8), server, tmp_path, attempts=2)
        assert generated.trouble is not None and not generated.failures
        assert "Enqueued token limit reached. (2 attempts)" in generated.trouble
        assert generated.trouble.endswith("run.batch.most_requests=4")
        assert len(server.service.batches) == 2


def test_a_batch_with_a_fault_in_its_input_is_not_made_again(tmp_path: Path) -> None:
    with running_batch_server(most_requests=3) as server:
        generated, _ = go(asked(server, 4), server, tmp_path)
        assert generated.trouble is not None
        assert "too_many_requests: A batch has at most 3 requests." in generated.trouble
        assert len(server.service.batches) == 1 and generated.n_batches == 0


def test_a_line_that_speaks_of_all_requests_ends_the_run(
    server: BatchServer, tmp_path: Path
) -> None:
    items = [*asked(server, 3), *asked(server, 1, "[[fault:401]]")]
    generated, journal = go(items, server, tmp_path)
    assert generated.trouble is not None and " 401: " in generated.trouble
    assert len(journal) == 3 and not generated.failures


def test_a_file_that_the_service_refuses_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with running_batch_server(most_bytes=100) as server:
        generated, _ = go(asked(server, 4), server, tmp_path)
        assert generated.trouble is not None and generated.trouble.endswith("than 100 bytes.")
        assert not server.service.batches and generated.n_batches == 0


def test_a_request_too_long_for_any_file_fails_alone(server: BatchServer, tmp_path: Path) -> None:
    items = [*asked(server, 2), Asked("long " * 200, server.base_url), *asked(server, 4)[2:]]
    generated, _ = go(items, server, tmp_path, most_bytes=1000)
    assert list(generated.failures) == [2]
    assert "fits into no batch file" in generated.failures[2]


def test_a_service_that_is_out_of_order_is_asked_again(server: BatchServer, tmp_path: Path) -> None:
    server.service.server_errors = 2
    items = asked(server, 2)
    generated, journal = go(items, server, tmp_path)
    assert not unanswered(items, journal)
    assert generated.retries == {"500: The server had an error.": 2}


def test_batches_cost_half(server: BatchServer, tmp_path: Path) -> None:
    items = asked(server, 10)
    generated, journal = go(items, server, tmp_path, price=GPT_4)
    replies = [replies_to(item, journal)[0][0] for item in items]
    full_usd = sum(
        ((reply.prompt_tokens or 0) * 30 + (reply.completion_tokens or 0) * 60) / 1e6
        for reply in replies
    )
    assert generated.spent_usd == pytest.approx(full_usd / 2)
    again, _ = go(items, server, tmp_path, price=GPT_4, mode="live")
    assert again.spent_usd == pytest.approx(full_usd / 2), "also for who finds them later"


def test_a_batch_is_only_made_if_the_most_that_it_can_cost_is_left(
    server: BatchServer, tmp_path: Path
) -> None:
    items = asked(server, 20)
    most_usd = (20 * 30 + 512 * 60) / 1e6 / 2  # of one request, prompt rounded up
    budget_usd = 6.5 * most_usd
    create, under_way = server.service.create, []

    def create_and_look(asked: dict[str, Any]) -> dict[str, Any]:
        under_way.append(
            [b["id"] for b in server.service.batches.values() if b["status"] not in TERMINAL]
        )
        return create(asked)

    server.service.create = create_and_look  # type: ignore[method-assign]
    generated, journal = go(items, server, tmp_path, price=GPT_4, budget_usd=budget_usd)
    counts = [batch["request_counts"]["total"] for batch in server.service.batches.values()]
    assert counts[0] == 6 and len(counts) > 1, "what six left of it was enough for more"
    assert not any(under_way), "what six may still cost is not spent on others"
    assert generated.spent_usd is not None and generated.spent_usd <= budget_usd
    assert (generated.trouble == "run.budget_usd") == bool(unanswered(items, journal))


def test_a_budget_too_small_for_what_is_left_stops_the_run(
    server: BatchServer, tmp_path: Path
) -> None:
    generated, journal = go(asked(server, 3), server, tmp_path, price=GPT_4, budget_usd=0.01)
    assert generated.trouble == "run.budget_usd" and len(journal) == 0
    assert not server.service.files, "nothing was sent"


def test_azure_is_refused_at_the_door(server: BatchServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.mode=batch .* Azure's .* run\.mode=live"):
        go(asked(server, 1), server, tmp_path, kind="azure", api_version="2024-10-21")


def test_the_batches_of_another_model_stay_its_own(server: BatchServer, tmp_path: Path) -> None:
    items = asked(server, 3)
    hit_after(server, "create", 1).run(lambda: go(items, server, tmp_path))
    with pytest.raises(InputError, match=r"of gpt-4 at .* are under way, not of gpt-4o"):
        go(items, server, tmp_path, model="gpt-4o")
