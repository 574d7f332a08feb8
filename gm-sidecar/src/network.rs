//! Routes that lead the group's traffic into the TUN device, and what else the kernel must be told
//! so that it works: reverse-path checks, multicast memberships.
//!
//! Policy becomes routing rules (`routing_plan`); this module makes the kernel hold exactly those,
//! and removes exactly those. It never decides whether a packet may go in clear: that is the
//! [`crate::guard`]'s business, and holds whatever happens here.

mod kernel;
mod multicast;
mod routing_plan;
mod sysctl;

use gm_core::data_plane::Family;
use gm_core::member::traffic_plan::TrafficPlan;

use crate::config::NetworkConfig;
use kernel::Kernel;
use routing_plan::{Host, Names, Route, RoutingPlan, Rule};

pub use multicast::MulticastMirror;

/// How many rules fit into one of the two banks of preferences.
const BANK: u32 = 2000;
/// Octets the kernel hands over at once at most. Cut into packets and sealed they fit the 65,507 octets of a train for
/// every link MTU from 800 octets on.
const LARGEST_READ: u32 = 61_000;

/// Why routes or rules could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel's routing socket cannot be opened.
    #[error("routing: the kernel's netlink socket cannot be opened")]
    Open(#[source] std::io::Error),
    /// Not enough privileges.
    #[error(
        "routing: the kernel refused to {action} for lack of privileges; run as root or with the \
         capability CAP_NET_ADMIN"
    )]
    Forbidden {
        /// What was tried.
        action: String,
    },
    /// The kernel refused.
    #[error("routing: the kernel refused to {action}: {cause}")]
    Refused {
        /// What was tried.
        action: String,
        /// Its answer.
        cause: String,
    },
    /// A protected interface is not there.
    #[error("interfaces: there is no interface `{0}`; name one that `ip link` shows")]
    NoInterface(String),
    /// The policy needs more rules than there are preferences for.
    #[error(
        "routing: the policy needs {0} routing rules, more than {BANK}; summarise its networks"
    )]
    TooManyRules(usize),
}

/// The kernel's routing as far as it is ours.
pub struct Network {
    kernel: Kernel,
    names: Names,
    preference: u32,
    /// Rules in force, in order, and the preference of the first one.
    rules: Vec<Rule>,
    first_preference: u32,
    routes: Vec<Route>,
    /// Devices whose reverse-path check was relaxed, and what it was before.
    relaxed: Vec<(u32, i32)>,
}

impl Network {
    /// Opens the routing socket and clears away what an earlier process of this member left behind.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`NetworkError`]; a missing interface is found here.
    pub async fn open(
        config: &NetworkConfig,
        interfaces: &[String],
        tun: &str,
    ) -> Result<Self, NetworkError> {
        let kernel = Kernel::open()?;
        for interface in interfaces {
            kernel.index_of(interface).await?;
        }
        let network = Self {
            kernel,
            names: Names {
                mark: config.mark,
                table: config.routing_table,
                tun: tun.to_owned(),
                interfaces: interfaces.to_vec(),
            },
            preference: config.rule_preference,
            rules: Vec::new(),
            first_preference: config.rule_preference,
            routes: Vec::new(),
            relaxed: Vec::new(),
        };
        network.kernel.remove_ours(network.names.table).await?;
        Ok(network)
    }

    /// Largest packet, in octets, that every protected interface carries.
    ///
    /// # Errors
    /// [`NetworkError`] when an interface has gone.
    pub async fn link_mtu(&self) -> Result<u16, NetworkError> {
        let mut smallest = u16::MAX;
        for interface in &self.names.interfaces {
            let mtu = self.kernel.mtu_of(interface).await?;
            smallest = smallest.min(u16::try_from(mtu).unwrap_or(u16::MAX));
        }
        Ok(smallest)
    }

    /// Interface index of the first protected interface, where encrypted multicast leaves.
    ///
    /// # Errors
    /// [`NetworkError`] when the interface has gone.
    pub async fn first_interface_index(&self) -> Result<u32, NetworkError> {
        match self.names.interfaces.first() {
            Some(interface) => self.kernel.index_of(interface).await,
            None => Ok(0),
        }
    }

    /// Indices of the protected interfaces, in the order of the configuration.
    ///
    /// # Errors
    /// [`NetworkError`] when one has gone.
    pub async fn interface_indices(&self) -> Result<Vec<u32>, NetworkError> {
        let mut indices = Vec::new();
        for interface in &self.names.interfaces {
            indices.push(self.kernel.index_of(interface).await?);
        }
        Ok(indices)
    }

    /// Our own address from which `remote` is reached by the ordinary routes.
    ///
    /// # Errors
    /// [`NetworkError`] when there is no route.
    pub async fn source_towards(
        &self,
        remote: std::net::IpAddr,
    ) -> Result<std::net::IpAddr, NetworkError> {
        self.kernel.source_towards(remote, self.names.mark).await
    }

