// A child that is never read fills its pipe; the parent waits for it to end.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const child = spawn('head', ['-c', '10000000', '/dev/zero'], { stdio: ['ignore', 'pipe', 'inherit'] });
child.stdout.pause();
child.on('exit', () => console.log('ended'));
fs.writeFileSync('blocking', '');
