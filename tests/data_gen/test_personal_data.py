"""Personal data: what is somebody's, and what only looks like it or is an example."""

import os

import pytest
from llama_gpt4_data.personal_data import personal_data

from llama_gpt4.records import read_records

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


# Nobody's: cards and identities are made up around their checksums, addresses and exchanges are
# of organisations.
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("e-mail", "jane.roe@gmail.com"),
        ("e-mail", "联系wang_fang@163.com。"),
        ("phone", "+44 20 7946 0958"),
        ("phone", "(212) 736-5000"),
        ("phone", "手机：139 1234 0987"),
        ("phone", "010-62770334"),
        ("card", "4539 5787 6362 1486"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"),
        ("IBAN", "GB82WEST12345698765432"),
        ("Chinese ID", "11010519491231002X"),
        ("IP address", "151.101.1.69"),
    ],
)
def test_personal_data_are_found(kind: str, text: str) -> None:
    assert [found for found, _ in personal_data(f"Here: {text}, as said.")] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "name@example.com, john@test.org, info@yourcompany.com, a@b.co",
        "your.name@gmail.com, [email protected], @someone",
        "555-0123, (212) 555-0199, 123-456-7890, 13800138000, +1 234 567 8900",
        "4539 5787 6362 1487",  # the last digit is wrong
        "4111 1111 1111 1111",
        "DE88 3704 0044 0532 0130 00",
        "110105194912310021",
        "110105194913310020",  # no month
        "192.168.0.1, 10.0.0.1, 127.0.0.1, 203.0.113.7, 8.8.8.8, 999.1.1.1",
        "version 2.10.1.5, section 1.2.3.4",
        "3.14159265358979, 2023-04-06, 1990-1999, 0.5-1.25",
        "2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096",
        "ISBN 978-3-16-148410-0",
        "100000000000000 km, 299 792 458 m/s",
    ],
)
def test_examples_and_other_numbers_are_not(text: str) -> None:
    assert list(personal_data(text)) == []


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_records_of_gpt4_have_none() -> None:
    for language in ("en", "zh"):
        for record in read_records(f"{REAL_DATA}/alpaca_gpt4_{language}.json"):
            for text in (record.instruction, record.input, record.output):
                assert list(personal_data(text)) == [], record.name
