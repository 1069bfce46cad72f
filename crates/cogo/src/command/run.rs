//! `cogo run`: starts a command in a sandbox and follows it to its end.

use std::fmt::Write as _;
use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;

use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::exec_dir::{ExecDir, StateDir};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::start::{Launcher, Start, StartError, Started, start};
use cogo_sandbox::verdict::Verdict;

use cogo_worker::block::BlockSettings;

use crate::failure::{Failure, note, print, tell};
use crate::paint::{Color, Painter};
use crate::viewer::{
    BlockForm, BlockWatch, Input, InterruptPolicy, Interrupts, RawMode, Renderer, Until, View,
    ViewEnd, follow,
};
use crate::{convert, exit_code, hint, instant, retention, state, summary};

mod environment;
mod options;
mod plan;
mod standard_input;

pub(crate) use options::{Options, parse_network};
use plan::Plan;
pub(crate) use plan::home;
use standard_input::InputKind;

const SIGPIPE: i32 = 13;

/// Runs a command and returns its exit code.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let input = standard_input::plan(options)?;
    let settings = options.blocks.settings()?;
    let plan = plan::plan(options, state, input)?;
    let copy = options.log.as_deref().map(create_copy).transpose()?;
    let policy = InterruptPolicy::Stages {
        grace_period: options.grace.into(),
    };
    // Before the start, so that no Ctrl-C can end this process and leave the command behind.
    let interrupts = if options.detach {
        None
    } else {
        Some(Interrupts::listen(policy)?)
    };
    let mut session = Session {
        options,
        spec: plan.spec.clone(),
        started: None,
    };
    let exec = match start_exec(state, &plan)? {
        Start::Ended(exec) => exec,
        Start::Running(started) => {
            let exec = started.exec.clone();
            session.started = Some(started);
            exec
        }
    };
    session.announce(&exec)?;
    retention::tidy(state);
    if options.detach && session.started.is_some() {
        return Ok(0);
    }
    let view = View {
        exec: &exec,
        from_seq: 0,
        until: Until::Ended,
        renderer: session.renderer(),
        copy,
        input: if input.forward {
            session.input(&exec, input.kind)?
        } else {
            None
        },
        interrupts,
        blocks: session.blocks(&exec, &settings, input),
    };
    session.finish(&exec, follow(view)?)
}

/// Starts what `cogo run` with these arguments would run, and leaves following it to the caller.
pub(crate) fn launch(arguments: &[String], state: &StateDir) -> Result<Start, Failure> {
    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }
    let name = std::iter::once("run");
    let arguments = name.chain(arguments.iter().map(String::as_str));
    let options = <Arguments as clap::Parser>::try_parse_from(arguments)?.options;
    let input = standard_input::plan(&options)?;
    start_exec(state, &plan::plan(&options, state, input)?)
}

fn create_copy(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        Failure::caused(
            format!("failed to create log file `{}`", path.display()),
            &error,
        )
    })
}

fn start_exec(state: &StateDir, plan: &Plan) -> Result<Start, Failure> {
    let id = state::fresh_id(instant::now_ms())?;
    start(&Launcher::default(), state, &id, &plan.spec, &plan.secrets).map_err(
        |error| match error {
            StartError::Refused(refusal) => match refusal.hint {
                Some(hint) => Failure::new(refusal.message).hint(hint),
                None => Failure::new(refusal.message),
            },
            other => Failure::from(other),
        },
    )
}

/// One run, from its start to its exit code.
struct Session<'a> {
    options: &'a Options,
    spec: ExecSpec,
    /// `None` if the command never ran.
    started: Option<Started>,
}

impl Session<'_> {
    /// Tells a caller who wants to know which exec this is.
    fn announce(&self, exec: &ExecDir) -> Result<(), Failure> {
        match &self.started {
            Some(started) if self.options.json => print(&convert::started(exec, &started.running)?),
            Some(_) if self.options.detach => print(&format!("{}\n", exec.id())),
            Some(_) | None => Ok(()),
        }
    }

    fn renderer(&self) -> Renderer {
        if !self.options.json {
            return Renderer::raw();
        }
        let started_at_ms = self
            .started
            .as_ref()
            .map(|started| started.running.started_at_ms);
        Renderer::json(started_at_ms.unwrap_or_else(instant::now_ms), 0)
    }

    fn input(&self, exec: &ExecDir, kind: InputKind) -> Result<Option<Input>, Failure> {
        if self.started.is_none() {
            return Ok(None);
        }
        let keys = kind == InputKind::Terminal && std::io::stdin().is_terminal();
        let input = if keys {
            Input::terminal(exec, RawMode::enter()?)
        } else {
            Input::pipe(exec)
        };
        // Without a supervisor there is an end to be told, not an error.
        Ok(input.ok())
    }

    /// Who looks whether it hangs. With somebody at the keys of its terminal, waiting for them is
    /// what it is for.
    fn blocks(
        &self,
        exec: &ExecDir,
        settings: &BlockSettings,
        input: standard_input::Plan,
    ) -> Option<BlockWatch> {
        let started = self.started.as_ref()?;
        let attended =
            input.forward && input.kind == InputKind::Terminal && std::io::stdin().is_terminal();
        let form = match (self.options.json, self.options.quiet) {
            (true, _) => BlockForm::Json,
            (false, true) => BlockForm::Silent,
            (false, false) => BlockForm::Lines,
        };
        BlockWatch::open(exec, &started.running, &self.spec, settings, attended, form)
    }

    fn finish(mut self, exec: &ExecDir, end: ViewEnd) -> Result<u8, Failure> {
        let code = match end {
            ViewEnd::Ended {
                verdict,
                cancelled_by,
                tail,
            } => {
                let code = exit_code::of(&verdict.outcome, cancelled_by);
                self.tell(exec, &verdict, &tail.text(), code)?;
                code
            }
            ViewEnd::OutputClosed => {
                note("nobody reads the output any more; stopping the command");
                self.stop(exec)?;
                exit_code::SIGNAL_BASE + SIGPIPE as u8
            }
            ViewEnd::Detached | ViewEnd::CaughtUp => {
                note(&format!("left `{}` running", state::short_id(exec)));
                0
            }
        };
        if let Some(started) = &mut self.started {
            // Only a failure to reap what is reaped already; either way it is gone.
            let _ = started.reap();
        }
        Ok(code)
    }

    fn stop(&self, exec: &ExecDir) -> Result<(), Failure> {
        let control = ControlClient::connect(exec);
        if let Ok(control) = &control {
            let _ = control.send(&Request::Stop {
                grace_period: self.spec.grace_period,
            });
        }
        exec.wait()?;
        Ok(())
    }

    /// Tells how it ended.
    fn tell(
        &self,
        exec: &ExecDir,
        verdict: &Verdict,
        output: &str,
        code: u8,
    ) -> Result<(), Failure> {
        let hints = hint::hints(&self.spec, verdict, output);
        if self.options.json {
            let mut lines: String = hints
                .iter()
                .map(|found| convert::hint(found.code, &found.fact, found.advice))
                .collect();
            lines.push_str(&convert::finished(exec, verdict, code)?);
            return print(&lines);
        }
        if self.options.quiet {
            return Ok(());
        }
        let painter = Painter::stderr();
        let label = |text: &str| painter.paint(Color::Cyan, text);
        let mut text = format!("{} {}\n", label("cogo:"), summary::line(verdict, painter));
        for found in hints {
            let _ = writeln!(text, "{} {}; {}", label("hint:"), found.fact, found.advice);
        }
        tell(&text);
        Ok(())
    }
}
