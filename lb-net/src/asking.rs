//! Questions that block, asked in threads of their own: one that gets no answer delays neither the traffic nor the end of
//! the program.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc::UnboundedSender;

/// Questions that are asked at the same time: one that gets no answer holds up few others.
const AT_ONCE: usize = 8;

/// Asks each of these in threads that share them, which end with the last answer. Each question comes back with its
/// answer, or with the reason why there was no thread to ask it.
pub(crate) fn ask<Q, A, F>(questions: Vec<Q>, answers: &UnboundedSender<(Q, io::Result<A>)>, answer: F)
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Fn(&Q) -> io::Result<A> + Clone + Send + 'static,
{
    let threads = questions.len().min(AT_ONCE);
    let queue = Arc::new(Mutex::new(questions));
    let mut failure = None;
    for _ in 0..threads {
        let (queue, answers, answer) = (Arc::clone(&queue), answers.clone(), answer.clone());
        let asking = move || {
            // Until nothing is left, or nobody waits any more.
            while let Some(question) = next(&queue) {
                let found = answer(&question);
                if answers.send((question, found)).is_err() {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("lb-resolve".to_owned()).spawn(asking);
        failure = started.err();
        if failure.is_some() {
            break;
        }
    }
    // Threads that did start take the share of those that did not; without any, this is the answer.
    if let Some(error) = failure.filter(|_| Arc::strong_count(&queue) == 1) {
        while let Some(question) = next(&queue) {
            let _ = answers.send((question, Err(io::Error::new(error.kind(), error.to_string()))));
        }
    }
}

fn next<Q>(queue: &Mutex<Vec<Q>>) -> Option<Q> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop()
}
