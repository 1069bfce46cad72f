//! Routes together with their description, so that the `OpenAPI` document cannot drift from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use cogo_protocol::job::JobId;
use cogo_protocol::task::TaskId;
use cogo_protocol::worker::WorkerId;
use cogo_store::Scope;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Api;
use super::problem::{Problem, ProblemBody};
use crate::tokens::Caller;

/// Before every path of the API.
pub(super) const PREFIX: &str = "/api/sandbox";

/// One of these scopes opens a door.
type Access = &'static [Scope];

/// Needs to see everything.
pub(super) const READ: Access = &[Scope::Read];
/// Needs to see everything, or the task's own submitter; the handler tells them apart.
pub(super) const READ_OR_OWN: Access = &[Scope::Read, Scope::Submit];
/// Needs to submit.
pub(super) const SUBMIT: Access = &[Scope::Submit];
/// Needs to change everything.
pub(super) const ADMIN: Access = &[Scope::Admin];
/// Needs to join as a worker.
pub(super) const WORKER_JOIN: Access = &[Scope::WorkerJoin];

/// Routes, and what is said of them.
pub(super) struct Routes {
    router: Router<Arc<Api>>,
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

/// Adds to what the document says of a route.
type Describe = Box<dyn Fn(&mut Map<String, Value>, &mut SchemaGenerator)>;

/// What is said of one route.
pub(super) struct Operation {
    method: Method,
    path: &'static str,
    summary: &'static str,
    access: Access,
    /// How it may refuse.
    problems: BTreeSet<u16>,
    describe: Vec<Describe>,
}

/// Any door may refuse like this: no token, the wrong one, a foreign host or page, too often, a
/// failure of ours, the end.
const PROBLEMS_OF_ALL: [u16; 6] = [401, 403, 421, 429, 500, 503];

impl Operation {
    pub(super) fn new(
        method: Method,
        path: &'static str,
        access: Access,
        summary: &'static str,
    ) -> Self {
        let mut problems = BTreeSet::from(PROBLEMS_OF_ALL);
        if path.contains('{') {
            problems.extend([400, 404, 409]);
        }
        Self {
            method,
            path,
            summary,
            access,
            problems,
            describe: Vec::new(),
        }
    }

    /// It may refuse like this too.
    pub(super) fn problem(mut self, status: StatusCode) -> Self {
        self.problems.insert(status.as_u16());
        self
    }

    /// The body that it takes, in JSON.
    pub(super) fn body<T: JsonSchema>(mut self) -> Self {
        self.problems.extend([400, 404, 409, 413, 415, 422]);
        self.describe(|operation, schemas| {
            let schema = schemas.subschema_for::<T>();
            operation.insert(
                "requestBody".to_owned(),
                json!({"required": true, "content": {"application/json": {"schema": schema}}}),
            );
        })
    }

    /// The body that it takes, as bytes.
    pub(super) fn bytes(mut self, media: &'static [&'static str]) -> Self {
        self.problems.extend([400, 413]);
        self.describe(move |operation, _| {
            let binary = json!({"schema": {"type": "string", "format": "binary"}});
            let forms = media
                .iter()
                .map(|media| ((*media).to_owned(), binary.clone()));
            let content: Map<String, Value> = forms.collect();
            operation.insert(
                "requestBody".to_owned(),
                json!({"required": true, "content": content}),
            );
        })
    }

    /// What may stand behind the question mark.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.problems.insert(400);
        self.describe(|operation, schemas| {
            let schema = schemas.root_schema_for::<T>().to_value();
            let required: Vec<&str> = schema["required"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            for (name, schema) in properties {
                let required = required.contains(&name.as_str());
                let description = schema["description"].clone();
                push_parameter(
                    operation,
                    json!({"name": name, "in": "query", "required": required, "description": description, "schema": schema}),
                );
            }
        })
    }

    /// What it answers, in JSON.
    pub(super) fn answer<T: JsonSchema>(self, status: StatusCode, what: &'static str) -> Self {
        self.describe(move |operation, schemas| {
            let schema = schemas.subschema_for::<T>();
            let content = json!({"application/json": {"schema": schema}});
            insert_answer(
                operation,
                status,
                json!({"description": what, "content": content}),
            );
        })
    }

