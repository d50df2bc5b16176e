"""The ranks of one host under a place that starts hosts only."""

import pytest
from llama_gpt4_launch import node


def parsed(node_rank: int) -> list[dict[str, str]]:
    words = node.command(
        "python", "c.yaml", nodes=2, processes=2, master_address="first", master_port=29500
    )
    assert words[:3] == ["python", "-m", "llama_gpt4_launch.node"]
    return node._environments(node._parse([*words[3:], str(node_rank)]))


def test_ranks_count_over_the_hosts() -> None:
    places = [
        (environment["RANK"], environment["LOCAL_RANK"])
        for node_rank in range(2)
        for environment in parsed(node_rank)
    ]
    assert places == [("0", "0"), ("1", "1"), ("2", "0"), ("3", "1")]
    shared = {(e["WORLD_SIZE"], e["LOCAL_WORLD_SIZE"], e["MASTER_ADDR"]) for e in parsed(1)}
    assert shared == {("4", "2", "first")}


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = node.command(
        "python", "/none.yaml", nodes=1, processes=1, master_address="x", master_port=1
    )
    assert node.main([*words[3:], "0"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("llama-gpt4 train: /none.yaml does not exist")
