//! Who among the cooperative key servers should be primary. The consensus decides who is; this decides whether to
//! ask it for somebody else.

use std::net::SocketAddr;

/// A key server as the primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// 1 to 100; the highest should be primary.
    pub priority: u8,
    /// Address that breaks ties: the highest wins.
    pub address: SocketAddr,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it answers and has every committed entry.
    pub caught_up: bool,
}

/// Why the question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The key servers were formed for the first time.
    Formation,
    /// An administrator asked the primary to step down, or its process ends.
    StepDown,
    /// A key server came back. It does not pre-empt.
    Return,
}

/// The key servers that could be primary, the preferred one first: by priority, then by address.
pub fn preference(views: &[View]) -> Vec<&View> {
    let mut able: Vec<&View> = views
        .iter()
        .filter(|view| view.voter && view.caught_up)
        .collect();
    able.sort_by(|a, b| {
        b.priority
            .cmp(&a.priority)
            .then_with(|| b.address.cmp(&a.address))
    });
    able
}

/// To whom the primary should transfer leadership; `None` to keep it.
pub fn transfer_target<'a>(
    views: &'a [View],
    primary: &str,
    occasion: Occasion,
) -> Option<&'a View> {
    let preferred = preference(views);
    match occasion {
        Occasion::Formation => preferred
            .into_iter()
            .next()
            .filter(|view| view.name != primary),
        Occasion::StepDown => preferred.into_iter().find(|view| view.name != primary),
        Occasion::Return => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, priority: u8, last: u8) -> View {
        let address = SocketAddr::from(([172, 20, 0, last], 9443));
        View {
            name: name.to_owned(),
            priority,
            address,
            voter: true,
            caught_up: true,
        }
    }

    // GET VPN row 54
    #[test]
    fn the_highest_priority_is_preferred_and_the_highest_address_breaks_ties() {
        let views = [view("a", 90, 9), view("b", 100, 1), view("c", 100, 2)];
        let names: Vec<_> = preference(&views)
            .iter()
            .map(|view| view.name.as_str())
            .collect();
        assert_eq!(names, ["c", "b", "a"]);
        // Addresses are compared as numbers: as text, 9 would be above 10.
        let views = [view("a", 100, 9), view("b", 100, 10)];
        assert_eq!(preference(&views)[0].name, "b");
    }

    #[test]
    fn leadership_moves_at_formation_and_on_request_but_not_because_somebody_returned() {
        let views = [view("a", 100, 1), view("b", 95, 2)];
        let name = |primary, occasion| {
            transfer_target(&views, primary, occasion).map(|view| view.name.as_str())
        };
        assert_eq!(name("b", Occasion::Formation), Some("a"));
        assert_eq!(name("a", Occasion::Formation), None);
        assert_eq!(name("a", Occasion::StepDown), Some("b"));
        assert_eq!(name("b", Occasion::Return), None);
    }

    #[test]
    fn a_learner_or_one_that_lags_is_never_asked() {
        let mut views = [view("a", 100, 1), view("b", 95, 2), view("c", 90, 3)];
        views[0].voter = false;
        views[1].caught_up = false;
        assert_eq!(
            transfer_target(&views, "d", Occasion::StepDown).map(|view| view.name.as_str()),
            Some("c")
        );
    }
}
