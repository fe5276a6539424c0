"""Appending messages, and reading them back page by page."""

import asyncio
import json

import pytest

from tests.support.contexts import Context, is_problem, said, texts

KEY = "Idempotency-Key"
MIB = 1 << 20


async def test_one_message(context: Context) -> None:
    answer = await context.post({"message": said("hello", tokens=7)})
    assert answer.status_code == 201
    assert answer.json() == {"seq": 1, "version": 1, "token_estimate": 7}


async def test_several_messages_are_one_version(context: Context) -> None:
    await context.say("a")
    answer = await context.post({"messages": [said("b", tokens=0), said("c", tokens=5)]})
    assert answer.status_code == 201
    assert answer.json() == {
        "first_seq": 2,
        "last_seq": 3,
        "version": 2,
        "token_estimates": [0, 5],
    }


async def test_a_list_of_one_is_answered_as_a_list(context: Context) -> None:
    assert (await context.say("a", tokens=1)) == {
        "first_seq": 1,
        "last_seq": 1,
        "version": 1,
        "token_estimates": [1],
    }


async def test_the_server_counts_where_the_client_does_not(context: Context) -> None:
    hello = said("hello world")
    answer = await context.post({"messages": [hello, hello | {"token_count": 1000}]})
    counted, given = answer.json()["token_estimates"]
    assert 2 <= counted <= 20
    assert given == 1000
    assert (await context.get())["used_tokens"] == counted + given


@pytest.mark.parametrize("encoding", ["cl100k_base", "approximate"])
async def test_counts_follow_the_encoding(unknown: Context, encoding: str) -> None:
    await unknown.put({"encoding": encoding})
    text = "Здравствуйте, товарищи! " * 20
    first = (await unknown.say(text))["token_estimates"]
    await unknown.put({"encoding": "o200k_base"})
    assert (await unknown.say(text))["token_estimates"] != first


async def test_all_or_nothing(context: Context) -> None:
    answer = await context.post({"messages": [said("a"), {"role": "user", "parts": []}]})
    is_problem(answer, 400, "invalid_request", "messages[1].parts")
    assert (await context.get())["last_seq"] == 0


async def test_a_message_comes_back_as_it_was_said(context: Context) -> None:
    parts = (
        b'[{"type":"text","text":"\\u00e9\\u0000 \\/ \xf0\x9f\x99\x82","n":1.0,"m":1e400},'
        b'{"z":null,"type":"tool_call","a":{"a":{},"a":[]},"big":123456789012345678901234567890}]'
    )
    metadata = b'{"z":-0,"a":[1.50]}'
    body = b'{"message" : {"role":"tool","id":"m-1","parts":%b,"metadata":%b}}' % (parts, metadata)
    answer = await context.client.post(f"{context.path}/messages", content=body)
    assert answer.status_code == 201, answer.text
    for noun in ("tail", "messages", "context"):
        read = await context.read(noun)
        assert parts in read.content
        assert metadata in read.content
        (message,) = read.json()["messages"]
        assert (message["role"], message["id"]) == ("tool", "m-1")
        assert (message["seq"], message["version"]) == (1, 1)
        assert message["token_count"] == answer.json()["token_estimate"]
        assert message["inserted_at"].endswith("Z")


async def test_a_message_that_was_read_may_be_sent_again(context: Context) -> None:
    await context.say("a")
    (message,) = (await context.read("tail")).json()["messages"]
    answer = await context.post({"message": message})
    assert answer.json()["seq"] == 2
    assert answer.json()["token_estimate"] == message["token_count"]


