"""Which licence a model may have, by those of what it was made from."""

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.licences import licence_of, require_allowed, require_licence


@pytest.mark.parametrize(
    "model, material",
    [
        ("apache-2.0", "mit"),
        ("mit", "cc-by-4.0"),
        ("cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-4.0"),
        ("cc-by-nc-4.0", "apache-2.0"),
        ("cc-by-nc-4.0", "llama1"),
        ("cc-by-nc-4.0", "llama2"),
        ("llama2", "llama2"),
        ("llama2", "apache-2.0"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0"),
    ],
)
def test_as_strict_or_stricter_is_allowed(model: str, material: str) -> None:
    require_allowed(require_licence("licence", model), require_licence("", material), "a.json")


@pytest.mark.parametrize(
    "model, material, words",
    [
        ("apache-2.0", "cc-by-nc-4.0", "allows no commercial use: licence=cc-by-nc-4.0 would do"),
        ("llama2", "cc-by-nc-sa-3.0", "allows no commercial use"),
        ("cc-by-sa-4.0", "llama1", "allows no commercial use"),
        ("mit", "opt", "allows no commercial use"),
        ("apache-2.0", "llama2", "made from it stays under: licence=llama2 would do"),
        ("mit", "cc-by-sa-4.0", "made from it stays under"),
        ("llama3", "gemma", "made from it stays under"),
        ("cc-by-nc-4.0", "cc-by-nc-nd-4.0", "forbids changed versions"),
        ("cc-by-nd-4.0", "cc-by-nd-4.0", "forbids changed versions"),
    ],
)
def test_more_permissive_is_refused(model: str, material: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        require_allowed(require_licence("licence", model), require_licence("", material), "a.json")
    assert words in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(f"licence={model}, but a.json is under {material}")


@pytest.mark.parametrize("name", ["other", "none", "unknown", "cc-by-nc", "proprietary", ""])
def test_what_nobody_can_weigh_is_no_licence(name: str) -> None:
    assert licence_of(name) is None
    with pytest.raises(InputError, match="is no licence that can be weighed here"):
        require_licence("licence", name)


def test_case_and_blanks_do_not_matter() -> None:
    assert licence_of(" CC-BY-NC-4.0 ") == licence_of("cc-by-nc-4.0")
    assert licence_of("Apache-2.0") == licence_of("apache-2.0")
