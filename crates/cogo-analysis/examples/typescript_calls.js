// Calls that the TypeScript compiler sees in the files whose paths come on stdin: `accuracy calls`
// compares with them. The compiler is the package `typescript`, found by NODE_PATH.
const ts = require("typescript");
const fs = require("fs");

for (const path of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const kind = path.endsWith("x") ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  const text = fs.readFileSync(path, "utf8");
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true, kind);
  const lines = [];
  const tell = (name) => {
    const line = file.getLineAndCharacterOfPosition(name.getStart(file)).line + 1;
    lines.push(JSON.stringify([path, line, name.text]));
  };
  const visit = (node) => {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      let called = node.expression;
      while (ts.isNonNullExpression(called) || ts.isParenthesizedExpression(called)) {
        called = called.expression;
      }
      if (ts.isIdentifier(called)) tell(called);
      else if (ts.isPropertyAccessExpression(called)) tell(called.name);
    } else if (ts.isJsxOpeningElement(node) || ts.isJsxSelfClosingElement(node)) {
      if (ts.isIdentifier(node.tagName)) tell(node.tagName);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  if (lines.length) process.stdout.write(lines.join("\n") + "\n");
}
