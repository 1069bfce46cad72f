// Reads `pattern<TAB>text` lines and answers each with `yes` or `no`.

import { readFileSync } from "node:fs";

import { matches } from "./wildcard.js";

const lines = readFileSync(0, "utf8").split("\n").slice(0, -1);
const answers = lines.map((line) => {
  const [pattern, text = ""] = line.split("\t");
  return matches(pattern, text) ? "yes\n" : "no\n";
});
process.stdout.write(answers.join(""));
