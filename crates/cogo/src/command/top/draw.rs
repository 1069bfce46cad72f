//! The screen as it looks.

use std::time::Duration;

use cogo_protocol::task::TaskStatus;
use cogo_protocol::worker::WorkerInfo;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use ratatui::{Frame, Terminal};

use super::screen::{Output, Screen};
use crate::command::workers;
use crate::failure::Failure;
use crate::remote::state_text;
use crate::{instant, measure};

/// Rows for workers and for events at most.
const WORKERS_MAX: usize = 10;
const EVENTS_SHOWN: u16 = 8;

/// One look as plain text.
pub(super) fn as_text(screen: &Screen, width: u16, height: u16) -> Result<String, Failure> {
    let mut terminal = Terminal::new(TestBackend::new(width, height))?;
    terminal.draw(|frame| draw(frame, screen))?;
    let buffer = terminal.backend().buffer();
    let mut lines: Vec<String> = buffer
        .content()
        .chunks(usize::from(width))
        .map(|row| {
            row.iter()
                .map(ratatui::buffer::Cell::symbol)
                .collect::<String>()
        })
        .map(|line| line.trim_end().to_owned())
        .collect();
    // What is only there because a terminal has a bottom says nothing on paper.
    lines.dedup_by(|a, b| a.is_empty() && b.is_empty());
    Ok(lines.join("\n").trim_end().to_owned() + "\n")
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let workers = screen.snapshot.workers.len().clamp(1, WORKERS_MAX);
    let [head, workers, queue, main, events, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2 + u16::try_from(workers).unwrap_or(u16::MAX)),
        Constraint::Length(1),
        Constraint::Min(4),
        Constraint::Length(EVENTS_SHOWN),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(summary(screen), head);
    frame.render_widget(worker_table(screen), workers);
    frame.render_widget(waiting(screen), queue);
    match &screen.output {
        Some(output) => frame.render_widget(output_pane(output, main), main),
        None => {
            let mut state = TableState::default().with_selected(Some(screen.place()));
            frame.render_stateful_widget(task_table(screen), main, &mut state);
        }
    }
    frame.render_widget(event_list(screen), events);
    frame.render_widget(prompt(screen), foot);
}

fn headed(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(title.bold())
}

fn heading<const N: usize>(names: [&'static str; N]) -> Row<'static> {
    Row::new(names).style(Style::new().add_modifier(Modifier::DIM))
}

fn summary(screen: &Screen) -> Line<'static> {
    let health = &screen.snapshot.health;
    let color = if health.status == "ok" {
        Color::Green
    } else {
        Color::Red
    };
    let up = measure::time(Duration::from_millis(health.uptime));
    let memory = health.memory_bytes.map_or_else(String::new, |bytes| {
        format!(" · {} of memory", measure::bytes(bytes))
    });
    Line::from(vec![
        Span::styled(health.status.clone(), Style::new().fg(color).bold()),
        format!(
            " · {} · up {up}{memory} · {} running, {} waiting · {} of {} workers",
            screen.address, health.running, health.queued, health.workers_connected, health.workers
        )
        .into(),
    ])
}

fn worker_table(screen: &Screen) -> Table<'static> {
    let snapshot = &screen.snapshot;
    let rows = snapshot
        .workers
        .iter()
        .take(WORKERS_MAX)
        .map(|worker| worker_row(worker, snapshot.taken_at));
    let widths = [
        Constraint::Min(16),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(9),
    ];
    let hidden = snapshot.workers.len().saturating_sub(WORKERS_MAX);
    let title = if hidden == 0 {
        "Workers".to_owned()
    } else {
        format!("Workers, {hidden} more not shown")
    };
    let names = [
        "NAME", "TYPE", "STATUS", "SLOTS", "CPU", "MEM", "DISK", "SILENT",
    ];
    Table::new(rows, widths)
        .header(heading(names))
        .block(headed(title))
}

fn worker_row(worker: &WorkerInfo, now_ms: u64) -> Row<'static> {
    let status = workers::status(worker);
    let color = match status {
        "idle" | "busy" => Color::Green,
        "draining" => Color::Yellow,
        _ => Color::Red,
    };
    let percent = |share: f64| format!("{share:.0} %");
    Row::new([
        Cell::from(worker.id.to_string()),
        Cell::from(worker.kind.clone()),
        Cell::from(status).style(Style::new().fg(color)),
        Cell::from(format!(
            "{}/{}",
            worker.tasks.len(),
            worker.capabilities.slots
        )),
        Cell::from(percent(worker.health.cpu)),
        Cell::from(percent(worker.health.memory)),
        Cell::from(percent(worker.health.disk)),
        Cell::from(workers::heard(worker, now_ms)),
    ])
}

