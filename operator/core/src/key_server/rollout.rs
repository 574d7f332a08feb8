//! The next step on the way to the wanted number of key servers of the wanted kind.
//!
//! One step at a time, decided anew from what is observed: it does not matter where the operator stopped before. At
//! most one key server is away because of us, and never so many that the rest has no majority.

use std::collections::BTreeMap;

use super::observed::{Cooperating, Cooperation, Observed, PodState, PodView};

/// Log entries a key server may be behind and still count as one the group can rely on.
const CAUGHT_UP: u64 = 1000;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// How many key servers.
    pub replicas: usize,
    /// Name of their pod template.
    pub template_hash: String,
    /// Whether the key servers formed their cooperation once: then its majority must not be lost.
    pub formed: bool,
    /// Whether there has been no primary for so long that it does not come back by itself.
    pub leaderless: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Replicas of the StatefulSet.
    pub replicas: usize,
    /// Beside keeping the StatefulSet so.
    pub step: Step,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything is as it should be.
    Rest,
    /// Something must happen first, by itself.
    Wait(Waiting),
    /// This primary hands leadership on.
    HandOver(usize),
    /// The primary takes this key server out of the cooperation.
    Remove(usize),
    /// This pod is deleted and comes back from the new template.
    Replace {
        /// Its ordinal.
        ordinal: usize,
        /// Its identity, so that no other pod of its name is deleted.
        uid: String,
    },
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// The StatefulSet's controller has not seen the StatefulSet as it is now.
    #[error("the StatefulSet's controller to take notice")]
    StatefulSet,
    /// A pod does not exist.
    #[error("key server {0} to be created")]
    Pod(usize),
    /// A pod is going.
    #[error("key server {0} to end")]
    Ending(usize),
    /// A pod is not ready.
    #[error("key server {0} to become ready")]
    Ready(usize),
    /// There is no primary.
    #[error("the key servers to have a primary")]
    Primary,
    /// Without this one the others would have no majority.
    #[error("more key servers to be reachable: without {0} the others would have no majority")]
    Majority(usize),
    /// A key server is behind.
    #[error("key server {0} to catch up")]
    CatchUp(usize),
    /// A key server that exists is not taken in.
    #[error("key server {0} to be taken into the cooperation")]
    Admission(usize),
    /// Nobody could take over from the primary.
    #[error("a key server that can take over from {0}")]
    Successor(usize),
}

/// Decides.
#[must_use]
pub fn plan(group: &str, goal: &Goal, observed: &Observed) -> Plan {
    let Some(set) = &observed.set else {
        return Plan {
            replicas: goal.replicas,
            step: Step::Wait(Waiting::StatefulSet),
        };
    };
    let cooperation = observed.cooperation(group);
    let formed = goal.formed || observed.any_formed();
    if set.replicas > goal.replicas {
        return scale_down(goal, set.replicas, cooperation.as_ref(), formed);
    }
    let steady = |step| Plan {
        replicas: goal.replicas,
        step,
    };
    if set.replicas < goal.replicas {
        return steady(Step::Wait(Waiting::StatefulSet));
    }
    if !set.settled || set.template_hash.as_deref() != Some(goal.template_hash.as_str()) {
        return steady(Step::Wait(Waiting::StatefulSet));
    }
    steady(replace(goal, observed, cooperation.as_ref(), formed))
}

/// Takes the last key server out of the cooperation, then out of the StatefulSet.
fn scale_down(
    goal: &Goal,
    present: usize,
    cooperation: Option<&Cooperation>,
    formed: bool,
) -> Plan {
    let last = present.saturating_sub(1);
    let stay = |step| Plan {
        replicas: present,
        step,
    };
    let Some(cooperation) = cooperation else {
        if formed {
            return stay(Step::Wait(Waiting::Primary));
        }
        // Nothing was ever formed: there is no majority to lose.
        return Plan {
            replicas: goal.replicas,
            step: Step::Wait(Waiting::StatefulSet),
        };
    };
    let Some(leaving) = cooperation
        .members
        .iter()
        .find(|member| member.ordinal == Some(last))
    else {
        return Plan {
            replicas: last,
            step: if last > goal.replicas {
                Step::Wait(Waiting::Ending(last))
            } else {
                Step::Wait(Waiting::StatefulSet)
            },
        };
    };
    if cooperation.primary == Some(last) {
        return stay(if successor(cooperation, last) {
            Step::HandOver(last)
        } else {
            Step::Wait(Waiting::Successor(last))
        });
    }
    let remaining = cooperation.voters().count() - usize::from(leaving.voter);
    if cooperation.reachable_voters(Some(last)) <= remaining / 2 {
        return stay(Step::Wait(Waiting::Majority(last)));
    }
    stay(Step::Remove(last))
}

