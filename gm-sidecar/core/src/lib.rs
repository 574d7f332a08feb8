//! The group member's decisions: registration, SAs, policy, ESP; pure.
