//! The conversation with the kernel's routing socket.
//!
//! Everything made here carries our own routing protocol number, by which it is found again after a
//! crash and told apart from what others made.

use std::net::IpAddr;

use futures::{Stream, StreamExt, TryStreamExt};
use gm_core::data_plane::Family;
use ipnet::IpNet;
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::packet_route::{AddressFamily, IpProtocol};
use rtnetlink::{Handle, IpVersion, LinkUnspec, RouteMessageBuilder};

use super::NetworkError;
use super::routing_plan::{MAIN_TABLE, Route, RouteKind, Rule};

/// Routing protocol number of everything we make (`ip route show proto 179`).
const PROTOCOL: RouteProtocol = RouteProtocol::Other(179);

/// Switches of one device, by number (`linux/if_link.h`, `linux/ip.h`).
const IFLA_INET_CONF: u16 = 1;
const DEVCONF_RP_FILTER: u16 = 8;

/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// The kernel's error numbers that mean "already as wanted".
const EEXIST: i32 = 17;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const ENODEV: i32 = 19;
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EAFNOSUPPORT: i32 = 97;

pub(super) struct Kernel {
    handle: Handle,
}

impl Kernel {
    pub(super) fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetworkError::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    pub(super) async fn index_of(&self, interface: &str) -> Result<u32, NetworkError> {
        Ok(self.link(interface).await?.header.index)
    }

