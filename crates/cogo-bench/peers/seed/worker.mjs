// The worker of the seed design: runs each command with a shell and passes on what it writes, with
// no sandbox, no log and no memory of anything. Written from the protocol's description.
//
// usage: node worker.mjs PORT WORKER_ID
import { spawn } from "node:child_process";
import { WebSocketServer } from "ws";

const [port, workerId] = process.argv.slice(2);
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port) });
const tasks = new Map();

server.on("connection", (socket) => {
  const send = (message) => socket.send(JSON.stringify({ ...message, workerId, timestamp: Date.now() }));
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    const { taskId } = message;
    switch (message.type) {
      case "execute_command": {
        const child = spawn("/bin/sh", ["-c", message.command], { stdio: ["ignore", "pipe", "pipe"] });
        tasks.set(taskId, child);
        send({ type: "execution_started", taskId });
        for (const stream of ["stdout", "stderr"]) {
          child[stream].on("data", (chunk) =>
            send({ type: "task_output", taskId, stream, output: chunk.toString() }));
        }
        child.on("close", (code) => {
          tasks.delete(taskId);
          send({ type: "task_complete", taskId, exitCode: code ?? 1 });
        });
        child.on("error", (error) => send({ type: "task_error", taskId, error: String(error) }));
        break;
      }
      case "terminate_task":
        tasks.get(taskId)?.kill("SIGTERM");
        break;
      case "send_input":
        tasks.get(taskId)?.stdin?.write(message.input);
        break;
      case "ping":
        send({ type: "pong" });
        break;
    }
  });
  const heartbeat = setInterval(() => send({
    type: "heartbeat",
    status: tasks.size > 0 ? "busy" : "idle",
    health: { cpu: 0, memory: 0, disk: 0, uptime: process.uptime() * 1000 },
  }), 30_000);
  socket.on("close", () => clearInterval(heartbeat));
});
