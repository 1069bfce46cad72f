//! The agent that `--agent` names: an endpoint, or a program in a sandbox of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cogo_plan::dispatch::{Cancel, Dispatch as _, DispatchError, Progress, Work};
use cogo_plan::document::{StepLimits, StepNetwork};
use cogo_plan::fix::agent::chat::Protocol;
use cogo_plan::fix::agent::{Agent, AgentError, Request};
use cogo_plan::route::Route;
use cogo_protocol::record::Stream;
use cogo_protocol::verdict::Outcome;
use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::spec::Network;

use super::endpoint::Endpoint;
use crate::command::plan::local::Local;
use crate::isolation::IsolationOption;
use crate::state;

/// The file in its sandbox from which a program reads the request.
const REQUEST: &str = "request.json";
/// A longer answer is none.
const ANSWER_MAX: usize = 4 << 20;

/// Who is asked when nothing else helps.
#[derive(Args, Debug)]
#[command(next_help_heading = "Agent")]
pub(super) struct AgentOptions {
    /// `openai:URL` (its base, such as <http://localhost:8080/v1>), `anthropic:URL`, or
    /// `command:PROGRAM…`, which gets diagnostics as JSON and writes a unified diff
    ///
    /// An endpoint gets the command, its errors and the lines around them, without what looks like a
    /// secret. A program runs in a sandbox without the workspace.
    #[arg(long, value_name = "AGENT")]
    agent: Option<AgentName>,
    /// The model that an endpoint is to use
    #[arg(long, value_name = "NAME")]
    agent_model: Option<String>,
    /// File with the endpoint's key [default: `COGO_AGENT_KEY`]
    #[arg(long, value_name = "FILE")]
    agent_key_file: Option<PathBuf>,
    /// What an agent that is a program reaches: `none`, `host`, or `allow:DOMAIN,DOMAIN`
    #[arg(long, value_name = "NETWORK", default_value = "none",
          value_parser = crate::command::run::parse_network)]
    agent_net: Network,
}

#[derive(Clone, Debug)]
enum AgentName {
    Endpoint(Protocol, String),
    Command(Vec<String>),
}

impl std::str::FromStr for AgentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        if rest.is_empty() {
            return Err("it is one of openai:URL, anthropic:URL, command:PROGRAM".to_owned());
        }
        match kind {
            "openai" => Ok(Self::Endpoint(Protocol::OpenAi, rest.to_owned())),
            "anthropic" => Ok(Self::Endpoint(Protocol::Anthropic, rest.to_owned())),
            "command" => Ok(Self::Command(
                rest.split_whitespace().map(str::to_owned).collect(),
            )),
            other => Err(format!("there is no agent of kind `{other}`")),
        }
    }
}

impl AgentOptions {
    /// The agent, if one is named.
    pub(super) fn agent(
        &self,
        state: &StateDir,
        place: &Path,
        isolation: IsolationOption,
    ) -> Result<Option<Box<dyn Agent>>, DispatchError> {
        let failed = |message: String, hint: &str| DispatchError {
            message,
            hint: Some(hint.to_owned()),
        };
        match &self.agent {
            None => Ok(None),
            Some(AgentName::Endpoint(protocol, url)) => {
                let model = self.agent_model.clone().ok_or_else(|| {
                    failed(
                        "the endpoint needs a model".to_owned(),
                        "name it with --agent-model",
                    )
                })?;
                let key = self.key().map_err(|error| {
                    failed(error, "name the file with the key, or set COGO_AGENT_KEY")
                })?;
                let endpoint = Endpoint::new(*protocol, url, model, key)
                    .map_err(|error| failed(error, "it begins with http:// or https://"))?;
                Ok(Some(Box::new(endpoint)))
            }
            Some(AgentName::Command(argv)) => Ok(Some(Box::new(Program {
                argv: argv.clone(),
                place: place.join("agent"),
                network: match &self.agent_net {
                    Network::None => StepNetwork::None,
                    Network::Host => StepNetwork::Host,
                    Network::Allow(domains) => StepNetwork::Allow(domains.clone()),
                },
                state: state.clone(),
                isolation,
            }))),
        }
    }

    fn key(&self) -> Result<Option<String>, String> {
        let text = match &self.agent_key_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| format!("failed to read key `{}`: {error}", file.display()))?,
            None => match state::variable("COGO_AGENT_KEY") {
                Some(key) => key.to_string_lossy().into_owned(),
                None => return Ok(None),
            },
        };
        Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty()))
    }
}

/// A program: the request on its stdin, the diff on its stdout. It sees nothing of the workspace but
/// what it is told, and what it writes anywhere else is gone.
struct Program {
    argv: Vec<String>,
    place: PathBuf,
    network: StepNetwork,
    state: StateDir,
    isolation: IsolationOption,
}

impl Agent for Program {
    fn propose(
        &self,
        request: &Request,
        time: Duration,
        cancel: &Cancel,
    ) -> Result<String, AgentError> {
        let failed = |error: std::io::Error| AgentError(format!("failed to write to it: {error}"));
        let text = serde_json::to_string(request)
            .map_err(|error| AgentError(format!("failed to write the request: {error}")))?;
        std::fs::create_dir_all(&self.place).map_err(failed)?;
        std::fs::write(self.place.join(REQUEST), text).map_err(failed)?;
        let reads = format!("exec \"$@\" < {REQUEST}");
        let mut argv = vec!["sh".to_owned(), "-c".to_owned(), reads, "sh".to_owned()];
        argv.extend(self.argv.iter().cloned());
        let work = Work {
            key: "agent".to_owned(),
            argv,
            env: std::collections::BTreeMap::new(),
            cwd: self.place.clone(),
            route: Route::Executor,
            limits: StepLimits::default(),
            network: self.network.clone(),
            priority: cogo_protocol::task::Priority::default(),
            timeout: Some(time),
            handle: None,
        };
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let local = Local::new(self.state.clone(), self.place.clone(), self.isolation);
        let outcome = local.run(
            &work,
            &mut |progress| {
                if let Progress::Output(stream, bytes) = progress {
                    let kept = match stream {
                        Stream::Stdout => &mut answer,
                        Stream::Stderr => &mut complaint,
                    };
                    let room = ANSWER_MAX.saturating_sub(kept.len());
                    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
            },
            cancel,
        );
        match outcome {
            Ok(Outcome::Exited { code: 0 }) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            Ok(outcome) => {
                let complaint = String::from_utf8_lossy(&complaint);
                let last = complaint.lines().last().unwrap_or_default();
                Err(AgentError(format!(
                    "it ended with {}; {last}",
                    words(&outcome)
                )))
            }
            Err(error) => Err(AgentError(error.message)),
        }
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("code {code}"),
        Outcome::TimedOut { .. } => "a timeout".to_owned(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
