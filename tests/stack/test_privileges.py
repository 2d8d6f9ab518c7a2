"""In the production layout a program may do in the store what it has to, and nothing else."""

import itertools
from collections.abc import Mapping

import pymongo
import pytest
from pymongo.errors import OperationFailure

from common.runtime import passwords
from infra.local.mongo import roles
from infra.local.stack import Stack

ATTEMPTS: Mapping[str, Mapping[str, object]] = {
    "find": {"find": "tasks"},
    "insert": {"insert": "tasks", "documents": []},
    "update": {"update": "tasks", "updates": [{"q": {"_id": "x"}, "u": {"$set": {"x": 1}}}]},
    "remove": {"delete": "tasks", "deletes": [{"q": {"_id": "x"}, "limit": 1}]},
    "dropCollection": {"drop": "tasks"},
    "dropDatabase": {"dropDatabase": 1},
    "createUser": {"createUser": "me", "pwd": "mine", "roles": []},
}
"""A command for each action."""
UNAUTHORIZED = 13


@pytest.mark.parametrize("program", roles())
async def test_a_program_may_do_what_its_role_says(program: str, stack: Stack) -> None:
    """SecantusDB checks privileges by database and not by collection, and so does this test."""
    granted = set(itertools.chain.from_iterable(roles()[program].values()))
    uri = passwords.inserted(
        stack.mongo.uri_of(program), str(stack.mongo.secret(program)), name="a test"
    )
    async with pymongo.AsyncMongoClient[dict[str, object]](uri) as client:
        for action, command in ATTEMPTS.items():
            refused = await _refused(client, "factorline", command)
            assert refused == (action not in granted), action
        assert await _refused(client, "admin", {"find": "system.users"})
        assert await _refused(client, "elsewhere", {"find": "tasks"})


async def _refused(
    client: pymongo.AsyncMongoClient[dict[str, object]],
    database: str,
    command: Mapping[str, object],
) -> bool:
    try:
        await client[database].command({**command})
    except OperationFailure as error:
        return error.code == UNAUTHORIZED
    return False


async def test_nobody_gets_in_without_a_password(stack: Stack) -> None:
    """Not even to read."""
    async with pymongo.AsyncMongoClient[dict[str, object]](
        f"mongodb://127.0.0.1:{stack.mongo.port}/?directConnection=true"
    ) as client:
        with pytest.raises(OperationFailure):
            await client["factorline"]["tasks"].find_one()
