//! The proxy as its clients meet it: attempts to get around the list, and honest use.

mod attempts;
mod clients;
mod fixture;
mod transfer;
