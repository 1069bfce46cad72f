import { day } from "./lib/date";

export const week = 7 * day;
