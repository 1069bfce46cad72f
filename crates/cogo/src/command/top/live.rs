//! The terminal, the server and the keys, brought together.

use std::time::Duration;

use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::message::SUBPROTOCOL_JSON;
use cogo_protocol::task::{TaskId, TaskStatus};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Bytes;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyEventKind};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Message;

use super::draw::draw;
use super::screen::{Screen, Wish};
use super::snapshot::Snapshot;
use crate::client::{Client, encoded};
use crate::failure::Failure;

/// What may wait to be shown. More waits where it comes from.
const NEWS_MAX: usize = 64;
/// Time before the server's events are asked for again after they broke off.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What there is to be shown or done.
enum News {
    Terminal(TerminalEvent),
    Look(Box<Result<Snapshot, Failure>>),
    Event(Box<ManagerEvent>),
    Output(TaskId, Bytes),
    OutputEnded(TaskId),
    Killed(Result<(), Failure>),
}

/// Shows a server until the reader leaves.
pub(super) async fn watch(client: Client, every: Duration) -> Result<(), Failure> {
    // Before the terminal changes: what fails at once is told as usual.
    let first = Snapshot::take(&client).await?;
    let screen = Screen::new(client.address().to_string(), first);
    let terminal = ratatui::try_init()?;
    let result = show(terminal, client, screen, every).await;
    ratatui::restore();
    result
}

async fn show(
    mut terminal: DefaultTerminal,
    client: Client,
    mut screen: Screen,
    every: Duration,
) -> Result<(), Failure> {
    let (news, mut inbox) = mpsc::channel(NEWS_MAX);
    read_keys(news.clone());
    tokio::spawn(look(client.clone(), every, news.clone()));
    tokio::spawn(listen(client.clone(), news.clone()));
    let mut follower: Option<AbortHandle> = None;
    loop {
        terminal.draw(|frame| draw(frame, &screen))?;
        let Some(first) = inbox.recv().await else {
            return Ok(());
        };
        // All that is there is taken in before the next drawing.
        let mut next = Some(first);
        while let Some(one) = next {
            match take_in(&mut screen, one) {
                Wish::Nothing => {}
                Wish::Leave => return Ok(()),
                Wish::Kill(task_id) => {
                    drop(tokio::spawn(kill(client.clone(), task_id, news.clone())))
                }
                Wish::Follow(task_id) => {
                    let task = tokio::spawn(follow(client.clone(), task_id, news.clone()));
                    follower = Some(task.abort_handle());
                }
                Wish::Return => {
                    if let Some(task) = follower.take() {
                        task.abort();
                    }
                }
            }
            next = inbox.try_recv().ok();
        }
    }
}

fn take_in(screen: &mut Screen, news: News) -> Wish {
    match news {
        News::Terminal(TerminalEvent::Key(key)) if key.kind == KeyEventKind::Press => {
            return screen.press(key);
        }
        // A new size is seen when it is drawn.
        News::Terminal(_) => {}
        News::Look(look) => match *look {
            Ok(snapshot) => screen.update(snapshot),
            Err(failure) => screen.trouble = Some(failure.message().to_owned()),
        },
        News::Event(event) => screen.hear(*event),
        News::Output(task_id, bytes) => {
            if let Some(output) = screen.output.as_mut().filter(|it| it.task_id == task_id) {
                output.push(&bytes);
            }
        }
        News::OutputEnded(task_id) => {
            if let Some(output) = screen.output.as_mut().filter(|it| it.task_id == task_id) {
                output.ended = true;
            }
        }
        News::Killed(Ok(())) => {}
        News::Killed(Err(failure)) => screen.trouble = Some(failure.message().to_owned()),
    }
    Wish::Nothing
}

/// Reads keys on a thread of its own, which cannot be interrupted and ends with the program.
fn read_keys(news: mpsc::Sender<News>) {
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if news.blocking_send(News::Terminal(event)).is_err() {
                return;
            }
        }
    });
}

async fn look(client: Client, every: Duration, news: mpsc::Sender<News>) {
    let mut looks = interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let look = Box::new(Snapshot::take(&client).await);
        if news.send(News::Look(look)).await.is_err() {
            return;
        }
    }
}

/// Passes on what happens on the server, and comes back when it was away.
async fn listen(client: Client, news: mpsc::Sender<News>) {
    while !news.is_closed() {
        if let Ok(mut socket) = client.web_socket("/events", SUBPROTOCOL_JSON).await {
            while let Some(Ok(message)) = socket.next().await {
                // A newer server may tell of things that are not known here.
                if let Message::Text(text) = message
                    && let Ok(event) = serde_json::from_str(&text)
                    && news.send(News::Event(Box::new(event))).await.is_err()
                {
                    return;
                }
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn follow(client: Client, task_id: TaskId, news: mpsc::Sender<News>) {
    let path = format!("/tasks/{}/logs?follow=true", encoded(task_id.as_str()));
    if let Ok(answer) = client.send(Method::GET, &path, None::<&()>).await {
        let mut body = answer.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(bytes) = frame.into_data()
                && news
                    .send(News::Output(task_id.clone(), bytes))
                    .await
                    .is_err()
            {
                return;
            }
        }
    }
    let _ = news.send(News::OutputEnded(task_id)).await;
}

async fn kill(client: Client, task_id: TaskId, news: mpsc::Sender<News>) {
    let path = format!("/tasks/{}", encoded(task_id.as_str()));
    let killed = client
        .ask::<TaskStatus>(Method::DELETE, &path, None::<&()>)
        .await;
    let _ = news.send(News::Killed(killed.map(drop))).await;
}
