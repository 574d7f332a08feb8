//! The whole process: connects, starts every part, ends them in order.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use runtime::health::Health;
use runtime::https::{self, Endpoint};
use runtime::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::check;
use crate::cli::{Arguments, Command, Switch};
use crate::context::Context;
use crate::controllers;
use crate::lease::{Always, KubernetesLease, Lease};
use crate::metrics::Metrics;
use crate::serving::{self, Serving};
use crate::{enrolment, webhook};

/// The API server keeps connections open and sends one review after the other.
const WEBHOOK: Endpoint = Endpoint {
    name: "webhook",
    most_connections: 256,
    longest_connection: Duration::from_secs(300),
};
/// Members wait here for changes of their configuration.
const ENROLMENT: Endpoint = Endpoint {
    name: "enrolment",
    most_connections: 4096,
    longest_connection: Duration::from_secs(330),
};

/// How long work under way may take at the end.
const ENDING: Duration = Duration::from_secs(8);

/// Runs the operator until a signal or a failure ends it.
///
/// # Errors
/// What keeps it from starting, or from going on.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.command == Some(Command::Check) {
        return check::run(&client(&arguments).await?, &arguments).await;
    }
    let (trigger, shutdown) = Shutdown::on_signals().context("cannot install signal handlers")?;
    let health = Health::new();
    health.block("watches", "not everything was listed yet");
    let client = client(&arguments).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = arguments.namespace,
        watches = ?arguments.watch_namespaces,
        "operator starts"
    );
    // Watches end the process when they end: they never do by themselves.
    let mut tasks = JoinSet::new();
    let mut servers = JoinSet::new();
    let (metrics, registry) = Metrics::new(|_| {});
    let context = Context::start(client, arguments, health.clone(), metrics, &mut tasks);
    servers.spawn(runtime::observability::serve(
        context.arguments.metrics_listen,
        health.clone(),
        registry,
        shutdown.clone(),
    ));
    {
        let (stores, health) = (context.stores.clone(), health.clone());
        tasks.spawn(async move {
            stores.ready().await;
            health.unblock("watches");
            std::future::pending::<()>().await;
        });
    }
    health.block(
        "endpoints",
        "the webhook and the enrolment endpoint do not listen yet",
    );
    let serving = tokio::select! {
        serving = serving::start(&context.client, &context.arguments.namespace, &mut tasks) => serving,
        () = async { shutdown.clone().wait().await } => return Ok(()),
    };
    endpoints(&context, &serving, &shutdown, &mut tasks, &mut servers).await?;
    health.unblock("endpoints");
    let mut acting = tokio::spawn(lead(context.clone(), serving, shutdown.clone()));
    let mut ending = shutdown.clone();
    let ended = tokio::select! {
        () = ending.wait() => Ok(()),
        ended = &mut acting => match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error.into()),
        },
        Some(ended) = tasks.join_next() => match ended {
            Ok(()) => Err(anyhow::anyhow!("a watch ended")),
            Err(error) => Err(error.into()),
        },
        Some(ended) = servers.join_next() => match ended {
            Ok(Ok(())) => Err(anyhow::anyhow!("an endpoint ended")),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        },
    };
    trigger.fire();
    if !acting.is_finished() && tokio::time::timeout(ENDING, &mut acting).await.is_err() {
        tracing::warn!("work under way did not end in time; the next operator goes on with it");
        acting.abort();
    }
    tasks.shutdown().await;
    tracing::info!("operator ended");
    ended
}

/// Starts the webhook and the enrolment endpoint. Every replica has them.
async fn endpoints(
    context: &Context,
    serving: &Serving,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
    servers: &mut JoinSet<std::io::Result<()>>,
) -> anyhow::Result<()> {
    let arguments = &context.arguments;
    let mut serve = async |endpoint: Endpoint, listen: SocketAddr, flag: &str, router| {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("{flag} {listen}"))?;
        let (tls, shutdown) = (serving.tls.clone(), shutdown.clone());
        servers.spawn(async move {
            https::serve(endpoint, listener, tls, router, shutdown).await;
            Ok(())
        });
        anyhow::Ok(())
    };
    if arguments.webhook == Switch::Enabled {
        let router = webhook::router(context.clone());
        serve(
            WEBHOOK,
            arguments.webhook_listen,
            "--webhook-listen",
            router,
        )
        .await?;
    }
    if arguments.enrolment == Switch::Enabled {
        let router = enrolment::router(enrolment::Enrolment {
            context: context.clone(),
            changes: enrolment::follow(&context.stores, tasks),
            announced: enrolment::Announced::default(),
        });
        serve(
            ENROLMENT,
            arguments.enrolment_listen,
            "--enrolment-listen",
            router,
        )
        .await?;
    }
    Ok(())
}

/// Acts for as long as this replica has the right to, until the shutdown.
async fn lead(context: Context, serving: Serving, shutdown: Shutdown) -> anyhow::Result<()> {
    let arguments = &context.arguments;
    if arguments.leader_election == Switch::Disabled {
        return act(&context, &serving, Always(false), shutdown).await;
    }
    let lease = KubernetesLease::new(
        context.client.clone(),
        &arguments.namespace,
        &arguments.pod_name,
        arguments.lease_duration_seconds,
    )
    .await
    .context("the lease of the operators")?;
    act(&context, &serving, lease, shutdown).await
}

async fn act(
    context: &Context,
    serving: &Serving,
    mut lease: impl Lease,
    mut shutdown: Shutdown,
) -> anyhow::Result<()> {
    context.stores.ready().await;
    let mut acting: Option<controllers::Acting> = None;
    loop {
        let held = tokio::select! {
            () = shutdown.wait() => break,
            held = lease.changed() => held?,
        };
        context.metrics.leader.set(held.into());
        match (held, acting.take()) {
            (true, None) => {
                tracing::info!("this replica acts");
                acting = Some(controllers::start(context, serving, &shutdown));
            }
            (false, Some(running)) => {
                tracing::warn!("this replica does not act any more");
                running.stop().await;
            }
            (_, unchanged) => acting = unchanged,
        }
    }
    if let Some(running) = acting {
        running.finish().await;
    }
    lease.release().await;
    Ok(())
}

/// The client for the cluster that the command line names.
async fn client(arguments: &Arguments) -> anyhow::Result<Client> {
    let config = match &arguments.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("--kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("--kubeconfig {}", path.display()))?
        }
        None => Config::infer()
            .await
            .context("no cluster: give --kubeconfig FILE, set KUBECONFIG, or run in a pod")?,
    };
    Client::try_from(config).context("cannot make a client for the API server")
}
