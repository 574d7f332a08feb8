//! What support needs to know of a group, in one file, and no secret in it.
//!
//! Secrets are never read for it. Objects lose their managed fields and the annotation that repeats them, environment
//! values of pods are left out, and whatever looks like a private key is struck out of logs.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// What stands in the place of something that is not shown.
const LEFT_OUT: &str = "(left out)";

/// A file under way.
pub struct SystemDump<W: Write> {
    archive: tar::Builder<GzEncoder<W>>,
    directory: String,
    now: u64,
    files: usize,
}

impl<W: Write> SystemDump<W> {
    /// Starts an archive whose files lie in `directory` and were made `now`, in seconds of UNIX time.
    pub fn new(out: W, directory: &str, now: u64) -> Self {
        Self {
            archive: tar::Builder::new(GzEncoder::new(out, Compression::default())),
            directory: directory.to_owned(),
            now,
            files: 0,
        }
    }

    /// Adds a text.
    ///
    /// # Errors
    /// What the system answers.
    pub fn text(&mut self, name: &str, text: &str) -> std::io::Result<()> {
        let text = without_keys(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(text.len()).unwrap_or(u64::MAX));
        header.set_mode(0o600);
        header.set_mtime(self.now);
        let path = format!("{}/{name}", self.directory);
        self.files = self.files.saturating_add(1);
        self.archive.append_data(&mut header, path, text.as_bytes())
    }

    /// Adds objects as YAML.
    ///
    /// # Errors
    /// What the system answers.
    pub fn objects(&mut self, name: &str, objects: &[Value]) -> std::io::Result<()> {
        let shown: Vec<Value> = objects.iter().map(redacted).collect();
        let text = serde_saphyr::to_string(&shown).unwrap_or_default();
        self.text(&format!("{name}.yaml"), &text)
    }

    /// Ends the archive; how many files it has.
    ///
    /// # Errors
    /// What the system answers.
    pub fn finish(self) -> std::io::Result<usize> {
        self.archive.into_inner()?.finish()?.flush()?;
        Ok(self.files)
    }
}

/// An object without what is long or might be secret.
#[must_use]
pub fn redacted(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let containers = object["spec"][list].as_array_mut();
        for container in containers.into_iter().flatten() {
            let variables = container["env"].as_array_mut();
            for variable in variables.into_iter().flatten() {
                // Where a value comes from is no secret.
                if variable.get("value").is_some() {
                    variable["value"] = LEFT_OUT.into();
                }
            }
        }
    }
    object
}

/// A text whose blocks of private keys are struck out.
#[must_use]
pub fn without_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("-----BEGIN ") {
        shown.push_str(before);
        let (label, body) = after.split_once("-----").unwrap_or((after, ""));
        if !label.contains("PRIVATE KEY") {
            shown.push_str("-----BEGIN ");
            rest = after;
            continue;
        }
        shown.push_str(LEFT_OUT);
        // An end that is missing hides everything that follows.
        rest = body
            .split_once("-----END ")
            .and_then(|(_, end)| end.split_once("-----"))
            .map_or("", |(_, rest)| rest);
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn private_keys_are_struck_out_and_certificates_stay() {
        let text = "a -----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\nb -----BEGIN EC PRIVATE KEY-----\nSECRET\n-----END EC PRIVATE KEY----- c";
        let shown = without_keys(text);
        assert!(!shown.contains("SECRET"), "{shown}");
        assert!(shown.contains("-----BEGIN CERTIFICATE-----\nAA"), "{shown}");
        assert!(shown.ends_with(" c"), "{shown}");
    }

    #[test]
    fn a_key_without_an_end_hides_what_follows() {
        let shown = without_keys("x -----BEGIN PRIVATE KEY-----\nSECRET");
        assert_eq!(shown, format!("x {LEFT_OUT}"));
    }

    #[test]
    fn values_of_the_environment_are_left_out_and_their_sources_stay() {
        let pod = json!({
            "metadata": {"name": "a", "managedFields": [1], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x", "b": "c"}},
            "spec": {"containers": [{"env": [{"name": "P", "value": "hunter2"}, {"name": "Q", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}]},
        });
        let shown = redacted(&pod);
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert_eq!(shown["metadata"]["annotations"], json!({"b": "c"}));
        assert!(shown["metadata"]["managedFields"].is_null());
        assert_eq!(
            shown["spec"]["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"]["name"],
            "s"
        );
    }

    #[test]
    fn an_archive_holds_its_files_in_one_directory() {
        let mut out = Vec::new();
        let mut dump = SystemDump::new(&mut out, "dump", 1_700_000_000);
        dump.text("a.log", "line\n").expect("written");
        dump.objects("groups", &[json!({"kind": "GetVpnGroup"})])
            .expect("written");
        assert_eq!(dump.finish().expect("ended"), 2);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(out.as_slice()));
        let names: Vec<String> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                entry
                    .expect("entry")
                    .path()
                    .expect("path")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["dump/a.log", "dump/groups.yaml"]);
    }
}
