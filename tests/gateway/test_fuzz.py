"""Whatever strangers send is understood or refused: frames, bodies, numbers.

Hypothesis invents it; with FACTORLINE_TEST_EXAMPLES=100000 it goes on for long.
"""

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from common.numbers import NumberError
from gateway.access import Quota
from gateway.api import asyncapi
from gateway.http.bodies import parse_number, read_json
from gateway.views.problems import BadRequest
from gateway.websocket.messages import SERVER_MESSAGES
from gateway.websocket.protocol import Protocol, Subscription

EXAMPLES = settings(
    max_examples=int(os.environ.get("FACTORLINE_TEST_EXAMPLES", "100")), deadline=None
)
LIMIT = 4
"""Tasks that a socket may follow here."""

WORDS = st.sampled_from(
    [
        "authenticate",
        "subscribe",
        "unsubscribe",
        "ping",
        "pong",
        "hello",
        "type",
        "task_ids",
        "id",
        "\ud800",
        "",
    ]
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | WORDS, inner),
    max_leaves=10,
)
MESSAGES = st.fixed_dictionaries(
    {"type": WORDS},
    optional={
        "task_ids": st.lists(st.sampled_from("abcdefgh") | ANYTHING, max_size=6) | ANYTHING,
        "id": ANYTHING,
        "more": ANYTHING,
    },
)


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Draw a text with a slice of it cut out, doubled, or replaced."""
    text = draw(texts)
    first, last = sorted(draw(st.tuples(*2 * [st.integers(0, len(text))])))
    middle = draw(st.sampled_from(["", 2 * text[first:last]]) | st.text(max_size=5))
    return text[:first] + middle + text[last:]


JSON = (MESSAGES | ANYTHING).map(json.dumps)
FRAMES = JSON | damaged(JSON) | st.text() | st.binary()

ANSWER = Draft202012Validator(
    {
        "oneOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in SERVER_MESSAGES],
        "components": asyncapi.document()["components"],
    }
)


@EXAMPLES
@given(st.lists(FRAMES, max_size=8))
def test_any_frames_get_valid_answers(sent: list[str | bytes]) -> None:
    """Nothing raises, every answer is a message of the document, and no limit is exceeded."""
    protocol, followed = Protocol(LIMIT, Quota(LIMIT)), set[Subscription]()
    for frame in sent:
        watch, unwatch, _ = protocol.receive(frame)
        assert not followed & set(watch)
        assert set(unwatch) <= followed
        followed = (followed | set(watch)) - set(unwatch)
        assert len(followed) <= LIMIT
        assert all(protocol.follows(each) for each in followed)
    answers = []
    while (answer := protocol.next_frame()) is not None:
        answers.append(json.loads(answer))
    for message in answers:
        ANSWER.validate(message)

    assert len(answers) <= 1 + len(sent)


@EXAMPLES
@given(st.binary() | (JSON | damaged(JSON)).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_body_is_json_or_refused(body: bytes) -> None:
    """Nothing is accepted that Python's own parser refuses, and no number is converted."""
    try:
        document = read_json(body, most_values=1000)
    except BadRequest:
        return
    json.loads(body)
    assert not isinstance(document, int | float) or isinstance(document, bool)


@EXAMPLES
@given(
    ANYTHING.map(json.dumps)
    | st.from_regex(r"[0-9()+*^!#/ %-]{1,40}", fullmatch=True).map(json.dumps)
)
def test_any_value_is_a_number_or_refused(text: str) -> None:
    """This holds for every type and size, and no accepted number has more digits than allowed."""
    try:
        value = parse_number(read_json(text.encode(), most_values=1000), 30).value
    except (BadRequest, NumberError):
        return
    assert abs(value) < 10**30
