//! A worker's parts with real execs.

mod blocks;
