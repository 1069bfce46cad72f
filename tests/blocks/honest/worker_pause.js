// A worker waits for its main thread, which waits for a timer.
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
if (isMainThread) {
  const worker = new Worker(__filename);
  worker.on('message', (text) => { console.log(text); worker.terminate(); });
  setTimeout(() => worker.postMessage('go'), 15000);
} else {
  parentPort.on('message', (text) => parentPort.postMessage(text));
}
