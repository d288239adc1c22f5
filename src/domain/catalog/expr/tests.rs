//! What expressions mean and what the check refuses.

use std::collections::BTreeSet;

use super::{Parsed, Program, Scope, Type};
use crate::domain::codec::symbol;

pub(super) const NUMBERS: [&str; 4] = ["n0", "n1", "n2", "n3"];
pub(super) const TRUTHS: [&str; 2] = ["b0", "b1"];
pub(super) const TEXTS: [&str; 2] = ["t0", "t1"];

pub(super) fn scope() -> Scope {
    let kinds = NUMBERS.map(|name| (name, Type::Number)).into_iter();
    let kinds =
        kinds.chain(TRUTHS.map(|name| (name, Type::Truth))).chain(TEXTS.map(|name| (name, Type::Text)));
    let names = (0_u16..).zip(kinds).map(|(slot, (name, kind))| (name.to_owned(), (slot, kind)));
    Scope { what: "slot".to_owned(), names: names.collect() }
}

pub(super) fn compile(text: &str, wanted: Type) -> Result<Program, Vec<String>> {
    Parsed::new(text)?.compile(&scope(), &[wanted])
}

#[test]
fn unknown_means_what_the_module_says() {
    let slots = [f64::NAN, 2.0, 0.0, f64::INFINITY, f64::NAN, 1.0, f64::NAN, symbol("a")];
    for (text, expected) in [
        ("n0 != 5", None),
        ("!(n0 < 5)", None),
        ("b1 || n0 > 1", Some(1.0)),
        ("n0 > 1 && n1 < 0", Some(0.0)),
        ("known(n0)", Some(0.0)),
        ("known(b0) || known(t1)", Some(1.0)),
        ("t0 == \"a\"", None),
        ("t1 in [\"b\", \"a\"]", Some(1.0)),
        ("n1 * 2 == 4", Some(1.0)),
        ("(n2 / n2) == (n2 / n2)", None),
    ] {
        let value = compile(text, Type::Truth).unwrap().number(&slots);
        assert_eq!(Some(value).filter(|value| !value.is_nan()), expected, "{text}");
    }
    let infinite = compile("n1 / n2", Type::Number).unwrap();
    assert!(infinite.number(&slots).is_nan());
    assert_eq!(compile("coalesce(n0, n1) + 1", Type::Number).unwrap().number(&slots), 3.0);
    assert!(compile("n3", Type::Number).unwrap().number(&[]).is_nan(), "a slot past the end is unknown");
}

#[test]
fn reads_are_the_slots_named() {
    assert_eq!(compile("n3 > 1 || (known(t0) && n1 == n3)", Type::Truth).unwrap().reads(), [1, 3, 6]);
}

#[test]
fn what_is_not_sound_is_refused_with_words() {
    let deep = format!("{}n0{}", "(".repeat(400), ")".repeat(400));
    let wide = vec!["n0"; 200].join(" + ");
    let stacked = (0..20).fold("n0".to_owned(), |inner, _| format!("(n1 + ({inner}))"));
    for (text, needle) in [
        ("n9 > 1", "there is no slot `n9`; did you mean"),
        ("n0 > \"a\"", "`>` takes a number on both sides"),
        ("t0 == 1", "compares values of one type"),
        ("n0 + 1", "gives a number, needed is true or false"),
        ("n0 && b0", "`&&` takes true or false"),
        ("b0 ? n0 : b1", "both sides of `:` must have one type"),
        ("n0 ? b0 : b1", "the condition before `?`"),
        ("t0 < t1", "`<` takes a number"),
        ("n0 in []", "`in` an empty list"),
        ("n0 in [n1]", "list of literals"),
        ("t0.startsWith(\"a\")", "is called on a value"),
        ("n0.x > 1", "no fields with a dot"),
        ("[1, 2].exists(x, x > n0)", "lists, maps or macros"),
        ("size(t0) > 1", "there is no function `size`"),
        ("known(n0 + 1)", "`known` takes a bare name"),
        ("n0 == null", "there is no null"),
        ("true || false", "reads no slot"),
        ("n0 >", "not CEL"),
        (&deep, "not CEL"),
        (&wide, "needed is true or false"),
        (&stacked, "too long or too deep"),
    ] {
        let faults = compile(text, Type::Truth).expect_err(text).join("; ");
        assert!(faults.contains(needle), "{text}: {faults}");
    }
    let both = compile("n9 > 1 && m9 > 1", Type::Truth).unwrap_err();
    assert_eq!(both.iter().collect::<BTreeSet<_>>().len(), 2, "{both:?}");
}
