"""Items in, replies in the journal, by any number of worker processes."""

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_data.generate import Generated, generate, journal_folder
from llama_gpt4_data.generation_config import RunConfig
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.worker import replies_to

from llama_gpt4.errors import InputError

from .endpoints import endpoint_config, prices_config, request, run_config
from .teacher import Teacher
from .teacher_answers import answer


@dataclass(frozen=True)
class Asked:
    """A question, and for some a second one after its answer."""

    question: str
    address: str
    has_second: bool = False

    def request(self, replies: Sequence[Reply]) -> Request | None:
        if not replies:
            return request(self.question, self.address)
        if len(replies) == 1 and self.has_second:
            return request(f"After {replies[0].text[:20]}", self.address)
        return None


@pytest.fixture(name="run_config")
def run_config_here(tmp_path: Path) -> RunConfig:
    return run_config(tmp_path)


def asked(teacher: Teacher, n: int, **values: Any) -> list[Asked]:
    return [Asked(f"Question {number}?", teacher.base_url, **values) for number in range(n)]


def go(
    items: Sequence[Asked], run: RunConfig, teacher: Teacher, **values: Any
) -> tuple[Generated, Journal]:
    return generate(items, run, endpoint_config(teacher.base_url, **values), prices_config())


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_share_the_items_and_nothing_is_asked_twice(
    teacher: Teacher, run_config: RunConfig, workers: int
) -> None:
    run_config.workers = workers
    items = asked(teacher, 40)
    generated, journal = go(items, run_config, teacher)
    texts = [replies_to(item, journal)[0][0].text for item in items]
    assert texts == [answer(item.question) for item in items]
    assert not generated.failures and generated.trouble is None and not generated.is_interrupted
    files = list(journal_folder(run_config, endpoint_config()).glob("*.jsonl"))
    assert len(files) == workers
    assert teacher.stats().requests == 40

    again, journal = go(items, run_config, teacher)
    assert teacher.stats().requests == 40, "all of it was there"
    assert len(journal) == 40 and not again.failures


def test_only_what_is_missing_is_asked(teacher: Teacher, run_config: RunConfig) -> None:
    go(asked(teacher, 10), run_config, teacher)
    go(asked(teacher, 25), run_config, teacher)
    assert teacher.stats().requests == 25 and teacher.stats().sent_again == 0


def test_a_second_request_goes_on_from_the_first_reply(
    teacher: Teacher, run_config: RunConfig
) -> None:
    first_only = asked(teacher, 5)
    go(first_only, run_config, teacher)
    items = asked(teacher, 5, has_second=True)
    _, journal = go(items, run_config, teacher)
    for item in items:
        replies, open_request = replies_to(item, journal)
        assert len(replies) == 2 and open_request is None
    assert teacher.stats().requests == 10


def test_what_fails_is_known_by_its_place(teacher: Teacher, run_config: RunConfig) -> None:
    run_config.workers = 2
    items = asked(teacher, 12)
    items[4] = Asked("[[fault:400]]", teacher.base_url)
    items[7] = Asked("[[fault:400-filter]]", teacher.base_url)
    generated, _ = go(items, run_config, teacher)
    assert sorted(generated.failures) == [4, 7]
    again, _ = go(items, run_config, teacher)
    assert sorted(again.failures) == [4, 7], "a failure is no answer: it is asked again"
    assert teacher.stats().requests == 14


def test_trouble_is_told_with_the_model_and_its_address(
    teacher: Teacher, run_config: RunConfig
) -> None:
    items = [Asked("[[fault:401]]", teacher.base_url)]
    generated, _ = go(items, run_config, teacher)
    assert generated.trouble is not None
    assert generated.trouble.startswith(f"gpt-4 at {teacher.base_url} does not answer: 401: ")


def test_open_files_are_allowed_or_the_line_says_how_many(
    teacher: Teacher, run_config: RunConfig
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 200))
        items = asked(teacher, 150)
        generated, _ = go(items, run_config, teacher, in_flight=120)
        went_well = not generated.failures and not generated.retries
        try:
            go(asked(teacher, 160), run_config, teacher, in_flight=150)
        except InputError as error:
            says = "needs 214 open files, and this system allows 200: lower it to 136" in str(error)
            os._exit(7 if went_well and says else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_models_replies_lie_in_a_folder_of_its_own(run_config: RunConfig) -> None:
    odd = endpoint_config(model="org/model:7b 中")
    assert journal_folder(run_config, odd).name == "org_model_7b_中"
    assert journal_folder(run_config, odd).parent == Path(run_config.journal_dir)
