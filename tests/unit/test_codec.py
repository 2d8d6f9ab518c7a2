"""Values are read back as they were written, and what is not such a value is refused by name."""

import json

import pytest

from common import errors
from common.domain import BigInt, Control, Event, Part, Survey, Unit, distinct, key_of

EVENT = Event(number=BigInt(10**40), version=3)


def test_a_large_integer_travels_as_a_string() -> None:
    """JavaScript and BSON would lose its last digits."""
    assert str(10**40) == json.loads(EVENT.encode())["number"]
    assert EVENT == Event.decode(EVENT.encode()) == Event.from_document(EVENT.to_document())


def test_fields_that_a_newer_writer_added_are_ignored() -> None:
    """Programs are upgraded one by one."""
    document = {**EVENT.to_document(), "colour": "blue"}

    assert EVENT == Event.from_document(document) == Event.decode(json.dumps(document))


def test_another_major_version_is_refused_by_its_own_name() -> None:
    """Whoever runs the program has to hear that it is too old, not that the data is broken."""
    document = {**EVENT.to_document(), "v": 2}
    says = r"layout version 2, .* only version 1"
    with pytest.raises(errors.UnknownVersion, match=says):
        Event.decode(json.dumps(document))
    with pytest.raises(errors.UnknownVersion, match=says):
        Event.from_document(document)


@pytest.mark.parametrize("junk", ["", "[]", "{}", '{"v": 1}', '{"v": 1, "number": 5}', "[" * 5000])
def test_anything_else_is_malformed(junk: str) -> None:
    """The error names what could not be read."""
    with pytest.raises(errors.Malformed, match="not a readable Control"):
        Control.decode(junk)


def test_a_number_has_no_hash() -> None:
    """So no dictionary of ours can be filled with numbers that were made to have the same one."""
    number = BigInt(10**60)
    with pytest.raises(TypeError, match="unhashable"):
        hash(number)
    for value in (Part(value=number), Unit(unit_id="x", number=number, work=Survey(target=number))):
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)


def test_numbers_are_kept_under_their_digits() -> None:
    """Thousands that are equal modulo 2^61 - 1, as which Python hashes integers, have as many hashes."""
    numbers = [BigInt(91 + i * (2**61 - 1)) for i in range(2000)]
    assert {91} == {hash(int(number)) for number in numbers}
    kept = {hash(key_of(number)) for number in numbers}

    assert len(numbers) == len(kept)
    assert numbers == distinct([*numbers, *numbers])
