//! A data plane in the form the packet threads read.

use std::sync::Arc;
use std::time::Instant;

use super::{Registry, SaCounters, SenderCounter, SenderId, Spi};
use crate::data_plane::{
    AntiReplay, DataPlane, Direction, Encapsulation, Family, Pseudotime, SecurityAssociation,
};
use crate::esp::iv::IvFormat;
use crate::esp::{AeadProvider, Layout, PacketAead};
use crate::spd::AccessList;

/// Why a data plane was refused; the one installed before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// An SA names a group that is not there.
    #[error("SA {spi} names group index {group}, which does not exist")]
    UnknownGroup {
        /// The SA.
        spi: Spi,
        /// The index.
        group: usize,
    },
    /// Two SAs of one group have one SPI.
    #[error("SPI {spi} occurs twice in the group with index {group}")]
    DuplicateSpi {
        /// The SPI.
        spi: Spi,
        /// The group's index.
        group: usize,
    },
    /// A Sender-ID does not fit its field, or the field has an impossible width.
    #[error("SA {spi}: Sender-ID {sender_id:?} does not fit {bits} bits")]
    SenderId {
        /// The SA.
        spi: Spi,
        /// The Sender-ID.
        sender_id: Option<SenderId>,
        /// The width.
        bits: u8,
    },
    /// More groups than can be told apart.
    #[error("{0} groups are more than 65535")]
    TooManyGroups(usize),
}

/// One SA, ready for use.
pub struct InstalledSa {
    /// The SPI.
    pub spi: Spi,
    /// Index of its group.
    pub group: u16,
    /// Its number in the rules.
    pub association: u16,
    /// IP version of its packets.
    pub family: Family,
    /// First four octets of the nonce.
    pub salt: [u8; 4],
    /// Shape of the IV.
    pub iv: IvFormat,
    /// The cipher.
    pub aead: Box<dyn PacketAead>,
    /// Our Sender-ID and its counter; `None` when we do not seal with it.
    pub sender: Option<(SenderId, Arc<SenderCounter>)>,
    /// What passed.
    pub counters: Arc<SaCounters>,
    /// Replay protection.
    pub anti_replay: AntiReplay,
    /// Form on the wire.
    pub encapsulation: Encapsulation,
    activate_at: Instant,
    stop_sending_at: Instant,
    delete_at: Instant,
}

impl InstalledSa {
    fn new(
        sa: &SecurityAssociation,
        registry: &mut Registry,
        provider: &dyn AeadProvider,
    ) -> Result<Self, InstallError> {
        let error = || InstallError::SenderId {
            spi: sa.spi,
            sender_id: sa.sender_id,
            bits: sa.sender_id_bits,
        };
        let iv = IvFormat::new(sa.sender_id_bits).ok_or_else(error)?;
        if sa.sender_id.is_some_and(|sender| !iv.fits(sender)) {
            return Err(error());
        }
        let key = provider.fingerprint(&sa.key);
        Ok(Self {
            spi: sa.spi,
            group: u16::try_from(sa.group).map_err(|_| InstallError::TooManyGroups(sa.group))?,
            association: sa.association,
            family: sa.family,
            salt: sa.key.salt(),
            iv,
            aead: provider.expand(&sa.key),
            sender: sa
                .sender_id
                .map(|sender| (sender, registry.sender(key, sender, iv))),
            counters: registry.totals(key),
            anti_replay: sa.anti_replay,
            encapsulation: sa.encapsulation,
            activate_at: sa.activate_at,
            stop_sending_at: sa.stop_sending_at,
            delete_at: sa.delete_at,
        })
    }

    /// The shape of its packets.
    pub fn layout(&self) -> Layout {
        Layout {
            delay_header: self.anti_replay.time_window.is_some(),
        }
    }

    /// Whether senders use it now.
    #[inline]
    pub fn seals_at(&self, now: Instant) -> bool {
        self.activate_at <= now && now < self.stop_sending_at && now < self.delete_at
    }

    /// Whether receivers accept it now.
    #[inline]
    pub fn opens_at(&self, now: Instant) -> bool {
        now < self.delete_at
    }
}

struct InstalledGroup {
    group_id: u32,
    direction: Direction,
    pseudotime: Option<Pseudotime>,
}

/// A data plane, compiled: keys expanded, rules flattened, SAs sorted for both look-ups.
pub struct Installed {
    generation: u64,
    access_list: AccessList,
    groups: Vec<InstalledGroup>,
    /// Sorted by SPI.
    by_spi: Vec<InstalledSa>,
    /// Indices into `by_spi` of SAs we may seal with: sorted by what they protect, newest
    /// activation first.
    sealing: Vec<(SealingKey, usize)>,
    link_mtu: u16,
    inner_mtu: u16,
}

/// Group, association, family.
type SealingKey = (u16, u16, Family);

impl Installed {
    /// Nothing installed: every packet is dropped.
    pub fn empty(link_mtu: u16) -> Self {
        Self {
            generation: 0,
            access_list: AccessList::default(),
            groups: Vec::new(),
            by_spi: Vec::new(),
            sealing: Vec::new(),
            link_mtu,
            inner_mtu: smallest_inner_mtu(link_mtu),
        }
    }

