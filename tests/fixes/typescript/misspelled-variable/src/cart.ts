export function total(prices: number[]): number {
  let amount = 0;
  for (const price of prices) {
    amout += price;
  }
  return amount;
}
