export function shout(words: string[]): string {
  return words.map((word) => word.toUppercase()).join(" ");
}
