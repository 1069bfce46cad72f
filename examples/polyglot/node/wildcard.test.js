import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { matches } from "./wildcard.js";

const cases = readFileSync(new URL("../cases.tsv", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => line.split("\t"));

test("the shared cases were read", () => {
  assert.ok(cases.length > 40, `only ${cases.length} cases were read`);
});

for (const [pattern, text, answer] of cases) {
  test(`\`${pattern}\` on \`${text}\` is ${answer}`, () => {
    assert.equal(matches(pattern, text), answer === "yes");
  });
}
