//! A real Kubernetes on one machine, in namespaces of its own.
//!
//! Kubernetes' own programs, built from their Go modules, with etcd, containerd, runc and the network
//! plugins of Debian. The control plane and every node are *machines*: mount, process, network and
//! host name namespaces whose first process keeps them. Outside there are only one directory of state,
//! one of built programs, control groups and a port on the loopback address. A system containerd,
//! its images, iptables and routes are never touched.

mod certificates;
pub mod command;
mod component;
mod control;
pub mod down;
pub mod forward;
mod host;
pub mod image;
pub mod kubectl;
pub mod load;
mod lock;
pub mod machine;
pub mod names;
pub mod network;
mod node;
pub mod place;
mod programs;
pub mod record;
pub mod shape;
mod standard_images;
pub mod status;
pub mod tar;
pub mod up;
pub mod volumes;
