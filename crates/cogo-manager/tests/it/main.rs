//! The manager as a whole.

mod simulation;
