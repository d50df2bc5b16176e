"""What the doctor cannot be asked."""

import pytest
from llama_gpt4_launch.doctor_config import DoctorConfig

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError


@pytest.mark.parametrize(
    "line, message",
    [
        (["device=gpu"], "device=gpu is not one of"),
        (["processes=0"], "processes=0 must be positive"),
        (["processes=2", "hostfile=hosts"], "the slots in the hostfile"),
        (["master_port=70000"], "master_port=70000"),
        (["hostfle=hosts"], "hostfle is not a key of this program; did you mean hostfile"),
    ],
)
def test_bad_lines(line: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose(DoctorConfig, "doctor", line)