async def test_nulls_in_a_message_mean_left_out(context: Context) -> None:
    nulls = {"token_count": None, "metadata": None, "id": None}
    answer = await context.post(
        {"message": said("a") | nulls, "messages": None, "if_version": None}
    )
    assert answer.status_code == 201, answer.text
    (message,) = (await context.read("tail")).json()["messages"]
    assert message["metadata"] == {}
    assert "id" not in message


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"message": None, "messages": None}, "message"),
        ({"message": said("a"), "messages": [said("b")]}, "messages"),
        ({"message": said("a"), "if_versoin": 1}, "if_versoin"),
        ({"message": said("a"), "if_version": -1}, "if_version"),
        ({"message": said("a"), "if_version": "1"}, "if_version"),
        ({"message": said("a") | {"name": "x"}}, "message.name"),
        ({"messages": [said("a"), said("b") | {"name": "x"}]}, "messages[1].name"),
        ({"messages": []}, "messages"),
        ({"messages": [said("a")] * 101}, "messages"),
        ({"messages": {}}, "messages"),
        ({"message": []}, "message"),
        ({"message": {"parts": [{"type": "text"}]}}, "message.role"),
        ({"message": {"role": "", "parts": [{"type": "text"}]}}, "message.role"),
        ({"message": {"role": "r" * 65, "parts": [{"type": "text"}]}}, "message.role"),
        ({"message": {"role": None, "parts": [{"type": "text"}]}}, "message.role"),
        ({"message": {"role": "user"}}, "message.parts"),
        ({"message": {"role": "user", "parts": None}}, "message.parts"),
        ({"message": {"role": "user", "parts": []}}, "message.parts"),
        ({"message": {"role": "user", "parts": "text"}}, "message.parts"),
        ({"message": {"role": "user", "parts": ["text"]}}, "message.parts"),
        ({"message": {"role": "user", "parts": [{}]}}, "message.parts"),
        ({"message": {"role": "user", "parts": [{"type": ""}]}}, "message.parts"),
        ({"message": {"role": "user", "parts": [{"type": 1}]}}, "message.parts"),
        ({"message": said("a") | {"token_count": -1}}, "message.token_count"),
        ({"message": said("a") | {"token_count": 1.5}}, "message.token_count"),
        ({"message": said("a") | {"metadata": []}}, "message.metadata"),
        ({"message": said("a") | {"id": 5}}, "message.id"),
    ],
)
async def test_a_bad_message_is_refused_by_its_field(
    context: Context, body: dict[str, object], field: str
) -> None:
    is_problem(await context.post(body), 400, "invalid_request", field)
    assert (await context.get())["last_seq"] == 0


async def test_role_and_parts_have_no_other_limits(context: Context) -> None:
    message = {"role": "é" * 64, "parts": [{"type": "anything at all", "x": [[[]]]}]}
    assert (await context.post({"message": message})).status_code == 201


async def test_a_message_over_a_mebibyte_is_too_large(context: Context) -> None:
    body = is_problem(await context.post({"message": said("x" * MIB)}), 413, "too_large")
    assert body["message"].startswith("message has ")
    answer = await context.post({"messages": [said("a"), said("x" * MIB)]})
    assert "messages[1]" in is_problem(answer, 413, "too_large")["message"]
    assert (await context.post({"message": said("x" * (MIB - 200))})).status_code == 201
    assert (await context.get())["last_seq"] == 1


async def test_a_request_over_four_mebibytes_is_too_large(context: Context) -> None:
    messages = [said("x" * (MIB - 200), tokens=1) for _ in range(5)]
    is_problem(await context.post({"messages": messages}), 413, "too_large")
    assert (await context.post({"messages": messages[:3]})).status_code == 201


# -- if_version and the idempotency key ----------------------------------------------------------


async def test_of_many_writers_with_one_if_version_one_wins(context: Context) -> None:
    answers = await asyncio.gather(
        *(context.post({"message": said(str(i)), "if_version": 0}) for i in range(8))
    )
    lost = [answer for answer in answers if answer.status_code != 201]
    assert len(lost) == 7
    for answer in lost:
        body = is_problem(answer, 409, "conflict")
        assert body["version"] == 1
        assert "0" in body["message"]
        assert "1" in body["message"]


async def test_the_same_key_gets_the_first_answer_again(context: Context) -> None:
    first = await context.post({"message": said("a")}, headers={KEY: "k 1"})
    assert first.headers[KEY] == "k 1"
    assert "Idempotent-Replayed" not in first.headers
    await context.say("b")
    again = await context.post({"message": said("a")}, headers={KEY: "k 1"})
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers[KEY] == "k 1"
    assert (await context.get())["last_seq"] == 2


