//! The access log: whole lines in the right file, and nobody who serves clients waits for it.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use lb_net::http::{
    AccessFormat, AccessLog, AccessLogNews, AccessLogSettings, AccessLogs, AccessTo, AccessWriter, Record,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const LONG: Duration = Duration::from_secs(20);

/// A directory for one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lb-access-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn pipe(&self) -> PathBuf {
        let path = self.file("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn to(format: AccessFormat, path: &Path) -> AccessLogSettings {
    AccessLogSettings::new(format, AccessTo::File(path.to_owned()))
}

/// A log, and what it tells.
fn open(format: AccessFormat, path: &Path) -> (AccessLog, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let log = AccessLog::open(&to(format, path), move |news| drop(tell.send(news.to_string()))).unwrap();
    (log, told)
}

fn write(writer: &mut AccessWriter, target: &str) {
    let mut record = Record::new("192.0.2.7:4711".parse().unwrap(), SystemTime::now());
    (record.method, record.target, record.status) = ("GET", target.as_bytes(), 200);
    record.user_agent = Some(b"a test");
    writer.write(&record, Instant::now());
}

fn targets(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let target = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        line["target"].as_str().unwrap().to_owned()
    };
    text.lines().map(target).collect()
}

#[test]
fn lines_of_several_workers_stay_whole_and_none_is_missing() {
    let directory = Directory::new();
    let path = directory.file("log");
    let (log, _told) = open(AccessFormat::Json, &path);
    thread::scope(|scope| {
        for worker in 0..4 {
            let mut writer = log.writer();
            let log = &log;
            scope.spawn(move || {
                for number in 0..5000 {
                    write(&mut writer, &format!("/{worker}/{number}"));
                    // As much as a disk of this machine may be behind.
                    if number % 1000 == 0 {
                        assert!(log.wait(LONG));
                    }
                }
            });
        }
    });
    assert!(log.wait(LONG));
    let targets = targets(&path);
    assert_eq!((targets.len(), log.lost_lines()), (20_000, 0));
    for worker in 0..4 {
        let own: Vec<&String> = targets.iter().filter(|target| target.starts_with(&format!("/{worker}/"))).collect();
        assert_eq!(own.len(), 5000);
        assert!(own.iter().enumerate().all(|(at, target)| **target == format!("/{worker}/{at}")), "in order");
    }
}

#[test]
fn lines_wait_for_a_second_and_no_longer_than_their_writer() {
    let directory = Directory::new();
    let path = directory.file("log");
    let (log, _told) = open(AccessFormat::Json, &path);
    let mut writer = log.writer();
    let began = Instant::now();
    write(&mut writer, "/1");
    let due = writer.due().unwrap();
    assert!(due >= began + Duration::from_secs(1) && due <= Instant::now() + Duration::from_secs(1));
    writer.flush_due(due - Duration::from_nanos(1));
    assert!(log.wait(LONG));
    assert_eq!(targets(&path), Vec::<String>::new());
    writer.flush_due(due);
    assert_eq!(writer.due(), None);
    assert!(log.wait(LONG));
    assert_eq!(targets(&path), ["/1"]);
    write(&mut writer, "/2");
    drop(writer);
    assert!(log.wait(LONG));
    assert_eq!(targets(&path), ["/1", "/2"]);
}

#[test]
fn after_a_rotation_lines_go_to_the_new_file_and_those_before_to_the_old_one() {
    let directory = Directory::new();
    let (path, old) = (directory.file("log"), directory.file("log.1"));
    fs::write(&path, "{\"target\":\"/before\"}\n").unwrap();
    let (log, told) = open(AccessFormat::Json, &path);
    let mut writer = log.writer();
    write(&mut writer, "/1");
    writer.flush();
    fs::rename(&path, &old).unwrap();
    log.reopen();
    write(&mut writer, "/2");
    writer.flush();
    assert!(log.wait(LONG));
    assert_eq!((targets(&old), targets(&path)), (vec!["/before".to_owned(), "/1".to_owned()], vec!["/2".to_owned()]));
    // What cannot be opened again is no reason to write nothing.
    fs::rename(&path, &old).unwrap();
    fs::create_dir(&path).unwrap();
    log.reopen();
    write(&mut writer, "/3");
    writer.flush();
    assert!(log.wait(LONG));
    assert_eq!(targets(&old), ["/2", "/3"]);
    let news = told.recv_timeout(LONG).unwrap();
    assert!(news.contains("cannot be opened again") && news.contains(path.to_str().unwrap()), "{news}");
}

