//! Expressions in plans: `if: matrix.os == 'linux' and success()`, `run: echo ${{ needs.a.outputs.b }}`.
//!
//! They are minijinja's expressions, evaluated strictly: an unknown name is an error, not nothing.
//! Known are `needs`, `matrix` and `env`, and in conditions `success()`, `failure()` and
//! `always()`. A step whose name has a `-` is `needs['my-step']`.

use std::collections::{BTreeMap, HashSet};

use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::document::Scalar;

/// What expressions see.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scope {
    /// The steps it needs, by name.
    pub needs: BTreeMap<String, NeedScope>,
    /// The values of this instance.
    pub matrix: BTreeMap<String, Scalar>,
    /// The variables of the plan and the step.
    pub env: BTreeMap<String, String>,
}

/// A step that another one needs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NeedScope {
    /// `succeeded`, `failed` or `skipped`. Of several instances the worst.
    pub status: &'static str,
    /// What it told. Of several instances the last one that told it.
    pub outputs: BTreeMap<String, String>,
}

/// What happened before a step, for `success()` and `failure()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// All that it needs succeeded, and nothing stopped the plan.
    pub success: bool,
    /// Something that it needs failed, or the plan was stopped by a failure.
    pub failure: bool,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} in `{expression}`")]
pub struct ExpressionError {
    /// The expression.
    pub expression: String,
    /// What is wrong.
    pub message: String,
}

/// Whether the condition holds.
///
/// # Errors
///
/// When it is no expression, or names what is not there.
pub fn holds(condition: &str, scope: &Scope, outlook: Outlook) -> Result<bool, ExpressionError> {
    let mut environment = environment();
    environment.add_function("success", move || outlook.success);
    environment.add_function("failure", move || outlook.failure);
    environment.add_function("always", || true);
    let value = environment
        .compile_expression(condition)
        .and_then(|expression| expression.eval(scope));
    value
        .map(|value| value.is_true())
        .map_err(|error| explain(condition, &error))
}

/// Replaces each `${{ expression }}` by its value.
///
/// # Errors
///
/// When one is not closed, is no expression, or names what is not there.
pub fn fill(text: &str, scope: &Scope) -> Result<String, ExpressionError> {
    let environment = environment();
    let mut filled = String::with_capacity(text.len());
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Expression(expression) => {
                let value = environment
                    .compile_expression(expression)
                    .and_then(|compiled| compiled.eval(scope))
                    .map_err(|error| explain(expression, &error))?;
                if value.is_undefined() {
                    return Err(ExpressionError {
                        expression: expression.to_owned(),
                        message: "there is no such value".to_owned(),
                    });
                }
                filled.push_str(&value.to_string());
            }
        }
    }
    Ok(filled)
}

/// The names a condition uses, such as `needs.build.status`.
///
/// # Errors
///
/// When it is no expression.
pub fn names_in_condition(condition: &str) -> Result<HashSet<String>, ExpressionError> {
    let environment = environment();
    let mut names = environment
        .compile_expression(condition)
        .map_err(|error| explain(condition, &error))?
        .undeclared_variables(true);
    for function in ["success", "failure", "always"] {
        names.remove(function);
    }
    Ok(names)
}

/// The names that the expressions in a text use.
///
/// # Errors
///
/// When one is not closed, or is no expression.
pub fn names_in_text(text: &str) -> Result<HashSet<String>, ExpressionError> {
    let environment = environment();
    let mut names = HashSet::new();
    for piece in pieces(text)? {
        if let Piece::Expression(expression) = piece {
            let compiled = environment
                .compile_expression(expression)
                .map_err(|error| explain(expression, &error))?;
            names.extend(compiled.undeclared_variables(true));
        }
    }
    Ok(names)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

fn explain(expression: &str, error: &minijinja::Error) -> ExpressionError {
    ExpressionError {
        expression: expression.trim().to_owned(),
        message: error
            .detail()
            .map_or_else(|| error.kind().to_string(), ToOwned::to_owned),
    }
}

enum Piece<'a> {
    Text(&'a str),
    Expression(&'a str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, ExpressionError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, behind) = after.split_once("}}").ok_or_else(|| ExpressionError {
            expression: format!("${{{{{after}"),
            message: "an expression is not closed by `}}`".to_owned(),
        })?;
        pieces.extend([Piece::Text(before), Piece::Expression(expression.trim())]);
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let outputs = BTreeMap::from([("version".to_owned(), "1.2".to_owned())]);
        let build = NeedScope {
            status: "succeeded",
            outputs,
        };
        Scope {
            needs: BTreeMap::from([("build".to_owned(), build)]),
            matrix: BTreeMap::from([("python".to_owned(), Scalar::Number(3.12))]),
            env: BTreeMap::from([("MODE".to_owned(), "fast".to_owned())]),
        }
    }

    const GOOD: Outlook = Outlook {
        success: true,
        failure: false,
    };

    #[test]
    fn texts_are_filled_and_shell_is_left_alone() {
        let text = "echo ${{ needs.build.outputs.version }}-${{matrix.python}} ${#x} {{.Go}} ${y}";
        assert_eq!(
            fill(text, &scope()).as_deref(),
            Ok("echo 1.2-3.12 ${#x} {{.Go}} ${y}")
        );
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for text in [
            "${{ nope }}",
            "${{ needs.x.status }}",
            "${{ matrix.x }}",
            "${{ 1 +",
            "${{ ) }}",
        ] {
            assert!(fill(text, &scope()).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_see_what_happened() {
        let holds = |condition: &str| holds(condition, &scope(), GOOD);
        assert_eq!(holds("success()"), Ok(true));
        assert_eq!(holds("failure() or matrix.python > 3"), Ok(true));
        assert_eq!(holds("needs.build.status == 'failed'"), Ok(false));
        assert_eq!(holds("always() and env.MODE == 'fast'"), Ok(true));
        assert!(holds("success(").is_err());
        assert!(holds("needs.other.status").is_err());
    }

    #[test]
    fn names_are_told_with_their_path() {
        let names = names_in_condition("success() and needs.build.status == matrix.os");
        let names = names.expect("names");
        assert!(names.contains("needs.build.status"), "{names:?}");
        assert!(names.contains("matrix.os"), "{names:?}");
        assert!(!names.contains("success"), "{names:?}");
    }
}
