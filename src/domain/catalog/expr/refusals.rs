//! Expressions that are refused, each with words that say why.

use std::collections::BTreeSet;

use super::Type;
use super::tests::compile;

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
