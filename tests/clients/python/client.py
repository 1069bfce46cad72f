"""A client of cogo's worker protocol, made with PyPI's `websockets`. Usage: client.py URL [TOKEN]"""

import asyncio
import json
import os
import sys
import time
import traceback
import uuid

from websockets.asyncio.client import connect

PATIENCE = 60
EXTRA = json.loads(os.environ.get("COGO_CLIENT_FIELDS", "{}"))
FIELDS = {
    "execution_started": {"taskId": str},
    "task_output": {"taskId": str, "output": str, "stream": str},
    "task_complete": {"taskId": str, "exitCode": int},
    "task_error": {"error": str},
    "block_detected": {"taskId": str, "blockInfo": dict},
    "heartbeat": {"status": str, "health": dict},
}
# Whoever does not look for hangs is not asked for one.
BLOCKS = os.environ.get("COGO_CLIENT_BLOCKS") == "1"
events_seen = set()


def check_event(message):
    """Checks the fields of an event that are fixed."""
    kind = message["type"]
    if kind == "welcome":
        return
    events_seen.add(kind)
    assert isinstance(message["workerId"], str), message
    assert isinstance(message["timestamp"], int), message
    for name, wanted in FIELDS.get(kind, {}).items():
        assert isinstance(message[name], wanted), (kind, name, message)
    if kind == "heartbeat":
        assert message["status"] in ("idle", "busy", "error", "blocked"), message
        for figure in ("cpu", "memory", "disk", "uptime"):
            assert isinstance(message["health"][figure], (int, float)), message


class Client:
    def __init__(self, socket):
        self.socket = socket

    @classmethod
    async def connect(cls, url, token, protocols=None):
        # The other way to bring a token than a header, as browsers must.
        if token:
            protocols = [*(protocols or ["cogo.v1.json"]), f"cogo.token.{token}"]
        return cls(await connect(url, subprotocols=protocols, max_size=None))

    async def next(self):
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        if isinstance(frame, bytes):
            return {"type": "binary", "data": frame}
        message = json.loads(frame)
        check_event(message)
        return message

    async def until(self, kind, task_id=None):
        """The next message of a type, about a task if one is given; others are passed over."""
        while True:
            message = await self.next()
            if message["type"] == kind and task_id in (None, message.get("taskId")):
                return message

    async def send(self, message):
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def execute(self, command, **more):
        task_id = f"python-{uuid.uuid4()}"
        request = {
            "type": "execute_command",
            "taskId": task_id,
            "command": command,
            "timestamp": int(time.time() * 1000),
        }
        await self.send({**request, **EXTRA, **more})
        return task_id

    async def to_end(self, task_id):
        """All that is told of a task up to its end."""
        told = {"stdout": "", "stderr": "", "started": 0}
        last_seq = -1
        while True:
            message = await self.next()
            if message.get("taskId") != task_id:
                continue
            if message["type"] == "execution_started":
                told["started"] += 1
            elif message["type"] == "task_output":
                assert message["seq"] > last_seq, "sequence numbers rise"
                last_seq = message["seq"]
                told[message["stream"]] += message["output"]
            elif message["type"] in ("task_complete", "task_error"):
                return {**told, "end": message}

    def vanish(self):
        """Closes without a word, as a lost network does."""
        self.socket.transport.abort()


async def executes(client, _):
    told = await client.to_end(await client.execute("echo out; echo err >&2"))
    assert told["started"] == 1
    assert (told["stdout"], told["stderr"]) == ("out\n", "err\n"), told
    assert told["end"]["type"] == "task_complete"
    assert told["end"]["exitCode"] == 0


async def fails(client, _):
    end = (await client.to_end(await client.execute("exit 7")))["end"]
    assert (end["type"], end["exitCode"]) == ("task_complete", 7), end
    end = (await client.to_end(await client.execute("kill -SEGV $$")))["end"]
    assert end["exitCode"] == 139, end


async def cannot_start(client, _):
    task_id = await client.execute("", argv=["/no/such/program"])
    end = (await client.to_end(task_id))["end"]
    assert end["type"] == "task_error" and end["error"], end


async def terminates(client, _):
    task_id = await client.execute("sleep 1000")
    await client.until("execution_started", task_id)
    await client.send({"type": "terminate_task", "taskId": task_id})
    end = (await client.to_end(task_id))["end"]
    assert (end["type"], end["exitCode"]) == ("task_complete", 143), end


async def sends_input(client, _):
    task_id = await client.execute("read line; echo got $line; cat", stdin="open")
    await client.until("execution_started", task_id)
    await client.send({"type": "send_input", "taskId": task_id, "input": "grün\n"})
    assert (await client.until("task_output", task_id))["output"] == "got grün\n"
    await client.send({"type": "send_input", "taskId": task_id, "input": "rest", "eof": True})
    told = await client.to_end(task_id)
    assert (told["stdout"], told["end"]["exitCode"]) == ("rest", 0), told


async def is_refused_input(client, _):
    task_id = await client.execute("echo up; sleep 1000")
    await client.until("task_output", task_id)
    await client.send({"type": "send_input", "taskId": task_id, "input": "nobody reads this\n"})
    assert (await client.until("task_error", task_id))["code"] == "not_applicable"
    await client.send({"type": "terminate_task", "taskId": task_id, "graceMs": 1000})
    assert (await client.to_end(task_id))["end"]["exitCode"] == 143


