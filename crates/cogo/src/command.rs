//! The commands of `cogo`, one file each.

pub(crate) mod analysis;
pub(crate) mod attach;
pub(crate) mod doctor;
pub(crate) mod fix;
pub(crate) mod health;
pub(crate) mod kill;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod queue;
pub(crate) mod rootfs;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod submit;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod why;
pub(crate) mod worker;
pub(crate) mod workers;
