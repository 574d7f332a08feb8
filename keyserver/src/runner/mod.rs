//! The task that owns `keyserver-core`.

mod application;

pub use application::RunnerApplication;