    /// Makes the kernel route as `plan` says, through the TUN device with index `tun_index`.
    ///
    /// New rules stand beside the old ones before those go, so every packet is routed by the old
    /// list or the new one.
    ///
    /// # Errors
    /// [`NetworkError`]. Clear traffic is impossible even then: the drop rules do not depend on
    /// routes.
    pub async fn apply(&mut self, plan: &TrafficPlan, tun_index: u32) -> Result<(), NetworkError> {
        let host = self.host().await?;
        let mut wanted = RoutingPlan::build(plan, &self.names, &host);
        if sysctl::lacks_ipv6(&self.names.tun) {
            // Without IPv6 on the device there is none in the pod; the drop rules hold for it all the same.
            wanted
                .routes
                .retain(|route| route.destination.addr().is_ipv4());
        }
        self.relax_reverse_path_checks().await?;
        self.kernel.bring_up(tun_index).await?;
        for route in &wanted.routes {
            if !self.routes.contains(route) {
                self.kernel.add_route(route, tun_index).await?;
            }
        }
        if wanted.rules != self.rules {
            self.replace_rules(wanted.rules).await?;
        }
        for route in std::mem::replace(&mut self.routes, wanted.routes) {
            let replaced = self
                .routes
                .iter()
                .any(|kept| kept.table == route.table && kept.destination == route.destination);
            if !replaced {
                self.kernel.delete_route(&route, tun_index).await?;
            }
        }
        Ok(())
    }

    /// Lets the kernel hand over only as much of a flow at once as fits one train after sealing. With more, every read
    /// makes a full train and a short one, which costs as much. A kernel that refuses only makes the data path slower.
    pub async fn fit_trains(&self, tun_index: u32) {
        if let Err(error) = self
            .kernel
            .set_largest_segmentation(tun_index, LARGEST_READ)
            .await
        {
            tracing::debug!(%error, "reads of the TUN device are longer than a train");
        }
    }

    /// Removes every rule and route of ours and undoes the relaxed reverse-path checks.
    ///
    /// # Errors
    /// [`NetworkError`] of the first object that could not be removed.
    pub async fn remove(&mut self) -> Result<(), NetworkError> {
        self.rules.clear();
        self.routes.clear();
        for (device, before) in self.relaxed.drain(..) {
            // A device that has gone took its switches with it.
            if let Err(error) = self.kernel.set_reverse_path_check(device, before).await {
                tracing::debug!(device, %error, "reverse-path check not restored");
            }
        }
        self.kernel.remove_ours(self.names.table).await
    }

    /// Removes the device `tun` left by a dead process, if it is there and is a TUN device.
    ///
    /// # Errors
    /// [`NetworkError`] when it cannot be removed.
    pub async fn remove_device(&self) -> Result<(), NetworkError> {
        self.kernel.delete_tun(&self.names.tun).await
    }

    async fn host(&self) -> Result<Host, NetworkError> {
        let (addresses, elsewhere) = self.kernel.host(&self.names.interfaces).await?;
        let forwards = [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| sysctl::forwards(*family))
            .collect();
        Ok(Host {
            addresses,
            elsewhere,
            forwards,
        })
    }

    async fn replace_rules(&mut self, wanted: Vec<Rule>) -> Result<(), NetworkError> {
        let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        if count > BANK {
            return Err(NetworkError::TooManyRules(wanted.len()));
        }
        // The banks change places. Adding in order and deleting from the end means that whichever
        // bank comes first, it holds a beginning of its list while the other is whole.
        let first = if self.first_preference == self.preference {
            self.preference.saturating_add(BANK)
        } else {
            self.preference
        };
        for (rule, preference) in wanted.iter().zip(first..) {
            self.kernel.add_rule(rule, preference).await?;
        }
        let old = std::mem::replace(&mut self.rules, wanted);
        let numbered: Vec<_> = old.iter().zip(self.first_preference..).collect();
        self.first_preference = first;
        for (rule, preference) in numbered.into_iter().rev() {
            self.kernel.delete_rule(rule, preference).await?;
        }
        Ok(())
    }

    /// Encrypted packets arrive where routing says that their source is behind the TUN device, and with a direction
    /// of its own a flow arrives at one device and leaves by another: a strict reverse-path check would drop them.
    async fn relax_reverse_path_checks(&mut self) -> Result<(), NetworkError> {
        for device in self.names.interfaces.iter().chain([&self.names.tun]) {
            if let Some(before) = sysctl::strict_reverse_path_check(device) {
                let index = self.kernel.index_of(device).await?;
                self.kernel
                    .set_reverse_path_check(index, sysctl::LOOSE)
                    .await?;
                self.relaxed.push((index, before));
            }
        }
        Ok(())
    }
}
