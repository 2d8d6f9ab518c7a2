"""A setting that cannot be obeyed is refused in words, with the name of its variable."""

import pytest

from common import errors
from common.runtime.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("KEYS", "maybe", "it must be true or false"),
        ("KEYS", "", "it must be true or false"),
        ("PORT", "http", "it must be a whole number"),
        ("SLOTS", "1.5", "it must be a whole number"),
        ("UNIT_SECONDS", "long", "it must be a number"),
        ("LOG_LEVEL", "loud", "it must be DEBUG, INFO, WARNING or ERROR"),
        ("PROXIES", "10.0.0.1/8", "10.0.0.1/8 is neither an address nor a network"),
        ("PROXIES", "haproxy", "haproxy is neither an address nor a network"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_in_words(name: str, value: str, why: str) -> None:
    """No word of it is the program's own jargon."""
    with pytest.raises(errors.SettingError) as caught:
        Settings.from_environ({f"FACTORLINE_{name}": value})

    assert str(caught.value).startswith(f"FACTORLINE_{name} cannot be {value!r}: {why}")
    assert "$" not in str(caught.value)
    assert "Expected" not in str(caught.value)


def test_every_kind_of_setting_has_words() -> None:
    """A field of a new type needs words for what its value must be."""
    for field in Settings.__struct_fields__:
        for value in ("maybe", "\N{SNOWMAN}"):
            try:
                Settings.from_environ({f"FACTORLINE_{field.upper()}": value})
            except errors.SettingError as error:
                assert "Expected" not in str(error)  # noqa: PT017 most fields take any text
