interface User {
  firstName: string;
  lastName: string;
}

export function greet(user: User): string {
  return `Hello ${user.fristName}`;
}

export const ada: User = { firstName: "Ada", lastname: "Lovelace" };
