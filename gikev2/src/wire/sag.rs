//! SAg, the transforms a group member supports (RFC 9838 §2.3.3, §4.3): the layout of an SA payload
//! read as a list of capabilities.
//!
//! [`SecurityAssociation`] is the value. Proposals with the same number form a set: what a policy takes
//! for one protocol and what it takes for another must come from one set.

use super::registry::{ProtocolId, TransformType};
use super::sa::{Proposal, SecurityAssociation, Transform};

/// Whether a member that announced `capabilities` can use all the policies, each given as its protocol
/// and its transforms (RFC 9838 §2.3.3). Every transform type the policy uses must be offered with the
/// same ID and attributes, and all policies must be covered by one set.
pub fn covers<'a>(
    capabilities: &[Proposal],
    policies: impl IntoIterator<Item = (ProtocolId, &'a [Transform])> + Clone,
) -> bool {
    capabilities.iter().any(|candidate| {
        policies.clone().into_iter().all(|(protocol, transforms)| {
            capabilities
                .iter()
                .filter(|proposal| proposal.number == candidate.number)
                .filter(|proposal| proposal.protocol == protocol)
                .any(|proposal| transforms.iter().all(|wanted| offers(proposal, wanted)))
        })
    })
}

/// Whether the proposal names the transform. An INTEG transform NONE needs no offer.
fn offers(proposal: &Proposal, wanted: &Transform) -> bool {
    if wanted.transform_type == TransformType::INTEGRITY && wanted.id == 0 {
        return true;
    }
    proposal.transforms.contains(wanted)
}

/// The capabilities as a payload.
pub fn payload(capabilities: &[Proposal]) -> SecurityAssociation {
    SecurityAssociation {
        proposals: capabilities.to_vec(),
    }
}
