//! Expressions: a part of CEL, type-checked and compiled to a small program over numbered slots.
//!
//! Law: for every input the program answers as the `cel` crate's interpreter does; a property test holds the two equal.
//!
//! What an expression means:
//! - There are numbers (all 64-bit floats: an integer literal is widened, so `price * 2` is what it looks like), truths, and
//!   texts, which only `==`, `!=` and `in` compare. `%` keeps the sign of the dividend, as CEL's does on integers.
//! - A slot that is NaN is *unknown*: in CEL's words, a variable that is not declared. Whatever needs an unknown is unknown;
//!   `false && unknown` is false and `true || unknown` is true, on either side, as in CEL. Arithmetic that has no answer
//!   (`0 / 0`) is unknown too: CEL cannot order a NaN either, and `a == b` of numbers means `a <= b && a >= b`.
//! - An expression that ends unknown has [`Program::number`] NaN and does not [`Program::holds`]. A number that ends infinite
//!   (`1 / 0`) is NaN as well: no feature is ever infinite.
//! - `known(x)` asks whether a slot is known, `coalesce(x, y)` is `x` where it is known and else `y`; both take a bare name
//!   first. `min max abs floor sqrt log1p` are functions of numbers.

mod build;
#[cfg(test)]
#[expect(
    clippy::float_cmp,
    clippy::wildcard_enum_match_arm,
    reason = "exact equality and a part of CEL are the point"
)]
mod interpreted;
#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact equality is the point")]
mod tests;

pub(super) use build::{Parsed, Scope, Type};

/// Most values that wait at once while a program runs; deeper expressions are refused.
const STACK_MAX: usize = 16;

/// A compiled expression. Every slot is a number: texts are [`crate::domain::codec::symbol`]s, truths 1 or 0, unknown NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    reads: Box<[u16]>,
    ops: Box<[Op]>,
}

/// A step. One value is at hand; others wait on the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    /// Take a slot.
    Slot(u16),
    /// Take a constant.
    Constant(f64),
    /// Let the value at hand wait.
    Push,
    /// Change the value at hand.
    Apply(Unary),
    /// Combine the value at hand with a slot.
    WithSlot(Binary, u16),
    /// Combine the value at hand with a constant.
    WithConstant(Binary, f64),
    /// Combine the value that waits on top with the one at hand.
    WithTop(Binary),
    /// Of the two that wait, condition and then-value, and the else-value at hand, keep what the condition says.
    Select,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unary {
    Not,
    Negate,
    Abs,
    Floor,
    Sqrt,
    Log1p,
    Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
    Min,
    Max,
    Coalesce,
}

impl Program {
    /// The slots it reads, ascending: feature numbers in `derive` and `when`, field numbers in `where`.
    pub fn reads(&self) -> &[u16] {
        &self.reads
    }

    /// The value over these slots (truths are 1 and 0); NaN when it cannot be known. A slot past the end is unknown.
    pub fn number(&self, slots: &[f64]) -> f64 {
        let value = self.run(slots);
        if value.is_finite() { value } else { f64::NAN }
    }

    /// Whether it holds over these slots; false when it cannot be known.
    pub fn holds(&self, slots: &[f64]) -> bool {
        self.run(slots) > 0.5
    }

    #[expect(clippy::indexing_slicing, reason = "masked to the array's length, a power of two")]
    fn run(&self, slots: &[f64]) -> f64 {
        const MASK: usize = STACK_MAX - 1;
        let slot = |at: u16| slots.get(usize::from(at)).copied().unwrap_or(f64::NAN);
        let mut stack = [0.0_f64; STACK_MAX];
        let mut top = 0_usize;
        let mut hand = f64::NAN;
        for op in &self.ops {
            match *op {
                Op::Slot(at) => hand = slot(at),
                Op::Constant(value) => hand = value,
                Op::Push => {
                    stack[top & MASK] = hand;
                    top += 1;
                }
                Op::Apply(what) => hand = what.of(hand),
                Op::WithSlot(what, at) => hand = what.of(hand, slot(at)),
                Op::WithConstant(what, value) => hand = what.of(hand, value),
                Op::WithTop(what) => {
                    top = top.wrapping_sub(1);
                    hand = what.of(stack[top & MASK], hand);
                }
                Op::Select => {
                    top = top.wrapping_sub(2);
                    let condition = stack[top & MASK];
                    if condition.is_nan() {
                        hand = f64::NAN;
                    } else if condition > 0.5 {
                        hand = stack[(top + 1) & MASK];
                    }
                }
            }
        }
        hand
    }
}

impl Unary {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Not => 1.0 - value,
            Self::Negate => -value,
            Self::Abs => value.abs(),
            Self::Floor => value.floor(),
            Self::Sqrt => value.sqrt(),
            Self::Log1p => value.ln_1p(),
            Self::Known => truth(!value.is_nan()),
        }
    }
}

impl Binary {
    #[inline]
    #[expect(clippy::float_cmp, reason = "equality of CEL is exact")]
    fn of(self, left: f64, right: f64) -> f64 {
        let unknown = left.is_nan() || right.is_nan();
        let compared = |holds: bool| if unknown { f64::NAN } else { truth(holds) };
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
            Self::Less => compared(left < right),
            Self::LessOrEqual => compared(left <= right),
            Self::Greater => compared(left > right),
            Self::GreaterOrEqual => compared(left >= right),
            Self::Equal => compared(left == right),
            Self::NotEqual => compared(left != right),
            Self::And if left == 0.0 || right == 0.0 => 0.0,
            Self::And => compared(true),
            Self::Or if left == 1.0 || right == 1.0 => 1.0,
            Self::Or => compared(false),
            Self::Min | Self::Max if unknown => f64::NAN,
            Self::Min => {
                if right < left {
                    right
                } else {
                    left
                }
            }
            Self::Max => {
                if right > left {
                    right
                } else {
                    left
                }
            }
            Self::Coalesce => {
                if left.is_nan() {
                    right
                } else {
                    left
                }
            }
        }
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
