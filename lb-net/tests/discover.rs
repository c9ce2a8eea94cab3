//! Node files and names are watched: what changes is seen in time, what is bad changes nothing.
#![cfg(feature = "discover")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{
    collections::VecDeque,
    fs, io,
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc as blocking,
    },
    time::Duration,
};

use lb_net::discover::{Discovered, Found, Source, Watcher};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, sleep},
};

/// What an operator may wait for a change.
const SEEN: Duration = Duration::from_secs(3);

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lb-discover-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let place = std::env::temp_dir().join(name);
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn source(&self, name: &str) -> Source {
        self.path(name).to_str().unwrap().parse().unwrap()
    }

    /// As editors and generators do it: the file is whole at any moment.
    fn replace(&self, name: &str, content: &str) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A watcher at work, and what it tells. Time is paused: it passes while everybody waits for it, and for nothing else.
struct Watched {
    found: Arc<Mutex<Found>>,
    news: mpsc::UnboundedReceiver<String>,
    now: Arc<Notify>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What nobody waits longer for: so many times something happened, and no news was among it.
const WAKES: usize = 5_000;

impl Watched {
    fn new(watcher: Watcher, found: Found) -> Self {
        let (found, asked) = (Arc::new(Mutex::new(found)), Arc::new(AtomicUsize::new(0)));
        let (sender, news) = mpsc::unbounded_channel();
        let (known, kept, wakes, now) = (Arc::clone(&found), Arc::clone(&found), Arc::clone(&asked), watcher.now());
        let current = move || {
            assert!(wakes.fetch_add(1, Relaxed) < WAKES, "nothing new came");
            known.lock().unwrap().clone()
        };
        let task = tokio::spawn(watcher.run(current, move |news| {
            sender.send(news.to_string()).unwrap();
            if let Discovered::Changed { source, backends, .. } = news {
                kept.lock().unwrap().set(source.clone(), backends);
            }
        }));
        Self { found, news, now, asked, task }
    }

    /// The next that it tells.
    async fn news(&mut self) -> String {
        self.news.recv().await.expect("the watcher has ended")
    }

    /// The next that it tells, in time, and the list of this source then.
    async fn list_after_news(&mut self, source: &Source) -> String {
        let began = Instant::now();
        let news = self.news().await;
        assert!(began.elapsed() <= SEEN, "{news} after {:?}", began.elapsed());
        self.list(source)
    }

