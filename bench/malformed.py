"""2,000 training files, each spoilt in one place by a seeded hand: every one is refused with its row and a reason, none is a 5xx.

    python bench/malformed.py [--files 2000] [--seed 0]

Good files of every kind are made first (and must be accepted); then a random row, or the file, or the request around it, is spoilt in one
of some sixty ways. A refusal is a status ``error`` whose details name the very line, or a 4xx with a message. Exits 1 otherwise.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.testclient import TestClient

from luthier.api import create_app
from luthier.app.service import Service

Row = dict[str, Any]
WORDS = ("parcel", "refund", "late", "größe", "card", "привет", "address", "please", "日本", "account", "🙂", "where")


class Spoilt(NamedTuple):
    """A file that must be refused: its bytes and name, and the line that the refusal must name (0: any, or a 4xx)."""

    data: bytes
    name: str
    line: int


# -- good files -----------------------------------------------------------------------------------------------------------


def text(r: random.Random) -> str:
    return " ".join(r.choices(WORDS, k=r.randint(2, 9)))


def chat(r: random.Random) -> Row:
    user = text(r) if r.random() < 0.8 else [{"type": "text", "text": text(r)}]
    messages = [{"role": "system", "content": "Answer with a label."}, {"role": "user", "content": user}]
    return {"messages": [*messages, {"role": "assistant", "content": r.choice(("refund", "parcel", "account"))}]}


def tool_chat(r: random.Random) -> Row:
    call = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": "{}"}}
    answers = [{"role": "tool", "tool_call_id": "call_1", "content": text(r)}, {"role": "assistant", "content": text(r), "weight": 1}]
    tools = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object", "properties": {}}}}]
    return {"messages": [{"role": "user", "content": text(r)}, {"role": "assistant", "tool_calls": [call]}, *answers], "tools": tools}


def preference(r: random.Random) -> Row:
    spelling = "output"
    said = [{"role": "assistant", "content": text(r)}], [{"role": "assistant", "content": text(r)}]
    asked = {"messages": [{"role": "user", "content": text(r)}]}
    return {"input": asked, f"preferred_{spelling}": said[0], f"non_preferred_{spelling}": said[1]}


def completion(r: random.Random) -> Row:
    return {"prompt": text(r), "completion": " " + text(r)}


def reinforcement(r: random.Random) -> Row:
    return {"messages": [{"role": "user", "content": text(r)}], "answer": text(r)}


KINDS: dict[str, Callable[[random.Random], Row]] = {
    "chat": chat,
    "tool_chat": tool_chat,
    "preference": preference,
    "completion": completion,
    "reinforcement": reinforcement,
}


def dumped(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


# -- a row spoilt: an object that breaks a rule of its kind -------------------------------------------------------------------

TYPOS = ("asistant", "usr", "User", "ASSISTANT", "human", "bot", "sytem", "", "assistant ", "0")
NOT_TEXT: tuple[Any, ...] = (7, 1.5, True, {"a": 1}, {})
NOT_OBJECT: tuple[Any, ...] = (7, "text", True, [], [1])
NOT_ARRAY: tuple[Any, ...] = (7, "text", True, {"role": "user"})


def of_messages(r: random.Random, messages: list[Row]) -> None:
    """Spoils one message of a list in place."""
    number = r.randrange(len(messages))
    message = messages[number]
    ways: list[Callable[[], Any]] = [
        lambda: message.update(role=r.choice(TYPOS)),
        lambda: message.pop("role"),
        lambda: message.update(role=r.choice(NOT_TEXT)),
        lambda: message.update(content=r.choice(NOT_TEXT)),
        lambda: message.update({r.choice(("contents", "wieght", "text", "rôle", "x" * 200)): "a"}),
        lambda: message.update(name=r.choice((7, "", "n" * 65))),
        lambda: message.update(content=[r.choice((7, "a", {}, {"type": "txt"}, {"type": "text"}, {"type": "text", "text": 7}))]),
        lambda: messages.__setitem__(number, r.choice((7, "text", None, [], True))),
    ]
    if message.get("role") in ("user", "assistant") and "tool_calls" not in message:
        ways.append(lambda: message.update(content=r.choice(("", "  ", None))))
    if message.get("role") == "assistant":
        ways.append(lambda: message.update(weight=r.choice((2, -1, 0.5, "1", True, [], {}))))
    elif message.get("role") in ("user", "system"):
        ways += [lambda: message.update(weight=1), lambda: message.update(tool_calls=[])]
    if message.get("role") == "user":
        urls: tuple[Any, ...] = (7, {}, {"url": 7}, {"url": "file:///etc/passwd"}, {"url": "https://a/b", "detail": "huge"})
        ways.append(lambda: message.update(content=[{"type": "image_url", "image_url": r.choice(urls)}]))
    if message.get("role") == "tool":
        ways.append(lambda: message.update(tool_call_id=r.choice((None, 7, "call_2"))))
    if "tool_calls" in message:
        call = message["tool_calls"][0]
        ways += [
            lambda: message.update(tool_calls=r.choice(([], 7, "x", {}, [7], [{}]))),
            lambda: call.update(id=r.choice((None, 7, ""))),
            lambda: call.update(type=r.choice(("tool", 7, None))),
            lambda: call.update(function=r.choice((None, 7, {}, {"name": ""}, {"name": "a"}, {"name": "a", "arguments": {}}))),
        ]
    r.choice(ways)()


def of_chat(r: random.Random, row: Row) -> None:
    ways: list[Callable[[], Any]] = [lambda: of_messages(r, row["messages"])] * 6
    ways += [
        lambda: row.update(messages=r.choice(([], None, *NOT_ARRAY))),
        lambda: row.update({r.choice(("mesages", "messagess", "conversations")): row.pop("messages")}),
        lambda: row.update(messages=[m for m in row["messages"] if m.get("role") == "user"]),
        lambda: [m.update(weight=0) for m in row["messages"] if m.get("role") == "assistant"],
        lambda: row.update(tools=r.choice(([], 7, {}, [7], [{}], [{"type": "function"}], [{"type": "fn", "function": {"name": "a"}}]))),
        lambda: row.update(functions=r.choice(([], 7, [7], [{"name": ""}], [{"name": "a"}] * 129, [{"name": "a", "parameters": 7}]))),
        lambda: row.update(parallel_tool_calls=r.choice(("yes", 1, [], {}))),
        lambda: row.update(preferred_output=[]),
    ]
    r.choice(ways)()


def of_preference(r: random.Random, row: Row) -> None:
    side = r.choice(("preferred_output", "non_preferred_output"))
    ways: list[Callable[[], Any]] = [
        lambda: of_messages(r, row["input"]["messages"]),
        lambda: of_messages(r, row[side]),
        lambda: row.pop(side),
        lambda: row.pop("input"),
        lambda: row.update({side: r.choice(([], None, *NOT_ARRAY))}),
        lambda: row.update(input=r.choice(NOT_OBJECT)),
        lambda: row["input"].update(messages=r.choice(([], None, *NOT_ARRAY))),
        lambda: row.update({side.replace("output", "completion"): row[side]}),
        lambda: row.update(note="x"),
        lambda: row["input"].update(tool=[]),
        lambda: row[side][0].update(role="user"),
    ]
    r.choice(ways)()


def of_completion(r: random.Random, row: Row) -> None:
    key = r.choice(("prompt", "completion"))
    ways: list[Callable[[], Any]] = [
        lambda: row.pop(key),
        lambda: row.update({key: r.choice((None, [], *NOT_TEXT))}),
        lambda: row.update(completion=r.choice(("", " \n"))),
        lambda: row.update({key + "s": row.pop(key)}),
        lambda: row.update(messages=[{"role": "user", "content": "a"}]),
        row.clear,
    ]
    r.choice(ways)()


def of_reinforcement(r: random.Random, row: Row) -> None:
    ways: list[Callable[[], Any]] = [
        lambda: of_messages(r, row["messages"]),
        lambda: row.update(messages=r.choice(([], None, *NOT_ARRAY))),
        lambda: row["messages"].append({"role": "assistant", "content": "a"}),
        lambda: row.pop("messages"),
        lambda: row.update(tools=7),
    ]
    r.choice(ways)()


RULES: dict[str, Callable[[random.Random, Row], None]] = {
    "chat": of_chat,
    "tool_chat": of_chat,
    "preference": of_preference,
    "completion": of_completion,
    "reinforcement": of_reinforcement,
}


def another_kind(r: random.Random, kind: str) -> Row:
    own = {"chat", "tool_chat", "reinforcement"} if kind in ("chat", "tool_chat", "reinforcement") else {kind}
    others: list[Row] = [KINDS[name](r) for name in KINDS if name not in own] + [{"text": "a", "label": "b"}]
    return r.choice(others)


# -- a line spoilt: bytes that are no JSON object ------------------------------------------------------------------------------


def of_line(r: random.Random, line: bytes) -> bytes:
    inner = line[1:-1]
    ways: list[Callable[[], bytes]] = [
        lambda: line[: r.randrange(1, len(line))].decode("utf-8", "ignore").encode(),
        lambda: line.replace(b'"', b"'"),
        lambda: line.replace(b'": ', b'" ', 1),
        lambda: line[:-1] + b",}",
        lambda: line + b" " + line,
        lambda: line + b",",
        lambda: b"[" + line + b"]",
        lambda: dumped(r.choice((7, "text", True, [1]))) + b"",
        lambda: b"null",
        lambda: line.replace(b'": "', b'": "\xff\xfe', 1),
        lambda: line.replace(b'": "', b'": "\xed\xa0\xbd', 1),
        lambda: line.replace(b'": "', b'": "\x01', 1),
        lambda: line.replace(b'": "', b'": "\\ud83d ', 1),
        lambda: line.replace(b'": "', b'": "\\u0000', 1),
        lambda: line.replace(b'": "', b'": "\\x', 1),
        lambda: b"{" + inner + b', "a": NaN}',
        lambda: b"{" + inner + b', "a": -Infinity}',
        lambda: b"{" + inner + b', "a": 1e999}',
        lambda: b"{" + inner + b', "a": ' + b"9" * 5000 + b"}",
        lambda: b"{" + inner + b', "a": 01}',
        lambda: b"{" + inner + b', "a": undefined}',
        lambda: b"{" + inner + b', "a": ' + b"[" * r.choice((101, 5000)) + b"]" * r.choice((101, 5000)) + b"}",
        lambda: b"{" + inner + b', "a": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
        lambda: b"{" + inner + b', "a": 1, "a": 1}',
        lambda: b"{" + inner + b", " + inner + b"}",
        lambda: b"text,label",
        lambda: b"<html>502 Bad Gateway</html>",
        lambda: bytes(b for b in r.randbytes(60) if b not in b"\r\n") + b"\x80",
    ]
    return r.choice(ways)()


# -- a file spoilt -------------------------------------------------------------------------------------------------------------


def of_file(r: random.Random, lines: list[bytes]) -> Spoilt:
    whole = b"\n".join(lines)
    ways: list[Callable[[], Spoilt]] = [
        lambda: Spoilt(b"", "t.jsonl", 0),
        lambda: Spoilt(b"\n" * r.randint(1, 50), "t.jsonl", 1),
        lambda: Spoilt(b"\n".join(lines[: r.randint(1, 9)]), "t.jsonl", 0),
        lambda: Spoilt(whole.decode().encode(r.choice(("utf-16", "utf-32"))), "t.jsonl", 1),
        lambda: Spoilt(gzip.compress(whole), r.choice(("t.jsonl", "t.jsonl.gz", "upload")), 1),
        lambda: Spoilt(b"PK\x03\x04" + r.randbytes(300), r.choice(("t.jsonl", "t.xlsx", "t.csv")), 1),
        lambda: Spoilt(b"PAR1" + r.randbytes(300), "t.parquet", 1),
        lambda: Spoilt(b"\x80\x04\x95" + r.randbytes(300), "t.csv", 1),
        lambda: Spoilt(b"[" + b",\n".join(lines) + b"]", "t.json", 1),
        lambda: Spoilt(json.dumps([json.loads(line) for line in lines], indent=1).encode(), "t.jsonl", 1),
        lambda: Spoilt(whole.replace(b"\n", b"\r"), "t.jsonl", 1),
        lambda: Spoilt(r.randbytes(2000), r.choice(("t.jsonl", "t.csv", "t.parquet", "upload")), 1),
        lambda: of_table(r),
    ]
    return r.choice(ways)()


def of_table(r: random.Random) -> Spoilt:
    delimiter, name = r.choice(((",", "t.csv"), ("\t", "t.tsv")))
    rows = [delimiter.join(("text", "label")), *(f"some text {n}{delimiter}{'ab'[n % 2]}" for n in range(r.randint(12, 30)))]
    at = r.randrange(1, len(rows))
    ways: list[tuple[bytes, int]] = [
        (f"one{delimiter}two{delimiter}three".encode(), at + 1),
        (b"alone", at + 1),
        (f"caf\xe9{delimiter}a".encode("latin-1"), at + 1),
    ]
    spoilt, line = r.choice(ways)
    encoded = [row.encode() for row in rows]
    encoded[at] = spoilt
    whole = r.choice(
        ((b"\n".join(encoded), line), (b"\n".join(encoded[:1]), 0), (b"text\n" + b"a\n" * 12, 1), (b"a,a\n" + b"x,y\n" * 12, 1))
    )
    return Spoilt(whole[0], name, whole[1])


def spoil(r: random.Random) -> tuple[str, Spoilt]:
    """A spoilt file, and which hand did it."""
    kind = r.choice(list(KINDS))
    rows = [KINDS[kind](r) for _ in range(r.randint(12, 40))]
    lines = [dumped(row) for row in rows]
    way, at = r.choices(("rule", "line", "kind", "file"), (10, 7, 2, 3))[0], r.randrange(1, len(rows))
    if way == "file":
        return way, of_file(r, lines)
    if way == "rule":
        row = copy.deepcopy(rows[at])
        RULES[kind](r, row)
        lines[at] = dumped(row)
    elif way == "line":
        lines[at] = of_line(r, lines[at])
    else:
        lines[at] = dumped(another_kind(r, kind))
    return way, Spoilt(b"\n".join(lines) + b"\n", "train.jsonl", at + 1)


# -- sending ----------------------------------------------------------------------------------------------------------------


def sent(client: TestClient, r: random.Random, spoilt: Spoilt, way: str) -> str:
    """What is wrong with the answer ("" when it is the refusal that it must be)."""
    if way == "file" and r.random() < 0.3:
        return sent_broken(client, r, spoilt)
    answer = client.post("/v1/files", files={"file": (spoilt.name, spoilt.data)}, data={"purpose": "fine-tune"})
    if 400 <= answer.status_code < 500 and answer.json()["error"]["message"]:
        return ""
    if answer.status_code != 200:
        return f"{answer.status_code}"
    said = answer.json()
    if said["status"] != "error":
        return f"status {said['status']}"
    wanted = f"line {spoilt.line}: " if spoilt.line else "line "
    return "" if wanted in said["status_details"] else f"no {wanted!r} in {said['status_details'][:200]!r}"


def sent_broken(client: TestClient, r: random.Random, spoilt: Spoilt) -> str:
    """The same in a request that is broken too: it must be a 4xx."""
    head = b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--X\r\n'
    file = b'Content-Disposition: form-data; name="file"; filename="t"\r\n\r\n' + spoilt.data + b"\r\n"
    body = head + file + b"--X--\r\n"
    kind = "multipart/form-data; boundary=X"
    ways = [
        (body[: r.randrange(0, len(body) - 6)], kind),
        (body, kind + "Y"),
        (body, "multipart/form-data"),
        (spoilt.data, "application/jsonl"),
    ]
    content, kind = r.choice(ways)
    answer = client.post("/v1/files", content=content, headers={"content-type": kind})
    return "" if 400 <= answer.status_code < 500 and answer.json()["error"]["message"] else f"broken request: {answer.status_code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    ways: Counter[str] = Counter()
    faults: list[str] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as home, TestClient(create_app(Service(home)), raise_server_exceptions=False) as client:
        for kind, make in KINDS.items():
            r = random.Random(f"good-{kind}")
            data = b"\n".join(dumped(make(r)) for _ in range(40))
            answer = client.post("/v1/files", files={"file": ("t.jsonl", data)}, data={"purpose": "fine-tune"}).json()
            if answer.get("status") != "processed":
                faults.append(f"a good {kind} file is refused: {answer}")
        for number in range(given.files):
            r = random.Random(f"{given.seed}-{number}")
            way, spoilt = spoil(r)
            ways[way] += 1
            fault = sent(client, r, spoilt, way)
            if fault:
                faults.append(f"file {number} ({way}): {fault}")
        kept = [one["status"] for one in client.get("/v1/files").json()["data"]]
    seconds = time.perf_counter() - start
    counts = ", ".join(f"{count} by a spoilt {way}" for way, count in ways.most_common())
    print(f"{given.files} malformed files ({counts}) in {seconds:.0f} s; {len(KINDS)} good ones; kept with status {dict(Counter(kept))}")
    print(f"not refused as they must be: {len(faults)}")
    for fault in faults[:30]:
        print(" ", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
