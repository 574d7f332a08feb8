//! What a GSA_INBAND_REKEY says (RFC 9838 §2.4.2): everything is checked and unwrapped before anything is handed over.

use crate::Secret;
use crate::exchange::download::{self, Mismatch};
use crate::exchange::key_schedule::KeySchedule;
use crate::exchange::payloads::Payloads;
use crate::exchange::policy::{self, Carrier};
use crate::rekey::content::read_deletes;
use crate::rekey::receiver::Deletes;
use crate::wire::{GroupSecurityAssociation, Notify, RekeySpi, Spi};

use super::InitiatorError;
use super::registration::rekey_key;

/// New keys, or deletions, that came over the IKE SA. Keys are unwrapped and have the exact lengths their SAs need.
pub struct InbandRekey {
    /// Message ID of the request that brought them.
    pub message_id: u32,
    /// New policy; `None` in a message that only deletes.
    pub gsa: Option<GroupSecurityAssociation>,
    /// Keying material of a new Rekey SA (GSK_e ‖ GSK_w); hand it to
    /// [`Receiver::handle_inband`](crate::rekey::receiver::Receiver::handle_inband).
    pub rekey: Option<(RekeySpi, Secret)>,
    /// Keying material of each new data SA, by SPI.
    pub data: Vec<(Spi, Secret)>,
    /// What to delete.
    pub deletes: Deletes,
    /// Rekey SAs to delete by name.
    pub deleted_rekey_sas: Vec<RekeySpi>,
    /// Notifications.
    pub notifies: Vec<Notify>,
}

impl std::fmt::Debug for InbandRekey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("InbandRekey")
            .field("message_id", &self.message_id)
            .field("gsa", &self.gsa)
            .field("deletes", &self.deletes)
            .finish_non_exhaustive()
    }
}

/// Reads the payloads of a GSA_INBAND_REKEY.
pub(super) fn read(
    schedule: &KeySchedule,
    message_id: u32,
    request: Payloads,
) -> Result<InbandRekey, Mismatch> {
    if request.authentication.is_some() {
        return Err("the IKE SA proves who sends a GSA_INBAND_REKEY: it has no AUTH");
    }
    let (deletes, deleted_rekey_sas) = read_deletes(&request.deletes);
    let mut rekey = InbandRekey {
        message_id,
        gsa: None,
        rekey: None,
        data: Vec::new(),
        deletes,
        deleted_rekey_sas,
        notifies: request.notifies,
    };
    let (gsa, keys) = match (request.policy, request.key_download) {
        (Some(gsa), Some(keys)) => (gsa, keys),
        (None, None) if !request.deletes.is_empty() => return Ok(rekey),
        (None, None) => return Err("neither policy nor deletion"),
        _ => return Err("policy and keys must come together"),
    };
    policy::check(&gsa, &rekey.notifies, Carrier::InbandRekey)?;
    if keys.member().is_some() {
        return Err("WRAP_KEY, AUTH_KEY and GM_SENDER_ID are not for GSA_INBAND_REKEY");
    }
    let default_key = schedule
        .key_wrap_key()
        .map_err(|_| "keys cannot be derived")?;
    rekey.data = download::data_keys(&gsa, &keys, &default_key)?;
    let (found, _) = rekey_key(&gsa, &keys, &default_key).map_err(|error| match error {
        InitiatorError::Keys(rule) => rule,
        _ => "the Rekey SA's key cannot be used",
    })?;
    rekey.rekey = found;
    rekey.gsa = Some(gsa);
    Ok(rekey)
}
