//! Writes the CRD manifests to `crds/generated/` and the reference page to `docs/reference/crds.md`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifests = root.join("generated");
    let reference = root.join("../docs/reference");
    std::fs::create_dir_all(&manifests)?;
    std::fs::create_dir_all(&reference)?;
    for (name, yaml) in crds::generate() {
        std::fs::write(manifests.join(name), yaml)?;
    }
    std::fs::write(reference.join("crds.md"), crds::reference_markdown())
}
