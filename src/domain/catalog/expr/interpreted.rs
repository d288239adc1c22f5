//! Compiled expressions against the `cel` crate's interpreter.
//!
//! Law: the interpreter is told of an unknown slot by not declaring the variable, and runs plain CEL: what our expressions
//! have beyond it is first written out in it ([`plain`]).

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::{Context, ExecutionError, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::tests::{NUMBERS, TEXTS, TRUTHS, compile, scope};
use super::{Parsed, Program, Type};
use crate::domain::codec::symbol;

const WORDS: [&str; 3] = ["a", "b", "c"];

fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

fn ided(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

/// Whether an operand is a number: a comparison of numbers is written out, one of texts and truths is CEL's own.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Ident(name) => NUMBERS.contains(&name.as_str()),
        Expr::Literal(literal) => matches!(literal, LiteralValue::Double(_) | LiteralValue::Int(_)),
        Expr::Call(call) => match call.func_name.as_str() {
            operators::CONDITIONAL => is_number(&call.args[1].expr),
            operators::NEGATE | operators::ADD | operators::SUBSTRACT | operators::MULTIPLY => true,
            operators::DIVIDE | operators::MODULO => true,
            "min" | "max" | "abs" | "floor" | "sqrt" | "log1p" | "coalesce" => true,
            _ => false,
        },
        _ => false,
    }
}

/// The same expression in plain CEL: literals widened, `%` and equality of numbers, `known` and `coalesce` written out.
fn plain(expr: &Expr) -> Expr {
    let Expr::Call(ours) = expr else {
        return match expr {
            Expr::Literal(LiteralValue::Int(value)) => {
                Expr::Literal(LiteralValue::Double((*value.inner() as f64).into()))
            }
            other => other.clone(),
        };
    };
    let args: Vec<IdedExpr> = ours.args.iter().map(|arg| ided(plain(&arg.expr))).collect();
    let both = |first, join, second| {
        call(join, vec![ided(call(first, args.clone())), ided(call(second, args.clone()))])
    };
    match (ours.func_name.as_str(), ours.args.as_slice()) {
        (operators::MODULO, _) => call("mod", args),
        (operators::EQUALS, [left, _]) if is_number(&left.expr) => {
            both(operators::LESS_EQUALS, operators::LOGICAL_AND, operators::GREATER_EQUALS)
        }
        (operators::NOT_EQUALS, [left, _]) if is_number(&left.expr) => {
            both(operators::LESS, operators::LOGICAL_OR, operators::GREATER)
        }
        (operators::IN, [left, list]) if is_number(&left.expr) => {
            let Expr::List(list) = &list.expr else { panic!("in takes a list") };
            let one = |item: &IdedExpr| call(operators::EQUALS, vec![left.clone(), item.clone()]);
            let all = list
                .elements
                .iter()
                .map(one)
                .reduce(|all, one| call(operators::LOGICAL_OR, vec![ided(all), ided(one)]));
            plain(&all.unwrap())
        }
        ("known", [IdedExpr { expr: Expr::Ident(name), .. }]) => Expr::Ident(format!("known_{name}")),
        ("coalesce", [IdedExpr { expr: Expr::Ident(name), .. }, _]) => {
            let known = ided(Expr::Ident(format!("known_{name}")));
            call(operators::CONDITIONAL, [known].into_iter().chain(args).collect())
        }
        (name, _) => call(name, args),
    }
}

