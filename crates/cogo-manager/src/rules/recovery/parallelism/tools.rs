//! Tools that run things beside each other, with their knobs.

/// A tool and what makes it do one thing at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tool {
    /// What its program is called.
    pub(super) names: &'static [&'static str],
    /// Flags with a short name: `-jN`, `-j N` or `-j`, each with what it becomes.
    pub(super) short: &'static [(&'static str, &'static str)],
    /// Flags with a long name: `--jobs=N` or `--jobs N`.
    pub(super) long: &'static [&'static str],
    /// What is put behind a word, if none of the flags is there.
    pub(super) insert: Option<(Behind, &'static str)>,
    /// Variables that are set.
    pub(super) variables: &'static [(&'static str, &'static str)],
    /// Variables that hold options, with the option that is added.
    pub(super) options: &'static [(&'static str, &'static str)],
    /// Whether it runs things beside each other without being told to.
    pub(super) is_parallel: bool,
}

/// Which word a flag is put behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// The tool's name.
    Name,
    /// This flag, without which the tool is serial.
    Flag(&'static str),
}

const SERIAL: Tool = Tool {
    names: &[],
    short: &[],
    long: &[],
    insert: None,
    variables: &[],
    options: &[],
    is_parallel: false,
};

/// The tools that are known.
pub(super) const TOOLS: [Tool; 14] = [
    Tool {
        names: &["make", "gmake"],
        short: &[("-j", "-j1")],
        long: &["--jobs"],
        options: &[("MAKEFLAGS", "-j1")],
        ..SERIAL
    },
    Tool {
        names: &["ninja", "samu"],
        short: &[("-j", "-j1")],
        insert: Some((Behind::Name, "-j1")),
        is_parallel: true,
        ..SERIAL
    },
    Tool {
        names: &["cargo"],
        short: &[("-j", "-j1")],
        long: &["--jobs", "--test-threads"],
        variables: &[
            ("CARGO_BUILD_JOBS", "1"),
            ("NEXTEST_TEST_THREADS", "1"),
            ("RUST_TEST_THREADS", "1"),
        ],
        is_parallel: true,
        ..SERIAL
    },
    Tool {
        names: &["go"],
        short: &[("-p", "-p=1"), ("-parallel", "-parallel=1")],
        long: &["-p", "-parallel"],
        variables: &[("GOMAXPROCS", "1")],
        options: &[("GOFLAGS", "-p=1")],
        is_parallel: true,
        ..SERIAL
    },
    // The number for `-n auto` in its settings has a variable; a flag would need its plugin.
    Tool {
        names: &["pytest", "py.test"],
        short: &[("-n", "-n1")],
        long: &["--numprocesses"],
        variables: &[("PYTEST_XDIST_AUTO_NUM_WORKERS", "1")],
        ..SERIAL
    },
    // Serial without `--test`, and that has no variable.
    Tool {
        names: &["node"],
        long: &["--test-concurrency"],
        insert: Some((Behind::Flag("--test"), "--test-concurrency=1")),
        ..SERIAL
    },
    Tool {
        names: &["jest"],
        short: &[("-w", "--maxWorkers=1")],
        long: &["--maxWorkers", "--max-workers"],
        insert: Some((Behind::Name, "--maxWorkers=1")),
        is_parallel: true,
        ..SERIAL
    },
    Tool {
        names: &["vitest"],
        long: &["--maxWorkers", "--max-workers"],
        variables: &[
            ("VITEST_MAX_FORKS", "1"),
            ("VITEST_MAX_THREADS", "1"),
            ("VITEST_MAX_WORKERS", "1"),
        ],
        is_parallel: true,
        ..SERIAL
    },
    Tool {
        names: &["mvn", "mvnw"],
        short: &[("-T", "-T1")],
        long: &["--threads"],
        options: &[("MAVEN_ARGS", "-T1")],
        ..SERIAL
    },
    Tool {
        names: &["gradle", "gradlew"],
        long: &["--max-workers"],
        variables: &[("ORG_GRADLE_PROJECT_maxParallelForks", "1")],
        options: &[(
            "GRADLE_OPTS",
            "-Dorg.gradle.workers.max=1 -Dorg.gradle.parallel=false",
        )],
        is_parallel: true,
        ..SERIAL
    },
    Tool {
        names: &["ctest"],
        short: &[("-j", "-j1")],
        long: &["--parallel"],
        variables: &[("CTEST_PARALLEL_LEVEL", "1")],
        ..SERIAL
    },
    Tool {
        names: &["cmake"],
        short: &[("-j", "-j1")],
        long: &["--parallel"],
        variables: &[("CMAKE_BUILD_PARALLEL_LEVEL", "1")],
        ..SERIAL
    },
    Tool {
        names: &["xargs"],
        short: &[("-P", "-P1")],
        long: &["--max-procs"],
        ..SERIAL
    },
    Tool {
        names: &["parallel"],
        short: &[("-j", "-j1")],
        long: &["--jobs"],
        insert: Some((Behind::Name, "-j1")),
        is_parallel: true,
        ..SERIAL
    },
];

/// The variables of all tools and of usual libraries.
pub(super) const VARIABLES: [(&str, &str); 21] = [
    ("CARGO_BUILD_JOBS", "1"),
    ("CMAKE_BUILD_PARALLEL_LEVEL", "1"),
    ("CTEST_PARALLEL_LEVEL", "1"),
    ("GOMAXPROCS", "1"),
    ("JOBS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("NEXTEST_TEST_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("ORG_GRADLE_PROJECT_maxParallelForks", "1"),
    ("PYTEST_XDIST_AUTO_NUM_WORKERS", "1"),
    ("PYTHON_CPU_COUNT", "1"),
    ("RAYON_NUM_THREADS", "1"),
    ("RUST_TEST_THREADS", "1"),
    ("TOKIO_WORKER_THREADS", "1"),
    ("UV_THREADPOOL_SIZE", "1"),
    ("VITEST_MAX_FORKS", "1"),
    ("VITEST_MAX_THREADS", "1"),
    ("VITEST_MAX_WORKERS", "1"),
    ("npm_config_jobs", "1"),
    ("npm_config_maxsockets", "1"),
];

/// The variables of all tools that hold options.
pub(super) const OPTIONS: [(&str, &str); 4] = [
    ("GOFLAGS", "-p=1"),
    (
        "GRADLE_OPTS",
        "-Dorg.gradle.workers.max=1 -Dorg.gradle.parallel=false",
    ),
    ("MAKEFLAGS", "-j1"),
    ("MAVEN_ARGS", "-T1"),
];
