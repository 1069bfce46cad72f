// A development server: serves, watches its sources, and builds in a child when one changes.
const { createServer } = require('node:http');
const { spawn } = require('node:child_process');
const fs = require('node:fs');

fs.mkdirSync('src');
fs.writeFileSync('src/index.js', 'console.log(0)');
let builds = 0;
fs.watch('src', () => {
  const build = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 300)']);
  build.on('exit', () => { builds += 1; });
});
createServer((request, response) => response.end(String(builds))).listen(0, '127.0.0.1');
setTimeout(() => fs.writeFileSync('src/index.js', 'console.log(1)'), 6000);
