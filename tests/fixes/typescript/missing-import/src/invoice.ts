export function line(name: string, price: Money): string {
  return `${name}: ${format(price)}`;
}
