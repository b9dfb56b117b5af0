//! Changes of structure: leases that begin, end, or change rank. Only the registry makes them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rpyc_protocol::ServiceName;

use super::Directory;
use crate::table::failure::Failure;
use crate::table::instance::{Instance, Mark};
use crate::table::lease::Lease;
use crate::table::service::Service;
use crate::table::service_id::{ByNumber, ServiceId};

impl Directory {
    /// Adds a lease of a service, which gets the id `id` if it has no lease yet.
    pub(in crate::table) fn insert(
        &self,
        name: &ServiceName,
        id: impl FnOnce() -> ServiceId,
        lease: impl FnOnce(Arc<ServiceId>) -> Lease,
    ) -> Arc<Lease> {
        let add = |service: &mut Service| {
            let service_id = service.id().map_or_else(|| Arc::new(id()), Arc::clone);
            let lease = Arc::new(lease(service_id));
            let fragment = self.addressing.fragment_of(&lease.instance);
            service.add(&lease, fragment, self.failing.rank(lease.state()));
            lease
        };
        let lease = if let Some(mut service) = self.services.get_mut(name) {
            add(&mut service)
        } else {
            let mut service = Service::default();
            let lease = add(&mut service);
            let service_id = Arc::clone(&lease.service);
            // The one copy of the name that is kept.
            self.services.insert(service_id.name.clone(), service);
            let mut service_ids = self.service_ids.write().unwrap_or_else(PoisonError::into_inner);
            service_ids.insert(ByNumber(service_id));
            lease
        };
        if lease.instance.leases.fetch_add(1, Ordering::Relaxed) == 0 {
            self.numbers.insert(&lease.instance);
        }
        self.endpoint_index.insert(&lease);
        self.secrets.insert(&lease);
        self.states.count(&lease);
        lease
    }

    /// Sets or clears the probe failure of an instance; returns whether the state changed.
    pub(in crate::table) fn set_failure(
        &self,
        instance: &Instance,
        failure: Option<Failure>,
    ) -> bool {
        let is_failing = failure.is_some();
        match failure {
            Some(failure) => drop(self.failures.insert(instance.id, Arc::new(failure))),
            None => drop(self.failures.remove(&instance.id)),
        }
        instance.set(Mark::Failing, is_failing)
    }

    /// Moves leases to the ranks that their states imply.
    pub(in crate::table) fn rank(&self, leases: &[Arc<Lease>]) {
        for lease in leases {
            if let Some(mut service) = self.services.get_mut(&lease.service.name) {
                service.place(lease, self.failing.rank(lease.state()));
                self.states.count(lease);
            }
        }
    }

    /// Removes leases that have ended; returns how many instances have no lease left.
    pub(in crate::table) fn remove(&self, ended: &[Arc<Lease>]) -> usize {
        let mut emptied = 0;
        for lease in ended {
            let ServiceId { name, number } = &*lease.service;
            let instance = &lease.instance;
            let was_last = self.services.get_mut(name).is_some_and(|mut service| {
                service.remove(lease);
                service.is_empty()
            });
            if was_last {
                self.services.remove(name);
                self.service_ids.write().unwrap_or_else(PoisonError::into_inner).remove(number);
            }
            if instance.leases.fetch_sub(1, Ordering::Relaxed) == 1 {
                emptied += 1;
                self.numbers.remove(instance);
                if instance.has(Mark::Failing) {
                    self.failures.remove(&instance.id);
                }
            }
            self.endpoint_index.remove(lease);
            self.secrets.remove(lease);
            self.states.discount(lease);
        }
        emptied
    }
}
