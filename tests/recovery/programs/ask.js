const readline = require("node:readline").createInterface({ input: process.stdin, output: process.stdout });
readline.question("Licence? ", (answer) => {
  readline.close();
  process.exit(answer === "MIT" ? 0 : 1);
});