async def test_white_space_does_not_make_another_body(context: Context) -> None:
    body = {"message": said("a")}
    await context.post(body, headers={KEY: "k"})
    spaced = json.dumps(body, indent=4).encode()
    again = await context.client.post(
        f"{context.path}/messages", content=spaced, headers={KEY: "k"}
    )
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_the_same_key_with_another_body_is_refused(context: Context) -> None:
    await context.post({"message": said("a")}, headers={KEY: "k"})
    answer = await context.post({"message": said("b")}, headers={KEY: "k"})
    is_problem(answer, 422, "idempotency_key_reused")
    assert answer.headers[KEY] == "k"


async def test_a_retry_is_answered_even_when_its_if_version_has_passed(context: Context) -> None:
    body = {"message": said("a"), "if_version": 0}
    first = await context.post(body, headers={KEY: "k"})
    again = await context.post(body, headers={KEY: "k"})
    assert again.json() == first.json()


async def test_every_write_can_be_retried(context: Context) -> None:
    asked = [
        lambda: context.put({"token_budget": 9}, headers={KEY: "put"}),
        lambda: context.patch({"metadata": {"a": 1}}, headers={KEY: "patch"}),
        lambda: context.compact({"replacement": [said("s")]}, headers={KEY: "compact"}),
    ]
    for ask in asked:
        first, again = await ask(), await ask()
        assert first.status_code == again.status_code == 200
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        assert first.json() == again.json()
    assert (await context.get())["version"] == 1


async def test_every_answer_to_a_write_holds_a_key(context: Context, unknown: Context) -> None:
    other = Context(context.client, f"{context.id} unknown")
    answers = [
        await context.put(),
        await context.patch({"metadata": {}}),
        await context.compact({"replacement": []}),
        await context.post({"message": said("a")}),
        await context.post({"oops": 1}),
        await context.post({"message": said("x" * MIB)}),
        await context.post({"message": said("a"), "if_version": 5}),
        await other.post({"message": said("a")}),
        await context.client.put("/v1/contexts/a%2Fb"),
        await context.delete(),
        await context.post({"message": said("a")}),
    ]
    keys = [answer.headers[KEY] for answer in answers]
    assert len(set(keys)) == len(keys)


async def test_a_key_made_by_the_server_works_for_a_retry(context: Context) -> None:
    first = await context.post({"message": said("a")})
    again = await context.post({"message": said("a")}, headers={KEY: first.headers[KEY]})
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", [b"", b"k" * 201, "é".encode(), b"\xe9"])
async def test_a_bad_key_is_refused(context: Context, key: bytes) -> None:
    answer = await context.post({"message": said("a")}, headers=[(KEY.encode(), key)])
    is_problem(answer, 400, "invalid_request", KEY)
    assert answer.headers[KEY].isalnum()
    assert (await context.get())["last_seq"] == 0


async def test_a_key_of_200_characters_is_fine(context: Context) -> None:
    answer = await context.post({"message": said("a")}, headers={KEY: "~" * 200})
    assert answer.headers[KEY] == "~" * 200


async def test_two_keys_are_refused(context: Context) -> None:
    answer = await context.post({"message": said("a")}, headers=[(KEY, "a"), (KEY, "b")])
    is_problem(answer, 400, "invalid_request", KEY)


# -- reading --------------------------------------------------------------------------------------


@pytest.fixture
async def ten(context: Context) -> Context:
    """A context with the messages 1 to 10."""
    await context.say(*map(str, range(1, 11)))
    return context


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, range(1, 11)),
        ({"limit": 3}, range(8, 11)),
        ({"limit": 3, "offset": 0}, range(8, 11)),
        ({"limit": 3, "offset": 3}, range(5, 8)),
        ({"limit": 3, "offset": 9}, range(1, 2)),
        ({"limit": 3, "offset": 10}, ()),
        ({"limit": 1000, "offset": 2**63 - 1}, ()),
    ],
)
async def test_tail(ten: Context, query: dict[str, int], expected: list[int]) -> None:
    answer = await ten.read("tail", **query)
    assert answer.json().keys() == {"messages"}
    assert texts(answer.json()["messages"]) == [str(seq) for seq in expected]


