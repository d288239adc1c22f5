//! From CEL text to a program: parse (crate `cel`), check types, lay out steps.
//!
//! Law: what is compiled has the right types, reads only names of its scope, and fits the stack; every fault is named.
//! Called by the catalogue's check.

use std::collections::{BTreeMap, BTreeSet};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::Parser;

use super::{Binary, Op, Program, STACK_MAX, Unary};
use crate::domain::catalog::fault::nearest;
use crate::domain::codec::symbol;

/// Longest expression, in bytes: what a person can read at once, and what keeps the parser's work small.
const TEXT_MAX: usize = 1_000;
/// Most steps of a program: at about a nanosecond each, an evaluation stays under a microsecond.
const OPS_MAX: usize = 256;
/// Deepest nesting that the parser follows.
const NESTING_MAX: u16 = 48;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain::catalog) enum Type {
    Number,
    Truth,
    Text,
}

impl Type {
    fn words(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Truth => "true or false",
            Self::Text => "a text",
        }
    }
}

/// The names an expression may use, each with its slot.
#[derive(Clone, Debug)]
pub(in crate::domain::catalog) struct Scope {
    /// What its names are, such as `feature`.
    pub(in crate::domain::catalog) what: String,
    /// The names.
    pub(in crate::domain::catalog) names: BTreeMap<String, (u16, Type)>,
}

/// An expression that is CEL, not checked yet.
#[derive(Clone, Debug)]
pub(in crate::domain::catalog) struct Parsed {
    pub(super) expr: IdedExpr,
}

impl Parsed {
    /// Reads CEL.
    ///
    /// # Errors
    /// Says where the text is not CEL.
    pub(in crate::domain::catalog) fn new(text: &str) -> Result<Self, Vec<String>> {
        if text.len() > TEXT_MAX {
            return Err(vec![format!(
                "the expression has {} bytes, at most {TEXT_MAX} are read: split it into derived features",
                text.len()
            )]);
        }
        match Parser::new().max_recursion_depth(NESTING_MAX).parse(text) {
            Ok(expr) => Ok(Self { expr }),
            Err(faults) => Err(faults
                .errors
                .iter()
                .map(|fault| format!("not CEL at column {}: {}", fault.pos.1, fault.msg))
                .collect()),
        }
    }

    /// The names it uses.
    pub(in crate::domain::catalog) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        collect(&self.expr.expr, &mut names);
        names
    }

    /// Checks it and lays out its steps.
    ///
    /// # Errors
    /// Every fault: unknown names, types that do not fit, what the part of CEL that we take does not have.
    pub(in crate::domain::catalog) fn compile(
        &self,
        scope: &Scope,
        wanted: &[Type],
    ) -> Result<Program, Vec<String>> {
        let mut layout = Layout::new(scope);
        if let Some(found) = layout.node(&self.expr.expr)
            && !wanted.contains(&found)
        {
            let wanted: Vec<_> = wanted.iter().map(|kind| kind.words()).collect();
            layout.faults.push(format!("gives {}, needed is {}", found.words(), wanted.join(" or ")));
        }
        if layout.deepest > STACK_MAX || layout.ops.len() > OPS_MAX {
            layout.faults.push(format!(
                "too long or too deep ({} steps, {} values waiting; at most {OPS_MAX} and {STACK_MAX}): split it into \
                 derived features",
                layout.ops.len(),
                layout.deepest
            ));
        }
        if layout.faults.is_empty() && layout.reads.is_empty() {
            layout.faults.push(format!("reads no {}: it would never change", scope.what));
        }
        if layout.faults.is_empty() {
            Ok(Program { reads: layout.reads.into_iter().collect(), ops: layout.ops.into() })
        } else {
            Err(layout.faults)
        }
    }
}

fn collect(expr: &Expr, names: &mut BTreeSet<String>) {
    if let Expr::Ident(name) = expr {
        names.insert(name.clone());
    } else if let Expr::Call(call) = expr {
        for argument in call.args.iter().chain(call.target.as_deref()) {
            collect(&argument.expr, names);
        }
    } else if let Expr::List(list) = expr {
        for element in &list.elements {
            collect(&element.expr, names);
        }
    }
}

struct Layout<'a> {
    scope: &'a Scope,
    ops: Vec<Op>,
    reads: BTreeSet<u16>,
    waiting: usize,
    deepest: usize,
    faults: Vec<String>,
}

/// What needs no steps of its own.
enum Leaf {
    Slot(u16),
    Constant(f64),
}

impl<'a> Layout<'a> {
    fn new(scope: &'a Scope) -> Self {
        Self { scope, ops: Vec::new(), reads: BTreeSet::new(), waiting: 0, deepest: 0, faults: Vec::new() }
    }

