//! The key server's decisions and replicated state, pure.
