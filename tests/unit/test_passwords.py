"""Passwords come from files, and no program starts with one that everybody knows."""

from pathlib import Path

import pytest

from common import errors
from common.runtime.settings import Settings

GOOD = "5f1d3c0e2b8a49768d1c"


def read(**environ: str) -> Settings:
    """Return the settings that variables make."""
    return Settings.from_environ({f"FACTORLINE_{name}": value for name, value in environ.items()})


def test_a_password_from_a_file(tmp_path: Path) -> None:
    """It is inserted into the address, whatever its characters, without the final newline."""
    (file := tmp_path / "password").write_text(f"{GOOD}/@:%\n")
    settings = read(
        AMQP_URL="amqp://gateway@rabbitmq/",
        AMQP_PASSWORD_FILE=str(file),
        MONGODB_URI="mongodb://gateway@a:1,b:2/factorline?replicaSet=rs0",
        MONGODB_PASSWORD_FILE=str(file),
    )

    assert f"amqp://gateway:{GOOD}%2F%40%3A%25@rabbitmq/" == settings.amqp_url
    expected = f"mongodb://gateway:{GOOD}%2F%40%3A%25@a:1,b:2/factorline?replicaSet=rs0"
    assert expected == settings.mongodb_uri


@pytest.mark.parametrize("url", ["amqp://rabbitmq/", "amqp://gateway:other@rabbitmq/", ""])
def test_a_password_file_needs_an_address_with_a_user(url: str, tmp_path: Path) -> None:
    """An address without a user, or with a password of its own, is refused."""
    (file := tmp_path / "password").write_text(GOOD)
    with pytest.raises(errors.SettingError, match="as in amqp://user@host/"):
        read(AMQP_URL=url, AMQP_PASSWORD_FILE=str(file))


def test_a_missing_password_file_is_refused() -> None:
    """The message names it."""
    with pytest.raises(errors.SettingError, match="/no/such/file"):
        read(AMQP_URL="amqp://gateway@rabbitmq/", AMQP_PASSWORD_FILE="/no/such/file")


@pytest.mark.parametrize(
    "url",
    [
        "amqp://guest:guest@rabbitmq/",
        "amqp://rabbitmq/",  # which means guest
        "amqps://gateway:ChangeMe@broker.example.com:5671/",
        "amqp://somebody:somebody@10.0.0.7:5672/",
        "amqp://gateway:@rabbitmq/",
        "amqp://gateway:short12@rabbitmq/",
        "amqp://guest:guest@127.0.0.1.example.com/",
    ],
)
def test_a_default_password_is_refused(url: str) -> None:
    """No program starts with one for another machine, and the message does not repeat it."""
    with pytest.raises(errors.SettingError, match="FACTORLINE_AMQP_URL cannot be '…'") as caught:
        read(AMQP_URL=url)
    assert "openssl rand" in str(caught.value)
    with pytest.raises(errors.SettingError):
        read(MONGODB_URI="mongodb://root:password@127.0.0.1,mongo:27017/factorline")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "amqp://guest:guest@localhost/",
        "amqp://127.0.0.1:5672/",
        "amqp://guest:guest@[::1]:5672/",
        f"amqp://gateway:{GOOD}@rabbitmq/",
    ],
)
def test_other_addresses_are_accepted(url: str) -> None:
    """RabbitMQ accepts `guest` only from its own machine, and so do we."""
    assert url == read(AMQP_URL=url, MONGODB_URI="mongodb://mongo/factorline").amqp_url
