//! Control over HTTP, for as long as the instance runs.

use std::{io, sync::Arc};

use tokio::{runtime::Handle, sync::watch};

use super::{
    attendant::{Attendant, News},
    failure::PrepareError,
};
use crate::{
    config::{ControlHttp, ReadToken},
    manage::{Process, http},
    serve::{Limits, Listener},
};

/// Where it is to be served, before anybody does.
pub(super) struct OpenApi {
    listener: Listener,
    token: Option<ReadToken>,
}

impl OpenApi {
    /// Listens, and reads the token. To be done as who may read it.
    pub(super) fn open(control: &ControlHttp) -> Result<Self, PrepareError> {
        let token = control.read_token().map_err(PrepareError::Token)?;
        let listener = Listener::bind(control.address()).map_err(PrepareError::Http)?;
        Ok(Self { listener, token })
    }

    pub(super) fn hand_over(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.listener.hand_over(uid, gid)
    }

    /// Serves it until the answer is dropped, or told to stop.
    pub(super) fn serve(
        self,
        process: Arc<dyn Process>,
        runtime: &Handle,
        attendant: &Arc<dyn Attendant>,
    ) -> watch::Sender<bool> {
        let Self { listener, token } = self;
        if let Some(warning) = token.as_ref().and_then(|token| token.warning.as_deref()) {
            attendant.tell(&News::TokenExposed(warning));
        }
        if let Ok(address) = listener.address() {
            attendant.tell(&News::ControlListening(&address));
        }
        let (stop, mut stopped) = watch::channel(false);
        let stopping = async move {
            // An error is the end of the sender: a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let attendant = Arc::clone(attendant);
        runtime.spawn(async move {
            let token = token.map(|read| read.token);
            let served = http::serve(listener, process, token, Limits::default(), stopping).await;
            // That it cannot be controlled is no reason to serve clients no longer.
            if let Err(error) = served {
                attendant.tell(&News::ControlFailed(&error));
            }
        });
        stop
    }
}
