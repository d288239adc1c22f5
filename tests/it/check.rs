//! `intentd check`, the real program: every fault at once, of configuration, catalogue, models and, when asked, the store.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::daemon::{Place, models_are_there, simulated};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What was said, once the code is the expected one and each of these words was there.
fn holds(output: &Output, code: i32, words: &[&str]) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
    said
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn what_is_in_order_is_told() {
    if !models_are_there("what_is_in_order_is_told") {
        return;
    }
    let said = holds(&Place::new().run(&["check"]), 0, &["catalogue ", "4 models"]);
    for model in ["SELL", "BUY", "REFINANCE", "INVESTMENT"] {
        assert!(
            said.lines()
                .any(|line| line.starts_with(&format!("model {model} ")) && line.ends_with(": in order")),
            "{model}:\n{said}"
        );
    }
}

#[test]
fn a_fault_of_the_configuration_hides_none_of_the_catalogue() {
    let place = Place::new();
    let catalog = place.path("catalog.toml");
    let shipped = fs::read_to_string("config/catalog.toml").unwrap();
    fs::write(&catalog, shipped.replace("count = \"PREAPPROVAL_STARTED\"", "count = \"NO_SUCH_EVENT\""))
        .unwrap();
    let config = place.path("intentd.toml");
    fs::write(&config, format!("catalog = {:?}\n[http]\nlisten = \"nowhere\"\nport = 1\n", catalog)).unwrap();
    let output = place.run(&["check", "--config", config.to_str().unwrap()]);
    holds(&output, 78, &["intentd.toml:3: http.listen", "intentd.toml:4: http.port", "NO_SUCH_EVENT"]);
}

#[test]
fn a_model_that_cannot_serve_is_a_fault_unless_the_daemon_may_start_without() {
    if !models_are_there("a_model_that_cannot_serve_is_a_fault_unless_the_daemon_may_start_without") {
        return;
    }
    let mut place = Place::new();
    let models = place.path("models");
    for model in ["SELL", "BUY", "INVESTMENT"] {
        let newest =
            fs::read_dir(Path::new("models").join(model)).unwrap().map(|entry| entry.unwrap().path()).max();
        let newest = newest.unwrap();
        copied(&newest, &models.join(model).join(newest.file_name().unwrap()));
    }
    let golden =
        fs::read_dir(models.join("SELL")).unwrap().next().unwrap().unwrap().path().join("golden.jsonl");
    let mut bytes = fs::read(&golden).unwrap();
    bytes[10] ^= 1;
    fs::write(&golden, bytes).unwrap();
    place.set("INTENTD_MODELS__FOLDER", models.to_str().unwrap());
    place.set("INTENTD_HTTP__LISTEN", "nowhere");
    let faults = ["golden.jsonl", "no version of REFINANCE", "model BUY ", "model INVESTMENT "];
    let said = holds(&place.run(&["check"]), 78, &faults);
    assert!(said.contains("INTENTD_HTTP__LISTEN"), "{said}");
    let said = holds(&place.run(&["check", "--allow-degraded"]), 78, &faults);
    assert!(said.contains("1 fault(s)") && said.contains("warning: degraded: "), "{said}");
    place.set("INTENTD_HTTP__LISTEN", "127.0.0.1:0");
    holds(&place.run(&["check", "--allow-degraded"]), 0, &faults);
}

#[test]
fn a_file_of_credentials_that_does_not_serve_is_a_fault() {
    let mut place = Place::new();
    place.set("INTENTD_MODELS__FOLDER", "/nowhere");
    let file = place.path("credentials");
    place.set("INTENTD_KURRENTDB__CREDENTIALS", file.to_str().unwrap());
    let check = ["check", "--allow-degraded"];
    // Nobody reads it where the log is embedded.
    holds(&place.run(&check), 0, &[]);
    place.set("INTENTD_KURRENTDB__CONNECTION", "kurrentdb://127.0.0.1:1?tls=false");
    let said = holds(&place.run(&check), 78, &["1 fault(s)", "kurrentdb.credentials", "cannot be read"]);
    assert!(said.contains(file.to_str().unwrap()), "{said}");
    fs::write(&file, "s3cret").unwrap();
    let said = holds(&place.run(&check), 78, &["kurrentdb.credentials", "user:password"]);
    assert!(!said.contains("s3cret"), "{said}");
    fs::write(&file, "me:s3cret\n").unwrap();
    holds(&place.run(&check), 0, &[]);
}

#[test]
fn a_flipped_byte_of_the_store_is_found() {
    let mut place = Place::new();
    place.set("INTENTD_MODELS__FOLDER", "/nowhere");
    holds(&place.run(&["check", "--allow-degraded", "--store"]), 69, &["there is no store in", "data_dir"]);
    let nowhere = place.path("nowhere").display().to_string();
    let copied =
        place.run(&["store", "copy", "--from", &nowhere, "--to", &place.path("to").display().to_string()]);
    holds(&copied, 66, &["there is no store in", "--from"]);
    assert!(!place.path("nowhere").exists() && !place.path("to").exists());
    let log = place.path("log.jsonl");
    simulated(&log, 3, 20, 30);
    place.done(&["import", log.to_str().unwrap()]);
    holds(&place.run(&["check", "--allow-degraded", "--store"]), 0, &["store ", ": in order: "]);
    let segments = fs::read_dir(place.data_dir().join("store/log")).unwrap();
    let segment =
        segments.map(|entry| entry.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len());
    let segment = segment.unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5_000] ^= 4;
    fs::write(&segment, bytes).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap();
    holds(&place.run(&["check", "--allow-degraded", "--store"]), 65, &[name]);
}