fn interpret(text: &str, slots: &[f64]) -> Result<Value, ExecutionError> {
    let expr = ided(plain(&Parsed::new(text).unwrap().expr.expr));
    let mut context = Context::default();
    context.add_function("mod", |a: f64, b: f64| a % b).unwrap();
    context.add_function("abs", |a: f64| a.abs()).unwrap();
    context.add_function("floor", |a: f64| a.floor()).unwrap();
    context.add_function("sqrt", |a: f64| a.sqrt()).unwrap();
    context.add_function("log1p", |a: f64| a.ln_1p()).unwrap();
    let nan = |a: f64, b: f64| a.is_nan() || b.is_nan();
    context
        .add_function("min", move |a: f64, b: f64| {
            if nan(a, b) {
                f64::NAN
            } else if b < a {
                b
            } else {
                a
            }
        })
        .unwrap();
    context
        .add_function("max", move |a: f64, b: f64| {
            if nan(a, b) {
                f64::NAN
            } else if b > a {
                b
            } else {
                a
            }
        })
        .unwrap();
    for (name, (slot, kind)) in scope().names {
        let value = slots[usize::from(slot)];
        context.add_variable_from_value(format!("known_{name}"), !value.is_nan());
        if value.is_nan() {
            continue;
        }
        match kind {
            Type::Number => context.add_variable_from_value(name, value),
            Type::Truth => context.add_variable_from_value(name, value == 1.0),
            Type::Text => {
                let word = WORDS.into_iter().find(|word| symbol(word) == value).unwrap();
                context.add_variable_from_value(name, word);
            }
        }
    }
    context.resolve(&expr)
}

/// What an unknown is in CEL: an error for a missing variable, or for ordering a NaN. Any other error is ours.
fn number_of(answer: Result<Value, ExecutionError>) -> f64 {
    match answer {
        Ok(Value::Float(value)) if value.is_finite() => value,
        Ok(Value::Float(_)) => f64::NAN,
        Err(ExecutionError::UndeclaredReference(name)) if scope().names.contains_key(name.as_str()) => {
            f64::NAN
        }
        Ok(Value::Bool(value)) => f64::from(u8::from(value)),
        Err(ExecutionError::NoSuchOverload(error)) if error.argument_types() == ["double", "double"] => {
            f64::NAN
        }
        other => panic!("{other:?}"),
    }
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_i64..20).prop_map(|value| value.to_string()),
        prop::sample::select(vec!["0.5", "2.25", "1e300", "1e-3", "9007199254740993"])
            .prop_map(str::to_owned),
    ]
}

fn text() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        prop::sample::select(&TEXTS[..]).prop_map(str::to_owned),
        prop::sample::select(&WORDS[..]).prop_map(|word| format!("\"{word}\"")),
    ];
    prop_oneof![
        3 => leaf.clone(),
        1 => (prop::sample::select(&TRUTHS[..]), leaf.clone(), leaf).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
    ]
    .boxed()
}

fn number(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![3 => prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned), 1 => literal()];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = number(depth - 1);
    let name = prop::sample::select(&NUMBERS[..]);
    prop_oneof![
        1 => leaf,
        1 => inner.clone().prop_map(|a| format!("(-{a})")),
        4 => (prop::sample::select(vec!["+", "-", "*", "/", "%"]), inner.clone(), inner.clone())
            .prop_map(|(op, a, b)| format!("({a} {op} {b})")),
        2 => (prop::sample::select(vec!["min", "max"]), inner.clone(), inner.clone())
            .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
        2 => (prop::sample::select(vec!["abs", "floor", "sqrt", "log1p"]), inner.clone())
            .prop_map(|(f, a)| format!("{f}({a})")),
        1 => (name, inner.clone()).prop_map(|(x, y)| format!("coalesce({x}, {y})")),
        1 => (truth(depth - 1), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        3 => prop::sample::select(&TRUTHS[..]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["true", "false"]).prop_map(str::to_owned),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let (inner, value) = (truth(depth - 1), number(depth - 1));
    let any = prop::sample::select([&NUMBERS[..], &TRUTHS[..], &TEXTS[..]].concat());
    let equal = prop::sample::select(vec!["==", "!="]);
    prop_oneof![
        1 => leaf,
        1 => inner.clone().prop_map(|a| format!("(!{a})")),
        4 => (prop::sample::select(vec!["&&", "||"]), inner.clone(), inner.clone())
            .prop_map(|(op, a, b)| format!("({a} {op} {b})")),
        4 => (prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]), value.clone(), value.clone())
            .prop_map(|(op, a, b)| format!("({a} {op} {b})")),
        1 => (equal.clone(), inner.clone(), inner.clone()).prop_map(|(op, a, b)| format!("({a} {op} {b})")),
        2 => (equal, text(), text()).prop_map(|(op, a, b)| format!("({a} {op} {b})")),
        1 => (text(), prop::sample::subsequence(&WORDS[..], 1..=3))
            .prop_map(|(a, words)| format!("({a} in [\"{}\"])", words.join("\", \""))),
        1 => (value, prop::collection::vec(literal(), 1..4))
            .prop_map(|(a, items)| format!("({a} in [{}])", items.join(", "))),
        1 => any.prop_map(|x| format!("known({x})")),
        1 => (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
    ]
    .boxed()
}

