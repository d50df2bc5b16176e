"""Any tokenizer of transformers encodes prompts and answers apart, and texts as text."""

import json
import shutil
from pathlib import Path

import pytest
from llama_gpt4_data.hub_tokenizer import HubTokenizer

from llama_gpt4.errors import InputError


def test_ids_begin_and_end_as_the_model_knows_it(opt: Path, tmp_path: Path) -> None:
    tokenizer = HubTokenizer.load(opt)
    assert tokenizer.bos_id == tokenizer.eos_id == 2 and tokenizer.pad_id == 1
    [prompt], [answer] = (
        tokenizer.encode_prompts(["Why </s>?"]),
        tokenizer.encode_answers(["<pad>"]),
    )
    assert prompt[0] == 2 and prompt.count(2) == 1
    assert answer[-1] == 2 and 1 not in answer
    tokenizer.save(tmp_path / "saved", max_tokens=77)
    again = HubTokenizer.load(tmp_path / "saved")
    assert again.encode_prompts(["Why </s>?"]) == [prompt]
    assert again.fingerprint() == tokenizer.fingerprint()
    assert tokenizer.encode_answers([]) == []


def test_what_is_no_tokenizer_is_one_line(opt: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        HubTokenizer.load(tmp_path)
    assert "has no tokenizer that can be loaded" in str(raised.value)
    assert "\n" not in str(raised.value)
    folder = shutil.copytree(opt, tmp_path / "endless")
    described = json.loads((folder / "tokenizer_config.json").read_text())
    del described["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="has no EOS token"):
        HubTokenizer.load(folder)