fn waiting(screen: &Screen) -> Line<'static> {
    let queue = &screen.snapshot.queue;
    if queue.total == 0 {
        return Line::from("Queue: nothing waits".dim());
    }
    let levels = screen.snapshot.by_priority().into_iter();
    let levels: Vec<String> = levels
        .map(|(level, count)| format!("{count}× priority {level}"))
        .collect();
    let hidden = queue.total.saturating_sub(queue.tasks.len());
    let more = if hidden == 0 {
        String::new()
    } else {
        format!(", {hidden} more")
    };
    Line::from(vec![
        "Queue: ".bold(),
        format!("{}{more}", levels.join(", ")).into(),
    ])
}

fn task_table(screen: &Screen) -> Table<'static> {
    let rows = screen
        .snapshot
        .running
        .iter()
        .map(|task| task_row(task, screen));
    let widths = [
        Constraint::Length(24),
        Constraint::Length(12),
        Constraint::Length(16),
        Constraint::Length(4),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Min(16),
    ];
    let names = [
        "TASK", "STATUS", "WORKER", "PRIO", "TIME", "CPU", "MEM", "COMMAND",
    ];
    Table::new(rows, widths)
        .header(heading(names))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(headed("Running".to_owned()))
}

fn task_row(task: &TaskStatus, screen: &Screen) -> Row<'static> {
    let block = screen.blocks.get(&task.task_id);
    let status = match block {
        Some(_) => Cell::from("hangs").style(Style::new().fg(Color::Red)),
        None => Cell::from(state_text(task.state)),
    };
    let since = task.attempts.last().and_then(|attempt| attempt.started_at);
    let time = since.map_or_else(
        || "-".to_owned(),
        |since| {
            measure::time(Duration::from_millis(
                screen.snapshot.taken_at.saturating_sub(since),
            ))
        },
    );
    let (cpu, memory) = used(task);
    Row::new([
        Cell::from(task.task_id.to_string()),
        status,
        Cell::from(
            task.worker_id
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
        ),
        Cell::from(task.priority.level().to_string()),
        Cell::from(time),
        Cell::from(cpu),
        Cell::from(memory),
        Cell::from(one_line(&task.command)),
    ])
}

/// Processor time and memory, as far as the server knows them.
fn used(task: &TaskStatus) -> (String, String) {
    let Some(usage) = &task.usage else {
        return ("-".to_owned(), "-".to_owned());
    };
    let cpu = Duration::from_millis(usage.cpu_user_ms + usage.cpu_system_ms);
    (measure::time(cpu), measure::bytes(usage.memory_peak_bytes))
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn output_pane(output: &Output, area: Rect) -> Paragraph<'static> {
    let shown = usize::from(area.height.saturating_sub(1));
    let lines = output
        .lines
        .iter()
        .skip(output.lines.len().saturating_sub(shown));
    let lines: Vec<Line<'static>> = lines.map(|line| Line::from(line.clone())).collect();
    let ended = if output.ended { ", which is over" } else { "" };
    Paragraph::new(lines).block(headed(format!("Output of {}{ended}", output.task_id)))
}

fn event_list(screen: &Screen) -> Paragraph<'static> {
    let shown = usize::from(EVENTS_SHOWN) - 1;
    let lines = screen
        .events
        .iter()
        .skip(screen.events.len().saturating_sub(shown));
    let lines: Vec<Line<'static>> = lines.map(|line| Line::from(one_line(line))).collect();
    Paragraph::new(lines).block(headed("Events".to_owned()))
}

fn prompt(screen: &Screen) -> Line<'static> {
    if let Some(task_id) = &screen.asking {
        let question = format!("kill {task_id}? y kills it, any other key does not");
        return Line::from(question.bold().red());
    }
    if let Some(trouble) = &screen.trouble {
        return Line::from(one_line(trouble).red());
    }
    let keys = match screen.output {
        Some(_) => "enter: back   ctrl-c: leave",
        None => "up, down: choose   enter: output   k: kill   q: leave",
    };
    let taken = instant::rfc3339(Duration::from_millis(screen.snapshot.taken_at));
    let time = taken.get(11..19).unwrap_or_default().to_owned();
    Line::from(format!("{keys}   {time} UTC").dim())
}
