//! Events on users' objects.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use operator_core::key_server::events::Notice;

/// Name of the controller in Events.
const CONTROLLER: &str = "getvpn.dev/operator";
/// Longest note the API server takes, in octets.
const LONGEST_NOTE: usize = 1000;

/// Publishes Events; one for the process, so that repeats are counted instead of written again.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of the pod called `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Tells users of `object`. What cannot be told is logged: nothing depends on it.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, notice: &Notice) {
        let event = Event {
            type_: if notice.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: notice.reason.to_owned(),
            action: notice.action.to_owned(),
            note: Some(shorten(&notice.note)),
            secondary: None,
        };
        let reference = object.object_ref(&());
        tracing::info!(
            object = format!(
                "{}/{}",
                reference.namespace.as_deref().unwrap_or_default(),
                reference.name.as_deref().unwrap_or_default()
            ),
            reason = notice.reason,
            note = notice.note,
            "event"
        );
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(%error, reason = notice.reason, "an Event could not be written");
        }
    }
}

fn shorten(note: &str) -> String {
    let mut end = note.len().min(LONGEST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = format!("{}é tail", "x".repeat(LONGEST_NOTE - 1));
        assert_eq!(shorten(&note), "x".repeat(LONGEST_NOTE - 1));
        assert_eq!(shorten("short"), "short");
    }
}