    /// Compiles `plane`. `generation` is larger than that of any data plane before;
    /// `link_mtu` holds where the plane does not say.
    ///
    /// # Errors
    /// When the plane contradicts itself.
    pub fn new(
        plane: &DataPlane,
        generation: u64,
        link_mtu: u16,
        registry: &mut Registry,
        provider: &dyn AeadProvider,
    ) -> Result<Self, InstallError> {
        if u16::try_from(plane.groups.len()).is_err() {
            return Err(InstallError::TooManyGroups(plane.groups.len()));
        }
        if let Some(sa) = plane
            .associations
            .iter()
            .find(|sa| sa.group >= plane.groups.len())
        {
            return Err(InstallError::UnknownGroup {
                spi: sa.spi,
                group: sa.group,
            });
        }
        let mut by_spi = plane
            .associations
            .iter()
            .map(|sa| InstalledSa::new(sa, registry, provider))
            .collect::<Result<Vec<_>, _>>()?;
        by_spi.sort_by_key(|sa| (sa.spi, sa.group));
        if let Some([sa, _]) = by_spi
            .array_windows()
            .find(|[left, right]| (left.spi, left.group) == (right.spi, right.group))
        {
            return Err(InstallError::DuplicateSpi {
                spi: sa.spi,
                group: usize::from(sa.group),
            });
        }
        let mut sealing: Vec<_> = by_spi
            .iter()
            .enumerate()
            .filter(|(_, sa)| sa.sender.is_some())
            .map(|(at, sa)| ((sa.group, sa.association, sa.family), at))
            .collect();
        sealing.sort_by_key(|&(key, at)| {
            (
                key,
                std::cmp::Reverse(by_spi.get(at).map(|sa| sa.activate_at)),
            )
        });
        let link_mtu = plane.link_mtu.unwrap_or(link_mtu);
        let inner_mtu = by_spi
            .iter()
            .map(|sa| {
                sa.layout()
                    .largest_inner(usize::from(link_mtu), sa.family, sa.encapsulation)
            })
            .min()
            .map_or(smallest_inner_mtu(link_mtu), |inner| {
                u16::try_from(inner).unwrap_or(u16::MAX)
            });
        Ok(Self {
            generation,
            access_list: AccessList::new(
                &plane.local_bypass,
                plane.groups.iter().map(|group| group.rules.as_slice()),
            ),
            groups: plane
                .groups
                .iter()
                .map(|group| InstalledGroup {
                    group_id: group.group_id,
                    direction: group.direction,
                    pseudotime: group.pseudotime,
                })
                .collect(),
            by_spi,
            sealing,
            link_mtu,
            inner_mtu,
        })
    }

    /// Number of this data plane.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The access list.
    pub fn access_list(&self) -> &AccessList {
        &self.access_list
    }

    /// All SAs, by SPI.
    pub fn associations(&self) -> &[InstalledSa] {
        &self.by_spi
    }

    /// Octets of the largest outer packet.
    pub fn link_mtu(&self) -> u16 {
        self.link_mtu
    }

    /// Octets of the largest inner packet that every SA carries: the TUN's MTU.
    pub fn inner_mtu(&self) -> u16 {
        self.inner_mtu
    }

    /// The SAs with this SPI: one for each group that uses it.
    #[inline]
    pub fn by_spi(&self, spi: Spi) -> &[InstalledSa] {
        let from = self.by_spi.partition_point(|sa| sa.spi < spi);
        let rest = &self.by_spi[from..];
        let count = rest.iter().take_while(|sa| sa.spi == spi).count();
        &rest[..count]
    }

    /// Whether this member may send in a group.
    pub fn may_send(&self, group: u16) -> bool {
        self.groups
            .get(usize::from(group))
            .is_some_and(|group| group.direction == Direction::Both)
    }

    /// The number of a group.
    pub fn group_id(&self, group: u16) -> u32 {
        self.groups
            .get(usize::from(group))
            .map_or(0, |group| group.group_id)
    }

    /// A group's pseudotime, in milliseconds.
    pub fn pseudotime(&self, group: u16, now: Instant) -> Option<u64> {
        self.groups
            .get(usize::from(group))?
            .pseudotime
            .map(|pseudotime| pseudotime.milliseconds_at(now))
    }

    /// The SA to seal with now: of those in use the one activated last (RFC 9838 §2.4.1.4).
    #[inline]
    pub fn sealing(
        &self,
        group: u16,
        association: u16,
        family: Family,
        now: Instant,
    ) -> Option<&InstalledSa> {
        let key = (group, association, family);
        let from = self.sealing.partition_point(|(other, _)| *other < key);
        self.sealing[from..]
            .iter()
            .take_while(|(other, _)| *other == key)
            .filter_map(|(_, at)| self.by_spi.get(*at))
            .find(|sa| sa.seals_at(now))
    }
}

/// What fits whatever the policy turns out to be: IPv6, UDP, pseudotime.
fn smallest_inner_mtu(link_mtu: u16) -> u16 {
    let inner = Layout { delay_header: true }.largest_inner(
        usize::from(link_mtu),
        Family::V6,
        Encapsulation::Udp,
    );
    u16::try_from(inner).unwrap_or(u16::MAX)
}
