// A client of cogo's worker protocol, made with npm's `ws`. Usage: client.mjs URL [TOKEN]

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import WebSocket from "ws";

const PATIENCE_MS = 60_000;
const [url, token] = process.argv.slice(2);
if (!url) {
  console.error("usage: client.mjs URL [TOKEN]");
  process.exit(2);
}
const extra = JSON.parse(process.env.COGO_CLIENT_FIELDS ?? "{}");
// Whoever does not look for hangs is not asked for one.
const blocks = process.env.COGO_CLIENT_BLOCKS === "1";
const eventsSeen = new Set();

/** Checks the fields of an event that are fixed. */
function checkEvent(message) {
  assert.equal(typeof message.type, "string");
  if (message.type === "welcome") return;
  eventsSeen.add(message.type);
  assert.equal(typeof message.workerId, "string");
  assert.ok(Number.isInteger(message.timestamp), "timestamp is in milliseconds");
  const fields = {
    execution_started: { taskId: "string" },
    task_output: { taskId: "string", output: "string", stream: "string" },
    task_complete: { taskId: "string", exitCode: "number" },
    task_error: { error: "string" },
    block_detected: { taskId: "string", blockInfo: "object" },
    heartbeat: { status: "string", health: "object" },
  }[message.type];
  for (const [name, type] of Object.entries(fields ?? {})) {
    assert.equal(typeof message[name], type, `${message.type}.${name}`);
  }
  if (message.type === "heartbeat") {
    assert.ok(["idle", "busy", "error", "blocked"].includes(message.status));
    for (const figure of ["cpu", "memory", "disk", "uptime"]) {
      assert.equal(typeof message.health[figure], "number", figure);
    }
  }
}

/** Checks what a hang is described by. */
function checkBlock({ taskId, workerId, reason, duration, resourceUsage, recoverable }, event) {
  assert.deepEqual([taskId, workerId], [event.taskId, event.workerId]);
  assert.equal(typeof reason, "string");
  assert.ok(Number.isInteger(duration), "duration is in milliseconds");
  assert.equal(typeof recoverable, "boolean");
  for (const figure of ["cpu", "memory", "disk"]) {
    assert.equal(typeof resourceUsage[figure], "number", figure);
  }
}

class Client {
  static async connect(protocols = []) {
    const client = new Client();
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    client.socket = new WebSocket(url, protocols, { headers });
    client.queue = [];
    client.waiting = null;
    client.socket.on("message", (data, isBinary) => {
      const message = isBinary ? { type: "binary", data } : JSON.parse(data);
      if (!isBinary) checkEvent(message);
      client.queue.push(message);
      client.waiting?.();
    });
    await new Promise((resolve, reject) => {
      client.socket.once("open", resolve);
      client.socket.once("error", reject);
    });
    return client;
  }

  async next() {
    const deadline = Date.now() + PATIENCE_MS;
    while (this.queue.length === 0) {
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("no message came")), deadline - Date.now());
        this.waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.queue.shift();
  }

  /** The next message of a type, about a task if one is given; others are passed over. */
  async until(type, taskId) {
    for (;;) {
      const message = await this.next();
      if (message.type === type && (taskId === undefined || message.taskId === taskId)) {
        return message;
      }
    }
  }

  send(message) {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  execute(command, more = {}) {
    const taskId = `node-${randomUUID()}`;
    this.send({ type: "execute_command", taskId, command, timestamp: Date.now(), ...extra, ...more });
    return taskId;
  }

  /** All that is told of a task up to its end. */
  async toEnd(taskId) {
    const told = { stdout: "", stderr: "", started: 0, lastSeq: -1 };
    for (;;) {
      const message = await this.next();
      if (message.taskId !== taskId) continue;
      if (message.type === "execution_started") told.started += 1;
      if (message.type === "task_output") {
        assert.ok(message.seq > told.lastSeq, "sequence numbers rise");
        told.lastSeq = message.seq;
        told[message.stream] += message.output;
      }
      if (["task_complete", "task_error"].includes(message.type)) return { ...told, end: message };
    }
  }

  /** Closes without a word, as a lost network does. */
  vanish() {
    this.socket.terminate();
  }
}

