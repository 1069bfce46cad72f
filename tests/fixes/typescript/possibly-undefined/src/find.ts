export function lengthOf(names: Map<string, string>, id: string): number {
  const name = names.get(id);
  return name.length;
}