fn slots() -> impl Strategy<Value = Vec<f64>> {
    let odd = vec![
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        1.0,
        2.25,
        -3.0,
        5.0,
        1e300,
        f64::MIN_POSITIVE,
    ];
    let number = prop_oneof![3 => prop::sample::select(odd), 1 => any::<f64>()];
    let truth = prop::sample::select(vec![0.0, 1.0, f64::NAN]);
    let word = prop::sample::select(vec![symbol("a"), symbol("b"), symbol("c"), f64::NAN]);
    (prop::collection::vec(number, 4), prop::collection::vec(truth, 2), prop::collection::vec(word, 2))
        .prop_map(|(numbers, truths, words)| [numbers, truths, words].concat())
}

/// The program, or none for one that is refused for its size or for reading nothing, which random ones may be.
fn fitting(text: &str, wanted: Type) -> Option<Program> {
    compile(text, wanted)
        .map_err(|faults| {
            let expected = |fault: &String| {
                fault.starts_with("too long")
                    || fault.starts_with("the expression has")
                    || fault.starts_with("reads no")
            };
            assert!(faults.iter().all(expected), "{text}: {faults:?}");
        })
        .ok()
}

proptest! {
    #![proptest_config(Config::with_cases(384))]

    #[test]
    fn numbers_are_as_the_interpreter_says(text in number(4), rows in prop::collection::vec(slots(), 8)) {
        let Some(program) = fitting(&text, Type::Number) else { return Ok(()) };
        for slots in rows {
            let (ours, theirs) = (program.number(&slots), number_of(interpret(&text, &slots)));
            let same = ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan());
            prop_assert!(same, "{text} over {slots:?}: compiled {ours}, interpreted {theirs}");
        }
    }

    #[test]
    fn truths_are_as_the_interpreter_says(text in truth(4), rows in prop::collection::vec(slots(), 8)) {
        let Some(program) = fitting(&text, Type::Truth) else { return Ok(()) };
        for slots in rows {
            let (ours, theirs) = (program.number(&slots), number_of(interpret(&text, &slots)));
            prop_assert!(
                ours == theirs || (ours.is_nan() && theirs.is_nan()),
                "{text} over {slots:?}: compiled {ours}, interpreted {theirs}"
            );
            prop_assert_eq!(program.holds(&slots), theirs == 1.0);
        }
    }
}

#[test]
fn the_generators_reach_every_operator_and_size() {
    let mut runner = TestRunner::deterministic();
    let (mut seen, mut fit) = (BTreeMap::<&str, u32>::new(), 0);
    for _ in 0..256 {
        for (text, kind) in [
            (number(4).new_tree(&mut runner).unwrap().current(), Type::Number),
            (truth(4).new_tree(&mut runner).unwrap().current(), Type::Truth),
        ] {
            let program = fitting(&text, kind);
            fit += u32::from(program.is_some());
            for op in program.iter().flat_map(|program| &program.ops) {
                let shown = format!("{op:?}");
                for name in OPERATORS {
                    *seen.entry(name).or_default() +=
                        u32::from(shown.contains(&format!("({name}")) || shown == *name);
                }
            }
        }
    }
    let missing: Vec<_> = OPERATORS.iter().filter(|name| seen[**name] < 8).collect();
    assert!(missing.is_empty(), "too rare: {missing:?} in {seen:?}");
    assert!(fit > 300, "only {fit} of 512 expressions fit");
}

const OPERATORS: &[&str] = &[
    "Push",
    "Select",
    "Not",
    "Negate",
    "Abs",
    "Floor",
    "Sqrt",
    "Log1p",
    "Known",
    "Add",
    "Subtract",
    "Multiply",
    "Divide",
    "Modulo",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "Equal",
    "NotEqual",
    "And",
    "Or",
    "Min",
    "Max",
    "Coalesce",
];
