"""A folder of the cache is read as it was written, or refused."""

from pathlib import Path

import pytest
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import open_prepared

from llama_gpt4.errors import InputError

from .reward_runs import many, reward_config, write


def test_prompts_are_named_after_their_records_and_a_cut_folder_is_refused(tmp_path: Path) -> None:
    config = reward_config(tmp_path, f"data.files=[{write(tmp_path, many(3))}]")
    prepared = prepare(config)
    assert prepared.train.record_name(2) == f"{tmp_path}/comparisons.json record 2"
    tokens = prepared.folder / "train" / "tokens.bin"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"is damaged .* delete it and start again"):
        open_prepared(config.data, prepared.folder)
    (prepared.folder / "train" / "prompts.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"is damaged .* delete it and start again"):
        open_prepared(config.data, prepared.folder)
