// Many workers for each processor that it may use.
const { Worker } = require("node:worker_threads");
const os = require("node:os");
let left = 8 * os.availableParallelism();
for (let i = left; i > 0; i--) {
  const worker = new Worker("setTimeout(() => {}, 1500)", { eval: true });
  worker.on("error", (error) => { console.error(error); process.exit(1); });
  worker.on("exit", () => { if (--left === 0) console.log("all done"); });
}
