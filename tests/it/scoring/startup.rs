//! Loading ONNX Runtime, each case in a process of its own: missing, wrong, cut short, too old; and that it stays silent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use intentd::domain::catalog::ModelIx;
use intentd::error::Chain;
use intentd::scoring::registry::Registry;
use intentd::scoring::{Options, Scorer as _};

use super::{five, is_there};

/// The case a child runs; set by its parent.
const CASE: &str = "INTENTD_TEST_LIBRARY";
const FIXTURES: &str = "INTENTD_TEST_FIXTURES";

/// Loads the registry and scores, in the child, and prints what came of it.
#[test]
#[ignore = "run by the other tests here, in a process of its own"]
fn child() {
    let library = std::env::var(CASE).expect("run by a parent");
    let folder = PathBuf::from(std::env::var(FIXTURES).unwrap());
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let registry =
        Registry::load(&Options { folder, library: library.into(), ..Options::default() }, &five());
    let answers = registry.scorer().score(ModelIx(0), &[[1.0; 5].as_slice(); 300]);
    match registry.runtime() {
        Ok(_) => println!("RUNTIME works"),
        Err(error) => println!("RUNTIME {}", Chain(error)),
    }
    println!("DEGRADED {} THREADS {}", registry.is_degraded(), threads() - before);
    match &answers[0] {
        Ok(_) => println!("ANSWER scored"),
        Err(unscored) => println!("ANSWER {unscored}"),
    }
}

/// Runs the child in an empty folder, which is also its home and its temporary folder.
fn run(folder: &Path, library: &str, change: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "scoring::startup::child", "--ignored", "--nocapture", "--test-threads=1"])
        .current_dir(folder)
        .env(CASE, library)
        .env(FIXTURES, fs::canonicalize(super::FIXTURES).unwrap())
        .env("ORT_DISABLE_TELEMETRY", "1")
        .env_remove("ORT_DYLIB_PATH");
    for name in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(name, folder);
    }
    change(&mut command);
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{text}\n{errors}", output.status);
    text
}

/// The child lives, scores nothing and says why.
fn check_refused(library: &str, says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let text = printed(&run(folder.path(), library, |_| ()));
    assert!(
        text.contains("DEGRADED true") && text.contains("ANSWER no model of type LINES is loaded"),
        "{text}"
    );
    for part in says {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

/// The library that the other tests load.
fn library() -> PathBuf {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    fs::canonicalize(named.map_or(PathBuf::from(".ort/libonnxruntime.so"), PathBuf::from)).unwrap()
}

fn write(folder: &Path, content: &[u8]) -> String {
    let path = folder.join("libonnxruntime.so");
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn without_a_library_everything_is_unscored_and_says_where_to_get_it() {
    check_refused(
        "",
        &["no ONNX Runtime library at", ".ort/libonnxruntime.so", "models/fetch_onnxruntime.py"],
    );
    check_refused("/nowhere/libonnxruntime.so", &["cannot read the library /nowhere/libonnxruntime.so"]);
}

#[test]
fn a_wrong_file_is_an_error_and_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    check_refused(&write(folder.path(), b"not a library"), &["it is no 64-bit ELF file"]);
    check_refused(&write(folder.path(), b""), &["it is no 64-bit ELF file"]);
    check_refused(&folder.path().display().to_string(), &["cannot read the library"]);
    // A library, but another one: this very process has libc loaded.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.split_whitespace().find(|word| word.contains("libc.so")).unwrap();
    check_refused(libc, &["cannot load ONNX Runtime", "does not export `OrtGetApiBase`"]);
    // An executable is ELF, too, and cannot be loaded.
    check_refused("/proc/self/exe", &["RUNTIME"]);
}

#[test]
fn a_library_cut_short_is_an_error_and_not_a_crash() {
    if !is_there("a_library_cut_short_is_an_error_and_not_a_crash") {
        return;
    }
    let whole = fs::read(library()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for part in [whole.len() / 2, whole.len() - 1] {
        check_refused(&write(folder.path(), &whole[..part]), &["it is cut short"]);
    }
}

/// Compiles a library that claims a version; none where there is no C compiler.
fn claiming(folder: &Path, version: &str) -> Option<String> {
    let source = folder.join("claim.c");
    let code = format!(
        "static const void *api(unsigned v) {{ (void)v; return 0; }}\n\
         static const char *version(void) {{ return \"{version}\"; }}\n\
         static struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base = {{ api, version }};\n\
         const void *OrtGetApiBase(void) {{ return &base; }}\n"
    );
    fs::write(&source, code).unwrap();
    let target = folder.join(format!("claim-{version}.so"));
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&target).arg(&source).status();
    if made.is_ok_and(|status| status.success()) {
        return Some(target.display().to_string());
    }
    println!("skipped: no C compiler to make a library that claims version {version}");
    None
}

#[test]
fn a_library_of_another_version_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(old) = claiming(folder.path(), "1.17.3") {
        check_refused(&old, &["expected version >= '1.24.x', but got '1.17.3'"]);
    }
    // Says that it is new enough and has no API to offer: `ort` panics on it.
    if let Some(empty) = claiming(folder.path(), "1.28.0") {
        check_refused(&empty, &["does not start: it offers no API that this build can use"]);
    }
}

#[test]
fn telemetry_has_to_be_off_before_the_library_loads() {
    if !is_there("telemetry_has_to_be_off_before_the_library_loads") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let library = library().display().to_string();
    let output = run(folder.path(), &library, |command| {
        command.env_remove("ORT_DISABLE_TELEMETRY");
    });
    assert!(printed(&output).contains("RUNTIME ORT_DISABLE_TELEMETRY is not 1"));
}

#[test]
fn the_runtime_starts_no_thread_and_writes_no_file() {
    if !is_there("the_runtime_starts_no_thread_and_writes_no_file") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let library = library().display().to_string();
    let output = run(folder.path(), "/nowhere", |command| {
        // The variable wins over what is configured.
        command.env("ORT_DYLIB_PATH", &library);
    });
    let text = printed(&output);
    // The one thread is ours: it watches over trials.
    for line in ["RUNTIME works", "DEGRADED false THREADS 1", "ANSWER scored"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the runtime wrote a file");
}