async def lists_tasks(client, _):
    task_id = await client.execute("echo one; sleep 1000")
    seq = (await client.until("task_output", task_id))["seq"]
    await client.send({"type": "list_tasks"})
    tasks = (await client.until("task_list"))["tasks"]
    listed = next(task for task in tasks if task["taskId"] == task_id)
    assert (listed["running"], listed["lastSeq"]) == (True, seq + 1), listed
    await client.send({"type": "terminate_task", "taskId": task_id})
    await client.to_end(task_id)


async def asks_for_what_is_not_there(client, _):
    task_id = f"python-{uuid.uuid4()}"
    for message in (
        {"type": "attach", "fromSeq": 0},
        {"type": "terminate_task"},
        {"type": "send_input", "input": "x"},
    ):
        await client.send({**message, "taskId": task_id})
        assert (await client.until("task_error", task_id))["code"] == "no_such_task", message


async def uses_a_name_twice(client, _):
    task_id = await client.execute("echo first")
    await client.to_end(task_id)
    await client.execute("echo second", taskId=task_id)
    assert (await client.until("task_error", task_id))["code"] == "task_exists"


async def pings(client, _):
    timestamp = int(time.time() * 1000) - 12345
    await client.send({"type": "ping", "timestamp": timestamp})
    assert (await client.until("pong"))["timestamp"] == timestamp


async def hears_a_heartbeat(client, _):
    await client.until("heartbeat")


async def is_rude(client, _):
    await client.send({"type": "make_coffee"})
    assert (await client.until("task_error"))["code"] == "unknown_message"
    for text in ("{", "[]", "hello", '{"type":"terminate_task"}'):
        await client.send(text)
        assert (await client.until("task_error"))["code"] == "bad_message", text
    task_id = await client.execute("echo still here", colour={"of": "choice"})
    assert (await client.to_end(task_id))["stdout"] == "still here\n"


async def comes_back(_, reconnect):
    client = await reconnect()
    task_id = await client.execute(
        "i=0; while [ $i -lt 200 ]; do printf 'zeile %d ä\\n' $i; i=$((i+1)); sleep 0.002; done;"
        " exit 5"
    )
    seen, from_seq = "", 0
    for _ in range(3):
        for _ in range(4):
            output = await client.until("task_output", task_id)
            seen += output["output"]
            from_seq = output["seq"] + 1
        client.vanish()
        client = await reconnect()
        await client.send({"type": "attach", "taskId": task_id, "fromSeq": from_seq})
    told = await client.to_end(task_id)
    assert told["end"]["exitCode"] == 5, told
    expected = "".join(f"zeile {i} ä\n" for i in range(200))
    assert seen + told["stdout"] == expected
    await client.send({"type": "attach", "taskId": task_id, "fromSeq": 0})
    assert (await client.to_end(task_id))["stdout"] == expected
    client.vanish()


async def reads_binary(_, reconnect):
    client = await reconnect(["cogo.v1.bin"])
    assert client.socket.subprotocol == "cogo.v1.bin"
    task_id = await client.execute("printf '\\377\\000\\001'; printf x >&2")
    handle = (await client.until("execution_started", task_id))["handle"]
    streams = {1: b"", 2: b""}
    while (message := await client.next())["type"] != "task_complete":
        if message["type"] == "binary":
            frame = message["data"]
            assert frame[0] == 1 and int.from_bytes(frame[4:8], "little") == handle
            streams[frame[1]] += frame[24:]
    assert streams == {1: b"\xff\x00\x01", 2: b"x"}, streams
    client.vanish()


async def hears_of_a_hang(client, _):
    if not BLOCKS:
        return
    task_id = await client.execute("read line; exit 3", stdin="open", blockPolicy="warn")
    event = await client.until("block_detected", task_id)
    info = event["blockInfo"]
    assert (info["taskId"], info["workerId"]) == (task_id, event["workerId"]), event
    assert info["reason"] == "waiting_for_input", event
    assert isinstance(info["duration"], int) and isinstance(info["recoverable"], bool), event
    for figure in ("cpu", "memory", "disk"):
        assert isinstance(info["resourceUsage"][figure], (int, float)), event
    await client.send({"type": "send_input", "taskId": task_id, "input": "\n"})
    assert (await client.to_end(task_id))["end"]["exitCode"] == 3


async def saw_every_event(_client, _):
    missing = set(FIELDS) - ({"block_detected"} if not BLOCKS else set()) - events_seen
    assert not missing, missing


TESTS = {
    "execute_command: started, output of both streams, complete": executes,
    "a failure is complete too, with its exit code or 128 and the signal": fails,
    "what cannot be started is task_error": cannot_start,
    "terminate_task ends a task": terminates,
    "send_input reaches the program": sends_input,
    "input that is not taken is refused, and the task goes on": is_refused_input,
    "list_tasks tells what runs, and how far its output is": lists_tasks,
    "a task that is not there is said not to be there": asks_for_what_is_not_there,
    "a name stands for one task": uses_a_name_twice,
    "ping is answered with its timestamp": pings,
    "a heartbeat comes": hears_a_heartbeat,
    "unknown and malformed messages are answered, and the connection stays": is_rude,
    "a client that was cut off attaches and misses nothing": comes_back,
    "cogo.v1.bin brings output as it is": reads_binary,
    "a hang is told": hears_of_a_hang,
    "every fixed event was seen": saw_every_event,
}


async def main(url, token=None):
    def reconnect(protocols=None):
        return Client.connect(url, token, protocols)

    client = await reconnect()
    failed = 0
    print(f"TAP version 13\n1..{len(TESTS)}")
    for number, (name, test) in enumerate(TESTS.items(), 1):
        try:
            await test(client, reconnect)
            print(f"ok {number} - {name}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), end="")
    client.vanish()
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: client.py URL [TOKEN]")
    sys.exit(asyncio.run(main(*sys.argv[1:])))
