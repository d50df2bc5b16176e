"""What makes a host red: it is not like the others, or lacks what a training needs."""

from typing import Any

import pytest
from llama_gpt4_launch.doctor_checks import fact_checks
from llama_gpt4_launch.doctor_config import DoctorConfig

from llama_gpt4.compose import compose


def fact(**changes: Any) -> dict[str, Any]:
    """What a probe may say."""
    return {
        "host": "h",
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "code": "c" * 64,
        "commit": "1234567",
        "gpus": ["H200"] * 8,
        "driver": "570.1",
        "free_bytes": 500 * 10**9,
        "files": {"a.json": "d" * 64},
        "port": "free",
        "operators": {"model.kernels=fused": "usable"},
    } | changes


def red(facts: dict[str, Any], skews: dict[str, float] | None = None, *line: str) -> dict[str, str]:
    config = compose(DoctorConfig, "doctor", line)
    checks = fact_checks(config, facts, skews or dict.fromkeys(facts, 0.0))
    return {check.name: check.text for check in checks if not check.is_good}


@pytest.mark.parametrize(
    "changes, name, text",
    [
        (
            {"versions": {"python": "3.11.7", "torch": "2.12.1"}},
            "torch",
            "2.13.0 on a, b; 2.12.1 on c",
        ),
        (
            {"code": "e" * 64},
            "code",
            "1234567 (cccccccc) on a, b; 1234567 (eeeeeeee) on c",
        ),
        ({"gpus": ["H200"] * 7}, "gpus", "8 x H200 on a, b; 7 x H200 on c"),
        ({"gpus": []}, "gpus", "8 x H200 on a, b; none on c"),
        ({"driver": "550.2"}, "driver", "570.1 on a, b; 550.2 on c"),
        (
            {"free_bytes": 3 * 10**9},
            "disk",
            "3.0 GB free for runs on c, less than min_free_gb=10",
        ),
        ({"files": {"a.json": "f" * 64}}, "a.json", "sha256 dddddddddddd on a, b; sha256 ffff"),
        ({"files": {"a.json": None}}, "a.json", "cannot be read on c"),
        ({"port": "Address already in use"}, "port 29500", "c: Address already in use"),
        (
            {"operators": {"model.kernels=fused": "not usable: no Triton"}},
            "model.kernels=fused",
            "usable on a, b; not usable: no Triton on c",
        ),
    ],
)
def test_a_host_that_is_not_like_the_others_is_red(
    changes: dict[str, Any], name: str, text: str
) -> None:
    assert not red({"a": fact(), "b": fact(), "c": fact()})
    [(found, shown)] = red({"a": fact(), "b": fact(), "c": fact(**changes)}).items()
    assert found == name and shown.startswith(text)


def test_the_same_files_are_the_same_code_whatever_git_says() -> None:
    assert not red({"a": fact(), "b": fact(commit="no git")})


def test_without_gpus_where_they_are_asked_for() -> None:
    hosts = {"a": fact(gpus=[]), "b": fact(gpus=[])}
    assert red(hosts, None, "device=cuda") == {"gpus": "device=cuda, and torch finds none on a, b"}
    assert not red(hosts)
    assert not red({"a": fact(), "b": fact(gpus=[])}, None, "device=cpu")


def test_clocks_are_compared_with_each_other() -> None:
    hosts = {"a": fact(), "b": fact()}
    # Ours may be wrong: it takes no part in the training.
    assert not red(hosts, {"a": 70.0, "b": 70.5})
    assert red(hosts, {"a": -1.0, "b": 70.0}) == {"clock": "b is 71.0 s ahead of a: set its clock"}


def test_many_hosts_are_counted() -> None:
    facts = {f"n{i}": fact(driver="1" if i else "2") for i in range(64)}
    assert red(facts) == {"driver": "2 on n0; 1 on n1, n2, n3, n4 and 59 more"}
