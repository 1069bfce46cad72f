// Asks one question after the other, as an init dialog does.
const readline = require('node:readline/promises');
const fs = require('node:fs');
const dialog = readline.createInterface({ input: process.stdin, output: process.stdout });
(async () => {
  fs.writeFileSync('blocking', '');
  const name = await dialog.question('package name: ');
  const version = await dialog.question('version: ');
  console.log(name, version);
  dialog.close();
})();
