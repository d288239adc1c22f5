//! Writes the Rust of the wire protocol's .proto files: `make wire-proto`, after one of them was changed.
//!
//! Law: no protoc is needed, and what is written is kept in git: building the daemon needs neither this nor its crates.

use std::error::Error;
use std::path::Path;

const FOLDER: &str = "src/wire/proto";
const FILES: &[&str] = &["features.proto", "gossip.proto", "persistent.proto", "streams.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let paths = FILES.iter().map(|file| Path::new(FOLDER).join(file));
    let descriptors = protox::compile(paths, [FOLDER])?;
    let into = Path::new(FOLDER).join("generated");
    std::fs::create_dir_all(&into)?;
    tonic_build::configure().build_transport(false).bytes(["."]).btree_map(["."]).out_dir(&into).compile_fds(descriptors)?;
    for entry in std::fs::read_dir(&into)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            // Not by this ending: nobody formats, counts or lints what nobody writes.
            std::fs::rename(&path, path.with_extension("in"))?;
        }
    }
    Ok(())
}
