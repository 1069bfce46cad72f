export function count(text: string): number {
  const found = 0;
  for (const letter of text) {
    if (letter === "a") {
      found = found + 1;
    }
  }
  return found;
}
