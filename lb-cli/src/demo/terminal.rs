//! The terminal: keys one by one, and the way it was at the end.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// A terminal that gives keys as they are pressed and shows none. Dropped, also by a panic, it is as it was.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Without keys when the input comes from elsewhere.
    keys: Option<Keys>,
}

#[derive(Debug)]
struct Keys {
    pressed: mpsc::Receiver<u8>,
    before: Termios,
}

impl Terminal {
    /// `None` when nobody would see it: the output is no terminal.
    pub(super) fn open() -> io::Result<Option<Self>> {
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        let keys = io::stdin().is_terminal().then(Keys::open).transpose()?;
        let terminal = Self { keys };
        write!(io::stdout(), "{HIDE_CURSOR}")?;
        Ok(Some(terminal))
    }

    pub(super) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Columns: what is longer would wrap, and spoil the table.
    pub(super) fn width() -> usize {
        let known = tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        known.filter(|width| *width > 0).unwrap_or(80)
    }

    /// The next key; `q` when there will be none any more. Cancel safe.
    pub(super) async fn key(&mut self) -> u8 {
        match &mut self.keys {
            Some(keys) => keys.pressed.recv().await.unwrap_or(b'q'),
            None => std::future::pending().await,
        }
    }
}

impl Keys {
    fn open() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        // ^C still is a signal; ^Z is not, for a stopped demo would leave the terminal like this.
        raw.special_codes[SpecialCodeIndex::VSUSP] = 0;
        let (press, pressed) = mpsc::channel(16);
        // A terminal can only be waited for by a thread that reads; this one ends with the process.
        std::thread::Builder::new().name("lb-keys".to_owned()).spawn(move || read_keys(&press))?;
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { pressed, before })
    }
}

fn read_keys(press: &mpsc::Sender<u8>) {
    for key in io::stdin().lock().bytes().map_while(Result::ok) {
        if press.blocking_send(key).is_err() {
            return;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(keys) = &self.keys {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &keys.before);
        }
        let _ = write!(io::stdout(), "{SHOW_CURSOR}");
        let _ = io::stdout().flush();
    }
}
