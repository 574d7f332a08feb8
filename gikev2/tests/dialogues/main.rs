//! Dialogues between both ends of the protocol, in virtual time.

mod support;

mod eviction;
mod hostile;
mod inband;
mod opening;
mod policy_rules;
mod private_values;
mod refusals;
mod registration_certificate;
mod registration_psk;
mod rekey;
mod rekey_authority;
mod rekey_content;
mod reliability;
