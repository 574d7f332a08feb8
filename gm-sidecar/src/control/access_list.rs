//! The merged access list as people and programs read it: every entry with where it came from.

use gm_core::member::traffic_plan::{Origin, PlanEntry, TrafficPlan, Treatment};
use serde::{Deserialize, Serialize};

/// One entry of the merged list; the first that matches a packet decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessEntryReport {
    /// Its place, from 1.
    pub number: usize,
    /// `local` for the member's own list, or the group whose list it is from.
    pub origin: String,
    /// What becomes of the flow.
    pub action: String,
    /// The flow.
    pub flow: String,
}

/// The list in force.
pub fn access_list(plan: &TrafficPlan) -> Vec<AccessEntryReport> {
    let entry = |(index, entry): (usize, &PlanEntry)| AccessEntryReport {
        number: index.saturating_add(1),
        origin: match entry.origin {
            Origin::Local => "local".to_owned(),
            Origin::Group(number) => format!("group {number}"),
        },
        action: action(entry.treatment).to_owned(),
        flow: entry.selector.to_string(),
    };
    plan.entries.iter().enumerate().map(entry).collect()
}

fn action(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Clear => "clear",
        Treatment::Protect {
            outbound: true,
            inbound: true,
        } => "encrypt",
        Treatment::Protect {
            outbound: true,
            inbound: false,
        } => "encrypt, accept clear",
        Treatment::Protect {
            outbound: false, ..
        } => "send clear, accept both",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::Report;
    use crate::control::table::render;
    use gm_core::data_plane::Family;
    use gm_core::spd::{AddressRange, Selector};

    // GET VPN row 101
    #[test]
    fn both_parts_of_the_merged_list_are_shown_with_their_origin() {
        let any = AddressRange::any(Family::V4);
        let ten = AddressRange::network("10.0.0.0/8".parse().expect("a network"));
        let entry = |origin, treatment, selector| PlanEntry {
            origin,
            treatment,
            selector,
        };
        let mut ospf = Selector::between(any, any);
        ospf.protocol = Some(89);
        let both = Treatment::Protect {
            outbound: true,
            inbound: true,
        };
        let plan = TrafficPlan {
            entries: vec![
                entry(Origin::Local, Treatment::Clear, ospf),
                entry(Origin::Group(7), both, Selector::between(ten, ten)),
            ],
            ..TrafficPlan::default()
        };
        let report = Report {
            access_list: access_list(&plan),
            ..Report::default()
        };
        let text = render(&report);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .skip_while(|line| *line != "access list")
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0][..3], ["1", "local", "clear"], "{text}");
        assert!(lines[0].ends_with(&["protocol", "89"]), "{text}");
        assert_eq!(lines[1][..4], ["2", "group", "7", "encrypt"], "{text}");
        assert_eq!(
            report.access_list[1].flow,
            Selector::between(ten, ten).to_string()
        );
        assert!(text.contains(&report.access_list[1].flow), "{text}");
    }
}
