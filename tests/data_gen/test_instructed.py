"""What rounds come to: records with where they come from, and counts that add up."""

from pathlib import Path

from llama_gpt4_data.generate import Generated
from llama_gpt4_data.instances import InstanceItem
from llama_gpt4_data.instruct_rounds import Growth, Round, grow
from llama_gpt4_data.instructed import count_instances, count_tasks, round_json, round_line
from llama_gpt4_data.task_pool import read_seeds

from .endpoints import endpoint_config
from .instructing import Asked, config

SEEDS = read_seeds(None, "en")
TEACHER = endpoint_config()


def grown(ask: Asked, reply: str = "tasks") -> Growth:
    *_, last = grow(config(reply=reply), SEEDS, {}, ask)
    return last


def test_a_record_knows_its_neighbours_and_its_demonstrations(tmp_path: Path) -> None:
    growth = grown(Asked(tmp_path))
    counted = count_tasks(growth, TEACHER)
    record = counted.records[0]
    assert list(record)[:4] == ["id", "instruction", "input", "output"]
    assert len(record["most_similar_instructions"]) == 10
    assert 0 < record["avg_similarity_score"] < max(record["most_similar_instructions"].values())
    origin = record["provenance"]
    assert origin["derived_from"]["round"] == 0
    assert set(origin["derived_from"]["demonstrations"]) <= {seed.id for seed in SEEDS}
    assert origin["licence"] == TEACHER.licence and origin["model"] == "gpt-4-0613"


def test_what_was_dropped_is_kept_with_its_rule(tmp_path: Path) -> None:
    growth = grown(Asked(tmp_path))
    counted = count_tasks(growth, TEACHER)
    tasks = counted.details["tasks"]
    assert tasks["read"] == len(counted.records) + len(counted.failed)
    assert tasks["dropped"] == dict(counted.reasons.most_common())
    similar = next(task for task in counted.failed if task["failure"] == "similar")
    [(text, score)] = similar["similar_to"].items()
    assert score > 0.7 and text != ""
    assert counted.details["prompts"] == {"replied": 6, "failed": 0, "open": 0}


def test_each_instance_is_a_record_and_an_instruction_without_any_has_failed(
    tmp_path: Path,
) -> None:
    ask = Asked(tmp_path)
    growth = grown(ask, "instructions")
    items = [InstanceItem(task, tuple(SEEDS), "en", TEACHER) for task in growth.pool.machine]
    generated, journal = ask([*growth.items, *items])
    generated.failures = {}
    counted = count_instances(growth, items, generated, journal, TEACHER)
    states = counted.details["instructions"]
    assert sum(states.values()) == len(growth.pool.machine) and states["failed"] > 0
    assert states["open"] == 0 and counted.reasons["no_instance"] == states["failed"]
    ids = [record["id"] for record in counted.records]
    assert len(set(ids)) == len(ids) > states["with_instances"]
    assert len({record["instruction"] for record in counted.records}) == states["with_instances"]
    assert all(
        record["output"] and "instances" in record["provenance"] for record in counted.records
    )


def test_instances_that_were_not_asked_for_yet_or_failed(tmp_path: Path) -> None:
    ask = Asked(tmp_path)
    growth = grown(ask, "instructions")
    items = [InstanceItem(task, tuple(SEEDS), "en", TEACHER) for task in growth.pool.machine]
    _, journal = ask(growth.items)
    generated = Generated(failures={len(growth.items): "400: no"})
    counted = count_instances(growth, items, generated, journal, TEACHER)
    assert counted.details["instructions"] == {
        "with_instances": 0, "failed": 1, "open": len(items) - 1
    }  # fmt: skip
    assert counted.n_open == len(items) - 1 and counted.records == []


def test_a_round_in_one_line() -> None:
    told = Round(number=3, prompts=5, failures={"k": "400: no"}, tasks=20, accepted=12, nearest=0.5)
    told.dropped.update({"similar": 5, "keyword": 3})
    assert round_line(told, 40, 100) == (
        "round 3: 5 prompts, 1 failed; 20 tasks: 12 new, 3 keyword, 5 similar; similarity to the "
        "nearest 0.50; 40 of 100"
    )
    line = round_json(told)
    assert line["prompts"] == line["replied"] + line["failed"]
    assert line["tasks"] == line["accepted"] + sum(line["dropped"].values())
