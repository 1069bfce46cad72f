//! Tokens: made, listed and taken back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use cogo_store::{Scope, TokenRecord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::extract::{Body, Path};
use super::problem::Problem;
use super::routes::{ADMIN, Operation, Routes};
use crate::clock;
use crate::tokens::Token;

/// Bytes of a token's name at most.
const NAME_MAX: usize = 64;

/// The names of [`Scope`]s, for the description.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Scope")]
#[expect(dead_code, reason = "only its schema is of use")]
enum ScopeName {
    /// Submit, feed and cancel tasks.
    Submit,
    /// See everything.
    Read,
    /// Change workers and tokens too.
    Admin,
    /// Join as a worker.
    WorkerJoin,
}

/// A token to make.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateToken {
    /// What people call it; its tasks are known as this submitter's.
    #[schemars(length(min = 1, max = 64), extend("not" = {"const": "local"}))]
    pub name: String,
    /// What its holder may do: `submit`, `read`, `admin`, `worker-join`.
    #[schemars(with = "Vec<ScopeName>", length(min = 1))]
    pub scopes: Vec<Scope>,
    /// Milliseconds from now after which it is refused. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A token as it is listed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// What people call it.
    pub name: String,
    /// What its holder may do.
    #[schemars(with = "Vec<ScopeName>")]
    pub scopes: Vec<Scope>,
    /// Unix time in milliseconds at which it was made.
    pub created_at: u64,
    /// From when on it is refused.
    pub expires_at: Option<u64>,
}

/// A new token, told this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    /// The token itself.
    pub token: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// All tokens.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// The tokens, by name.
    pub tokens: Vec<TokenInfo>,
}

pub(super) fn add(routes: Routes) -> Routes {
    routes
        .add(
            Operation::new(Method::POST, "/tokens", ADMIN, "Make a token")
                .body::<CreateToken>()
                .answer::<NewToken>(StatusCode::CREATED, "the token, told this once"),
            create,
        )
        .add(
            Operation::new(Method::GET, "/tokens", ADMIN, "List tokens")
                .answer::<TokenList>(StatusCode::OK, "all of them, without their text"),
            list,
        )
        .add(
            Operation::new(Method::DELETE, "/tokens/{name}", ADMIN, "Take a token back")
                .answer_empty(StatusCode::NO_CONTENT, "it opens nothing any more"),
            revoke,
        )
}

impl From<TokenRecord> for TokenInfo {
    fn from(record: TokenRecord) -> Self {
        Self {
            name: record.name,
            scopes: record.scopes,
            created_at: record.created_at_ms,
            expires_at: record.expires_at_ms,
        }
    }
}

async fn create(
    State(api): State<Arc<Api>>,
    Body(request): Body<CreateToken>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    check_name(&request.name)?;
    if request.scopes.is_empty() {
        return Err(Problem::invalid("a token without a scope opens nothing")
            .hint("scopes are submit, read, admin, worker-join"));
    }
    let token =
        Token::generate().map_err(|error| Problem::internal("failed to make a token", &error))?;
    let expires_at = request.expires_in.map(|after| {
        let after = Duration::from_millis(after);
        clock::unix_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
    });
    let record = token.record(request.name, request.scopes, expires_at);
    let info = TokenInfo::from(record.clone());
    if !api.tokens.add(record).await? {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "token_exists",
            format!("there is a token `{}` already", info.name),
        )
        .hint("take it back first, or choose another name"));
    }
    let token = token.reveal().to_owned();
    Ok((StatusCode::CREATED, Json(NewToken { token, info })))
}

/// `local` stands for callers without a token.
fn check_name(name: &str) -> Result<(), Problem> {
    let fine = !name.is_empty()
        && name.len() <= NAME_MAX
        && name != "local"
        && !name.chars().any(char::is_control);
    fine.then_some(()).ok_or_else(|| {
        Problem::invalid(format!(
            "a token's name has 1 to {NAME_MAX} printable characters and is not `local`"
        ))
    })
}

async fn list(State(api): State<Arc<Api>>) -> Json<TokenList> {
    let tokens = api.tokens.list().into_iter().map(TokenInfo::from).collect();
    Json(TokenList { tokens })
}

async fn revoke(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    if api.tokens.revoke(&name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_token",
        format!("there is no token `{name}`"),
    )
    .hint("`GET /api/sandbox/tokens` lists them"))
}
