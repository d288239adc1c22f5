//! The configuration file shows every key with its default; faults are all named at once, with their places.

use std::path::Path;

use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};
use figment::value::{Dict, Value};
use intentd::config::Config;

fn leaves(prefix: &str, tree: &Dict, into: &mut Vec<String>) {
    for (name, value) in tree {
        let key = format!("{prefix}{name}");
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => leaves(&format!("{key}."), inner, into),
            _ => into.push(key),
        }
    }
}

fn keys(figment: &Figment) -> Vec<String> {
    let mut found = Vec::new();
    leaves("", &figment.extract::<Dict>().unwrap(), &mut found);
    found.sort();
    found
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let file = keys(&Figment::from(Toml::file("config/intentd.toml")));
    let defaults = keys(&Figment::from(Serialized::defaults(Config::default())));
    assert_eq!(file, defaults);
    assert_eq!(Config::load(Some(Path::new("config/intentd.toml"))).unwrap(), Config::default());
}

#[test]
fn all_faults_are_named_at_once_with_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(
        &path,
        "data_dirr = \"x\"\n[http]\nlisten = \"nowhere\"\nport = 1\n[log]\nformat = \"xml\"\n",
    )
    .unwrap();
    let faults = Config::load(Some(&path)).unwrap_err().faults;
    let places: Vec<(String, String)> = faults
        .iter()
        .map(|fault| (fault.place.rsplit(':').next().unwrap().to_owned(), fault.key.clone()))
        .collect();
    let wanted = [("1", "data_dirr"), ("3", "http.listen"), ("4", "http.port"), ("6", "log.format")];
    assert_eq!(places, wanted.map(|(line, key)| (line.to_owned(), key.to_owned())));
    assert!(faults[0].message.contains("data_dir"), "{}", faults[0]);
}

#[test]
fn values_that_make_no_sense_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("senseless.toml");
    std::fs::write(&path, "[pipeline]\nin_flight_max = 0\n[log]\nfilter = \"a=b=c\"\n").unwrap();
    let faults = Config::load(Some(&path)).unwrap_err().faults;
    let named: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(named, ["pipeline.in_flight_max", "log.filter"]);
}

#[test]
fn a_value_that_may_hold_a_password_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.toml");
    for text in [
        "kurrentdb = \"kurrentdb://me:s3cret@h:1\"\n",
        "[kurrentdb]\nconnection = \"kurrentdb://me:s3cret@h:port\"\n",
        "[kurrentdb]\nconnection = [\"kurrentdb://me:s3cret@h\"]\n",
        "[kurrentdb]\nconnection = kurrentdb://me:s3cret@h\n",
        "[kurrentdb]\ncall_timeout = \"s3cret\"\n",
        "[http]\nlisten = \"kurrentdb://me:s3cret@h\"\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let faults = Config::load(Some(&path)).unwrap_err();
        let said = format!("{faults} {faults:?}");
        assert!(!faults.faults.is_empty() && !said.contains("s3cret"), "{text}: {said}");
    }
}

#[test]
fn several_instances_need_a_log_that_they_share() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shards.toml");
    let faults = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path)).map_or_else(|faults| faults.faults, |_| Vec::new())
    };
    let found = faults("[shard]\ncount = 2\n");
    let [fault] = &found[..] else { panic!("{found:?}") };
    assert_eq!(fault.key, "shard.count");
    assert!(fault.message.contains("kurrentdb.connection") && fault.message.contains("docs/operations.md"));
    let shared = "[kurrentdb]\nconnection = \"kurrentdb://log:2113?tls=true\"\n";
    assert_eq!(faults(&format!("[shard]\ncount = 2\n{shared}")), []);
    assert_eq!(faults("[shard]\ncount = 1\n"), []);
}