    fn list(&self, source: &Source) -> String {
        let found = self.found.lock().unwrap();
        found.of(source).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Some looks later nothing has been told.
    async fn tells_nothing(&mut self) {
        let before = self.asked.load(Relaxed);
        while self.asked.load(Relaxed) < before + 20 {
            tokio::task::yield_now().await;
            sleep(Duration::from_millis(300)).await;
            // A thread may be at work, and this clock does not wait for it.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.news.try_recv().ok(), None);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn watch(sources: &[Source]) -> Watched {
    Watched::new(Watcher::default(), Found::default().looked(sources.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced_or_written_in_place_is_seen_in_time() {
    let (place, source) = (Place::new(), Place::source);
    place.replace("nodes", "a:80\n");
    let source = source(&place, "nodes");
    let mut watched = watch(std::slice::from_ref(&source));
    assert_eq!(watched.list(&source), "a:80");
    watched.tells_nothing().await;
    place.replace("nodes", "a:80\nb:80:9\n");
    assert_eq!(watched.list_after_news(&source).await, "a:80 b:80:9");
    fs::write(place.path("nodes"), "b:80:9\n").unwrap();
    assert_eq!(watched.list_after_news(&source).await, "b:80:9");
    watched.tells_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn links_that_are_switched_are_seen_as_kubernetes_switches_them() {
    let place = Place::new();
    for (version, content) in [("v1", "a:80\n"), ("v2", "b:80\n")] {
        fs::create_dir(place.path(version)).unwrap();
        fs::write(place.path(version).join("nodes"), content).unwrap();
    }
    symlink("v1", place.path("..data")).unwrap();
    symlink(Path::new("..data").join("nodes"), place.path("nodes")).unwrap();
    let source = place.source("nodes");
    let mut watched = watch(std::slice::from_ref(&source));
    for (version, list) in [("v2", "b:80"), ("v1", "a:80")] {
        symlink(version, place.path("..data_tmp")).unwrap();
        fs::rename(place.path("..data_tmp"), place.path("..data")).unwrap();
        assert_eq!(watched.list_after_news(&source).await, list);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_changes_nothing_and_is_told_once_until_it_is_good() {
    let place = Place::new();
    place.replace("nodes", "a:80\nb:80\n");
    let source = place.source("nodes");
    let mut watched = watch(std::slice::from_ref(&source));
    place.replace("nodes", "c:80\na:80:many\n");
    let told = watched.news().await;
    assert!(told.starts_with(&format!("{source}:2: a:80:many: limit 'many' is not a number")), "{told}");
    assert!(told.ends_with("; the last good list stays in use"), "{told}");
    watched.tells_nothing().await;
    assert_eq!(watched.list(&source), "a:80 b:80");
    place.replace("nodes", "c:80\na:80:x\n");
    assert!(watched.news().await.contains(":2: a:80:x: limit 'x'"), "the next mistake is another one");
    fs::remove_file(place.path("nodes")).unwrap();
    assert!(watched.news().await.contains("cannot read it: No such file"));
    watched.tells_nothing().await;
    assert_eq!(watched.list(&source), "a:80 b:80");
    place.replace("nodes", "c:80\n");
    assert_eq!(watched.news().await, format!("{source}: there is a good list again"));
    assert_eq!(watched.news().await, format!("{source}: 1 backend now: 1 added, 2 removed"));
    place.replace("nodes", "");
    assert!(watched.news().await.contains("there is no backend in it"));
    place.replace("nodes", "c:80 # as before\n");
    assert_eq!(watched.news().await, format!("{source}: there is a good list again"));
    watched.tells_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn sources_come_and_go_while_it_runs() {
    let place = Place::new();
    let mut watched = Watched::new(Watcher::default(), Found::default());
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(watched.asked.load(Relaxed), 1, "without sources it sleeps");
    place.replace("one", "a:80\n");
    let (one, two) = (place.source("one"), place.source("two"));
    watched.found.lock().unwrap().set(one.clone(), []);
    watched.now.notify_one();
    assert_eq!(watched.list_after_news(&one).await, "a:80");
    place.replace("two", "b:80\n");
    watched.found.lock().unwrap().set(two.clone(), []);
    assert_eq!(watched.list_after_news(&two).await, "b:80", "it is found at the next look at another one");
    watched.found.lock().unwrap().remove(&one);
    place.replace("one", "a:81\n");
    place.replace("two", "b:81\n");
    assert!(watched.news().await.starts_with(&two.to_string()));
    watched.tells_nothing().await;
}

/// Answers by turns; the last one for ever.
fn scripted(answers: &[Result<&str, ()>]) -> impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static {
    let answer = |answer: &Result<&str, ()>| match answer {
        Ok(ips) => Ok(ips.split_whitespace().map(|ip| ip.parse().unwrap()).collect()),
        Err(()) => Err("no answer"),
    };
    let answers: Mutex<VecDeque<Result<Vec<IpAddr>, &str>>> = Mutex::new(answers.iter().map(answer).collect());
    move |host| {
        assert_eq!(host, "web.internal");
        let mut answers = answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        next.unwrap().map_err(io::Error::other)
    }
}

#[tokio::test(start_paused = true)]
async fn each_address_of_a_name_is_a_backend_and_the_last_good_answer_stays() {
    let source: Source = "web.internal:8080:9".parse().unwrap();
    let mut found = Found::default();
    found.set(source.clone(), []);
    let answers = [
        Ok("10.0.0.2 10.0.0.1 ::1"),
        Ok("::1 10.0.0.1 10.0.0.2"),
        Ok("10.0.0.1"),
        Err(()),
        Ok(""),
        Ok("10.0.0.1"),
        Ok("10.0.0.3 10.0.0.1"),
    ];
    let mut watched = Watched::new(Watcher::default().with_lookup(scripted(&answers)), found);
    assert_eq!(watched.list_after_news(&source).await, "10.0.0.1:8080:9 10.0.0.2:8080:9 [::1]:8080:9");
    let began = Instant::now();
    assert_eq!(watched.news().await, "web.internal:8080:9: 1 backend now: 0 added, 2 removed");
    assert_eq!(began.elapsed().as_secs(), 4, "the other order was no news");
    let failure = "unknown host 'web.internal': no answer; the last good list stays in use";
    assert_eq!(watched.news().await, failure);
    assert_eq!(watched.list(&source), "10.0.0.1:8080:9");
    assert_eq!(watched.news().await, "web.internal:8080:9: there is a good list again");
    assert_eq!(watched.list_after_news(&source).await, "10.0.0.1:8080:9 10.0.0.3:8080:9");
    watched.tells_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_is_silent_delays_no_file() {
    let place = Place::new();
    place.replace("nodes", "a:80\n");
    let source = place.source("nodes");
    let mut found = Found::default().looked([source.clone()]).unwrap();
    for number in 0..20 {
        found.set(format!("web-{number}.internal:80").parse().unwrap(), []);
    }
    let (release, silent) = blocking::channel::<()>();
    let silent = Mutex::new(silent);
    let watcher = Watcher::default().with_lookup(move |_| {
        let _ = silent.lock().unwrap().recv();
        Err(io::ErrorKind::TimedOut.into())
    });
    let mut watched = Watched::new(watcher, found);
    place.replace("nodes", "b:80\n");
    assert_eq!(watched.list_after_news(&source).await, "b:80");
    drop(release);
    assert!(watched.news().await.starts_with("unknown host 'web-"));
}

#[test]
fn at_the_start_each_source_must_answer() {
    let place = Place::new();
    place.replace("nodes", "a:80\n");
    let (good, bad) = (place.source("nodes"), place.source("none"));
    let error = Found::default().looked([good.clone(), bad.clone()]).unwrap_err();
    assert!(error.chain().starts_with(&format!("{bad}: cannot read it: No such file")), "{error}");
    let found = Found::default().looked([good.clone(), "localhost:80".parse().unwrap()]).unwrap();
    assert!(found.of(&"localhost:80".parse().unwrap()).iter().any(|backend| backend.name == "127.0.0.1:80"));
    fs::remove_file(place.path("nodes")).unwrap();
    let kept = found.looked([good.clone()]).unwrap();
    assert_eq!((kept.of(&good).len(), kept.sources().count()), (1, 1), "what is known is not asked for again");
}

#[tokio::test]
async fn a_change_is_seen_within_three_seconds_of_the_clock_on_the_wall() {
    let is_seen = async || {
        let place = Place::new();
        place.replace("nodes", "a:80\n");
        let source = place.source("nodes");
        let mut watched = watch(std::slice::from_ref(&source));
        // Of the same length, written in place: nothing but its times and its content differ.
        fs::write(place.path("nodes"), "b:80\n").unwrap();
        let news = tokio::time::timeout(SEEN, watched.news()).await;
        news.is_ok_and(|_| watched.list(&source) == "b:80")
    };
    // Others use this machine too: one good time will do.
    for _ in 0..5 {
        if is_seen().await {
            return;
        }
    }
    panic!("it is not seen in time");
}
