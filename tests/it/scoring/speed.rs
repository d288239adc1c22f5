//! What a row costs. Not a pass or fail: run by hand, in a release build, on models of 40 features:
//!
//! ```text
//! .venv/bin/python models/train/fixture.py --out target/speed-models --features 40 --bins 32
//! SCORING_MODELS=target/speed-models cargo test --release --test it scoring::speed -- --ignored --nocapture
//! ```

use std::time::Instant;

use intentd::domain::catalog::ModelIx;
use intentd::scoring::registry::Registry;
use intentd::scoring::{Options, Scorer as _};

#[test]
#[ignore = "a measurement"]
fn microseconds_per_row() {
    let folder = std::env::var("SCORING_MODELS").expect("SCORING_MODELS names a folder");
    let names: Vec<String> = (0..40).map(|at| format!("f{at}")).collect();
    let catalog = super::catalog(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let started = Instant::now();
    let registry = Registry::load(&Options { folder: folder.into(), ..Options::default() }, &catalog);
    println!("load and trial of all models: {:?}", started.elapsed());
    assert!(
        !registry.is_degraded(),
        "{:?}",
        registry.status().map(|model| model.refused).collect::<Vec<_>>()
    );
    let mut scorer = registry.scorer();
    let rows: Vec<Vec<f32>> = (0..1024)
        .map(|row| {
            (0..40)
                .map(|at| if (row + at) % 9 == 0 { f32::NAN } else { (row * 7 + at * 13) as f32 % 50.0 })
                .collect()
        })
        .collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    for (model, name) in [(ModelIx(0), "LINES"), (ModelIx(1), "STEPS")] {
        for size in [1, 16, 256, 1024] {
            let mut best = f64::INFINITY;
            for _ in 0..7 {
                let started = Instant::now();
                let mut count = 0;
                while count < 20_000 {
                    count += scorer.score(model, &rows[..size]).into_iter().filter(Result::is_ok).count();
                }
                best = best.min(started.elapsed().as_secs_f64() * 1e6 / count as f64);
            }
            println!("{name} of 40 features, batch {size}: {best:.2} us a row");
        }
    }
}
