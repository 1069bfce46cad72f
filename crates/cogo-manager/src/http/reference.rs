//! The reference page: reads `/openapi.json` and nothing from elsewhere.

/// The page.
pub(super) const PAGE: &str = include_str!("reference.html");
