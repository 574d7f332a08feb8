//! What the Helm charts give, as objects: the roles, the pods, the webhook, the monitoring, and the rules that keep
//! GitOps tools from seeing differences.
//!
//! These tests need Helm 4, which `cargo xtask cluster build` builds. Where there is none they say so and pass, unless
//! `GETVPN_HELM` names one.

mod gitops_rules;
mod monitoring;
mod objects;
mod render;
mod roles;
mod values;
mod webhook;