@pytest.mark.parametrize(
    ("query", "expected", "next_seq"),
    [
        ({}, range(1, 11), None),
        ({"limit": 4}, range(1, 5), 5),
        ({"from_seq": 5, "limit": 4}, range(5, 9), 9),
        ({"from_seq": 7, "limit": 4}, range(7, 11), None),
        ({"from_seq": 10}, range(10, 11), None),
        ({"from_seq": 11}, (), None),
        ({"from_seq": 2**63 - 1}, (), None),
        ({"from_seq": -1}, range(10, 11), None),
        ({"from_seq": -4, "limit": 2}, range(7, 9), 9),
        ({"from_seq": -10}, range(1, 11), None),
        ({"from_seq": -(2**63) + 1, "limit": 1}, range(1, 2), 2),
        ({"before_seq": 11, "limit": 4}, range(7, 11), 7),
        ({"before_seq": 7, "limit": 4}, range(3, 7), 3),
        ({"before_seq": 3, "limit": 4}, range(1, 3), None),
        ({"before_seq": 5, "limit": 4}, range(1, 5), None),
        ({"before_seq": 1}, (), None),
        ({"before_seq": 2**63 - 1, "limit": 2}, range(9, 11), 9),
    ],
)
async def test_messages(
    ten: Context, query: dict[str, int], expected: list[int], next_seq: int | None
) -> None:
    body = (await ten.read("messages", **query)).json()
    assert [message["seq"] for message in body["messages"]] == list(expected)
    assert texts(body["messages"]) == [str(seq) for seq in expected]
    assert (body["version"], body["last_seq"], body["next_seq"]) == (1, 10, next_seq)


async def test_next_seq_leads_through_all_of_it_both_ways(ten: Context) -> None:
    for parameter, start in (("from_seq", 1), ("before_seq", 11)):
        seen: list[int] = []
        at: int | None = start
        while at is not None:
            body = (await ten.read("messages", **{parameter: at, "limit": 3})).json()
            seen += [message["seq"] for message in body["messages"]]
            at = body["next_seq"]
        assert sorted(seen) == list(range(1, 11))


async def test_a_context_without_messages_has_empty_pages(context: Context) -> None:
    assert (await context.read("tail")).json() == {"messages": []}
    for query in ({}, {"from_seq": -1}, {"from_seq": 1}, {"before_seq": 1}, {"before_seq": 9}):
        assert (await context.read("messages", **query)).json() == {
            "messages": [],
            "version": 0,
            "last_seq": 0,
            "next_seq": None,
            "undone": [],
        }


@pytest.mark.parametrize(
    ("noun", "query", "field"),
    [
        ("tail", "limit=0", "limit"),
        ("tail", "limit=1001", "limit"),
        ("tail", "limit=ten", "limit"),
        ("tail", "limit=", "limit"),
        ("tail", "limit=1.0", "limit"),
        ("tail", "limit=%D9%A1", "limit"),
        ("tail", "limit=1&limit=2", "limit"),
        ("tail", "offset=-1", "offset"),
        ("tail", "offset=" + "9" * 5000, "offset"),
        ("tail", "before_seq=1", "before_seq"),
        ("messages", "limit=-1", "limit"),
        ("messages", "from_seq=0", "from_seq"),
        ("messages", "from_seq=--1", "from_seq"),
        ("messages", "from_seq=%2B1", "from_seq"),
        ("messages", "from_seq=1&before_seq=3", "before_seq"),
        ("messages", "before_seq=0", "before_seq"),
        ("messages", "before_seq=1%00", "before_seq"),
        ("messages", "form_seq=1", "form_seq"),
        ("context", "budget_tokens=0", "budget_tokens"),
        ("context", "budget_tokens=100000001", "budget_tokens"),
        ("context", "if_version=-1", "if_version"),
        ("context", "min_version=x", "min_version"),
        ("context", "limit=1", "limit"),
    ],
)
async def test_a_bad_query_is_refused_by_its_parameter(
    context: Context, noun: str, query: str, field: str
) -> None:
    answer = await context.client.get(f"{context.path}/{noun}?{query}")
    is_problem(answer, 400, "invalid_request", field)


async def test_a_parameter_where_none_is_taken_is_refused(context: Context) -> None:
    answer = await context.client.post(
        f"{context.path}/messages?if_version=7", json={"message": said("a")}
    )
    is_problem(answer, 400, "invalid_request", "if_version")
    assert (await context.get())["last_seq"] == 0
