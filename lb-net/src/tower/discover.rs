//! Backends as a `tower::discover::Discover` names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use ::tower::discover::{Change, Discover};
use lb_core::{BackendConfig, Balancer, GroupConfig};

use crate::driver::now;

/// Keeps a balancer's backends as `discover` says, until that ends: spawn it. A key is a backend's name.
///
/// It owns the membership: begin with a configuration without backends, which may set policies and the selector of its
/// first group. New backends join that group with weight 1 and no limit; what is ordered of them later stays. Changes that
/// are there together are taken over together. A key that is inserted once more is another backend of that name: it takes the
/// place of the one before, with its new service and nothing known of it but what people have ordered; a call at that time
/// goes to either of the two. So announce what has changed, and not all of it again.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use std::{sync::Arc, time::Instant};
/// use lb_core::{Balancer, Config, rand::{SeedableRng, rngs::SmallRng}};
/// use lb_net::tower::{Balance, follow};
/// use tower::{ServiceExt as _, discover::ServiceList, service_fn};
/// let service = |n: u32| service_fn(move |(): ()| std::future::ready(Ok::<_, std::io::Error>(n)));
/// let mut rng = SmallRng::seed_from_u64(1);
/// let balancer = Arc::new(Balancer::new(Config::default(), Instant::now(), &mut rng, |_| service(0)));
///
/// follow(ServiceList::new::<()>([service(1), service(2)]), Arc::clone(&balancer)).await.unwrap();
/// assert!(Balance::new(Arc::clone(&balancer)).oneshot(()).await.is_ok());
/// assert_eq!(balancer.stats().backends.len(), 2);
/// # }
/// ```
///
/// # Errors
/// What `discover` says; the backends stay as they are then.
pub async fn follow<D>(discover: D, balancer: Arc<Balancer<D::Service>>) -> Result<(), D::Error>
where
    D: Discover<Key: Display, Service: Clone + Send + Sync>,
{
    let mut discover = pin!(discover);
    let mut members = Members { services: BTreeMap::new(), replaced: BTreeSet::new(), last: None };
    loop {
        let (changes, end) = poll_fn(|cx| poll_changes(discover.as_mut(), cx)).await;
        changes.into_iter().for_each(|change| members.change(change));
        members.tell(&balancer);
        if let Some(end) = end {
            return end;
        }
    }
}

/// Changes that were there together, and how it ended, if it did.
type Changes<D> =
    (Vec<Change<<D as Discover>::Key, <D as Discover>::Service>>, Option<Result<(), <D as Discover>::Error>>);

/// At most so many changes are taken over together: the balancer is not kept waiting by an endless row of them.
const TOGETHER: usize = 1024;

fn poll_changes<D: Discover>(mut discover: Pin<&mut D>, cx: &mut Context<'_>) -> Poll<Changes<D>> {
    let mut changes = Vec::new();
    while changes.len() < TOGETHER {
        match discover.as_mut().poll_discover(cx) {
            Poll::Ready(Some(Ok(change))) => changes.push(change),
            Poll::Ready(Some(Err(error))) => return Poll::Ready((changes, Some(Err(error)))),
            Poll::Ready(None) => return Poll::Ready((changes, Some(Ok(())))),
            Poll::Pending if changes.is_empty() => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready((changes, None))
}

struct Members<S> {
    services: BTreeMap<String, S>,
    /// Names whose service is another than the balancer may know.
    replaced: BTreeSet<String>,
    /// The service inserted last, if any was.
    last: Option<S>,
}

impl<S: Clone + Send + Sync> Members<S> {
    fn change<K: Display>(&mut self, change: Change<K, S>) {
        match change {
            Change::Insert(key, service) => {
                self.last = Some(service.clone());
                let name = key.to_string();
                if self.services.insert(name.clone(), service).is_some() {
                    self.replaced.insert(name);
                }
            }
            Change::Remove(key) => {
                self.replaced.extend(self.services.remove_entry(&key.to_string()).map(|(name, _)| name));
            }
        }
    }

    fn tell(&mut self, balancer: &Balancer<S>) {
        // Before the first there is nothing to say. Later each name that is told has its service.
        let Some(last) = &self.last else { return };
        let make = |backend: &BackendConfig| self.services.get(&backend.name).unwrap_or(last).clone();
        let replaced = std::mem::take(&mut self.replaced);
        let mut config = balancer.config();
        let stays = |backend: &BackendConfig| self.services.contains_key(&backend.name);
        config.groups.iter_mut().for_each(|group| group.backends.retain(stays));
        let known: BTreeSet<&str> = config.backends().map(|(_, _, backend)| backend.name.as_str()).collect();
        let new = self.services.keys().filter(|name| !known.contains(name.as_str()));
        let new: Vec<BackendConfig> = new.map(BackendConfig::new).collect();
        match config.groups.first_mut() {
            Some(group) => group.backends.extend(new),
            None => config.groups.push(GroupConfig::new(new)),
        }
        balancer.update_replacing(config, now(), |backend| replaced.contains(&backend.name), make);
    }
}
