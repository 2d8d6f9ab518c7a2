"""The first API key of an installation, which whoever sets it up has put into a file."""

from pathlib import Path

from common import errors
from common.domain import ApiKey, looks_like_a_key, new_key
from common.runtime import audit
from common.store import Store

NAME = "first"


def read(file: str) -> str:
    """Return the key in a file.

    Raises:
        errors.SettingError: It cannot be read, or holds something else.

    """
    name = "FACTORLINE_KEY_FILE"
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise errors.SettingError(name=name, value=file, why=str(error)) from error
    if not looks_like_a_key(secret):
        why = (
            "it must hold an API key: fl_ and 43 letters, digits, - or _ (`make secrets` makes one)"
        )
        raise errors.SettingError(name=name, value=file, why=why)
    return secret


async def enter(secret: str, store: Store) -> ApiKey | None:
    """Store the key, unless the store knows it, revoked or not. Return it if it is new.

    Raises:
        errors.StoreUnavailable: The store does not answer.

    """
    by = audit.this_user()
    key = new_key(NAME, operator=True, made_by=by, now=store.now(), secret=secret).key
    if await store.find_keys([key.digest]):
        return None
    await store.insert_key(key)
    audit.record_made(key)
    return key
