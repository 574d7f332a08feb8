//! Groups on a Kubernetes cluster: what `kubectl getvpn` shows and changes there.
//!
//! Resources and their status come from the API server. What only key servers know is asked of them through a forwarded
//! port with the client certificate of the Secret `GROUP-admin`; what only a member knows, of its sidecar by `exec`. So
//! whoever uses a command needs the rights for these, and no more.

pub mod connection;
pub mod connectivity;
pub mod diagnosis;
pub mod error;
pub mod forward;
pub mod key_servers;
pub mod member;
pub mod resources;
pub mod stand_alone;
pub mod system_dump;
pub mod table;
