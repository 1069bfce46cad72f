//! `cogo token`: makes, lists and takes back tokens of a server.
//!
//! A server that runs is asked; where none runs on this state directory, its store is changed
//! directly, which is how the first token of a server comes to be.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use cogo_manager::Token;
use cogo_manager::http::{CreateToken, NewToken, TokenInfo, TokenList};
use cogo_protocol::units::TimeSpan;
use cogo_store::{Change, Durability, Scope, SqliteStore, Store, StoreError};
use hyper::Method;

use crate::client::{Client, ServerFile, ServerOptions, block_on, encoded};
use crate::failure::{Failure, note, print};
use crate::table::Table;
use crate::{instant, state};

const EXAMPLES: &str = "\
Examples:
  cogo token create boss --scope admin                  the first one; from then on all need one
  cogo token create ci --scope submit --expires-in 30d
  cogo token create farm --scope worker-join            for `cogo worker --join`
  COGO_TOKEN=cogo_... cogo token list
  cogo token revoke ci";

/// Make, list and take back tokens of a server
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; it is printed once and only its hash is kept
    Create {
        /// What people call it; tasks submitted with it are known as this submitter's
        name: String,
        /// What its holder may do; may be repeated
        #[arg(long, value_enum, required = true, value_name = "SCOPE")]
        scope: Vec<ScopeOption>,
        /// How long it is good for [default: for ever]
        #[arg(long, value_name = "TIME")]
        expires_in: Option<TimeSpan>,
    },
    /// List tokens
    List,
    /// Take a token back
    Revoke {
        /// Its name
        name: String,
    },
}

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScopeOption {
    /// Submit, feed and cancel tasks
    Submit,
    /// See everything
    Read,
    /// Change workers and tokens, and all of the above
    Admin,
    /// Join as a worker
    WorkerJoin,
}

impl From<ScopeOption> for Scope {
    fn from(option: ScopeOption) -> Self {
        match option {
            ScopeOption::Submit => Self::Submit,
            ScopeOption::Read => Self::Read,
            ScopeOption::Admin => Self::Admin,
            ScopeOption::WorkerJoin => Self::WorkerJoin,
        }
    }
}

/// Does it.
pub(crate) fn run(options: &Options, state_dir: Option<&Path>) -> Result<u8, Failure> {
    if options.server.is_given() || ServerFile::read(state_dir)?.is_some() {
        let client = Client::find(&options.server, state_dir)?;
        block_on(ask(options, &client))?;
    } else {
        change_store(options, state_dir)?;
    }
    Ok(0)
}

async fn ask(options: &Options, client: &Client) -> Result<(), Failure> {
    match &options.action {
        Action::Create {
            name,
            scope,
            expires_in,
        } => {
            let request = CreateToken {
                name: name.clone(),
                scopes: scope.iter().copied().map(Scope::from).collect(),
                expires_in: expires_in.map(TimeSpan::as_millis),
            };
            let new: NewToken = client.ask(Method::POST, "/tokens", Some(&request)).await?;
            show_new(options, &new)
        }
        Action::List => {
            let list: TokenList = client.get("/tokens").await?;
            show_list(options, &list.tokens)
        }
        Action::Revoke { name } => {
            let path = format!("/tokens/{}", encoded(name));
            client.ask(Method::DELETE, &path, None::<&()>).await
        }
    }
}

fn change_store(options: &Options, state_dir: Option<&Path>) -> Result<(), Failure> {
    let home = state::open(state_dir)?.path().join("manager");
    std::fs::create_dir_all(&home)
        .map_err(|error| Failure::caused(format!("failed to make `{}`", home.display()), &error))?;
    let store = SqliteStore::open(&home.join("store.sqlite"), Durability::Full)?;
    let known = store.tokens()?;
    match &options.action {
        Action::Create {
            name,
            scope,
            expires_in,
        } => {
            if known.iter().any(|token| token.name == *name) {
                return Err(Failure::new(format!("there is a token `{name}` already"))
                    .hint("take it back first, or choose another name"));
            }
            if name.is_empty() || name == "local" {
                return Err(Failure::new("a token needs a name, and `local` is taken"));
            }
            let token = Token::generate()?;
            let expires_at = expires_in.map(|time| instant::now_ms() + time.as_millis());
            let scopes = scope.iter().copied().map(Scope::from).collect();
            let record = token.record(name.clone(), scopes, expires_at);
            let info = TokenInfo::from(record.clone());
            commit(&store, Change::TokenPut(Box::new(record)))?;
            let token = token.reveal().to_owned();
            show_new(options, &NewToken { token, info })
        }
        Action::List => {
            let tokens: Vec<TokenInfo> = known.into_iter().map(TokenInfo::from).collect();
            show_list(options, &tokens)
        }
        Action::Revoke { name } => {
            if !known.iter().any(|token| token.name == *name) {
                return Err(Failure::new(format!("there is no token `{name}`"))
                    .hint("`cogo token list` lists them"));
            }
            commit(&store, Change::TokenDelete(name.clone()))
        }
    }
}

fn commit(store: &SqliteStore, change: Change) -> Result<(), Failure> {
    let (sender, durable) = std::sync::mpsc::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    store.commit(vec![change], done);
    Ok(durable.recv().unwrap_or(Err(StoreError::Poisoned))?)
}

fn show_new(options: &Options, new: &NewToken) -> Result<(), Failure> {
    if options.json {
        return print(&(serde_json::to_string(new)? + "\n"));
    }
    note("keep it: it is not shown again; bring it with --token-file or COGO_TOKEN");
    print(&format!("{}\n", new.token))
}

fn show_list(options: &Options, tokens: &[TokenInfo]) -> Result<(), Failure> {
    if options.json {
        let lines: Result<String, serde_json::Error> = tokens
            .iter()
            .map(|token| Ok(serde_json::to_string(token)? + "\n"))
            .collect();
        return print(&lines?);
    }
    let now_ms = instant::now_ms();
    let mut table = Table::new(["NAME", "SCOPES", "MADE", "EXPIRES"]);
    for token in tokens {
        let scopes = token.scopes.iter().map(|scope| match scope {
            Scope::Submit => "submit",
            Scope::Read => "read",
            Scope::Admin => "admin",
            Scope::WorkerJoin => "worker-join",
        });
        table.row([
            token.name.clone(),
            scopes.collect::<Vec<_>>().join(","),
            instant::ago(token.created_at, now_ms),
            match token.expires_at {
                None => "never".to_owned(),
                Some(at) if at <= now_ms => "expired".to_owned(),
                Some(at) => format!(
                    "in {}",
                    crate::measure::time(std::time::Duration::from_millis(at - now_ms))
                ),
            },
        ]);
    }
    print(&table.render())
}
