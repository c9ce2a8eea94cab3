//! The watched file of a health endpoint: written, broken, removed, replaced.
#![cfg(feature = "health-endpoint")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use lb_net::health_endpoint::{Health, StateFile};
use tokio::task::JoinHandle;

/// A directory for one test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lb-health-file-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let place = std::env::temp_dir().join(name);
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    fn path(&self) -> PathBuf {
        self.0.join("site.json")
    }

    fn write(&self, content: &str) {
        fs::write(self.path(), content).unwrap();
    }

    fn replace(&self, content: &str) {
        fs::write(self.0.join("new"), content).unwrap();
        fs::rename(self.0.join("new"), self.path()).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that is watched, and all that is wrong with it.
struct Watched {
    place: Place,
    health: Health,
    file: StateFile,
    told: Arc<Mutex<Vec<String>>>,
    watching: JoinHandle<()>,
}

impl Watched {
    fn new() -> Self {
        let (place, told) = (Place::new(), Arc::<Mutex<Vec<String>>>::default());
        let tell = Arc::clone(&told);
        let file = StateFile::new(place.path())
            .with_interval(Duration::from_millis(10))
            .with_on_error(move |error| tell.lock().unwrap().push(error.problem.to_string()));
        let health = Health::new().with("site", file.clone());
        let watching = tokio::spawn(file.watch());
        Self { place, health, file, told, watching }
    }

    /// Waits until this is said.
    async fn says(&self, said: &str) {
        eventually(said, || self.health.report().to_string()).await;
    }

    /// Waits until there is this note.
    async fn notes(&self, note: &str) {
        eventually(note, || self.health.report().note.unwrap_or_default()).await;
    }
}

async fn eventually(wanted: &str, seen: impl Fn() -> String) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while seen() != wanted {
        assert!(std::time::Instant::now() < deadline, "it is '{}' and not '{wanted}'", seen());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const UP: &str = "{\"siteAvailable\": true}";

#[tokio::test]
async fn it_is_down_until_the_file_says_otherwise() {
    let watched = Watched::new();
    watched.says("DOWN: site: there is no such file").await;
    watched.place.write("nonsense");
    watched
        .says("DOWN: site: it says none of UP, UP n%, DRAIN, DOWN, MAINT, true, false and {\"siteAvailable\": true}")
        .await;
    watched.place.write(UP);
    watched.says("UP").await;
    assert!(watched.file.last_error().is_none());
    watched.place.replace("{\"siteAvailable\": false}");
    watched.says("DOWN: site").await;
    watched.place.replace("UP 40%: one disk of two");
    watched.says("UP 40%: site: one disk of two").await;
    watched.place.replace("MAINT: new disks\n");
    watched.says("MAINT: site: new disks").await;
}

#[tokio::test]
async fn a_file_that_is_removed_or_broken_keeps_the_last_value_and_says_so() {
    let watched = Watched::new();
    watched.place.write(UP);
    watched.says("UP").await;
    fs::remove_file(watched.place.path()).unwrap();
    watched.notes("site: there is no such file, the last value is kept").await;
    assert_eq!(watched.health.report().to_string(), "UP", "the word is as it was");
    let error = watched.file.last_error().unwrap();
    assert!(error.to_string().ends_with("site.json: the last value is kept"), "{error}");

    watched.place.write("{\"siteAvailable\": tr");
    let broken = "it says none of UP, UP n%, DRAIN, DOWN, MAINT, true, false and {\"siteAvailable\": true}";
    watched.notes(&format!("site: {broken}, the last value is kept")).await;
    watched.place.write(&"x".repeat(70_000));
    watched.notes("site: it has more than 64 KiB, the last value is kept").await;
    fs::remove_file(watched.place.path()).unwrap();
    fs::create_dir(watched.place.path()).unwrap();
    watched.notes("site: it is no regular file, the last value is kept").await;
    assert_eq!(watched.health.report().to_string(), "UP", "the word is as it was");

    fs::remove_dir(watched.place.path()).unwrap();
    watched.place.replace(UP);
    watched.notes("").await;
    assert!(watched.file.last_error().is_none());
    let told = watched.told.lock().unwrap().clone();
    let wanted = ["there is no such file", broken, "it has more than 64 KiB", "it is no regular file"];
    let at: Vec<_> = wanted.iter().map(|wanted| told.iter().rposition(|told| told == wanted)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn each_problem_is_told_once() {
    let watched = Watched::new();
    watched.says("DOWN: site: there is no such file").await;
    // Time waits for each look: these are a thousand.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*watched.told.lock().unwrap(), ["there is no such file"]);
}

#[tokio::test]
async fn when_nobody_watches_it_does_not_go_on_saying_what_it_said() {
    let mut watched = Watched::new();
    watched.place.write(UP);
    watched.says("UP").await;
    watched.watching.abort();
    assert!((&mut watched.watching).await.is_err());
    assert_eq!(watched.health.report().to_string(), "DOWN: site: not watched", "at once");
    let again = tokio::spawn(watched.file.watch());
    watched.says("UP").await;
    again.abort();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_not_polled_is_none() {
    let place = Place::new();
    place.write(UP);
    let file = StateFile::new(place.path());
    let health = Health::new().with("site", file.clone());
    let mut watching = Box::pin(file.watch());
    while !health.report().is_up() {
        tokio::select! {
            () = &mut watching => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(health.report().to_string(), "UP", "a runtime may be busy for a while");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(health.report().to_string(), "DOWN: site: not watched");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_the_interval_even_where_size_and_time_are_the_same() {
    let place = Place::new();
    place.write("UP  ");
    let time = fs::metadata(place.path()).unwrap().modified().unwrap();
    let file = StateFile::new(place.path()).with_interval(Duration::from_secs(3600));
    let health = Health::new().with("site", file.clone());
    let watching = tokio::spawn(file.watch());
    let eventually = async |wanted| {
        while health.report().to_string() != wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    eventually("UP").await;
    place.write("DOWN");
    fs::File::options().write(true).open(place.path()).unwrap().set_modified(time).unwrap();
    let began = tokio::time::Instant::now();
    eventually("DOWN: site").await;
    assert!(began.elapsed() <= Duration::from_millis(10_100), "{:?}", began.elapsed());
    watching.abort();
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let watched = Watched::new();
    watched.place.write(UP);
    watched.says("UP").await;
    fs::remove_file(watched.place.path()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(watched.place.path()).status().unwrap().success());
    watched.notes("site: it is no regular file, the last value is kept").await;
}
