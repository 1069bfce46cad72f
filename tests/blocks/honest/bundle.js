// Reads, transforms and writes many files, as a bundler does.
const fs = require('node:fs');
const zlib = require('node:zlib');
for (let round = 0; round < 60; round++) {
  let text = '';
  for (let i = 0; i < 20000; i++) text += `export const value${i} = ${Math.sqrt(i + round)};\n`;
  fs.writeFileSync(`module${round}.js`, text);
  fs.writeFileSync(`module${round}.gz`, zlib.gzipSync(fs.readFileSync(`module${round}.js`), { level: 9 }));
}