const tests = {
  "execute_command: started, output of both streams, complete": async (client) => {
    const told = await client.toEnd(client.execute("echo out; echo err >&2"));
    assert.equal(told.started, 1);
    assert.equal(told.stdout, "out\n");
    assert.equal(told.stderr, "err\n");
    assert.equal(told.end.type, "task_complete");
    assert.equal(told.end.exitCode, 0);
  },
  "a failure is complete too, with its exit code": async (client) => {
    const { end } = await client.toEnd(client.execute("exit 7"));
    assert.equal(end.type, "task_complete");
    assert.equal(end.exitCode, 7);
  },
  "a signal death is 128 and the signal": async (client) => {
    const { end } = await client.toEnd(client.execute("kill -KILL $$"));
    assert.equal(end.exitCode, 137);
  },
  "what cannot be started is task_error": async (client) => {
    const { end } = await client.toEnd(client.execute("", { argv: ["/no/such/program"] }));
    assert.equal(end.type, "task_error");
    assert.ok(end.error.length > 0);
  },
  "terminate_task ends a task": async (client) => {
    const taskId = client.execute("sleep 1000");
    await client.until("execution_started", taskId);
    client.send({ type: "terminate_task", taskId });
    const { end } = await client.toEnd(taskId);
    assert.equal(end.type, "task_complete");
    assert.equal(end.exitCode, 143);
  },
  "send_input reaches the program": async (client) => {
    const taskId = client.execute("read line; echo got $line; cat", { stdin: "open" });
    await client.until("execution_started", taskId);
    client.send({ type: "send_input", taskId, input: "grün\n" });
    assert.equal((await client.until("task_output", taskId)).output, "got grün\n");
    client.send({ type: "send_input", taskId, input: "rest", eof: true });
    const told = await client.toEnd(taskId);
    assert.equal(told.stdout, "rest");
    assert.equal(told.end.exitCode, 0);
  },
  "input that is not taken is refused, and the task goes on": async (client) => {
    const taskId = client.execute("echo up; sleep 1000");
    await client.until("task_output", taskId);
    client.send({ type: "send_input", taskId, input: "nobody reads this\n" });
    assert.equal((await client.until("task_error", taskId)).code, "not_applicable");
    client.send({ type: "terminate_task", taskId, graceMs: 1000 });
    assert.equal((await client.toEnd(taskId)).end.exitCode, 143);
  },
  "list_tasks tells what runs, and how far its output is": async (client) => {
    const taskId = client.execute("echo one; sleep 1000");
    const { seq } = await client.until("task_output", taskId);
    client.send({ type: "list_tasks" });
    const { tasks } = await client.until("task_list");
    const listed = tasks.find((task) => task.taskId === taskId);
    assert.deepEqual([listed.running, listed.lastSeq], [true, seq + 1]);
    client.send({ type: "terminate_task", taskId });
    await client.toEnd(taskId);
  },
  "a task that is not there is said not to be there": async (client) => {
    const taskId = `node-${randomUUID()}`;
    for (const message of [
      { type: "attach", taskId, fromSeq: 0 },
      { type: "terminate_task", taskId },
      { type: "send_input", taskId, input: "x" },
    ]) {
      client.send(message);
      assert.equal((await client.until("task_error", taskId)).code, "no_such_task", message.type);
    }
  },
  "a name stands for one task": async (client) => {
    const taskId = client.execute("echo first");
    await client.toEnd(taskId);
    client.send({ type: "execute_command", taskId, command: "echo second", timestamp: Date.now(), ...extra });
    assert.equal((await client.until("task_error", taskId)).code, "task_exists");
  },
  "ping is answered with its timestamp": async (client) => {
    const timestamp = Date.now() - 12_345;
    client.send({ type: "ping", timestamp });
    assert.equal((await client.until("pong")).timestamp, timestamp);
  },
  "a heartbeat comes": async (client) => {
    await client.until("heartbeat");
  },
  "unknown and malformed messages are answered, and the connection stays": async (client) => {
    client.send({ type: "make_coffee" });
    assert.equal((await client.until("task_error")).code, "unknown_message");
    for (const text of ["{", "[]", "hello", '{"type":"terminate_task"}']) {
      client.send(text);
      assert.equal((await client.until("task_error")).code, "bad_message", text);
    }
    const told = await client.toEnd(client.execute("echo still here", { colour: { of: "choice" } }));
    assert.equal(told.stdout, "still here\n");
  },
  "a client that was cut off attaches and misses nothing": async () => {
    let client = await Client.connect();
    const script =
      "i=0; while [ $i -lt 200 ]; do printf 'zeile %d ä\\n' $i; i=$((i+1)); sleep 0.002; done; exit 5";
    const taskId = client.execute(script);
    let seen = "";
    let fromSeq = 0;
    for (let cut = 0; cut < 3; cut += 1) {
      for (let count = 0; count < 4; count += 1) {
        const output = await client.until("task_output", taskId);
        seen += output.output;
        fromSeq = output.seq + 1;
      }
      client.vanish();
      client = await Client.connect();
      client.send({ type: "attach", taskId, fromSeq });
    }
    const told = await client.toEnd(taskId);
    assert.equal(told.end.exitCode, 5);
    const expected = Array.from({ length: 200 }, (_, i) => `zeile ${i} ä\n`).join("");
    assert.equal(seen + told.stdout, expected);
    client.send({ type: "attach", taskId, fromSeq: 0 });
    assert.equal((await client.toEnd(taskId)).stdout, expected);
    client.vanish();
  },
  "cogo.v1.bin brings output as it is": async () => {
    const client = await Client.connect(["cogo.v1.bin"]);
    assert.equal(client.socket.protocol, "cogo.v1.bin");
    const taskId = client.execute("printf '\\377\\000\\001'; printf x >&2");
    const { handle } = await client.until("execution_started", taskId);
    const streams = { 1: [], 2: [] };
    for (;;) {
      const message = await client.next();
      if (message.type === "task_complete") break;
      if (message.type !== "binary") continue;
      assert.equal(message.data[0], 1);
      assert.equal(message.data.readUInt32LE(4), handle);
      streams[message.data[1]].push(...message.data.subarray(24));
    }
    assert.deepEqual(streams, { 1: [255, 0, 1], 2: [120] });
    client.vanish();
  },
  "a hang is told": async (client) => {
    if (!blocks) return;
    const taskId = client.execute("read line; exit 3", { stdin: "open", blockPolicy: "warn" });
    const event = await client.until("block_detected", taskId);
    checkBlock(event.blockInfo, event);
    assert.equal(event.blockInfo.reason, "waiting_for_input");
    client.send({ type: "send_input", taskId, input: "\n" });
    assert.equal((await client.toEnd(taskId)).end.exitCode, 3);
  },
  "every fixed event was seen": async () => {
    const types = ["execution_started", "task_output", "task_complete", "task_error", "heartbeat"];
    for (const type of blocks ? [...types, "block_detected"] : types) {
      assert.ok(eventsSeen.has(type), type);
    }
  },
};

const client = await Client.connect();
const names = Object.keys(tests);
let failed = 0;
console.log(`TAP version 13\n1..${names.length}`);
for (const [index, name] of names.entries()) {
  try {
    await tests[name](client);
    console.log(`ok ${index + 1} - ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${index + 1} - ${name}`);
    console.log(String(error.stack ?? error).replace(/^/gm, "# "));
  }
}
client.vanish();
process.exit(failed === 0 ? 0 : 1);
