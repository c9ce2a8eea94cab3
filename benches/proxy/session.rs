//! The origin and the products under test, each started once.
use crate::http;
use crate::place::Place;
use crate::process::{Cpus, Folder, Running, helper, pinned, pinned_parent, scratch};
use crate::product::{Kind, Product};
use crate::tcp::request::Request;
use crate::test::Layer;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

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
    /// Removed after the process has ended.
    _folder: Folder,
}

impl Started {
    /// The process of the proxy; none for `direct`.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Running::pid)
    }
}

/// What is the same for all that is measured in one run of this program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench {
    pub(crate) cpus: Cpus,
    pub(crate) descriptors: u64,
    /// Threads of each product.
    pub(crate) workers: usize,
}

/// What runs while tests are made; all of it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) bench: Bench,
    pub(crate) layer: Layer,
    pub(crate) backends: usize,
    pub(crate) products: Vec<Started>,
    origin: Running,
}

impl Session {
    /// Starts the origin and the products of that layer; one that does not answer is left out and named.
    pub(crate) fn start(products: &[Product], bench: Bench, layer: Layer, backends: usize) -> io::Result<Self> {
        let role = if layer == Layer::Http { "http-origin" } else { "origin" };
        let mut origin = helper(&bench.cpus.load, role, &[backends.to_string()])?;
        let ports: Vec<u16> = origin.line()?.split(' ').filter_map(|word| word.parse().ok()).collect();
        if ports.len() != backends {
            return Err(io::Error::other("the origin does not start"));
        }
        let mut session = Self { bench, layer, backends, products: Vec::new(), origin };
        for product in products.iter().filter(|product| product.is_for(layer)) {
            match start(product, &ports, bench, layer) {
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

fn start(product: &Product, backends: &[u16], bench: Bench, layer: Layer) -> io::Result<Started> {
    let (product, folder) = (product.clone(), Folder::new()?);
    let Some(program) = product.program.as_ref().filter(|_| product.kind != Kind::Direct) else {
        return Ok(Started { product, port: backends[0], process: None, _folder: folder });
    };
    let Bench { cpus, descriptors, workers } = bench;
    let port = free_port()?;
    let launch = product.launch(&Place { layer, port, backends, workers, descriptors, folder: folder.path() });
    let mut log = scratch("")?;
    let is_parent = product.ends_its_children();
    let mut command = if is_parent { pinned_parent(&cpus.proxy, program) } else { pinned(&cpus.proxy, program) }?;
    command.args(launch.args).envs(launch.environment).stdin(scratch(&launch.input)?);
    command.stdout(Stdio::from(log.try_clone()?)).stderr(log.try_clone()?);
    let mut process = if is_parent { Running::start_parent(&mut command) } else { Running::start(&mut command) }?;
    let deadline = Instant::now() + START_LIMIT;
    while let Err(error) = connected(layer, port) {
        if process.ended() || Instant::now() > deadline {
            return Err(io::Error::other(format!("{error}; it said: {}", last_words(&mut log)?)));
        }
        std::thread::sleep(RETRY);
    }
    Ok(Started { product, port, process: Some(process), _folder: folder })
}

/// A port nobody listens on now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A connection, used once and still open.
pub(crate) fn connected(layer: Layer, port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TRY_LIMIT)?;
    stream.set_read_timeout(Some(TRY_LIMIT))?;
    match layer {
        Layer::Tcp => {
            stream.write_all(&Request { reply_bytes: 1, close: false }.to_bytes())?;
            stream.read_exact(&mut [0])?;
        }
        Layer::Http => http::exchange_once(&mut stream)?,
    }
    Ok(stream)
}

fn last_words(log: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).lines().collect::<Vec<_>>().join(" / "))
}