    pub(super) async fn mtu_of(&self, interface: &str) -> Result<u32, NetworkError> {
        let link = self.link(interface).await?;
        let mtu = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            });
        Ok(mtu.unwrap_or(1500))
    }

    async fn link(&self, interface: &str) -> Result<LinkMessage, NetworkError> {
        let request = self.handle.link().get().match_name(interface.to_owned());
        let mut links = std::pin::pin!(request.execute());
        match links.next().await {
            Some(Ok(link)) => Ok(link),
            Some(Err(error)) if number(&error) != Some(ENODEV) => {
                Err(refused(format!("show interface {interface}"), &error))
            }
            Some(Err(_)) | None => Err(NetworkError::NoInterface(interface.to_owned())),
        }
    }

    /// Brings the device with this index up; routes into it are refused before.
    pub(super) async fn bring_up(&self, device: u32) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(device).up().build();
        let set = self.handle.link().set(message).execute().await;
        settle(set, &[], || format!("bring up device {device}"))
    }

    /// Sets how many octets of a flow the kernel hands to this device at once.
    pub(super) async fn set_largest_segmentation(
        &self,
        device: u32,
        octets: u32,
    ) -> Result<(), NetworkError> {
        let mut message = LinkUnspec::new_with_index(device).build();
        message.attributes.push(LinkAttribute::GsoMaxSize(octets));
        let set = self.handle.link().set(message).execute().await;
        settle(set, &[], || {
            format!("limit segmentation offload of device {device}")
        })
    }

    /// Sets how `device` checks the way back to the source of an IPv4 packet (`rp_filter`).
    ///
    /// The routing socket takes what the file below `/proc/sys` takes, and needs no file system to be writable.
    pub(super) async fn set_reverse_path_check(
        &self,
        device: u32,
        value: i32,
    ) -> Result<(), NetworkError> {
        let switch = DefaultNla::new(DEVCONF_RP_FILTER, value.to_ne_bytes().to_vec());
        let mut nested = vec![0; switch.buffer_len()];
        switch.emit(&mut nested);
        let switches = AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, nested));
        let mut message = LinkUnspec::new_with_index(device).build();
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![
                switches,
            ])]));
        let set = self.handle.link().set(message).execute().await;
        settle(set, &[], || {
            format!("relax the reverse-path check of device {device}")
        })
    }

    /// Removes the device `name` if it is a TUN device; does nothing when it is not there.
    pub(super) async fn delete_tun(&self, name: &str) -> Result<(), NetworkError> {
        let link = match self.link(name).await {
            Ok(link) => link,
            Err(NetworkError::NoInterface(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let is_tun = link.attributes.iter().any(|attribute| {
            matches!(attribute, LinkAttribute::LinkInfo(info)
                if info.iter().any(|item| matches!(item, LinkInfo::Kind(InfoKind::Tun))))
        });
        if !is_tun {
            return Ok(());
        }
        let deleted = self.handle.link().del(link.header.index).execute().await;
        settle(deleted, &[ENODEV, ENOENT], || {
            format!("delete device {name}")
        })
    }

    /// Our addresses on `interfaces`, and the networks that the main table sends elsewhere.
    pub(super) async fn host(
        &self,
        interfaces: &[String],
    ) -> Result<(Vec<IpAddr>, Vec<IpNet>), NetworkError> {
        let mut indices = Vec::new();
        for interface in interfaces {
            indices.push(self.index_of(interface).await?);
        }
        let found = collect(self.handle.address().get().execute(), "show addresses").await?;
        let addresses = found
            .iter()
            .filter(|address| indices.contains(&address.header.index))
            .flat_map(|address| &address.attributes)
            .filter_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
            .filter(|address| !is_link_local(*address))
            .collect();
        let mut elsewhere = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for route in self.routes(family).await? {
                if table_of(&route) == MAIN_TABLE {
                    elsewhere.extend(network_elsewhere(&route, &indices));
                }
            }
        }
        elsewhere.sort_unstable();
        elsewhere.dedup();
        Ok((addresses, elsewhere))
    }

    pub(super) async fn source_towards(
        &self,
        remote: IpAddr,
        mark: u32,
    ) -> Result<IpAddr, NetworkError> {
        let action = || format!("find a route to {remote}");
        let mut question = RouteMessageBuilder::<IpAddr>::new().mark(mark);
        let length = if remote.is_ipv4() { 32 } else { 128 };
        question = question
            .destination_prefix(remote, length)
            .map_err(|error| NetworkError::Refused {
                action: action(),
                cause: error.to_string(),
            })?;
        let mut answer = std::pin::pin!(self.handle.route().get(question.build()).execute());
        let route = match answer.next().await {
            Some(Ok(route)) => route,
            Some(Err(error)) => return Err(refused(action(), &error)),
            None => RouteMessage::default(),
        };
        let source = route
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::PrefSource(RouteAddress::Inet(address)) => {
                    Some(IpAddr::V4(*address))
                }
                RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => {
                    Some(IpAddr::V6(*address))
                }
                _ => None,
            });
        source.ok_or_else(|| NetworkError::Refused {
            action: action(),
            cause: "the route names no source address".to_owned(),
        })
    }

    pub(super) async fn add_rule(&self, rule: &Rule, preference: u32) -> Result<(), NetworkError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule_message(rule, preference);
        settle(request.execute().await, &[EEXIST, EAFNOSUPPORT], || {
            format!("add routing rule {preference}")
        })
    }

    pub(super) async fn delete_rule(
        &self,
        rule: &Rule,
        preference: u32,
    ) -> Result<(), NetworkError> {
        let request = self.handle.rule().del(rule_message(rule, preference));
        settle(request.execute().await, &[ENOENT, EAFNOSUPPORT], || {
            format!("delete routing rule {preference}")
        })
    }

    pub(super) async fn add_route(&self, route: &Route, tun: u32) -> Result<(), NetworkError> {
        let request = self.handle.route().add(route_message(route, tun)).replace();
        settle(request.execute().await, &[EAFNOSUPPORT], || {
            format!(
                "add a route to {} in table {}",
                route.destination, route.table
            )
        })
    }

    pub(super) async fn delete_route(&self, route: &Route, tun: u32) -> Result<(), NetworkError> {
        let request = self.handle.route().del(route_message(route, tun));
        settle(
            request.execute().await,
            &[ESRCH, ENODEV, EAFNOSUPPORT],
            || {
                format!(
                    "delete the route to {} in table {}",
                    route.destination, route.table
                )
            },
        )
    }

    /// Removes every rule and route that carries our protocol number and belongs to `table` or is
    /// one of our general rules.
    pub(super) async fn remove_ours(&self, table: u32) -> Result<(), NetworkError> {
        for version in [IpVersion::V4, IpVersion::V6] {
            let rules = collect(self.handle.rule().get(version).execute(), "show rules").await?;
            let ours =
                |rule: &&RuleMessage| rule.attributes.contains(&RuleAttribute::Protocol(PROTOCOL));
            for rule in rules.iter().filter(ours) {
                let deleted = self.handle.rule().del(rule.clone()).execute().await;
                settle(deleted, &[ENOENT], || "delete a routing rule".to_owned())?;
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for route in self.routes(family).await? {
                let of_ours = table_of(&route) == table || table_of(&route) == table + 1;
                if route.header.protocol == PROTOCOL || of_ours {
                    let deleted = self.handle.route().del(route).execute().await;
                    settle(deleted, &[ESRCH, ENODEV], || "delete a route".to_owned())?;
                }
            }
        }
        Ok(())
    }

    async fn routes(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, NetworkError> {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        collect(self.handle.route().get(question).execute(), "show routes").await
    }
}

async fn collect<T>(
    items: impl Stream<Item = Result<T, rtnetlink::Error>>,
    action: &str,
) -> Result<Vec<T>, NetworkError> {
    match items.try_collect().await {
        Ok(items) => Ok(items),
        // A family that the kernel lacks has no rules and no routes.
        Err(error) if number(&error) == Some(EAFNOSUPPORT) => Ok(Vec::new()),
        Err(error) => Err(refused(action.to_owned(), &error)),
    }
}

fn rule_message(rule: &Rule, preference: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = address_family(rule.family);
    message.header.action = RuleAction::ToTable;
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(preference));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(PROTOCOL));
    attributes.extend(rule.mark.map(RuleAttribute::FwMark));
    attributes.extend(rule.input_interface.clone().map(RuleAttribute::Iifname));
    attributes.extend(
        rule.protocol
            .map(|number| RuleAttribute::IpProtocol(IpProtocol::from(number))),
    );
    let range = |(start, end)| RulePortRange { start, end };
    attributes.extend(
        rule.source_ports
            .map(range)
            .map(RuleAttribute::SourcePortRange),
    );
    attributes.extend(
        rule.destination_ports
            .map(range)
            .map(RuleAttribute::DestinationPortRange),
    );
    if let Some(network) = rule.source {
        message.header.src_len = network.prefix_len();
        message
            .attributes
            .push(RuleAttribute::Source(network.addr()));
    }
    if let Some(network) = rule.destination {
        message.header.dst_len = network.prefix_len();
        message
            .attributes
            .push(RuleAttribute::Destination(network.addr()));
    }
    message
}