#[test]
fn a_full_disk_is_told_once_and_lines_are_counted() {
    let (log, told) = open(AccessFormat::Common, Path::new("/dev/full"));
    let mut writer = log.writer();
    for number in 0..10 {
        write(&mut writer, &format!("/{number}"));
        writer.flush();
    }
    assert!(log.wait(LONG));
    assert_eq!(log.lost_lines(), 10);
    let news = told.recv_timeout(LONG).unwrap();
    assert!(news.starts_with("access log /dev/full: cannot be written, lines are lost: "), "{news}");
    drop((writer, log));
    assert_eq!(told.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected), "once");
}

/// Takes so many bytes and fails then, until it is told not to.
struct Narrow {
    taken: Arc<Mutex<Vec<u8>>>,
    room: usize,
    wide: Arc<AtomicBool>,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = if self.wide.load(SeqCst) { bytes.len() } else { bytes.len().min(self.room) };
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room = self.room.saturating_sub(count);
        self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn half_a_line_spoils_no_other() {
    let (taken, wide) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::new(AtomicBool::new(false)));
    let narrow = Narrow { taken: Arc::clone(&taken), room: 120, wide: Arc::clone(&wide) };
    let log = AccessLog::to_writer(AccessFormat::Common, narrow).unwrap();
    let mut writer = log.writer();
    (0..5).for_each(|number| write(&mut writer, &format!("/{number}")));
    writer.flush();
    assert!(log.wait(LONG));
    wide.store(true, SeqCst);
    write(&mut writer, "/5");
    writer.flush();
    assert!(log.wait(LONG));
    let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("\"GET /0 ") && lines[0].ends_with(" 200 -"), "{text}");
    assert!(!lines[1].ends_with(" 200 -"), "it is half a line: {text}");
    assert!(lines[2].starts_with("192.0.2.7 - - ") && lines[2].contains("\"GET /5 "), "{text}");
    assert_eq!((lines.len(), log.lost_lines()), (3, 4));
}

#[test]
fn a_pipe_that_nobody_reads_keeps_no_worker_waiting() {
    let directory = Directory::new();
    let path = directory.pipe();
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (log, told) = open(AccessFormat::Json, &path);
    let mut writer = log.writer();
    let (mut longest, mut written) = (Duration::ZERO, 0_u64);
    while log.lost_lines() == 0 {
        let began = Instant::now();
        write(&mut writer, "/many");
        longest = longest.max(began.elapsed());
        written += 1;
    }
    assert!(longest < LONG, "{longest:?}");
    let news = told.recv_timeout(LONG).unwrap();
    assert!(news.contains("nobody takes its lines"), "{news}");
    writer.flush();
    // Somebody reads again: what was kept arrives, whole.
    let reading = thread::spawn(move || {
        let (mut lines, mut line) = (0_u64, String::new());
        let mut reader = BufReader::new(&mut reader);
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let read: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            match read["target"].as_str().unwrap() {
                "/end" => return lines,
                target => assert_eq!(target, "/many"),
            }
            lines += 1;
        }
    });
    assert!(log.wait(LONG));
    let lost = log.lost_lines();
    write(&mut writer, "/end");
    writer.flush();
    assert_eq!(reading.join().unwrap() + lost, written);
    let recovered = (0..3).map(|_| told.recv_timeout(LONG).unwrap()).find(|news| news.contains("is written again"));
    assert!(recovered.is_some());
}

#[test]
fn a_pipe_without_a_reader_is_an_error_at_the_start_and_one_that_is_stuck_holds_up_no_end() {
    let directory = Directory::new();
    let path = directory.pipe();
    let logs = AccessLogs::new(|_: &AccessLogNews<'_>| ());
    let error = logs.open(&to(AccessFormat::Json, &path)).unwrap_err();
    assert_eq!(error.to_string(), format!("access log {}", path.display()));
    let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = logs.open(&to(AccessFormat::Json, &path)).unwrap();
    let mut writer = log.writer();
    (0..2000).for_each(|_| write(&mut writer, "/more/than/a/pipe/holds"));
    drop((writer, log));
    let began = Instant::now();
    assert!(logs.wait(LONG));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(reader);
}

#[test]
fn who_writes_to_the_same_place_shares_a_log_and_keeps_a_format() {
    let directory = Directory::new();
    let path = directory.file("log");
    let logs = AccessLogs::new(|_: &AccessLogNews<'_>| ());
    let [common, json] =
        [AccessFormat::Common, AccessFormat::Json].map(|format| logs.open(&to(format, &path)).unwrap());
    assert_eq!(format!("{logs:?}").matches("File").count(), 1);
    let mut writers = [common.writer(), json.writer()];
    writers.iter_mut().for_each(|writer| write(writer, "/"));
    drop(writers);
    assert!(logs.wait(LONG));
    let mut text = String::new();
    File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.starts_with("192.0.2.7 - - ") && text.contains("\n{\"time\":"), "{text}");
    fs::rename(&path, directory.file("old")).unwrap();
    logs.reopen();
    assert!(logs.wait(LONG));
    assert_eq!(fs::read(&path).unwrap(), b"");
}
