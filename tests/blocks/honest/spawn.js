const { spawn } = require('node:child_process');
spawn('sleep', ['18']).on('exit', (code) => console.log(code));
