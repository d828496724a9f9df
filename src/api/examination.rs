//! The examination of this computer for `GET /api/v1/doctor`: one at a time, and its last report. It looks at nothing itself.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::api::error::ApiError;

/// Time for which a report is given again. An examination sends a DHCPDISCOVER on each served network.
const FRESH: Duration = Duration::from_secs(10);

/// Examines this computer, which takes some seconds. `cli/serve.rs` provides it, because this folder never reads
/// config.yaml. The error is a text for a person.
pub type Examine = Arc<dyn Fn() -> Result<Value, String> + Send + Sync>;

/// The examination and its last report. Cheap to clone; clones share everything.
#[derive(Clone, Default)]
pub struct Doctor {
    examine: Arc<OnceLock<Examine>>,
    last: Arc<Mutex<Option<(Instant, Value)>>>,
}

impl fmt::Debug for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doctor")
    }
}

impl Doctor {
    /// Uses `examine` from now on. Only the first call counts.
    pub fn set(&self, examine: Examine) {
        let _ = self.examine.set(examine);
    }

    /// The last report if it is fresh, else a new one. There is one examination at a time, and it goes on if its client
    /// leaves, so that many requests cost no more than one.
    pub(super) async fn report(&self) -> Result<Value, ApiError> {
        let Some(examine) = self.examine.get().cloned() else {
            return Err(ApiError::unavailable("this server has no configuration file to examine"));
        };
        let last = Arc::clone(&self.last);
        let examination = tokio::spawn(async move {
            let mut last = last.lock_owned().await;
            if let Some((at, report)) = &*last
                && at.elapsed() < FRESH
            {
                return Ok(report.clone());
            }
            let failed = |_| "a fault in lanboot; please report it with the log".to_owned();
            let report = spawn_blocking(move || examine()).await.map_err(failed)??;
            *last = Some((Instant::now(), report.clone()));
            Ok(report)
        });
        let report: Result<Value, String> =
            examination.await.unwrap_or_else(|_| Err("the server is stopping".to_owned()));
        report.map_err(ApiError::unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn many_requests_cost_one_examination() {
        let (doctor, runs) = (Doctor::default(), Arc::new(AtomicU32::new(0)));
        assert!(doctor.report().await.is_err_and(|error| error.status == 503));
        let counted = Arc::clone(&runs);
        doctor.set(Arc::new(move || {
            std::thread::sleep(Duration::from_millis(50));
            Ok(Value::from(counted.fetch_add(1, Ordering::Relaxed)))
        }));
        let (one, two) = tokio::join!(doctor.report(), doctor.report());
        assert_eq!((one.unwrap(), two.unwrap()), (Value::from(0), Value::from(0)));
        assert_eq!((doctor.report().await.unwrap(), runs.load(Ordering::Relaxed)), (Value::from(0), 1));
    }

    #[tokio::test]
    async fn a_wrong_configuration_is_a_reason() {
        let doctor = Doctor::default();
        doctor.set(Arc::new(|| Err("config.yaml: wrong".to_owned())));
        let error = doctor.report().await.unwrap_err();
        assert_eq!((error.status.as_u16(), &*error.message), (503, "config.yaml: wrong"));
    }
}