    /// What it answers in other forms than JSON.
    pub(super) fn answer_as(self, media: &'static [&'static str], what: &'static str) -> Self {
        self.describe(move |operation, _| {
            let content: Map<String, Value> = media
                .iter()
                .map(|media| ((*media).to_owned(), json!({"schema": {"type": "string"}})))
                .collect();
            insert_answer(
                operation,
                StatusCode::OK,
                json!({"description": what, "content": content}),
            );
        })
    }

    /// It answers with server-sent events too, each of which holds this in JSON.
    pub(super) fn answer_events<T: JsonSchema>(self) -> Self {
        self.describe(|operation, schemas| {
            let schema = schemas.subschema_for::<T>();
            let content =
                json!({"text/event-stream": {"schema": {"type": "string"}, "x-event": schema}});
            insert_answer(operation, StatusCode::OK, json!({"content": content}));
        })
    }

    /// It answers without a body.
    pub(super) fn answer_empty(self, status: StatusCode, what: &'static str) -> Self {
        self.describe(move |operation, _| {
            insert_answer(operation, status, json!({"description": what}));
        })
    }

    /// It becomes a WebSocket.
    pub(super) fn web_socket(self, what: &'static str) -> Self {
        self.problem(StatusCode::BAD_REQUEST)
            .problem(StatusCode::UPGRADE_REQUIRED)
            .answer_empty(StatusCode::SWITCHING_PROTOCOLS, what)
            .describe(|operation, _| {
                operation.insert("x-websocket".to_owned(), Value::Bool(true));
            })
    }

    fn describe(
        mut self,
        describe: impl Fn(&mut Map<String, Value>, &mut SchemaGenerator) + 'static,
    ) -> Self {
        self.describe.push(Box::new(describe));
        self
    }

    fn document(&self, schemas: &mut SchemaGenerator) -> Value {
        let mut operation = Map::new();
        operation.insert("summary".to_owned(), self.summary.into());
        operation.insert("operationId".to_owned(), self.id().into());
        for name in path_parameters(self.path) {
            push_parameter(
                &mut operation,
                json!({"name": name, "in": "path", "required": true,
                       "schema": path_schema(self.path, name, schemas)}),
            );
        }
        for describe in &self.describe {
            describe(&mut operation, schemas);
        }
        let problem = schemas.subschema_for::<ProblemBody<'static>>();
        let answers = operation.entry("responses").or_insert_with(|| json!({}));
        for status in &self.problems {
            let reason = StatusCode::from_u16(*status).ok();
            let reason = reason.and_then(|status| status.canonical_reason());
            answers[status.to_string()] = json!({
                "description": reason.unwrap_or("refused"),
                "content": {"application/problem+json": {"schema": problem}},
            });
        }
        operation.insert("x-scopes".to_owned(), json!(self.access));
        Value::Object(operation)
    }

    fn id(&self) -> String {
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        format!(
            "{}_{}",
            self.method.as_str().to_lowercase(),
            words.join("_")
        )
    }
}

fn push_parameter(operation: &mut Map<String, Value>, parameter: Value) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(parameter);
    }
}

fn insert_answer(operation: &mut Map<String, Value>, status: StatusCode, answer: Value) {
    let answers = operation.entry("responses").or_insert_with(|| json!({}));
    let answers = &mut answers[status.as_str()];
    if answers["content"].is_object() {
        // The same status in another form.
        let content = answer["content"].as_object().cloned().unwrap_or_default();
        for (media, form) in content {
            answers["content"][media] = form;
        }
    } else {
        *answers = answer;
    }
}

/// What may stand in a path: most are names of tasks or workers.
fn path_schema(path: &str, name: &str, schemas: &mut SchemaGenerator) -> Value {
    if path.starts_with("/tasks/") {
        schemas.subschema_for::<TaskId>().to_value()
    } else if path.starts_with("/jobs/") || path.starts_with("/analysis/") {
        schemas.subschema_for::<JobId>().to_value()
    } else if path.starts_with("/workers/") || name == "workerId" {
        schemas.subschema_for::<WorkerId>().to_value()
    } else {
        json!({"type": "string", "minLength": 1})
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(name.trim_start_matches('*'))
    })
}

impl Routes {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            let bounds = Box::new(RecursiveTransform(say_bounds));
            settings.transforms.push(bounds);
        });
        Self {
            router: Router::new(),
            schemas: settings.into_generator(),
            paths: Map::new(),
        }
    }

    /// Adds a route under the prefix.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an operation is made where its route is added, and for that alone"
    )]
    pub(super) fn add<H, T>(mut self, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(operation.method.clone())
            .expect("routes are declared with the usual methods");
        let path = format!("{PREFIX}{}", operation.path);
        let document = operation.document(&mut self.schemas);
        let entry = self
            .paths
            .entry(path.replace("{*", "{"))
            .or_insert_with(|| json!({}));
        entry[operation.method.as_str().to_lowercase()] = document;
        let access = axum::middleware::from_fn_with_state(operation.access, check_access);
        self.router = self.router.route(&path, on(filter, handler).layer(access));
        self
    }

    /// The router, and the `OpenAPI` document of all its routes.
    pub(super) fn finish(mut self) -> (Router<Arc<Api>>, Value) {
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "cogo",
                "description": "Runs commands in kernel sandboxes, with output that is kept and honest verdicts.",
                "version": env!("CARGO_PKG_VERSION"),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"token": []}, {}],
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.take_definitions(true),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        });
        (self.router, document)
    }
}

/// What an integer's format says of its greatest value, said so that checkers see it.
fn say_bounds(schema: &mut Schema) {
    let max = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => u8::MAX.into(),
        Some("uint16") => u16::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        Some("uint64") => u64::MAX,
        Some("uint") => usize::MAX as u64,
        Some(_) | None => return,
    };
    if schema.get("maximum").is_none() {
        schema.insert("maximum".to_owned(), max.into());
    }
}

/// Lets callers in that have one of the scopes.
async fn check_access(
    State(access): State<Access>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = request.extensions().get::<Caller>();
    if caller.is_some_and(|caller| access.iter().any(|scope| caller.may(*scope))) {
        return Ok(next.run(request).await);
    }
    let names: Vec<String> = access
        .iter()
        .filter_map(|scope| Some(serde_json::to_value(scope).ok()?.as_str()?.to_owned()))
        .collect();
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "scope_missing",
        format!(
            "this door needs a token with the scope {}",
            names.join(" or ")
        ),
    )
    .hint("make one with `cogo token create --scope …`"))
}
