//! The origin and the products under test, each started once.
use crate::process::{Cpus, Running, helper, pinned, scratch};
use crate::product::{Kind, Product};
use crate::wire::Request;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Backends behind every product.
const BACKENDS: usize = 4;

/// A product that does not answer by then is left out.
const START_LIMIT: Duration = Duration::from_secs(6);

/// How often a product that starts is tried.
const RETRY: Duration = Duration::from_millis(20);

/// How long a single try may take.
const TRY_LIMIT: Duration = Duration::from_secs(1);

/// A product that answers on its port.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) product: Product,
    pub(crate) port: u16,
    /// None for `direct`.
    process: Option<Running>,
}

impl Started {
    /// The process of the proxy; none for `direct`.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Running::pid)
    }
}

/// What runs while tests are made; all of it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) cpus: Cpus,
    pub(crate) products: Vec<Started>,
    origin: Running,
}

impl Session {
    /// Starts the origin and the products; one that does not answer is left out and named.
    pub(crate) fn start(products: &[Product], cpus: Cpus, descriptors: u64) -> io::Result<Self> {
        let mut origin = helper(cpus.load, "origin", &[BACKENDS.to_string()])?;
        let backends: Vec<u16> = origin.line()?.split(' ').filter_map(|word| word.parse().ok()).collect();
        if backends.len() != BACKENDS {
            return Err(io::Error::other("the origin does not start"));
        }
        let mut session = Self { cpus, products: Vec::new(), origin };
        for product in products {
            match start(product, &backends, cpus, descriptors) {
                Ok(started) => session.products.push(started),
                Err(why) => println!("{}: left out: {why}\n", product.name),
            }
        }
        Ok(session)
    }

    pub(crate) fn origin_pid(&self) -> u32 {
        self.origin.pid()
    }
}

fn start(product: &Product, backends: &[u16], cpus: Cpus, descriptors: u64) -> io::Result<Started> {
    let product = product.clone();
    let Some(program) = product.program.as_ref().filter(|_| product.kind != Kind::Direct) else {
        return Ok(Started { product, port: backends[0], process: None });
    };
    let port = free_port()?;
    let launch = product.launch(port, backends, descriptors);
    let mut log = scratch("")?;
    let mut command = pinned(cpus.proxy, program)?;
    command.args(launch.args).stdin(scratch(&launch.input)?);
    command.stdout(Stdio::from(log.try_clone()?)).stderr(log.try_clone()?);
    let mut process = Running::start(&mut command)?;
    let deadline = Instant::now() + START_LIMIT;
    while let Err(error) = one_exchange(port) {
        if process.ended() || Instant::now() > deadline {
            return Err(io::Error::other(format!("{error}; it said: {}", last_words(&mut log)?)));
        }
        std::thread::sleep(RETRY);
    }
    Ok(Started { product, port, process: Some(process) })
}

/// A port nobody listens on now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A connection, used once and still open.
pub(crate) fn connected(port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TRY_LIMIT)?;
    stream.set_read_timeout(Some(TRY_LIMIT))?;
    stream.write_all(&Request { reply_bytes: 1, close: false }.to_bytes())?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

fn one_exchange(port: u16) -> io::Result<()> {
    connected(port).map(drop)
}

fn last_words(log: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).lines().collect::<Vec<_>>().join(" / "))
}