fn route_message(route: &Route, tun: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match route.destination {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.protocol = PROTOCOL;
    message.header.destination_prefix_length = route.destination.prefix_len();
    let (kind, scope, device) = match route.kind {
        RouteKind::Tunnel => (RouteType::Unicast, RouteScope::Link, tun),
        RouteKind::TunnelMulticast => (RouteType::Multicast, RouteScope::Universe, tun),
        RouteKind::Local => (RouteType::Local, RouteScope::Host, LOOPBACK),
    };
    message.header.kind = kind;
    message.header.scope = scope;
    message.attributes.push(RouteAttribute::Table(route.table));
    message.attributes.push(RouteAttribute::Oif(device));
    if route.destination.prefix_len() != 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(route_address(
                route.destination.addr(),
            )));
    }
    if let Some(source) = route.preferred_source {
        message
            .attributes
            .push(RouteAttribute::PrefSource(route_address(source)));
    }
    message
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn table_of(route: &RouteMessage) -> u32 {
    let named = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    named.unwrap_or(u32::from(route.header.table))
}

/// The destination of a route out of an interface that is neither protected nor loopback; default
/// routes say nothing about where a network is.
fn network_elsewhere(route: &RouteMessage, protected: &[u32]) -> Option<IpNet> {
    let unicast = route.header.kind == RouteType::Unicast;
    let device = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })?;
    let length = route.header.destination_prefix_length;
    if !unicast || length == 0 || device == LOOPBACK || protected.contains(&device) {
        return None;
    }
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                IpNet::new((*address).into(), length).ok()
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                IpNet::new((*address).into(), length).ok()
            }
            _ => None,
        })
        .filter(|network| !is_link_local(network.addr()))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn number(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

fn refused(action: String, error: &rtnetlink::Error) -> NetworkError {
    match number(error) {
        Some(EPERM | EACCES) => NetworkError::Forbidden { action },
        Some(code) => NetworkError::Refused {
            action,
            cause: std::io::Error::from_raw_os_error(code).to_string(),
        },
        None => NetworkError::Refused {
            action,
            cause: error.to_string(),
        },
    }
}

/// Success, or an answer that means the same.
fn settle(
    result: Result<(), rtnetlink::Error>,
    harmless: &[i32],
    action: impl FnOnce() -> String,
) -> Result<(), NetworkError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if number(&error).is_some_and(|code| harmless.contains(&code)) => Ok(()),
        Err(error) => Err(refused(action(), &error)),
    }
}