    fn fault<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.faults.push(message.into());
        None
    }

    fn push(&mut self) {
        self.ops.push(Op::Push);
        self.waiting += 1;
        self.deepest = self.deepest.max(self.waiting);
    }

    fn with_top(&mut self, what: Binary) {
        self.ops.push(Op::WithTop(what));
        self.waiting -= 1;
    }

    /// Lays out steps that leave the expression's value at hand; its type, or none after a fault.
    fn node(&mut self, expr: &Expr) -> Option<Type> {
        if let Expr::Ident(_) | Expr::Literal(_) = expr {
            let (leaf, found) = self.leaf(expr)?;
            self.ops.push(match leaf {
                Leaf::Slot(at) => Op::Slot(at),
                Leaf::Constant(value) => Op::Constant(value),
            });
            return Some(found);
        }
        let Expr::Call(call) = expr else {
            return self.fault(
                "only names, literals, operators and functions are taken here: no fields with a dot, lists, maps or macros",
            );
        };
        if call.target.is_some() {
            return self
                .fault(format!("`{}` is called on a value; functions stand before it", call.func_name));
        }
        self.call(call)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "CEL's own widening of an integer, documented in the module"
    )]
    fn leaf(&mut self, expr: &Expr) -> Option<(Leaf, Type)> {
        if let Expr::Ident(name) = expr {
            let Some(&(slot, found)) = self.scope.names.get(name) else {
                let hint = nearest(name, self.scope.names.keys().map(String::as_str));
                return self.fault(format!("there is no {} `{name}`{hint}", self.scope.what));
            };
            self.reads.insert(slot);
            return Some((Leaf::Slot(slot), found));
        }
        let Expr::Literal(literal) = expr else { return None };
        let (value, found) = match literal {
            LiteralValue::Boolean(value) => (f64::from(u8::from(*value.inner())), Type::Truth),
            LiteralValue::Double(value) => (*value.inner(), Type::Number),
            LiteralValue::Int(value) => (*value.inner() as f64, Type::Number),
            LiteralValue::UInt(value) => (*value.inner() as f64, Type::Number),
            LiteralValue::String(value) => (symbol(value.inner()), Type::Text),
            LiteralValue::Null => return self.fault("there is no null: ask `known(name)`"),
            LiteralValue::Bytes(_) => return self.fault("there are no byte strings"),
        };
        Some((Leaf::Constant(value), found))
    }

    fn call(&mut self, call: &CallExpr) -> Option<Type> {
        use Type::{Number, Truth};
        let args: Vec<&Expr> = call.args.iter().map(|argument| &argument.expr).collect();
        match (call.func_name.as_str(), args.as_slice()) {
            (operators::CONDITIONAL, [condition, then, otherwise]) => self.select(condition, then, otherwise),
            (operators::IN, [value, list]) => self.contained(value, list),
            (operators::EQUALS, [left, right]) => self.equality("==", Binary::Equal, left, right),
            (operators::NOT_EQUALS, [left, right]) => self.equality("!=", Binary::NotEqual, left, right),
            (operators::LOGICAL_NOT, [value]) => self.unary("!", Unary::Not, value, Truth),
            (operators::NEGATE, [value]) => self.unary("-", Unary::Negate, value, Number),
            ("abs", [value]) => self.unary("abs", Unary::Abs, value, Number),
            ("floor", [value]) => self.unary("floor", Unary::Floor, value, Number),
            ("sqrt", [value]) => self.unary("sqrt", Unary::Sqrt, value, Number),
            ("log1p", [value]) => self.unary("log1p", Unary::Log1p, value, Number),
            ("known", [Expr::Ident(name)]) => {
                self.node(&Expr::Ident(name.clone()))?;
                self.ops.push(Op::Apply(Unary::Known));
                Some(Truth)
            }
            ("coalesce", [value @ Expr::Ident(_), otherwise]) => {
                self.binary("coalesce", Binary::Coalesce, value, otherwise, Number, Number)
            }
            ("known" | "coalesce", _) => self.fault(format!(
                "`{}` takes a bare name first: name the expression as a derived feature",
                call.func_name
            )),
            (name, [left, right]) => match infix(name) {
                Some((shown, what, takes, gives)) => self.binary(shown, what, left, right, takes, gives),
                None => self.no_function(name, 2),
            },
            (name, args) => self.no_function(name, args.len()),
        }
    }

    fn no_function(&mut self, name: &str, arguments: usize) -> Option<Type> {
        self.fault(format!(
            "there is no function `{name}` of {arguments} arguments; there are min max (2), abs floor sqrt log1p (1), \
             known(name), coalesce(name, value)"
        ))
    }

    fn unary(&mut self, shown: &str, what: Unary, value: &Expr, takes: Type) -> Option<Type> {
        let found = self.node(value)?;
        self.ops.push(Op::Apply(what));
        if found != takes {
            return self.fault(format!("`{shown}` takes {}, here it gets {}", takes.words(), found.words()));
        }
        Some(takes)
    }

    /// Lays out both sides and what joins them; their types.
    fn pair(&mut self, what: Binary, left: &Expr, right: &Expr) -> Option<(Type, Type)> {
        let left = self.node(left);
        if let Expr::Ident(_) | Expr::Literal(_) = right {
            let (leaf, found) = self.leaf(right)?;
            self.ops.push(match leaf {
                Leaf::Slot(at) => Op::WithSlot(what, at),
                Leaf::Constant(value) => Op::WithConstant(what, value),
            });
            return Some((left?, found));
        }
        self.push();
        let right = self.node(right);
        self.with_top(what);
        Some((left?, right?))
    }

    fn binary(
        &mut self,
        shown: &str,
        what: Binary,
        left: &Expr,
        right: &Expr,
        takes: Type,
        gives: Type,
    ) -> Option<Type> {
        let (left, right) = self.pair(what, left, right)?;
        if left != takes || right != takes {
            return self.fault(format!(
                "`{shown}` takes {} on both sides, here it gets {} and {}",
                takes.words(),
                left.words(),
                right.words()
            ));
        }
        Some(gives)
    }

    fn equality(&mut self, shown: &str, what: Binary, left: &Expr, right: &Expr) -> Option<Type> {
        let (left, right) = self.pair(what, left, right)?;
        if left != right {
            return self.fault(format!(
                "`{shown}` compares values of one type, here {} and {}",
                left.words(),
                right.words()
            ));
        }
        Some(Type::Truth)
    }

    fn select(&mut self, condition: &Expr, then: &Expr, otherwise: &Expr) -> Option<Type> {
        let condition = self.node(condition);
        self.push();
        let then = self.node(then);
        self.push();
        let otherwise = self.node(otherwise);
        self.ops.push(Op::Select);
        self.waiting -= 2;
        let (condition, then, otherwise) = (condition?, then?, otherwise?);
        if condition != Type::Truth {
            return self
                .fault(format!("the condition before `?` must be true or false, not {}", condition.words()));
        }
        if then != otherwise {
            return self.fault(format!(
                "both sides of `:` must have one type, here {} and {}",
                then.words(),
                otherwise.words()
            ));
        }
        Some(then)
    }

    fn contained(&mut self, value: &Expr, list: &Expr) -> Option<Type> {
        let Expr::List(list) = list else {
            return self.fault("`in` takes a list of literals, such as [\"a\", \"b\"]");
        };
        if list.elements.is_empty() {
            return self.fault("`in` an empty list never holds");
        }
        for (nth, element) in list.elements.iter().enumerate() {
            if !matches!(element.expr, Expr::Literal(_)) {
                return self.fault("`in` takes a list of literals");
            }
            if nth > 0 {
                self.push();
            }
            self.equality("in", Binary::Equal, value, &element.expr)?;
            if nth > 0 {
                self.with_top(Binary::Or);
            }
        }
        Some(Type::Truth)
    }
}

/// What is written between two values, or called with two: how it is shown, what it does, takes and gives.
fn infix(name: &str) -> Option<(&'static str, Binary, Type, Type)> {
    use Type::{Number, Truth};
    Some(match name {
        operators::LOGICAL_AND => ("&&", Binary::And, Truth, Truth),
        operators::LOGICAL_OR => ("||", Binary::Or, Truth, Truth),
        operators::ADD => ("+", Binary::Add, Number, Number),
        operators::SUBSTRACT => ("-", Binary::Subtract, Number, Number),
        operators::MULTIPLY => ("*", Binary::Multiply, Number, Number),
        operators::DIVIDE => ("/", Binary::Divide, Number, Number),
        operators::MODULO => ("%", Binary::Modulo, Number, Number),
        operators::LESS => ("<", Binary::Less, Number, Truth),
        operators::LESS_EQUALS => ("<=", Binary::LessOrEqual, Number, Truth),
        operators::GREATER => (">", Binary::Greater, Number, Truth),
        operators::GREATER_EQUALS => (">=", Binary::GreaterOrEqual, Number, Truth),
        "min" => ("min", Binary::Min, Number, Number),
        "max" => ("max", Binary::Max, Number, Number),
        _ => return None,
    })
}
