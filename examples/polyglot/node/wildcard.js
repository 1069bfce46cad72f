// Shell-like wildcards: `*` matches any run of characters, `?` exactly one, `\` takes the next
// character as it is.

const ANY_RUN = Symbol("any run");
const ANY_ONE = Symbol("any one");

/** The elements of a pattern: `ANY_RUN`, `ANY_ONE` or a literal character. */
function tokens(pattern) {
  const characters = Array.from(pattern);
  const found = [];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at];
    if (character === "*") found.push(ANY_RUN);
    else if (character === "?") found.push(ANY_ONE);
    // A backslash at the end stands for itself.
    else if (character === "\\") found.push(characters[(at += 1)] ?? "\\");
    else found.push(character);
  }
  return found;
}

/**
 * Whether `pattern` matches the whole of `text`.
 *
 * Only the last `*` is ever tried again, so the time is bounded by the product of both lengths.
 */
export function matches(pattern, text) {
  const expected = tokens(pattern);
  const characters = Array.from(text);
  let at = 0;
  let read = 0;
  let retry = null;
  while (read < characters.length) {
    const token = expected[at];
    if (token === ANY_RUN) {
      at += 1;
      retry = { at, read };
    } else if (token === ANY_ONE || token === characters[read]) {
      at += 1;
      read += 1;
    } else if (retry) {
      retry.read += 1;
      ({ at, read } = retry);
    } else {
      return false;
    }
  }
  return expected.slice(at).every((token) => token === ANY_RUN);
}
