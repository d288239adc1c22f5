//! House rules that a machine can check: layers, line cap, a header in every file.

use std::fs;
use std::path::{Path, PathBuf};

/// A file with more lines than this is split by idea.
const LINES_MAX: usize = 400;

/// Words that a folder's files may not name, with why.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "src/domain",
        &[
            "SystemTime",
            "Instant",
            "tokio",
            "tracing",
            "metrics::",
            "std::fs",
            "std::net",
            "std::thread",
            "rand",
            "async ",
            "crate::store",
            "crate::scoring",
            "crate::projection",
            "crate::actors",
            "crate::http",
            "crate::app",
            "crate::config",
            "crate::cli",
            "crate::commands",
            "crate::clock",
            "ractor",
            "warp",
            "rusqlite",
            "ort::",
        ],
    ),
    (
        "src/store",
        &[
            "crate::scoring",
            "crate::projection",
            "crate::actors",
            "crate::http",
            "crate::wire",
            "crate::app",
            "crate::cli",
            "ractor",
            "warp",
            "tonic",
            "ort::",
        ],
    ),
    (
        "src/scoring",
        &[
            "crate::store",
            "crate::projection",
            "crate::actors",
            "crate::http",
            "crate::app",
            "crate::cli",
            "ractor",
            "warp",
            "rusqlite",
        ],
    ),
    (
        "src/projection",
        &[
            "crate::scoring",
            "crate::actors",
            "crate::http",
            "crate::wire",
            "crate::app",
            "crate::cli",
            "ractor",
            "warp",
            "tonic",
            "ort::",
        ],
    ),
    (
        "src/actors",
        &[
            "crate::http",
            "crate::wire",
            "tonic",
            "crate::app",
            "crate::cli",
            "warp",
            "rusqlite",
            "ort::",
            "fjall",
        ],
    ),
    (
        "src/wire",
        &[
            "crate::actors",
            "crate::app",
            "crate::cli",
            "crate::http",
            "crate::projection",
            "crate::scoring",
            "ractor",
            "warp",
            "rusqlite",
            "ort::",
            "fjall",
            "kurrentdb",
        ],
    ),
    (
        "src/http",
        &[
            "crate::wire",
            "tonic",
            "crate::actors",
            "crate::app",
            "crate::cli",
            "ractor",
            "rusqlite",
            "ort::",
            "fjall",
        ],
    ),
];

pub fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn layers_point_down() {
    let mut faults = Vec::new();
    for (folder, words) in FORBIDDEN {
        for path in sources(Path::new(folder)) {
            for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in *words {
                    let names = |at: usize| {
                        at == 0 || !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    };
                    if code.match_indices(word).any(|(at, _)| names(at)) {
                        faults.push(format!("{}:{}: names {word}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "a layer names what it may not:\n{}", faults.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for path in ["src", "tests", "benches"].iter().flat_map(|root| sources(Path::new(root))) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}: {lines} lines, at most {LINES_MAX}", path.display()));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{}: does not open with //!", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
