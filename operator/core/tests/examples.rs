//! Every example is accepted by the admission rules and becomes a policy that the key servers accept.

use std::path::{Path, PathBuf};

use keyserver_api::policy::{Action, RekeyTransport};
use operator_core::{group, namespace, policy};

/// The files of resources: those beside each other, and the group of the quickstart on Kubernetes. What
/// else lies in folders is for other programs.
fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .expect("examples")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.push(directory.join("kubernetes/quickstart/group.yaml"));
    files
}

#[test]
fn every_example_becomes_a_valid_policy() {
    let mut seen = 0;
    for path in examples() {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(&path).expect("readable");
        let manifests = crds::load(&file, &text).unwrap_or_else(|errors| panic!("{errors}"));
        let judgement = namespace::validate(
            &manifests.groups,
            &manifests.security_associations,
            &manifests.members,
        );
        let rejected: Vec<_> = judgement.rejections().map(ToString::to_string).collect();
        assert_eq!(rejected, Vec::<String>::new(), "{file}");
        assert!(
            judgement
                .groups
                .iter()
                .all(|group| !group.members.is_empty()),
            "{file}: every group has members"
        );
        for resource in &manifests.groups {
            let validated = group::validate(resource, &manifests.security_associations)
                .unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
            assert!(
                validated.rejections.is_empty(),
                "{file}: {:?}",
                validated.rejections
            );
            assert!(
                validated.warnings.is_empty(),
                "{file}: {:?}",
                validated.warnings
            );
            let built = policy::build(&validated).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(
                policy::build(&validated).as_ref(),
                Ok(&built),
                "the same input gives the same policy"
            );
            built
                .validate()
                .unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
            if let RekeyTransport::Multicast { address, .. } = built.rekey.transport {
                let first = &built.security_associations[0].rules[0];
                assert_eq!(first.action, Action::Deny);
                assert!(first.destination.contains(&address), "rekeys stay clear");
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} groups in the examples");
}
