// Two workers wait for each other's word.
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const fs = require('node:fs');
if (isMainThread) {
  const shared = new SharedArrayBuffer(8);
  for (const own of [0, 1]) new Worker(__filename, { workerData: { shared, own } });
  setTimeout(() => fs.writeFileSync('blocking', ''), 200);
} else {
  const words = new Int32Array(workerData.shared);
  Atomics.wait(words, 1 - workerData.own, 0);
  Atomics.store(words, workerData.own, 1);
  Atomics.notify(words, workerData.own);
}
