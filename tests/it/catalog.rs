//! The catalogue at its boundary: text in, a sound catalogue or every fault out.

use intentd::domain::catalog::Catalog;

const SHIPPED: &str = include_str!("../../config/catalog.toml");

fn load(text: &str) -> Catalog {
    Catalog::load(text, "catalog.toml").unwrap_or_else(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("{}", faults.join("\n"))
    })
}

#[test]
fn the_shipped_catalogue_is_sound() {
    load(SHIPPED);
}
