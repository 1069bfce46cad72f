export interface Money {
  cents: number;
}

export function format(money: Money): string {
  return (money.cents / 100).toFixed(2);
}
