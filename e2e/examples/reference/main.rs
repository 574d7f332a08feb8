//! Writes the pages of the reference that come from our programs: metrics and command lines.

mod cisco;
mod command_line;
mod metrics;

use std::fs;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    fs::create_dir_all(&reference)?;
    fs::write(reference.join("metrics.md"), metrics::page()?)?;
    fs::write(reference.join("cisco-commands.md"), cisco::page())?;
    for (name, command) in command_line::programs() {
        let page = command_line::page(command);
        fs::write(reference.join(format!("cli-{name}.md")), page)?;
    }
    Ok(())
}
