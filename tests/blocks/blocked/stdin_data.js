// Collects standard input to its end.
const fs = require('node:fs');
let all = '';
fs.writeFileSync('blocking', '');
process.stdin.on('data', (piece) => { all += piece; });
process.stdin.on('end', () => console.log(all.length));
