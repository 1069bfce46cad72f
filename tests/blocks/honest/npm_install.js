// A package manager that waits for a slow registry, and then unpacks what it got.
const { execFileSync, spawn } = require('node:child_process');
const { createServer } = require('node:http');
const fs = require('node:fs');

fs.mkdirSync('package');
fs.writeFileSync('package/package.json', '{"name": "slow", "version": "1.0.0"}');
execFileSync('tar', ['czf', 'slow.tgz', 'package']);
const tarball = fs.readFileSync('slow.tgz');
const slow = 7000;

const registry = createServer((request, response) => {
  const port = registry.address().port;
  const body = request.url.endsWith('.tgz')
    ? tarball
    : JSON.stringify({
        name: 'slow',
        'dist-tags': { latest: '1.0.0' },
        versions: { '1.0.0': { name: 'slow', version: '1.0.0',
          dist: { tarball: `http://127.0.0.1:${port}/slow.tgz` } } },
      });
  setTimeout(() => response.end(body), slow);
});
registry.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${registry.address().port}/`;
  fs.mkdirSync('project');
  fs.writeFileSync('project/package.json', '{"name": "project", "version": "1.0.0"}');
  const install = spawn('npm', ['install', '--no-audit', '--no-fund', '--registry', url,
    '--cache', `${process.cwd()}/cache`, 'slow'], { cwd: 'project', stdio: 'inherit' });
  install.on('exit', (code) => process.exit(code ?? 1));
});
