export function load(read: (name: string) => Promise<string>): Promise<string[]> {
  const text = await read("names");
  return text.split("\n") as unknown as Promise<string[]>;
}