/// Replaces a pod of an older template, or says what stands against it.
fn replace(
    goal: &Goal,
    observed: &Observed,
    cooperation: Option<&Cooperation>,
    formed: bool,
) -> Step {
    let pods: BTreeMap<usize, Option<&PodView>> = (0..goal.replicas)
        .map(|ordinal| (ordinal, observed.pods.get(&ordinal)))
        .collect();
    for (ordinal, pod) in &pods {
        match pod {
            None => return Step::Wait(Waiting::Pod(*ordinal)),
            Some(pod) if pod.deleting => return Step::Wait(Waiting::Ending(*ordinal)),
            Some(_) => {}
        }
    }
    let pods: BTreeMap<usize, &PodView> = pods
        .into_iter()
        .filter_map(|(ordinal, pod)| Some((ordinal, pod?)))
        .collect();
    let is_old = |pod: &PodView| pod.template_hash.as_deref() != Some(goal.template_hash.as_str());
    let step = |ordinal: usize, pod: &PodView| Step::Replace {
        ordinal,
        uid: pod.uid.clone(),
    };
    // One that does not run gives nothing up by going.
    if let Some((ordinal, pod)) = pods
        .iter()
        .find(|(_, pod)| is_old(pod) && pod.state == PodState::NotRunning)
    {
        return step(*ordinal, pod);
    }
    let unready = pods.iter().find(|(_, pod)| pod.state != PodState::Ready);
    let old: Vec<usize> = pods
        .iter()
        .filter(|(_, pod)| is_old(pod))
        .map(|(ordinal, _)| *ordinal)
        .collect();
    if old.is_empty() {
        return match (unready, cooperation) {
            (Some((ordinal, _)), _) => Step::Wait(Waiting::Ready(*ordinal)),
            (None, None) => Step::Wait(Waiting::Primary),
            (None, Some(cooperation)) => match absent(goal, cooperation) {
                Some(ordinal) => Step::Wait(Waiting::Admission(ordinal)),
                None => Step::Rest,
            },
        };
    }
    let Some(cooperation) = cooperation else {
        // Where a majority works together again by itself, nobody gets in its way. Where it does not, a template that
        // was wrong may be why, and a pod that serves nobody gives nothing up by going.
        let first = old.iter().find_map(|ordinal| {
            let pod = pods.get(ordinal)?;
            let idle = pod.state != PodState::Ready;
            (!formed || (goal.leaderless && idle)).then(|| step(*ordinal, pod))
        });
        return first.unwrap_or(Step::Wait(Waiting::Primary));
    };
    let Some(next) = next_to_go(&old, &pods, cooperation) else {
        return Step::Rest;
    };
    // Whoever else is away has to be back first.
    let others = pods.iter().filter(|(ordinal, _)| **ordinal != next);
    for (ordinal, pod) in others {
        if pod.state != PodState::Ready {
            return Step::Wait(Waiting::Ready(*ordinal));
        }
    }
    if let Some(ordinal) = absent(goal, cooperation).filter(|ordinal| *ordinal != next) {
        return Step::Wait(Waiting::Admission(ordinal));
    }
    let voters = cooperation.voters().count();
    let alone = voters == 1;
    if !alone && cooperation.reachable_voters(Some(next)) <= voters / 2 {
        return Step::Wait(Waiting::Majority(next));
    }
    let behind = |member: &&Cooperating| {
        member.voter && member.ordinal != Some(next) && member.lag > CAUGHT_UP
    };
    if let Some(ordinal) = cooperation
        .members
        .iter()
        .find(behind)
        .and_then(|member| member.ordinal)
    {
        return Step::Wait(Waiting::CatchUp(ordinal));
    }
    if cooperation.primary == Some(next) && !alone {
        return if successor(cooperation, next) {
            Step::HandOver(next)
        } else {
            Step::Wait(Waiting::Successor(next))
        };
    }
    pods.get(&next).map_or(Step::Rest, |pod| step(next, pod))
}

/// Of the pods of an older template the one to go first: one that does not serve, then learners, then followers, the
/// primary last; of equals the one with the highest ordinal.
fn next_to_go(
    old: &[usize],
    pods: &BTreeMap<usize, &PodView>,
    cooperation: &Cooperation,
) -> Option<usize> {
    let rank = |ordinal: &usize| {
        let ready = pods
            .get(ordinal)
            .is_some_and(|pod| pod.state == PodState::Ready);
        let votes = cooperation
            .voters()
            .any(|voter| voter.ordinal == Some(*ordinal));
        let leads = cooperation.primary == Some(*ordinal);
        (ready, leads, votes, std::cmp::Reverse(*ordinal))
    };
    old.iter().copied().min_by_key(rank)
}

/// A key server that should belong to the cooperation and does not.
fn absent(goal: &Goal, cooperation: &Cooperation) -> Option<usize> {
    (0..goal.replicas).find(|ordinal| !cooperation.contains(*ordinal))
}

/// Whether somebody can take over from the primary.
fn successor(cooperation: &Cooperation, primary: usize) -> bool {
    cooperation
        .voters()
        .any(|voter| voter.ordinal != Some(primary) && voter.reachable && voter.lag <= CAUGHT_UP)
}
